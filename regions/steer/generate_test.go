package steer

import (
	"fmt"
	"net/netip"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead-dns/fairlead/regions"
)

var anyPercent = rapid.SampledFrom([]int{0, 0, 1, 34, 50, 51, 100})

// anyPolicy steers by a stated order, with rules whose prefixes lie in each
// other, so that clients differ without geo data.
func anyPolicy(t *rapid.T, name string, n int) regions.Policy {
	all := make([]uint16, n)
	for i := range all {
		all[i] = uint16(i)
	}
	order := rapid.Permutation(all)
	candidates := order.Draw(t, "candidates")
	// Now and then regions are left out, which an endpoint may lie in.
	candidates = candidates[:rapid.SampledFrom([]int{n, n, n, n, max(1, n-1), max(1, n-2)}).Draw(t, "stated")]
	p := regions.Policy{
		Name: name, ActivePassive: rapid.Bool().Draw(t, "active-passive"), Candidates: candidates,
		MaxAnswers: rapid.IntRange(1, 4).Draw(t, "maxAnswers"), MinHealthyPercent: anyPercent.Draw(t, "percent"),
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "rules") {
		p.Rules = append(p.Rules, regions.PolicyRule{
			Name:     fmt.Sprint("r", i),
			Prefixes: []netip.Prefix{anyPrefix(t)},
			Regions:  rapid.Permutation(candidates).Draw(t, "first")[:rapid.IntRange(1, len(candidates)).Draw(t, "how many")],
		})
	}
	return p
}

var anyByte = rapid.SampledFrom([]byte{0, 1, 2, 3, 64, 128, 192, 255})

// anyClient is from a small part of the address space, where the rules are.
func anyClient(t *rapid.T) netip.Addr {
	if rapid.Bool().Draw(t, "v6") {
		return netip.AddrFrom16([16]byte{0x20, 0x01, anyByte.Draw(t, "b"), anyByte.Draw(t, "b"), anyByte.Draw(t, "b"), 15: anyByte.Draw(t, "b")})
	}
	return netip.AddrFrom4([4]byte{10, anyByte.Draw(t, "b"), anyByte.Draw(t, "b"), anyByte.Draw(t, "b")})
}

func anyPrefix(t *rapid.T) netip.Prefix {
	a := anyClient(t)
	bits := rapid.SampledFrom([]int{8, 9, 15, 16, 17, 22, 24, 31, 32}).Draw(t, "bits")
	if a.Is6() {
		bits = rapid.SampledFrom([]int{16, 20, 24, 32, 33, 40, 48, 128}).Draw(t, "bits")
	}
	p, _ := a.Prefix(bits)
	return p
}

var (
	anyAZ     = rapid.SampledFrom([]string{"", "a", "b"})
	anyWeight = rapid.SampledFrom([]uint32{0, 1, 1, 100, 1<<20 - 1})
)

func anyStanding(t *rapid.T) regions.Standing {
	switch rapid.IntRange(0, 5).Draw(t, "verdict") {
	case 0:
		return regions.Standing{}
	case 1:
		return regions.Standing{Verdict: regions.Healthy, Since: epoch}
	case 2:
		return regions.Standing{Verdict: regions.Healthy, Restored: true, Since: epoch.Add(-time.Duration(rapid.IntRange(0, 30).Draw(t, "back")) * 5 * time.Second)}
	default:
		// Around the pauses that keep-last tells apart.
		return regions.Standing{Verdict: regions.Unhealthy, Since: epoch.Add(time.Duration(rapid.IntRange(0, 12).Draw(t, "since")) * 5 * time.Second)}
	}
}

func anyState(t *rapid.T, regionCount int) TargetState {
	s := TargetState{Standing: anyStanding(t)}
	if rapid.IntRange(0, 3).Draw(t, "more") > 0 {
		return s
	}
	s.Wavering = rapid.Bool().Draw(t, "wavering")
	s.GuardTrip = rapid.SampledFrom([]uint64{0, 0, 0, 7}).Draw(t, "guard")
	if rapid.Bool().Draw(t, "one-sided") {
		c := anyStanding(t)
		s.Confirmed = &c
	}
	for r := range uint16(regionCount) {
		if rapid.IntRange(0, 2).Draw(t, "sees") == 0 {
			s.Regions = append(s.Regions, RegionStanding{Region: r, Standing: anyStanding(t)})
		}
	}
	return s
}

func anyFailback(t *rapid.T) regions.Failback {
	f := regions.Failback{
		Manual:   rapid.IntRange(0, 3).Draw(t, "manual") == 0,
		HoldDown: time.Duration(rapid.SampledFrom([]int{0, 0, 30, 60}).Draw(t, "holdDown")) * time.Second,
	}
	if rapid.IntRange(0, 2).Draw(t, "ramp") == 0 {
		f.RampSteps, f.RampInterval = rapid.SampledFrom([][]int{{10}, {25, 50}, {10, 50, 75}}).Draw(t, "steps"), 30*time.Second
	}
	return f
}

// someBuckets has one bucket of each class that those steps can make.
var someBuckets = []int{0, 10, 25, 50, 75}

func anyService(t *rapid.T, name string, regionCount int, addTarget func() int32) regions.Service {
	s := regions.Service{
		Name: name, Zone: "example.test", TTL: 30, MinTTL: 7, Failback: anyFailback(t),
		ClientRegionVerdicts: rapid.IntRange(0, 2).Draw(t, "client-region") == 0, Policy: uint16(rapid.IntRange(0, 1).Draw(t, "policy")),
		Checked:     rapid.IntRange(0, 9).Draw(t, "checked") > 0,
		AllDown:     regions.AllDown(rapid.IntRange(0, 2).Draw(t, "allDown")),
		NeverJudged: regions.Status(rapid.IntRange(1, 2).Draw(t, "never judged")),
		Independent: rapid.Bool().Draw(t, "independent"),
		Names:       rapid.IntRange(0, 5).Draw(t, "names") == 0,
		Spread:      time.Duration(rapid.SampledFrom([]int{0, 12, 21}).Draw(t, "spread")) * time.Second,
	}
	fallback := func(a netip.Addr, f regions.Family) {
		if !s.Names && rapid.Bool().Draw(t, "fallback") {
			s.Fallback[f] = append(s.Fallback[f], a)
		}
	}
	if s.AllDown == regions.ServeFallback {
		if s.Names {
			s.FallbackName = "sorry.example.net."
		}
		fallback(addr4(200), regions.V4)
		fallback(addr4(201), regions.V4)
		fallback(addr6(200), regions.V6)
	}
	for i := range rapid.IntRange(0, 7).Draw(t, "endpoints") {
		e := regions.Endpoint{
			Name: fmt.Sprint("e", i), Region: uint16(rapid.IntRange(0, regionCount-1).Draw(t, "region")),
			AvailabilityZone: anyAZ.Draw(t, "az"), Weight: anyWeight.Draw(t, "weight"), Target: [2]int32{-1, -1},
		}
		families := rapid.IntRange(1, 3).Draw(t, "families")
		if s.Names {
			families, e.CNAME = 1, e.Name+".example.net."
		}
		for f := range 2 {
			if families&(1<<f) == 0 {
				continue
			}
			if !s.Names {
				e.Addr[f] = [...]netip.Addr{addr4(i), addr6(i)}[f]
			}
			if s.Checked {
				e.Target[f] = addTarget()
			}
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return s
}

var scopeName = rapid.SampledFrom([]string{"", "", "", "x"})

func anyOverride(t *rapid.T, id string, regionCount int) regions.Override {
	o := regions.Override{
		ID: id, Action: regions.Action(rapid.IntRange(0, 2).Draw(t, "action")),
		Origin: regions.Origin(rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "origin")),
	}
	if o.Origin == regions.BreakGlass && rapid.Bool().Draw(t, "undrain") {
		o.Action = regions.Undrain
	}
	if scopeName.Draw(t, "by region") == "" {
		o.Scope.Region = regionNames[rapid.IntRange(0, regionCount-1).Draw(t, "region")]
		o.Scope.AvailabilityZone = anyAZ.Draw(t, "az")
	} else {
		o.Scope.Service = rapid.SampledFrom([]string{"a.example.test", "b.example.test"}).Draw(t, "service")
		if scopeName.Draw(t, "by endpoint") == "" {
			o.Scope.Endpoint = fmt.Sprint("e", rapid.IntRange(0, 6).Draw(t, "endpoint"))
		}
	}
	return o
}

// anyWorld has two services under two policies, which may share targets.
func anyWorld(t *rapid.T) *world {
	n := rapid.IntRange(1, 4).Draw(t, "regions")
	list := []regions.Region{
		{Name: "eu", Latitude: 50.1, Longitude: 8.7}, {Name: "us", Latitude: 38.9, Longitude: -77.4},
		{Name: "ap", Latitude: 35.7, Longitude: 139.7}, {Name: "sa", Latitude: -23.5, Longitude: -46.6},
	}[:n]
	w := &world{plan: &regions.Plan{}}
	var targets []regions.Target
	service := int32(0)
	addTarget := func() int32 {
		i := len(targets)
		if i > 0 && rapid.IntRange(0, 3).Draw(t, "shared") == 0 {
			i = rapid.IntRange(0, i-1).Draw(t, "target")
		} else {
			targets = append(targets, regions.Target{ID: fmt.Sprintf("web@%d", i), Check: "web"})
			w.states = append(w.states, anyState(t, n))
		}
		if s := targets[i].Services; len(s) == 0 || s[len(s)-1] != service {
			targets[i].Services = append(s, service)
		}
		return int32(i)
	}
	policies := []regions.Policy{anyPolicy(t, "one", n), anyPolicy(t, "two", n)}
	services := []regions.Service{anyService(t, "a.example.test", n, addTarget)}
	service = 1
	services = append(services, anyService(t, "b.example.test", n, addTarget))
	for i := range rapid.IntRange(0, 3).Draw(t, "overrides") {
		w.plan.Overrides = append(w.plan.Overrides, anyOverride(t, fmt.Sprint("o", i), n))
	}
	w.plan.Base = regions.NewBase(list, policies, services, targets)
	w.now = epoch.Add(time.Duration(rapid.IntRange(0, 30).Draw(t, "now")) * 5 * time.Second)
	w.failOpen = rapid.IntRange(0, 9).Draw(t, "fail-open") == 0
	w.latches = anyLatches(t, n)
	w.plan.Releases, w.plan.ReleasedAt = map[string]uint64{}, map[string]time.Time{}
	for _, l := range anyLatches(t, n) {
		w.plan.Releases[l.Name()], w.plan.ReleasedAt[l.Name()] = l.Trip, l.Since
	}
	return w
}

func anyLatches(t *rapid.T, regionCount int) []regions.Latch {
	var list []regions.Latch
	for range rapid.IntRange(0, 3).Draw(t, "latches") {
		list = append(list, regions.Latch{
			Service: rapid.SampledFrom([]string{"a.example.test", "b.example.test"}).Draw(t, "service"),
			Region:  regionNames[rapid.IntRange(0, regionCount-1).Draw(t, "region")], Trip: uint64(rapid.IntRange(1, 2).Draw(t, "trip")),
			Since: epoch.Add(time.Duration(rapid.IntRange(-10, 20).Draw(t, "at")) * 5 * time.Second),
		})
	}
	return list
}
