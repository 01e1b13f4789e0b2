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
	// Scope is the ECS scope prefix length, in bits of the client's family. It
	// is 0 where all clients have the same candidates with the same weights.
	Scope uint8
	Rung  Rung
	// Region is the region that answers, -1 for a fallback and for none.
	Region int32
	// Preferred is the region that both families chose together, or -1. It
	// differs from Region when the family does not stand there.
	Preferred int32
	// group is the endpoints that may answer, for explain.
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

	sel := sv.choose(s, f, table.Rankings()[r].Regions)
	sel.TTL = s.TTL
	if sv.depends[f] {
		sel.Scope = scope
	}
	limit := v.Plan.Policies[s.Policy].MaxAnswers
	switch {
	case sel.Rung == None:
	case sel.Rung == AllDownFallback && s.Names:
		sel.CNAME = s.FallbackName
	case sel.Rung == AllDownFallback:
		sel.Addrs = drawEqual(s.Fallback[f], limit, lot, buf[:0])
	case s.Names:
		sel.CNAME = s.Endpoints[pick(sel.group, lot)].CNAME
	default:
		sel.Addrs = draw(s.Endpoints, f, sel.group, limit, lot, buf[:0])
	}
	return sel
}

// choose finds the group that answers.
func (sv *serviceView) choose(s *regions.Service, f regions.Family, ranking []uint16) Selection {
	st := &sv.family[f]
	if st.rung == None {
		return Selection{Rung: None, Region: -1, Preferred: -1}
	}
	preferred := int32(-1)
	if !s.Independent {
		preferred = sv.joint.choose(ranking)
	}
	at := sv.follow(f, preferred)
	switch {
	case at == nowhere:
		return Selection{Rung: None, Region: -1, Preferred: preferred}
	case st.rung == AllDownFallback:
		return Selection{Rung: AllDownFallback, Region: -1, Preferred: preferred}
	case at == anywhere:
		at = st.choose(ranking)
	}
	if preferred < 0 {
		preferred = at
	}
	return Selection{Rung: st.rung, Region: at, Preferred: preferred, group: st.group(uint16(at))}
}

// choose returns the region for a ranking, -1 without any.
func (st *standing) choose(ranking []uint16) int32 {
	r := st.regions.first(ranking)
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
// (-1: none): from that region, anywhere or nowhere.
func (sv *serviceView) follow(f regions.Family, preferred int32) int32 {
	switch {
	case preferred < 0:
		return anywhere
	case f == regions.V6 && !sv.configured[f].has(uint16(preferred)):
		return nowhere
	case sv.family[f].regions.has(uint16(preferred)):
		return preferred
	default:
		return anywhere
	}
}

// dependsOnClient tells whether two clients, by their rankings, could get
// different candidates. It follows choose through every region that can be
// preferred.
func (sv *serviceView) dependsOnClient(s *regions.Service, f regions.Family) bool {
	st := &sv.family[f]
	if st.rung == None {
		return false
	}
	if s.Independent || len(sv.joint.groups) == 0 {
		return len(st.groups) > 1
	}
	all := int32(0)
	for i := range sv.joint.groups {
		at := sv.follow(f, int32(sv.joint.groups[i].region))
		if at == anywhere && len(st.groups) > 1 {
			return true
		}
		if at == anywhere && len(st.groups) == 1 {
			at = int32(st.groups[0].region)
		}
		if i > 0 && at != all {
			return true
		}
		all = at
	}
	return false
}
