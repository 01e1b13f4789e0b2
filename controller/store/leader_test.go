package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/fairlead-dns/fairlead/controller/store"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// candidate campaigns until stop; its terms arrive on the channel, and last
// until their context ends.
func candidate(t *testing.T, s *store.Store, name string) (terms chan *store.Term, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	terms = make(chan *store.Term, 16)
	done := make(chan struct{})
	go func() {
		defer close(done)
		check(t, s.Lead(ctx, "test", name, func(ctx context.Context, term *store.Term) {
			terms <- term
			<-ctx.Done()
		}))
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return terms, stop
}

func next(t *testing.T, terms chan *store.Term) *store.Term {
	t.Helper()
	select {
	case term := <-terms:
		return term
	case <-time.After(30 * time.Second):
		t.Fatal("no term within 30 s")
		return nil
	}
}

func table(targets int, salt string) *pb.HealthTable {
	h := &pb.HealthTable{Latches: &pb.LatchTable{Latches: []*pb.Latch{{Service: "www.example.test", Region: "eu-west", Trip: 3}}}}
	for i := range targets {
		h.Targets = append(h.Targets, &pb.TargetHealth{Target: fmt.Sprintf("web%s@192.0.2.%d", salt, i), Verdict: pb.HealthStatus_HEALTH_STATUS_UNHEALTHY, HeldMillis: uint64(i)})
	}
	return h
}

func TestOneLeads(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	first, stop := candidate(t, s, "one")
	term := next(t, first)
	second, _ := candidate(t, s, "two")
	if c, h, err := s.Checkpoint(t.Context()); c != nil || h != nil || err != nil {
		t.Errorf("a checkpoint before there is one: %v, %v, %v", c, h, err)
	}
	now := time.Now()
	// A large one takes several parts, which the next one leaves none of.
	for _, want := range []*pb.HealthTable{table(150_000, "x"), table(3, "y")} {
		check(t, term.PutCheckpoint(t.Context(), "one", want, now))
		c, got, err := s.Checkpoint(t.Context())
		check(t, err)
		if !proto.Equal(want, got) || c.GetController() != "one" || !c.GetTime().AsTime().Equal(now) {
			t.Fatalf("by %s at %v: %d targets, want %d", c.GetController(), c.GetTime().AsTime(), len(got.GetTargets()), len(want.GetTargets()))
		}
	}
	select {
	case <-second:
		t.Fatal("two lead")
	default:
	}
	stop()
	next(t, second)
	if err := term.PutCheckpoint(t.Context(), "one", table(1, "z"), now); !errors.Is(err, store.ErrNotLeader) {
		t.Errorf("one who leads no more wrote: %v", err)
	}
}

// A leader whose lease is revoked, or whose key is taken away, writes nothing
// from then on, whether it has noticed or not.
func TestLostLeadWritesNothing(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*clientv3.Client, string) error{
		"key deleted": func(c *clientv3.Client, key string) error {
			_, err := c.Delete(t.Context(), key)
			return err
		},
		"key made anew": func(c *clientv3.Client, key string) error {
			_, err := c.Delete(t.Context(), key)
			if err == nil {
				_, err = c.Put(t.Context(), key, "one")
			}
			return err
		},
		"lease revoked": func(c *clientv3.Client, key string) error {
			resp, err := c.Get(t.Context(), key)
			if err == nil {
				_, err = c.Revoke(t.Context(), clientv3.LeaseID(resp.Kvs[0].Lease))
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c := newStore(t)
			terms, _ := candidate(t, s, "one")
			term := next(t, terms)
			check(t, term.PutCheckpoint(t.Context(), "one", table(1, "a"), time.Now()))
			resp, err := c.Get(t.Context(), store.DefaultPrefix+"leader/", clientv3.WithPrefix())
			check(t, err)
			if len(resp.Kvs) != 1 {
				t.Fatalf("%d leader keys", len(resp.Kvs))
			}
			check(t, lose(c, string(resp.Kvs[0].Key)))
			if err := term.PutCheckpoint(t.Context(), "one", table(1, "b"), time.Now()); !errors.Is(err, store.ErrNotLeader) {
				t.Errorf("got %v, want %v", err, store.ErrNotLeader)
			}
			_, got, err := s.Checkpoint(t.Context())
			check(t, err)
			if id := got.GetTargets()[0].GetTarget(); !strings.HasPrefix(id, "weba@") {
				t.Errorf("the checkpoint holds %s", id)
			}
		})
	}
}

func TestDamagedCheckpoint(t *testing.T) {
	t.Parallel()
	s, c := newStore(t)
	terms, _ := candidate(t, s, "one")
	term := next(t, terms)
	for _, damage := range []func(part string){
		func(part string) { _, _ = c.Delete(t.Context(), part) },
		func(part string) { _, _ = c.Put(t.Context(), part, "nonsense") },
		func(string) { _, _ = c.Put(t.Context(), store.DefaultPrefix+"health/checkpoint", "\xff\xff") },
	} {
		check(t, term.PutCheckpoint(t.Context(), "one", table(1, ""), time.Now()))
		parts, err := c.Get(t.Context(), store.DefaultPrefix+"health/parts/", clientv3.WithPrefix())
		check(t, err)
		if len(parts.Kvs) != 1 {
			t.Fatalf("%d parts", len(parts.Kvs))
		}
		damage(string(parts.Kvs[0].Key))
		if _, _, err := s.Checkpoint(t.Context()); !errors.Is(err, store.ErrCheckpoint) {
			t.Errorf("got %v, want %v", err, store.ErrCheckpoint)
		}
	}
}
