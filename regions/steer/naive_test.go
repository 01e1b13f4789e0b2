package steer

import (
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
)

// This is a second implementation of the whole selection, for comparison. It is
// written from the design's text, one sentence after the other, and shares
// nothing with the first but the domain's types.

// naive is the selection of one service under one plan.
type naive struct {
	plan   *regions.Plan
	states []TargetState
	svc    *regions.Service
}

// state is an endpoint's: in one family, or in both together.
type state struct {
	exists, up, drained, forcedDown bool
	fell                            time.Time
}

// "break-glass > force-down > drain > force-up > guard hold > verdict"
func (n *naive) state(i int, f regions.Family) state {
	e := n.svc.Endpoints[i]
	if !e.Addr[f].IsValid() && (f != regions.V4 || e.CNAME == "") {
		return state{}
	}
	st := state{exists: true, up: true}
	if n.svc.Checked {
		target := n.states[e.Target[f]]
		st.fell = target.Since
		st.up = target.Verdict == regions.Healthy || target.Verdict == regions.Unknown && n.svc.NeverJudged == regions.Healthy
	}
	for _, o := range n.plan.Overrides {
		if o.Scope.Service != "" && o.Scope.Service != n.svc.Name ||
			o.Scope.Endpoint != "" && o.Scope.Endpoint != e.Name ||
			o.Scope.Region != "" && o.Scope.Region != n.plan.Regions[e.Region].Name ||
			o.Scope.AvailabilityZone != "" && o.Scope.AvailabilityZone != e.AvailabilityZone {
			continue
		}
		switch o.Action {
		case regions.ForceUp:
			st.up = true
		case regions.Drain:
			st.drained = true
		case regions.ForceDown:
			st.forcedDown = true
		}
	}
	return st
}

// either is the endpoint with both families together: up while one is, and
// fallen when the last one fell.
func (n *naive) either(i int) state {
	a, b := n.state(i, regions.V4), n.state(i, regions.V6)
	if !a.exists {
		return b
	}
	if b.exists {
		a.up = a.up || b.up
		if b.fell.After(a.fell) {
			a.fell = b.fell
		}
	}
	return a
}

// rungOf walks "the ladder of regions" and returns the rung and who stands on it.
func (n *naive) rungOf(of func(i int) state, hasFallback bool) (Rung, map[int]bool) {
	percent := n.plan.Policies[n.svc.Policy].MinHealthyPercent
	where := func(ok func(i int, st state) bool) map[int]bool {
		set := map[int]bool{}
		for i := range n.svc.Endpoints {
			if st := of(i); st.exists && !st.forcedDown && ok(i, st) {
				set[i] = true
			}
		}
		return set
	}
	// "a region is in service while at least the stated share (default: any)
	// of its undrained endpoints is healthy, and within it only healthy ones answer"
	inService := func(region uint16) bool {
		undrained := where(func(i int, st state) bool { return n.svc.Endpoints[i].Region == region && !st.drained })
		healthy := where(func(i int, st state) bool { return n.svc.Endpoints[i].Region == region && !st.drained && st.up })
		return len(healthy) > 0 && 100*len(healthy) >= percent*len(undrained)
	}
	if set := where(func(i int, st state) bool { return st.up && !st.drained && inService(n.svc.Endpoints[i].Region) }); len(set) > 0 {
		return InService, set
	}
	// "if no region is in service, whatever is healthy and undrained anywhere"
	if set := where(func(_ int, st state) bool { return st.up && !st.drained }); len(set) > 0 {
		return HealthyAnywhere, set
	}
	// "drained but healthy ones"
	if set := where(func(_ int, st state) bool { return st.up }); len(set) > 0 {
		return DrainedHealthy, set
	}
	// "the all-down policy of the service. A forced-down endpoint never answers."
	if n.svc.AllDown == regions.ServeFallback && hasFallback {
		return AllDownFallback, nil
	}
	set := where(func(_ int, st state) bool { return !st.drained })
	if len(set) == 0 {
		set = where(func(int, state) bool { return true })
	}
	if len(set) == 0 {
		return None, nil
	}
	if n.svc.AllDown != regions.KeepLast {
		return AllDownServeAll, set
	}
	// "keep last": grow the set of the last to fall as long as somebody fell
	// shortly before the first of them.
	pause := 10 * time.Second
	if n.svc.Spread > pause {
		pause = n.svc.Spread
	}
	kept := map[int]bool{}
	var first time.Time
	for i := range set {
		if of(i).fell.After(first) || len(kept) == 0 {
			kept, first = map[int]bool{i: true}, of(i).fell
		}
	}
	for grown := true; grown; {
		grown = false
		for i := range set {
			if fell := of(i).fell; !kept[i] && !fell.Before(first.Add(-pause)) {
				kept[i], grown = true, true
				if fell.Before(first) {
					first = fell
				}
			}
		}
	}
	return AllDownKeepLast, kept
}

// outcome is what a client gets.
type outcome struct {
	rung       Rung
	region     int
	candidates string // endpoints or addresses, with their weights
}

// choose is the answer to a client with a ranking.
func (n *naive) choose(f regions.Family, ranking []uint16) outcome {
	none := outcome{None, -1, ""}
	fallbacks := func(f regions.Family) int {
		if n.svc.Names && f == regions.V4 && n.svc.FallbackName != "" {
			return 1
		}
		return len(n.svc.Fallback[f])
	}
	jointRung, joint := n.rungOf(n.either, fallbacks(regions.V4)+fallbacks(regions.V6) > 0)
	rung, own := n.rungOf(func(i int) state { return n.state(i, f) }, fallbacks(f) > 0)
	configured := map[uint16]bool{}
	for i, e := range n.svc.Endpoints {
		if n.state(i, f).exists {
			configured[e.Region] = true
		}
	}
	// A family without endpoints gets the fallback when the service does.
	if len(configured) == 0 {
		if jointRung != AllDownFallback || fallbacks(f) == 0 {
			return none
		}
		rung = AllDownFallback
	}
	if rung == None {
		return none
	}
	// The first region of the ranking that is in a set; outside of the policy
	// the one with the least name.
	first := func(set map[int]bool) int {
		for _, r := range ranking {
			for i := range set {
				if n.svc.Endpoints[i].Region == r {
					return int(r)
				}
			}
		}
		least := -1
		for i := range set {
			if r := int(n.svc.Endpoints[i].Region); least < 0 || r < least {
				least = r
			}
		}
		return least
	}
	region := -1
	if !n.svc.Independent {
		// "A and AAAA of a service choose one region together"
		region = first(joint)
		if region >= 0 && f == regions.V6 && !configured[uint16(region)] {
			return none
		}
	}
	if rung == AllDownFallback {
		var parts []string
		for _, a := range n.svc.Fallback[f] {
			parts = append(parts, a.String())
		}
		if n.svc.Names {
			parts = []string{n.svc.FallbackName}
		}
		slices.Sort(parts)
		return outcome{AllDownFallback, -1, fmt.Sprint(parts)}
	}
	// "health is per address family"
	there := func(r int) map[int]uint32 {
		set, sum := map[int]uint32{}, uint32(0)
		for i := range own {
			if int(n.svc.Endpoints[i].Region) == r {
				set[i] = n.svc.Endpoints[i].Weight
				sum += set[i]
			}
		}
		for i := range set {
			if sum == 0 {
				set[i] = 1
			} else if set[i] == 0 {
				delete(set, i)
			}
		}
		return set
	}
	// Outside of the policy only the one region answers.
	outside := true
	for i := range own {
		outside = outside && !slices.Contains(ranking, n.svc.Endpoints[i].Region)
	}
	if region < 0 || len(there(region)) == 0 || outside || !slices.Contains(ranking, uint16(region)) {
		region = first(own)
	}
	var parts []string
	for i, w := range there(region) {
		parts = append(parts, fmt.Sprintf("%s*%d", n.svc.Endpoints[i].Name, w))
	}
	sort.Strings(parts)
	return outcome{rung, region, fmt.Sprint(parts)}
}

// actual is what the view chooses, in the same form.
func actual(v *View, service int32, f regions.Family, ranking []uint16) outcome {
	s := &v.Plan.Services[service]
	sel := v.services.at(service).choose(s, f, ranking)
	return outcome{sel.Rung, int(sel.Region), candidatesOf(v, service, f, &sel)}
}

func candidatesOf(v *View, service int32, f regions.Family, sel *Selection) string {
	s := &v.Plan.Services[service]
	var parts []string
	switch {
	case sel.group != nil:
		for _, m := range sel.group.members {
			parts = append(parts, fmt.Sprintf("%s*%d", s.Endpoints[m.endpoint].Name, m.weight))
		}
	case sel.Rung == AllDownFallback && s.Names:
		parts = []string{s.FallbackName}
	case sel.Rung == AllDownFallback:
		for _, a := range s.Fallback[f] {
			parts = append(parts, a.String())
		}
	default:
		return ""
	}
	slices.Sort(parts)
	return fmt.Sprint(parts)
}
