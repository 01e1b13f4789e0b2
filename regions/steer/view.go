package steer

import (
	"time"

	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/geo"
)

// TargetState is what the view needs to know of a target: the last verdict
// that was not UNKNOWN, and since when it stands.
type TargetState struct {
	Verdict regions.Status
	Since   time.Time
}

// View is a plan plus a health state plus rankings: all that a selection
// needs. Immutable.
type View struct {
	Plan      *regions.Plan
	tables    []*geo.Table // by policy
	states    pages[TargetState]
	services  pages[*serviceView]
	within    []regionSet // by policy: its candidates
	overrides *regions.OverrideIndex
}

// NewView evaluates every service. tables holds the policies' rankings by
// policy index; states, which it takes over, the verdicts by target index.
func NewView(plan *regions.Plan, tables []*geo.Table, states []TargetState) *View {
	v := &View{
		Plan: plan, tables: tables, states: paged(states),
		within:    make([]regionSet, len(plan.Policies)),
		overrides: regions.IndexOverrides(plan.Overrides),
	}
	for i := range plan.Policies {
		for _, r := range plan.Policies[i].Candidates {
			v.within[i].add(r)
		}
	}
	e := evaluator{view: v}
	services := make([]*serviceView, len(plan.Services))
	for i := range services {
		services[i] = e.evaluate(int32(i))
	}
	v.services = paged(services)
	return v
}

// With returns the view after some targets changed; only the services that
// use them are evaluated again.
func (v *View) With(changed map[int32]TargetState) *View {
	n := *v
	n.states = v.states.with(changed)
	e := evaluator{view: &n}
	services := make(map[int32]*serviceView)
	for t := range changed {
		for _, i := range v.Plan.Targets[t].Services {
			if services[i] == nil {
				services[i] = e.evaluate(i)
			}
		}
	}
	n.services = v.services.with(services)
	return &n
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
	return v.states.at(target)
}

// Effect returns the effective state of an endpoint in a family.
func (v *View) Effect(service int32, endpoint int, f regions.Family) regions.Effect {
	return v.effect(service, endpoint, f, v.overridesOf(nil, service, endpoint))
}

func (v *View) effect(service int32, endpoint int, f regions.Family, overrides []*regions.Override) regions.Effect {
	s := &v.Plan.Services[service]
	e := &s.Endpoints[endpoint]
	return regions.Effective(s.Checked, v.State(e.Target[f]).Verdict, s.NeverJudged, overrides)
}

func (v *View) overridesOf(to []*regions.Override, service int32, endpoint int) []*regions.Override {
	s := &v.Plan.Services[service]
	e := &s.Endpoints[endpoint]
	return v.overrides.Append(to, s.Name, e.Name, v.Plan.Regions[e.Region].Name, e.AvailabilityZone)
}

// regionSet is a set of region indexes.
type regionSet [regions.MaxRegions / 64]uint64

func (s *regionSet) add(r uint16)      { s[r/64] |= 1 << (r % 64) }
func (s *regionSet) has(r uint16) bool { return s[r/64]&(1<<(r%64)) != 0 }
func (s *regionSet) empty() bool       { return *s == regionSet{} }

// first returns the first region of a ranking that is in the set, or -1.
func (s *regionSet) first(ranking []uint16) int32 {
	for _, r := range ranking {
		if s.has(r) {
			return int32(r)
		}
	}
	return -1
}
