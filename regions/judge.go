package regions

import (
	"cmp"
	"slices"
)

// JudgeDrain judges a change of overrides by the safety rules. Only what the
// change makes worse stands against it: a rule that was broken before and is no
// worse after passes, so that nobody is trapped.
func (b *Base) JudgeDrain(in DrainInputs) DrainDecision {
	t := b.tally(in)
	d := DrainDecision{Regions: t.regions}
	for _, rule := range drainRules {
		r := rule.judge(t)
		if r == nil {
			continue
		}
		f := Finding{
			Rule: rule.name, Passed: !r.broken || !r.worse, Text: r.text,
			Overridable: !slices.Contains(b.Safety.Drains.Absolute, rule.name),
		}
		if !f.Passed {
			f.WouldPass = wouldPass(r.options, f.Overridable)
		}
		d.Findings = append(d.Findings, f)
	}
	slices.SortStableFunc(d.Findings, func(a, b Finding) int { return cmp.Compare(rank(a), rank(b)) })
	return d
}

// rank puts broken rules first.
func rank(f Finding) int {
	if f.Passed {
		return 1
	}
	return 0
}

// hold is how firmly an endpoint is taken out. The firmer is the greater.
type hold uint8

const (
	notHeld hold = iota
	heldAsLastResort
	heldDown
)

// standing is how an endpoint stands under some overrides.
type standing struct {
	hold  hold
	serve bool // healthy and not held
}

// tally is what the rules look at: every endpoint was counted once.
type tally struct {
	base  *Base
	rules *DrainRules
	in    DrainInputs

	before, after, differ overrideSide

	regions []RegionInService // by index
	// healthy endpoints by region, whatever holds them, and whether it would be in
	// service if nothing did.
	healthy []int
	could   []bool
	// reached are the regions that the change has endpoints of in a scope.
	reached []bool
	// below are the services of which something differs and that have fewer regions
	// in service than they must, by index.
	below []serviceTally
	// touched are the protected services among them, by index, of which an endpoint
	// is held more firmly.
	touched []int32
	// held is how many endpoints are.
	held int
	// Of all services:
	protected      int
	demand         float64
	mostMinRegions int
	// added are the scopes that the change newly takes out.
	added []Scope

	mark  []regionMark // by region
	own   []uint16     // the regions of the service that is counted
	found []*Override
}

// serviceTally counts the regions of a service.
type serviceTally struct {
	service int32
	// regions with endpoints; of them, those in service, and how many must be.
	regions, before, after, least int
}

// regionMark is what was counted in a region for a service, of that number, from 1.
type regionMark struct {
	number              int32
	free, before, after regionCount
}

// regionCount counts the endpoints of a service in a region that nothing holds, and
// of them those that serve.
type regionCount struct{ open, up int32 }

func (c *regionCount) add(st standing) {
	if st.hold == notHeld {
		c.open++
		if st.serve {
			c.up++
		}
	}
}

// in tells whether they keep the region in service.
func (c *regionCount) in(p *Policy) bool { return c.up >= p.Needed(c.open) }

func (b *Base) tally(in DrainInputs) *tally {
	before, after := effects(in.Before), effects(in.After)
	t := &tally{
		base: b, rules: &b.Safety.Drains, in: in,
		regions: make([]RegionInService, len(b.Regions)), healthy: make([]int, len(b.Regions)), could: make([]bool, len(b.Regions)), reached: make([]bool, len(b.Regions)), mark: make([]regionMark, len(b.Regions)),
	}
	var differ []Override
	for key := range after {
		if !before[key] {
			differ = append(differ, key)
			if key.Action == Drain || key.Action == ForceDown {
				t.added = append(t.added, key.Scope)
			}
		}
	}
	for key := range before {
		if !after[key] {
			differ = append(differ, key)
		}
	}
	slices.SortFunc(t.added, func(a, b Scope) int { return cmp.Compare(a.String(), b.String()) })
	t.before, t.after, t.differ = b.side(in.Before), b.side(in.After), b.side(differ)
	for i := range b.Regions {
		t.regions[i] = RegionInService{Region: b.Regions[i].Name, Capacity: b.Regions[i].Capacity}
	}
	for i := range b.Services {
		t.service(int32(i))
	}
	return t
}

// effects returns overrides by what they do, whoever made them and when.
func effects(list []Override) map[Override]bool {
	out := make(map[Override]bool, len(list))
	for _, o := range list {
		out[Override{Action: o.Action, Origin: o.Origin, Scope: o.Scope}] = true
	}
	return out
}

// service counts one service.
func (t *tally) service(i int32) {
	s := &t.base.Services[i]
	t.demand += float64(s.Demand)
	t.mostMinRegions = max(t.mostMinRegions, s.MinRegions)
	if s.Protected {
		t.protected++
	}
	before, after, differ := t.before.of(i), t.after.of(i), t.differ.of(i)
	sum, changed, touched := serviceTally{service: i}, false, false
	for k := range s.Endpoints {
		e := &s.Endpoints[k]
		healthy := t.in.Healthy(i, k)
		was := t.stand(before, s, e, healthy)
		is := was
		if t.reaches(differ, s, e) {
			is, t.reached[e.Region] = t.stand(after, s, e, healthy), true
		}
		changed = changed || was != is
		if is.hold > was.hold {
			touched = true
			t.held++
		}
		t.count(&sum, e, was, is, healthy)
	}
	t.place(&sum)
	switch sum.least = s.MinRegions; {
	case sum.least >= 0:
	case sum.regions > 1:
		sum.least = t.rules.MinRegionsPerService
	default:
		// It has nowhere to go, and answers from its one region as the last resort.
		sum.least = 0
	}
	if sum.least = min(sum.least, sum.regions); changed && sum.after < sum.least {
		t.below = append(t.below, sum)
	}
	if touched && s.Protected {
		t.touched = append(t.touched, i)
	}
}

// reaches tells whether an override of a side holds an endpoint.
func (t *tally) reaches(of sideOf, s *Service, e *Endpoint) bool {
	switch {
	case !of.may(e):
		return false
	case of.whole(e):
		return true
	default:
		return len(t.find(of, s, e)) > 0
	}
}

// stand returns how an endpoint stands under the overrides of a side.
func (t *tally) stand(of sideOf, s *Service, e *Endpoint, healthy bool) standing {
	switch r := &of.regions[e.Region]; {
	case !of.may(e):
		return standing{serve: healthy}
	case !of.whole(e):
		return standUnder(t.find(of, s, e), healthy)
	case healthy:
		return r.healthy
	default:
		return r.sick
	}
}

// find is valid until it is called again.
func (t *tally) find(of sideOf, s *Service, e *Endpoint) []*Override {
	t.found = of.index.Append(t.found[:0], s.Name, e.Name, t.base.Regions[e.Region].Name, e.AvailabilityZone)
	return t.found
}

// standUnder is how an endpoint stands that some overrides hold.
func standUnder(overrides []*Override, healthy bool) standing {
	verdict := Unhealthy
	if healthy {
		verdict = Healthy
	}
	switch x := Effective(Measured{Checked: true, Verdict: verdict}, overrides); {
	case x.ForcedDown:
		return standing{hold: heldDown}
	case x.Drained:
		return standing{hold: heldAsLastResort}
	default:
		return standing{serve: x.Healthy}
	}
}

func (t *tally) count(sum *serviceTally, e *Endpoint, was, is standing, healthy bool) {
	r, m := &t.regions[e.Region], &t.mark[e.Region]
	if number := sum.service + 1; m.number != number {
		*m = regionMark{number: number}
		t.own = append(t.own, e.Region)
	}
	m.before.add(was)
	m.after.add(is)
	r.Endpoints++
	m.free.open++
	if healthy {
		t.healthy[e.Region]++
		m.free.up++
	}
	if was.hold > notHeld {
		r.DrainedBefore++
	}
	if is.hold > notHeld {
		r.DrainedAfter++
	}
	if is.serve {
		r.HealthyAfter++
	}
}

// place finds out which regions are in service for a service, whose endpoints were
// counted.
func (t *tally) place(sum *serviceTally) {
	p := &t.base.Policies[t.base.Services[sum.service].Policy]
	sum.regions = len(t.own)
	for _, at := range t.own {
		r, m := &t.regions[at], &t.mark[at]
		t.could[at] = t.could[at] || m.free.in(p)
		if m.before.in(p) {
			r.Before = true
			sum.before++
		}
		if m.after.in(p) {
			r.After = true
			sum.after++
		}
	}
	t.own = t.own[:0]
}

// overrideSide is a list of overrides, with what tells quickly what they make of
// most endpoints: no override holds them, or only such as hold their whole region.
type overrideSide struct {
	index    *OverrideIndex
	regions  []regionSide
	services map[int32]bool
	any      bool // some that state neither
}

// regionSide is what the overrides that state a region and no service make of its
// endpoints.
type regionSide struct {
	any   bool
	whole bool // they state nothing else, so that all its endpoints stand alike
	// How these stand.
	healthy, sick standing
}

func (b *Base) side(list []Override) overrideSide {
	s := overrideSide{index: IndexOverrides(list), regions: make([]regionSide, len(b.Regions)), services: map[int32]bool{}}
	for name, held := range s.index.byRegion {
		if r, ok := b.Region(name); ok {
			part := slices.ContainsFunc(held, func(o *Override) bool { return o.Scope != Scope{Region: name} })
			s.regions[r] = regionSide{any: true, whole: !part, healthy: standUnder(held, true), sick: standUnder(held, false)}
		}
	}
	for name := range s.index.byService {
		if i, ok := b.Service(name); ok {
			s.services[i] = true
		}
	}
	s.any = len(s.index.others) > 0
	return s
}

// sideOf is a side as it concerns one service.
type sideOf struct {
	*overrideSide
	// own: some hold more than whole regions here.
	own bool
}

func (s *overrideSide) of(service int32) sideOf {
	return sideOf{s, s.any || len(s.services) > 0 && s.services[service]}
}

// may tells whether an override may hold an endpoint of the service.
func (s sideOf) may(e *Endpoint) bool { return s.own || s.regions[e.Region].any }

// whole tells whether only such do that hold the whole region.
func (s sideOf) whole(e *Endpoint) bool { return !s.own && s.regions[e.Region].whole }
