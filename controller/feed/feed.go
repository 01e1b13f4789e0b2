// Package feed is the controller's side of the feed: it tells every subscribed
// nameserver the current head and the verdicts, and hands out objects. It may
// import controller/planner, controller/verdicts and the pure packages. Pushes
// are latest-wins: a slow subscriber skips states and never queues them.
package feed

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fairlead-dns/fairlead/controller/planner"
	"github.com/fairlead-dns/fairlead/controller/verdicts"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

const (
	// helloWait is how long a stream may stay without a hello.
	helloWait = 5 * time.Second
	// maxDigests bounds one request for objects.
	maxDigests = 1000
	// messageRate is how many messages a second a nameserver may send, messageBurst
	// how many at once. It sends a few for each generation and each change of what
	// it follows, and one now and then; each has its cost for all others.
	messageRate, messageBurst = 50, 200
)

var (
	errStopping = status.Error(codes.Unavailable, "the controller is stopping")
	errFlood    = status.Errorf(codes.ResourceExhausted, "more than %d messages a second for too long: acknowledge generations and tell what changed", messageRate)
)

// Plans is where the feed gets generations from: a *planner.Planner, and in
// the simulation, which has no etcd, a source of its own.
type Plans interface {
	// Current is the published generation, nil before the first.
	Current() *planner.Current
	// Recent are the generations whose objects are handed out, newest first.
	Recent() []*planner.Current
	// Changed is closed when Current changes.
	Changed() <-chan struct{}
	// Saw and Lost tell which generation a nameserver has, and that it left.
	Saw(nameserver string, gen regions.Generation, installation string)
	Lost(nameserver string)
}

// Options is what the feed needs.
type Options struct {
	Planner Plans
	Judge   *verdicts.Judge
	// Authorize refuses a caller that may not speak for a nameserver; nil
	// accepts all.
	Authorize func(ctx context.Context, nameserver, region string) error
	Log       *slog.Logger
	// Registerer takes the feed's metrics; nil: none.
	Registerer prometheus.Registerer
}

// Server implements pb.FeedServiceServer.
type Server struct {
	pb.UnimplementedFeedServiceServer
	opts    Options
	stopped chan struct{} // closed when Run returns
	shared  shared
	// throttled counts the streams that ended because they sent too much.
	throttled prometheus.Counter
	queries   *rate.Limiter

	mu        sync.Mutex
	subs      map[string]*subscriber // by nameserver; those that left too
	changed   chan struct{}          // closed and replaced when a subscriber comes, leaves or acknowledges
	lastQuery uint64
}

// New returns a feed server.
func New(o Options) *Server {
	s := &Server{
		opts: o, stopped: make(chan struct{}), subs: map[string]*subscriber{}, changed: make(chan struct{}),
		queries: rate.NewLimiter(usageRate, usageBurst),
		throttled: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "fairlead", Subsystem: "controller", Name: "nameservers_throttled_total",
			Help: "Streams of nameservers that ended because they sent too much.",
		}),
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(s.throttled)
	}
	return s
}

// Run ends the streams when ctx ends: their nameservers go elsewhere at once.
// Meanwhile it lets go of messages that nobody will be sent any more.
func (s *Server) Run(ctx context.Context) error {
	defer close(s.stopped)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			s.shared.forget(now)
		}
	}
}

// subscribeStream is the controller's end of a subscription.
type subscribeStream = grpc.BidiStreamingServer[pb.SubscribeRequest, pb.SubscribeResponse]

// Subscribe implements pb.FeedServiceServer.
func (s *Server) Subscribe(stream subscribeStream) error {
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	hello := make(chan joined, 1)
	resync := make(chan struct{}, 1)
	// Ends with the stream's context, when this method has returned.
	go func() { cancel(s.receive(stream, hello, resync)) }()

	timeout := time.NewTimer(helloWait)
	defer timeout.Stop()
	var sub *subscriber
	select {
	case <-s.stopped:
		return errStopping
	case <-timeout.C:
		return status.Errorf(codes.DeadlineExceeded, "no hello within %v", helloWait)
	case <-ctx.Done():
		return endOf(ctx)
	case j := <-hello:
		h := j.hello
		sub = j.subscriber
		if len(h.GetVerdicts())+len(h.GetLatches().GetLatches()) > 0 && s.ours(h) {
			s.opts.Judge.Seed(verdicts.SeedTable{
				From: h.GetNameserver(), Verdicts: h.GetVerdicts(), Age: healthpb.Age(h.GetVerdictsAgeMillis()), Latches: h.GetLatches(),
			})
		}
	}
	return s.push(ctx, stream, resync, sub.queries)
}

// joined is a nameserver that has said hello.
type joined struct {
	*subscriber
	hello *pb.NameserverHello
}

// ours tells whether a nameserver's verdicts are about this installation.
func (s *Server) ours(h *pb.NameserverHello) bool {
	cur := s.opts.Planner.Current()
	if cur == nil || h.GetInstallation() == "" || h.GetInstallation() == cur.Head.GetInstallation() {
		return true
	}
	s.opts.Log.Warn("nameserver serves another installation; its verdicts are not taken",
		"nameserver", h.GetNameserver(), "installation", h.GetInstallation(), "want", cur.Head.GetInstallation())
	return false
}

// errClosed is the cause of a stream that the nameserver closed.
var errClosed = errors.New("closed by the nameserver")

// endOf is what a stream ends with whose context has ended.
func endOf(ctx context.Context) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, errClosed) {
		return nil
	}
	if _, ok := status.FromError(cause); ok {
		return cause
	}
	return status.FromContextError(cause).Err()
}

// receive reads the stream to its end, and says how it ended.
func (s *Server) receive(stream subscribeStream, hello chan<- joined, resync chan<- struct{}) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if err := checkHello(first.GetHello()); err != nil {
		return err
	}
	if h := first.GetHello(); s.opts.Authorize != nil {
		if err := s.opts.Authorize(stream.Context(), h.GetNameserver(), h.GetRegion()); err != nil {
			return err
		}
	}
	sub, err := s.join(first.GetHello())
	if err != nil {
		return err
	}
	defer s.leave(sub)
	hello <- joined{sub, first.GetHello()}
	budget := rate.NewLimiter(messageRate, messageBurst)
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return errClosed
		}
		if err != nil {
			return err
		}
		// What was asked for costs nothing.
		if r := m.GetUsage(); r != nil && s.answered(sub, r) {
			continue
		}
		if !budget.Allow() {
			s.throttled.Inc()
			s.opts.Log.Warn("nameserver floods: its stream ends", "nameserver", sub.name, "region", sub.region)
			return errFlood
		}
		switch m := m.GetMessage().(type) {
		case *pb.SubscribeRequest_Hello:
			return status.Error(codes.InvalidArgument, "a second hello: open a new stream instead")
		case *pb.SubscribeRequest_Acknowledgement:
			s.acknowledge(sub, m.Acknowledgement)
		case *pb.SubscribeRequest_Following:
			s.heard(sub, m.Following)
			if l := m.Following.GetLatches(); len(l.GetLatches()) > 0 && s.ours(first.GetHello()) {
				s.opts.Judge.Seed(verdicts.SeedTable{From: sub.name, Latches: l})
			}
		case *pb.SubscribeRequest_Resync:
			select {
			case resync <- struct{}{}:
			default:
			}
		}
	}
}

// FetchObjects implements pb.FeedServiceServer. It serves from the generations
// in memory: no etcd is on its way.
func (s *Server) FetchObjects(req *pb.FetchObjectsRequest, stream grpc.ServerStreamingServer[pb.FetchObjectsResponse]) error {
	if n := len(req.GetDigests()); n > maxDigests {
		return status.Errorf(codes.InvalidArgument, "%d digests, at most %d", n, maxDigests)
	}
	recent := s.opts.Planner.Recent()
	if len(recent) == 0 {
		return status.Error(codes.Unavailable, "no generation is published")
	}
	for _, d := range req.GetDigests() {
		if len(d) != len(plan.Digest{}) {
			return status.Errorf(codes.InvalidArgument, "a digest of %d bytes, want %d", len(d), len(plan.Digest{}))
		}
		var data []byte
		found := false
		for _, v := range recent {
			if data, found = v.Objects[plan.Digest(d)]; found {
				break
			}
		}
		if !found {
			return status.Errorf(codes.NotFound, "object %x is not in generation %v", d, recent[0].Generation)
		}
		if err := stream.Send(&pb.FetchObjectsResponse{Digest: d, Data: data}); err != nil {
			return err
		}
	}
	return nil
}
