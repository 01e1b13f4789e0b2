package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead-dns/fairlead/controller/store"
	"github.com/fairlead-dns/fairlead/regions"
)

const collectionKey = store.DefaultPrefix + "collection"

// Manifests of these tests name one part a line.
func references(manifest []byte) ([]store.Reference, error) {
	var refs []store.Reference
	for line := range strings.Lines(string(manifest)) {
		d, err := store.ParseDigest(strings.TrimSpace(line))
		if err != nil {
			return nil, err
		}
		refs = append(refs, store.Reference{Digest: d, Size: 100})
	}
	return refs, nil
}

// tree returns a manifest over parts, and the parts.
func tree(parts ...string) [][]byte {
	var manifest []byte
	var objects [][]byte
	for _, p := range parts {
		objects = append(objects, []byte(p))
		manifest = fmt.Appendln(manifest, store.Sum([]byte(p)))
	}
	return append([][]byte{manifest}, objects...)
}

var begun = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// commit makes a generation of parts at a time, and returns it.
func commit(t testing.TB, s *store.Store, at time.Time, parts ...string) regions.Generation {
	t.Helper()
	digests, mark, err := s.Put(t.Context(), append(tree(parts...), []byte("overrides")))
	must(t, err)
	h := mustHead(t, s)
	w := swap(h.Revision, digests[0].Bytes(), "")
	w.Head.Overrides = digests[len(digests)-1].Bytes()
	w.Mark, w.Event.Time = mark, timestamppb.New(at)
	return regions.Generation{Epoch: 1, Revision: mustSwap(t, s, w)}
}

// collecting keeps two generations and nothing for its age.
func collecting(now time.Time) store.CollectOptions {
	return store.CollectOptions{
		Retention:  store.Retention{Generations: 2, Events: 1000, Refusals: 2, EventPeriod: 1000 * time.Hour},
		Controller: "c1", Now: now, References: references, Pause: time.Nanosecond,
	}
}

// parts lists those of the contents that are in the store.
func present(t testing.TB, s *store.Store, contents ...string) string {
	t.Helper()
	var found []string
	for _, c := range contents {
		_, err := s.Get(t.Context(), []store.Digest{store.Sum([]byte(c))})
		switch {
		case err == nil:
			found = append(found, c)
		case !errors.Is(err, store.ErrMissingObject):
			t.Fatal(err)
		}
	}
	return strings.Join(found, " ")
}

func count(t testing.TB, c *clientv3.Client, under string) int {
	t.Helper()
	resp, err := c.Get(t.Context(), store.DefaultPrefix+under, clientv3.WithPrefix(), clientv3.WithCountOnly())
	must(t, err)
	return int(resp.Count)
}

func TestCollect(t *testing.T) {
	t.Parallel()
	s, c := newStore(t)
	if got, err := s.Collect(t.Context(), collecting(begun)); err != nil || !got.Skipped {
		t.Errorf("an empty store: %+v, %v", got, err)
	}
	var gens []regions.Generation
	for i := range 10 {
		// Each has a part of its own, one that it shares with the next, and one of all.
		at := begun.Add(time.Duration(i) * time.Hour)
		gens = append(gens, commit(t, s, at, fmt.Sprint("own", i), fmt.Sprint("pair", i/2), "all"))
	}
	now := begun.Add(9*time.Hour + time.Minute)
	for _, step := range []struct {
		alter  func(*store.CollectOptions)
		floor  int // index of the oldest that is kept
		events int
	}{
		{func(o *store.CollectOptions) { o.Period, o.MaxBytes = 3*time.Hour, 1<<20 }, 7, 10},
		// What is not kept any more does not come back.
		{func(o *store.CollectOptions) { o.Generations = 5 }, 7, 10},
		// Age counts for nothing beyond the size.
		{func(o *store.CollectOptions) { o.Period, o.MaxBytes = 3*time.Hour, 1 }, 8, 10},
		{func(o *store.CollectOptions) { o.Retention.Events = 6 }, 8, 6},
		{func(o *store.CollectOptions) { o.EventPeriod = 4*time.Hour + 30*time.Minute }, 8, 5},
		// Events are kept for the generations that are.
		{func(o *store.CollectOptions) { o.EventPeriod = 0 }, 8, 2},
		{func(o *store.CollectOptions) { o.Generations = 1 }, 9, 2},
		{func(o *store.CollectOptions) { o.Generations, o.Retention.Events = 1, 1 }, 9, 1},
	} {
		o := collecting(now)
		step.alter(&o)
		got, err := s.Collect(t.Context(), o)
		must(t, err)
		n := 10 - step.floor
		if got.Floor != gens[step.floor] || got.Generations != n || got.Missing != 0 || got.Young != 0 {
			t.Errorf("%+v, want %d generations from %v on", got, n, gens[step.floor])
		}
		if floor, err := s.Floor(t.Context()); floor != gens[step.floor] || err != nil {
			t.Errorf("floor %v, %v, want %v", floor, err, gens[step.floor])
		}
		var want []string
		for i := step.floor; i < 10; i++ {
			want = append(want, fmt.Sprint("own", i))
		}
		for i := step.floor / 2; i < 5; i++ {
			want = append(want, fmt.Sprint("pair", i))
		}
		want = append(want, "all", "overrides")
		var all []string
		for i := range 10 {
			all = append(all, fmt.Sprint("own", i))
		}
		all = append(all, "pair0", "pair1", "pair2", "pair3", "pair4", "all", "overrides")
		if found := present(t, s, all...); found != strings.Join(want, " ") {
			t.Errorf("present: %s\nwant:    %s", found, strings.Join(want, " "))
		}
		if have := count(t, c, "objects/"); have != len(want)+n || got.Objects != have {
			t.Errorf("%d objects, counted %d, want %d", have, got.Objects, len(want)+n)
		}
		if have := count(t, c, "audit/"); have != step.events {
			t.Errorf("%d events, want %d", have, step.events)
		}
		for i, g := range gens {
			e, err := s.Event(t.Context(), g)
			if kept := i >= 10-step.events; err != nil || kept != (e != nil) || kept && e.GetHead().GetManifest() == nil {
				t.Errorf("event of generation %v: %v, %v", g, e, err)
			}
		}
	}
	for _, g := range []regions.Generation{{}, {Epoch: 1, Revision: gens[9].Revision + 1}, {Epoch: 1, Revision: gens[9].Revision - 1}, {Epoch: 2, Revision: gens[9].Revision}, {Epoch: 1, Revision: -1}} {
		if e, err := s.Event(t.Context(), g); e != nil || err != nil {
			t.Errorf("event of generation %v: %v, %v", g, e, err)
		}
	}
	// The trail is not at an end: the first head of all cannot be made again.
	_, err := c.Delete(t.Context(), headKey)
	must(t, err)
	_, err = s.Swap(t.Context(), swap(0, manifest(t, s, ""), "x"))
	if !errors.Is(err, store.ErrHeadLost) && !errors.Is(err, store.ErrCollected) {
		t.Errorf("a first head: %v", err)
	}
}

// More than fits into one request.
func TestCollectMany(t *testing.T) {
	t.Parallel()
	s, c := newStore(t)
	_, _, err := s.Put(t.Context(), numbered(1000, 10))
	must(t, err)
	for i := range 120 {
		commit(t, s, begun, "a", fmt.Sprint(i))
	}
	got, err := s.Collect(t.Context(), collecting(begun))
	if err != nil || got.RemovedObjects != 1000+118*2 || got.RemovedEvents != 0 || got.Generations != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	if n := count(t, c, "objects/"); n != 6 {
		t.Errorf("%d objects are left", n)
	}
}

// What nobody refers to yet stays until it is old enough, by the clock and by
// the runs that saw it.
func TestCollectYoung(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	commit(t, s, begun, "a")
	put := func(content string) {
		_, _, err := s.Put(t.Context(), [][]byte{[]byte(content)})
		must(t, err)
	}
	put("x")
	for _, step := range []struct {
		after time.Duration
		want  string
		young int
	}{
		{0, "x", 1},
		{59 * time.Minute, "x y", 2},
		{60 * time.Minute, "y z", 2}, // x was there at the first run
		{119 * time.Minute, "y z", 2},
		{120 * time.Minute, "", 0}, // the others at the third
		// A clock that goes back removes nothing, and does not stop it for good.
		{-100 * time.Hour, "w", 1},
		{-99 * time.Hour, "", 0},
	} {
		switch step.after {
		case 59 * time.Minute:
			put("y")
		case 60 * time.Minute:
			put("z")
		case -100 * time.Hour:
			put("w")
		}
		o := collecting(begun.Add(step.after))
		o.Grace = time.Hour
		got, err := s.Collect(t.Context(), o)
		must(t, err)
		if found := present(t, s, "x", "y", "z", "w"); found != step.want || got.Young != step.young {
			t.Errorf("after %v: %q are there, %d young, want %q, %d", step.after, found, got.Young, step.want, step.young)
		}
	}
}

func TestCollectNotWithin(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	commit(t, s, begun, "a")
	for _, step := range []struct {
		after   time.Duration
		skipped bool
	}{
		{0, false}, {29 * time.Minute, true}, {-29 * time.Minute, true}, {30 * time.Minute, false},
		{-time.Hour, false}, // another's clock was ahead; ours is taken
	} {
		o := collecting(begun.Add(step.after))
		o.NotWithin = 30 * time.Minute
		if got, err := s.Collect(t.Context(), o); err != nil || got.Skipped != step.skipped {
			t.Errorf("after %v: %+v, %v", step.after, got, err)
		}
	}
}

func TestCollectOptionsAreChecked(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	for name, alter := range map[string]func(*store.CollectOptions){
		"no generation":   func(o *store.CollectOptions) { o.Generations = 0 },
		"too few events":  func(o *store.CollectOptions) { o.Retention.Events = 1 },
		"no refusals":     func(o *store.CollectOptions) { o.Refusals = 0 },
		"events too soon": func(o *store.CollectOptions) { o.EventPeriod, o.Period = time.Hour, 2*time.Hour },
		"negative":        func(o *store.CollectOptions) { o.Grace = -1 },
		"no time":         func(o *store.CollectOptions) { o.Now = time.Time{} },
		"no reader":       func(o *store.CollectOptions) { o.References = nil },
	} {
		o := collecting(begun)
		alter(&o)
		if _, err := s.Collect(t.Context(), o); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	o := collecting(begun)
	o.Retention = store.DefaultRetention()
	if _, err := s.Collect(t.Context(), o); err != nil {
		t.Errorf("the default: %v", err)
	}
}

// While something is not as it must be, nothing is removed.
func TestCollectHolds(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		do  func(t *testing.T, s *store.Store, c *clientv3.Client, o *store.CollectOptions)
		err error
	}{
		"head lost": {func(t *testing.T, _ *store.Store, c *clientv3.Client, _ *store.CollectOptions) {
			_, err := c.Delete(t.Context(), headKey)
			must(t, err)
		}, store.ErrHeadLost},
		"head malformed": {func(t *testing.T, _ *store.Store, c *clientv3.Client, _ *store.CollectOptions) {
			_, err := c.Put(t.Context(), headKey, "junk")
			must(t, err)
		}, store.ErrMalformedHead},
		"collection key malformed": {func(t *testing.T, _ *store.Store, c *clientv3.Client, _ *store.CollectOptions) {
			_, err := c.Put(t.Context(), collectionKey, "junk")
			must(t, err)
		}, store.ErrMalformedCollection},
		"head's manifest missing": {func(t *testing.T, s *store.Store, c *clientv3.Client, _ *store.CollectOptions) {
			_, err := c.Delete(t.Context(), objectKey(store.Digest(mustHead(t, s).GetManifest())))
			must(t, err)
		}, store.ErrMissingObject},
		"older manifest altered": {func(t *testing.T, s *store.Store, c *clientv3.Client, _ *store.CollectOptions) {
			_, err := c.Put(t.Context(), objectKey(store.Sum(tree("b")[0])), "junk")
			must(t, err)
		}, store.ErrAlteredObject},
		"head not trusted": {func(_ *testing.T, _ *store.Store, _ *clientv3.Client, o *store.CollectOptions) {
			o.Trust = func(store.Head) error { return errDistrust }
		}, errDistrust},
		"manifest not understood": {func(_ *testing.T, _ *store.Store, _ *clientv3.Client, o *store.CollectOptions) {
			o.References = func([]byte) ([]store.Reference, error) { return nil, errDistrust }
		}, errDistrust},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c := newStore(t)
			for _, p := range []string{"a", "b", "c"} {
				commit(t, s, begun, p)
			}
			o := collecting(begun)
			tc.do(t, s, c, &o)
			before := count(t, c, "objects/")
			got, err := s.Collect(t.Context(), o)
			wantErr(t, err, tc.err)
			if after := count(t, c, "objects/"); after != before || got.RemovedObjects != 0 {
				t.Errorf("%d objects were removed, %+v", before-after, got)
			}
		})
	}
}

var errDistrust = errors.New("not trusted")

// A kept object that is gone is counted.
func TestCollectMissing(t *testing.T) {
	t.Parallel()
	s, c := newStore(t)
	commit(t, s, begun, "a", "b")
	_, err := c.Delete(t.Context(), objectKey(store.Sum([]byte("b"))))
	must(t, err)
	if got, err := s.Collect(t.Context(), collecting(begun)); err != nil || got.Missing != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

// A writer that was paused between its objects and the head finds out that they
// were collected, and puts them again.
func TestCollectUnderAPausedWriter(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	commit(t, s, begun, "a")
	objects := append(tree("b", "c"), []byte("overrides"))
	w := swap(mustHead(t, s).Revision, store.Sum(objects[0]).Bytes(), "r")
	for range 3 {
		digests, mark, err := s.Put(t.Context(), objects)
		must(t, err)
		w.Head.Overrides, w.Mark = digests[3].Bytes(), mark
		_, err = s.Collect(t.Context(), collecting(begun))
		must(t, err)
		if found := present(t, s, "a", "b", "c"); found != "a" {
			t.Fatalf("present: %s", found)
		}
		_, err = s.Swap(t.Context(), w)
		wantErr(t, err, store.ErrCollected)
		if errors.Is(err, store.ErrConflict) {
			t.Error("it is taken for a conflict over the head")
		}
	}
	_, mark, err := s.Put(t.Context(), objects)
	must(t, err)
	w.Mark = mark
	mustSwap(t, s, w)
	_, err = s.Collect(t.Context(), collecting(begun))
	must(t, err)
	if found := present(t, s, "a", "b", "c"); found != "a b c" {
		t.Errorf("present: %s", found)
	}
}

// Objects that a run was about to remove become part of the head in between:
// the run sees it and goes on with the rest.
func TestCollectWhileTheHeadMoves(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	s := open(t, store.Options{Client: dial(t, store.DialOptions{Endpoints: server.Endpoints()})})
	for _, p := range []string{"a", "b", "c", "d"} {
		commit(t, s, begun, p)
	}
	struck := 0
	c := faulty(t, server.Endpoints(), func(_ context.Context, txn *etcdserverpb.TxnRequest, send func() error) error {
		if writes(txn, collectionKey) && struck < 2 {
			struck++
			commit(t, s, begun, []string{"", "a", "x"}[struck])
		}
		return send()
	})
	got, err := open(t, store.Options{Client: c}).Collect(t.Context(), collecting(begun))
	if err != nil || got.Generations != 4 || struck != 2 {
		t.Errorf("%+v, %v; %d strikes", got, err, struck)
	}
	if found := present(t, s, "a", "b", "c", "d", "x"); found != "a c d x" {
		t.Errorf("present: %s", found)
	}
}

// Two runs at once: one of them gives way.
func TestCollectTwiceAtOnce(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	s := open(t, store.Options{Client: dial(t, store.DialOptions{Endpoints: server.Endpoints()})})
	for _, p := range []string{"a", "b", "c", "d"} {
		commit(t, s, begun, p)
	}
	c := faulty(t, server.Endpoints(), func(_ context.Context, txn *etcdserverpb.TxnRequest, send func() error) error {
		if writes(txn, collectionKey) {
			_, err := s.Collect(t.Context(), collecting(begun))
			must(t, err)
		}
		return send()
	})
	_, err := open(t, store.Options{Client: c}).Collect(t.Context(), collecting(begun))
	wantErr(t, err, store.ErrCollecting)
	if found := present(t, s, "a", "b", "c", "d"); found != "c d" {
		t.Errorf("present: %s", found)
	}
}

// A run is killed at each of its writes, carried out or not, and another one
// does the rest; what was under way then comes too late.
func TestCollectKilledAtAnyWrite(t *testing.T) {
	t.Parallel()
	for _, sent := range []bool{true, false} {
		for at := 1; ; at++ {
			server := startServer(t)
			plain := dial(t, store.DialOptions{Endpoints: server.Endpoints()})
			s := open(t, store.Options{Client: plain})
			_, _, err := s.Put(t.Context(), numbered(300, 10))
			must(t, err)
			for _, p := range []string{"a", "b", "c", "d"} {
				commit(t, s, begun, p)
			}
			writes, killed := 0, false
			var held *etcdserverpb.TxnRequest
			ctx, cancel := context.WithCancel(t.Context())
			c := faulty(t, server.Endpoints(), func(ctx context.Context, txn *etcdserverpb.TxnRequest, send func() error) error {
				if !slices.ContainsFunc(txn.Success, func(op *etcdserverpb.RequestOp) bool { return op.GetRequestRange() == nil }) {
					return send()
				}
				if writes++; writes != at {
					return send()
				}
				if sent {
					send()
				}
				held, killed = txn, true
				cancel()
				return ctx.Err()
			})
			o := collecting(begun)
			o.Retention.Events = 3
			_, err = open(t, store.Options{Client: c}).Collect(ctx, o)
			if killed == (err == nil) {
				t.Errorf("killed %v at write %d: %v", killed, at, err)
			}
			if found := present(t, s, "c", "d", "overrides"); found != "c d overrides" {
				t.Errorf("present: %s", found)
			}
			_, err = s.Collect(t.Context(), o)
			must(t, err)
			if n := count(t, plain, "objects/"); n != 5 {
				t.Errorf("%d objects are left, want 5", n)
			}
			if n := count(t, plain, "audit/"); n != 3 {
				t.Errorf("%d events are left, want 3", n)
			}
			if !killed {
				if at < 5 {
					t.Errorf("%d writes in all", writes)
				}
				break
			}
			// The objects come back, and the late request does them no harm.
			commit(t, s, begun, "a", "b")
			resp, err := etcdserverpb.NewKVClient(plain.ActiveConnection()).Txn(t.Context(), held)
			if err != nil || resp.Succeeded {
				t.Errorf("the late request: succeeded %v, %v", resp.GetSucceeded(), err)
			}
			if found := present(t, s, "a", "b", "d"); found != "a b d" {
				t.Errorf("present: %s", found)
			}
		}
	}
}

// Answers that are lost cost nothing but time.
func TestCollectAnswersLost(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	s := open(t, store.Options{Client: dial(t, store.DialOptions{Endpoints: server.Endpoints()})})
	_, _, err := s.Put(t.Context(), numbered(300, 10))
	must(t, err)
	for _, p := range []string{"a", "b", "c", "d"} {
		commit(t, s, begun, p)
	}
	n := 0
	c := faulty(t, server.Endpoints(), func(_ context.Context, _ *etcdserverpb.TxnRequest, send func() error) error {
		if n++; n%2 == 1 {
			send()
			return errLost
		}
		return send()
	})
	got, err := open(t, store.Options{Client: c}).Collect(t.Context(), collecting(begun))
	if err != nil || got.RemovedObjects != 304 {
		t.Errorf("%+v, %v", got, err)
	}
	if found := present(t, s, "a", "b", "c", "d"); found != "c d" {
		t.Errorf("present: %s", found)
	}
}
