package config

import (
	"slices"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// vantages are the registered agents by region.
type vantages struct {
	names  []string // of the regions, sorted
	agents map[string]int
	all    int
	given  bool // one of them was
}

// of is how many regions see each target of a check: those that have seats for it
// (regions/health/seats).
func (v *vantages) of(s *pb.HealthCheckSpec) int {
	if k := int(s.GetVantages()); k > 0 && k < v.all {
		return min(k, len(v.names))
	}
	return len(v.names)
}

// lone are the regions from which one agent looks at targets of a check. Seats go
// round over the regions, so that some have one where there are fewer than two each.
func (v *vantages) lone(s *pb.HealthCheckSpec) (names []string) {
	k := int(s.GetVantages())
	few := k > 0 && k < v.all && k < 2*len(v.names)
	for _, name := range v.names {
		if few || v.agents[name] == 1 {
			names = append(names, name)
		}
	}
	return names
}

func (w *warner) lookAtAgents() {
	w.seen.agents = map[string]int{}
	for _, r := range w.set.ByKind(KindAgent) {
		region := r.GetAgent().GetSpec().GetRegion()
		if w.seen.agents[region]++; w.seen.agents[region] == 1 {
			w.seen.names = append(w.seen.names, region)
		}
		w.seen.all++
		w.seen.given = w.seen.given || w.given[KeyOf(r)]
	}
	slices.Sort(w.seen.names)
}

// agents warns of vantages that are too few, or in the wrong places.
func (w *warner) agents() {
	v := &w.seen
	if w.checked.n == 0 {
		return
	}
	switch len(v.names) {
	case 0:
		w.addf(Key{Kind: KindAgent}, "", len(w.checked.given) > 0, "none is registered, and these services have a health check: %s. Their endpoints are never judged, and answer as `unknown` says "+
			"(healthy, where nothing is stated); register an agent in each of three regions or more", w.checked.list(""))
		return
	case 1:
		w.addf(Key{Kind: KindAgent}, "", v.given, "all are in region %q: what is wrong on the paths from there looks like endpoints that died, no other region can confirm a loss, and while they are silent no verdict changes; "+
			"register agents in two more places (a witness needs a Region, and no endpoints)", v.names[0])
	}
	everyAgent := false // has a seat for some target
	oneSided := false   // some check lets one of two regions decide
	for _, c := range w.checks {
		if c.users.n == 0 {
			continue
		}
		if k := int(c.spec.GetVantages()); k == 0 || k >= v.all {
			everyAgent = true
			rule := c.spec.GetQuorum()
			oneSided = oneSided || rule == pb.QuorumRule_QUORUM_RULE_UNSPECIFIED || rule == pb.QuorumRule_QUORUM_RULE_MAJORITY
		}
	}
	if !everyAgent {
		return
	}
	for _, region := range v.names {
		if v.agents[region] == 2 {
			w.add(Key{KindRegion, region}, "", "has two agents, and more than half of a region's agents make its vote: while one of them is silent the region has none; three have one", v.given)
		}
	}
	if len(v.names) == 2 && oneSided {
		few, many := v.names[0], v.names[1]
		if v.agents[few] > v.agents[many] {
			few, many = many, few
		}
		if v.agents[few] < v.agents[many] {
			w.addf(Key{KindRegion, few}, "", v.given, "has %d of %d agents, fewer than half: when %q is silent as a whole it does not decide alone, and what died with %q stays in the answers; "+
				"want as many agents in both, or an agent in a third region", v.agents[few], v.all, many, many)
		}
	}
	w.blind()
}

// blind warns of agents that cannot tell that they are cut off. With three regions
// or more they are outvoted.
func (w *warner) blind() {
	if len(w.seen.names) > 2 {
		return
	}
	reachable := map[string]int{} // agents by region
	agents := w.set.ByKind(KindAgent)
	for _, r := range agents {
		if s := r.GetAgent().GetSpec(); s.GetAddress() != "" {
			reachable[s.GetRegion()]++
		}
	}
	for _, r := range agents {
		// Fellows in one region do not count: that may be gone just as well.
		s, fellows := r.GetAgent().GetSpec(), len(reachable)
		if s.GetAddress() != "" && reachable[s.GetRegion()] == 1 {
			fellows-- // nobody but itself
		}
		if len(s.GetReferences()) == 0 && fellows < 2 {
			w.addf(KeyOf(r), "spec.references", false, "are none, and the other agents that state an address do not stand in two regions: a vantage that is cut off itself cannot tell, and calls everything unhealthy; "+
				"state what answers TCP whenever its network works, as [192.0.2.1:443]")
		}
	}
}
