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
	conn       *grpc.ClientConn // from prepare on

	mu        sync.Mutex
	connected bool
	since     time.Time
	lastErr   error
}

func newReporter(a *Agent, controller string) *reporter {
	return &reporter{
		a: a, controller: controller, log: a.o.Log.With("controller", controller),
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
		case <-time.After(wait/2 + rand.N(wait/2)):
		}
		wait = min(2*wait, retryMost)
	}
	r.lost(nil)
}

// report runs one stream to its end.
func (r *reporter) report(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := pb.NewAgentServiceClient(r.conn).Report(ctx)
	if err != nil {
		return err
	}
	received := make(chan error, 1)
	go func() { received <- r.receive(stream) }()
	err = r.send(ctx, stream, received)
	ended := err == nil || errors.Is(err, io.EOF)
	if !ended {
		cancel()
	}
	if why := <-received; ended {
		return why // it knows why the stream ended
	}
	return err
}

// receive takes assignments until the stream ends.
func (r *reporter) receive(stream grpc.BidiStreamingClient[pb.ReportRequest, pb.ReportResponse]) error {
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		r.accepted()
		if a := m.GetAssignments(); a != nil {
			if err := r.a.follow.offer(a, r.controller); err != nil {
				r.log.Error("assignments refused", "error", err)
			}
		}
	}
}

// send sends a hello, all opinions, and then what changes and heartbeats. It
// returns nil when receiving has ended.
func (r *reporter) send(ctx context.Context, stream grpc.BidiStreamingClient[pb.ReportRequest, pb.ReportResponse], received chan error) error {
	hello := &pb.AgentHello{Agent: r.a.o.Name, Region: r.a.o.Region, Version: r.a.o.Version, Incarnation: r.a.incarnation}
	if err := stream.Send(&pb.ReportRequest{Message: &pb.ReportRequest_Hello{Hello: hello}}); err != nil {
		return err
	}
	wake, stop := r.a.book.read()
	defer stop()
	opinions, sent := r.a.book.all(time.Now())
	if err := sendOpinions(stream, opinions, true); err != nil {
		return err
	}
	beat := time.NewTicker(heartbeatEvery)
	defer beat.Stop()
	refresh := time.NewTicker(refreshEvery - rand.N(refreshEvery/10))
	defer refresh.Stop()
	for beats := 0; ; {
		var err error
		select {
		case err := <-received:
			received <- err
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
			sent, err = r.sendSince(stream, sent)
		case <-refresh.C:
			opinions, sent = r.a.book.all(time.Now())
			err = sendOpinions(stream, opinions, fitOne(opinions))
		case <-beat.C:
			if beats++; beats%minorEvery == 0 {
				if sent, err = r.sendSince(stream, sent); err != nil {
					return err
				}
			}
			if beats == minorEvery {
				r.accepted() // a stream that is refused does not live that long
			}
			g := r.a.follow.current()
			err = stream.Send(&pb.ReportRequest{Message: &pb.ReportRequest_Heartbeat{Heartbeat: &pb.AgentHeartbeat{
				ClockMillis: time.Now().UnixMilli(),
				Generation:  &pb.Generation{Epoch: g.Epoch, Revision: g.Revision},
			}}})
		}
		if err != nil {
			return err
		}
	}
}

// sendSince sends what changed since a revision.
func (r *reporter) sendSince(stream grpc.BidiStreamingClient[pb.ReportRequest, pb.ReportResponse], revision uint64) (uint64, error) {
	opinions, to, full := r.a.book.since(revision, time.Now())
	if len(opinions) == 0 && !full {
		return to, nil
	}
	return to, sendOpinions(stream, opinions, full)
}

// fitOne tells whether opinions fit into one message. A refresh that takes more
// is not sent as a full update: the first message would withdraw, for a moment,
// what the later ones hold.
func fitOne(opinions []*pb.Opinion) bool {
	size := 0
	for _, o := range opinions {
		size += proto.Size(o) + 8
	}
	return size < maxUpdate
}

// sendOpinions sends opinions in as many messages as it takes, of which the
// first one says that the update is full.
func sendOpinions(stream grpc.BidiStreamingClient[pb.ReportRequest, pb.ReportResponse], opinions []*pb.Opinion, full bool) error {
	for first := true; first || len(opinions) > 0; first = false {
		n, size := 0, 0
		for n < len(opinions) && (n == 0 || size < maxUpdate) {
			size += proto.Size(opinions[n]) + 8
			n++
		}
		up := &pb.OpinionUpdate{Full: full && first, Opinions: opinions[:n]}
		if err := stream.Send(&pb.ReportRequest{Message: &pb.ReportRequest_Opinions{Opinions: up}}); err != nil {
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
		r.connected, r.since, r.lastErr = true, time.Now(), nil
		r.a.m.streams.Inc()
		r.log.Info("controller connected")
	}
}

// lost notes that the stream has ended. The same failure again is not logged again.
func (r *reporter) lost(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
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
