package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

// drainUse is what the rules for drains are about. It is looked at only where
// some are stated.
type drainUse struct {
	rules *pb.DrainRules
	// capacity of the regions that have endpoints.
	capacity map[string]uint64
	// about: one of these regions, or the policy, was given.
	about bool

	protected, demanding sample
	protectedIn          map[string]bool
	demand               float64
}

// drainsOfServices looks at the services again and warns of what they state of
// drains.
func (w *warner) drainsOfServices(list []named) {
	policy := Key{KindSafetyPolicy, SafetyPolicyName}
	u := &w.drains
	u.rules, u.about = w.set.Get(policy).GetSafetyPolicy().GetSpec().GetDrains(), w.given[policy]
	if u.rules == nil && !w.safetyStated {
		return
	}
	u.capacity, u.protectedIn = map[string]uint64{}, map[string]bool{}
	all := w.set.Count(KindRegion)
	for _, n := range list {
		s := n.r.GetService().GetSpec()
		for _, e := range s.GetEndpoints() {
			if len(u.capacity) == all {
				break
			}
			u.capacity[e.GetRegion()] = w.set.region(e.GetRegion()).GetSpec().GetCapacity()
		}
		if s.GetSafety() != nil {
			w.drainsOfService(Key{KindService, n.name}, s)
		}
	}
	for name := range u.capacity {
		u.about = u.about || w.given[Key{KindRegion, name}]
	}
	if !w.safetyStated || len(u.protectedIn) < len(u.capacity) {
		return
	}
	for _, n := range list {
		if n.r.GetService().GetSpec().GetSafety().GetProtected() {
			w.add(Key{KindService, n.name}, "spec.safety.protected", "every region has endpoints of a protected service, so no region can be drained as a whole"+
				u.byForce(regions.RuleProtectedService), u.about || len(u.protected.given) > 0)
		}
	}
}

func (w *warner) drainsOfService(key Key, s *pb.ServiceSpec) {
	u, given, own := &w.drains, w.given[key], map[string]bool{}
	for _, e := range s.GetEndpoints() {
		own[e.GetRegion()] = true
	}
	if least := s.GetSafety().GetMinRegions(); least > 0 && int(least) >= len(own) {
		w.add(key, "spec.safety.minRegions", "is the number of its regions, so none of them can be drained for it"+u.byForce(regions.RuleMinRegionsPerService), false)
	}
	if s.GetSafety().GetProtected() {
		u.protected.add(key.Name, given)
		maps.Copy(u.protectedIn, own)
	}
	if s.GetSafety().GetDemand() == 0 {
		return
	}
	u.demanding.add(key.Name, given)
	u.demand += float64(s.GetSafety().GetDemand())
	if u.rules == nil || u.rules.CapacityHeadroomPercent == nil {
		w.add(key, "spec.safety.demand", "has no effect while the safety policy does not state drains.capacityHeadroomPercent, as 20", w.given[Key{KindSafetyPolicy, SafetyPolicyName}])
	}
}

// byForce is the end of a sentence on what cannot be done.
func (u *drainUse) byForce(rule string) string {
	if slices.Contains(u.rules.GetAbsoluteRules(), rule) {
		return " at all: the safety policy makes " + rule + " absolute"
	}
	return " without --force"
}

// drainsOfPolicy warns of rules that let no region be drained, or refuse nothing.
func (w *warner) drainsOfPolicy() {
	u, key := &w.drains, Key{KindSafetyPolicy, SafetyPolicyName}
	if u.rules == nil {
		return
	}
	n := len(u.capacity)
	for _, limit := range []struct {
		path, rule string
		least      uint32
	}{
		{"spec.drains.minRegions", regions.RuleMinRegions, u.rules.GetMinRegions()},
		{"spec.drains.minRegionsPerService", regions.RuleMinRegionsPerService, u.rules.GetMinRegionsPerService()},
	} {
		if n > 0 && int(limit.least) >= n {
			w.addf(key, limit.path, u.about, "is %d, and the regions with endpoints number %d: none can be drained%s", limit.least, n, u.byForce(limit.rule))
		}
	}
	u.sizes(w, key)
	stated := map[string]bool{
		regions.RuleMinRegions:           u.rules.MinRegions == nil || u.rules.GetMinRegions() > 0,
		regions.RuleMinRegionsPerService: u.rules.MinRegionsPerService == nil || u.rules.GetMinRegionsPerService() > 0 || w.safetyStated,
		regions.RuleMaxDrainedCapacity:   u.rules.MaxDrainedCapacityPercent != nil && u.rules.GetMaxDrainedCapacityPercent() < 100,
		regions.RuleCapacityDemand:       u.rules.CapacityHeadroomPercent != nil,
		regions.RuleProtectedService:     u.protected.n > 0,
		regions.RuleQuietTime:            u.rules.GetQuietTime().AsDuration() > 0,
	}
	var idle []string
	for _, rule := range u.rules.GetAbsoluteRules() {
		if !stated[rule] {
			idle = append(idle, rule)
		}
	}
	if len(idle) > 0 {
		w.addf(key, "spec.drains.absoluteRules", len(u.protected.given) > 0, "nothing states %s, so there is nothing to be absolute about", strings.Join(idle, ", "))
	}
}

// sizes warns of what the regions' capacities make of the rules.
func (u *drainUse) sizes(w *warner, key Key) {
	var unstated sample
	var all, smallest float64
	least := ""
	for _, name := range slices.Sorted(maps.Keys(u.capacity)) {
		size := float64(u.capacity[name])
		if size == 0 {
			unstated.add(name, w.given[Key{KindRegion, name}])
		}
		if all += size; least == "" || size < smallest {
			least, smallest = name, size
		}
	}
	if least == "" {
		return
	}
	if most := u.rules.GetMaxDrainedCapacityPercent(); most > 0 {
		share, of := 100/float64(len(u.capacity)), "each of the regions, which count alike, is"
		if unstated.n == 0 {
			share, of = 100*smallest/all, least+", the smallest region, is"
		}
		if share > float64(most) {
			w.addf(key, "spec.drains.maxDrainedCapacityPercent", u.about, "is %d, and %s %.1f%% of all: no region can be drained as a whole%s", most, of, share, u.byForce(regions.RuleMaxDrainedCapacity))
		}
	}
	if u.rules.CapacityHeadroomPercent == nil {
		return
	}
	const path = "spec.drains.capacityHeadroomPercent"
	about, force := u.about || len(u.demanding.given) > 0, u.byForce(regions.RuleCapacityDemand)
	want := u.demand * (1 + float64(u.rules.GetCapacityHeadroomPercent())/100)
	asked := fmt.Sprintf("the services ask for %.0f, with the headroom %.0f", u.demand, want)
	switch {
	case u.demand == 0:
		w.add(key, path, "has no effect, as no service states its safety.demand", about)
	case unstated.n > 0:
		w.addf(key, path, about, "has no effect, as no capacity is stated of these regions: %s", unstated.list(""))
	case all < want:
		w.addf(key, path, about, "%s, and all regions together can carry %.0f: no region can be drained%s", asked, all, force)
	case all-smallest < want:
		w.addf(key, path, about, "%s, and without %s, the smallest, the regions can carry %.0f: no region can be drained as a whole%s", asked, least, all-smallest, force)
	}
}
