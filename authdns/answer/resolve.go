package answer

import (
	"net/netip"
	"slices"

	"github.com/miekg/dns"

	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/zone"
)

// maxChain is how many aliases are followed in one response; the asker goes
// on from the last.
const maxChain = 16

// resolve fills the reply from the zones (RFC 1034 section 4.3.2).
func (p *reply) resolve(snap *Snapshot) {
	name := p.q.name
	z := zoneFor(snap.Zones, name, p.q.qtype)
	if z == nil {
		p.info.Reason = NotAuthoritative
		return
	}
	p.info.Zone = z
	p.authoritative = true
	seen := []zone.Name{name}
	for z != nil {
		target := p.step(snap, z, name)
		// A loop ends the response, not the query: what was found is sent.
		if target == "" || len(seen) > maxChain || slices.Contains(seen, target) {
			return
		}
		name = target
		seen = append(seen, name)
		z = zoneFor(snap.Zones, name, p.q.qtype)
	}
}

// zoneFor finds the zone that answers for a name: the one with the longest
// origin, but for DS at an apex the parent, if it is ours and delegates (RFC
// 4035 section 3.1.4.1).
func zoneFor(set *zone.Set, name zone.Name, qtype uint16) *zone.Zone {
	z := set.Find(name)
	if z == nil || qtype != dns.TypeDS || z.Name != name || name == zone.Root {
		return z
	}
	if parent := set.Find(name.Parent()); parent != nil {
		if n := parent.Node(name); n != nil && n.IsCut() {
			return parent
		}
	}
	return z
}

// step answers for one name and returns the alias to follow, if any. The
// reason, and with it the RCODE, is that of the last name (RFC 6604 section 2.1).
func (p *reply) step(snap *Snapshot, z *zone.Zone, name zone.Name) zone.Name {
	qtype := p.q.qtype
	owner := name.String()
	m := z.Lookup(name, qtype)
	p.info.Reason = Answered
	switch m.Kind {
	case zone.Data:
		p.data(z, m, owner)
	case zone.NoData:
		p.negative(z, NoData)
	case zone.NXDomain:
		p.negative(z, NXDomain)
	case zone.Delegation:
		p.referral(z, m)
	case zone.CNAME:
		p.addSet(&p.answer, m.RRset, owner)
		return nameOf(m.RRset.RRs[0].(*dns.CNAME).Target)
	case zone.DNAME:
		return p.dname(m, name, owner)
	case zone.Service:
		return p.service(snap, z, m, owner)
	}
	return ""
}

// data answers with an RRset of the node.
func (p *reply) data(z *zone.Zone, m zone.Match, owner string) {
	if m.RRset == nil {
		p.minimalAny(z, owner)
		return
	}
	p.addSet(&p.answer, m.RRset, owner)
	if m.RRset.Type == dns.TypeNS {
		p.addAddresses(&p.optional, &p.optional, z, m)
	}
}

// minimalAny is the answer to ANY: one RRset instead of all (RFC 8482 section 4.2).
func (p *reply) minimalAny(z *zone.Zone, owner string) {
	p.answer = append(p.answer, &dns.HINFO{
		Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeHINFO, Class: dns.ClassINET, Ttl: z.SOA.Hdr.Ttl},
		Cpu: "RFC8482",
	})
}

// negative adds the SOA, from which a resolver learns how long the answer
// holds (RFC 2308 sections 2, 3).
func (p *reply) negative(z *zone.Zone, why Reason) {
	p.info.Reason = why
	soa := *z.SOA
	soa.Hdr.Ttl = min(soa.Hdr.Ttl, soa.Minttl)
	p.authority = append(p.authority, &soa)
}

// referral hands the asker to the nameservers of the zone below. After an
// alias the AA bit stays: it is about the first name (RFC 1035 section 4.1.1).
func (p *reply) referral(z *zone.Zone, m zone.Match) {
	if len(p.answer) == 0 {
		p.authoritative = false
		p.info.Reason = Referral
	}
	p.addSet(&p.authority, m.RRset, m.Node.Owner)
	p.addAddresses(&p.additional, &p.optional, z, m)
}

// addAddresses adds the addresses of the hosts of an NS RRset, as far as they
// are static records of the zone. Those of hosts below the node are needed to
// ask there at all, so a referral without them is truncated (RFC 9471 section 3);
// the others may be left out.
func (p *reply) addAddresses(needed, optional *[]dns.RR, z *zone.Zone, m zone.Match) {
	for _, rr := range m.RRset.RRs {
		host := nameOf(rr.(*dns.NS).Ns)
		n := z.Node(host)
		if n == nil {
			continue
		}
		to := optional
		if host.Under(m.Node.Name) {
			to = needed
		}
		for _, t := range [...]uint16{dns.TypeA, dns.TypeAAAA} {
			if set := n.RRset(t); set != nil {
				p.addSet(to, set, n.Owner)
			}
		}
	}
}

// dname answers with the DNAME and the CNAME that it stands for (RFC 6672
// section 3.1).
func (p *reply) dname(m zone.Match, name zone.Name, owner string) zone.Name {
	p.addSet(&p.answer, m.RRset, m.Node.Owner)
	target := nameOf(m.RRset.RRs[0].(*dns.DNAME).Target)
	target = name[:len(name)-len(m.Node.Name)] + target
	if len(target) > 255 {
		p.info.Reason = NameTooLong
		return ""
	}
	p.answer = append(p.answer, &dns.CNAME{
		Hdr:    dns.RR_Header{Name: owner, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: m.RRset.TTL},
		Target: target.String(),
	})
	if p.q.qtype == dns.TypeCNAME || p.q.qtype == dns.TypeANY {
		return ""
	}
	return target
}

// service answers with what is selected for the client.
func (p *reply) service(snap *Snapshot, z *zone.Zone, m zone.Match, owner string) zone.Name {
	family := regions.V4
	if p.q.qtype == dns.TypeAAAA && !m.Node.Names {
		family = regions.V6
	}
	client, isSubnet := p.q.client(p.in.Source)
	var buf [32]netip.Addr
	sel := snap.View.Select(m.Service, family, client, p.in.Random, buf[:0])
	p.info.Service, p.info.Rung, p.info.Region = m.Service, sel.Rung, sel.Region
	p.stale = p.stale || snap.Stale && sel.Judged
	// One that is truncated counts as well: the asker comes back for it over TCP.
	snap.Usage.Answered(m.Service, &sel, p.in.Now)
	if isSubnet {
		// Also without an answer: which families a region has may differ. A
		// chain holds where all of its selections hold.
		scope := sel.Scope
		if p.q.ecs.addr.Is4In6() {
			// The selection counts the bits of the IPv4 address inside.
			scope += 96
		}
		p.scope = max(p.scope, scope)
	}
	if sel.CNAME != "" {
		p.answer = append(p.answer, &dns.CNAME{
			Hdr:    dns.RR_Header{Name: owner, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: sel.TTL},
			Target: sel.CNAME,
		})
		if p.q.qtype == dns.TypeCNAME || p.q.qtype == dns.TypeANY {
			return ""
		}
		return nameOf(sel.CNAME)
	}
	if len(sel.Addrs) == 0 {
		p.negative(z, NoData)
		return ""
	}
	for _, a := range sel.Addrs {
		h := dns.RR_Header{Name: owner, Rrtype: p.q.qtype, Class: dns.ClassINET, Ttl: sel.TTL}
		if p.q.qtype == dns.TypeA {
			p.answer = append(p.answer, &dns.A{Hdr: h, A: a.AsSlice()})
		} else {
			p.answer = append(p.answer, &dns.AAAA{Hdr: h, AAAA: a.AsSlice()})
		}
	}
	return ""
}

// addSet appends the records of a set under an owner name, which for a
// wildcard is not the set's own.
func (p *reply) addSet(to *[]dns.RR, set *zone.RRset, owner string) {
	for _, rr := range set.RRs {
		if rr.Header().Name != owner {
			rr = dns.Copy(rr)
			rr.Header().Name = owner
		}
		*to = append(*to, rr)
	}
}

// nameOf parses a name that the library has written.
func nameOf(s string) zone.Name {
	n, err := zone.ParseName(s)
	if err != nil {
		return ""
	}
	return n
}
