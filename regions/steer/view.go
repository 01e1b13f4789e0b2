package steer

import (
	"maps"
	"slices"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/geo"
)

// Inputs is all that a selection depends on.
type Inputs struct {
	Plan *regions.Plan
	// BreakGlass are the overrides that were said to the nameserver directly.
	BreakGlass []regions.Override
	// Tables holds the policies' rankings by policy index.
	Tables []*geo.Table
	// States holds the verdicts by target index; the view takes it over.
	States []TargetState
	// Latches are those that are known, in any order. What the plan releases, and
	// what concerns no service with manual failback, counts for nothing.
	Latches []regions.Latch
	// Now is what hold-downs and ramps are counted to.
	Now time.Time
	// FailOpen makes every verdict count as HEALTHY. Drains, forced states and
	// latches stay.
	FailOpen bool
}

// View is a plan plus a health state plus rankings at one moment: all that a
// selection needs. Immutable.
//
// A view of a moment is that of every later one before NextChange. So whoever
// answers from it asks for the next one, with At, when that moment has come.
type View struct {
	// Plan has the overrides of break-glass beside its own.
	Plan      *regions.Plan
	tables    []*geo.Table // by policy
	states    pages[*TargetState]
	services  pages[*serviceView]
	due       []time.Time // by page of services: their earliest next change
	within    []regionSet // by policy: its candidates
	overrides *regions.OverrideIndex
	latched   map[int32]regionSet // by service: the regions that wait for a release
	now       time.Time
	failOpen  bool
}

// NewView evaluates every service.
func NewView(in Inputs) *View {
	plan := in.Plan
	if len(in.BreakGlass) > 0 {
		plan = underBreakGlass(plan, in.BreakGlass)
	}
	v := &View{
		Plan: plan, tables: in.Tables, states: paged(pointers(in.States)), now: in.Now, failOpen: in.FailOpen,
		within:    make([]regionSet, len(plan.Policies)),
		overrides: regions.IndexOverrides(plan.Overrides),
		latched:   latched(plan, in.Latches),
	}
	for i := range plan.Policies {
		for _, r := range plan.Policies[i].Candidates {
			v.within[i].add(r)
		}
	}
	v.evaluateAll()
	return v
}

// pointers are those into a table. A page of them is a fraction of one of states,
// and only what changes is written anew.
func pointers(states []TargetState) []*TargetState {
	p := make([]*TargetState, len(states))
	for i := range states {
		p[i] = &states[i]
	}
	return p
}

func (v *View) evaluateAll() {
	e := evaluator{view: v}
	services := make([]*serviceView, len(v.Plan.Services))
	for i := range services {
		services[i] = e.evaluate(int32(i))
	}
	v.services = paged(services)
	v.due = make([]time.Time, len(v.services))
	for p := range v.due {
		v.due[p] = earliest(v.services[p])
	}
}

// With returns the view after some targets changed; only the services that
// use them, or that are due, are evaluated again.
func (v *View) With(changed map[int32]TargetState, now time.Time) *View {
	n := v.advanced(now)
	again := v.dueAt(n.now)
	// In ascending order: neighbours lie together in memory.
	targets := slices.Sorted(maps.Keys(changed))
	states := make([]*TargetState, len(targets))
	for k, t := range targets {
		st := changed[t]
		states[k] = &st
		again = append(again, v.Plan.Targets[t].Services...)
	}
	n.states = v.states.with(targets, states)
	n.evaluateAgain(again)
	return n
}

// WithLatches returns the view with other latches; only the services that
// they concern, or that are due, are evaluated again.
func (v *View) WithLatches(latches []regions.Latch, now time.Time) *View {
	n := v.advanced(now)
	n.latched = latched(v.Plan, latches)
	again := v.dueAt(n.now)
	for i, was := range v.latched {
		if n.latched[i] != was {
			again = append(again, i)
		}
	}
	for i := range n.latched {
		if _, had := v.latched[i]; !had {
			again = append(again, i)
		}
	}
	n.evaluateAgain(again)
	return n
}

// WithFailOpen returns the view with every verdict counting as HEALTHY, or no
// longer so. That evaluates every service.
func (v *View) WithFailOpen(on bool, now time.Time) *View {
	if v.failOpen == on {
		return v.At(now)
	}
	n := v.advanced(now)
	n.failOpen = on
	n.evaluateAll()
	return n
}

// WithTables returns the view under other rankings, as after new geo data.
func (v *View) WithTables(tables []*geo.Table) *View {
	n := *v
	n.tables = tables
	return &n
}

// At returns the view as it is at a later moment: v itself before NextChange.
// Only the services that are due are evaluated again.
func (v *View) At(now time.Time) *View {
	again := v.dueAt(now)
	if len(again) == 0 {
		return v
	}
	n := v.advanced(now)
	n.evaluateAgain(again)
	return n
}

// advanced returns a copy at a moment that is not before the view's own.
func (v *View) advanced(now time.Time) *View {
	n := *v
	if now.After(v.now) {
		n.now = now
	}
	return &n
}

// latched returns the regions that wait for a release, by service.
func latched(plan *regions.Plan, latches []regions.Latch) map[int32]regionSet {
	var out map[int32]regionSet
	for _, l := range latches {
		i, ok := plan.Service(l.Service)
		if !ok || !plan.Services[i].Failback.Manual || !plan.Stands(l.Name(), l.Trip) {
			continue
		}
		r, ok := plan.Region(l.Region)
		if !ok {
			continue
		}
		if out == nil {
			out = map[int32]regionSet{}
		}
		set := out[i]
		set.add(r)
		out[i] = set
	}
	return out
}

// FailOpen tells whether every verdict counts as HEALTHY.
func (v *View) FailOpen() bool { return v.failOpen }

// State returns the verdict on a target as the view has it.
func (v *View) State(target int32) TargetState {
	if target < 0 {
		return TargetState{}
	}
	return *v.states.at(target)
}

// Effect returns the effective state of an endpoint in a family, as it is for
// clients of whose region nothing else is seen.
func (v *View) Effect(service int32, endpoint int, f regions.Family) regions.Effect {
	s := &v.Plan.Services[service]
	return v.effect(s, v.counted(s, s.Endpoints[endpoint].Target[f], nobody), v.overridesOf(nil, service, endpoint))
}

func (v *View) effect(s *regions.Service, c counted, overrides []*regions.Override) regions.Effect {
	return regions.Effective(regions.Measured{
		Checked: s.Checked, Verdict: c.Verdict, GuardHeld: c.held, NeverJudged: s.NeverJudged, FailOpen: v.failOpen,
	}, overrides)
}

func (v *View) overridesOf(to []*regions.Override, service int32, endpoint int) []*regions.Override {
	s := &v.Plan.Services[service]
	e := &s.Endpoints[endpoint]
	return v.overrides.Append(to, s.Name, e.Name, v.Plan.Regions[e.Region].Name, e.AvailabilityZone)
}
