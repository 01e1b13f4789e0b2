package steer

import (
	"slices"

	"github.com/fairlead-dns/fairlead/regions"
)

// prospect is what clients of a service get, as far as it is the same for all
// of them: from one region, the fallback or nothing.
type prospect struct {
	rung   Rung
	region int32
	ttl    uint32
	group  *group
}

func (p prospect) equal(q prospect) bool {
	return p.rung == q.rung && p.region == q.region && p.ttl == q.ttl &&
		(p.group == nil) == (q.group == nil) && (p.group == nil || slices.Equal(p.group.members, q.group.members))
}

// anyRegion stands for the clients of all regions.
const anyRegion int32 = -1

// dependsOnClient tells whether two clients could get different candidates, by
// their rankings and by the buckets of ramps. A ranking begins with any region
// of the policy, which is the client's region, and holds the others in any order.
func (sv *serviceView) dependsOnClient(s *regions.Service, f regions.Family, within *regionSet) (depends, sticky bool) {
	if len(sv.own) == 0 {
		depends, sticky, _ = sv.prospects(s, f, anyRegion)
		return depends, sticky
	}
	var one prospect
	first := true
	for r := range uint16(regions.MaxRegions) {
		if !within.has(r) {
			continue
		}
		d, st, p := sv.of([]uint16{r}).prospects(s, f, int32(r))
		depends, sticky = depends || d || !first && !p.equal(one), sticky || st
		first, one = false, p
	}
	return depends, sticky
}

// prospects follows choose through every region that the clients of a region
// can prefer, for every class of buckets that ramps make. It tells whether
// rankings and buckets matter, and what everybody gets if neither does.
func (sv *serviceView) prospects(s *regions.Service, f regions.Family, client int32) (depends, sticky bool, one prospect) {
	if sv.family[f].rung == None {
		return false, false, prospect{rung: None, region: -1, ttl: s.TTL}
	}
	if sv.ramps == nil {
		depends, one = sv.prospect(s, f, client, [2]regionSet{sv.joint.regions, sv.family[f].regions})
		return depends, false, one
	}
	var was [2]regionSet
	for i, bucket := range sv.ramps.classes(f) {
		var open, room [2]regionSet
		if !s.Independent {
			open[0] = *sv.joint.open(sv.ramps.joint, bucket, &room[0])
		}
		open[1] = *sv.family[f].open(sv.ramps.family[f], bucket, &room[1])
		d, p := sv.prospect(s, f, client, open)
		if i > 0 && open != was {
			sticky = sticky || d || depends || !p.equal(one)
		}
		depends, one, was = depends || d, p, open
	}
	return depends, sticky, one
}

// classes returns one bucket of each class that the ramps tell apart.
func (r *ramps) classes(f regions.Family) []int {
	list := []int{0}
	for _, from := range [...][]ramping{r.joint, r.family[f]} {
		for i := range from {
			list = append(list, from[i].ramp.Percent)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// prospect is prospects for the clients to which some regions are open, to both
// families together and to their own.
func (sv *serviceView) prospect(s *regions.Service, f regions.Family, client int32, open [2]regionSet) (depends bool, one prospect) {
	joint, own := begin(client, &open[0]), begin(client, &open[1])
	several := own.size() > 1
	if s.Independent || joint.empty() {
		return several, sv.prospectAt(s, f, own.lowest())
	}
	first := true
	for i := range sv.joint.groups {
		region := sv.joint.groups[i].region
		if !joint.has(region) {
			continue
		}
		to := sv.follow(f, int32(region), &open[1])
		if to == anywhere {
			if several {
				return true, one
			}
			to = own.lowest()
		}
		p := sv.prospectAt(s, f, to)
		if !first && !p.equal(one) {
			return true, p
		}
		first, one = false, p
	}
	return false, one
}

// begin returns what clients of a region choose from: who begins with a region
// that is open gets no other.
func begin(client int32, open *regionSet) regionSet {
	if client == anyRegion || !open.has(uint16(client)) {
		return *open
	}
	var only regionSet
	only.add(uint16(client))
	return only
}

// prospectAt is what a client gets in a region, -1 for the fallback.
func (sv *serviceView) prospectAt(s *regions.Service, f regions.Family, region int32) prospect {
	st := &sv.family[f]
	switch {
	case region == nowhere:
		return prospect{rung: None, region: -1, ttl: s.TTL}
	case region < 0:
		return prospect{rung: st.rung, region: -1, ttl: ttl(s, st.wavers)}
	}
	g := st.group(uint16(region))
	return prospect{rung: st.rung, region: region, ttl: ttl(s, st.wavers || g.wavers), group: g}
}
