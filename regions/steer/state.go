package steer

import (
	"slices"

	"github.com/fairlead-dns/fairlead/regions"
)

// TargetState is what the view needs to know of a target.
type TargetState struct {
	// Standing is the verdict.
	regions.Standing
	// Confirmed is what more than half of the registered regions agreed on last,
	// nil where that is the verdict. Services under an active-passive policy
	// follow it.
	Confirmed *regions.Standing
	// Regions holds the verdicts of single regions' vantages, by ascending region:
	// those that differ from the verdict.
	Regions []RegionStanding
	// GuardTrip is the trip of the mass-withdrawal guard that holds the verdict
	// against the quorum; 0: none does.
	GuardTrip uint64
	// Wavering: an opinion that counts speaks against the verdict, or is about to.
	Wavering bool
}

// RegionStanding is the verdict of one region's vantages.
type RegionStanding struct {
	Region uint16 // index in the plan
	regions.Standing
}

// Equal tells whether two states say the same.
func (s TargetState) Equal(t TargetState) bool {
	return s.Standing.Equal(t.Standing) && s.GuardTrip == t.GuardTrip && s.Wavering == t.Wavering &&
		(s.Confirmed == nil) == (t.Confirmed == nil) && (s.Confirmed == nil || s.Confirmed.Equal(*t.Confirmed)) &&
		slices.EqualFunc(s.Regions, t.Regions, func(a, b RegionStanding) bool { return a.Region == b.Region && a.Standing.Equal(b.Standing) })
}

// Voice is whose verdict counts for an endpoint.
type Voice uint8

// The voices.
const (
	Quorum       Voice = iota // of the regions that can tell
	Confirmed                 // of more than half of the registered regions
	ClientRegion              // of the vantages in the client's region
)

// nobody is the client region of a selection that is the same for everybody.
const nobody int32 = -1

// counted is the verdict that counts for an endpoint, and what hangs on it.
type counted struct {
	regions.Standing
	voice Voice
	// held: the mass-withdrawal guard holds it.
	held bool
	// wavers: evidence speaks against it, or is about to.
	wavers bool
}

// counted returns what counts of a target for a service and the clients of a
// region:
//
//	service                 whose verdict
//	active-passive          confirmed: two sides of a partition must not both
//	                        take over
//	active-active           the quorum's
//	… with client-region    that of the client's region, unless the guard holds
//	verdicts                the target or the region has none of its own; then
//	                        the quorum's
func (v *View) counted(s *regions.Service, target, client int32) counted {
	if target < 0 {
		return counted{}
	}
	st := v.states.at(target)
	c := counted{Standing: st.Standing, held: st.GuardTrip != 0, wavers: st.Wavering && !v.failOpen}
	switch {
	case v.Plan.Policies[s.Policy].ActivePassive:
		if st.Confirmed != nil {
			// What the guard holds is the verdict; and while they differ, what
			// was decided but not confirmed speaks against this.
			c = counted{Standing: *st.Confirmed, voice: Confirmed, wavers: c.wavers || st.Confirmed.Verdict != st.Verdict && !v.failOpen}
		}
	case client != nobody && !c.held:
		if own := st.of(client); own != nil {
			c.Standing, c.voice = *own, ClientRegion
		}
	}
	return c
}

// of returns the verdict of a region's vantages where it is their own.
func (s *TargetState) of(region int32) *regions.Standing {
	for i := range s.Regions {
		if r := &s.Regions[i]; int32(r.Region) == region && r.Verdict != regions.Unknown {
			return &r.Standing
		}
	}
	return nil
}

// byClient tells whether clients of different regions may see other verdicts. The
// rankings of an active-passive policy do not tell where a client is.
func (v *View) byClient(s *regions.Service) bool {
	return s.ClientRegionVerdicts && s.Checked && !v.Plan.Policies[s.Policy].ActivePassive
}

// heard returns the regions whose clients see a target of a service otherwise
// than the quorum does. A client's region is the first of its ranking, as its
// location and the policy's rules make it, whatever is in service there; so
// only the policy's regions count, and a witness elsewhere is no client's.
func (v *View) heard(s *regions.Service) (set regionSet) {
	for i := range s.Endpoints {
		for _, t := range s.Endpoints[i].Target {
			if t < 0 {
				continue
			}
			st := v.State(t)
			for _, r := range st.Regions {
				if r.Verdict != regions.Unknown && v.within[s.Policy].has(r.Region) {
					set.add(r.Region)
				}
			}
		}
	}
	return set
}
