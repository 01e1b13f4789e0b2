package planner_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fairlead-dns/fairlead/controller/catalog"
	"github.com/fairlead-dns/fairlead/controller/planner"
	"github.com/fairlead-dns/fairlead/controller/store"
	"github.com/fairlead-dns/fairlead/controller/store/embedded"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for what must come about, however slow the machine is.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("in vain waited for: %s", what)
}

func startEtcd(t *testing.T) []string {
	t.Helper()
	s, err := embedded.Start(t.Context(), embedded.Options{UnsafeNoFsync: true})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s.Endpoints()
}

// open opens a store whose reads of the head pass through a function of the
// test's; watches hear nothing if deaf.
func open(t *testing.T, endpoints []string, deaf bool, head func(send func() error) error) *store.Store {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints, Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{
			grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
				send := func() error { return invoke(ctx, method, req, reply, cc, opts...) }
				if r, ok := req.(*etcdserverpb.RangeRequest); ok && string(r.GetKey()) == store.DefaultPrefix+"head" && head != nil && !r.GetKeysOnly() {
					return head(send)
				}
				return send()
			}),
			grpc.WithChainStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
				if deaf {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return open(ctx, d, cc, method, opts...)
			}),
		},
	})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	interval := time.Hour
	if head != nil {
		interval = 10 * time.Millisecond
	}
	s, err := store.New(store.Options{Client: c, RequestTimeout: 30 * time.Second, ReadInterval: interval})
	must(t, err)
	return s
}

// followed is a planner that runs.
type followed struct {
	*planner.Planner
	catalog *catalog.Catalog
	reg     *prometheus.Registry
	refused bool // heads are, in this test

	mu        sync.Mutex
	published []regions.Generation
	log       strings.Builder
}

// follow runs a planner over a catalog of its own. What it watches may be
// reached in another way than what the catalog reads and writes.
func follow(t *testing.T, watched, written *store.Store) *followed {
	t.Helper()
	f := &followed{reg: prometheus.NewPedanticRegistry()}
	log := slog.New(slog.NewTextHandler(f, &slog.HandlerOptions{Level: slog.LevelWarn}))
	f.catalog = catalog.New(written, log)
	f.Planner = planner.New(planner.Options{
		Store: watched, Catalog: f.catalog, Log: log, Registerer: f.reg,
		OnPlan: func(c *planner.Current) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.published = append(f.published, c.Generation)
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-done)
		f.mu.Lock()
		defer f.mu.Unlock()
		for i := 1; i < len(f.published); i++ {
			if f.published[i].Compare(f.published[i-1]) <= 0 {
				t.Errorf("published %v after %v", f.published[i], f.published[i-1])
			}
		}
		if !f.refused && strings.Contains(f.log.String(), "not published") {
			t.Errorf("a head was refused:\n%s", f.log.String())
		}
	})
	eventually(t, "the first look at the store", f.StoreAvailable)
	return f
}

func (f *followed) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.log.Write(b)
}

// change makes the n-th change.
func (f *followed) change(ctx context.Context, n int, id string) (*catalog.Outcome, error) {
	set, err := config.NewSet([]*pb.Resource{{Kind: &pb.Resource_Region{Region: &pb.Region{
		Metadata: &pb.Metadata{Name: "eu", Labels: map[string]string{"n": fmt.Sprint(n)}}, Spec: &pb.RegionSpec{Latitude: new(1.0), Longitude: new(2.0)},
	}}}})
	if err != nil {
		return nil, err
	}
	return f.catalog.Change(ctx, catalog.Request{ID: id, Action: "apply"}, func(*catalog.Version) (catalog.Edit, error) {
		return catalog.Edit{Set: set}, nil
	})
}

func (f *followed) mustChange(t *testing.T, n int, id string) *catalog.Outcome {
	t.Helper()
	out, err := f.change(t.Context(), n, id)
	must(t, err)
	return out
}

// What a controller changes it publishes as part of the change, though no watch
// and no read of the head tells it; so it does when the change turns out to
// have been made through another controller.
func TestOwnChangeIsPublishedAtOnce(t *testing.T) {
	t.Parallel()
	e := startEtcd(t)
	deaf := func() *store.Store { return open(t, e, true, nil) }
	a := deaf()
	b := deaf()
	one, other := follow(t, a, a), follow(t, b, b)
	for i := range 3 {
		out := one.mustChange(t, i, fmt.Sprint("id", i))
		if cur := one.Current(); cur == nil || cur.Generation != out.Generation {
			t.Fatalf("published %v, want %v", cur, out.Generation)
		}
	}
	if other.Current() != nil {
		t.Fatal("the other controller is not deaf")
	}
	out := other.mustChange(t, 1, "id1")
	if cur := other.Current(); !out.Repeated || cur == nil || cur.Generation != one.Current().Generation {
		t.Errorf("published %v, want %v", cur, one.Current().Generation)
	}
}

// The answer to a read of the head comes after the controller has replaced that
// head. Nothing goes back, and nothing is said to be wrong.
func TestReadThatChangesOvertake(t *testing.T) {
	t.Parallel()
	e := startEtcd(t)
	held := make(chan chan struct{}) // a read whose answer is held
	var holding atomic.Bool
	var reads atomic.Int32
	watched := open(t, e, false, func(send func() error) error {
		err := send()
		if holding.CompareAndSwap(true, false) {
			release := make(chan struct{})
			held <- release
			<-release
		}
		reads.Add(1)
		return err
	})
	f := follow(t, watched, open(t, e, false, nil))
	for n := range 20 {
		holding.Store(true)
		release := <-held // for less than a read's patience
		var last *catalog.Outcome
		for i := range 1 + n%4 {
			last = f.mustChange(t, 10*n+i, "")
		}
		seen := reads.Load()
		close(release)
		eventually(t, "other reads", func() bool { return reads.Load() > seen+2 })
		if cur := f.Current(); cur.Generation != last.Generation || f.Refusal() != "" {
			t.Fatalf("published %v, want %v; refusal %q", cur.Generation, last.Generation, f.Refusal())
		}
	}
}

// Many change at once, while the head is read all the time.
func TestChangesAtOnce(t *testing.T) {
	t.Parallel()
	e := startEtcd(t)
	f := follow(t, open(t, e, false, func(send func() error) error { return send() }), open(t, e, false, nil))
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 10 {
				out, err := f.change(t.Context(), 100*w+i, "")
				if err != nil {
					t.Error(err)
					return
				}
				if cur := f.Current(); cur.Generation.Compare(out.Generation) < 0 {
					t.Errorf("published %v, want %v or a newer one", cur.Generation, out.Generation)
				}
			}
		})
	}
	wg.Wait()
}

// etcd is away as soon as whoever watches finds it so, and stays so when
// somebody else has had an answer, until the watch has one.
func TestStoreAvailable(t *testing.T) {
	t.Parallel()
	e := startEtcd(t)
	var away atomic.Bool
	watched := open(t, e, false, func(send func() error) error {
		if away.Load() {
			return status.Error(codes.Unavailable, "away")
		}
		return send()
	})
	var reads atomic.Int32
	f := follow(t, watched, open(t, e, false, func(send func() error) error {
		reads.Add(1)
		return send()
	}))
	f.refused = true
	out := f.mustChange(t, 1, "")
	available := func(want int) {
		t.Helper()
		text := fmt.Sprintf("# HELP fairlead_controller_store_available 1 while etcd answers.\n# TYPE fairlead_controller_store_available gauge\nfairlead_controller_store_available %d\n", want)
		if err := testutil.GatherAndCompare(f.reg, strings.NewReader(text), "fairlead_controller_store_available"); err != nil {
			t.Error(err)
		}
	}
	available(1)
	for range 2 {
		away.Store(true)
		eventually(t, "etcd to be away", func() bool { return !f.StoreAvailable() })
		available(0)
		before := reads.Load()
		// A nameserver that is ahead makes the planner look by itself.
		ahead := out.Generation
		ahead.Revision += 100
		f.Saw("ns-1", ahead, out.Head.GetInstallation())
		eventually(t, "a look", func() bool { return reads.Load() > before && f.Refusal() != "" })
		if f.StoreAvailable() {
			t.Error("etcd is said to be back, and the watch has no answer")
		}
		f.Lost("ns-1")
		eventually(t, "another look", func() bool { return f.Refusal() == "" })
		if f.StoreAvailable() {
			t.Error("etcd is said to be back, and the watch has no answer")
		}
		away.Store(false)
		eventually(t, "etcd to be back", f.StoreAvailable)
		available(1)
	}
	if cur := f.Current(); cur.Generation != out.Generation {
		t.Errorf("published %v, want %v", cur.Generation, out.Generation)
	}
}

// What is published is confirmed by every read of the head, until etcd is away or
// the head is another.
func TestConfirmed(t *testing.T) {
	t.Parallel()
	e := startEtcd(t)
	var away atomic.Bool
	st := open(t, e, false, func(send func() error) error {
		if away.Load() {
			return status.Error(codes.Unavailable, "away")
		}
		return send()
	})
	f := follow(t, st, st)
	f.refused = true
	if at := f.Confirmed(); !at.IsZero() {
		t.Errorf("confirmed at %v, and nothing is published", at)
	}
	out := f.mustChange(t, 1, "")
	confirmedAgain := func() {
		t.Helper()
		at := f.Confirmed()
		eventually(t, "a confirmation", func() bool { return f.Away() == nil && f.Confirmed().After(at) })
	}
	confirmedAgain()
	before := time.Now()
	away.Store(true)
	eventually(t, "etcd to be away", func() bool { return f.Away() != nil })
	if a := f.Away(); a.Since.Before(before) || !errors.Is(a.Err, store.ErrUnavailable) {
		t.Errorf("away since %v (%v), it was told at %v", a.Since, a.Err, before)
	}
	if at := f.Confirmed(); at.IsZero() || at.After(f.Away().Since) {
		t.Errorf("confirmed at %v, and away since %v", at, f.Away().Since)
	}
	away.Store(false)
	confirmedAgain()
	// A head that is not published confirms nothing.
	ahead := out.Generation
	ahead.Revision += 100
	f.Saw("ns-1", ahead, out.Head.GetInstallation())
	eventually(t, "the refusal", func() bool { return f.Refusal() != "" })
	at, read := f.Confirmed(), st.HeadRead()
	eventually(t, "another read", func() bool { return st.HeadRead().After(read) })
	if again := f.Confirmed(); !again.Equal(at) {
		t.Errorf("confirmed at %v, then at %v, and the head is not trusted", at, again)
	}
	f.Lost("ns-1")
	confirmedAgain()
}

// A quorum of etcd freezes, connections and all.
func TestEtcdFreezes(t *testing.T) {
	t.Parallel()
	c, err := embedded.StartCluster(t.Context(), embedded.ClusterOptions{Freezable: true})
	must(t, err)
	t.Cleanup(func() { must(t, c.Close()) })
	client, err := store.Dial(store.DialOptions{Endpoints: c.Endpoints()})
	must(t, err)
	t.Cleanup(func() { client.Close() })
	s, err := store.New(store.Options{Client: client})
	must(t, err)
	f := follow(t, s, s)
	out := f.mustChange(t, 1, "")
	leader := c.Leader()
	c.Freeze(leader)
	c.Freeze((leader + 1) % 3)
	eventually(t, "etcd to be away", func() bool { return !f.StoreAvailable() })
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err = f.change(ctx, 2, "")
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a change: %v, want %v", err, store.ErrUnavailable)
	}
	if cur := f.Current(); cur.Generation != out.Generation {
		t.Errorf("published %v, want %v", cur.Generation, out.Generation)
	}
	c.Thaw(leader)
	c.Thaw((leader + 1) % 3)
	eventually(t, "etcd to be back", f.StoreAvailable)
	eventually(t, "a change", func() bool {
		out, err := f.change(t.Context(), 3, "")
		return err == nil && f.Current().Generation == out.Generation
	})
}
