package steer

import (
	"cmp"
	"slices"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
)

// serviceView is one service's ladder, evaluated. What every query reads comes
// first.
type serviceView struct {
	// ramps holds the ramps that run; nil without any.
	ramps *ramps
	// own holds what is otherwise for clients of some regions, by region.
	own []ownView
	// depends says whether two clients can get different candidates by their
	// rankings, sticky whether by their networks, which ramps divide.
	depends, sticky [2]bool
	// joint is where the service stands with both families together.
	joint  standing
	family [2]standing
	// configured says which regions have an endpoint of the family at all.
	configured [2]regionSet
	// next is when time alone changes any of it; zero: never.
	next time.Time
}

// ownView is a service as clients of one region are answered.
type ownView struct {
	region uint16
	*serviceView
}

// of returns the view for the clients of a ranking: those of its first region.
func (sv *serviceView) of(ranking []uint16) *serviceView {
	for i := range sv.own {
		if len(ranking) > 0 && sv.own[i].region == ranking[0] {
			return sv.own[i].serviceView
		}
	}
	return sv
}

// standing is the rung a service stands on and the endpoints on it, by region.
type standing struct {
	rung    Rung
	wavers  bool // every answer hangs on a wavering target
	drained bool // whatever answers is drained
	regions regionSet
	groups  []group // by ascending region
}

// stood is a standing with what else was found on the way.
type stood struct {
	standing
	// ramps holds the regions that have only a part of their clients.
	ramps []ramping
	// falling: regions in service with an endpoint that may fall.
	falling regionSet
}

// group is the endpoints of one region that may answer.
type group struct {
	region  uint16
	wavers  bool     // the answer hangs on a wavering target
	members []member // by ascending endpoint
	total   uint64   // of the weights; above 0
}

// member is an endpoint and its share of a group's answers.
type member struct {
	endpoint uint16
	weight   uint32
}

// group returns the group of a region that is in the standing.
func (st *standing) group(region uint16) *group {
	i, _ := slices.BinarySearchFunc(st.groups, region, func(g group, r uint16) int { return cmp.Compare(g.region, r) })
	return &st.groups[i]
}

// evaluator evaluates services, one after the other in the same room.
type evaluator struct {
	view      *View
	overrides []*regions.Override
	family    [2][]candidate
	joint     []candidate
	picked    []candidate
	times     []time.Time
	ready     [regions.MaxRegions]readiness
	next      time.Time
}

// evaluate evaluates a service for all of its clients.
func (e *evaluator) evaluate(service int32) *serviceView {
	v := e.view
	s := &v.Plan.Services[service]
	e.next = time.Time{}
	sv := e.evaluateFor(service, nobody)
	if v.byClient(s) {
		heard := v.heard(s)
		for r := range uint16(len(v.Plan.Regions)) {
			if heard.has(r) {
				sv.own = append(sv.own, ownView{r, e.evaluateFor(service, int32(r))})
			}
		}
	}
	sv.next = e.next
	for _, f := range [...]regions.Family{regions.V4, regions.V6} {
		sv.depends[f], sv.sticky[f] = sv.dependsOnClient(s, f, &v.within[s.Policy])
	}
	for i := range sv.own {
		sv.own[i].depends, sv.own[i].sticky = sv.depends, sv.sticky
	}
	return sv
}

// evaluateFor evaluates a service for the clients of a region, or nobody's.
func (e *evaluator) evaluateFor(service int32, client int32) *serviceView {
	s := &e.view.Plan.Services[service]
	sv := &serviceView{}
	e.candidates(service, client, &sv.configured)
	anyFallback := s.FallbackName != "" || len(s.Fallback[regions.V4])+len(s.Fallback[regions.V6]) > 0
	joint := e.stand(service, e.joint, anyFallback)
	sv.joint = joint.standing
	own := [2][]ramping{}
	for _, f := range [...]regions.Family{regions.V4, regions.V6} {
		fallback := len(s.Fallback[f]) > 0 || f == regions.V4 && s.FallbackName != ""
		switch {
		case len(e.family[f]) == len(e.joint) && len(e.family[1-f]) == 0 && fallback == anyFallback:
			sv.family[f], own[f] = sv.joint, joint.ramps // the only family
		case len(e.family[f]) > 0:
			st := e.stand(service, e.family[f], fallback)
			sv.family[f], own[f] = st.standing, st.ramps
		case fallback && sv.joint.rung == AllDownFallback:
			// A family without endpoints has no health of its own: it gets
			// the fallback when the service does.
			sv.family[f] = standing{rung: AllDownFallback, wavers: sv.joint.wavers}
		default:
			sv.family[f].rung = None
		}
		if !s.Independent {
			sv.family[f].hangOn(&joint)
		}
	}
	if len(joint.ramps)+len(own[regions.V4])+len(own[regions.V6]) > 0 {
		sv.ramps = &ramps{seed: seedOf(s.Name), joint: joint.ramps, family: own}
	}
	return sv
}

// stand walks the ladder.
func (e *evaluator) stand(service int32, cand []candidate, fallback bool) stood {
	s := &e.view.Plan.Services[service]
	e.weigh(service, cand)
	st := stood{standing: e.climb(s, cand, fallback)}
	if st.rung == InService && len(s.Failback.RampSteps) > 0 {
		st.ramps = e.ramping(&s.Failback, &st.standing)
	}
	e.markWavering(s, cand, &st)
	return st
}

func (e *evaluator) climb(s *regions.Service, cand []candidate, fallback bool) standing {
	for _, rung := range [...]struct {
		Rung
		holds func(*candidate) bool
	}{
		{InService, func(c *candidate) bool { return c.effect.Serves() && e.ready[c.region].in }},
		{HealthyAnywhere, func(c *candidate) bool { return c.effect.Serves() }},
		{DrainedHealthy, func(c *candidate) bool { return c.effect.Healthy && !c.effect.ForcedDown }},
	} {
		if e.pick(cand, rung.holds) {
			st := e.group(s, rung.Rung)
			st.drained = rung.Rung == DrainedHealthy
			return st
		}
	}
	if s.AllDown == regions.ServeFallback && fallback {
		return standing{rung: AllDownFallback}
	}
	undrained := e.pick(cand, func(c *candidate) bool { return !c.effect.ForcedDown && !c.effect.Drained })
	if !undrained && !e.pick(cand, func(c *candidate) bool { return !c.effect.ForcedDown }) {
		return standing{rung: None}
	}
	rung := AllDownServeAll
	if s.AllDown == regions.KeepLast {
		e.keepLast(s.Spread)
		rung = AllDownKeepLast
	}
	st := e.group(s, rung)
	st.drained = !undrained
	return st
}

// pick puts the candidates that hold into e.picked and tells whether any do.
func (e *evaluator) pick(cand []candidate, holds func(*candidate) bool) bool {
	e.picked = e.picked[:0]
	for i := range cand {
		if holds(&cand[i]) {
			e.picked = append(e.picked, cand[i])
		}
	}
	return len(e.picked) > 0
}

// minSpread is the least that counts as going down together.
const minSpread = 10 * time.Second

// keepLast leaves in e.picked those that went down last: the last one, and
// whoever fell before it without a pause in between that is longer than the
// spread of verdicts on endpoints that fail together. Two controllers time a
// verdict some milliseconds apart; with a pause, unlike with a fixed span before
// the last fall, that matters only for a pause of almost exactly the spread.
func (e *evaluator) keepLast(spread time.Duration) {
	spread = max(spread, minSpread)
	byTime := slices.SortedFunc(slices.Values(e.picked), func(a, b candidate) int { return b.downSince.Compare(a.downSince) })
	from := byTime[0].downSince
	for _, c := range byTime {
		if from.Sub(c.downSince) > spread {
			break
		}
		from = c.downSince
	}
	e.picked = slices.DeleteFunc(e.picked, func(c candidate) bool { return c.downSince.Before(from) })
}
