package verdicts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

// helloWait is how long a stream may stay without a hello.
const helloWait = 5 * time.Second

// Why the judge ends a session.
var (
	errPaused   = status.Error(codes.Unavailable, "the controller stood still and forgot what it had heard: report again")
	errStopping = status.Error(codes.Unavailable, "the controller is stopping")
	errSilent   = status.Error(codes.Unavailable, "nothing was heard on this stream for too long: report again")
	errReplaced = status.Error(codes.Aborted, "a newer stream reports as this agent; are there two processes with one --name?")
	errGuests   = status.Errorf(codes.ResourceExhausted, "%d agents that are not registered report already: register this one (kind Agent)", MaxGuests)
)

func wrongRegion(agent, claimed, registered string) error {
	return status.Errorf(codes.PermissionDenied,
		"agent %q reports from region %q and is registered in %q: correct its --region, or spec.region of Agent %q",
		agent, claimed, registered, agent)
}

// session is one agent's stream.
type session struct {
	hello *pb.AgentHello
	// pauses is how many pauses of the process had been seen when it began.
	pauses uint64
	// end takes the error that the stream shall end with; the first one wins.
	end chan error
	// ended is closed when the stream has ended.
	ended chan struct{}
	// greeted is closed when the hello is here.
	greeted chan struct{}
	// wake says that there is something to send.
	wake chan struct{}

	// What is to be sent: the newest order, and questions.
	mu      sync.Mutex
	order   order
	queries []*pb.HistoryQuery
}

func newSession(pauses uint64) *session {
	return &session{pauses: pauses, end: make(chan error, 1), ended: make(chan struct{}), greeted: make(chan struct{}), wake: make(chan struct{}, 1)}
}

func (s *session) finish(err error) {
	select {
	case s.end <- err:
	default:
	}
}

// assign leaves an order to be sent, latest-wins.
func (s *session) assign(d *duty, g regions.Generation) {
	s.mu.Lock()
	s.order = order{d, g}
	s.mu.Unlock()
	notify(s.wake)
}

// ask leaves a question to be sent; false: too many wait already.
func (s *session) ask(q *pb.HistoryQuery) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queries) >= maxInquiries {
		return false
	}
	s.queries = append(s.queries, q)
	notify(s.wake)
	return true
}

func (s *session) next() (order, []*pb.HistoryQuery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queries
	s.queries = nil
	return s.order, q
}

// event is what a stream hands to the judge: a hello (opened), a message, or
// its end (closed).
type event struct {
	session        *session
	opened, closed bool
	update         *update
	beat           *pb.AgentHeartbeat
	// skew is the agent's clock minus ours, where a heartbeat told it.
	skew time.Duration
}

// opinions is how many opinions the event brings.
func (e *event) opinions() int {
	if e.update == nil {
		return 0
	}
	return len(e.update.opinions)
}

// Report serves one agent. Its messages are handed to Run one by one; a judge
// that is busy leaves them in the stream's flow control.
func (j *Judge) Report(stream grpc.BidiStreamingServer[pb.ReportRequest, pb.ReportResponse]) error {
	s := newSession(j.pulse.pauses.Load())
	defer j.inquiries.left(s)
	defer close(s.ended)
	// Ends with the stream's context, when this method has returned.
	go func() { s.finish(j.receive(stream, s)) }()

	hello := time.NewTimer(helloWait)
	defer hello.Stop()
	greeted := s.greeted
	var sent order
	for {
		select {
		case err := <-s.end:
			return err
		case <-j.stopped:
			return errStopping
		case <-hello.C:
			return status.Errorf(codes.DeadlineExceeded, "no hello within %s", helloWait)
		case <-greeted:
			hello.Stop()
			greeted = nil
		case <-s.wake:
			next, queries := s.next()
			if next != sent {
				m := next.message(next.duty == sent.duty)
				if err := stream.Send(&pb.ReportResponse{Message: &pb.ReportResponse_Assignments{Assignments: m}}); err != nil {
					return err
				}
				sent = next
			}
			for _, q := range queries {
				if err := stream.Send(&pb.ReportResponse{Message: &pb.ReportResponse_History{History: q}}); err != nil {
					return err
				}
			}
		}
	}
}

// receive reads the stream to its end.
func (j *Judge) receive(stream grpc.BidiStreamingServer[pb.ReportRequest, pb.ReportResponse], s *session) error {
	ctx := stream.Context()
	first, err := stream.Recv()
	if err != nil {
		return endOf(err)
	}
	if s.hello = first.GetHello(); s.hello == nil {
		return status.Error(codes.InvalidArgument, "the first message of a stream must be a hello")
	}
	close(s.greeted)
	if err := errors.Join(checkLabel("agent", s.hello.GetAgent()), checkLabel("region", s.hello.GetRegion())); err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	if err := j.o.Authorize(ctx, s.hello.GetAgent(), s.hello.GetRegion()); err != nil {
		if _, ok := status.FromError(err); ok {
			return err
		}
		return status.Error(codes.PermissionDenied, err.Error())
	}
	budget := j.throttle.of(s.hello.GetAgent(), time.Now())
	if err := budget.take(time.Now(), 1, 0); err != nil {
		j.m.throttled.Inc()
		return err
	}
	if err := j.hand(ctx, event{session: s, opened: true}); err != nil {
		return err
	}
	defer func() { _ = j.hand(context.WithoutCancel(ctx), event{session: s, closed: true}) }()
	for {
		req, err := stream.Recv()
		if err != nil {
			return endOf(err)
		}
		if err := j.receiveOne(ctx, s, req, budget); err != nil {
			return err
		}
	}
}

// receiveOne takes one message after the hello.
func (j *Judge) receiveOne(ctx context.Context, s *session, req *pb.ReportRequest, budget *allowance) error {
	now := time.Now()
	opinions := len(req.GetOpinions().GetOpinions())
	if opinions > MaxOpinions {
		return status.Errorf(codes.InvalidArgument, "an update of %d opinions: want at most %d", opinions, MaxOpinions)
	}
	if err := budget.take(now, 1, opinions); err != nil {
		j.m.throttled.Inc()
		j.o.Log.Warn("agent floods: its stream ends", "agent", s.hello.GetAgent(), "region", s.hello.GetRegion(), "err", err)
		return err
	}
	ev := event{session: s}
	switch m := req.GetMessage().(type) {
	case *pb.ReportRequest_Hello:
		return status.Error(codes.InvalidArgument, "a second hello: open a new stream instead")
	case *pb.ReportRequest_Opinions:
		ev.update = readUpdate(m.Opinions, now, j.tally.base)
	case *pb.ReportRequest_Heartbeat:
		ev.beat, ev.skew = m.Heartbeat, time.UnixMilli(m.Heartbeat.GetClockMillis()).Sub(now.Round(0))
	case *pb.ReportRequest_History:
		j.inquiries.answer(s, m.History)
	}
	return j.hand(ctx, ev)
}

// hand gives an event to Run.
func (j *Judge) hand(ctx context.Context, ev event) error {
	select {
	case j.events <- ev:
		return nil
	case <-j.stopped:
		return errStopping
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

// endOf is how a stream ends whose agent closed or broke it.
func endOf(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// checkLabel checks a name that will be shown: a DNS label (RFC 1123 section 2.1).
func checkLabel(what, s string) error {
	ok := len(s) >= 1 && len(s) <= 63 && s[0] != '-' && s[len(s)-1] != '-'
	for _, c := range []byte(s) {
		ok = ok && (c == '-' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9')
	}
	if !ok {
		return fmt.Errorf("%s %.80q is no name: want 1 to 63 of a-z, 0-9 and -, as eu-west-1", what, s)
	}
	return nil
}

// end ends the vantage's session, if there is one.
func (v *vantage) end(err error) {
	if v.session != nil {
		v.session.finish(err)
		v.session, v.full, v.parts = nil, false, nil
	}
}
