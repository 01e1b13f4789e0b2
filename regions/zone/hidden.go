package zone

import (
	"github.com/miekg/dns"
)

// Hidden returns the records of a zone that zones below it hide: these are
// asked of the closest zone, so that a name which is there only in the outer
// one is gone. The delegation itself may stay: NS and DS at the inner origin,
// and the addresses of these nameservers. What cannot be read is left out.
func Hidden(origin, records string, inner []string) []*Error {
	apex, err := ParseName(origin)
	if err != nil {
		return nil
	}
	origins := make(map[Name]bool, len(inner))
	for _, s := range inner {
		if n, err := ParseName(s); err == nil && n != apex {
			origins[n] = true
		}
	}
	if len(origins) == 0 {
		return nil
	}
	var f findings
	below := map[*record]Name{}
	var order []*record
	glue := map[Name]bool{}
	walkRecords(apex, records, func(r *record) bool {
		for n := r.owner; n != apex && n != Root; n = n.Parent() {
			if origins[n] {
				below[r] = n
				order = append(order, r)
				break
			}
		}
		if ns, ok := r.rr.(*dns.NS); ok {
			if host, err := ParseName(ns.Ns); err == nil {
				glue[host] = true
			}
		}
		return true
	})
	for _, r := range order {
		zone := below[r]
		switch t := r.rr.Header().Rrtype; {
		case r.owner == zone && (t == dns.TypeNS || t == dns.TypeDS || t == dns.TypeNSEC || t == dns.TypeRRSIG):
		case glue[r.owner] && (t == dns.TypeA || t == dns.TypeAAAA):
		default:
			f.fail(r.line, "%s %s would never be answered: zone %s, which is here too, has the name; put the record there", r.owner, dns.Type(t), zone)
		}
	}
	return f.all()
}

// StatedSerial returns the serial of the SOA record in a zone's text, or 0.
func StatedSerial(origin, records string) uint32 {
	apex, err := ParseName(origin)
	if err != nil {
		return 0
	}
	serial := uint32(0)
	walkRecords(apex, records, func(r *record) bool {
		if soa, ok := r.rr.(*dns.SOA); ok && r.owner == apex {
			serial = soa.Serial
			return false
		}
		return true
	})
	return serial
}

// walkRecords visits the records that can be read, until visit says no.
func walkRecords(apex Name, records string, visit func(*record) bool) {
	m := &master{origin: apex.String(), ttl: 3600}
	s := &scanner{text: records, line: 1}
	for {
		e, ok, err := s.next()
		if !ok {
			return
		}
		if err != nil {
			continue
		}
		if r, err := m.read(e); err == nil && r != nil && !visit(r) {
			return
		}
	}
}
