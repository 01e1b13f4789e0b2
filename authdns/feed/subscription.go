// Package feed is the nameserver's side of the feed: one subscription per
// controller, each with the newest head and a whole verdict table, kept warm so
// that a change of controller is a change of pointer. It may import the proto,
// regions and regions/health. Nothing here blocks a query.
package feed

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

const (
	backoffMin = 50 * time.Millisecond
	backoffMax = 2 * time.Second
	// steadyAfter is how long a stream must have lasted for the next one to be
	// opened without a long pause.
	steadyAfter = 10 * time.Second
	// silentFor is after how long without a message a stream is given up: the
	// controller beats several times a second.
	silentFor = 5 * time.Second
	// tellEvery is how often the controller is told whether it is followed, so
	// that it hears the nameserver and knows it after any interruption.
	tellEvery = time.Second
	// latchesEvery is how often a controller is told again of latches that it goes
	// on not knowing.
	latchesEvery = 10 * time.Second
	// maxWaiting bounds the messages to a controller that wait.
	maxWaiting = 16
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
	// Report adds to what the controller is told every second: the age of the
	// verdicts that are served, and the latches that are known, of which only
	// those go out that the controller does not know. Optional; it must not block.
	Report func(*pb.Following)
	// BreakGlass returns the break-glass records and a version that changes with
	// them, which is never 0. Optional; it must not block.
	BreakGlass func() (*pb.BreakGlassTable, uint64)
	// Usage says what was answered with the endpoints in a scope. Optional.
	Usage func(*pb.OverrideScope) *pb.UsageReport
}

// Subscription is a warm subscription to one controller.
type Subscription struct {
	opts   Options
	client pb.FeedServiceClient
	tell   chan struct{} // the controller is to be told now
	asked  *rate.Limiter // what it asks of the answers given

	mu        sync.Mutex
	state     state
	ack       *pb.PlanAcknowledgement   // the newest; told again on a new stream
	following bool                      // as told
	out       chan *pb.SubscribeRequest // of the current stream; nil without one
	cancel    context.CancelFunc        // ends the current stream
}

// state is what the current stream has brought. Subscription.mu guards it.
type state struct {
	connected bool
	plan      *pb.PlanUpdate
	beat      *pb.Heartbeat
	beatAt    time.Time
	table     table
	lastError string
	// latchesTold is when the controller was last told of latches that it lacks.
	latchesTold time.Time
	// breakGlassTold is the version of the break-glass records that the controller
	// was told of last.
	breakGlassTold uint64
}

// New returns a subscription; Run keeps it up.
func New(o Options) *Subscription {
	return &Subscription{opts: o, client: pb.NewFeedServiceClient(o.Conn), tell: make(chan struct{}, 1), asked: rate.NewLimiter(usageRate, usageBurst)}
}

// Run keeps the subscription up until ctx ends.
func (s *Subscription) Run(ctx context.Context) error {
	wait := backoffMin
	for {
		started := time.Now()
		err := s.stream(ctx)
		s.down(err)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(started) > steadyAfter {
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
	// A controller that neither sends nor takes what is sent to it.
	watchdog := time.AfterFunc(silentFor, cancel)
	defer watchdog.Stop()
	if err := st.Send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Hello{Hello: s.opts.Hello()}}); err != nil {
		_, err = st.Recv() // which tells why
		return err
	}
	out := s.up(cancel)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		defer cancel()
		every := time.NewTicker(tellEvery)
		defer every.Stop()
		for {
			var m *pb.SubscribeRequest
			select {
			case <-ctx.Done():
				return
			case m = <-out:
			case <-every.C:
			case <-s.tell:
			}
			if m == nil {
				s.mu.Lock()
				m = s.followingMessage(s.following)
				s.mu.Unlock()
			}
			if err := st.Send(m); err != nil {
				return
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
		watchdog.Reset(silentFor)
		if q := m.GetUsageQuery(); q != nil {
			s.report(q)
			continue
		}
		if err := s.receive(m); err != nil {
			return err
		}
		s.opts.Wake()
	}
}

// up begins a stream's state. What was told before is told again: the hello
// may have been older.
func (s *Subscription) up(cancel context.CancelFunc) <-chan *pb.SubscribeRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = state{connected: true}
	s.out, s.cancel = make(chan *pb.SubscribeRequest, maxWaiting), cancel
	if s.ack != nil {
		s.send(ackMessage(s.ack))
	}
	if s.following {
		s.send(s.followingMessage(true))
	}
	return s.out
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

// receive takes one message; an error ends the stream.
func (s *Subscription) receive(m *pb.SubscribeResponse) error {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	var trouble string
	switch m := m.GetMessage().(type) {
	case *pb.SubscribeResponse_Plan:
		s.state.plan = m.Plan
	case *pb.SubscribeResponse_Heartbeat:
		s.state.beat, s.state.beatAt = m.Heartbeat, now
		trouble = s.state.table.confirm(m.Heartbeat)
	case *pb.SubscribeResponse_Health:
		var err error
		if trouble, err = s.state.table.take(m.Health, now); err != nil {
			return err
		}
	}
	if trouble != "" {
		s.opts.Log.Warn("verdict table out of step, asking for all", "controller", s.opts.Controller, "reason", trouble)
		s.send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Resync{Resync: &pb.HealthResync{}}})
	}
	return nil
}

// send hands a message to the stream, if there is one. mu is held.
func (s *Subscription) send(m *pb.SubscribeRequest) {
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
	s.ack = &pb.PlanAcknowledgement{Generation: &pb.Generation{Epoch: gen.Epoch, Revision: gen.Revision}, Refusal: refusal}
	s.send(ackMessage(s.ack))
}

// Following tells the controller whether its verdicts are answered by.
func (s *Subscription) Following(following bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.following = following
	s.send(s.followingMessage(following))
}

// Tell tells the controller at once what it is told every second. It never blocks.
func (s *Subscription) Tell() {
	select {
	case s.tell <- struct{}{}:
	default:
	}
}

func ackMessage(a *pb.PlanAcknowledgement) *pb.SubscribeRequest {
	return &pb.SubscribeRequest{Message: &pb.SubscribeRequest_Acknowledgement{Acknowledgement: a}}
}

func (s *Subscription) followingMessage(following bool) *pb.SubscribeRequest {
	f := &pb.Following{Following: following}
	if s.opts.Report != nil {
		s.opts.Report(f)
	}
	f.Latches = s.unknownLatches(f.GetLatches(), time.Now())
	if s.opts.BreakGlass != nil {
		if t, version := s.opts.BreakGlass(); version != s.state.breakGlassTold {
			f.BreakGlass, s.state.breakGlassTold = t, version
		}
	}
	return &pb.SubscribeRequest{Message: &pb.SubscribeRequest_Following{Following: f}}
}

// What a controller may ask of the answers given, each a walk over all endpoints:
// twice what controllers do at the most. More is not answered.
const (
	usageRate  = 40 // a second
	usageBurst = 80
)

// report answers what a controller asks of the answers given.
func (s *Subscription) report(q *pb.UsageQuery) {
	if s.opts.Usage == nil || !s.asked.Allow() {
		return
	}
	r := s.opts.Usage(q.GetScope())
	r.Id = q.GetId()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Usage{Usage: r}})
}

// unknownLatches are those of a list that the controller's table does not hold;
// nil when there are none, or it was told a moment ago. mu is held.
func (s *Subscription) unknownLatches(all *pb.LatchTable, now time.Time) *pb.LatchTable {
	if !s.state.table.whole || now.Sub(s.state.latchesTold) < latchesEvery {
		return nil
	}
	has := make(map[health.LatchKey]uint64, len(s.state.table.latches))
	for _, l := range s.state.table.latches {
		has[health.KeyOf(l)] = l.Trip
	}
	var out *pb.LatchTable
	for _, l := range all.GetLatches() {
		if l.GetTrip() > has[health.LatchKey{Service: l.GetService(), Region: l.GetRegion()}] {
			if out == nil {
				out, s.state.latchesTold = &pb.LatchTable{}, now
			}
			out.Latches = append(out.Latches, l)
		}
	}
	return out
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
	// Digest is over the controller's verdicts and latches; it means something
	// while Usable.
	Digest    health.Digest
	Plan      *pb.PlanUpdate
	LastError string
}

// Summary describes the subscription as of now.
func (s *Subscription) Summary(now time.Time) Summary {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := Summary{Controller: s.opts.Controller, Connected: s.state.connected, Plan: s.state.plan, LastError: s.state.lastError}
	if s.state.beat != nil {
		sum.BeatAge = now.Sub(s.state.beatAt)
		sum.EvidenceAge = sum.BeatAge + healthpb.Age(s.state.beat.GetEvidenceAgeMillis())
		sum.Usable = s.state.table.whole && s.state.beat.GetReady()
		sum.Digest = s.state.table.digest
	}
	return sum
}

// Take returns what changed since the last Take, and what was marked; the first
// time, and after the controller sent its table anew, everything. Targets that the controller removed are not in it: whoever keeps a table
// keeps their last verdicts. While the table is not whole there is nothing.
func (s *Subscription) Take() Changes {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.table.changes()
}

// Verdicts returns the whole table; nil while it is not whole.
func (s *Subscription) Verdicts() map[string]health.Verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.state.table.whole {
		return nil
	}
	return maps.Clone(s.state.table.targets)
}

// Latches returns the latches that the controller knows, taken or not.
func (s *Subscription) Latches() []regions.Latch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.table.latches
}

// TakeLatches returns the latches that the controller knows, if they changed
// since the last call. They count whether it is followed or not.
func (s *Subscription) TakeLatches() []regions.Latch {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.state.table.latched {
		return nil
	}
	s.state.table.latched = false
	return s.state.table.latches
}

// Controller is the controller's address.
func (s *Subscription) Controller() string { return s.opts.Controller }

// Mark makes the next Take return some targets that it has, changed or not:
// whoever took them has them from elsewhere now, or not any more. So to come back
// to a subscription costs what has changed, not the table.
func (s *Subscription) Mark(targets []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range targets {
		s.state.table.mark(id)
	}
}
