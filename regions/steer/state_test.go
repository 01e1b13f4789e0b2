package steer

import (
	"net/netip"
	"testing"

	"github.com/fairlead-dns/fairlead/regions"
)

// TestWhoseVerdict: active-passive follows what is confirmed, active-active
// what was decided, and client-region verdicts what the client's region sees.
func TestWhoseVerdict(t *testing.T) {
	prefix := func(text string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(text)} }
	active := regions.Policy{Candidates: []uint16{eu, us}, Rules: []regions.PolicyRule{
		{Name: "american", Prefixes: prefix("198.51.100.0/24"), Regions: []uint16{us}},
	}}
	passive := active
	passive.ActivePassive = true
	mine := regions.Service{ClientRegionVerdicts: true}
	european, american := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1")
	for _, c := range []struct {
		name               string
		policy             regions.Policy
		service            regions.Service
		endpoints          []string
		european, american string
		scoped             bool // the answer is not for everybody
	}{
		{
			"active-active takes what is not confirmed", active, regions.Service{}, []string{"eu-1 down - confirmed=up", "us-1 up -"},
			"in-service us: us-1", "in-service us: us-1", false,
		},
		{
			"active-passive does not", passive, regions.Service{}, []string{"eu-1 down - confirmed=up", "us-1 up -"},
			"in-service eu: eu-1", "in-service us: us-1", true,
		},
		{
			"nor a recovery", passive, regions.Service{}, []string{"eu-1 up - confirmed=down", "us-1 up -"},
			"in-service us: us-1", "in-service us: us-1", false,
		},
		{
			"never confirmed is never judged", passive, regions.Service{NeverJudged: regions.Unhealthy}, []string{"eu-1 up - confirmed=never", "us-1 up -"},
			"in-service us: us-1", "in-service us: us-1", false,
		},
		{
			"global verdicts", active, regions.Service{}, []string{"eu-1 up -", "us-1 up - eu=down"},
			"in-service eu: eu-1", "in-service us: us-1", true,
		},
		{
			"the client's region sees a region down", active, mine, []string{"eu-1 up - us=down", "us-1 up - eu=down"},
			"in-service eu: eu-1", "in-service us: us-1", true,
		},
		{
			"and sees its own down", active, mine, []string{"eu-1 up - eu=down", "us-1 up -"},
			"in-service us: us-1", "in-service us: us-1", false,
		},
		{
			"or up", active, mine, []string{"eu-1 down - eu=up", "us-1 up -"},
			"in-service eu: eu-1", "in-service us: us-1", true,
		},
		{
			"each keeps to itself", active, mine, []string{"eu-1 down - eu=up", "us-1 down - us=up"},
			"in-service eu: eu-1", "in-service us: us-1", true,
		},
		{
			"in the ladder of each", active, mine, []string{"eu-1 up - eu=down", "us-1 up - eu=down"},
			"all-down: serve-all eu: eu-1", "in-service us: us-1", true,
		},
		{
			"a witness is no client's region", active, mine, []string{"eu-1 up - ap=down", "us-1 up - ap=down"},
			"in-service eu: eu-1", "in-service us: us-1", true,
		},
		{
			"a vantage that cannot tell", active, mine, []string{"eu-1 down - eu=never", "us-1 up -"},
			"in-service us: us-1", "in-service us: us-1", false,
		},
		{
			"the guard goes before", active, mine, []string{"eu-1 up - guard=2 eu=down", "us-1 up -"},
			"in-service eu: eu-1", "in-service us: us-1", true,
		},
		{
			"active-passive rankings do not tell where clients are", passive, mine, []string{"eu-1 up - eu=down", "us-1 up -"},
			"in-service eu: eu-1", "in-service us: us-1", true,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := worldOf(t, c.policy, c.service, c.endpoints...).view(t)
			if got := describe(v, 0, regions.V4, european); got != c.european {
				t.Errorf("in Europe: %s, want %s", got, c.european)
			}
			if got := describe(v, 0, regions.V4, american); got != c.american {
				t.Errorf("in America: %s, want %s", got, c.american)
			}
			if got := v.Select(0, regions.V4, european, 1, nil).Scope; (got > 0) != c.scoped {
				t.Errorf("scope %d; for everybody: %v", got, !c.scoped)
			}
		})
	}
}
