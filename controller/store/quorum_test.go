package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead-dns/fairlead/controller/store"
	"github.com/fairlead-dns/fairlead/controller/store/embedded"
	"github.com/fairlead-dns/fairlead/regions"
)

// Two of three members stop: every call says so in time, and all works again
// when one is back. Objects can be read meanwhile.
func TestQuorumLost(t *testing.T) {
	t.Parallel()
	cluster := startCluster(t, embedded.ClusterOptions{})
	c := dial(t, store.DialOptions{Endpoints: cluster.Endpoints()})
	s := open(t, store.Options{Client: c})
	digests, _, err := s.Put(t.Context(), numbered(3, 10))
	if err != nil {
		t.Fatal(err)
	}
	m := digests[0].Bytes()
	rev := mustSwap(t, s, swap(0, m, "a"))
	soon := hasty(t, c)
	w := watch(t, open(t, store.Options{Client: c, RequestTimeout: 400 * time.Millisecond, ReadInterval: 100 * time.Millisecond}))
	w.waitRevision(rev)

	must(t, cluster.Stop(0, 1))
	var calls sync.WaitGroup
	for name, call := range map[string]func() error{
		"Head":    func() error { _, err := soon.Head(t.Context()); return err },
		"Put":     func() error { _, _, err := soon.Put(t.Context(), [][]byte{[]byte("new")}); return err },
		"Swap":    func() error { _, err := soon.Swap(t.Context(), swap(rev, m, "b")); return err },
		"Request": func() error { _, _, _, err := soon.Request(t.Context(), "a"); return err },
		"Events":  func() error { _, _, err := soon.Events(t.Context(), 0, ""); return err },
		"Event": func() error {
			_, err := soon.Event(t.Context(), regions.Generation{Epoch: 1, Revision: rev})
			return err
		},
		"Floor":   func() error { _, err := soon.Floor(t.Context()); return err },
		"Collect": func() error { _, err := soon.Collect(t.Context(), collecting(begun)); return err },
	} {
		calls.Go(func() {
			if err := call(); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s: %v, want %v", name, err, store.ErrUnavailable)
			}
		})
	}
	calls.Wait() // with the test's own timeout, if one hangs
	w.waitErr(store.ErrUnavailable)
	// A member that has all objects is left, and a client that finds it.
	if _, err := s.Get(t.Context(), digests); err != nil {
		t.Errorf("Get: %v", err)
	}

	must(t, cluster.Restart(t.Context(), 0))
	eventually(t, "a swap", func() bool {
		_, err := s.Swap(t.Context(), swap(rev, m, "b"))
		var repeated *store.RepeatedError
		return err == nil || errors.As(err, &repeated)
	})
	w.waitRevision(mustHead(t, s).Revision)
}

// A member is cut off from the others while clients still reach it. Reads and
// writes go round it.
func TestMemberIsolated(t *testing.T) {
	t.Parallel()
	cluster := startCluster(t, embedded.ClusterOptions{})
	s := open(t, store.Options{Client: dial(t, store.DialOptions{Endpoints: cluster.Endpoints()}), ReadInterval: never, RequestTimeout: 5 * time.Second})
	m := manifest(t, s, "m")
	rev := mustSwap(t, s, swap(0, m, "first"))
	w := watch(t, s)
	w.waitRevision(rev)
	cluster.Isolate(cluster.Leader())
	for i := range 10 {
		rev = mustSwap(t, s, swap(rev, m, fmt.Sprint(i)))
		if h := mustHead(t, s); h.Revision != rev {
			t.Errorf("head is at %d, want %d", h.Revision, rev)
		}
		w.waitRevision(rev)
	}
}

// Writers swap while leaders stop, one after the other. What was reported as
// made is in the trail, what was reported as not made is not, and the trail has
// no gap: nothing acknowledged was lost with a member.
func TestLeadersStop(t *testing.T) {
	t.Parallel()
	cluster := startCluster(t, embedded.ClusterOptions{})
	const writers = 4
	var (
		mu                    sync.Mutex
		made, notMade, unsure = map[string]int64{}, map[string]error{}, map[string]error{}
		wg                    sync.WaitGroup
	)
	ctx, stop := context.WithCancel(t.Context())
	for i := range writers {
		c := dial(t, store.DialOptions{Endpoints: cluster.Endpoints()})
		m := manifest(t, open(t, store.Options{Client: c}), "m")
		s := hasty(t, c) // an election may take longer
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				h, err := s.Head(t.Context())
				if err != nil {
					continue
				}
				id := fmt.Sprintf("%d-%d", i, n)
				rev, err := s.Swap(t.Context(), swap(h.Revision, m, id))
				mu.Lock()
				switch {
				case err == nil:
					made[id] = rev
				case errors.Is(err, store.ErrUnknownOutcome):
					unsure[id] = err
				default:
					notMade[id] = err
				}
				mu.Unlock()
			}
		})
	}
	changes := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(made)
	}
	more := func() {
		t.Helper()
		before := changes()
		eventually(t, "more changes", func() bool { return changes() > before+5 })
	}
	more()
	for range 3 {
		leader := -1
		eventually(t, "a leader", func() bool { leader = cluster.Leader(); return leader >= 0 })
		must(t, cluster.Stop(leader))
		more()
		must(t, cluster.Restart(t.Context(), leader))
		more()
	}
	stop()
	wg.Wait()

	s := open(t, store.Options{Client: dial(t, store.DialOptions{Endpoints: cluster.Endpoints()})})
	events := allEvents(t, s)
	checkChain(t, s, events)
	trail := map[string]int64{}
	for _, e := range events {
		if trail[e.RequestId] != 0 {
			t.Errorf("%s was made twice", e.RequestId)
		}
		trail[e.RequestId] = e.Generation.Revision
	}
	for id, rev := range made {
		if trail[id] != rev {
			t.Errorf("%s was reported as made at %d, the trail says %d", id, rev, trail[id])
		}
	}
	for id, err := range notMade {
		if trail[id] != 0 {
			t.Errorf("%s was reported as not made (%v), the trail says %d", id, err, trail[id])
		}
	}
	t.Logf("%d made, %d not made, %d unsure, %d in the trail", len(made), len(notMade), len(unsure), len(trail))
}

// Writers swap and controllers collect while leaders stop. All that kept
// generations need is there at any time, and whoever writes gets on.
func TestCollectWhileLeadersStop(t *testing.T) {
	t.Parallel()
	cluster := startCluster(t, embedded.ClusterOptions{})
	w := &world{failer: t, plain: dial(t, store.DialOptions{Endpoints: cluster.Endpoints()}), prefix: store.DefaultPrefix}
	ctx, stop := context.WithCancel(t.Context())
	var (
		wg                    sync.WaitGroup
		swaps, removed, again atomic.Int64
	)
	for i := range 2 {
		s := hasty(t, dial(t, store.DialOptions{Endpoints: cluster.Endpoints()}))
		wg.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				parts := []string{universe[n%5], universe[(n+1+n/5)%5], fmt.Sprint(i, n)}
				if writer(parts, "o", func() { again.Add(1) })(ctx, s) == nil {
					swaps.Add(1)
				}
			}
		})
		other := hasty(t, dial(t, store.DialOptions{Endpoints: cluster.Endpoints()}))
		wg.Go(func() {
			for ctx.Err() == nil {
				got, err := other.Collect(ctx, collecting(begun))
				if errors.Is(err, store.ErrMissingObject) || errors.Is(err, store.ErrHeadLost) {
					t.Error(err)
				}
				removed.Add(int64(got.RemovedObjects))
			}
		})
	}
	more := func() {
		t.Helper()
		s, r := swaps.Load(), removed.Load()
		eventually(t, "more changes and collections", func() bool { return swaps.Load() > s+5 && removed.Load() > r+5 })
		w.check()
	}
	more()
	for range 2 {
		leader := -1
		eventually(t, "a leader", func() bool { leader = cluster.Leader(); return leader >= 0 })
		must(t, cluster.Stop(leader))
		more()
		must(t, cluster.Restart(t.Context(), leader))
		more()
	}
	stop()
	wg.Wait()
	// What was under way when they were told to stop may arrive yet.
	eventually(t, "nothing but what is needed", func() bool { return w.clean() == nil })
	t.Logf("%d swaps, %d objects removed, %d times put again", swaps.Load(), removed.Load(), again.Load())
}
