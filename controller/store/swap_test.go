package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/fairlead-dns/fairlead/controller/store"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func TestSwap(t *testing.T) {
	t.Parallel()
	s, c := newStore(t)
	if h := mustHead(t, s); h.Revision != 0 || h.Head != nil || !h.Generation().IsZero() || h.Cluster == 0 {
		t.Errorf("head of an empty store: %+v", h)
	}
	m1, m2 := manifest(t, s, "m1"), manifest(t, s, "m2")

	r1 := mustSwap(t, s, swap(0, m1, "first"))
	h := mustHead(t, s)
	want := &pb.Head{Epoch: 1, Manifest: m1, Installation: "test"}
	if h.Revision != r1 || !proto.Equal(h.Head, want) {
		t.Errorf("head is %v at %d, want %v at %d", h.Head, h.Revision, want, r1)
	}
	if g := h.Generation(); g.Epoch != 1 || g.Revision != r1 {
		t.Errorf("generation %v", g)
	}

	w := swap(r1, m2, "second")
	r2 := mustSwap(t, s, w)
	if w.Head.PreviousRevision != 0 || w.Event.RequestId != "" {
		t.Error("Swap wrote into its argument")
	}
	if h := mustHead(t, s); h.Revision != r2 || h.PreviousRevision != r1 {
		t.Errorf("head is %v at %d", h.Head, h.Revision)
	}

	// Whoever comes late changes nothing, not even its request's record.
	_, err := s.Swap(t.Context(), swap(r1, m1, "late"))
	wantErr(t, err, store.ErrConflict)
	_, err = s.Swap(t.Context(), swap(0, m1, "late"))
	wantErr(t, err, store.ErrConflict)
	_, err = s.Swap(t.Context(), swap(r2+1000, m1, "late"))
	wantErr(t, err, store.ErrConflict)
	if _, _, found, err := s.Request(t.Context(), "late"); found || err != nil {
		t.Errorf("request of the late one: %v, %v", found, err)
	}
	if rev := mustSwap(t, s, swap(r2, m1, "late")); rev <= r2 {
		t.Errorf("revision %d after %d", rev, r2)
	}

	// Without a request id.
	if rev := mustSwap(t, s, swap(mustHead(t, s).Revision, m1, "")); rev != mustHead(t, s).Revision {
		t.Errorf("revision %d", rev)
	}
	if n := len(allEvents(t, s)); n != 4 {
		t.Errorf("%d events, want 4", n)
	}

	// Records go with a lease, nothing else does.
	resp, err := c.Get(t.Context(), store.DefaultPrefix, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range resp.Kvs {
		key := strings.TrimPrefix(string(kv.Key), store.DefaultPrefix)
		record := strings.HasPrefix(key, "requests/") || strings.HasPrefix(key, "attempts/")
		if record != (kv.Lease != 0) {
			t.Errorf("key %s has lease %d", key, kv.Lease)
		}
		if kv.Lease != 0 {
			ttl, err := c.TimeToLive(t.Context(), clientv3.LeaseID(kv.Lease))
			if err != nil || ttl.GrantedTTL < 24*3600 {
				t.Errorf("lease of %s: %+v, %v", key, ttl, err)
			}
		}
	}
}

func TestSwapRepeated(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	m := manifest(t, s, "m")
	r1 := mustSwap(t, s, swap(0, m, "once"))
	r2 := mustSwap(t, s, swap(r1, m, "other"))
	// Repeated as it was, and as a client does who read the head again.
	for _, expect := range []int64{0, r1, r2} {
		_, err := s.Swap(t.Context(), swap(expect, m, "once"))
		var repeated *store.RepeatedError
		if !errors.As(err, &repeated) || repeated.Revision != r1 || string(repeated.Result) != "result of once" {
			t.Errorf("expecting %d: %v", expect, err)
		}
	}
	if h := mustHead(t, s); h.Revision != r2 {
		t.Errorf("head moved to %d", h.Revision)
	}
	rev, result, found, err := s.Request(t.Context(), "once")
	if rev != r1 || string(result) != "result of once" || !found || err != nil {
		t.Errorf("request: %d %q %v %v", rev, result, found, err)
	}
	if _, _, found, err := s.Request(t.Context(), "never"); found || err != nil {
		t.Errorf("request never made: %v %v", found, err)
	}
}

func TestSwapEpoch(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	m := manifest(t, s, "m")
	at := func(expect int64, epoch uint64) store.Swap {
		w := swap(expect, m, fmt.Sprintf("epoch-%d-%d", epoch, expect))
		w.Head.Epoch = epoch
		return w
	}
	rev := mustSwap(t, s, at(0, 5))
	_, err := s.Swap(t.Context(), at(rev, 4))
	wantErr(t, err, store.ErrEpoch)
	rev = mustSwap(t, s, at(rev, 5))
	rev = mustSwap(t, s, at(rev, 7))
	_, err = s.Swap(t.Context(), at(rev, 6))
	wantErr(t, err, store.ErrEpoch)
	if h := mustHead(t, s); h.Epoch != 7 || h.Revision != rev {
		t.Errorf("head is %v at %d", h.Head, h.Revision)
	}
}

func TestSwapMissingObject(t *testing.T) {
	t.Parallel()
	s, c := newStore(t)
	there := manifest(t, s, "there")
	absent := store.Sum([]byte("absent"))
	w := swap(0, absent.Bytes(), "r")
	_, err := s.Swap(t.Context(), w)
	wantErr(t, err, store.ErrMissingObject)
	w = swap(0, there, "r")
	w.Head.Overrides = absent.Bytes()
	_, err = s.Swap(t.Context(), w)
	wantErr(t, err, store.ErrMissingObject)
	if err == nil || !strings.Contains(err.Error(), absent.String()) {
		t.Errorf("%v does not name %v", err, absent)
	}
	if h := mustHead(t, s); h.Revision != 0 {
		t.Errorf("there is a head at %d", h.Revision)
	}
	// Manifest and overrides may be one object (both empty, say).
	w.Head.Overrides = there
	rev := mustSwap(t, s, w)

	if _, err := c.Delete(t.Context(), objectKey(store.Digest(there))); err != nil {
		t.Fatal(err)
	}
	_, err = s.Swap(t.Context(), swap(rev, there, "r2"))
	wantErr(t, err, store.ErrMissingObject)
}

func TestSwapValidates(t *testing.T) {
	t.Parallel()
	s, c := newStore(t)
	m := store.Sum(nil)
	for name, tc := range map[string]struct {
		spoil func(*store.Swap)
		want  string
	}{
		"negative":  {func(w *store.Swap) { w.Expect = -1 }, "expects revision -1"},
		"no head":   {func(w *store.Swap) { w.Head = nil }, "no head"},
		"manifest":  {func(w *store.Swap) { w.Head.Manifest = nil }, "manifest: 0 bytes are no digest"},
		"overrides": {func(w *store.Swap) { w.Head.Overrides = []byte("abc") }, "overrides: 3 bytes are no digest"},
		"no event":  {func(w *store.Swap) { w.Event = nil }, "no audit event"},
		"event":     {func(w *store.Swap) { w.Event.Reason = strings.Repeat("x", store.MaxEventSize) }, "audit event has"},
		"id":        {func(w *store.Swap) { w.RequestID = "a b" }, `request id "a b"`},
		"long id":   {func(w *store.Swap) { w.RequestID = strings.Repeat("x", 257) }, "at most 256"},
		"result":    {func(w *store.Swap) { w.Result = make([]byte, store.MaxResultSize+1) }, "result has 262145 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			w := swap(0, m[:], "r")
			tc.spoil(&w)
			_, err := s.Swap(t.Context(), w)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want %q in it", err, tc.want)
			}
		})
	}
	if rev := revision(t, c); rev != 1 {
		t.Errorf("the store is at revision %d: something was written", rev)
	}
}

// Event, result and objects at their limits fit into one request.
func TestSwapLargest(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	w := swap(0, manifest(t, s, "m"), strings.Repeat("i", store.MaxRequestIDLen))
	w.Event.Reason = strings.Repeat("r", store.MaxEventSize-100)
	w.Result = make([]byte, store.MaxResultSize)
	mustSwap(t, s, w)
}

// Many writers swap as fast as they can: every success is one revision and one
// event, and every head is built on the one that its writer read.
func TestSwapRace(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	const writers, each = 8, 10
	var conflicts atomic.Int64
	var wg sync.WaitGroup
	revisions := make([][]int64, writers)
	for i := range writers {
		s := open(t, store.Options{Client: dial(t, store.DialOptions{Endpoints: server.Endpoints()})})
		m := manifest(t, s, "m")
		wg.Go(func() {
			for n := 0; n < each; {
				h, err := s.Head(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				rev, err := s.Swap(t.Context(), swap(h.Revision, m, fmt.Sprintf("%d-%d", i, n)))
				switch {
				case errors.Is(err, store.ErrConflict):
					conflicts.Add(1)
				case err != nil:
					t.Error(err)
					return
				default:
					revisions[i] = append(revisions[i], rev)
					n++
				}
			}
		})
	}
	wg.Wait()
	s := open(t, store.Options{Client: dial(t, store.DialOptions{Endpoints: server.Endpoints()})})
	all := map[int64]bool{}
	for _, rs := range revisions {
		for _, r := range rs {
			all[r] = true
		}
	}
	if len(all) != writers*each {
		t.Errorf("%d different revisions, want %d", len(all), writers*each)
	}
	events := allEvents(t, s)
	if len(events) != writers*each {
		t.Errorf("%d events, want %d", len(events), writers*each)
	}
	checkChain(t, s, events)
	t.Logf("%d swaps, %d conflicts", writers*each, conflicts.Load())
}

// checkChain holds the trail against the head: newest first, each event built
// on the one after it, down to the first.
func checkChain(t *testing.T, s *store.Store, events []*pb.AuditEvent) {
	t.Helper()
	next := mustHead(t, s).Revision
	for i, e := range events {
		if e.GetGeneration().GetRevision() != next {
			t.Fatalf("event %d has revision %d, want %d", i, e.GetGeneration().GetRevision(), next)
		}
		next = e.PreviousRevision
	}
	if next != 0 {
		t.Errorf("the first event was built on revision %d", next)
	}
}

// The store against a model of it, for sequences of swaps by writers who may
// be behind, repeat themselves or come from an old epoch.
func TestSwapModel(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	client := dial(t, store.DialOptions{Endpoints: server.Endpoints()})
	var n atomic.Int64
	rapid.Check(t, func(rt *rapid.T) {
		s := open(t, store.Options{Client: client, Prefix: fmt.Sprintf("/model/%d/", n.Add(1))})
		m := manifest(t, s, "m")
		var (
			revisions = []int64{0}
			epoch     uint64
			made      = map[string]int64{}
		)
		for range rapid.IntRange(1, 12).Draw(rt, "swaps") {
			head := revisions[len(revisions)-1]
			expect := rapid.OneOf(rapid.Just(head), rapid.SampledFrom(revisions)).Draw(rt, "expect")
			id := rapid.SampledFrom([]string{"", "a", "b", "c", "d", "e", "f", "g"}).Draw(rt, "id")
			w := swap(expect, m, id)
			w.Head.Epoch = rapid.Uint64Range(1, 3).Draw(rt, "epoch")
			rev, err := s.Swap(t.Context(), w)

			var repeated *store.RepeatedError
			switch {
			case made[id] != 0:
				if !errors.As(err, &repeated) || repeated.Revision != made[id] {
					rt.Fatalf("%q again: %v, want that of %d", id, err, made[id])
				}
			case expect != head:
				if !errors.Is(err, store.ErrConflict) {
					rt.Fatalf("expecting %d when at %d: %v", expect, head, err)
				}
			case w.Head.Epoch < epoch:
				if !errors.Is(err, store.ErrEpoch) {
					rt.Fatalf("epoch %d when at %d: %v", w.Head.Epoch, epoch, err)
				}
			default:
				if err != nil || rev <= head {
					rt.Fatalf("revision %d after %d, %v", rev, head, err)
				}
				revisions = append(revisions, rev)
				epoch = w.Head.Epoch
				if id != "" {
					made[id] = rev
				}
			}
			h, err := s.Head(context.Background())
			if err != nil || h.Revision != revisions[len(revisions)-1] || h.GetEpoch() != epoch {
				rt.Fatalf("head is %v at %d, %v", h.Head, h.Revision, err)
			}
		}
		events := allEvents(t, s)
		if len(events) != len(revisions)-1 {
			rt.Fatalf("%d events for %d changes", len(events), len(revisions)-1)
		}
	})
}
