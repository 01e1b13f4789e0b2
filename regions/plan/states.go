package plan

import (
	"cmp"
	"slices"

	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/steer"
)

// TargetState returns what steering needs to know of a verdict. The zero
// verdict was never passed. Vantages in regions that the base does not have are
// nobody's.
func TargetState(base *regions.Base, v health.Verdict) steer.TargetState {
	s := steer.TargetState{Standing: v.Standing(), Confirmed: v.Confirmed, GuardTrip: v.Guard, Wavering: v.Wavering}
	for _, r := range v.Regions {
		if i, ok := base.Region(r.Region); ok {
			s.Regions = append(s.Regions, steer.RegionStanding{Region: i, Standing: r.Standing})
		}
	}
	slices.SortFunc(s.Regions, func(a, b steer.RegionStanding) int { return cmp.Compare(a.Region, b.Region) })
	return s
}
