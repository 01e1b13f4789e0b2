package follow

import (
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/steer"
)

// verdictOf is the verdict that a target's state was made of, without its
// evidence (plan.TargetState).
func verdictOf(base *regions.Base, s steer.TargetState) health.Verdict {
	v := health.Verdict{
		Quorum: s.Verdict, Last: s.Verdict, Since: s.Since, Restored: s.Restored,
		Confirmed: s.Confirmed, Guard: s.GuardTrip, Wavering: s.Wavering,
	}
	for _, r := range s.Regions {
		v.Regions = append(v.Regions, health.RegionStanding{Region: base.Regions[r.Region].Name, Standing: r.Standing})
	}
	health.SortRegions(v.Regions)
	return v
}
