package store_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/fairlead-dns/fairlead/controller/store"
	"github.com/fairlead-dns/fairlead/controller/store/embedded"
)

// seen is what Watch told.
type seen struct {
	head store.Head
	err  error
}

// watcher runs a Watch and keeps what it told.
type watcher struct {
	t    *testing.T
	mu   sync.Mutex
	all  []seen
	hold sync.Mutex // keeps fn busy
}

func watch(t *testing.T, s *store.Store) *watcher {
	t.Helper()
	w := &watcher{t: t}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		done <- s.Watch(ctx, func(h store.Head, err error) {
			w.mu.Lock()
			w.all = append(w.all, seen{h, err})
			w.mu.Unlock()
			w.hold.Lock()
			defer w.hold.Unlock()
		})
	}()
	t.Cleanup(func() { cancel(); check(t, <-done) })
	return w
}

func (w *watcher) last() (seen, int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.all) == 0 {
		return seen{}, 0
	}
	return w.all[len(w.all)-1], len(w.all)
}

func (w *watcher) waitRevision(rev int64) {
	w.t.Helper()
	eventually(w.t, fmt.Sprintf("revision %d", rev), func() bool {
		l, n := w.last()
		return n > 0 && l.err == nil && l.head.Revision == rev
	})
}

func (w *watcher) waitErr(want error) {
	w.t.Helper()
	eventually(w.t, want.Error(), func() bool {
		l, _ := w.last()
		if l.err == nil {
			return false
		}
		wantErr(w.t, l.err, want)
		return true
	})
}

// never is a ReadInterval that leaves all to the hints.
const never = time.Hour

func TestWatch(t *testing.T) {
	t.Parallel()
	c := dial(t, store.DialOptions{Endpoints: startServer(t).Endpoints()})
	s := open(t, store.Options{Client: c, ReadInterval: never})
	m := manifest(t, s, "m")
	w := watch(t, s)
	w.waitRevision(0) // none yet
	rev := mustSwap(t, s, swap(0, m, "a"))
	w.waitRevision(rev)
	rev = mustSwap(t, s, swap(rev, m, "b"))
	w.waitRevision(rev)

	// Deleted by hand: told so, and not guessed back.
	if _, err := c.Delete(t.Context(), headKey); err != nil {
		t.Fatal(err)
	}
	w.waitRevision(0)
	if l, _ := w.last(); l.head.Head != nil {
		t.Errorf("head that is gone: %v", l.head)
	}
	again := swap(0, m, "c")
	_, err := s.Swap(t.Context(), again)
	wantErr(t, err, store.ErrHeadLost)
	again.Restore = true
	rev = mustSwap(t, s, again)
	w.waitRevision(rev)

	// Altered by hand: the error comes with the last good head.
	if _, err := c.Put(t.Context(), headKey, "junk"); err != nil {
		t.Fatal(err)
	}
	w.waitErr(store.ErrMalformedHead)
	if l, _ := w.last(); l.head.Revision != rev {
		t.Errorf("with the error came revision %d, want %d", l.head.Revision, rev)
	}
	if _, err := c.Delete(t.Context(), headKey); err != nil {
		t.Fatal(err)
	}
	w.waitRevision(0)
}

// However many changes are made while fn is busy, it is called for the last
// one next.
func TestWatchCoalesces(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	m := manifest(t, s, "m")
	w := watch(t, s)
	w.waitRevision(0)
	w.hold.Lock()
	rev := mustSwap(t, s, swap(0, m, "first"))
	w.waitRevision(rev) // and fn is busy with it
	for i := range 20 {
		rev = mustSwap(t, s, swap(rev, m, fmt.Sprint(i)))
	}
	w.hold.Unlock()
	w.waitRevision(rev)
	if _, n := w.last(); n > 4 {
		t.Errorf("fn was called %d times", n)
	}
}

// No hint ever comes; the head is read nevertheless.
func TestWatchWithoutHints(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	deaf, err := clientv3.New(clientv3.Config{
		Endpoints: server.Endpoints(), Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithChainStreamInterceptor(
			func(ctx context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, _ string, _ grpc.Streamer, _ ...grpc.CallOption) (grpc.ClientStream, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			})},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { deaf.Close() })
	w := watch(t, open(t, store.Options{Client: deaf, ReadInterval: 10 * time.Millisecond}))
	s := open(t, store.Options{Client: dial(t, store.DialOptions{Endpoints: server.Endpoints()})})
	m := manifest(t, s, "m")
	var rev int64
	for i := range 5 {
		rev = mustSwap(t, s, swap(rev, m, fmt.Sprint(i)))
		w.waitRevision(rev)
	}
}

// etcd restarts, and changes are made and compacted away before the watch is
// back. It cannot be told of them, and nothing but hints wakes it.
func TestWatchHeals(t *testing.T) {
	t.Parallel()
	cluster := startCluster(t, embedded.ClusterOptions{Members: 1})
	c := dial(t, store.DialOptions{Endpoints: cluster.Endpoints()})
	s := open(t, store.Options{Client: c, ReadInterval: never})
	m := manifest(t, s, "m")
	rev := mustSwap(t, s, swap(0, m, "first"))
	w := watch(t, s)
	w.waitRevision(rev)
	for round := range 3 {
		must(t, cluster.Stop(0))
		must(t, cluster.Restart(t.Context(), 0))
		for i := range 3 {
			rev = mustSwap(t, s, swap(rev, m, fmt.Sprint(round, "-", i)))
		}
		if _, err := c.Compact(t.Context(), rev); err != nil {
			t.Fatal(err)
		}
		w.waitRevision(rev)
		rev = mustSwap(t, s, swap(rev, m, fmt.Sprint(round, "-z")))
		w.waitRevision(rev)
	}
}

// fn is told once that etcd is away, and once that it is back.
func TestWatchAvailability(t *testing.T) {
	t.Parallel()
	cluster := startCluster(t, embedded.ClusterOptions{Members: 1})
	c := dial(t, store.DialOptions{Endpoints: cluster.Endpoints()})
	s := open(t, store.Options{Client: c})
	rev := mustSwap(t, s, swap(0, manifest(t, s, "m"), "first"))
	w := watch(t, open(t, store.Options{Client: c, ReadInterval: 20 * time.Millisecond, RequestTimeout: 100 * time.Millisecond}))
	w.waitRevision(rev)
	for range 2 {
		must(t, cluster.Stop(0))
		w.waitErr(store.ErrUnavailable)
		time.Sleep(300 * time.Millisecond) // several reads that fail
		must(t, cluster.Restart(t.Context(), 0))
		w.waitRevision(rev)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, s := range w.all {
		if s.head.Revision != rev && i > 0 {
			t.Errorf("call %d: revision %d, want %d", i, s.head.Revision, rev)
		}
		if i > 0 && (s.err == nil) == (w.all[i-1].err == nil) {
			t.Errorf("calls %d and %d say the same: %v, %v", i-1, i, w.all[i-1].err, s.err)
		}
	}
}
