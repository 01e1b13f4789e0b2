// Package feed is the controller's side of the feed: it tells every subscribed
// nameserver the current head and the verdicts, and hands out objects. It may
// import controller/planner, controller/verdicts and the pure packages. Pushes
// are latest-wins: a slow subscriber skips states and never queues them.
package feed

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fairlead-dns/fairlead/controller/planner"
	"github.com/fairlead-dns/fairlead/controller/verdicts"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

const (
	beatEvery = 200 * time.Millisecond
	// maxBatch bounds the verdicts of one message; a full table may take several.
	maxBatch = 2000
	// maxDigests bounds one request for objects.
	maxDigests = 1000
	// keepGone is how long a nameserver that left stays in the status.
	keepGone = 24 * time.Hour
	// maxSubscribers bounds the streams and the memory of those that left.
	maxSubscribers = 10_000
)

// Options is what the feed needs.
type Options struct {
	Planner *planner.Planner
	Judge   *verdicts.Judge
	Log     *slog.Logger
}

// Server implements pb.FeedServiceServer.
type Server struct {
	pb.UnimplementedFeedServiceServer
	opts Options

	mu      sync.Mutex
	subs    map[string]*subscriber // by nameserver; those that left too
	changed chan struct{}          // closed and replaced when an acknowledgement comes
}

// subscriber is guarded by Server.mu.
type subscriber struct {
	name, region string
	connected    bool
	stream       int // counts its streams, so that an old one does not undo a new one's state
	generation   regions.Generation
	refusal      string
	following    bool
	heardAt      time.Time
}

// New returns a feed server.
func New(o Options) *Server {
	return &Server{opts: o, subs: map[string]*subscriber{}, changed: make(chan struct{})}
}

// Subscribe implements pb.FeedServiceServer.
func (s *Server) Subscribe(stream grpc.BidiStreamingServer[pb.SubscribeRequest, pb.SubscribeResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	hello := first.GetHello()
	if hello.GetNameserver() == "" {
		return status.Error(codes.InvalidArgument, "the first message must be a hello with the nameserver's name")
	}
	sub, id, err := s.join(hello)
	if err != nil {
		return err
	}
	defer s.leave(sub, id)
	if len(hello.GetVerdicts()) > 0 {
		s.opts.Judge.Seed(hello.GetVerdicts(), healthpb.Age(hello.GetVerdictsAgeMillis()), hello.GetNameserver())
	}

	ctx, cancel := context.WithCancel(stream.Context())
	resync := make(chan struct{}, 1)
	recvErr := make(chan error, 1)
	go func() {
		defer cancel()
		recvErr <- s.receive(stream, sub, resync)
	}()
	err = s.push(ctx, stream, resync)
	cancel()
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		select {
		case rerr := <-recvErr:
			return rerr
		case <-stream.Context().Done():
		}
	}
	return err
}

func (s *Server) receive(stream grpc.BidiStreamingServer[pb.SubscribeRequest, pb.SubscribeResponse], sub *subscriber, resync chan<- struct{}) error {
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		s.mu.Lock()
		sub.heardAt = time.Now()
		switch m := m.GetMessage().(type) {
		case *pb.SubscribeRequest_Acknowledgement:
			sub.generation = generation(m.Acknowledgement.GetGeneration())
			sub.refusal = m.Acknowledgement.GetRefusal()
			close(s.changed)
			s.changed = make(chan struct{})
		case *pb.SubscribeRequest_Following:
			sub.following = m.Following.GetFollowing()
		case *pb.SubscribeRequest_Resync:
			select {
			case resync <- struct{}{}:
			default:
			}
		}
		s.mu.Unlock()
	}
}

// push sends heads, verdicts and heartbeats until ctx ends.
func (s *Server) push(ctx context.Context, stream grpc.BidiStreamingServer[pb.SubscribeRequest, pb.SubscribeResponse], resync <-chan struct{}) error {
	health, cancel := s.opts.Judge.Subscribe()
	defer cancel()
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	var sentHead regions.Generation
	var sent *verdicts.State
	for {
		planChanged := s.opts.Planner.Changed()
		if cur := s.opts.Planner.Current(); cur != nil && cur.Generation != sentHead {
			if err := stream.Send(planUpdate(cur)); err != nil {
				return err
			}
			sentHead = cur.Generation
		}
		st := s.opts.Judge.State()
		if err := s.pushHealth(stream, st, sent); err != nil {
			return err
		}
		if sent == nil || sent.Ready != st.Ready {
			if err := stream.Send(heartbeat(st)); err != nil {
				return err
			}
		}
		sent = st
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-planChanged:
		case <-health:
		case <-resync:
			sent = nil
		case <-beat.C:
			if err := stream.Send(heartbeat(s.opts.Judge.State())); err != nil {
				return err
			}
		}
	}
}

func (s *Server) pushHealth(stream grpc.BidiStreamingServer[pb.SubscribeRequest, pb.SubscribeResponse], st, sent *verdicts.State) error {
	if sent != nil && sent.Version == st.Version {
		return nil
	}
	now := time.Now()
	if sent != nil {
		d := st.Since(sent)
		if len(d.Changed) == 0 && len(d.Removed) == 0 {
			return nil
		}
		if len(d.Changed) <= maxBatch {
			u := &pb.HealthUpdate{Version: version(st), Removed: d.Removed, Digest: uint64(st.Digest)}
			for _, t := range d.Changed {
				u.Targets = append(u.Targets, healthpb.TargetHealth(t.ID, t.Verdict, now))
			}
			return send(stream, u)
		}
	}
	// All of it: the first message replaces the table, and each carries the
	// digest of what the table is after it.
	u := &pb.HealthUpdate{Version: version(st), Full: true}
	var digest health.Digest
	for t := range st.All() {
		if len(u.Targets) == maxBatch {
			u.Digest = uint64(digest)
			if err := send(stream, u); err != nil {
				return err
			}
			u = &pb.HealthUpdate{Version: version(st)}
		}
		digest = digest.Add(t.ID, t.Last)
		u.Targets = append(u.Targets, healthpb.TargetHealth(t.ID, t.Verdict, now))
	}
	u.Digest = uint64(digest)
	return send(stream, u)
}

func send(stream grpc.BidiStreamingServer[pb.SubscribeRequest, pb.SubscribeResponse], u *pb.HealthUpdate) error {
	return stream.Send(&pb.SubscribeResponse{Message: &pb.SubscribeResponse_Health{Health: u}})
}

func planUpdate(c *planner.Current) *pb.SubscribeResponse {
	return &pb.SubscribeResponse{Message: &pb.SubscribeResponse_Plan{Plan: &pb.PlanUpdate{
		Generation: &pb.Generation{Epoch: c.Generation.Epoch, Revision: c.Generation.Revision}, Head: c.Head,
	}}}
}

func version(st *verdicts.State) *pb.HealthVersion {
	return &pb.HealthVersion{Incarnation: st.Version.Incarnation, Number: st.Version.Number}
}

func heartbeat(st *verdicts.State) *pb.SubscribeResponse {
	return &pb.SubscribeResponse{Message: &pb.SubscribeResponse_Heartbeat{Heartbeat: &pb.Heartbeat{
		Version: version(st), Digest: uint64(st.Digest), Ready: st.Ready,
		AgentsFresh: uint32(st.AgentsFresh), AgentsRegistered: uint32(st.AgentsRegistered),
		EvidenceAgeMillis: healthpb.Millis(st.EvidenceAge),
	}}}
}

// FetchObjects implements pb.FeedServiceServer. It serves from the
// generation in memory: no etcd is on its way.
func (s *Server) FetchObjects(req *pb.FetchObjectsRequest, stream grpc.ServerStreamingServer[pb.FetchObjectsResponse]) error {
	if n := len(req.GetDigests()); n > maxDigests {
		return status.Errorf(codes.InvalidArgument, "%d digests, at most %d", n, maxDigests)
	}
	cur := s.opts.Planner.Current()
	if cur == nil {
		return status.Error(codes.Unavailable, "no generation is published")
	}
	for _, d := range req.GetDigests() {
		if len(d) != 32 {
			return status.Errorf(codes.InvalidArgument, "a digest of %d bytes, want 32", len(d))
		}
		data, ok := cur.Objects[plan.Digest(d)]
		if !ok {
			return status.Errorf(codes.NotFound, "object %x is not in generation %v", d, cur.Generation)
		}
		if err := stream.Send(&pb.FetchObjectsResponse{Digest: d, Data: data}); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) join(h *pb.NameserverHello) (*subscriber, int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for name, sub := range s.subs {
		if !sub.connected && now.Sub(sub.heardAt) > keepGone {
			delete(s.subs, name)
		}
	}
	sub := s.subs[h.GetNameserver()]
	if sub == nil {
		if len(s.subs) >= maxSubscribers {
			return nil, 0, status.Errorf(codes.ResourceExhausted, "%d nameservers are known already", maxSubscribers)
		}
		sub = &subscriber{name: h.GetNameserver()}
		s.subs[sub.name] = sub
	}
	sub.stream++
	sub.region, sub.connected, sub.heardAt = h.GetRegion(), true, now
	sub.generation, sub.refusal, sub.following = generation(h.GetGeneration()), "", false
	s.opts.Log.Info("nameserver subscribed", "nameserver", sub.name, "region", sub.region, "generation", sub.generation.String())
	return sub, sub.stream, nil
}

func (s *Server) leave(sub *subscriber, id int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub.stream == id {
		sub.connected, sub.following = false, false
		s.opts.Log.Info("nameserver left", "nameserver", sub.name)
	}
}

// Nameserver is one nameserver as the feed knows it.
type Nameserver struct {
	Name, Region string
	Connected    bool
	Generation   regions.Generation
	Refusal      string
	Following    bool
	HeardAt      time.Time
}

// Nameservers lists the nameservers that are or were subscribed, by name.
func (s *Server) Nameservers() []Nameserver {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Nameserver
	for _, n := range s.subs {
		out = append(out, Nameserver{n.name, n.region, n.connected, n.generation, n.refusal, n.following, n.heardAt})
	}
	slices.SortFunc(out, func(a, b Nameserver) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Wait returns when every nameserver that is connected, and every registered
// one, serves the generation or a newer one, or when ctx ends; it says which
// do and which do not.
func (s *Server) Wait(ctx context.Context, gen regions.Generation, registered []string) *pb.Convergence {
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		c := &pb.Convergence{}
		seen := map[string]bool{}
		for _, n := range s.Nameservers() {
			wanted := n.Connected || slices.Contains(registered, n.Name)
			seen[n.Name] = true
			switch {
			case n.Connected && n.Generation.Compare(gen) >= 0:
				c.Serving = append(c.Serving, n.Name)
			case wanted:
				c.Missing = append(c.Missing, n.Name)
			}
		}
		for _, name := range registered {
			if !seen[name] {
				c.Missing = append(c.Missing, name)
			}
		}
		slices.Sort(c.Missing)
		if len(c.Missing) == 0 {
			return c
		}
		select {
		case <-ctx.Done():
			return c
		case <-changed:
		}
	}
}

func generation(g *pb.Generation) regions.Generation {
	return regions.Generation{Epoch: g.GetEpoch(), Revision: g.GetRevision()}
}
