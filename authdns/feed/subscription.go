// Package feed is the nameserver's side of the feed: one subscription per
// controller, each with the newest head and a whole verdict table, kept warm so
// that a change of controller is a change of pointer. It may import the proto,
// regions and regions/health. Nothing here blocks a query.
package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

const (
	backoffMin = 50 * time.Millisecond
	backoffMax = 2 * time.Second
	// fetchBatch is how many objects one request asks for.
	fetchBatch = 500
	// silentFor is after how long without a message a stream is given up: the
	// controller beats several times a second.
	silentFor = 5 * time.Second
)

// Options is what a subscription needs.
type Options struct {
	// Controller is the controller's address, for logs.
	Controller string
	Conn       *grpc.ClientConn
	Log        *slog.Logger
	// Hello returns the hello to open a stream with.
	Hello func() *pb.NameserverHello
	// Wake is called after every change; it must not block.
	Wake func()
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Subscription is a warm subscription to one controller.
type Subscription struct {
	opts   Options
	client pb.FeedServiceClient

	mu     sync.Mutex
	state  state
	out    chan *pb.SubscribeRequest // of the current stream; nil without one
	cancel context.CancelFunc        // ends the current stream
}

// state is guarded by Subscription.mu.
type state struct {
	connected bool
	plan      *pb.PlanUpdate
	beat      *pb.Heartbeat
	heardAt   time.Time // the last message
	beatAt    time.Time
	complete  bool // the table is whole and matches its digest
	version   *pb.HealthVersion
	digest    health.Digest
	table     map[string]health.Verdict
	dirty     map[string]struct{} // targets changed since the last Take; nil: all
	lastError string
}

// New returns a subscription; Run keeps it up.
func New(o Options) *Subscription {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Subscription{opts: o, client: pb.NewFeedServiceClient(o.Conn)}
}

// Run keeps the subscription up until ctx ends.
func (s *Subscription) Run(ctx context.Context) error {
	wait := backoffMin
	for {
		started := s.opts.Now()
		err := s.stream(ctx)
		s.down(err)
		if ctx.Err() != nil {
			return nil
		}
		if s.opts.Now().Sub(started) > 10*time.Second {
			wait = backoffMin
		}
		s.opts.Log.Debug("feed ended", "controller", s.opts.Controller, "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait/2 + rand.N(wait/2)):
		}
		wait = min(2*wait, backoffMax)
	}
}

// stream runs one stream to its end.
func (s *Subscription) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	st, err := s.client.Subscribe(ctx, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	out := make(chan *pb.SubscribeRequest, 16)
	s.mu.Lock()
	s.state = state{connected: true, heardAt: s.opts.Now(), table: map[string]health.Verdict{}}
	s.out, s.cancel = out, cancel
	s.mu.Unlock()
	out <- &pb.SubscribeRequest{Message: &pb.SubscribeRequest_Hello{Hello: s.opts.Hello()}}

	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		tick := time.NewTicker(silentFor / 5)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case m := <-out:
				if err := st.Send(m); err != nil {
					cancel()
					return
				}
			case <-tick.C:
				s.mu.Lock()
				silent := s.opts.Now().Sub(s.state.heardAt) > silentFor
				s.mu.Unlock()
				if silent {
					cancel()
					return
				}
			}
		}
	})
	for {
		m, err := st.Recv()
		if errors.Is(err, io.EOF) {
			return errors.New("the controller closed the stream")
		}
		if err != nil {
			return err
		}
		s.receive(m)
		s.opts.Wake()
	}
}

func (s *Subscription) receive(m *pb.SubscribeResponse) {
	now := s.opts.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.heardAt = now
	switch m := m.GetMessage().(type) {
	case *pb.SubscribeResponse_Plan:
		s.state.plan = m.Plan
	case *pb.SubscribeResponse_Heartbeat:
		s.state.beat, s.state.beatAt = m.Heartbeat, now
	case *pb.SubscribeResponse_Health:
		s.takeHealth(m.Health, now)
	}
}

// takeHealth applies an update to the table; a table that then differs from
// the controller's is asked for anew and not used until it came.
func (s *Subscription) takeHealth(u *pb.HealthUpdate, now time.Time) {
	st := &s.state
	switch {
	case u.GetFull():
		st.table = make(map[string]health.Verdict, len(u.GetTargets()))
		st.digest, st.dirty = 0, nil
		st.complete = true
	case !st.complete:
		return // waiting for a full one
	case u.GetVersion().GetIncarnation() != st.version.GetIncarnation() || u.GetVersion().GetNumber() < st.version.GetNumber():
		s.resync("version out of order")
		return
	}
	mark := func(target string) {
		if !u.GetFull() && st.dirty != nil {
			st.dirty[target] = struct{}{}
		}
	}
	for _, t := range u.GetTargets() {
		id := t.GetTarget()
		v := healthpb.ParseTargetHealth(t, now)
		if old, had := st.table[id]; had {
			st.digest = st.digest.Remove(id, old.Last)
		}
		st.digest = st.digest.Add(id, v.Last)
		st.table[id] = v
		mark(id)
	}
	for _, id := range u.GetRemoved() {
		if old, had := st.table[id]; had {
			st.digest = st.digest.Remove(id, old.Last)
			delete(st.table, id)
			mark(id)
		}
	}
	st.version = u.GetVersion()
	if uint64(st.digest) != u.GetDigest() {
		s.resync("digest differs")
	}
}

func (s *Subscription) resync(why string) {
	s.state.complete = false
	s.opts.Log.Warn("verdict table out of step, asking for all", "controller", s.opts.Controller, "reason", why)
	s.sendLocked(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Resync{Resync: &pb.HealthResync{}}})
}

func (s *Subscription) sendLocked(m *pb.SubscribeRequest) {
	if s.out == nil {
		return
	}
	select {
	case s.out <- m:
	default: // a controller that takes nothing is as good as gone
		s.cancel()
	}
}

// Acknowledge tells the controller which generation is served, or why a
// newer one is not.
func (s *Subscription) Acknowledge(gen regions.Generation, refusal string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sendLocked(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Acknowledgement{Acknowledgement: &pb.PlanAcknowledgement{
		Generation: &pb.Generation{Epoch: gen.Epoch, Revision: gen.Revision}, Refusal: refusal,
	}}})
}

// Following tells the controller whether its verdicts are answered by.
func (s *Subscription) Following(following bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sendLocked(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Following{Following: &pb.Following{Following: following}}})
}

func (s *Subscription) down(err error) {
	s.mu.Lock()
	s.state = state{}
	if err != nil {
		s.state.lastError = err.Error()
	}
	s.out, s.cancel = nil, nil
	s.mu.Unlock()
	s.opts.Wake()
}

// Summary is what the choice among controllers is made by.
type Summary struct {
	Controller string
	Connected  bool
	// Usable: ready by its own word, with a whole table.
	Usable bool
	// BeatAge is the age of the last heartbeat, EvidenceAge that of the
	// freshest word of an agent behind it.
	BeatAge     time.Duration
	EvidenceAge time.Duration
	Plan        *pb.PlanUpdate
	LastError   string
}

// Summary describes the subscription as of now.
func (s *Subscription) Summary(now time.Time) Summary {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := Summary{Controller: s.opts.Controller, Connected: s.state.connected, Plan: s.state.plan, LastError: s.state.lastError}
	if s.state.beat != nil {
		sum.BeatAge = now.Sub(s.state.beatAt)
		sum.EvidenceAge = sum.BeatAge + healthpb.Age(s.state.beat.GetEvidenceAgeMillis())
		sum.Usable = s.state.complete && s.state.beat.GetReady()
	}
	return sum
}

// Changes are verdicts that changed.
type Changes struct {
	// All: Table is the whole table, not just what changed.
	All   bool
	Table map[string]health.Verdict
}

// Take returns what changed since the last Take; after Reset, everything.
// Targets that the controller removed are not in it: whoever keeps a table
// keeps their last verdicts.
func (s *Subscription) Take() Changes {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.state.complete {
		return Changes{}
	}
	c := Changes{All: s.state.dirty == nil, Table: map[string]health.Verdict{}}
	if c.All {
		for id, v := range s.state.table {
			c.Table[id] = v
		}
	} else {
		for id := range s.state.dirty {
			if v, ok := s.state.table[id]; ok {
				c.Table[id] = v
			}
		}
	}
	s.state.dirty = map[string]struct{}{}
	return c
}

// Reset makes the next Take return the whole table.
func (s *Subscription) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.dirty = nil
}

// Fetch gets objects from the controller.
func (s *Subscription) Fetch(ctx context.Context, digests [][32]byte) (map[[32]byte][]byte, error) {
	got := make(map[[32]byte][]byte, len(digests))
	for len(digests) > 0 {
		n := min(fetchBatch, len(digests))
		req := &pb.FetchObjectsRequest{}
		for _, d := range digests[:n] {
			req.Digests = append(req.Digests, d[:])
		}
		digests = digests[n:]
		st, err := s.client.FetchObjects(ctx, req)
		if err != nil {
			return nil, err
		}
		for {
			m, err := st.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("fetch from %s: %w", s.opts.Controller, err)
			}
			if len(m.GetDigest()) != 32 {
				return nil, fmt.Errorf("fetch from %s: a digest of %d bytes", s.opts.Controller, len(m.GetDigest()))
			}
			got[[32]byte(m.GetDigest())] = m.GetData()
		}
	}
	return got, nil
}
