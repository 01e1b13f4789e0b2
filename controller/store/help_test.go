package store_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/fairlead-dns/fairlead/controller/store"
	"github.com/fairlead-dns/fairlead/controller/store/embedded"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func TestMain(m *testing.M) {
	// Most of these tests wait for timeouts and elections, not for a processor.
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	// The model of collection takes its time; -rapid.checks=1000 gives it more.
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("15"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

func startServer(t testing.TB) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(t.Context(), embedded.Options{UnsafeNoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { check(t, s.Close()) })
	return s
}

func startCluster(t testing.TB, o embedded.ClusterOptions) *embedded.Cluster {
	t.Helper()
	c, err := embedded.StartCluster(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { check(t, c.Close()) })
	return c
}

func dial(t testing.TB, o store.DialOptions) *clientv3.Client {
	t.Helper()
	c, err := store.Dial(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// open opens a store which, unless the test is about timeouts, has patience
// with a busy machine.
func open(t testing.TB, o store.Options) *store.Store {
	t.Helper()
	if o.RequestTimeout == 0 {
		o.RequestTimeout = 30 * time.Second
	}
	s, err := store.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newStore opens a store on an etcd of its own, and returns a client for
// looking behind the store's back.
func newStore(t testing.TB) (*store.Store, *clientv3.Client) {
	t.Helper()
	c := dial(t, store.DialOptions{Endpoints: startServer(t).Endpoints()})
	return open(t, store.Options{Client: c}), c
}

// faulty is a client whose transactions pass through a function of the test's,
// which may lose the request, the answer, or deliver the request late.
func faulty(t testing.TB, endpoints []string, fault func(ctx context.Context, txn *etcdserverpb.TxnRequest, send func() error) error) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints,
		Logger:    zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(
			func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
				txn, ok := req.(*etcdserverpb.TxnRequest)
				if !ok {
					return invoke(ctx, method, req, reply, cc, opts...)
				}
				return fault(ctx, txn, func() error { return invoke(ctx, method, req, reply, cc, opts...) })
			})},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// hasty opens a store that gives up soon.
func hasty(t testing.TB, c *clientv3.Client) *store.Store {
	t.Helper()
	return open(t, store.Options{Client: c, RequestTimeout: 400 * time.Millisecond})
}

// writes tells whether a transaction writes the key.
func writes(txn *etcdserverpb.TxnRequest, key string) bool {
	for _, op := range txn.Success {
		if string(op.GetRequestPut().GetKey()) == key {
			return true
		}
	}
	return false
}

const headKey = store.DefaultPrefix + "head"

// manifest puts an object to name in heads.
func manifest(t testing.TB, s *store.Store, content string) []byte {
	t.Helper()
	d, _, err := s.Put(t.Context(), [][]byte{[]byte(content)})
	if err != nil {
		t.Fatal(err)
	}
	return d[0].Bytes()
}

func swap(expect int64, manifest []byte, id string) store.Swap {
	return store.Swap{
		Expect:    expect,
		Head:      &pb.Head{Epoch: 1, Manifest: manifest, Installation: "test"},
		Event:     &pb.AuditEvent{Actor: "alice", Action: "apply", Reason: "because " + id},
		RequestID: id,
		Result:    []byte("result of " + id),
	}
}

func mustSwap(t testing.TB, s *store.Store, w store.Swap) int64 {
	t.Helper()
	rev, err := s.Swap(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func mustHead(t testing.TB, s *store.Store) store.Head {
	t.Helper()
	h, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func allEvents(t testing.TB, s *store.Store) []*pb.AuditEvent {
	t.Helper()
	var all []*pb.AuditEvent
	for page := ""; ; {
		events, next, err := s.Events(t.Context(), 7, page)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, events...)
		if page = next; page == "" {
			return all
		}
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error is %v, want %v", err, want)
	}
	// A caller must not confuse these two.
	if errors.Is(err, store.ErrUnknownOutcome) && errors.Is(err, store.ErrUnavailable) {
		t.Errorf("error %v is both of unknown outcome and unavailable", err)
	}
}

// eventually waits for what must come about, however slow the machine is.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("in vain waited for: %s", what)
}

func numbered(n, size int) [][]byte {
	objects := make([][]byte, n)
	for i := range objects {
		objects[i] = append(fmt.Appendf(nil, "object %d ", i), make([]byte, size)...)
	}
	return objects
}
