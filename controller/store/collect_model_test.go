package store_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/fairlead-dns/fairlead/controller/store"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

// Three writers, who are refused now and then, and two collectors at one store. Each of their requests is let
// go at a moment that rapid draws, is lost, loses its answer, or comes late, and
// any of them may be killed where it stands. After every step all is there that
// any kept generation needs, and in the end nothing else; and the events lie in
// the order in which they were written.
func TestCollectModel(t *testing.T) {
	t.Parallel()
	endpoints := startServer(t).Endpoints()
	plain := dial(t, store.DialOptions{Endpoints: endpoints})
	actors := make([]*actor, 5)
	for i := range actors {
		actors[i] = newActor(t, endpoints)
	}
	runs, met := 0, map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		runs++
		w := &world{failer: t, plain: plain, prefix: fmt.Sprintf("/model/%d/", runs), met: met}
		defer func() {
			for _, a := range actors {
				a.kill()
				a.late = nil
			}
		}()
		for range 60 {
			i := rapid.IntRange(0, len(actors)-1).Draw(t, "actor")
			a := actors[i]
			switch {
			case a.busy:
			case i < 3 && rapid.IntRange(0, 2).Draw(t, "refuses") == 0:
				w.note("refuse", a.start(w, refuser))
			case i < 3:
				parts := rapid.SliceOfNDistinct(rapid.SampledFrom(universe), 1, 3, rapid.ID[string]).Draw(t, "parts")
				overrides := rapid.SampledFrom([]string{"o", "p", "q"}).Draw(t, "overrides")
				w.note("write", a.start(w, writer(parts, overrides, func() { w.note("put again", store.ErrCollected) })))
			default:
				w.note("collect", a.start(w, collector(i-2)))
			}
			for range rapid.IntRange(1, 8).Draw(t, "requests") {
				if !a.busy {
					break
				}
				w.note("step", a.step(sent))
				w.check()
			}
			switch do := rapid.IntRange(0, 99).Draw(t, "fault"); {
			case do >= 10:
			case do < 3:
				a.kill()
			case do < 5 && a.busy:
				w.note("step", a.step(requestLost))
			case do < 7 && a.busy:
				w.note("step", a.step(answerLost))
			case len(a.late) > 0:
				if _, err := etcdserverpb.NewKVClient(plain.ActiveConnection()).Txn(t.Context(), a.late[0]); err != nil {
					t.Fatal(err)
				}
				a.late = a.late[1:]
			}
			w.check()
		}
		for _, a := range actors {
			a.kill()
		}
		if err := w.clean(); err != nil {
			t.Fatal(err)
		}
	})
	t.Log(met)
	// What else they meet is left to chance; TestCollectModelSchedules meets all.
	if met[fmt.Sprint(error(nil))] == 0 {
		t.Error("no actor came to a good end")
	}
}

// The same actors, one of whom stands still after each of its requests in turn
// while the other does all that it has to do. All that the model is about
// happens, every time.
func TestCollectModelSchedules(t *testing.T) {
	t.Parallel()
	endpoints := startServer(t).Endpoints()
	plain := dial(t, store.DialOptions{Endpoints: endpoints})
	actors := []*actor{newActor(t, endpoints), newActor(t, endpoints)}
	runs, all := 0, map[string]int{}
	type work = func(context.Context, *store.Store) error
	write := func(w *world, parts ...string) work {
		return writer(parts, parts[0], func() { w.note("put again", store.ErrCollected) })
	}
	for name, pair := range map[string]struct {
		// do makes the work of the one who stands still and of the other.
		do   func(*world) (work, work)
		meet []error
	}{
		"a write, and another": {
			func(w *world) (work, work) { return write(w, "a", "b"), write(w, "b", "c") }, []error{store.ErrConflict},
		},
		"a write, and a collection": {
			func(w *world) (work, work) { return write(w, "a", "b"), collector(1) }, []error{store.ErrCollected},
		},
		"a collection, and a write": {
			func(w *world) (work, work) { return collector(1), write(w, "a", "b") }, nil,
		},
		"a refusal, and a write": {
			func(w *world) (work, work) { return refuser, write(w, "a", "b") }, nil,
		},
		"a write, and a refusal": {
			func(w *world) (work, work) { return write(w, "a", "b"), refuser }, nil,
		},
		"a refusal, and another": {
			func(w *world) (work, work) { return refuser, refuser }, nil,
		},
		"a refusal, and a collection": {
			func(w *world) (work, work) { return refuser, collector(1) }, nil,
		},
		"a collection, and another": {
			func(w *world) (work, work) { return collector(1), collector(2) }, []error{store.ErrCollecting},
		},
	} {
		t.Run(name, func(t *testing.T) {
			met := map[string]int{}
			for stand := 0; ; stand++ {
				runs++
				w := &world{failer: t, plain: plain, prefix: fmt.Sprintf("/schedules/%d/", runs), met: met}
				until := func(a *actor, do work, steps int) {
					if do != nil {
						w.note("start", a.start(w, do))
					}
					for i := 0; a.busy && i != steps; i++ {
						w.note("step", a.step(sent))
						w.check()
					}
				}
				for _, part := range []string{"a", "d", "e"} {
					must(t, write(w, part)(t.Context(), w.store()))
				}
				one, other := pair.do(w)
				until(actors[0], one, stand)
				standing := actors[0].busy
				until(actors[1], other, -1)
				until(actors[0], nil, -1)
				must(t, w.clean())
				if !standing { // every request had its turn
					break
				}
			}
			t.Log(met)
			for _, e := range append(pair.meet, nil) {
				if met[fmt.Sprint(e)] == 0 {
					t.Errorf("no schedule meets %v", e)
				}
			}
			for e, n := range met {
				all[e] += n
			}
		})
	}
	for _, e := range []error{store.ErrConflict, store.ErrCollected, store.ErrCollecting, nil} {
		if all[fmt.Sprint(e)] == 0 {
			t.Errorf("no schedule meets %v", e)
		}
	}
}

// actor is a controller that writes or collects.
type actor struct {
	client *clientv3.Client
	at     chan struct{} // it stands before a request
	fate   chan fate     // what becomes of that
	done   chan error
	ctx    context.Context
	cancel context.CancelFunc
	busy   bool
	// late are writes that were lost on their way, and may arrive yet.
	late []*etcdserverpb.TxnRequest
}

type fate int

const (
	sent fate = iota
	answerLost
	requestLost
)

func newActor(t *testing.T, endpoints []string) *actor {
	a := &actor{at: make(chan struct{}), fate: make(chan fate), done: make(chan error)}
	var err error
	a.client, err = clientv3.New(clientv3.Config{
		Endpoints: endpoints, Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(
			func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
				select {
				case a.at <- struct{}{}:
				case <-ctx.Done():
					return ctx.Err()
				}
				var f fate
				select {
				case f = <-a.fate:
				case <-a.ctx.Done():
					return context.Canceled // as ctx is, in a moment
				}
				if f == requestLost {
					if txn, ok := req.(*etcdserverpb.TxnRequest); ok {
						a.late = append(a.late, txn)
					}
					return errLost
				}
				err := invoke(ctx, method, req, reply, cc, opts...)
				if f == answerLost {
					return errLost
				}
				return err
			})},
	})
	must(t, err)
	t.Cleanup(func() { a.client.Close() })
	return a
}

// start sets the actor to work, up to its first request. What it did before
// may arrive yet.
func (a *actor) start(w *world, work func(context.Context, *store.Store) error) error {
	s, err := store.New(store.Options{Client: a.client, Prefix: w.prefix, RequestTimeout: time.Minute})
	if err != nil {
		return err
	}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	a.busy = true
	go func() { a.done <- work(a.ctx, s) }()
	return a.wait()
}

// wait waits until the actor stands before a request or has finished.
func (a *actor) wait() error {
	select {
	case <-a.at:
		return errStanding
	case err := <-a.done:
		a.busy = false
		a.cancel()
		return err
	}
}

var errStanding = errors.New("not at the end")

// step lets one request go.
func (a *actor) step(f fate) error {
	a.fate <- f
	return a.wait()
}

// kill ends the actor where it stands.
func (a *actor) kill() {
	if a.busy {
		a.cancel()
		<-a.done
		a.busy = false
	}
}

type failer interface {
	Fatal(...any)
	Fatalf(string, ...any)
	Context() context.Context
}

// world is one run of the model.
type world struct {
	failer
	plain  *clientv3.Client
	prefix string
	floor  int64
	met    map[string]int
}

// note counts how actors ended.
func (w *world) note(what string, err error) {
	for _, e := range []error{errStanding, store.ErrCollected, store.ErrConflict, store.ErrCollecting} {
		if errors.Is(err, e) {
			w.met[e.Error()]++
			return
		}
	}
	if err != nil && !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrUnknownOutcome) {
		w.Fatalf("%s: %v", what, err)
	}
	w.met[fmt.Sprint(err)]++
}

var universe = []string{"a", "b", "c", "d", "e"}

// writer does what the catalog does: it reads the head, puts what the new tree
// needs beyond the head's own, and swaps; it puts again upon ErrCollected.
func writer(parts []string, overrides string, onCollected func()) func(context.Context, *store.Store) error {
	slices.Sort(parts)
	return func(ctx context.Context, s *store.Store) error {
		h, err := s.Head(ctx)
		if err != nil {
			return err
		}
		have := map[store.Digest]bool{}
		if h.Head != nil {
			m := store.Digest(h.GetManifest())
			got, err := s.Get(ctx, []store.Digest{m})
			if errors.Is(err, store.ErrMissingObject) {
				return store.ErrConflict // it was overtaken, and collected
			}
			if err != nil {
				return err
			}
			refs, err := references(got[m])
			if err != nil {
				return err
			}
			have[m], have[store.Digest(h.GetOverrides())] = true, true
			for _, r := range refs {
				have[r.Digest] = true
			}
		}
		objects := append(tree(parts...), []byte(overrides))
		lacks := slices.DeleteFunc(slices.Clone(objects), func(o []byte) bool { return have[store.Sum(o)] })
		var collected bool
		for {
			_, mark, err := s.Put(ctx, lacks)
			if err != nil {
				return err
			}
			_, err = s.Swap(ctx, store.Swap{
				Expect: h.Revision, Mark: mark,
				Head:  &pb.Head{Epoch: 1, Manifest: store.Sum(objects[0]).Bytes(), Overrides: store.Sum([]byte(overrides)).Bytes()},
				Event: &pb.AuditEvent{Action: "apply", Time: timestamppb.New(begun)},
			})
			if !errors.Is(err, store.ErrCollected) || collected {
				return err
			}
			collected = true
			onCollected()
		}
	}
}

// refuser is told that there is no head while there is none.
func refuser(ctx context.Context, s *store.Store) error {
	h, err := s.Head(ctx)
	if err != nil || h.Head == nil {
		return err
	}
	return s.Refuse(ctx, refusal("no"))
}

// collector keeps as many generations as it is told to.
func collector(generations int) func(context.Context, *store.Store) error {
	return func(ctx context.Context, s *store.Store) error {
		o := collecting(begun)
		o.Generations, o.Retention.Events = generations, 4
		_, err := s.Collect(ctx, o)
		return err
	}
}

// contents is what is under the prefix, as of one revision.
type contents struct {
	objects map[store.Digest][]byte
	roots   map[regions.Generation]*pb.Head // kept
	floor   int64
}

func (w *world) read() contents {
	resp, err := w.plain.Get(w.Context(), w.prefix, clientv3.WithPrefix())
	if err != nil {
		w.Fatal(err)
	}
	c := contents{objects: map[store.Digest][]byte{}, roots: map[regions.Generation]*pb.Head{}}
	parse := func(raw []byte, m proto.Message) {
		if err := proto.Unmarshal(raw, m); err != nil {
			w.Fatal(err)
		}
	}
	var head int64
	newer := int64(math.MaxInt64)
	for _, kv := range resp.Kvs {
		name := strings.TrimPrefix(string(kv.Key), w.prefix)
		gen := regions.Generation{Epoch: 1, Revision: kv.ModRevision}
		switch dir, rest, _ := strings.Cut(name, "/"); dir {
		case "objects":
			d, err := store.ParseDigest(rest)
			if err != nil {
				w.Fatal(err)
			}
			c.objects[d] = kv.Value
		case "audit":
			if kv.ModRevision >= newer {
				w.Fatalf("%s was written at %d, not before the one in front of it", name, kv.ModRevision)
			}
			newer = kv.ModRevision
			e := &pb.AuditEvent{}
			parse(kv.Value, e)
			if e.GetResult() != store.ResultRefused {
				c.roots[gen] = e.GetHead()
			}
		case "collection":
			st := &pb.Collection{}
			parse(kv.Value, st)
			c.floor = st.GetFloor().GetRevision()
		case "head":
			h := &pb.Head{}
			parse(kv.Value, h)
			head = kv.ModRevision
			if e := c.roots[gen]; !proto.Equal(e, h) {
				w.Fatalf("the head is %v, its event says %v", h, e)
			}
		}
	}
	if head < c.floor {
		w.Fatalf("the head, %d, is below the floor, %d", head, c.floor)
	}
	for gen := range c.roots {
		if gen.Revision < c.floor {
			delete(c.roots, gen)
		}
	}
	return c
}

// needed lists what the kept generations refer to; all of it must be there.
func (w *world) needed(c contents) map[store.Digest]bool {
	need := map[store.Digest]bool{}
	for gen, h := range c.roots {
		m := store.Digest(h.GetManifest())
		raw, ok := c.objects[m]
		if !ok {
			w.Fatalf("generation %v has lost its manifest; the floor is %d", gen, c.floor)
		}
		refs, err := references(raw)
		if err != nil {
			w.Fatal(err)
		}
		need[m], need[store.Digest(h.GetOverrides())] = true, true
		for _, r := range refs {
			need[r.Digest] = true
		}
		for d := range need {
			if _, ok := c.objects[d]; !ok {
				w.Fatalf("generation %v has lost object %v; the floor is %d", gen, d, c.floor)
			}
		}
	}
	return need
}

// store is one that nobody stands in the way of.
func (w *world) store() *store.Store {
	s, err := store.New(store.Options{Client: w.plain, Prefix: w.prefix, RequestTimeout: time.Minute})
	if err != nil {
		w.Fatal(err)
	}
	return s
}

func (w *world) check() {
	c := w.read()
	if c.floor < w.floor {
		w.Fatalf("the floor sank from %d to %d", w.floor, c.floor)
	}
	w.floor = c.floor
	w.needed(c)
}

// clean collects once more; it returns nil if then nothing is there but what is
// needed.
func (w *world) clean() error {
	if err := collector(1)(w.Context(), w.store()); err != nil {
		return err
	}
	c := w.read()
	if need := w.needed(c); len(c.roots) > 1 || len(c.roots) == 1 && len(need) != len(c.objects) {
		return fmt.Errorf("%d generations with %d objects, and %d are there", len(c.roots), len(need), len(c.objects))
	}
	return nil
}
