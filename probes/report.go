package probes

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
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// The rhythm of a stream.
const (
	heartbeatEvery = 250 * time.Millisecond
	refreshEvery   = 30 * time.Second
	// minorEvery is after how many heartbeats changed reasons are sent.
	minorEvery = 4
	// gatherFor is the time after opinions were sent in which changes are gathered: a
	// change that comes alone goes out at once, and many that come one after the other
	// are sent 20 times a second. Controllers end streams that bring far more.
	gatherFor = 50 * time.Millisecond
	// maxUpdate bounds one message of opinions, in bytes: below the 4 MiB that a
	// gRPC server takes by default.
	maxUpdate = 1 << 20
	// maxAssignments bounds what a controller may send in one message.
	maxAssignments = 64 << 20
)

// The pauses before a new stream: random between half and all of a time that
// doubles, and starts anew once a stream has lasted.
const (
	retryFirst = 100 * time.Millisecond
	retryMost  = time.Second
	lastsAfter = 5 * time.Second
)

// reporter keeps a stream to one controller.
type reporter struct {
	a          *Agent
	controller string
	log        *slog.Logger
	random     *rand.Rand       // owned by run
	conn       *grpc.ClientConn // from prepare on

	mu        sync.Mutex
	connected bool
	since     time.Time
	lastErr   error
}

func newReporter(a *Agent, controller string, random *rand.Rand) *reporter {
	return &reporter{
		a: a, controller: controller, random: random, log: a.o.Log.With("controller", controller),
		lastErr: errors.New("not connected yet"), since: time.Now(),
	}
}

// prepare makes the client, which connects by itself.
func (r *reporter) prepare() error {
	options := append([]grpc.DialOption{
		grpc.WithTransportCredentials(r.a.o.Credentials),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: retryMost},
			MinConnectTimeout: 5 * time.Second,
		}),
		// On Linux the timeout is that of unacknowledged data as well (TCP_USER_TIMEOUT):
		// with heartbeats under way, a dead path is noticed after it.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAssignments)),
		grpc.WithNoProxy(),
	}, r.a.o.DialOptions...)
	conn, err := grpc.NewClient(r.controller, options...)
	if err != nil {
		return fmt.Errorf("probes: controller %q: %w", r.controller, err)
	}
	r.conn = conn
	return nil
}

// run reports until ctx ends, on one stream after the other.
func (r *reporter) run(ctx context.Context) {
	defer r.conn.Close()
	wait := retryFirst
	for ctx.Err() == nil {
		began := time.Now()
		err := r.report(ctx)
		if ctx.Err() != nil {
			break
		}
		r.lost(err)
		if time.Since(began) > lastsAfter {
			wait = retryFirst
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait/2 + r.upTo(wait/2)):
		}
		wait = min(2*wait, retryMost)
	}
	r.lost(nil)
}

func (r *reporter) upTo(d time.Duration) time.Duration {
	return time.Duration(r.random.Int64N(int64(d)))
}

// stream is the agent's end of one stream.
type stream = grpc.BidiStreamingClient[pb.ReportRequest, pb.ReportResponse]

// report runs one stream to its end.
func (r *reporter) report(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := pb.NewAgentServiceClient(r.conn).Report(ctx)
	if err != nil {
		return err
	}
	received := make(chan error, 1)
	queries := make(chan *pb.HistoryQuery, maxQueries)
	go func() { received <- r.receive(stream, queries) }()
	err = r.send(ctx, stream, received, queries)
	ended := err == nil || errors.Is(err, io.EOF)
	if !ended {
		cancel()
	}
	if why := <-received; ended {
		return why // it knows why the stream ended
	}
	return err
}

// receive takes assignments and queries until the stream ends.
func (r *reporter) receive(s stream, queries chan<- *pb.HistoryQuery) error {
	var assignments *list // as this stream brought them
	for {
		m, err := s.Recv()
		if err != nil {
			return err
		}
		r.accepted()
		switch m := m.GetMessage().(type) {
		case *pb.ReportResponse_Assignments:
			if assignments, err = r.a.follow.offer(m.Assignments, r.controller, assignments); err != nil {
				r.log.Error("assignments refused", "error", err)
			}
		case *pb.ReportResponse_History:
			if n := len(m.History.GetTargets()); n > maxQueryTargets {
				r.a.m.refused.Inc()
				r.log.Warn("a query for observations asks for too many targets and is not answered", "targets", n, "most", maxQueryTargets)
				continue
			}
			select {
			case queries <- m.History:
			default:
				r.a.m.refused.Inc()
				r.log.Warn("a query for observations is not answered: others are under way", "most", maxQueries)
			}
		}
	}
}

// sending is what one stream has sent.
type sending struct {
	*reporter
	stream stream
	sent   uint64 // the revision of the book
	beats  int
	answer *answer // the query that is being answered
	// gather runs while changes are gathered.
	gather    *time.Timer
	gathering bool
}

// send sends a hello, all opinions, and then what changes and heartbeats. It
// returns nil when receiving has ended.
//
// Recorded observations are sent in between, at a pace: a small message at a time,
// so that no opinion waits for more than one, and none waits in the buffers on the
// way for many.
func (r *reporter) send(ctx context.Context, st stream, received chan error, queries <-chan *pb.HistoryQuery) error {
	s := &sending{reporter: r, stream: st, gather: time.NewTimer(0)}
	defer s.gather.Stop()
	s.gather.Stop()
	hello := &pb.AgentHello{Agent: r.a.o.Name, Region: r.a.o.Region, Version: r.a.o.Version, Incarnation: r.a.incarnation}
	if err := st.Send(&pb.ReportRequest{Message: &pb.ReportRequest_Hello{Hello: hello}}); err != nil {
		return err
	}
	wake, stop := r.a.book.read()
	defer stop()
	if err := s.all(true); err != nil {
		return err
	}
	beat := time.NewTicker(heartbeatEvery)
	defer beat.Stop()
	refresh := time.NewTicker(refreshEvery - r.upTo(refreshEvery/10))
	defer refresh.Stop()
	pace := time.NewTicker(replyEvery)
	pace.Stop()
	defer pace.Stop()
	for {
		// A channel that is nil is never ready.
		asked, more, woken := queries, (<-chan time.Time)(nil), wake
		if s.answer != nil {
			asked, more = nil, pace.C
		}
		if s.gathering {
			woken = nil // it keeps what it has
		}
		var err error
		select {
		case err := <-received:
			received <- err
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-woken:
			err = s.changed()
		case <-s.gather.C:
			s.gathering = false
		case <-refresh.C:
			err = s.all(false)
		case <-beat.C:
			err = s.beat()
		case q := <-asked:
			s.answer = newAnswer(q)
			pace.Reset(replyEvery)
		case <-more:
			if err = s.history(); s.answer == nil {
				pace.Stop()
			}
		}
		if err != nil {
			return err
		}
	}
}

// all sends all opinions. A refresh that takes more than one message is not sent
// as a full update: to a controller that is older than OpinionUpdate.more the first
// message would withdraw, for a moment, what the later ones hold.
func (s *sending) all(first bool) error {
	opinions, to := s.a.book.all(time.Now())
	s.sent = to
	return s.opinions(opinions, first || fitOne(opinions))
}

// changed sends the opinions that have changed.
func (s *sending) changed() error {
	opinions, to, full := s.a.book.since(s.sent, time.Now())
	s.sent = to
	if len(opinions) == 0 && !full {
		return nil
	}
	return s.opinions(opinions, full)
}

// opinions sends opinions, and has changes gathered from then on for a while.
func (s *sending) opinions(opinions []*pb.Opinion, full bool) error {
	s.gathering = true
	defer s.gather.Reset(gatherFor)
	return sendOpinions(s.stream, opinions, full)
}

// beat sends a heartbeat, and now and then what has changed in reasons only.
func (s *sending) beat() error {
	if s.beats++; s.beats%minorEvery == 0 {
		if err := s.changed(); err != nil {
			return err
		}
	}
	if s.beats == minorEvery {
		s.accepted() // a stream that is refused does not live that long
	}
	g := s.a.follow.current()
	isolated, _ := s.a.isolation.why()
	return s.stream.Send(&pb.ReportRequest{Message: &pb.ReportRequest_Heartbeat{Heartbeat: &pb.AgentHeartbeat{
		ClockMillis: time.Now().UnixMilli(),
		Generation:  &pb.Generation{Epoch: g.Epoch, Revision: g.Revision},
		Isolated:    isolated,
	}}})
}

// history sends the next message of an answer.
func (s *sending) history() error {
	reply := s.answer.next(s.a.history, time.Now())
	if reply.GetLast() {
		s.answer = nil
		s.a.m.queries.Inc()
	}
	return s.stream.Send(&pb.ReportRequest{Message: &pb.ReportRequest_History{History: reply}})
}

// fitOne tells whether opinions fit into one message.
func fitOne(opinions []*pb.Opinion) bool {
	size := 0
	for _, o := range opinions {
		size += proto.Size(o) + 8
	}
	return size < maxUpdate
}

// sendOpinions sends opinions in as many messages as it takes. The first one of a
// full update says that it is full and all but the last that there are more: only
// then is the update whole, and what it does not name withdrawn. Nothing else may
// be sent in between.
func sendOpinions(st stream, opinions []*pb.Opinion, full bool) error {
	for first := true; first || len(opinions) > 0; first = false {
		n, size := 0, 0
		for n < len(opinions) && (n == 0 || size < maxUpdate) {
			size += proto.Size(opinions[n]) + 8
			n++
		}
		up := &pb.OpinionUpdate{Full: full && first, Opinions: opinions[:n], More: full && n < len(opinions)}
		if err := st.Send(&pb.ReportRequest{Message: &pb.ReportRequest_Opinions{Opinions: up}}); err != nil {
			return err
		}
		opinions = opinions[n:]
	}
	return nil
}

// accepted notes that the controller takes the stream.
func (r *reporter) accepted() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.connected {
		r.a.follow.alive(r.controller)
		r.connected, r.since, r.lastErr = true, time.Now(), nil
		r.a.m.streams.Inc()
		r.log.Info("controller connected")
	}
}

// lost notes that the stream has ended. The same failure again is not logged again.
func (r *reporter) lost(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.a.follow.lost(r.controller, time.Now())
	if r.connected {
		r.connected, r.since = false, time.Now()
		r.a.m.streams.Dec()
		r.a.m.breaks.Inc()
	} else if err == nil || r.lastErr != nil && r.lastErr.Error() == err.Error() {
		return
	}
	if err == nil {
		return
	}
	r.lastErr = err
	r.log.Warn("controller not connected", "error", err)
}

// ControllerStatus is the state of the stream to one controller.
type ControllerStatus struct {
	Controller string
	Connected  bool
	Since      time.Time
	// LastError is why it is not connected.
	LastError error
}

func (c ControllerStatus) err() error {
	return fmt.Errorf("controller %s: %w", c.Controller, c.LastError)
}

func (r *reporter) status() ControllerStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	return ControllerStatus{Controller: r.controller, Connected: r.connected, Since: r.since, LastError: r.lastErr}
}
