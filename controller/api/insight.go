package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fairlead-dns/fairlead/controller/planner"
	"github.com/fairlead-dns/fairlead/controller/verdicts"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
	"github.com/fairlead-dns/fairlead/regions/plan"
	"github.com/fairlead-dns/fairlead/regions/steer"
)

// builtView is the newest view that was built, and from what.
type builtView struct {
	cur      *planner.Current
	state    *verdicts.State
	geo      string
	rankings *steer.Rankings
	view     *steer.View
}

// targetStates are the verdicts by target index, of a configuration and a state.
type targetStates struct {
	mu      sync.Mutex
	base    *plan.Base
	version verdicts.Version
	digest  health.Digest       // of the latches too
	list    []steer.TargetState // not to be written to
	sound   func(service int32, endpoint int) bool
}

// of makes it those of a configuration and a state. mu is held.
func (t *targetStates) of(base *plan.Base, st *verdicts.State) []steer.TargetState {
	if t.base == base && t.version == st.Version && t.digest == st.Digest {
		return t.list
	}
	t.base, t.version, t.digest, t.sound = base, st.Version, st.Digest, nil
	t.list = make([]steer.TargetState, len(base.Targets))
	for i := range t.list {
		if v, ok := st.Get(base.Targets[i].ID); ok {
			t.list[i] = plan.TargetState(base.Base, v.Verdict)
		}
	}
	return t.list
}

// sound tells which endpoints could be in service but for overrides. Each is
// evaluated once for a configuration and a state, however often changes are
// judged by them; nobody waits here for a view to be built.
func (s *Server) sound(cur *planner.Current) (func(service int32, endpoint int) bool, *verdicts.State) {
	st := s.opts.Judge.State()
	t := &s.states
	t.mu.Lock()
	defer t.mu.Unlock()
	if list := t.of(cur.Plan.Compiled, st); t.sound == nil {
		t.sound = tabled(cur.Plan.Base, steer.Sound(steer.Inputs{Plan: cur.Plan.Plan, States: list, Latches: st.Latches}))
	}
	return t.sound, st
}

// tabled is what a function says of every endpoint, evaluated now.
func tabled(b *regions.Base, is func(service int32, endpoint int) bool) func(service int32, endpoint int) bool {
	first := make([]int, len(b.Services))
	var all []bool
	for i := range b.Services {
		first[i] = len(all)
		for e := range b.Services[i].Endpoints {
			all = append(all, is(int32(i), e))
		}
	}
	return func(service int32, endpoint int) bool { return all[first[service]+endpoint] }
}

// steering returns the view that a nameserver with the same plan and verdicts
// answers from.
func (s *Server) steering(cur *planner.Current) (*steer.View, *verdicts.State, error) {
	st, db := s.opts.Judge.State(), s.geo.Load()
	s.viewMu.Lock()
	defer s.viewMu.Unlock()
	v := &s.view
	if v.cur == cur && v.geo == db.Digest() && v.state != nil && v.state.Version == st.Version {
		v.view = v.view.At(time.Now())
		return v.view, st, nil
	}
	if v.rankings == nil || v.cur == nil || v.cur.Plan.Compiled != cur.Plan.Compiled || v.geo != db.Digest() {
		r, err := steer.CompileRankings(cur.Plan.Base, db, v.rankings)
		if err != nil {
			return nil, nil, err
		}
		v.rankings, v.geo = r, db.Digest()
	}
	v.cur, v.state = cur, st
	s.states.mu.Lock()
	states := s.states.of(cur.Plan.Compiled, st)
	s.states.mu.Unlock()
	v.view = steer.NewView(steer.Inputs{Plan: cur.Plan.Plan, Tables: v.rankings.Tables, States: states, Latches: st.Latches, Now: time.Now()})
	return v.view, st, nil
}

// Explain implements pb.InsightServiceServer.
func (s *Server) Explain(_ context.Context, req *pb.ExplainRequest) (*pb.ExplainResponse, error) {
	cur, err := s.current()
	if err != nil {
		return nil, err
	}
	q, err := cur.Plan.Compiled.ParseQuestion(req.GetName(), req.GetType(), req.GetClient())
	if errors.Is(err, plan.ErrNoService) {
		return nil, status.Error(codes.NotFound, err.Error())
	}
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	view, st, err := s.steering(cur)
	if err != nil {
		return nil, toStatus(err)
	}
	resp := plan.Explain(view, q, time.Now(), func(target string) (health.Verdict, bool) {
		t, ok := st.Get(target)
		if !ok {
			return health.Verdict{}, false
		}
		return t.Verdict, true
	})
	resp.Source = "controller/" + s.opts.Name
	resp.Type = cmp.Or(strings.ToUpper(req.GetType()), "A")
	resp.HealthAgeMillis, resp.ControlAgeMillis = healthpb.Millis(st.EvidenceAge), s.controlAge(time.Now())
	resp.Overrides = withEtags(holding(cur, q.Service))
	return resp, nil
}

// holding lists the overrides in force that hold endpoints of a service.
func holding(cur *planner.Current, service int32) (out []*pb.Override) {
	svc := &cur.Plan.Services[service]
	holds := map[string]bool{}
	for _, o := range cur.Plan.Overrides {
		for e := range svc.Endpoints {
			ep := &svc.Endpoints[e]
			holds[o.ID] = holds[o.ID] || o.Scope.Holds(svc.Name, ep.Name, cur.Plan.Regions[ep.Region].Name, ep.AvailabilityZone)
		}
	}
	for _, o := range cur.Overrides {
		if holds[o.GetId()] {
			out = append(out, o)
		}
	}
	return out
}

// GetStatus implements pb.InsightServiceServer.
func (s *Server) GetStatus(context.Context, *pb.GetStatusRequest) (*pb.GetStatusResponse, error) {
	st := s.opts.Judge.State()
	resp := &pb.GetStatusResponse{
		Controller: s.opts.Name, Version: s.opts.Version,
		StoreAvailable: s.opts.Planner.StoreAvailable(),
		HealthReady:    st.Ready, HealthDigest: st.Digest.String(),
		Alarms: s.opts.Planner.Alarms(), ReadOnly: s.readOnly(), BreakGlass: s.opts.Feed.BreakGlass(),
	}
	for _, t := range s.opts.Feed.BreakGlassTroubles() {
		resp.Alarms = append(resp.Alarms, fmt.Sprintf("the break-glass records of nameserver %q: %s", t.Nameserver, t.Text))
	}
	now := time.Now()
	if s.opts.Certificates != nil {
		resp.Certificates = s.opts.Certificates(now)
	}
	cur := s.opts.Planner.Current()
	s.addMembers(resp, cur, now)
	if cur == nil {
		return resp, nil
	}
	for _, i := range cur.Ignored() {
		resp.IgnoredOverrides = append(resp.IgnoredOverrides, &pb.IgnoredOverride{Override: i.Override, Reason: i.Reason})
	}
	resp.Generation, resp.ControlAgeMillis = generation(cur.Generation), s.controlAge(now)
	resp.Overrides, resp.Scheduled = withEtags(cur.Overrides), withEtags(cur.Scheduled)
	resp.Alarms = append(resp.Alarms, lateAlarms(cur.Version)...)
	view, _, err := s.steering(cur)
	if err != nil {
		return nil, toStatus(err)
	}
	resp.Latches, resp.Guard = latchStatus(view, st, now), guardStatus(st, now)
	resp.Regions = make([]*pb.RegionStatus, len(view.Plan.Regions))
	for i := range resp.Regions {
		resp.Regions[i] = &pb.RegionStatus{Region: view.Plan.Regions[i].Name}
	}
	for i := range view.Plan.Services {
		resp.Services = append(resp.Services, serviceStatus(view, st, int32(i), resp.Regions, now))
	}
	return resp, nil
}

// serviceStatus counts a service's endpoints, also towards their regions. An
// endpoint counts as healthy while all of its families are, and as unjudged
// while one of them is and none is known to be unhealthy: that it answers
// because its service says so is no health.
func serviceStatus(v *steer.View, st *verdicts.State, i int32, regionStatus []*pb.RegionStatus, now time.Time) *pb.ServiceStatus {
	svc := &v.Plan.Services[i]
	out := &pb.ServiceStatus{Service: svc.Name, Policy: v.Plan.Policies[svc.Policy].Name}
	for e := range svc.Endpoints {
		ep := &svc.Endpoints[e]
		region := regionStatus[ep.Region]
		out.Endpoints++
		region.Endpoints++
		healthy, unjudged, drained := true, false, false
		for _, f := range []regions.Family{regions.V4, regions.V6} {
			if !ep.Has(f) {
				continue
			}
			effect := v.Effect(i, e, f)
			switch {
			case effect.HealthBy == regions.ByNeverJudged:
				unjudged = true
			case !effect.Healthy:
				healthy = false
			}
			drained = drained || effect.Drained || effect.ForcedDown
			if effect.Serves() {
				continue
			}
			problem := &pb.EndpointExplanation{
				Endpoint: ep.Name, Address: ep.CNAME, State: effect.String(), DecidedBy: effect.By.String(),
				Detail: v.Endpoint(i, e, f, now).Detail,
			}
			if ep.Addr[f].IsValid() {
				problem.Address = ep.Addr[f].String()
			}
			if t := ep.Target[f]; t >= 0 && !effect.Healthy {
				if target, ok := st.Get(v.Plan.Targets[t].ID); ok && plan.Seen(target.Verdict) != "" {
					problem.Detail += ": " + plan.Seen(target.Verdict)
				}
			}
			out.Problems = append(out.Problems, problem)
		}
		switch {
		case healthy && unjudged:
			out.Unjudged++
			region.Unjudged++
		case healthy:
			out.Healthy++
			region.Healthy++
		}
		if drained {
			out.Drained++
			region.Drained++
		}
	}
	return out
}

// addMembers lists agents and nameservers: the registered ones, and those
// that are here without being registered.
func (s *Server) addMembers(resp *pb.GetStatusResponse, cur *planner.Current, now time.Time) {
	for _, a := range s.opts.Judge.Agents() {
		resp.Agents = append(resp.Agents, &pb.AgentStatus{
			Agent: a.Name, Region: a.Region, Registered: a.Registered, Connected: a.Connected,
			HeardMillis: age(now, a.Heard), Targets: uint32(a.Targets), Isolated: a.Isolated, ClockSkewMillis: a.ClockSkew.Milliseconds(),
		})
	}
	registered := map[string]string{}
	if cur != nil {
		for _, n := range cur.Plan.Compiled.Nameservers {
			registered[n.Name] = n.Region
		}
	}
	for _, n := range s.opts.Feed.Nameservers() {
		_, known := registered[n.Name]
		if !known && !n.Connected {
			continue
		}
		delete(registered, n.Name)
		out := &pb.NameserverStatus{
			Nameserver: n.Name, Region: n.Region, Registered: known, Connected: n.Connected,
			Following: n.Following, HeardMillis: age(now, n.HeardAt), Refusal: n.Refusal,
			HealthAgeMillis: healthpb.Millis(n.HealthAge), HealthState: n.HealthState,
		}
		if !n.Generation.IsZero() {
			out.Generation = &pb.Generation{Epoch: n.Generation.Epoch, Revision: n.Generation.Revision}
		}
		resp.Nameservers = append(resp.Nameservers, out)
	}
	for name, region := range registered {
		resp.Nameservers = append(resp.Nameservers, &pb.NameserverStatus{Nameserver: name, Region: region, Registered: true})
	}
	slices.SortFunc(resp.Nameservers, func(a, b *pb.NameserverStatus) int { return cmp.Compare(a.GetNameserver(), b.GetNameserver()) })
}

func age(now, at time.Time) uint64 {
	if at.IsZero() {
		return 0
	}
	return healthpb.Millis(now.Sub(at))
}
