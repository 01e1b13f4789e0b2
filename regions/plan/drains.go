package plan

import (
	"slices"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

// drainRules returns the limits that a policy states; the defaults where it does
// not. Where a longest time is stated and no default, that is the default: a
// drain for ever would be refused.
func drainRules(d *pb.DrainRules) regions.DrainRules {
	out := regions.DefaultSafety().Drains
	if d == nil {
		return out
	}
	setNumber(&out.MinRegions, d.MinRegions, regions.MaxRegions)
	setNumber(&out.MinRegionsPerService, d.MinRegionsPerService, regions.MaxRegions)
	setNumber(&out.MaxDrainedPercent, d.MaxDrainedCapacityPercent, 100)
	setNumber(&out.HeadroomPercent, d.CapacityHeadroomPercent, maxHeadroom)
	setPositive(&out.QuietTime, d.GetQuietTime())
	setPositive(&out.MaxExpiry, d.GetMaxExpiry())
	out.DefaultExpiry = out.MaxExpiry
	setPositive(&out.DefaultExpiry, d.GetDefaultExpiry())
	if out.MaxExpiry > 0 {
		out.DefaultExpiry = min(out.DefaultExpiry, out.MaxExpiry)
	}
	// A name of a newer version's rule is none that is judged here.
	out.Absolute = slices.Clone(d.GetAbsoluteRules())
	return out
}

// maxHeadroom is the most headroom that may be asked for, in percent.
const maxHeadroom = 1000

func setNumber(n *int, stated *uint32, most uint32) {
	if stated != nil {
		*n = int(min(*stated, most))
	}
}

// drainsOf fills in what drains must leave of a service.
func drainsOf(s *pb.ServiceSafety, svc *regions.Service) {
	svc.MinRegions, svc.Protected, svc.Demand = -1, s.GetProtected(), s.GetDemand()
	if s != nil {
		setNumber(&svc.MinRegions, s.MinRegions, regions.MaxRegions)
	}
}
