package config

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

// Bounds of what is stated of drains.
const (
	maxHeadroom = 1000 // percent
	maxQuiet    = 24 * time.Hour
	maxExpiry   = 366 * 24 * time.Hour
)

func (c *checker) drains(d *pb.DrainRules) {
	if d == nil {
		return
	}
	c.between("spec.drains.minRegions", d.GetMinRegions(), 0, MaxRegions)
	c.between("spec.drains.minRegionsPerService", d.GetMinRegionsPerService(), 0, MaxRegions)
	if d.MaxDrainedCapacityPercent != nil {
		c.between("spec.drains.maxDrainedCapacityPercent", d.GetMaxDrainedCapacityPercent(), 1, 100)
	}
	c.between("spec.drains.capacityHeadroomPercent", d.GetCapacityHeadroomPercent(), 0, maxHeadroom)
	c.optional("spec.drains.quietTime", d.GetQuietTime(), 0, 0, maxQuiet)
	c.expiry(d)
	rules := d.GetAbsoluteRules()
	for i, rule := range rules {
		if names := regions.DrainRuleNames(); !slices.Contains(names, rule) {
			c.addf(fmt.Sprintf("spec.drains.absoluteRules[%d]", i), "no safety rule %q%s", rule, wantOneOf(rule, names))
		}
	}
	c.unique("spec.drains.absoluteRules", rules)
}

// expiry checks how long drains stand. A default of 0 is for ever, as is none; only
// beside a longest time is none that longest time.
func (c *checker) expiry(d *pb.DrainRules) {
	const path = "spec.drains.defaultExpiry"
	longest, usual := d.GetMaxExpiry().AsDuration(), d.GetDefaultExpiry().AsDuration()
	ok := c.stands("spec.drains.maxExpiry", d.GetMaxExpiry()) && d.GetMaxExpiry() != nil
	switch {
	case d.GetDefaultExpiry() == nil || usual == 0 && !ok:
	case usual == 0:
		c.addf(path, "0s lets drains stand for ever, and maxExpiry is %s: want at most that", formatDuration(longest))
	case c.stands(path, d.GetDefaultExpiry()) && ok && usual > longest:
		c.addf(path, "%s is longer than maxExpiry, %s", formatDuration(usual), formatDuration(longest))
	}
}

// stands checks how long a drain may stand.
func (c *checker) stands(path string, d *durationpb.Duration) bool {
	if d == nil {
		return true
	}
	value := d.AsDuration()
	if d.CheckValid() != nil || value < time.Second || value > maxExpiry {
		c.addf(path, "%s is out of range: want 1s to %dh (366 days)", formatDuration(value), maxExpiry/time.Hour)
		return false
	}
	return true
}

// serviceSafety checks what drains must leave of a service.
func (c *checker) serviceSafety(s *pb.ServiceSpec) {
	least := s.GetSafety().GetMinRegions()
	if least == 0 {
		return
	}
	in := map[string]bool{}
	for _, e := range s.GetEndpoints() {
		in[e.GetRegion()] = true
	}
	if delete(in, ""); int(least) > len(in) && len(in) > 0 {
		c.addf("spec.safety.minRegions", "%d regions can never be in service, as the endpoints are in %d: want at most that", least, len(in))
	}
}

// drainRegions reports limits that ask for more regions than there are. Without
// any they cannot be told yet.
func (v *validator) drainRegions(key Key, d *pb.DrainRules) {
	all := v.set.Count(KindRegion)
	for _, limit := range []struct {
		path  string
		least uint32
	}{
		{"spec.drains.minRegions", d.GetMinRegions()},
		{"spec.drains.minRegionsPerService", d.GetMinRegionsPerService()},
	} {
		if all > 0 && int(limit.least) > all && limit.least <= MaxRegions {
			v.errs = append(v.errs, FieldError{
				Kind: key.Kind, Name: key.Name, Path: limit.path,
				Message: fmt.Sprintf("%d regions can never be in service, as there are %d: want at most that", limit.least, all),
			})
		}
	}
}
