package zone

import (
	"cmp"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Params is what a zone is built from.
type Params struct {
	// Origin is the apex, with or without the final dot.
	Origin string
	// Nameservers are absolute host names for the apex NS RRset, beside those
	// in Records.
	Nameservers []string
	// Mailbox of the SOA as an absolute domain name; default hostmaster.ORIGIN.
	Mailbox string
	// TTL of records that state none, in seconds; default 3600.
	TTL uint32
	// NegativeTTL is the SOA minimum (RFC 2308), in seconds; default 30.
	NegativeTTL uint32
	// Serial of the SOA; 0 keeps the one in Records, or else is 1.
	Serial uint32
	// Records is master-file text relative to the origin.
	Records string
	// Services are the steered owner names in the zone.
	Services []ServiceOwner
}

// ServiceOwner is a steered owner name.
type ServiceOwner struct {
	Owner string // absolute, with or without the final dot
	Index int32
	Name  bool // the endpoints are names: answers are CNAMEs
}

// Timers of a built SOA (RFC 1912 section 2.2). Secondaries are not told of
// changes by them but by NOTIFY; they are the fallback.
const (
	soaRefresh = 3600
	soaRetry   = 600
	soaExpire  = 1209600
)

// maxRRset is how many bytes of an answer an RRset may fill: a message of
// 65535 without header, question and OPT.
const maxRRset = dns.MaxMsgSize - 512

// builder makes one zone.
type builder struct {
	findings
	p    Params
	zone *Zone
	// lines and sizes of the RRsets.
	lines map[*RRset]int
	sizes map[*RRset]int
	// seen finds duplicates: those of a set whose RDATA are equal but for case.
	seen map[seenKey][]dns.RR
}

type seenKey struct {
	set   *RRset
	rdata string
}

// Build makes a zone or returns all that is wrong with it, joined; each
// mistake is an *Error with its line.
func Build(p Params) (*Zone, error) {
	p.TTL = cmp.Or(p.TTL, 3600)
	p.NegativeTTL = cmp.Or(p.NegativeTTL, 30)
	b := &builder{p: p, lines: make(map[*RRset]int), sizes: make(map[*RRset]int), seen: make(map[seenKey][]dns.RR)}
	origin, err := ParseName(p.Origin)
	if err != nil {
		b.fail(0, "origin: %w", err)
		return nil, b.err()
	}
	b.zone = &Zone{Name: origin, Origin: origin.String(), nodes: make(map[Name]*Node)}
	b.zone.apex = b.node(origin)

	b.addRecords()
	b.addNameservers()
	b.addSOA()
	b.addServices()
	b.link()
	b.check()
	b.sort()
	if err := b.err(); err != nil {
		return nil, err
	}
	b.zone.Warnings = b.warnings
	return b.zone, nil
}

// node returns the node of a name; it and the empty non-terminals up to the
// apex are made where they are missing.
func (b *builder) node(name Name) *Node {
	z := b.zone
	n := z.nodes[name]
	if n == nil {
		n = &Node{Name: name, Owner: name.String(), Service: -1}
		z.nodes[name] = n
		if len(name) > len(z.Name) {
			b.node(name.Parent())
		}
	}
	return n
}

func (b *builder) addRecords() {
	m := &master{origin: b.zone.Origin, ttl: b.p.TTL}
	s := &scanner{text: b.p.Records, line: 1}
	for {
		e, ok, err := s.next()
		if !ok {
			return
		}
		var r *record
		if err == nil {
			r, err = m.read(e)
		}
		switch {
		case err != nil:
			b.fail(e.line, "%w", err)
		case r != nil:
			b.add(r)
		}
	}
}

// add puts a record into its RRset.
func (b *builder) add(r *record) {
	if !r.owner.Under(b.zone.Name) {
		b.fail(r.line, "%w", errOutside(r.owner, b.zone.Name))
		return
	}
	n := b.node(r.owner)
	h := r.rr.Header()
	set := n.RRset(h.Rrtype)
	if set == nil {
		set = &RRset{Type: h.Rrtype, TTL: h.Ttl}
		at, _ := slices.BinarySearchFunc(n.Sets, set.Type, func(s *RRset, t uint16) int { return cmp.Compare(s.Type, t) })
		n.Sets = slices.Insert(n.Sets, at, set)
		b.lines[set] = r.line
	}
	if b.sizes[set] > maxRRset {
		return
	}
	folded := []byte(r.rdata)
	Lower(folded)
	key := seenKey{set, string(folded)}
	for _, other := range b.seen[key] {
		if dns.IsDuplicate(other, r.rr) {
			b.warn(r.line, "%s %s: the record is there already; ignored", n.Owner, dns.Type(set.Type))
			return
		}
	}
	// RFC 2181 section 5.2: the TTLs of an RRset are one; the lowest is taken.
	if h.Ttl != set.TTL {
		b.warn(r.line, "%s %s: TTL %d differs from %d before (RFC 2181 section 5.2); the lower one is taken for all", n.Owner, dns.Type(set.Type), h.Ttl, set.TTL)
		set.TTL = min(set.TTL, h.Ttl)
		for _, rr := range set.RRs {
			rr.Header().Ttl = set.TTL
		}
	}
	b.seen[key] = append(b.seen[key], r.rr)
	h.Name, h.Ttl = n.Owner, set.TTL
	set.RRs = append(set.RRs, r.rr)
	// A compressed owner, type, class, TTL and length take 12 bytes.
	if b.sizes[set] += 12 + len(r.rdata); b.sizes[set] > maxRRset {
		b.fail(r.line, "%s %s: the RRset does not fit into a DNS message of %d bytes", n.Owner, dns.Type(set.Type), dns.MaxMsgSize)
	}
}

// addNameservers adds the stated nameservers to the apex NS RRset.
func (b *builder) addNameservers() {
	for i, s := range b.p.Nameservers {
		ns, err := ParseName(s)
		if err != nil {
			b.fail(0, "nameservers[%d]: %w", i, err)
			continue
		}
		rr := &dns.NS{
			Hdr: dns.RR_Header{Name: b.zone.Origin, Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: b.p.TTL},
			Ns:  ns.String(),
		}
		if set := b.zone.apex.RRset(dns.TypeNS); set != nil {
			// What the records state of TTL and spelling stands.
			rr.Hdr.Ttl = set.TTL
			if slices.ContainsFunc(set.RRs, func(o dns.RR) bool { return dns.IsDuplicate(o, rr) }) {
				continue
			}
		}
		b.add(&record{owner: b.zone.Name, rr: rr, rdata: string(ns)})
	}
	if b.zone.apex.RRset(dns.TypeNS) == nil {
		b.fail(0, "zone %s has no nameserver: state nameservers, or an NS record at @", b.zone.Origin)
	}
}

// addSOA makes the SOA where the records have none, and sets the serial.
func (b *builder) addSOA() {
	z := b.zone
	mailbox := "hostmaster." + strings.TrimPrefix(z.Origin, ".")
	if b.p.Mailbox != "" {
		if strings.Contains(b.p.Mailbox, "@") {
			b.fail(0, "mailbox %q: write it as a domain name, with a dot for the @ (RFC 1035 section 8)", b.p.Mailbox)
			return
		}
		mailbox = b.p.Mailbox
	}
	mbox, err := ParseName(mailbox)
	if err != nil {
		b.fail(0, "mailbox: %w", err)
		return
	}
	set := z.apex.RRset(dns.TypeSOA)
	if set == nil {
		ns := z.apex.RRset(dns.TypeNS)
		if ns == nil {
			return
		}
		rr := &dns.SOA{
			Hdr: dns.RR_Header{Name: z.Origin, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: b.p.TTL},
			Ns:  ns.RRs[0].(*dns.NS).Ns, Mbox: mbox.String(), Serial: 1,
			Refresh: soaRefresh, Retry: soaRetry, Expire: soaExpire, Minttl: b.p.NegativeTTL,
		}
		b.add(&record{owner: z.Name, rr: rr})
		set = z.apex.RRset(dns.TypeSOA)
	}
	z.SOA = set.RRs[0].(*dns.SOA)
	if b.p.Serial != 0 {
		z.SOA.Serial = b.p.Serial
	}
}

func (b *builder) addServices() {
	for _, s := range b.p.Services {
		name, err := ParseName(s.Owner)
		if err != nil {
			b.fail(0, "service: %w", err)
			continue
		}
		if !name.Under(b.zone.Name) {
			b.fail(0, "service %q is not in the zone %s", s.Owner, b.zone.Origin)
			continue
		}
		n := b.node(name)
		if n.Service >= 0 {
			b.fail(0, "service %q is there twice", s.Owner)
			continue
		}
		n.Service, n.Names = s.Index, s.Name
		b.zone.services = append(b.zone.services, n)
	}
}

// link sets what the lookup follows: the depth, the asterisk labels and the
// zone cuts.
func (b *builder) link() {
	z := b.zone
	for name, n := range z.nodes {
		z.depth = max(z.depth, name.Labels())
		n.wildcard = z.nodes[name.wildcard()]
		for a := n; a != z.apex; a = z.nodes[a.Name.Parent()] {
			if a.RRset(dns.TypeNS) != nil {
				n.cut = a
			}
		}
	}
}
