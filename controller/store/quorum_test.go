package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-dns/fairlead/controller/store"
	"github.com/fairlead-dns/fairlead/controller/store/embedded"
)

// Two of three members stop: every call says so in time, and all works again
// when one is back. Objects can be read meanwhile.
func TestQuorumLost(t *testing.T) {
	t.Parallel()
	cluster := startCluster(t, embedded.ClusterOptions{})
	c := dial(t, store.DialOptions{Endpoints: cluster.Endpoints()})
	s := open(t, store.Options{Client: c})
	digests, err := s.Put(t.Context(), numbered(3, 10))
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
		"Put":     func() error { _, err := soon.Put(t.Context(), [][]byte{[]byte("new")}); return err },
		"Swap":    func() error { _, err := soon.Swap(t.Context(), swap(rev, m, "b")); return err },
		"Request": func() error { _, _, _, err := soon.Request(t.Context(), "a"); return err },
		"Events":  func() error { _, _, err := soon.Events(t.Context(), 0, ""); return err },
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
