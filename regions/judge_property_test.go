package regions

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// trial is a drawn base with a drawn change.
type trial struct {
	base *Base
	sick map[[2]int]bool
	in   DrainInputs
}

func drawTrial(t *rapid.T) *trial {
	var list []Region
	for i := range rapid.IntRange(1, 4).Draw(t, "regions") {
		list = append(list, Region{Name: fmt.Sprint("r", i), Capacity: uint64(rapid.SampledFrom([]int{0, 10, 10, 30}).Draw(t, "capacity"))})
	}
	var services []Service
	c := &trial{sick: map[[2]int]bool{}}
	for i := range rapid.IntRange(0, 4).Draw(t, "services") {
		s := Service{
			Name: fmt.Sprint("s", i), MinRegions: rapid.IntRange(-1, 3).Draw(t, "min"), Protected: rapid.IntRange(0, 3).Draw(t, "protected") == 0,
			Demand: uint64(rapid.SampledFrom([]int{0, 5, 20}).Draw(t, "demand")),
		}
		for k := range rapid.IntRange(0, 5).Draw(t, "endpoints") {
			s.Endpoints = append(s.Endpoints, Endpoint{
				Name: fmt.Sprint("e", k), Region: uint16(rapid.IntRange(0, len(list)-1).Draw(t, "region")), AvailabilityZone: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "az"),
			})
			c.sick[[2]int{i, k}] = rapid.IntRange(0, 3).Draw(t, "sick") == 0
		}
		services = append(services, s)
	}
	c.base = NewBase(list, []Policy{{Name: "p", MinHealthyPercent: rapid.SampledFrom([]int{0, 0, 34, 50, 100}).Draw(t, "share")}}, services, nil)
	c.base.Safety.Drains = DrainRules{
		MinRegions: rapid.IntRange(0, 3).Draw(t, "minRegions"), MinRegionsPerService: rapid.IntRange(0, 3).Draw(t, "minRegionsPerService"),
		MaxDrainedPercent: rapid.SampledFrom([]int{1, 25, 33, 50, 100}).Draw(t, "maxDrained"), HeadroomPercent: rapid.SampledFrom([]int{-1, 0, 50}).Draw(t, "headroom"),
		QuietTime: rapid.SampledFrom([]time.Duration{0, time.Minute}).Draw(t, "quiet"),
		Absolute:  rapid.SliceOfN(rapid.SampledFrom(DrainRuleNames()), 0, 2).Draw(t, "absolute"),
	}
	c.in = DrainInputs{
		Healthy:    func(s int32, e int) bool { return !c.sick[[2]int{int(s), e}] },
		LastChange: rapid.SampledFrom([]time.Time{{}, judgeNow.Add(-time.Second), judgeNow.Add(-time.Minute), judgeNow.Add(time.Hour)}).Draw(t, "last"),
		Now:        judgeNow,
	}
	name := func(prefix, what string) string {
		if n := rapid.IntRange(-1, 3).Draw(t, what); n >= 0 {
			return fmt.Sprint(prefix, n)
		}
		return ""
	}
	draw := func(what string) (out []Override) {
		for i := range rapid.IntRange(0, 4).Draw(t, what) {
			if rapid.Bool().Draw(t, "whole region") {
				out = append(out, Override{ID: fmt.Sprint(what, i), Action: Drain, Scope: Scope{Region: fmt.Sprint("r", rapid.IntRange(0, 3).Draw(t, "of region"))}})
				continue
			}
			out = append(out, Override{
				ID: fmt.Sprint(what, i), Action: Action(rapid.IntRange(0, 2).Draw(t, "action")),
				Scope: Scope{
					Region: name("r", "of region"), AvailabilityZone: rapid.SampledFrom([]string{"", "", "a"}).Draw(t, "of az"),
					Service: name("s", "of service"), Endpoint: rapid.SampledFrom([]string{"", "", "e0", "e1"}).Draw(t, "of endpoint"),
				},
			})
		}
		return out
	}
	both := draw("both")
	c.in.Before, c.in.After = append(slices.Clone(both), draw("gone")...), append(slices.Clone(both), draw("new")...)
	return c
}

// place is how an endpoint stands, found without an index and without Effective.
type place struct {
	region, firmness int
	healthy          bool
}

func (c *trial) places(list []Override) map[[2]int]place {
	out := map[[2]int]place{}
	for i, s := range c.base.Services {
		for k, e := range s.Endpoints {
			p := place{region: int(e.Region), healthy: !c.sick[[2]int{i, k}]}
			for _, o := range list {
				q := o.Scope
				if q == (Scope{}) || q.Region != "" && q.Region != fmt.Sprint("r", e.Region) || q.AvailabilityZone != "" && q.AvailabilityZone != e.AvailabilityZone ||
					q.Service != "" && q.Service != s.Name || q.Endpoint != "" && q.Endpoint != e.Name {
					continue
				}
				switch o.Action {
				case ForceUp:
					p.healthy = true
				case Drain:
					p.firmness = max(p.firmness, 1)
				case ForceDown:
					p.firmness = 2
				}
			}
			out[[2]int{i, k}] = p
		}
	}
	return out
}

// broken are the rules that the naive reading of DrainRules finds broken by the
// change.
func (c *trial) broken() []string {
	rules, before, after := c.base.Safety.Drains, c.places(c.in.Before), c.places(c.in.After)
	inService := func(at map[[2]int]place, service int) (n int) {
		for r := range c.base.Regions {
			if c.regionServes(at, r, service) {
				n++
			}
		}
		return n
	}
	// share of a region's endpoints of which something holds.
	share := func(at map[[2]int]place, region int, holds func(place) bool) float64 {
		n, all := 0, 0
		for _, p := range at {
			if p.region == region {
				all++
				if holds(p) {
					n++
				}
			}
		}
		if all == 0 {
			return 0
		}
		return float64(n) / float64(all)
	}
	var out []string
	add := func(rule string, is bool) {
		if is {
			out = append(out, rule)
		}
	}
	was, is := inService(before, -1), inService(after, -1)
	add(RuleMinRegions, is < rules.MinRegions && is < was)
	perService, demand, newly, protected := false, uint64(0), false, false
	for i, s := range c.base.Services {
		least := s.MinRegions
		lies := map[uint16]bool{}
		for _, e := range s.Endpoints {
			lies[e.Region] = true
		}
		switch {
		case least < 0 && len(lies) > 1:
			least = rules.MinRegionsPerService
		case least < 0:
			least = 0 // it has nowhere to go
		}
		was, is := inService(before, i), inService(after, i)
		perService = perService || is < was && is < least
		demand += s.Demand
		for k := range s.Endpoints {
			if id := [2]int{i, k}; after[id].firmness > before[id].firmness {
				newly, protected = true, protected || s.Protected
			}
		}
	}
	add(RuleMinRegionsPerService, perService)
	stated, all := true, 0.0
	used := map[int]bool{}
	for _, p := range after {
		used[p.region] = true
	}
	for r := range used {
		stated = stated && c.base.Regions[r].Capacity > 0
	}
	size := func(r int) float64 {
		if stated {
			return float64(c.base.Regions[r].Capacity)
		}
		return 1
	}
	sum := func(at map[[2]int]place, holds func(place) bool) (total float64) {
		for r := range used {
			total += size(r) * share(at, r, holds)
		}
		return total
	}
	for r := range used {
		all += size(r)
	}
	held := func(p place) bool { return p.firmness > 0 }
	const little = 1e-6
	d0, d1 := sum(before, held), sum(after, held)
	add(RuleMaxDrainedCapacity, rules.MaxDrainedPercent < 100 && d1*100 > float64(rules.MaxDrainedPercent)*all+little && d1 > d0+little)
	carry := func(at map[[2]int]place) float64 {
		return sum(at, func(p place) bool { return p.firmness == 0 && c.regionServes(at, p.region, -1) })
	}
	c0, c1 := carry(before), carry(after)
	add(RuleCapacityDemand, rules.HeadroomPercent >= 0 && stated && demand > 0 && c1 < float64(demand)*float64(100+rules.HeadroomPercent)/100-little && c1 < c0-little)
	add(RuleProtectedService, protected)
	ago := c.in.Now.Sub(c.in.LastChange)
	add(RuleQuietTime, rules.QuietTime > 0 && !c.in.LastChange.IsZero() && ago < rules.QuietTime && newly)
	slices.Sort(out)
	return out
}

// regionServes tells whether a region is in service for a service, or with -1 for
// any.
func (c *trial) regionServes(at map[[2]int]place, region, service int) bool {
	undrained, healthy := map[int]int{}, map[int]int{}
	for id, p := range at {
		if p.region != region || p.firmness > 0 || service >= 0 && id[0] != service {
			continue
		}
		undrained[id[0]]++
		if p.healthy {
			healthy[id[0]]++
		}
	}
	for i, n := range healthy {
		if 100*n >= undrained[i]*c.base.Policies[0].MinHealthyPercent {
			return true
		}
	}
	return false
}

func refusedRules(d DrainDecision) (out []string) {
	for _, f := range d.Refused(false) {
		out = append(out, f.Rule)
	}
	slices.Sort(out)
	return out
}

// TestJudgeDrainProperties: the rules say what a naive reading of them says; the
// order of overrides and who made them do not count; what makes nothing worse
// passes, so an undrain does; every refusal says what would pass.
func TestJudgeDrainProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := drawTrial(rt)
		d := c.base.JudgeDrain(c.in)
		got, want := refusedRules(d), c.broken()
		if !slices.Equal(got, want) {
			rt.Fatalf("refused by %v, naively by %v\n%s%+v\nbefore %+v\nafter %+v", got, want, findings(d), c.base.Safety.Drains, c.in.Before, c.in.After)
		}
		before, after, worse := c.places(c.in.Before), c.places(c.in.After), false
		for id, p := range after {
			q := before[id]
			worse = worse || p.firmness > q.firmness || q.healthy && !p.healthy
		}
		// Where a share must be healthy, that an endpoint comes back that is not may
		// take a region out.
		share := c.base.Policies[0].MinHealthyPercent > 0
		if len(got) > 0 && !worse && !share {
			rt.Fatalf("nothing is worse, and it is refused by %v", got)
		}
		broken := 0
		for i, f := range d.Findings {
			if f.Text == "" || f.Passed != (f.WouldPass == "") || f.Overridable == slices.Contains(c.base.Safety.Drains.Absolute, f.Rule) {
				rt.Fatalf("%+v", f)
			}
			if !f.Passed {
				broken++
			}
			if f.Passed != (i >= broken) {
				rt.Fatalf("broken rules do not come first: %+v", d.Findings)
			}
		}
		for _, f := range d.Refused(true) {
			if f.Overridable {
				rt.Fatalf("force does not pass %+v", f)
			}
		}
		for _, r := range d.Regions {
			if r.After && r.HealthyAfter == 0 || !r.After && r.HealthyAfter > 0 && !share || r.HealthyAfter+r.DrainedAfter > r.Endpoints || r.DrainedBefore > r.Endpoints {
				rt.Fatalf("%+v", r)
			}
		}

		other := c.in
		other.Before = rapid.Permutation(c.in.Before).Draw(rt, "before")
		other.After = slices.Clone(rapid.Permutation(c.in.After).Draw(rt, "after"))
		for i := range other.After {
			other.After[i].ID, other.After[i].Author, other.After[i].Created = fmt.Sprint("x", i), "somebody", judgeNow
		}
		if o := c.base.JudgeDrain(other); !slices.Equal(o.Findings, d.Findings) || !slices.Equal(o.Regions, d.Regions) {
			rt.Fatalf("in another order\n%s, not\n%s", findings(o), findings(d))
		}

		for _, f := range d.Refused(false) {
			for _, back := range comeBack(f.WouldPass) {
				if slices.Contains(refusedRules(c.base.JudgeDrain(c.undrained(back))), f.Rule) {
					rt.Fatalf("%s: %s\n%s, but undraining %q does not pass it\nbefore %+v\nafter %+v", f.Rule, f.Text, f.WouldPass, back, c.in.Before, c.in.After)
				}
			}
		}

		// To take drains and force-downs away is never refused.
		if share {
			return
		}
		undrained := c.in
		undrained.After = slices.DeleteFunc(slices.Clone(c.in.Before), func(o Override) bool {
			return o.Action != ForceUp && rapid.Bool().Draw(rt, "undrain")
		})
		if u := c.base.JudgeDrain(undrained); len(u.Refused(false)) > 0 {
			rt.Fatalf("an undrain is refused\n%s", findings(u))
		}
	})
}

var anyNumber = regexp.MustCompile(`^undrain (\d of )?(.*?) first`)

// comeBack reads which regions a refusal says should be undrained: all of any list.
func comeBack(text string) (lists [][]string) {
	m := anyNumber.FindStringSubmatch(text)
	if m == nil {
		return nil
	}
	named := regexp.MustCompile(`r\d`).FindAllString(m[2], -1)
	switch {
	case m[1] != "":
		n := int(m[1][0] - '0')
		return [][]string{named[:n], named[len(named)-n:]}
	case strings.Contains(m[2], " or "):
		for _, r := range named {
			lists = append(lists, []string{r})
		}
		return lists
	default:
		return [][]string{named}
	}
}

// undrained is the change as it is after regions were undrained: overrides as one
// for each endpoint, but for what takes those regions out.
func (c *trial) undrained(back []string) DrainInputs {
	in := c.in
	each := func(list []Override) (out []Override) {
		for _, o := range list {
			for _, s := range c.base.Services {
				for _, e := range s.Endpoints {
					region := c.base.Regions[e.Region].Name
					if o.Scope.Holds(s.Name, e.Name, region, e.AvailabilityZone) && (o.Action == ForceUp || !slices.Contains(back, region)) {
						out = append(out, Override{Action: o.Action, Scope: Scope{Service: s.Name, Endpoint: e.Name}})
					}
				}
			}
		}
		return out
	}
	in.Before, in.After = each(in.Before), each(in.After)
	return in
}
