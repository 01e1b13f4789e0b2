package regions

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var judgeNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// estate builds a base: regions as `name` or `name:capacity`, and services as
// `name: region region/az …`; an endpoint is named by its region and number.
func estate(t testing.TB, regionsText string, services ...string) *Base {
	t.Helper()
	var list []Region
	index := map[string]uint16{}
	for _, text := range strings.Fields(regionsText) {
		name, size, _ := strings.Cut(text, ":")
		r := Region{Name: name}
		if size != "" {
			if _, err := fmt.Sscan(size, &r.Capacity); err != nil {
				t.Fatal(err)
			}
		}
		index[name] = uint16(len(list))
		list = append(list, r)
	}
	var all []Service
	for _, text := range services {
		name, endpoints, _ := strings.Cut(text, ":")
		s := Service{Name: name, MinRegions: -1}
		count := map[string]int{}
		for _, at := range strings.Fields(endpoints) {
			region, az, _ := strings.Cut(at, "/")
			count[region]++
			s.Endpoints = append(s.Endpoints, Endpoint{Name: fmt.Sprint(region, "-", count[region]), Region: index[region], AvailabilityZone: az})
		}
		all = append(all, s)
	}
	return NewBase(list, []Policy{{Name: "nearest"}}, all, nil)
}

// ruled are overrides as `drain region R`, `drain service S region R endpoint E`.
func ruled(t testing.TB, texts ...string) []Override {
	t.Helper()
	var out []Override
	for _, text := range texts {
		f := strings.Fields(text)
		o := Override{ID: fmt.Sprint("o", len(out)), Action: map[string]Action{"drain": Drain, "up": ForceUp, "down": ForceDown}[f[0]]}
		for i := 1; i+1 < len(f); i += 2 {
			*map[string]*string{"region": &o.Scope.Region, "az": &o.Scope.AvailabilityZone, "service": &o.Scope.Service, "endpoint": &o.Scope.Endpoint}[f[i]] = f[i+1]
		}
		out = append(out, o)
	}
	return out
}

// healthyBut is a health view in which all but some endpoints are healthy.
func healthyBut(b *Base, sick ...string) func(int32, int) bool {
	return func(s int32, e int) bool {
		ep := &b.Services[s].Endpoints[e]
		return !slices.Contains(sick, ep.Name) && !slices.Contains(sick, b.Regions[ep.Region].Name) && !slices.Contains(sick, b.Services[s].Name+"/"+ep.Name)
	}
}

// findings prints what is broken, or with all every finding.
func findings(d DrainDecision) string {
	var out strings.Builder
	for _, f := range d.Findings {
		if f.Passed {
			fmt.Fprintf(&out, "ok %s: %s\n", f.Rule, f.Text)
			continue
		}
		fmt.Fprintf(&out, "no %s: %s\n   %s\n", f.Rule, f.Text, f.WouldPass)
	}
	return out.String()
}

// TestDrainRules holds every rule to its decision and its words.
func TestDrainRules(t *testing.T) {
	three := func(t *testing.T) *Base {
		return estate(t, "ap eu us", "api.example.test: ap eu us", "www.example.test: ap eu us")
	}
	sized := func(t *testing.T) *Base {
		b := estate(t, "ap:100 eu:200 us:100", "api.example.test: ap eu us", "www.example.test: ap eu us")
		b.Services[0].Demand, b.Services[1].Demand = 100, 60
		return b
	}
	for _, c := range []struct {
		name   string
		base   func(*testing.T) *Base
		edit   func(*Base)
		before []string
		after  []string
		sick   []string
		last   time.Duration // ago; 0: never
		want   string
	}{
		{
			name: "the defaults", base: three, after: []string{"drain region eu"},
			want: `ok min-regions: 2 of 3 regions stay in service (ap and us), and at least 1 must
ok min-regions-per-service: every service that this concerns keeps the regions that it must, by default 1
`,
		},
		{
			name: "the last region", base: three, before: []string{"drain region ap"}, after: []string{"drain region ap", "drain region eu"}, sick: []string{"us"},
			want: `no min-regions: 0 of 3 regions would stay in service, and at least 1 must: this takes out eu; drained already: ap; without a healthy endpoint: us
   undrain ap first, or drain eu for fewer services (--service); --force passes it
no min-regions-per-service: 2 services would have fewer regions in service than they must: api.example.test (0 of 3, and 1 must) and www.example.test (0 of 3, and 1 must)
   undrain ap first, or drain eu for the other services only (--service); --force passes it
`,
		},
		{
			name: "two must stay, and one is dead", base: three,
			edit:  func(b *Base) { b.Safety.Drains.MinRegions, b.Safety.Drains.Absolute = 2, []string{RuleMinRegions} },
			after: []string{"drain region eu"}, sick: []string{"us"},
			want: `no min-regions: 1 of 3 regions would stay in service (ap), and at least 2 must: this takes out eu; without a healthy endpoint: us
   drain eu for fewer services (--service); --force does not pass it, as the safety policy makes it absolute
ok min-regions-per-service: every service that this concerns keeps the regions that it must, by default 1
`,
		},
		{
			name: "a dead region may be drained", base: three,
			edit: func(b *Base) { b.Safety.Drains.MinRegions, b.Safety.Drains.MinRegionsPerService = 3, 3 }, after: []string{"drain region us"}, sick: []string{"us"},
			want: `ok min-regions: 2 of 3 regions in service, fewer than the 3 that must be; this takes out no other
ok min-regions-per-service: 2 services had fewer regions in service than they must and lose none: api.example.test and www.example.test
`,
		},
		{
			name: "force-down by service, of two that must stay", base: three,
			edit:  func(b *Base) { b.Services[1].MinRegions = 2 },
			after: []string{"down service www.example.test region eu", "down service www.example.test endpoint us-1"},
			want: `no min-regions-per-service: www.example.test would have 1 of its 3 regions in service, and at least 2 must stay
   state a lower safety.minRegions for what may go without; --force passes it
ok min-regions: 3 of 3 regions stay in service (ap, eu and us), and at least 1 must
`,
		},
		{
			name: "a service in one region", base: func(t *testing.T) *Base {
				return estate(t, "eu us", "asked.example.test: eu", "one.example.test: eu", "www.example.test: eu us")
			},
			edit: func(b *Base) { b.Safety.Drains.MinRegionsPerService, b.Services[0].MinRegions = 2, 1 }, after: []string{"drain region eu"},
			want: `no min-regions-per-service: 2 services would have fewer regions in service than they must: asked.example.test (0 of 1, and 1 must) and www.example.test (1 of 2, and 2 must)
   drain eu for the other services only (--service), or state a lower safety.minRegions for what may go without; --force passes it
ok min-regions: 1 of 2 regions stay in service (us), and at least 1 must
`,
		},
		{
			name: "half of the capacity is the limit", base: sized, edit: func(b *Base) { b.Safety.Drains.MaxDrainedPercent = 50 },
			before: []string{"drain region ap"}, after: []string{"drain region ap", "drain region eu"},
			want: `no max-drained-capacity: 75% of the stated capacity (300 of 400) would be drained, and at most 50% may be; 25% is now
   undrain ap first, or drain eu for fewer services (--service); --force passes it
ok min-regions: 1 of 3 regions stay in service (us), and at least 1 must
ok min-regions-per-service: every service that this concerns keeps the regions that it must, by default 1
`,
		},
		{
			name: "just half of it, in parts", base: sized, edit: func(b *Base) { b.Safety.Drains.MaxDrainedPercent = 50 },
			after: []string{"drain region ap service www.example.test", "drain region us service www.example.test", "drain region eu service api.example.test"},
			want: `ok min-regions: 3 of 3 regions stay in service (ap, eu and us), and at least 1 must
ok min-regions-per-service: every service that this concerns keeps the regions that it must, by default 1
ok max-drained-capacity: 50% of the stated capacity (200 of 400) drained, and at most 50% may be
`,
		},
		{
			name: "no capacity stated", base: three, edit: func(b *Base) { b.Safety.Drains.MaxDrainedPercent = 33; b.Safety.Drains.HeadroomPercent = 0 },
			after: []string{"drain region eu"},
			want: `no max-drained-capacity: 33.33% of the regions (1 of 3) would be drained, and at most 33% may be; 0% is now (regions count alike, as no capacity is stated of ap, eu and us)
   drain eu for fewer services (--service); --force passes it
ok min-regions: 2 of 3 regions stay in service (ap and us), and at least 1 must
ok min-regions-per-service: every service that this concerns keeps the regions that it must, by default 1
ok capacity-demand: not judged: no service states its demand
`,
		},
		{
			name: "demand", base: sized, edit: func(b *Base) { b.Safety.Drains.HeadroomPercent = 50 }, after: []string{"drain region eu"},
			want: `no capacity-demand: the regions in service could carry 200, now 400; services ask for 160, with 50% headroom 240: this takes from eu
   drain eu for fewer services (--service); --force passes it
ok min-regions: 2 of 3 regions stay in service (ap and us), and at least 1 must
ok min-regions-per-service: every service that this concerns keeps the regions that it must, by default 1
`,
		},
		{
			name: "demand, with a region partly drained", base: sized, edit: func(b *Base) { b.Safety.Drains.HeadroomPercent = 50 }, after: []string{"drain region eu service api.example.test"},
			want: `ok min-regions: 3 of 3 regions stay in service (ap, eu and us), and at least 1 must
ok min-regions-per-service: every service that this concerns keeps the regions that it must, by default 1
ok capacity-demand: the regions in service can carry 300; services ask for 160, with 50% headroom 240
`,
		},
		{
			name: "two regions must come back", base: func(t *testing.T) *Base {
				b := estate(t, "a:10 b:30 c:20 d:100", "www.example.test: a b c d d")
				b.Services[0].Demand = 100
				return b
			},
			edit:   func(b *Base) { b.Safety.Drains.HeadroomPercent = 0; b.Safety.Drains.MaxDrainedPercent = 40 },
			before: []string{"drain region a", "drain region b", "drain region c"}, after: []string{"drain region a", "drain region b", "drain region c", "drain service www.example.test endpoint d-1"},
			want: `no max-drained-capacity: 68.75% of the stated capacity (110 of 160) would be drained, and at most 40% may be; 37.5% is now
   undrain b and c first; --force passes it
no capacity-demand: the regions in service could carry 50, now 100; services ask for 100: this takes from d
   undrain b and c first; --force passes it
ok min-regions: 1 of 4 regions stay in service (d), and at least 1 must
ok min-regions-per-service: every service that this concerns keeps the regions that it must, by default 1
`,
		},
		{
			name: "more demand than all can carry", base: sized, edit: func(b *Base) { b.Safety.Drains.HeadroomPercent = 0; b.Services[0].Demand = 1000 },
			before: []string{"drain region ap", "drain region eu"}, after: []string{"drain region eu"},
			want: `ok min-regions: 2 of 3 regions stay in service (ap and us), and at least 1 must
ok min-regions-per-service: every service that this concerns keeps the regions that it must, by default 1
ok capacity-demand: the regions in service can carry 200; services ask for 1060; this takes nothing away
`,
		},
		{
			name: "a protected service", base: three, edit: func(b *Base) { b.Services[0].Protected = true }, after: []string{"drain region eu"},
			want: `no protected-service: it takes out endpoints of 1 protected service: api.example.test
   drain eu for the other services only (--service), or remove safety.protected from api.example.test first; --force passes it
ok min-regions: 2 of 3 regions stay in service (ap and us), and at least 1 must
ok min-regions-per-service: every service that this concerns keeps the regions that it must, by default 1
`,
		},
		{
			name: "a protected service's drain is made a force-down", base: three, edit: func(b *Base) { b.Services[0].Protected = true },
			before: []string{"drain service api.example.test endpoint eu-1"}, after: []string{"down service api.example.test endpoint eu-1"},
			want: `no protected-service: it takes out endpoints of 1 protected service: api.example.test
   remove safety.protected from api.example.test first; --force passes it
ok min-regions: 3 of 3 regions stay in service (ap, eu and us), and at least 1 must
ok min-regions-per-service: every service that this concerns keeps the regions that it must, by default 1
`,
		},
		{
			name: "too soon", base: three, edit: func(b *Base) { b.Safety.Drains.QuietTime = time.Minute }, after: []string{"drain region eu"}, last: 18*time.Second + 500*time.Millisecond,
			want: `no quiet-time: overrides changed 18s ago, and 1m0s must pass before the next drain
   wait 42s; --force passes it
ok min-regions: 2 of 3 regions stay in service (ap and us), and at least 1 must
ok min-regions-per-service: every service that this concerns keeps the regions that it must, by default 1
`,
		},
		{
			name: "too soon, by a clock that was ahead", base: three, edit: func(b *Base) { b.Safety.Drains.QuietTime = time.Minute }, after: []string{"drain region eu"}, last: -time.Hour,
			want: `no quiet-time: overrides changed by a clock that was 1h0m0s ahead of this one, and 1m0s must pass before the next drain
   wait 1h1m0s; --force passes it
ok min-regions: 2 of 3 regions stay in service (ap and us), and at least 1 must
ok min-regions-per-service: every service that this concerns keeps the regions that it must, by default 1
`,
		},
		{
			name: "too soon, but nothing goes", base: three, edit: func(b *Base) { b.Safety.Drains.QuietTime = time.Minute },
			before: []string{"drain region eu"}, after: []string{"drain region eu az b", "up region us"}, last: -time.Second,
			want: `ok min-regions: 3 of 3 regions stay in service (ap, eu and us), and at least 1 must
ok min-regions-per-service: every service that this concerns keeps the regions that it must, by default 1
ok quiet-time: overrides changed 0s ago, less than 1m0s, but this takes nothing out
`,
		},
		{
			name: "a share of it is healthy, and the policy wants more", base: func(t *testing.T) *Base {
				b := estate(t, "ap eu us", "api.example.test: ap ap ap eu us")
				b.Policies[0].MinHealthyPercent = 50
				return b
			},
			before: []string{"drain region us"}, after: []string{"drain region us", "drain region eu"}, sick: []string{"ap-1", "ap-2"},
			want: `no min-regions: 0 of 3 regions would stay in service, and at least 1 must: this takes out eu; drained already: us; without the healthy share that policies want: ap
   undrain us first, or drain eu for fewer services (--service); --force passes it
no min-regions-per-service: api.example.test would have 0 of its 3 regions in service, and at least 1 must stay
   undrain us first, or drain eu for the other services only (--service); --force passes it
`,
		},
		{
			name: "the share is one of the undrained", base: func(t *testing.T) *Base {
				b := estate(t, "ap eu us", "api.example.test: ap ap ap eu us")
				b.Policies[0].MinHealthyPercent = 50
				return b
			},
			before: []string{"drain service api.example.test endpoint ap-1"}, after: []string{"drain service api.example.test endpoint ap-1", "drain region eu"}, sick: []string{"ap-1", "ap-2", "us"},
			want: `ok min-regions: 1 of 3 regions stay in service (ap), and at least 1 must
ok min-regions-per-service: every service that this concerns keeps the regions that it must, by default 1
`,
		},
		{
			name: "a force-up counts as healthy", base: three, before: []string{"up region us"}, after: []string{"up region us", "drain region eu"}, sick: []string{"us", "ap"},
			want: `ok min-regions: 1 of 3 regions stay in service (us), and at least 1 must
ok min-regions-per-service: every service that this concerns keeps the regions that it must, by default 1
`,
		},
		{
			name: "nothing is asked for", base: three, edit: func(b *Base) { b.Safety.Drains = DrainRules{MaxDrainedPercent: 100, HeadroomPercent: -1} },
			after: []string{"drain region eu", "drain region us", "drain region ap"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := c.base(t)
			if c.edit != nil {
				c.edit(b)
			}
			in := DrainInputs{Before: ruled(t, c.before...), After: ruled(t, c.after...), Healthy: healthyBut(b, c.sick...), Now: judgeNow}
			if c.last != 0 {
				in.LastChange = judgeNow.Add(-c.last)
			}
			if got := findings(b.JudgeDrain(in)); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
		})
	}
}

// TestDrainNames: a refusal stays short however much it concerns.
func TestDrainNames(t *testing.T) {
	var services []string
	for i := range 17 {
		services = append(services, fmt.Sprintf("s%02d: eu", i))
	}
	b := estate(t, "eu us", append(services, "www: eu us")...)
	for i := range services {
		b.Services[i].MinRegions = 1
	}
	d := b.JudgeDrain(DrainInputs{After: ruled(t, "drain region eu"), Healthy: healthyBut(b), Now: judgeNow})
	const want = "17 services would have fewer regions in service than they must: s00 (0 of 1, and 1 must), s01 (0 of 1, and 1 must), " +
		"s02 (0 of 1, and 1 must), s03 (0 of 1, and 1 must), s04 (0 of 1, and 1 must) and 12 more"
	if got := d.Findings[0].Text; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if refused := d.Refused(false); len(refused) != 1 || refused[0].Rule != RuleMinRegionsPerService || len(d.Refused(true)) != 0 {
		t.Errorf("refused %+v, by force %+v", refused, d.Refused(true))
	}
	wantRegions := []RegionInService{
		{Region: "eu", Endpoints: 18, DrainedAfter: 18, Before: true},
		{Region: "us", Endpoints: 1, HealthyAfter: 1, Before: true, After: true},
	}
	if !slices.Equal(d.Regions, wantRegions) {
		t.Errorf("%+v", d.Regions)
	}
	b.Safety.Drains.Absolute = []string{RuleMinRegionsPerService}
	d = b.JudgeDrain(DrainInputs{After: ruled(t, "drain region eu"), Healthy: healthyBut(b), Now: judgeNow})
	if len(d.Refused(true)) != 1 {
		t.Error("force passes an absolute rule")
	}
}

// BenchmarkJudgeDrain judges the drain of a region of 100,000 services.
func BenchmarkJudgeDrain(b *testing.B) {
	var services []string
	for i := range 100_000 {
		services = append(services, fmt.Sprintf("s%06d.example.test: ap eu us", i))
	}
	base := estate(b, "ap:100 eu:200 us:100", services...)
	base.Safety.Drains.HeadroomPercent, base.Safety.Drains.MaxDrainedPercent = 10, 60
	in := DrainInputs{Before: ruled(b, "drain service s000010.example.test endpoint ap-1"), After: ruled(b, "drain service s000010.example.test endpoint ap-1", "drain region eu"), Now: judgeNow}
	in.Healthy = func(int32, int) bool { return true }
	for b.Loop() {
		if refused := base.JudgeDrain(in).Refused(false); len(refused) != 0 {
			b.Fatal(refused)
		}
	}
}
