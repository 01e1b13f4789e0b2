package steer

import (
	"cmp"
	"slices"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
)

// serviceView is one service's ladder, evaluated.
type serviceView struct {
	// joint is where the service stands with both families together.
	joint  standing
	family [2]standing
	// configured says which regions have an endpoint of the family at all.
	configured [2]regionSet
	// depends says whether two clients can get different candidates.
	depends [2]bool
}

// standing is the rung a service stands on and the endpoints on it, by region.
type standing struct {
	rung    Rung
	regions regionSet
	groups  []group // by ascending region
}

// group is the endpoints of one region that may answer.
type group struct {
	region  uint16
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

// candidate is an endpoint's part in the ladder, for one family or for both
// together.
type candidate struct {
	endpoint  uint16
	region    uint16
	weight    uint32
	effect    regions.Effect
	downSince time.Time
}

// evaluator evaluates services, one after the other in the same room.
type evaluator struct {
	view      *View
	overrides []*regions.Override
	family    [2][]candidate
	joint     []candidate
	picked    []candidate
	share     [regions.MaxRegions]struct{ undrained, healthy int }
}

func (e *evaluator) evaluate(service int32) *serviceView {
	v := e.view
	s := &v.Plan.Services[service]
	sv := &serviceView{}
	e.candidates(service, sv)
	anyFallback := s.FallbackName != "" || len(s.Fallback[regions.V4])+len(s.Fallback[regions.V6]) > 0
	sv.joint = e.stand(s, e.joint, anyFallback)
	for _, f := range [...]regions.Family{regions.V4, regions.V6} {
		fallback := len(s.Fallback[f]) > 0 || f == regions.V4 && s.FallbackName != ""
		switch {
		case len(e.family[f]) == len(e.joint) && len(e.family[1-f]) == 0 && fallback == anyFallback:
			sv.family[f] = sv.joint // the only family
		case len(e.family[f]) > 0:
			sv.family[f] = e.stand(s, e.family[f], fallback)
		case fallback && sv.joint.rung == AllDownFallback:
			// A family without endpoints has no health of its own: it gets
			// the fallback when the service does.
			sv.family[f].rung = AllDownFallback
		default:
			sv.family[f].rung = None
		}
	}
	for f := range sv.depends {
		sv.depends[f] = sv.dependsOnClient(s, regions.Family(f))
	}
	return sv
}

// candidates lists the endpoints by family and together.
func (e *evaluator) candidates(service int32, sv *serviceView) {
	v := e.view
	s := &v.Plan.Services[service]
	e.family[regions.V4], e.family[regions.V6], e.joint = e.family[regions.V4][:0], e.family[regions.V6][:0], e.joint[:0]
	for i := range s.Endpoints {
		ep := &s.Endpoints[i]
		e.overrides = v.overridesOf(e.overrides[:0], service, i)
		both := candidate{}
		seen := false
		for _, f := range [...]regions.Family{regions.V4, regions.V6} {
			if !ep.Has(f) {
				continue
			}
			sv.configured[f].add(ep.Region)
			c := candidate{
				endpoint: uint16(i), region: ep.Region, weight: ep.Weight,
				effect:    v.effect(service, i, f, e.overrides),
				downSince: v.State(ep.Target[f]).Since,
			}
			e.family[f] = append(e.family[f], c)
			// An endpoint is up while one of its families is, and went down
			// when the last of them did.
			if !seen {
				both, seen = c, true
				continue
			}
			if c.effect.Healthy {
				both.effect = c.effect
			}
			if c.downSince.After(both.downSince) {
				both.downSince = c.downSince
			}
		}
		if seen {
			e.joint = append(e.joint, both)
		}
	}
}

// stand walks the ladder.
func (e *evaluator) stand(s *regions.Service, cand []candidate, fallback bool) standing {
	e.count(cand)
	percent := e.view.Plan.Policies[s.Policy].MinHealthyPercent
	for _, rung := range [...]struct {
		Rung
		holds func(*candidate) bool
	}{
		{InService, func(c *candidate) bool {
			n := &e.share[c.region]
			return c.effect.Serves() && n.healthy*100 >= n.undrained*percent
		}},
		{HealthyAnywhere, func(c *candidate) bool { return c.effect.Serves() }},
		{DrainedHealthy, func(c *candidate) bool { return c.effect.Healthy && !c.effect.ForcedDown }},
	} {
		if e.pick(cand, rung.holds) {
			return e.group(s, rung.Rung)
		}
	}
	if s.AllDown == regions.ServeFallback && fallback {
		return standing{rung: AllDownFallback}
	}
	if !e.pick(cand, func(c *candidate) bool { return !c.effect.ForcedDown && !c.effect.Drained }) &&
		!e.pick(cand, func(c *candidate) bool { return !c.effect.ForcedDown }) {
		return standing{rung: None}
	}
	if s.AllDown == regions.KeepLast {
		e.keepLast(s.Spread)
		return e.group(s, AllDownKeepLast)
	}
	return e.group(s, AllDownServeAll)
}

// count counts what the share of healthy endpoints is made of.
func (e *evaluator) count(cand []candidate) {
	for i := range cand {
		e.share[cand[i].region] = struct{ undrained, healthy int }{}
	}
	for i := range cand {
		c := &cand[i]
		if c.effect.Drained || c.effect.ForcedDown {
			continue
		}
		e.share[c.region].undrained++
		if c.effect.Healthy {
			e.share[c.region].healthy++
		}
	}
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

// group makes a standing of what was picked.
func (e *evaluator) group(s *regions.Service, rung Rung) standing {
	st := standing{rung: rung}
	e.reachable(&e.view.within[s.Policy])
	slices.SortStableFunc(e.picked, func(a, b candidate) int { return cmp.Compare(a.region, b.region) })
	n := 1
	for i := 1; i < len(e.picked); i++ {
		if e.picked[i].region != e.picked[i-1].region {
			n++
		}
	}
	st.groups = make([]group, 0, n)
	members := make([]member, 0, len(e.picked))
	for from := 0; from < len(e.picked); {
		to := from
		g := group{region: e.picked[from].region}
		for ; to < len(e.picked) && e.picked[to].region == g.region; to++ {
			g.total += uint64(e.picked[to].weight)
		}
		first := len(members)
		for _, c := range e.picked[from:to] {
			switch {
			case g.total == 0:
				members = append(members, member{c.endpoint, 1})
			case c.weight > 0:
				members = append(members, member{c.endpoint, c.weight})
			}
		}
		g.members = members[first:len(members):len(members)]
		if g.total == 0 {
			g.total = uint64(len(g.members))
		}
		st.regions.add(g.region)
		st.groups = append(st.groups, g)
		from = to
	}
	return st
}

// reachable leaves in e.picked what a client can get: the regions within the
// policy, which every ranking holds. Validation refuses an endpoint elsewhere,
// but a plan of another version may have one; if only such ones are left, an
// answer is better than none, and the lowest region gives it to everybody.
func (e *evaluator) reachable(within *regionSet) {
	lowest, inside := e.picked[0].region, false
	for i := range e.picked {
		lowest = min(lowest, e.picked[i].region)
		inside = inside || within.has(e.picked[i].region)
	}
	e.picked = slices.DeleteFunc(e.picked, func(c candidate) bool {
		if inside {
			return !within.has(c.region)
		}
		return c.region != lowest
	})
}
