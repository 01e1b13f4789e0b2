package zone

import (
	"maps"
	"slices"

	"github.com/miekg/dns"
)

// check holds the rules that need the whole zone.
func (b *builder) check() {
	z := b.zone
	// In the order of names, so that equal zones give equal messages.
	for _, name := range slices.Sorted(maps.Keys(z.nodes)) {
		n := z.nodes[name]
		b.checkShadow(n)
		if n.Empty() {
			continue
		}
		b.checkApexTypes(n)
		b.checkAliases(n)
		b.checkService(n)
		b.checkOcclusion(n)
	}
	// Targets are looked up, which needs a zone that holds together.
	if len(b.errs) > 0 {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(z.nodes)) {
		for _, set := range z.nodes[name].Sets {
			b.checkTargets(z.nodes[name], set)
		}
	}
}

// line is where the first of an RRset's records stands.
func (b *builder) line(s *RRset) int { return b.lines[s] }

// lastLine is the line of the last RRset of a node, which is the one that
// came too much.
func (b *builder) lastLine(n *Node) int {
	line := 0
	for _, s := range n.Sets {
		line = max(line, b.line(s))
	}
	return line
}

func (b *builder) checkApexTypes(n *Node) {
	apex := n == b.zone.apex
	for _, set := range n.Sets {
		switch set.Type {
		case dns.TypeSOA:
			if !apex {
				b.fail(b.line(set), "%s SOA: only the apex of a zone has one; %s is not it", n.Owner, n.Owner)
			} else if len(set.RRs) > 1 {
				b.fail(b.line(set), "%s has %d SOA records; one is right", n.Owner, len(set.RRs))
			}
		case dns.TypeDS:
			if apex {
				b.fail(b.line(set), "%s DS: it belongs into the parent zone (RFC 4035 section 2.4)", n.Owner)
			}
		case dns.TypeNS, dns.TypeDNAME:
			if n.Name.IsWildcard() {
				b.fail(b.line(set), "%s %s: at a wildcard its meaning is not defined (RFC 4592 sections 4.2, 4.4)", n.Owner, dns.Type(set.Type))
			}
		}
	}
}

// checkAliases holds what may not stand beside or below CNAME and DNAME.
func (b *builder) checkAliases(n *Node) {
	if set := n.RRset(dns.TypeCNAME); set != nil {
		if len(set.RRs) > 1 {
			b.fail(b.line(set), "%s has %d CNAME records; at most one is allowed (RFC 2181 section 10.1)", n.Owner, len(set.RRs))
		}
		for _, other := range n.Sets {
			switch other.Type {
			case dns.TypeCNAME, dns.TypeRRSIG, dns.TypeNSEC, dns.TypeKEY:
			default:
				b.fail(b.lastLine(n), "%s has a CNAME and %s; no other data may stand beside a CNAME (RFC 1034 section 3.6.2)", n.Owner, dns.Type(other.Type))
			}
		}
	}
	if set := n.RRset(dns.TypeDNAME); set != nil {
		if len(set.RRs) > 1 {
			b.fail(b.line(set), "%s has %d DNAME records; at most one is allowed (RFC 6672 section 2.4)", n.Owner, len(set.RRs))
		}
		if n != b.zone.apex && n.RRset(dns.TypeNS) != nil {
			b.fail(b.lastLine(n), "%s has a DNAME and NS; that is allowed at the apex only (RFC 6672 section 2.3)", n.Owner)
		}
	}
	for a := n; a != b.zone.apex; {
		a = b.zone.nodes[a.Name.Parent()]
		if a.RRset(dns.TypeDNAME) == nil {
			continue
		}
		if n.Service >= 0 {
			b.fail(0, "service %q lies below the DNAME at %s, which leads away from it (RFC 6672 section 2.4)", n.Owner, a.Owner)
		}
		for _, set := range n.Sets {
			b.fail(b.line(set), "%s %s lies below the DNAME at %s; nothing may (RFC 6672 section 2.4)", n.Owner, dns.Type(set.Type), a.Owner)
		}
		return
	}
}

func (b *builder) checkService(n *Node) {
	if n.Service < 0 {
		return
	}
	switch {
	case n.cut == n:
		b.fail(b.line(n.RRset(dns.TypeNS)), "service %q is at a zone cut: the NS records give the name away", n.Owner)
	case n.cut != nil:
		b.fail(b.line(n.cut.RRset(dns.TypeNS)), "service %q lies below the zone cut at %s: the NS records there give the name away", n.Owner, n.cut.Owner)
	}
	if n.Names && n == b.zone.apex {
		b.fail(0, "service %q is the apex, where no CNAME can be: its endpoints must be addresses", n.Owner)
		return
	}
	for _, set := range n.Sets {
		switch {
		case n.Names && set.Type != dns.TypeRRSIG && set.Type != dns.TypeNSEC:
			b.fail(b.line(set), "service %q has endpoints that are names, so it is a CNAME, and %s %s cannot stand beside it (RFC 1034 section 3.6.2)", n.Owner, n.Owner, dns.Type(set.Type))
		case set.Type == dns.TypeA || set.Type == dns.TypeAAAA || set.Type == dns.TypeCNAME:
			b.fail(b.line(set), "%s %s: the service of this name answers; remove the record or the service", n.Owner, dns.Type(set.Type))
		}
	}
}

// checkShadow warns of names that exist and so are not covered by the wildcard
// service beside them, also empty non-terminals (RFC 4592 section 2.2.2). A
// label that begins with an underscore names no host.
func (b *builder) checkShadow(n *Node) {
	if n == b.zone.apex || n.Service >= 0 || n.cut != nil || n.Name[1] == '_' {
		return
	}
	w := b.zone.nodes[n.Name.Parent()].wildcard
	if w == nil || w == n || w.Service < 0 || n.RRset(dns.TypeA) != nil || n.RRset(dns.TypeAAAA) != nil || n.RRset(dns.TypeCNAME) != nil {
		return
	}
	b.warn(b.lastLine(n), "%s exists, so the service %s does not answer for it (RFC 4592 section 2.2.1): make a service or address records of that name", n.Owner, w.Owner)
}

// checkOcclusion warns of data that a zone cut hides.
func (b *builder) checkOcclusion(n *Node) {
	if n.cut == nil {
		return
	}
	for _, set := range n.Sets {
		switch set.Type {
		case dns.TypeA, dns.TypeAAAA: // glue
		case dns.TypeNS, dns.TypeDS, dns.TypeNSEC, dns.TypeRRSIG:
			if n == n.cut {
				continue
			}
			fallthrough
		default:
			b.warn(b.line(set), "%s %s is never answered: the NS records at %s give the name away", n.Owner, dns.Type(set.Type), n.cut.Owner)
		}
	}
}

// checkTargets looks at the host names that records point to in the zone.
func (b *builder) checkTargets(n *Node, set *RRset) {
	for _, rr := range set.RRs {
		var target string
		switch rr := rr.(type) {
		case *dns.NS:
			target = rr.Ns
		case *dns.MX:
			target = rr.Mx
		case *dns.SRV:
			target = rr.Target
		default:
			return
		}
		name, err := ParseName(target)
		if err != nil || name == Root || !name.Under(b.zone.Name) {
			continue
		}
		b.checkTarget(n, set, target, name)
	}
}

func (b *builder) checkTarget(n *Node, set *RRset, target string, name Name) {
	what := dns.Type(set.Type)
	if n.cut == n && name.Under(n.Name) {
		// Without an address here nobody could ever ask there.
		if !b.zone.hasAddress(name) {
			b.fail(b.line(set), "%s NS %s lies in the zone that is given away, but has no glue: add an A or AAAA record of it", n.Owner, target)
		}
		return
	}
	v4, v6 := b.zone.Lookup(name, dns.TypeA), b.zone.Lookup(name, dns.TypeAAAA)
	switch {
	case v4.Kind == Data || v6.Kind == Data || v4.Kind == DNAME:
	case v4.Kind == Delegation:
		if set.Type == dns.TypeNS && !b.zone.hasAddress(name) {
			b.warn(b.line(set), "%s NS %s: no address of it is here (sibling glue, RFC 9471 section 2.2)", n.Owner, target)
		}
	case v4.Kind == CNAME, v4.Kind == Service && v4.Node.Names:
		b.warn(b.line(set), "%s %s %s is an alias: many resolvers do not follow it (RFC 2181 section 10.3)", n.Owner, what, target)
	case v4.Kind == Service:
	case n.cut == n:
		b.fail(b.line(set), "%s NS %s has no address in the zone: add an A or AAAA record of it", n.Owner, target)
	default:
		b.warn(b.line(set), "%s %s %s has no address in the zone", n.Owner, what, target)
	}
}

// hasAddress tells whether a name has address records, glue or not.
func (z *Zone) hasAddress(name Name) bool {
	n := z.nodes[name]
	return n != nil && (n.RRset(dns.TypeA) != nil || n.RRset(dns.TypeAAAA) != nil)
}
