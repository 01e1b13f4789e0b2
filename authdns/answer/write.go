package answer

import (
	"encoding/binary"
	"encoding/hex"
	"net"

	"github.com/miekg/dns"
)

// reply is a response in the making.
type reply struct {
	q    *request
	in   *Query
	info *Info

	authoritative                 bool
	answer, authority, additional []dns.RR
	// optional goes into the additional section if it fits.
	optional []dns.RR
	// scope of the client subnet option (RFC 7871 section 7.2.1).
	scope uint8
	// stale: the answer hangs on verdicts that are too old.
	stale bool
}

// write packs the response within the limit of its transport.
func (r *Responder) write(dst []byte, p *reply) []byte {
	limit := r.limit(p)
	m := r.message(p)
	for _, optional := range [...][]dns.RR{p.optional, nil} {
		// RFC 2181 section 9: additional data that is merely useful is left
		// out rather than the response marked as truncated.
		m.Extra = append(append([]dns.RR(nil), p.additional...), optional...)
		if out, ok := r.pack(dst, m, p); ok && len(out) <= limit {
			return out
		}
		if len(p.optional) == 0 {
			break
		}
	}
	// Nothing instead of a part: resolvers throw a part away.
	m.Truncated = true
	m.Answer, m.Ns, m.Extra = nil, nil, nil
	p.info.Truncated = true
	if out, ok := r.pack(dst, m, p); ok {
		return out
	}
	// What is left came from the query and the options, which are checked.
	p.info.Reason = Failed
	return nil
}

// limit is how many bytes the response may have.
func (r *Responder) limit(p *reply) int {
	switch {
	case p.in.Transport != UDP:
		return dns.MaxMsgSize
	case !p.q.edns:
		return dns.MinMsgSize
	}
	// RFC 6891 section 6.2.3: less than 512 counts as 512.
	return int(min(max(p.q.udpSize, dns.MinMsgSize), r.o.MaxUDP))
}

// message makes everything but the additional section.
func (r *Responder) message(p *reply) *dns.Msg {
	q := p.q
	m := &dns.Msg{Compress: true}
	m.Id = binary.BigEndian.Uint16(p.in.Wire)
	m.Response = true
	m.Opcode = int(q.flags >> 11 & 0xf)
	m.RecursionDesired = q.flags&flagRD != 0
	m.CheckingDisabled = q.flags&flagCD != 0
	m.Rcode = outcomes[p.info.Reason].rcode
	p.info.Rcode = m.Rcode
	if q.question != nil {
		m.Question = []dns.Question{{Name: q.name.String(), Qtype: q.qtype, Qclass: q.qclass}}
	}
	// A refusal is not authoritative (RFC 1035 section 4.1.1).
	m.Authoritative = p.authoritative
	m.Answer, m.Ns = p.answer, p.authority
	return m
}

// pack writes a message, with its OPT and TSIG, and puts the question back as
// it was spelled.
func (r *Responder) pack(dst []byte, m *dns.Msg, p *reply) ([]byte, bool) {
	if p.q.edns {
		m.Extra = append(m.Extra, r.opt(p))
	}
	if p.info.Reason == UnknownKey {
		m.Extra = append(m.Extra, badKey(p))
	}
	out, err := m.PackBuffer(dst[:cap(dst)])
	if err != nil {
		return nil, false
	}
	copy(out[headerSize:], p.q.question)
	return out, true
}

// opt makes the OPT record, which answers one in the query and never comes
// without (RFC 6891 section 6.1.1).
func (r *Responder) opt(p *reply) *dns.OPT {
	o := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	o.SetUDPSize(r.o.MaxUDP)
	// RFC 3225 section 3: the DO bit is copied.
	o.SetDo(p.q.do)
	if p.q.nsid && r.o.NSID != "" {
		o.Option = append(o.Option, &dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: hex.EncodeToString([]byte(r.o.NSID))})
	}
	if e := p.q.ecs; e.present {
		var addr net.IP
		if e.addr.IsValid() {
			addr = e.addr.AsSlice()
		}
		o.Option = append(o.Option, &dns.EDNS0_SUBNET{
			Code: dns.EDNS0SUBNET, Family: e.family, SourceNetmask: e.source, SourceScope: p.scope, Address: addr,
		})
	}
	if code := outcomes[p.info.Reason].ede; code != noEDE {
		o.Option = append(o.Option, &dns.EDNS0_EDE{InfoCode: code})
	}
	if p.stale {
		o.Option = append(o.Option, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeStaleAnswer})
	}
	return o
}

// badKey tells that the key of a signed query is not known: there are none
// yet (RFC 8945 section 5.2.1).
func badKey(p *reply) *dns.TSIG {
	t := p.q.tsig
	return &dns.TSIG{
		Hdr:       dns.RR_Header{Name: t.Hdr.Name, Rrtype: dns.TypeTSIG, Class: dns.ClassANY},
		Algorithm: t.Algorithm, TimeSigned: t.TimeSigned, Fudge: t.Fudge,
		OrigId: t.OrigId, Error: dns.RcodeBadKey,
	}
}
