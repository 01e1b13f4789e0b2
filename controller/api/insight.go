package api

import (
	"cmp"
	"context"
	"errors"
	"slices"
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
	states := make([]steer.TargetState, len(cur.Plan.Targets))
	for i := range states {
		if t, ok := st.Get(cur.Plan.Targets[i].ID); ok {
			states[i] = plan.TargetState(cur.Plan.Base, t.Verdict)
		}
	}
	v.cur, v.state = cur, st
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
	resp.HealthAgeMillis = healthpb.Millis(st.EvidenceAge)
	return resp, nil
}

// GetStatus implements pb.InsightServiceServer.
func (s *Server) GetStatus(context.Context, *pb.GetStatusRequest) (*pb.GetStatusResponse, error) {
	st := s.opts.Judge.State()
	resp := &pb.GetStatusResponse{
		Controller: s.opts.Name, Version: s.opts.Version,
		StoreAvailable: s.opts.Planner.StoreAvailable(),
		HealthReady:    st.Ready, HealthDigest: st.Digest.String(),
		Alarms: s.opts.Planner.Alarms(),
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
	resp.Generation, resp.Overrides = generation(cur.Generation), cur.Overrides
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
