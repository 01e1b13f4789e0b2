package regions

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// ruling is what a rule says of a change.
type ruling struct {
	// broken: the limit does not hold afterwards.
	broken bool
	// worse than before.
	worse bool
	text  string
	// options are what would pass.
	options []string
}

// drainRules are the rules in the order in which they are told; nil says that
// the policy does not state it.
var drainRules = [...]struct {
	name  string
	judge func(*tally) *ruling
}{
	{RuleMinRegions, (*tally).minRegions},
	{RuleMinRegionsPerService, (*tally).minRegionsPerService},
	{RuleMaxDrainedCapacity, (*tally).maxDrainedCapacity},
	{RuleCapacityDemand, (*tally).capacityDemand},
	{RuleProtectedService, (*tally).protectedService},
	{RuleQuietTime, (*tally).quietTime},
}

// DrainRuleNames are the names of the rules.
func DrainRuleNames() []string {
	names := make([]string, len(drainRules))
	for i, r := range drainRules {
		names[i] = r.name
	}
	return names
}

// minRegions: so many regions stay in service.
func (t *tally) minRegions() *ruling {
	limit := t.rules.MinRegions
	if limit <= 0 {
		return nil
	}
	var all, before int
	var in, lost, drained, again, dead, weak names
	for i, r := range t.regions {
		if r.Endpoints == 0 {
			continue
		}
		all++
		if r.Before {
			before++
		}
		switch {
		case r.After:
			in.add(r.Region)
		case r.Before:
			lost.add(r.Region)
		case t.could[i]:
			if drained.add(r.Region); !t.reached[i] {
				again.add(r.Region)
			}
		case t.healthy[i] > 0:
			weak.add(r.Region)
		default:
			dead.add(r.Region)
		}
	}
	r := &ruling{broken: in.n < limit, worse: in.n < before}
	switch {
	case !r.broken:
		r.text = fmt.Sprintf("%d of %s stay in service (%s), and at least %d must", in.n, counted(all, "region"), in.list(), limit)
		return r
	case !r.worse:
		r.text = fmt.Sprintf("%d of %s in service, fewer than the %d that must be; this takes out no other", in.n, counted(all, "region"), limit)
		return r
	}
	r.text = fmt.Sprintf("%d of %s would stay in service%s, and at least %d must: this takes out %s", in.n, counted(all, "region"), in.inBrackets(), limit, lost.list())
	if drained.n > 0 {
		r.text += "; drained already: " + drained.list()
	}
	if weak.n > 0 {
		r.text += "; without the healthy share that policies want: " + weak.list()
	}
	if dead.n > 0 {
		r.text += "; without a healthy endpoint: " + dead.list()
	}
	r.options = append(undrain(again, limit-in.n), t.narrower("fewer services")...)
	if len(r.options) == 0 && dead.n > 0 {
		r.options = append(r.options, "wait until "+dead.anyOf()+" has a healthy endpoint")
	}
	return r
}

// minRegionsPerService: so many regions of every service stay in service. A
// service in fewer cannot lose any.
func (t *tally) minRegionsPerService() *ruling {
	if max(t.rules.MinRegionsPerService, t.mostMinRegions) <= 0 {
		return nil
	}
	r := &ruling{}
	var short, broken names
	var example string
	var lack shortage
	for _, s := range t.below {
		name := t.base.Services[s.service].Name
		if s.after >= s.before {
			broken.add(name)
			continue
		}
		if short.n == 0 {
			example = fmt.Sprintf("%s would have %d of its %s in service, and at least %d must stay", name, s.after, counted(s.regions, "region"), s.least)
		}
		t.aid(&lack, s, short.n == 0)
		short.addf("%s (%d of %d, and %d must)", name, s.after, s.regions, s.least)
	}
	r.broken, r.worse = short.n+broken.n > 0, short.n > 0
	switch {
	case short.n == 1:
		r.text = example
	case short.n > 1:
		r.text = fmt.Sprintf("%s would have fewer regions in service than they must: %s", counted(short.n, "service"), short.list())
	case broken.n > 0:
		r.text = fmt.Sprintf("%s had fewer regions in service than they must and lose none: %s", counted(broken.n, "service"), broken.list())
	default:
		r.text = "every service that this concerns keeps the regions that it must, by default " + fmt.Sprint(max(t.rules.MinRegionsPerService, 0))
	}
	if r.worse {
		var drained names
		for _, i := range lack.drained {
			drained.add(t.regions[i].Region)
		}
		r.options = append(undrain(drained, lack.need), t.narrower("the other services only")...)
		if drained.n < lack.need {
			r.options = append(r.options, "state a lower safety.minRegions for what may go without")
		}
	}
	return r
}

// shortage gathers the regions that would come to the aid of every service that is
// short of one, if they were undrained.
type shortage struct {
	need    int
	drained []uint16
}

// aid narrows a shortage down by a service that is short.
func (t *tally) aid(to *shortage, s serviceTally, first bool) {
	to.need = max(to.need, s.least-s.after)
	if !first && len(to.drained) == 0 {
		return
	}
	svc, before := &t.base.Services[s.service], t.before.of(s.service)
	policy, marks := &t.base.Policies[svc.Policy], map[uint16]regionMark{}
	for k := range svc.Endpoints {
		e := &svc.Endpoints[k]
		healthy, m := t.in.Healthy(s.service, k), marks[e.Region]
		m.free.add(standing{serve: healthy})
		m.before.add(t.stand(before, svc, e, healthy))
		marks[e.Region] = m
	}
	var own []uint16
	for r, m := range marks {
		if m.free.in(policy) && !m.before.in(policy) && !t.reached[r] && (first || slices.Contains(to.drained, r)) {
			own = append(own, r)
		}
	}
	slices.Sort(own)
	to.drained = own
}

// maxDrainedCapacity: no more than a share of the capacity is drained. Of a
// region its drained endpoints' share counts.
func (t *tally) maxDrainedCapacity() *ruling {
	limit := float64(t.rules.MaxDrainedPercent)
	if limit >= 100 {
		return nil
	}
	unstated := t.unstated()
	var all, before, after float64
	var drained []spare
	for i, r := range t.regions {
		if r.Endpoints == 0 {
			continue
		}
		size := float64(r.Capacity)
		if unstated.n > 0 {
			size = 1
		}
		all += size
		was, is := size*float64(r.DrainedBefore)/float64(r.Endpoints), size*float64(r.DrainedAfter)/float64(r.Endpoints)
		before += was
		after += is
		if was > 0 && !t.reached[i] {
			drained = append(drained, spare{r.Region, is})
		}
	}
	if all == 0 {
		return &ruling{text: "no region has endpoints"}
	}
	r := &ruling{broken: exceeds(100*after, limit*all), worse: exceeds(after, before)}
	of := "the stated capacity"
	if unstated.n > 0 {
		of = "the regions"
	}
	share := fmt.Sprintf("%s of %s (%s of %s)", percent(100*after/all), of, number(after), number(all))
	switch {
	case !r.broken:
		r.text = fmt.Sprintf("%s drained, and at most %s may be", share, percent(limit))
	case !r.worse:
		r.text = fmt.Sprintf("%s drained, more than the %s that may be; this adds nothing", share, percent(limit))
	default:
		r.text = fmt.Sprintf("%s would be drained, and at most %s may be; %s is now", share, percent(limit), percent(100*before/all))
		r.options = append(undrainFor(drained, after-limit*all/100), t.narrower("fewer services")...)
	}
	if unstated.n > 0 {
		r.text += " (regions count alike, as no capacity is stated of " + unstated.list() + ")"
	}
	return r
}

// capacityDemand: the capacity in service suffices for what all services ask
// for, with headroom. Of a region in service its undrained endpoints' share counts.
func (t *tally) capacityDemand() *ruling {
	if t.rules.HeadroomPercent < 0 {
		return nil
	}
	unstated := t.unstated()
	switch {
	case t.demand == 0:
		return &ruling{text: "not judged: no service states its demand"}
	case unstated.n > 0:
		return &ruling{text: "not judged: no capacity is stated of " + unstated.list()}
	}
	var before, after float64
	var lost names
	var drained []spare
	for i, r := range t.regions {
		var was, is float64
		if r.Before {
			was = float64(r.Capacity) * float64(r.Endpoints-r.DrainedBefore) / float64(r.Endpoints)
		}
		if r.After {
			is = float64(r.Capacity) * float64(r.Endpoints-r.DrainedAfter) / float64(r.Endpoints)
		}
		before += was
		after += is
		switch {
		case is < was:
			lost.add(r.Region)
		case r.DrainedBefore > 0 && t.could[i] && !t.reached[i]:
			drained = append(drained, spare{r.Region, float64(r.Capacity) - is})
		}
	}
	want := t.demand * (1 + float64(t.rules.HeadroomPercent)/100)
	r := &ruling{broken: exceeds(want, after), worse: exceeds(before, after)}
	asked := "services ask for " + number(t.demand)
	if t.rules.HeadroomPercent > 0 {
		asked = fmt.Sprintf("%s, with %d%% headroom %s", asked, t.rules.HeadroomPercent, number(want))
	}
	switch {
	case !r.broken:
		r.text = fmt.Sprintf("the regions in service can carry %s; %s", number(after), asked)
	case !r.worse:
		r.text = fmt.Sprintf("the regions in service can carry %s; %s; this takes nothing away", number(after), asked)
	default:
		r.text = fmt.Sprintf("the regions in service could carry %s, now %s; %s: this takes from %s", number(after), number(before), asked, lost.list())
		r.options = append(undrainFor(drained, want-after), t.narrower("fewer services")...)
	}
	return r
}

// unstated returns the regions with endpoints that state no capacity.
func (t *tally) unstated() (out names) {
	for _, r := range t.regions {
		if r.Endpoints > 0 && r.Capacity == 0 {
			out.add(r.Region)
		}
	}
	return out
}

// protectedService: no drain touches a protected service.
func (t *tally) protectedService() *ruling {
	if t.protected == 0 {
		return nil
	}
	var touched names
	for _, i := range t.touched {
		touched.add(t.base.Services[i].Name)
	}
	if touched.n == 0 {
		return &ruling{text: "none of " + counted(t.protected, "protected service") + " loses an endpoint by this"}
	}
	return &ruling{
		broken: true, worse: true,
		text:    fmt.Sprintf("it takes out endpoints of %s: %s", counted(touched.n, "protected service"), touched.list()),
		options: append(t.narrower("the other services only"), "remove safety.protected from "+touched.list()+" first"),
	}
}

// quietTime: nothing is drained for a while after the last change, so that its
// effect is seen before the next one.
func (t *tally) quietTime() *ruling {
	quiet := t.rules.QuietTime
	if quiet <= 0 {
		return nil
	}
	if t.in.LastChange.IsZero() {
		return &ruling{text: "no override was changed before"}
	}
	ago := t.in.Now.Sub(t.in.LastChange)
	r := &ruling{broken: ago < quiet, worse: t.held > 0}
	since := fmt.Sprintf("overrides changed %s ago", max(ago, 0).Truncate(time.Second))
	if ago < -time.Minute {
		since = fmt.Sprintf("overrides changed by a clock that was %s ahead of this one", -ago.Truncate(time.Second))
	}
	switch {
	case !r.broken:
		r.text = fmt.Sprintf("%s, and %s must pass before a drain", since, quiet)
	case !r.worse:
		r.text = fmt.Sprintf("%s, less than %s, but this takes nothing out", since, quiet)
	default:
		r.text = fmt.Sprintf("%s, and %s must pass before the next drain", since, quiet)
		wait := quiet - ago
		r.options = []string{"wait " + (wait + time.Second - 1).Truncate(time.Second).String()}
	}
	return r
}

// exceeds tells whether a is more than b, by more than what sums of shares are
// off.
func exceeds(a, b float64) bool { return a-b > 1e-9*math.Max(math.Abs(a), math.Abs(b)) }
