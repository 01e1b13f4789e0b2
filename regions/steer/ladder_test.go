package steer

import (
	"net/netip"
	"testing"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
)

// TestLadder goes through the rungs. Everybody's ranking is eu, us, ap.
func TestLadder(t *testing.T) {
	together, independent := regions.Service{}, regions.Service{Independent: true}
	half := regions.Policy{MinHealthyPercent: 50}
	keepLast := regions.Service{AllDown: regions.KeepLast}
	fallback := func(addrs ...string) regions.Service {
		s := regions.Service{AllDown: regions.ServeFallback}
		for _, text := range addrs {
			a := netip.MustParseAddr(text)
			f := regions.V6
			if a.Is4() {
				f = regions.V4
			}
			s.Fallback[f] = append(s.Fallback[f], a)
		}
		return s
	}
	sorry4, sorry6 := "203.0.113.1", "2001:db8:ffff::1"
	const noV6 = "none"
	for _, c := range []struct {
		name      string
		policy    regions.Policy
		service   regions.Service
		endpoints []string
		a, aaaa   string
	}{
		{
			"first region in service", regions.Policy{}, together, []string{"us-1 up -", "eu-1 up -", "eu-2 up -", "ap-1 up -"},
			"in-service eu: eu-1 eu-2", noV6,
		},
		{
			"within it only the healthy", regions.Policy{}, together, []string{"eu-1 down -", "eu-2 up -", "us-1 up -"},
			"in-service eu: eu-2", noV6,
		},
		{
			"next region", regions.Policy{}, together, []string{"eu-1 down -", "eu-2 down -", "us-1 up -"},
			"in-service us: us-1", noV6,
		},
		{
			"never judged counts as healthy", regions.Policy{}, together, []string{"eu-1 never -", "us-1 up -"},
			"in-service eu: eu-1", noV6,
		},
		{
			"never judged counts as unhealthy", regions.Policy{}, regions.Service{NeverJudged: regions.Unhealthy}, []string{"eu-1 never -", "us-1 up -"},
			"in-service us: us-1", noV6,
		},
		{
			"force-up", regions.Policy{}, together, []string{"eu-1 down - force-up", "us-1 up -"},
			"in-service eu: eu-1", noV6,
		},
		{
			"a drained region is passed over", regions.Policy{}, together, []string{"eu-1 up - drain", "us-1 up -"},
			"in-service us: us-1", noV6,
		},
		{
			"drain over force-up", regions.Policy{}, together, []string{"eu-1 up - drain force-up", "us-1 up -"},
			"in-service us: us-1", noV6,
		},
		{
			"forced down", regions.Policy{}, together, []string{"eu-1 up - force-down force-up", "eu-2 up -"},
			"in-service eu: eu-2", noV6,
		},

		{
			"share just met", half, together, []string{"eu-1 up -", "eu-2 down -", "us-1 up -"},
			"in-service eu: eu-1", noV6,
		},
		{
			"share missed", half, together, []string{"eu-1 up -", "eu-2 down -", "eu-3 down -", "us-1 up -"},
			"in-service us: us-1", noV6,
		},
		{
			"the drained do not count in the share", half, together, []string{"eu-1 up -", "eu-2 down - drain", "eu-3 down - drain", "us-1 up -"},
			"in-service eu: eu-1", noV6,
		},
		{
			"nor do the forced down", half, together, []string{"eu-1 up -", "eu-2 up - force-down", "eu-3 up - force-down", "us-1 up -"},
			"in-service eu: eu-1", noV6,
		},
		{
			"no region has its share", half, together, []string{"eu-1 up -", "eu-2 down -", "eu-3 down -", "us-1 down -"},
			"healthy-anywhere eu: eu-1", noV6,
		},
		{
			"no region has its share, only a far one has any", half, together, []string{"eu-1 down -", "us-1 up - ", "us-2 down -", "us-3 down -"},
			"healthy-anywhere us: us-1", noV6,
		},
		{
			"healthy below the share goes before drained", half, together, []string{"eu-1 up - drain", "us-1 up -", "us-2 down -", "us-3 down -"},
			"healthy-anywhere us: us-1", noV6,
		},
		{
			"all of the share", regions.Policy{MinHealthyPercent: 100}, together, []string{"eu-1 up -", "eu-2 down -", "us-1 up -", "us-2 up -"},
			"in-service us: us-1 us-2", noV6,
		},

		{
			"drained is the last resort", regions.Policy{}, together, []string{"eu-1 up - drain", "us-1 down -"},
			"drained eu: eu-1", noV6,
		},
		{
			"drained: the first region of the ranking", regions.Policy{}, together, []string{"us-1 up - drain", "ap-1 up - drain", "eu-1 down -"},
			"drained us: us-1", noV6,
		},
		{
			"drained and unhealthy is not", regions.Policy{}, together, []string{"eu-1 down - drain", "us-1 up - drain"},
			"drained us: us-1", noV6,
		},
		{
			"drained and forced down never", regions.Policy{}, together, []string{"eu-1 up - drain force-down", "us-1 down -"},
			"all-down: serve-all us: us-1", noV6,
		},

		{
			"serve all", regions.Policy{}, together, []string{"eu-1 down -", "eu-2 down -", "us-1 down -"},
			"all-down: serve-all eu: eu-1 eu-2", noV6,
		},
		{
			"serve all of the undrained", regions.Policy{}, together, []string{"eu-1 down - drain", "us-1 down -"},
			"all-down: serve-all us: us-1", noV6,
		},
		{
			"serve all, when all are drained", regions.Policy{}, together, []string{"eu-1 down - drain", "us-1 down - drain"},
			"all-down: serve-all eu: eu-1", noV6,
		},
		{
			"serve all but the forced down", regions.Policy{}, together, []string{"eu-1 down - force-down", "eu-2 down -"},
			"all-down: serve-all eu: eu-2", noV6,
		},
		{"all forced down", regions.Policy{}, together, []string{"eu-1 up up force-down", "us-1 down - force-down"}, "none", "none"},
		{"no endpoint at all", regions.Policy{}, together, nil, "none", "none"},

		{
			"fallback", regions.Policy{}, fallback(sorry4, "203.0.113.2"), []string{"eu-1 down -"},
			"all-down: serve-fallback: 203.0.113.1 203.0.113.2", noV6,
		},
		{
			"no fallback while any is healthy", regions.Policy{}, fallback(sorry4, sorry6), []string{"eu-1 down down", "us-1 up up drain"},
			"drained us: us-1", "drained us: us-1",
		},
		{
			"fallback in both families", regions.Policy{}, fallback(sorry4, sorry6), []string{"eu-1 down down"},
			"all-down: serve-fallback: " + sorry4, "all-down: serve-fallback: " + sorry6,
		},
		{
			"fallback without the family", regions.Policy{}, fallback(sorry4), []string{"eu-1 down down", "us-1 down down drain"},
			"all-down: serve-fallback: " + sorry4, "all-down: serve-all eu: eu-1",
		},
		{
			"fallback for a family without endpoints, nobody is down", regions.Policy{}, fallback(sorry4, sorry6), []string{"eu-1 up -"},
			"in-service eu: eu-1", noV6,
		},
		{
			"the same with independent families", regions.Policy{}, func() regions.Service { s := fallback(sorry4, sorry6); s.Independent = true; return s }(),
			[]string{"eu-1 up -"}, "in-service eu: eu-1", noV6,
		},
		{
			"fallback for a family without endpoints, all is down", regions.Policy{}, fallback(sorry4, sorry6), []string{"eu-1 down -"},
			"all-down: serve-fallback: " + sorry4, "all-down: serve-fallback: " + sorry6,
		},
		{
			"fallback when all are forced down", regions.Policy{}, fallback(sorry4), []string{"eu-1 up - force-down"},
			"all-down: serve-fallback: " + sorry4, noV6,
		},
		{
			"fallback for one family, the other is healthy", regions.Policy{}, fallback(sorry4, sorry6), []string{"eu-1 up down"},
			"in-service eu: eu-1", "all-down: serve-fallback: " + sorry6,
		},

		{
			"keep last", regions.Policy{}, keepLast, []string{"eu-1 down - at=1m", "eu-2 down - at=30m", "us-1 down - at=10m"},
			"all-down: keep-last eu: eu-2", noV6,
		},
		{
			"keep last: a region", regions.Policy{}, keepLast, []string{"eu-1 down - at=1m", "us-1 down - at=10m", "us-2 down - at=10m4s", "ap-1 down - at=10m7s"},
			"all-down: keep-last us: us-1 us-2", noV6,
		},
		{
			"keep last: one after the other is together", regions.Policy{}, keepLast, []string{"eu-1 down - at=10m", "eu-2 down - at=10m9s", "eu-3 down - at=10m18s", "eu-4 down - at=9m49s"},
			"all-down: keep-last eu: eu-1 eu-2 eu-3", noV6,
		},
		{
			"keep last: with a slow check", regions.Policy{}, regions.Service{AllDown: regions.KeepLast, Spread: 65 * time.Second},
			[]string{"eu-1 down - at=10m", "eu-2 down - at=11m", "eu-3 down - at=8m"},
			"all-down: keep-last eu: eu-1 eu-2", noV6,
		},
		{
			"keep last: not the drained", regions.Policy{}, keepLast, []string{"eu-1 down - at=10m drain", "us-1 down - at=1m"},
			"all-down: keep-last us: us-1", noV6,
		},
		{
			"keep last: nor the forced down", regions.Policy{}, keepLast, []string{"eu-1 down - at=10m force-down", "us-1 down - at=1m"},
			"all-down: keep-last us: us-1", noV6,
		},
		{
			"keep last: never judged was never up", regions.Policy{}, regions.Service{AllDown: regions.KeepLast, NeverJudged: regions.Unhealthy},
			[]string{"eu-1 never -", "us-1 down - at=1m"},
			"all-down: keep-last us: us-1", noV6,
		},
		{
			"keep last: none was ever judged", regions.Policy{}, regions.Service{AllDown: regions.KeepLast, NeverJudged: regions.Unhealthy},
			[]string{"eu-1 never -", "us-1 never -"},
			"all-down: keep-last eu: eu-1", noV6,
		},
		{
			"keep last: each family has its own, in one region", regions.Policy{}, keepLast,
			[]string{"eu-1 down down at=10m", "us-1 down - at=1m"},
			"all-down: keep-last eu: eu-1", "all-down: keep-last eu: eu-1",
		},
		{
			"keep last: an endpoint fell when its last family did", regions.Policy{}, keepLast,
			[]string{"eu-1 down down at=1m at6=20m", "us-1 down - at=10m"},
			"all-down: keep-last us: us-1", "all-down: keep-last eu: eu-1",
		},

		{
			"weight 0 waits", regions.Policy{}, together, []string{"eu-1 up - w=0", "eu-2 up - w=5"},
			"in-service eu: eu-2", noV6,
		},
		{
			"weight 0 takes over", regions.Policy{}, together, []string{"eu-1 up - w=0", "eu-2 down - w=5", "us-1 up -"},
			"in-service eu: eu-1", noV6,
		},
		{
			"all of weight 0", regions.Policy{}, together, []string{"eu-1 up - w=0", "eu-2 up - w=0"},
			"in-service eu: eu-1 eu-2", noV6,
		},

		{
			"both families from one region", regions.Policy{}, together, []string{"eu-1 up up", "us-1 up up"},
			"in-service eu: eu-1", "in-service eu: eu-1",
		},
		{
			"v6 dead in the near region", regions.Policy{}, together, []string{"eu-1 up down", "us-1 up up"},
			"in-service eu: eu-1", "in-service us: us-1",
		},
		{
			"v6 dead near, and no v6 in the next region", regions.Policy{}, together, []string{"eu-1 up down", "us-1 up -", "ap-1 up up"},
			"in-service eu: eu-1", "in-service ap: ap-1",
		},
		{
			"v6 not configured near", regions.Policy{}, together, []string{"eu-1 up -", "us-1 up up"},
			"in-service eu: eu-1", "none",
		},
		{
			"v6 not configured near, independent", regions.Policy{}, independent, []string{"eu-1 up -", "us-1 up up"},
			"in-service eu: eu-1", "in-service us: us-1",
		},
		{
			"v6 not configured near, and near is down", regions.Policy{}, together, []string{"eu-1 down -", "us-1 up up"},
			"in-service us: us-1", "in-service us: us-1",
		},
		{
			"v4 not configured near", regions.Policy{}, together, []string{"eu-1 - up", "us-1 up up"},
			"in-service us: us-1", "in-service eu: eu-1",
		},
		{
			"v4 dead near holds the region by v6", regions.Policy{}, together, []string{"eu-1 down up", "us-1 up up"},
			"in-service us: us-1", "in-service eu: eu-1",
		},
		{
			"families on different endpoints of a region", regions.Policy{}, together, []string{"eu-1 down -", "eu-2 - up", "us-1 up up"},
			"in-service us: us-1", "in-service eu: eu-2",
		},
		{
			"the share is of each family", half, together, []string{"eu-1 up up", "eu-2 up down", "eu-3 up down", "us-1 up up"},
			"in-service eu: eu-1 eu-2 eu-3", "in-service us: us-1",
		},
		{
			"v6 dead everywhere stays in the region", regions.Policy{}, together, []string{"eu-1 down down", "us-1 up down"},
			"in-service us: us-1", "all-down: serve-all us: us-1",
		},
		{
			"v6 dead everywhere, independent", regions.Policy{}, independent, []string{"eu-1 down down", "us-1 up down"},
			"in-service us: us-1", "all-down: serve-all eu: eu-1",
		},
		{
			"v6 drained near", regions.Policy{}, together, []string{"eu-1 up -", "eu-2 - up drain", "us-1 up up"},
			"in-service eu: eu-1", "in-service us: us-1",
		},

		{
			"an endpoint outside of the policy gets nothing", regions.Policy{}, together, []string{"sa-1 up -", "ap-1 up -"},
			"in-service ap: ap-1", noV6,
		},
		{
			"unless nothing else is healthy", regions.Policy{}, together, []string{"sa-1 up -", "ap-1 down -"},
			"in-service sa: sa-1", noV6,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := worldOf(t, c.policy, c.service, c.endpoints...).view(t)
			if got := describe(v, 0, regions.V4, anyone); got != c.a {
				t.Errorf("A: %s, want %s", got, c.a)
			}
			if got := describe(v, 0, regions.V6, anyone); got != c.aaaa {
				t.Errorf("AAAA: %s, want %s", got, c.aaaa)
			}
		})
	}
}

// TestNames: a service whose endpoints are names is answered one CNAME.
func TestNames(t *testing.T) {
	for _, c := range []struct {
		name      string
		service   regions.Service
		endpoints []string
		want      string
		rung      Rung
	}{
		{"nearest", regions.Service{Names: true}, []string{"eu-1 up -", "us-1 up -"}, "eu-1.example.net.", InService},
		{"next", regions.Service{Names: true}, []string{"eu-1 down -", "us-1 up -"}, "us-1.example.net.", InService},
		{"all down", regions.Service{Names: true}, []string{"eu-1 down -", "us-1 down -"}, "eu-1.example.net.", AllDownServeAll},
		{
			"fallback", regions.Service{Names: true, AllDown: regions.ServeFallback, FallbackName: "sorry.example.net."},
			[]string{"eu-1 down -", "us-1 down -"}, "sorry.example.net.", AllDownFallback,
		},
		{"weight 0", regions.Service{Names: true}, []string{"eu-1 up - w=0", "eu-2 up - w=1"}, "eu-2.example.net.", InService},
		{"forced down", regions.Service{Names: true}, []string{"eu-1 up - force-down"}, "", None},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := worldOf(t, regions.Policy{}, c.service, c.endpoints...).view(t)
			sel := v.Select(0, regions.V4, anyone, 42, nil)
			if sel.CNAME != c.want || sel.Rung != c.rung || len(sel.Addrs) != 0 || sel.TTL != 30 {
				t.Errorf("%+v, want %q on %v", sel, c.want, c.rung)
			}
		})
	}
}

// TestFamilyConfigurationAlone: two services that differ only in families
// differ only where the design says so.
func TestFamilyConfigurationAlone(t *testing.T) {
	endpoints := []string{"eu-1 up -", "eu-2 - down", "us-1 up up"}
	together := worldOf(t, regions.Policy{}, regions.Service{}, endpoints...).view(t)
	independent := worldOf(t, regions.Policy{}, regions.Service{Independent: true}, endpoints...).view(t)
	a, b := together.Select(0, regions.V6, anyone, 1, nil), independent.Select(0, regions.V6, anyone, 1, nil)
	if a.Region != us || a.Preferred != eu || b.Region != us || b.Preferred != us {
		t.Errorf("together %+v, independent %+v", a, b)
	}
	a, b = together.Select(0, regions.V4, anyone, 1, nil), independent.Select(0, regions.V4, anyone, 1, nil)
	if a.Region != eu || b.Region != eu || a.Addrs[0] != b.Addrs[0] {
		t.Errorf("together %+v, independent %+v", a, b)
	}
}
