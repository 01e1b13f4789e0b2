package steer

import (
	"net/netip"

	"github.com/fairlead-dns/fairlead/regions"
)

// Selection is what a client is answered, with its reasons.
type Selection struct {
	// Addrs in answer order. Empty when CNAME is set, or on rung None.
	Addrs []netip.Addr
	// CNAME is the host name (FQDN, final dot) of a service whose endpoints
	// are names.
	CNAME string
	TTL   uint32 // seconds
	Scope uint8  // ECS scope prefix length, in bits of the client's family
	Rung  Rung
	// Region is the region that answers, -1 for a fallback and for none.
	Region int32
	// Preferred is the region that both families chose together. It differs
	// from Region when the family has no healthy endpoint there.
	Preferred int32
	// endpoints of the group that answers, for explain.
	group *group
}

// Select chooses for a client. lot is a random word; equal arguments give
// equal selections. The addresses are appended to buf[:0]. A service whose
// endpoints are names is asked with V4.
//
// The region is the first of the client's ranking on the service's rung. A
// and AAAA choose it together, by endpoints that are up in either family,
// unless the service says otherwise:
//
//	region has the family   healthy there   answer
//	no (configuration)      —               none (NODATA): the other family serves
//	yes                     yes             from the region
//	yes                     no              from the next region where it is healthy
func (v *View) Select(service int32, f regions.Family, client netip.Addr, lot uint64, buf []netip.Addr) Selection {
	s := &v.Plan.Services[service]
	sv := v.services[service]
	r, scope := v.tables[s.Policy].Rank(client)
	ranking := v.tables[s.Policy].Rankings()[r].Regions

	sel := v.choose(sv, s, f, ranking)
	sel.TTL = s.TTL
	if sv.dependsOnClient(s, f) {
		sel.Scope = scope
	}
	switch {
	case sel.Rung == None:
	case sel.Rung == AllDownFallback:
		if s.Names {
			sel.CNAME = s.FallbackName
		} else {
			sel.Addrs = append(buf[:0], s.Fallback[f]...)
		}
	case s.Names:
		i := pick(s, sel.group.endpoints, &lot)
		sel.CNAME = s.Endpoints[sel.group.endpoints[i]].CNAME
	default:
		sel.Addrs = draw(s, f, sel.group.endpoints, v.Plan.Policies[s.Policy].MaxAnswers, lot, buf[:0])
	}
	return sel
}

// choose finds the group that answers.
func (v *View) choose(sv *serviceView, s *regions.Service, f regions.Family, ranking []uint16) Selection {
	st := &sv.family[f]
	none := Selection{Rung: None, Region: -1, Preferred: -1}
	if st.rung == None {
		return none
	}
	preferred := int32(-1)
	if !s.Independent {
		preferred = first(&sv.joint.regions, ranking)
		if preferred >= 0 && !sv.configured[f].has(uint16(preferred)) {
			none.Preferred = preferred
			return none
		}
	}
	if st.rung == AllDownFallback {
		return Selection{Rung: AllDownFallback, Region: -1, Preferred: preferred}
	}
	at := preferred
	if at < 0 || !st.regions.has(uint16(at)) {
		at = first(&st.regions, ranking)
	}
	if at < 0 {
		// The ranking holds every candidate of the policy, and validation
		// refuses an endpoint elsewhere; a plan of another version may still
		// have one. An answer is better than none.
		at = int32(st.groups[0].region)
	}
	if preferred < 0 {
		preferred = at
	}
	for i := range st.groups {
		if int32(st.groups[i].region) == at {
			return Selection{Rung: st.rung, Region: at, Preferred: preferred, group: &st.groups[i]}
		}
	}
	return none
}

// dependsOnClient tells whether another client could get other candidates:
// where only one region can be chosen, the answer holds for everybody.
func (sv *serviceView) dependsOnClient(s *regions.Service, f regions.Family) bool {
	st := &sv.family[f]
	if st.rung == None {
		return false
	}
	if len(st.groups) > 1 {
		return true
	}
	// One region or a fallback for this family, but where the joint choice
	// falls on a region without the family, the answer is NODATA.
	return !s.Independent && len(sv.joint.groups) > 1
}

func first(set *regionSet, ranking []uint16) int32 {
	for _, r := range ranking {
		if set.has(r) {
			return int32(r)
		}
	}
	return -1
}

// splitmix64 is the generator of Steele, Lea and Flood: one word of state,
// good enough to deal weights from one random word per query.
func splitmix64(x *uint64) uint64 {
	*x += 0x9e3779b97f4a7c15
	z := *x
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// weigh returns the weight of an endpoint of the group: those of weight 0
// count, equally, only where all have it.
func weigh(s *regions.Service, members []uint16) (weight func(uint16) uint64, total uint64) {
	for _, i := range members {
		total += uint64(s.Endpoints[i].Weight)
	}
	if total == 0 {
		return func(uint16) uint64 { return 1 }, uint64(len(members))
	}
	return func(i uint16) uint64 { return uint64(s.Endpoints[i].Weight) }, total
}

// pick deals one member by weight and returns its position.
func pick(s *regions.Service, members []uint16, lot *uint64) int {
	weight, total := weigh(s, members)
	return pickFrom(members, weight, total, lot)
}

func pickFrom(members []uint16, weight func(uint16) uint64, total uint64, lot *uint64) int {
	// Modulo bias is below 2^-34: a total is at most 256 * 2^20.
	x := splitmix64(lot) % total
	for i, m := range members {
		w := weight(m)
		if x < w {
			return i
		}
		x -= w
	}
	return len(members) - 1
}

// draw deals up to limit members by weight, without putting them back, so the
// first address of an answer follows the weights exactly.
func draw(s *regions.Service, f regions.Family, members []uint16, limit int, lot uint64, buf []netip.Addr) []netip.Addr {
	var left [regions.MaxServiceEndpoints]uint16
	n := copy(left[:], members)
	weight, total := weigh(s, members)
	for len(buf) < limit && n > 0 && total > 0 {
		i := pickFrom(left[:n], weight, total, &lot)
		m := left[i]
		buf = append(buf, s.Endpoints[m].Addr[f])
		total -= weight(m)
		copy(left[i:n], left[i+1:n])
		n--
	}
	return buf
}
