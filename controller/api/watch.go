package api

import (
	"cmp"
	"context"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead-dns/fairlead/controller/planner"
	"github.com/fairlead-dns/fairlead/controller/verdicts"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

const (
	// watchHeartbeat is how long a watch is silent at the most.
	watchHeartbeat = 10 * time.Second
	// watchMembers is how often agents and nameservers are looked at.
	watchMembers = time.Second
	// watchPause bounds how often one watcher looks, whatever happens.
	watchPause = 50 * time.Millisecond
	// maxWatchers bounds the watchers of a controller together.
	maxWatchers = 1000
	// maxWatchEndpoints bounds the endpoints that are named with one target.
	maxWatchEndpoints = 100
)

// Run ends the streams when ctx ends.
func (s *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	close(s.stopped)
	return nil
}

// Watch implements pb.InsightServiceServer.
func (s *Server) Watch(req *pb.WatchRequest, stream pb.InsightService_WatchServer) error {
	if s.watchers.Add(1) > maxWatchers {
		s.watchers.Add(-1)
		return status.Errorf(codes.ResourceExhausted, "%d watch this controller already", maxWatchers)
	}
	defer s.watchers.Add(-1)
	// So that whoever watches knows that it does, when nothing happens.
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	w := &watcher{
		current: s.opts.Planner.Current, changed: s.opts.Planner.Changed, judge: s.opts.Judge,
		members: s.members, breakGlass: s.opts.Feed.BreakGlass, stopped: s.stopped, send: stream.Send,
	}
	return w.run(stream.Context(), req.GetInitial())
}

// members lists agents and nameservers, each as a change.
func (s *Server) members(cur *planner.Current, now time.Time) []*pb.MemberChange {
	resp := &pb.GetStatusResponse{}
	s.addMembers(resp, cur, now)
	var out []*pb.MemberChange
	for _, a := range resp.GetAgents() {
		out = append(out, &pb.MemberChange{Agent: a})
	}
	for _, n := range resp.GetNameservers() {
		out = append(out, &pb.MemberChange{Nameserver: n})
	}
	return out
}

// watcher tells one reader what changes. It keeps what it told last, and each
// time tells how the present differs from that: a reader that is slow to take
// a message gets the newest state after it, never a queue.
type watcher struct {
	current func() *planner.Current
	changed func() <-chan struct{}
	judge   *verdicts.Judge
	members func(*planner.Current, time.Time) []*pb.MemberChange
	// breakGlass lists the records that nameservers hold.
	breakGlass func() []*pb.BreakGlassStatus
	stopped    <-chan struct{}
	send       func(*pb.WatchResponse) error

	// What was told last.
	cur   *planner.Current
	state *verdicts.State
	known map[string]*pb.MemberChange
	event uint64 // the number of the newest
	sent  time.Time
	// held are the break-glass records that stand, by id.
	held map[string]*pb.BreakGlassStatus
}

func (w *watcher) run(ctx context.Context, initial bool) error {
	judged, cancel := w.judge.Subscribe()
	defer cancel()
	if err := w.begin(initial); err != nil {
		return err
	}
	ticker := time.NewTicker(watchMembers)
	defer ticker.Stop()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		planned := w.changed()
		if err := w.tell(time.Now()); err != nil {
			return err
		}
		pause.Reset(watchPause)
		if err := w.wait(ctx, pause.C); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		case <-w.stopped:
			return errStopping
		case <-planned:
		case <-judged:
		case <-ticker.C:
			if err := w.look(time.Now()); err != nil {
				return err
			}
		}
	}
}

var errStopping = status.Error(codes.Unavailable, "the controller is stopping")

func (w *watcher) wait(ctx context.Context, until <-chan time.Time) error {
	select {
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	case <-w.stopped:
		return errStopping
	case <-until:
		return nil
	}
}

// begin takes the present state as known, or tells it; a heartbeat closes it.
func (w *watcher) begin(initial bool) error {
	now := time.Now()
	w.known = map[string]*pb.MemberChange{}
	for _, e := range w.judge.Events(0) {
		w.event = e.Number
	}
	if !initial {
		w.cur, w.state, w.sent = w.current(), w.judge.State(), now
		for _, m := range w.members(w.cur, now) {
			w.known[memberKey(m)] = m
		}
		w.held = standing(w.breakGlass())
		return nil
	}
	if err := w.tellGeneration(now); err != nil {
		return err
	}
	w.state = w.judge.State()
	for t := range w.state.All() {
		if err := w.tellVerdict(t, pb.HealthStatus_HEALTH_STATUS_UNSPECIFIED, now); err != nil {
			return err
		}
	}
	if err := w.tellMembers(now); err != nil {
		return err
	}
	if err := w.tellBreakGlass(now); err != nil {
		return err
	}
	return w.message(&pb.WatchResponse{Change: &pb.WatchResponse_Heartbeat{Heartbeat: &pb.WatchHeartbeat{}}}, now)
}

// tell tells how generation and verdicts differ from what was told.
func (w *watcher) tell(now time.Time) error {
	if err := w.tellGeneration(now); err != nil {
		return err
	}
	for _, e := range w.judge.Events(w.event) {
		w.event = e.Number
		if err := w.tellEvent(&pb.HealthEvent{Kind: e.Kind, Subject: e.Subject, Text: e.Text}, now); err != nil {
			return err
		}
	}
	before, state := w.state, w.judge.State()
	if before.Version == state.Version {
		return nil
	}
	w.state = state
	for _, t := range state.Since(before).Changed {
		var last, quorum regions.Status
		if was, ok := before.Get(t.ID); ok {
			last, quorum = was.Last, was.Quorum
		}
		if t.Last == last && t.Quorum == quorum {
			continue // other votes, or a new target that nobody has judged
		}
		if err := w.tellVerdict(t, healthpb.Status(last), now); err != nil {
			return err
		}
	}
	return nil
}

// look tells how the members and the break-glass records differ from what was
// told, or that nothing does for long.
func (w *watcher) look(now time.Time) error {
	if err := w.tellMembers(now); err != nil {
		return err
	}
	if err := w.tellBreakGlass(now); err != nil || now.Sub(w.sent) < watchHeartbeat {
		return err
	}
	return w.message(&pb.WatchResponse{Change: &pb.WatchResponse_Heartbeat{Heartbeat: &pb.WatchHeartbeat{}}}, now)
}

func (w *watcher) message(m *pb.WatchResponse, now time.Time) error {
	m.Time, w.sent = timestamppb.New(now), now
	return w.send(m)
}

func (w *watcher) tellEvent(e *pb.HealthEvent, now time.Time) error {
	return w.message(&pb.WatchResponse{Change: &pb.WatchResponse_Health{Health: e}}, now)
}

func (w *watcher) tellGeneration(now time.Time) error {
	before, cur := w.cur, w.current()
	if cur == nil || before != nil && before.Generation == cur.Generation {
		return nil
	}
	w.cur = cur
	c := &pb.GenerationChange{Generation: generation(cur.Generation), ConfigurationChanged: true}
	var had []*pb.Override
	if before != nil {
		c.Previous, had = generation(before.Generation), before.Overrides
		c.ConfigurationChanged = before.Plan.Compiled != cur.Plan.Compiled
	}
	c.OverridesAdded, c.OverridesRemoved = without(cur.Overrides, had), without(had, cur.Overrides)
	return w.message(&pb.WatchResponse{Change: &pb.WatchResponse_Generation{Generation: c}}, now)
}

// without are the overrides of a that are not in b. An override never changes:
// another one replaces it.
func without(a, b []*pb.Override) (out []*pb.Override) {
	ids := make(map[string]bool, len(b))
	for _, o := range b {
		ids[o.GetId()] = true
	}
	for _, o := range a {
		if !ids[o.GetId()] {
			out = append(out, o)
		}
	}
	return out
}

func (w *watcher) tellVerdict(t *verdicts.Target, before pb.HealthStatus, now time.Time) error {
	return w.message(&pb.WatchResponse{Change: &pb.WatchResponse_Verdict{Verdict: &pb.VerdictChange{
		Now: healthpb.TargetHealth(t.ID, t.Verdict, now), Before: before, Endpoints: endpointsOf(w.cur, t.ID),
	}}}, now)
}

// endpointsOf names the endpoints that a target stands for.
func endpointsOf(cur *planner.Current, id string) (names []string) {
	if cur == nil {
		return nil
	}
	target, ok := cur.Plan.Target(id)
	if !ok {
		return nil
	}
	for _, i := range cur.Plan.Targets[target].Services {
		svc := &cur.Plan.Services[i]
		for e := range svc.Endpoints {
			ep := &svc.Endpoints[e]
			if !slices.ContainsFunc([]regions.Family{regions.V4, regions.V6}, func(f regions.Family) bool { return ep.Has(f) && ep.Target[f] == target }) {
				continue
			}
			if len(names) == maxWatchEndpoints {
				return names
			}
			names = append(names, svc.Name+"/"+ep.Name)
		}
	}
	return names
}

func memberKey(m *pb.MemberChange) string {
	if m.GetAgent() != nil {
		return config.KindAgent + "/" + m.GetAgent().GetAgent()
	}
	return config.KindNameserver + "/" + m.GetNameserver().GetNameserver()
}

func (w *watcher) tellMembers(now time.Time) error {
	was := w.known
	w.known = make(map[string]*pb.MemberChange, len(was))
	for _, m := range w.members(w.cur, now) {
		key := memberKey(m)
		before, known := was[key]
		w.known[key] = m
		delete(was, key)
		if known && sameMember(before, m) {
			continue
		}
		if err := w.tellMember(m, now); err != nil {
			return err
		}
	}
	// What is left is forgotten here: neither registered nor connected.
	gone := make([]*pb.MemberChange, 0, len(was))
	for _, m := range was {
		gone = append(gone, m)
	}
	slices.SortFunc(gone, func(a, b *pb.MemberChange) int { return cmp.Compare(memberKey(a), memberKey(b)) })
	for _, m := range gone {
		last := &pb.MemberChange{}
		if a := m.GetAgent(); a != nil {
			last.Agent = &pb.AgentStatus{Agent: a.GetAgent(), Region: a.GetRegion()}
		} else {
			last.Nameserver = &pb.NameserverStatus{Nameserver: m.GetNameserver().GetNameserver(), Region: m.GetNameserver().GetRegion()}
		}
		if err := w.tellMember(last, now); err != nil {
			return err
		}
	}
	return nil
}

func (w *watcher) tellMember(m *pb.MemberChange, now time.Time) error {
	return w.message(&pb.WatchResponse{Change: &pb.WatchResponse_Member{Member: m}}, now)
}

// sameMember tells whether only ages and counts differ.
func sameMember(a, b *pb.MemberChange) bool {
	if x := a.GetAgent(); x != nil {
		y := b.GetAgent()
		return x.GetRegion() == y.GetRegion() && x.GetRegistered() == y.GetRegistered() && x.GetConnected() == y.GetConnected() &&
			x.GetIsolated() == y.GetIsolated()
	}
	x, y := a.GetNameserver(), b.GetNameserver()
	return x.GetRegion() == y.GetRegion() && x.GetRegistered() == y.GetRegistered() && x.GetConnected() == y.GetConnected() &&
		x.GetFollowing() == y.GetFollowing() && x.GetRefusal() == y.GetRefusal() && x.GetHealthState() == y.GetHealthState() &&
		x.GetGeneration().GetEpoch() == y.GetGeneration().GetEpoch() && x.GetGeneration().GetRevision() == y.GetGeneration().GetRevision()
}
