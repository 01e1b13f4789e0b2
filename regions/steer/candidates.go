package steer

import (
	"cmp"
	"slices"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
)

// candidate is an endpoint's part in the ladder, for one family or for both
// together.
type candidate struct {
	endpoint  uint16
	region    uint16
	weight    uint32
	effect    regions.Effect
	downSince time.Time
	// settled is from when it counts towards its region, if it is healthy; zero:
	// it does, and nothing is known of a recovery.
	settled time.Time
	// Its target wavers: it may turn unhealthy, or healthy.
	mayFall, mayRise bool
}

// candidates lists the endpoints by family and together, as they are for
// clients of a region.
func (e *evaluator) candidates(service, client int32, configured *[2]regionSet) {
	s := &e.view.Plan.Services[service]
	e.family[regions.V4], e.family[regions.V6], e.joint = e.family[regions.V4][:0], e.family[regions.V6][:0], e.joint[:0]
	for i := range s.Endpoints {
		ep := &s.Endpoints[i]
		e.overrides = e.view.overridesOf(e.overrides[:0], service, i)
		seen := false
		for _, f := range [...]regions.Family{regions.V4, regions.V6} {
			if !ep.Has(f) {
				continue
			}
			configured[f].add(ep.Region)
			c := e.candidate(s, i, f, client)
			e.family[f] = append(e.family[f], c)
			if !seen {
				e.joint, seen = append(e.joint, c), true
			} else {
				e.joint[len(e.joint)-1].join(&c)
			}
		}
	}
}

func (e *evaluator) candidate(s *regions.Service, endpoint int, f regions.Family, client int32) candidate {
	v, ep := e.view, &s.Endpoints[endpoint]
	counts := v.counted(s, ep.Target[f], client)
	c := candidate{
		endpoint: uint16(endpoint), region: ep.Region, weight: ep.Weight,
		effect: v.effect(s, counts, e.overrides), downSince: counts.Since,
	}
	if c.effect.Healthy {
		c.settled = settledFrom(&s.Failback, &counts, c.effect.HealthBy)
	}
	if counts.wavers && (c.effect.HealthBy == regions.ByVerdict || c.effect.HealthBy == regions.ByGuardHold) {
		c.mayFall, c.mayRise = c.effect.Healthy, !c.effect.Healthy
	}
	return c
}

// join takes in the endpoint's other family. It is up while one of them is,
// counts towards its region when the first of those that are up does, and went
// down when the last of them did.
func (c *candidate) join(other *candidate) {
	up, otherUp := c.effect.Healthy, other.effect.Healthy
	switch {
	case up && otherUp:
		c.mayFall = c.mayFall && other.mayFall
		if other.settled.Before(c.settled) {
			c.settled = other.settled
		}
	case otherUp:
		c.mayFall, c.settled = other.mayFall, other.settled
	case !up:
		c.mayRise = c.mayRise || other.mayRise
	}
	if otherUp {
		c.effect, c.mayRise = other.effect, false
	}
	if other.downSince.After(c.downSince) {
		c.downSince = other.downSince
	}
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
