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

// naive is the selection of one service in a world, for the clients of a region.
type naive struct {
	*world
	svc    *regions.Service
	client uint16
}

// state is an endpoint's: in one family, or in both together.
type state struct {
	exists, up, drained, forcedDown bool
	fell                            time.Time
	counts                          time.Time // towards its region, from then on
	restored                        bool
	wavers                          bool
}

// "active-passive services follow Confirmed, active-active follow Last (or the
// client's region's standing when verdicts: client-region)"; "guard hold > verdict"
func (n *naive) verdict(target TargetState) (v regions.Standing, wavers bool) {
	v, wavers = target.Standing, target.Wavering
	passive := n.plan.Policies[n.svc.Policy].ActivePassive
	switch {
	case passive && target.Confirmed != nil:
		v, wavers = *target.Confirmed, wavers || target.Confirmed.Verdict != target.Verdict
	case !passive && n.svc.ClientRegionVerdicts && target.GuardTrip == 0:
		for _, r := range target.Regions {
			if r.Region == n.client && r.Verdict != regions.Unknown {
				v = r.Standing
			}
		}
	}
	return v, wavers
}

// "break-glass > force-down > drain > force-up > guard hold > verdict"
func (n *naive) state(i int, f regions.Family) state {
	e := n.svc.Endpoints[i]
	if !e.Addr[f].IsValid() && (f != regions.V4 || e.CNAME == "") {
		return state{}
	}
	st := state{exists: true, up: true}
	if n.svc.Checked {
		v, wavers := n.verdict(n.states[e.Target[f]])
		st.fell = v.Since
		st.up = v.Verdict == regions.Healthy || v.Verdict == regions.Unknown && n.svc.NeverJudged == regions.Healthy
		st.restored, st.counts = v.Restored, v.Since.Add(n.svc.Failback.HoldDown)
		st.wavers = wavers && v.Verdict != regions.Unknown && !n.failOpen
		if n.failOpen && v.Verdict == regions.Unhealthy {
			st.up = true
		}
	}
	glass, lifted, undrained := false, false, false
	for pass := range 2 {
		for _, o := range n.plan.Overrides {
			if o.Scope.Service != "" && o.Scope.Service != n.svc.Name ||
				o.Scope.Endpoint != "" && o.Scope.Endpoint != e.Name ||
				o.Scope.Region != "" && o.Scope.Region != n.plan.Regions[e.Region].Name ||
				o.Scope.AvailabilityZone != "" && o.Scope.AvailabilityZone != e.AvailabilityZone {
				continue
			}
			if pass == 0 {
				undrained = undrained || o.Action == regions.Undrain
				glass = glass || o.Origin == regions.BreakGlass && o.Action != regions.Undrain
				lifted = lifted || o.Origin == regions.BreakGlass && o.Action == regions.ForceUp
				continue
			}
			switch {
			case o.Origin == regions.BreakGlass:
			case o.Action == regions.ForceDown && lifted, o.Action != regions.ForceDown && glass, o.Action == regions.Drain && undrained:
				continue
			}
			switch o.Action {
			case regions.ForceUp:
				st.up, st.restored, st.wavers = true, false, false
			case regions.Drain:
				st.drained = true
			case regions.ForceDown:
				st.forcedDown = true
			}
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
		switch {
		case a.up && b.up:
			// It counts from when the first of them did, and falls with the last.
			a.restored, a.wavers = a.restored && b.restored, a.wavers && b.wavers
			if b.counts.Before(a.counts) {
				a.counts = b.counts
			}
		case b.up:
			a.restored, a.counts, a.wavers = b.restored, b.counts, b.wavers
		case !a.up:
			a.wavers = a.wavers || b.wavers
		}
		a.up = a.up || b.up
		if b.fell.After(a.fell) {
			a.fell = b.fell
		}
	}
	return a
}

// ready is a region of a service, in a family or in both.
type ready struct {
	in        bool
	percent   int  // of its clients
	mayComeIn bool // by verdicts alone
}

// region says whether one is in service: "while at least the stated share
// (default: any) of its undrained endpoints is healthy"; "an endpoint counts
// only when settled: HEALTHY, and if Restored then held for the hold-down"; "not
// latched".
func (n *naive) region(of func(i int) state, region uint16) ready {
	f := &n.svc.Failback
	undrained, up, rising := 0, 0, 0
	var counts []time.Time
	for i, e := range n.svc.Endpoints {
		st := of(i)
		if e.Region != region || !st.exists || st.drained || st.forcedDown {
			continue
		}
		undrained++
		if st.up {
			up++
			if st.restored {
				counts = append(counts, st.counts)
			} else {
				counts = append(counts, time.Time{})
			}
		} else if st.wavers {
			rising++
		}
	}
	k := 1
	for 100*k < undrained*n.plan.Policies[n.svc.Policy].MinHealthyPercent {
		k++
	}
	name := regions.FailbackLatch(n.svc.Name, n.plan.Regions[region].Name)
	latched := false
	for _, l := range n.latches {
		latched = latched || f.Manual && l.Name() == name && l.Trip > n.plan.Releases[name]
	}
	r := ready{percent: 100}
	if !latched && up < k {
		r.mayComeIn = f.HoldDown == 0 && rising > 0 && up+rising >= k
	}
	if latched || up < k {
		return r
	}
	sort.Slice(counts, func(i, j int) bool { return counts[i].Before(counts[j]) })
	since := counts[k-1]
	if r.in = !since.After(n.now); !r.in {
		return r
	}
	// "Ramp: percent p = step by time since the region was restored", or since
	// the release that it waited for.
	if at := n.plan.ReleasedAt[name]; f.Manual && at.After(since) && at.Sub(n.now) <= f.RampInterval {
		since = at
	}
	if since.IsZero() {
		return r
	}
	for step := len(f.RampSteps) - 1; step >= 0; step-- {
		if n.now.Before(since.Add(time.Duration(step+1) * f.RampInterval)) {
			r.percent = f.RampSteps[step]
		}
	}
	return r
}

// rungOf walks "the ladder of regions" and returns the rung and who stands on it.
func (n *naive) rungOf(of func(i int) state, hasFallback bool) (Rung, map[int]bool) {
	where := func(ok func(i int, st state) bool) map[int]bool {
		set := map[int]bool{}
		for i := range n.svc.Endpoints {
			if st := of(i); st.exists && !st.forcedDown && ok(i, st) {
				set[i] = true
			}
		}
		return set
	}
	inService := func(region uint16) bool { return n.region(of, region).in }
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
	ttl        uint32
}

// stands is the regions of those on a rung that a client can get: those of the
// policy, or else the one with the least name.
func (n *naive) stands(set map[int]bool) map[uint16]bool {
	inside, least := map[uint16]bool{}, -1
	for i := range set {
		r := n.svc.Endpoints[i].Region
		if slices.Contains(n.plan.Policies[n.svc.Policy].Candidates, r) {
			inside[r] = true
		}
		if least < 0 || int(r) < least {
			least = int(r)
		}
	}
	if len(inside) == 0 && least >= 0 {
		inside[uint16(least)] = true
	}
	return inside
}

// open is those of them that a bucket's clients get back: "a client whose bucket
// ≥ p skips the region", where any region has all of its clients.
func (n *naive) open(of func(i int) state, rung Rung, stands map[uint16]bool, bucket int) map[uint16]bool {
	open, whole := map[uint16]bool{}, false
	for r := range stands {
		percent := 100
		if rung == InService {
			percent = n.region(of, r).percent
		}
		whole = whole || percent == 100
		if bucket < percent {
			open[r] = true
		}
	}
	if !whole {
		return stands
	}
	return open
}

// hangs tells whether an answer of a family, or of both together, from a region
// hangs on a target that wavers.
func (n *naive) hangs(of func(i int) state, rung Rung, region int) bool {
	for i, e := range n.svc.Endpoints {
		st := of(i)
		if !st.exists || st.forcedDown || !st.wavers {
			continue
		}
		switch {
		case rung > HealthyAnywhere, rung == HealthyAnywhere && !st.drained:
			return true
		case rung == InService && !st.drained && int(e.Region) == region:
			return true
		}
	}
	for r := range n.plan.Regions {
		if rung == InService && n.region(of, uint16(r)).mayComeIn {
			return true
		}
	}
	return false
}

// choose is the answer to a client with a ranking, in a bucket.
func (n *naive) choose(f regions.Family, ranking []uint16, bucket int) outcome {
	n.client = ranking[0]
	none := outcome{None, -1, "", n.svc.TTL}
	fallbacks := func(f regions.Family) int {
		if n.svc.Names && f == regions.V4 && n.svc.FallbackName != "" {
			return 1
		}
		return len(n.svc.Fallback[f])
	}
	mine := func(i int) state { return n.state(i, f) }
	jointRung, joint := n.rungOf(n.either, fallbacks(regions.V4)+fallbacks(regions.V6) > 0)
	rung, own := n.rungOf(mine, fallbacks(f) > 0)
	configured := map[uint16]bool{}
	for i, e := range n.svc.Endpoints {
		if mine(i).exists {
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
	jointStands, ownStands := n.stands(joint), n.stands(own)
	jointOpen := n.open(n.either, jointRung, jointStands, bucket)
	ownOpen := n.open(mine, rung, ownStands, bucket)
	// The first region of the ranking that is open; outside of the policy the
	// only one.
	first := func(set map[uint16]bool) int {
		for _, r := range ranking {
			if set[r] {
				return int(r)
			}
		}
		for r := range set {
			return int(r)
		}
		return -1
	}
	region := -1
	if !n.svc.Independent {
		// "A and AAAA of a service choose one region together"
		region = first(jointOpen)
		if region >= 0 && f == regions.V6 && !configured[uint16(region)] {
			return none
		}
	}
	// What both together hang on: whether a region comes in for both, or the
	// region that answers, or one where the family does not stand, goes.
	ttl := func(region int) uint32 {
		hangs := n.hangs(mine, rung, region)
		if len(configured) == 0 {
			hangs = n.hangs(n.either, jointRung, -1)
		}
		if !n.svc.Independent {
			hangs = hangs || n.hangs(n.either, jointRung, -1)
			for i, e := range n.svc.Endpoints {
				st := n.either(i)
				if jointRung == InService && jointStands[e.Region] && st.exists && st.up && st.wavers && !st.drained && !st.forcedDown &&
					(int(e.Region) == region || !ownStands[e.Region]) {
					hangs = true
				}
			}
		}
		if hangs {
			return n.svc.MinTTL
		}
		return n.svc.TTL
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
		return outcome{AllDownFallback, -1, fmt.Sprint(parts), ttl(-1)}
	}
	// "health is per address family"
	if region < 0 || !ownOpen[uint16(region)] {
		region = first(ownOpen)
	}
	there, sum := map[int]uint32{}, uint32(0)
	for i := range own {
		if int(n.svc.Endpoints[i].Region) == region {
			there[i] = n.svc.Endpoints[i].Weight
			sum += there[i]
		}
	}
	var parts []string
	for i, w := range there {
		if sum == 0 {
			w = 1
		}
		if w > 0 {
			parts = append(parts, fmt.Sprintf("%s*%d", n.svc.Endpoints[i].Name, w))
		}
	}
	sort.Strings(parts)
	return outcome{rung, region, fmt.Sprint(parts), ttl(region)}
}

// actual is what the view chooses, in the same form.
func actual(v *View, service int32, f regions.Family, ranking []uint16, bucket int) outcome {
	s := &v.Plan.Services[service]
	sel := v.services.at(service).of(ranking).choose(s, f, ranking, bucket)
	return outcome{sel.Rung, int(sel.Region), candidatesOf(v, service, f, &sel), sel.TTL}
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
