package steer

import (
	"math/bits"
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
	// TTL in seconds; less than the service's while a change is near.
	TTL uint32
	// Scope is the ECS scope prefix length, in bits of the client's family. It
	// is 0 where all clients have the same candidates with the same weights.
	Scope uint8
	Rung  Rung
	// Region is the region that answers, -1 for a fallback and for none.
	Region int32
	// Preferred is the region that both families chose together, or -1. It
	// differs from Region when the family does not stand there.
	Preferred int32
	// Judged: verdicts count. False for a service without a health check.
	Judged bool
	// Drained: what answers is drained, as nothing else is left.
	Drained bool
	// group is the endpoints that may answer, dealt those that do.
	group *group
	dealt taken
}

// Endpoints yields the endpoints whose address or name is in the answer: of a
// fallback there are none.
func (s *Selection) Endpoints(yield func(endpoint uint16) bool) {
	if s.group == nil {
		return
	}
	for i, word := range s.dealt {
		for ; word != 0; word &= word - 1 {
			if !yield(s.group.members[i*64+bits.TrailingZeros64(word)].endpoint) {
				return
			}
		}
	}
}

// Select chooses for a client. lot is a random word; equal arguments give
// equal selections. The addresses are appended to buf[:0]. A service whose
// endpoints are names is asked with V4.
//
// The region is the first of the client's ranking on the service's rung, where
// a ramp has the client's network. A and AAAA choose it together, by endpoints
// that are up in either family, unless the service says otherwise:
//
//	family  region has it        stands there   answer
//	any     yes                  yes            from the region
//	any     yes                  no             from the next region where it does
//	IPv4    no (configuration)   —              from the next region where it stands
//	IPv6    no (configuration)   —              none (NODATA)
//
// The last row keeps dual-stack clients, which prefer IPv6, in the region. It
// takes nothing from clients without IPv4: behind DNS64 (RFC 6147) they need a
// NODATA to get the region's IPv4 addresses. IPv4 has no such way, so it
// always answers.
func (v *View) Select(service int32, f regions.Family, client netip.Addr, lot uint64, buf []netip.Addr) Selection {
	s := &v.Plan.Services[service]
	sv := v.services.at(service)
	table := v.tables[s.Policy]
	r, scope := table.Rank(client)
	ranking := table.Rankings()[r].Regions
	if sv.own != nil {
		sv = sv.of(ranking)
	}

	var sel Selection
	if sv.ramps == nil {
		sel = sv.chooseFrom(s, f, ranking, &sv.joint.regions, &sv.family[f].regions)
	} else {
		sel = sv.choose(s, f, ranking, bucketOf(sv.ramps.seed, client))
	}
	sel.Judged = s.Checked
	if sv.depends[f] {
		sel.Scope = scope
	}
	if sv.sticky[f] {
		sel.Scope = max(sel.Scope, stickyBits(client))
	}
	limit := v.Plan.Policies[s.Policy].MaxAnswers
	switch {
	case sel.Rung == None:
	case sel.Rung == AllDownFallback && s.Names:
		sel.CNAME = s.FallbackName
	case sel.Rung == AllDownFallback:
		sel.Addrs = drawEqual(s.Fallback[f], limit, lot, buf[:0])
	case s.Names:
		sel.CNAME = s.Endpoints[pick(sel.group, lot, &sel.dealt)].CNAME
	default:
		sel.Addrs = draw(s.Endpoints, f, sel.group, limit, lot, buf[:0], &sel.dealt)
	}
	return sel
}

// choose finds the group that answers the clients of a ranking and a bucket.
func (sv *serviceView) choose(s *regions.Service, f regions.Family, ranking []uint16, bucket int) Selection {
	if sv.ramps == nil {
		return sv.chooseFrom(s, f, ranking, &sv.joint.regions, &sv.family[f].regions)
	}
	var room [2]regionSet
	return sv.chooseFrom(s, f, ranking, sv.joint.open(sv.ramps.joint, bucket, &room[0]), sv.family[f].open(sv.ramps.family[f], bucket, &room[1]))
}

// chooseFrom finds it among the regions that are open to the client, to both
// families together and to its own.
func (sv *serviceView) chooseFrom(s *regions.Service, f regions.Family, ranking []uint16, joint, own *regionSet) Selection {
	st := &sv.family[f]
	if st.rung == None {
		return Selection{TTL: s.TTL, Rung: None, Region: -1, Preferred: -1}
	}
	preferred := int32(-1)
	if !s.Independent {
		preferred = sv.joint.choose(ranking, joint)
	}
	at := sv.follow(f, preferred, own)
	switch {
	case at == nowhere:
		return Selection{TTL: s.TTL, Rung: None, Region: -1, Preferred: preferred}
	case st.rung == AllDownFallback:
		return Selection{TTL: ttl(s, st.wavers), Rung: AllDownFallback, Region: -1, Preferred: preferred}
	case at == anywhere:
		at = st.choose(ranking, own)
	}
	if preferred < 0 {
		preferred = at
	}
	g := st.group(uint16(at))
	return Selection{TTL: ttl(s, st.wavers || g.wavers), Rung: st.rung, Region: at, Preferred: preferred, Drained: st.drained, group: g}
}

// ttl returns the TTL of an answer of a service.
func ttl(s *regions.Service, wavers bool) uint32 {
	if wavers && s.MinTTL > 0 {
		return min(s.MinTTL, s.TTL)
	}
	return s.TTL
}

// choose returns the first of a ranking among the open regions, -1 without any.
func (st *standing) choose(ranking []uint16, open *regionSet) int32 {
	r := open.first(ranking)
	if r < 0 && len(st.groups) > 0 {
		r = int32(st.groups[0].region) // outside of the policy, see reachable
	}
	return r
}

// Where a family goes that does not answer from the preferred region.
const (
	anywhere int32 = -1 // wherever it stands, by the client's ranking
	nowhere  int32 = -2
)

// follow tells from where a family answers when both together prefer a region
// (-1: none) and some are open to the family: from that region, anywhere or
// nowhere.
func (sv *serviceView) follow(f regions.Family, preferred int32, open *regionSet) int32 {
	switch {
	case preferred < 0:
		return anywhere
	case f == regions.V6 && !sv.configured[f].has(uint16(preferred)):
		return nowhere
	case open.has(uint16(preferred)):
		return preferred
	default:
		return anywhere
	}
}
