package steer

import (
	"slices"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/geo"
)

// keepLastWindow groups endpoints that went down together: keep-last answers
// with those that fell at most so long before the last one fell.
const keepLastWindow = 10 * time.Second

// TargetState is what the view needs to know of a target: the last verdict
// that was not UNKNOWN, and since when it stands.
type TargetState struct {
	Verdict regions.Status
	Since   time.Time
}

// View is a plan plus a health state plus rankings: all that a selection
// needs. Immutable.
type View struct {
	Plan     *regions.Plan
	tables   []*geo.Table // by policy
	states   []TargetState
	services []*serviceView
}

// serviceView is one service's ladder, evaluated.
type serviceView struct {
	joint  standing
	family [2]standing
	// configured says which regions have an endpoint of the family at all.
	configured [2]regionSet
}

// standing is the rung a service stands on and the endpoints on it, by region.
type standing struct {
	rung    Rung
	regions regionSet
	groups  []group // by ascending region
}

// group is the endpoints of one region that may answer.
type group struct {
	region    uint16
	endpoints []uint16
}

// regionSet is a set of region indexes.
type regionSet [regions.MaxRegions / 64]uint64

func (s *regionSet) add(r uint16)      { s[r/64] |= 1 << (r % 64) }
func (s *regionSet) has(r uint16) bool { return s[r/64]&(1<<(r%64)) != 0 }
func (s *regionSet) empty() bool       { return *s == regionSet{} }

// NewView evaluates every service. tables holds the policies' rankings by
// policy index; states the verdicts by target index.
func NewView(plan *regions.Plan, tables []*geo.Table, states []TargetState) *View {
	v := &View{Plan: plan, tables: tables, states: states, services: make([]*serviceView, len(plan.Services))}
	for i := range v.services {
		v.services[i] = v.evaluate(int32(i))
	}
	return v
}

// With returns the view after some targets changed; only the services that
// use them are evaluated again.
func (v *View) With(changed map[int32]TargetState) *View {
	n := &View{Plan: v.Plan, tables: v.tables, states: slices.Clone(v.states), services: slices.Clone(v.services)}
	touched := make(map[int32]struct{})
	for t, s := range changed {
		n.states[t] = s
		for _, svc := range v.Plan.Targets[t].Services {
			touched[svc] = struct{}{}
		}
	}
	for svc := range touched {
		n.services[svc] = n.evaluate(svc)
	}
	return n
}

// WithTables returns the view under other rankings, as after new geo data.
func (v *View) WithTables(tables []*geo.Table) *View {
	n := *v
	n.tables = tables
	return &n
}

// State returns the verdict on a target as the view has it.
func (v *View) State(target int32) TargetState {
	if target < 0 {
		return TargetState{}
	}
	return v.states[target]
}

// Effect returns the effective state of an endpoint in a family.
func (v *View) Effect(service int32, endpoint int, f regions.Family) regions.Effect {
	return v.effect(service, endpoint, f, v.Plan.OverridesOf(service, endpoint))
}

func (v *View) effect(service int32, endpoint int, f regions.Family, overrides []*regions.Override) regions.Effect {
	s := &v.Plan.Services[service]
	e := &s.Endpoints[endpoint]
	return regions.Effective(s.Checked, v.State(e.Target[f]).Verdict, s.NeverJudged, overrides)
}

// candidate is an endpoint's standing for the families that count together.
type candidate struct {
	region     uint16
	effect     regions.Effect
	downSince  time.Time
	configured bool
}

func (v *View) evaluate(service int32) *serviceView {
	s := &v.Plan.Services[service]
	sv := &serviceView{}
	cand := [2][]candidate{make([]candidate, len(s.Endpoints)), make([]candidate, len(s.Endpoints))}
	joint := make([]candidate, len(s.Endpoints))
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		var overrides []*regions.Override
		if len(v.Plan.Overrides) > 0 {
			overrides = v.Plan.OverridesOf(service, i)
		}
		for _, f := range [...]regions.Family{regions.V4, regions.V6} {
			if !e.Has(f) {
				continue
			}
			sv.configured[f].add(e.Region)
			c := candidate{
				region: e.Region, configured: true,
				effect:    v.effect(service, i, f, overrides),
				downSince: v.State(e.Target[f]).Since,
			}
			cand[f][i] = c
			// An endpoint is up while one of its families is.
			if !joint[i].configured || (c.effect.Healthy && !joint[i].effect.Healthy) {
				joint[i] = c
			}
		}
	}
	policy := &v.Plan.Policies[s.Policy]
	sv.joint = stand(s, policy, joint, len(s.Fallback[0])+len(s.Fallback[1]) > 0 || s.FallbackName != "")
	sv.family[regions.V4] = stand(s, policy, cand[regions.V4], len(s.Fallback[regions.V4]) > 0 || s.FallbackName != "")
	if !sv.configured[regions.V6].empty() || len(s.Fallback[regions.V6]) > 0 {
		sv.family[regions.V6] = stand(s, policy, cand[regions.V6], len(s.Fallback[regions.V6]) > 0)
	} else {
		sv.family[regions.V6].rung = None
	}
	return sv
}

// stand walks the ladder.
func stand(s *regions.Service, p *regions.Policy, cand []candidate, fallback bool) standing {
	inService := func(c candidate) bool { return c.effect.Serves() }
	if p.MinHealthyPercent > 0 {
		undrained, healthy := map[uint16]int{}, map[uint16]int{}
		for _, c := range cand {
			if c.configured && !c.effect.Drained && !c.effect.ForcedDown {
				undrained[c.region]++
				if c.effect.Healthy {
					healthy[c.region]++
				}
			}
		}
		inService = func(c candidate) bool {
			return c.effect.Serves() && healthy[c.region]*100 >= undrained[c.region]*p.MinHealthyPercent
		}
	}
	if st, ok := collect(InService, cand, inService); ok {
		return st
	}
	if st, ok := collect(HealthyAnywhere, cand, func(c candidate) bool { return c.effect.Serves() }); ok {
		return st
	}
	if st, ok := collect(DrainedHealthy, cand, func(c candidate) bool {
		return c.effect.Healthy && c.effect.Drained && !c.effect.ForcedDown
	}); ok {
		return st
	}
	alive := func(c candidate) bool { return !c.effect.ForcedDown }
	switch s.AllDown {
	case regions.ServeFallback:
		if fallback {
			return standing{rung: AllDownFallback}
		}
	case regions.KeepLast:
		var last time.Time
		for _, c := range cand {
			if c.configured && alive(c) && c.downSince.After(last) {
				last = c.downSince
			}
		}
		if st, ok := collect(AllDownKeepLast, cand, func(c candidate) bool {
			return alive(c) && !c.downSince.Before(last.Add(-keepLastWindow))
		}); ok {
			return st
		}
	}
	if st, ok := collect(AllDownServeAll, cand, func(c candidate) bool { return alive(c) && !c.effect.Drained }); ok {
		return st
	}
	st, _ := collect(AllDownServeAll, cand, alive)
	return st
}

// collect gathers the configured endpoints that pass, by region; it reports
// whether there is any, and stands on None when there is not.
func collect(rung Rung, cand []candidate, pass func(candidate) bool) (standing, bool) {
	st := standing{rung: rung}
	for i, c := range cand {
		if !c.configured || !pass(c) {
			continue
		}
		at, found := slices.BinarySearchFunc(st.groups, c.region, func(g group, r uint16) int { return int(g.region) - int(r) })
		if !found {
			st.groups = slices.Insert(st.groups, at, group{region: c.region})
			st.regions.add(c.region)
		}
		st.groups[at].endpoints = append(st.groups[at].endpoints, uint16(i))
	}
	if len(st.groups) == 0 {
		st.rung = None
	}
	return st, len(st.groups) > 0
}
