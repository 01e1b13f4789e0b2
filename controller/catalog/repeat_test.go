package catalog_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fairlead-dns/fairlead/controller/catalog"
	"github.com/fairlead-dns/fairlead/controller/store"
)

// Whoever repeats a request that was carried out is told so, also while the head
// cannot be read: that nothing was written would be wrong.
func TestRepeatedWhileTheHeadCannotBeRead(t *testing.T) {
	e := startEtcd(t)
	var away atomic.Bool
	dial := func() *catalog.Catalog {
		c, err := clientv3.New(clientv3.Config{
			Endpoints: e.Endpoints(), Logger: zap.NewNop(),
			DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(
				func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
					if r, ok := req.(*etcdserverpb.RangeRequest); ok && away.Load() && string(r.GetKey()) == store.DefaultPrefix+"head" {
						return status.Error(codes.Unavailable, "no leader")
					}
					return invoke(ctx, method, req, reply, cc, opts...)
				})},
		})
		must(t, err)
		t.Cleanup(func() { c.Close() })
		s, err := store.New(store.Options{Client: c, RequestTimeout: 1500 * time.Millisecond})
		must(t, err)
		return catalog.New(s, slog.New(slog.DiscardHandler))
	}
	c := dial()
	ask := func(c *catalog.Catalog) (*catalog.Outcome, error) {
		return c.Change(t.Context(), catalog.Request{ID: "r-1", Action: "apply"}, func(*catalog.Version) (catalog.Edit, error) {
			return catalog.Edit{Set: set(t, "a"), Result: []byte("made")}, nil
		})
	}
	first, err := ask(c)
	must(t, err)
	away.Store(true)
	for name, c := range map[string]*catalog.Catalog{"one that knows a version": c, "one that has just started": dial()} {
		again, err := ask(c)
		if err != nil || !again.Repeated || again.Generation != first.Generation || string(again.Result) != "made" || again.Set == nil {
			t.Errorf("%s: %+v, %v", name, again, err)
		}
	}
}
