package verdicts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
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
	// wake says that there may be assignments to send.
	wake chan struct{}
}

func (s *session) finish(err error) {
	select {
	case s.end <- err:
	default:
	}
}

func (s *session) notify() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// event is what a stream hands to the judge: a hello (opened), a message, or
// its end (closed).
type event struct {
	session        *session
	opened, closed bool
	req            *pb.ReportRequest
	// skew is the agent's clock minus ours, where a heartbeat told it.
	skew time.Duration
}

// Report serves one agent. Its messages are handed to Run one by one; a judge
// that is busy leaves them in the stream's flow control.
func (j *Judge) Report(stream grpc.BidiStreamingServer[pb.ReportRequest, pb.ReportResponse]) error {
	s := &session{pauses: j.pulse.pauses.Load(), end: make(chan error, 1), wake: make(chan struct{}, 1)}
	// Ends with the stream's context, when this method has returned.
	go func() { s.finish(j.receive(stream, s)) }()

	hello := time.NewTimer(helloWait)
	defer hello.Stop()
	var sent *pb.Assignments
	for {
		select {
		case err := <-s.end:
			return err
		case <-j.stopped:
			return errStopping
		case <-hello.C:
			return status.Errorf(codes.DeadlineExceeded, "no hello within %s", helloWait)
		case <-s.wake:
			hello.Stop()
			a := j.assignments.Load()
			if a == nil || a == sent {
				continue
			}
			if err := stream.Send(&pb.ReportResponse{Message: &pb.ReportResponse_Assignments{Assignments: a}}); err != nil {
				return err
			}
			sent = a
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
	if err := errors.Join(checkLabel("agent", s.hello.GetAgent()), checkLabel("region", s.hello.GetRegion())); err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	if err := j.o.Authorize(ctx, s.hello.GetAgent(), s.hello.GetRegion()); err != nil {
		if _, ok := status.FromError(err); ok {
			return err
		}
		return status.Error(codes.PermissionDenied, err.Error())
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
		ev := event{session: s, req: req}
		switch m := req.GetMessage().(type) {
		case *pb.ReportRequest_Hello:
			return status.Error(codes.InvalidArgument, "a second hello: open a new stream instead")
		case *pb.ReportRequest_Opinions:
			if n := len(m.Opinions.GetOpinions()); n > MaxOpinions {
				return status.Errorf(codes.InvalidArgument, "an update of %d opinions: want at most %d", n, MaxOpinions)
			}
		case *pb.ReportRequest_Heartbeat:
			ev.skew = time.Until(time.UnixMilli(m.Heartbeat.GetClockMillis()))
		}
		if err := j.hand(ctx, ev); err != nil {
			return err
		}
	}
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
		v.session, v.full = nil, false
	}
}
