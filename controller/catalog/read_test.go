package catalog_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/fairlead-dns/fairlead/controller/catalog"
	"github.com/fairlead-dns/fairlead/controller/store"
	"github.com/fairlead-dns/fairlead/controller/store/embedded"
	"github.com/fairlead-dns/fairlead/regions"
)

// overhear opens a catalog that calls after when a request that reads or writes
// the head was carried out, before its answer is heard.
func overhear(t *testing.T, e *embedded.Server, after func(ctx context.Context, write bool)) *catalog.Catalog {
	t.Helper()
	const head = store.DefaultPrefix + "head"
	c, err := clientv3.New(clientv3.Config{
		Endpoints: e.Endpoints(), Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(
			func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
				err := invoke(ctx, method, req, reply, cc, opts...)
				switch r := req.(type) {
				case *etcdserverpb.RangeRequest:
					if string(r.GetKey()) == head {
						after(ctx, false)
					}
				case *etcdserverpb.TxnRequest:
					for _, op := range r.GetSuccess() {
						if string(op.GetRequestPut().GetKey()) == head {
							after(ctx, true)
						}
					}
				}
				return err
			})},
	})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	s, err := store.New(store.Options{Client: c, RequestTimeout: 30 * time.Second})
	must(t, err)
	return catalog.New(s, slog.New(slog.DiscardHandler))
}

type overtaken struct{}

// A controller changes the head while it reads it, time and again: what it
// reads is old, and that is all there is to it.
func TestReadThatChangesOvertake(t *testing.T) {
	var c *catalog.Catalog
	var last regions.Generation
	left := 0
	c = overhear(t, startEtcd(t), func(ctx context.Context, _ bool) {
		if ctx.Value(overtaken{}) != nil && left > 0 {
			left--
			last = change(t, c, "a", string('b'+rune(left)))
		}
	})
	change(t, c, "a")
	ctx := context.WithValue(t.Context(), overtaken{}, true)
	for _, times := range []int{1, 2, 10} {
		left = times
		v, err := c.Read(ctx)
		must(t, err)
		if v.Generation != last || left != 0 {
			t.Errorf("overtaken %d times: read %v, want %v", times, v.Generation, last)
		}
	}
	// What a nameserver says it serves has not been learnt by a change; such a
	// head stays refused.
	last.Revision += 1000
	v, err := c.Read(t.Context())
	must(t, err)
	c.Saw("ns-1", last, v.Head.GetInstallation())
	if _, err := c.Read(t.Context()); !errors.Is(err, catalog.ErrLineage) {
		t.Errorf("read behind a nameserver: %v, want %v", err, catalog.ErrLineage)
	}
}

// A change and a reader that finds it before the change has its answer come to
// one version, so that nobody takes the same configuration for another.
func TestOneVersionOfAGeneration(t *testing.T) {
	var c *catalog.Catalog
	var read, told *catalog.Version
	c = overhear(t, startEtcd(t), func(_ context.Context, write bool) {
		if write {
			var err error
			read, err = c.Read(context.Background())
			must(t, err)
		}
	})
	c.OnChange(func(v *catalog.Version) { told = v })
	for _, services := range [][]string{{"a"}, {"a", "b"}} {
		out, err := c.Change(t.Context(), catalog.Request{Action: "apply"}, func(*catalog.Version) (catalog.Edit, error) {
			return catalog.Edit{Set: set(t, services...)}, nil
		})
		must(t, err)
		if out.Version != read || out.Version != told || out.Generation != read.Generation || names(out.Version) != names(told) {
			t.Errorf("changed to %p (%v), read %p (%v), told %p", out.Version, out.Generation, read, read.Generation, told)
		}
	}
	// A change that changes nothing tells of what it came upon.
	told = nil
	out, err := c.Change(t.Context(), catalog.Request{Action: "none"}, func(*catalog.Version) (catalog.Edit, error) { return catalog.Edit{}, nil })
	must(t, err)
	if told != out.Version || told != read {
		t.Errorf("told %p, want %p", told, read)
	}
	// One that fails tells of nothing.
	told = nil
	failed := errors.New("no")
	if _, err := c.Change(t.Context(), catalog.Request{Action: "none"}, func(*catalog.Version) (catalog.Edit, error) { return catalog.Edit{}, failed }); !errors.Is(err, failed) || told != nil {
		t.Errorf("told %p, %v", told, err)
	}
}
