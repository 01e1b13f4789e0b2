package follow

import (
	"testing"

	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
)

func TestAgree(t *testing.T) {
	up := regions.Standing{Verdict: regions.Healthy}
	back := regions.Standing{Verdict: regions.Healthy, Restored: true}
	down := regions.Standing{Verdict: regions.Unhealthy}
	in := func(r string, s regions.Standing) []health.RegionStanding {
		return []health.RegionStanding{{Region: r, Standing: s}}
	}
	healthy := health.Verdict{Last: regions.Healthy}
	for name, c := range map[string]struct {
		w    health.Verdict
		want bool
	}{
		"the same":                   {healthy, true},
		"another verdict":            {health.Verdict{Last: regions.Unhealthy}, false},
		"restored":                   {health.Verdict{Last: regions.Healthy, Restored: true}, true},
		"restored but for a region":  {health.Verdict{Last: regions.Healthy, Restored: true, Regions: in("r", up)}, true},
		"a region restored":          {health.Verdict{Last: regions.Healthy, Regions: in("r", back)}, true},
		"a region otherwise":         {health.Verdict{Last: regions.Healthy, Regions: in("r", down)}, false},
		"confirmed, restored":        {health.Verdict{Last: regions.Healthy, Confirmed: &back}, true},
		"otherwise confirmed":        {health.Verdict{Last: regions.Healthy, Confirmed: &down}, false},
		"held by the guard":          {health.Verdict{Last: regions.Healthy, Guard: 1}, false},
		"wavering, for a moment yet": {health.Verdict{Last: regions.Healthy, Wavering: true}, true},
	} {
		if got := agree(healthy, c.w); got != c.want || agree(c.w, healthy) != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
