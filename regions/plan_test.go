package regions

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

func TestBaseIndexes(t *testing.T) {
	b := NewBase(
		[]Region{{Name: "ap"}, {Name: "eu"}, {Name: "us"}},
		[]Policy{{Name: "nearest"}},
		[]Service{{Name: "*.example.test"}, {Name: "www.example.test"}},
		[]Target{{ID: TargetID("web", "192.0.2.1")}, {ID: TargetID("web", "2001:db8::1")}},
	)
	if i, ok := b.Region("eu"); !ok || i != 1 {
		t.Error("region eu", i, ok)
	}
	if i, ok := b.Service("www.example.test"); !ok || i != 1 {
		t.Error("service", i, ok)
	}
	if i, ok := b.Target("web@2001:db8::1"); !ok || i != 1 {
		t.Error("target", i, ok)
	}
	for _, missing := range []func() bool{
		func() bool { _, ok := b.Region("mars"); return ok },
		func() bool { _, ok := b.Service("example.test"); return ok },
		func() bool { _, ok := b.Target("tcp@192.0.2.1"); return ok },
	} {
		if missing() {
			t.Error("found what is not there")
		}
	}
	if got := b.RegionNames([]uint16{2, 0}); !slices.Equal(got, []string{"us", "ap"}) {
		t.Error(got)
	}
}

func TestTargetID(t *testing.T) {
	for _, c := range [][2]string{{"web", "192.0.2.1"}, {"web", "2001:db8::1"}, {"tcp-443", "www.example.test"}} {
		check, address, ok := SplitTargetID(TargetID(c[0], c[1]))
		if !ok || check != c[0] || address != c[1] {
			t.Errorf("%v came back as %q, %q, %v", c, check, address, ok)
		}
	}
	if _, _, ok := SplitTargetID("web"); ok {
		t.Error("a target without an address")
	}
}

func TestEndpointHas(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, c := range []struct {
		e      Endpoint
		v4, v6 bool
	}{
		{Endpoint{}, false, false},
		{Endpoint{Addr: [2]netip.Addr{v4, {}}}, true, false},
		{Endpoint{Addr: [2]netip.Addr{{}, v6}}, false, true},
		{Endpoint{Addr: [2]netip.Addr{v4, v6}}, true, true},
		{Endpoint{CNAME: "a.example.net."}, true, false},
	} {
		if c.e.Has(V4) != c.v4 || c.e.Has(V6) != c.v6 {
			t.Errorf("%+v has IPv4 %v, IPv6 %v", c.e, c.e.Has(V4), c.e.Has(V6))
		}
	}
}

// TestWords holds the words that people and the API see.
func TestWords(t *testing.T) {
	got := fmt.Sprint(
		[]Status{Unknown, Healthy, Unhealthy}, []Family{V4, V6}, []Action{ForceUp, Drain, ForceDown, Undrain},
		[]AllDown{ServeAll, ServeFallback, KeepLast},
		[]Decider{ByVerdict, ByNoCheck, ByNeverJudged, ByForceUp, ByDrain, ByForceDown, ByGuardHold, ByFailOpen, ByBreakGlass},
		[]Origin{ControlPlane, BreakGlass}, []HealthState{Fresh, Frozen, FailOpen},
	)
	const want = "[UNKNOWN HEALTHY UNHEALTHY] [IPv4 IPv6] [force-up drain force-down undrain] [serve-all serve-fallback keep-last]" +
		" [verdict no-check never-judged force-up drain force-down guard-hold fail-open break-glass]" +
		" [control-plane break-glass] [fresh frozen fail-open]"
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
