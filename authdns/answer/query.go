package answer

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"github.com/fairlead-dns/fairlead/regions/zone"
)

// Transport is how a query came.
type Transport uint8

// The transports.
const (
	UDP Transport = iota
	TCP
)

func (t Transport) String() string { return [...]string{"udp", "tcp"}[t] }

// Query is a message that came in, and all that its response depends on
// besides the snapshot.
type Query struct {
	// Wire is the message. It is only read.
	Wire []byte
	// Source is the address that it came from.
	Source    netip.Addr
	Transport Transport
	Now       time.Time
	// Random deals the weights.
	Random uint64
}

// Flag bits of the second header word (RFC 1035 section 4.1.1, RFC 4035 section 3.1.6).
const (
	flagQR = 1 << 15
	flagTC = 1 << 9
	flagRD = 1 << 8
	flagCD = 1 << 4
)

const headerSize = 12

// request is a parsed query. What the parser understood before it met a
// mistake is kept, so that the refusal can echo it.
type request struct {
	ignoreSubnet bool

	flags uint16
	// question is the question section as it was sent, nil when it could not
	// be read.
	question []byte
	name     zone.Name
	qtype    uint16
	qclass   uint16

	edns    bool
	udpSize uint16
	version uint8
	do      bool
	nsid    bool // asked for (RFC 5001)
	ecs     subnet
	tsig    *dns.TSIG
}

// subnet is the client subnet option (RFC 7871).
type subnet struct {
	present bool
	family  uint16
	source  uint8
	addr    netip.Addr // valid when family is 1 or 2
}

// parse reads a message that has at least a header and returns the first gate
// that it does not pass, or Answered.
func (q *request) parse(b []byte) Reason {
	q.flags = binary.BigEndian.Uint16(b[2:])
	switch {
	case q.flags&flagQR != 0:
		return IsResponse
	case q.flags>>11&0xf != dns.OpcodeQuery:
		return BadOpcode
	}
	qd, an := binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	ns, ar := binary.BigEndian.Uint16(b[8:]), binary.BigEndian.Uint16(b[10:])
	// RFC 9619: a QUERY has one question.
	if qd != 1 {
		return BadCounts
	}
	off, ok := q.parseQuestion(b)
	if !ok {
		return BadFormat
	}
	// Queries have no records but in the additional section; IXFR has an SOA
	// in the authority section (RFC 1995 section 3).
	if an != 0 || (ns != 0 && (q.qtype != dns.TypeIXFR || ns > 1)) {
		return BadCounts
	}
	if off, ok = skipRecord(b, off, int(ns)); !ok {
		return BadFormat
	}
	return q.parseAdditional(b, off, int(ar))
}

// parseQuestion reads the question; names there are never compressed, since
// nothing but the header precedes them.
func (q *request) parseQuestion(b []byte) (int, bool) {
	off := headerSize
	for {
		if off >= len(b) || b[off] > 63 {
			return 0, false
		}
		l := int(b[off])
		off += 1 + l
		if off-headerSize > 255 {
			return 0, false
		}
		if l == 0 {
			break
		}
	}
	if off+4 > len(b) {
		return 0, false
	}
	name := append(make([]byte, 0, 255), b[headerSize:off]...)
	zone.Lower(name)
	q.name = zone.Name(name)
	q.qtype = binary.BigEndian.Uint16(b[off:])
	q.qclass = binary.BigEndian.Uint16(b[off+2:])
	q.question = b[headerSize : off+4]
	return off + 4, true
}

// parseAdditional reads OPT and TSIG and skips what else is there.
func (q *request) parseAdditional(b []byte, off, count int) Reason {
	var opt []byte
	opts := 0
	rootOPT := true
	for i := range count {
		start := off
		fixed, ok := skipName(b, off)
		if !ok {
			return BadFormat
		}
		if off, ok = skipRecord(b, off, 1); !ok {
			return BadFormat
		}
		switch binary.BigEndian.Uint16(b[fixed:]) {
		case dns.TypeOPT:
			if opts++; opts > 1 {
				continue
			}
			q.edns = true
			q.udpSize = binary.BigEndian.Uint16(b[fixed+2:])
			q.version = b[fixed+5]
			q.do = b[fixed+6]&0x80 != 0
			opt = b[fixed+10 : off]
			rootOPT = b[start] == 0
		case dns.TypeTSIG:
			// RFC 8945 section 5.1: it is the last record.
			rr, _, err := dns.UnpackRR(b[:off], start)
			t, isTSIG := rr.(*dns.TSIG)
			// The library takes one without data for good, and it could not be answered.
			if err != nil || !isTSIG || i != count-1 || t.Algorithm == "" {
				return BadFormat
			}
			q.tsig = t
		}
	}
	switch {
	case off != len(b):
		return BadFormat
	// RFC 6891 section 6.1.1: more than one OPT is FORMERR; section 6.1.2:
	// its owner is the root.
	case opts > 1 || !rootOPT:
		return BadOPT
	// RFC 6891 section 6.1.3. Before the options, whose form another version
	// may change.
	case q.edns && q.version != 0:
		return BadVersion
	}
	if r := q.parseOptions(opt); r != Answered {
		return r
	}
	if q.tsig != nil {
		return UnknownKey
	}
	return Answered
}

// parseOptions reads the options that matter here (RFC 6891 section 6.1.2).
func (q *request) parseOptions(b []byte) Reason {
	for len(b) > 0 {
		if len(b) < 4 {
			return BadOptions
		}
		code, size := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if len(b) < 4+size {
			return BadOptions
		}
		data := b[4 : 4+size]
		b = b[4+size:]
		switch code {
		case dns.EDNS0NSID:
			q.nsid = true
		case dns.EDNS0SUBNET:
			if q.ignoreSubnet {
				continue
			}
			if q.ecs.present || !q.ecs.parse(data) {
				q.ecs = subnet{}
				return BadSubnet
			}
		}
	}
	return Answered
}

// parse reads a client subnet option as RFC 7871 section 6 wants it: exactly
// the octets that the prefix needs, zero bits beyond it, scope 0 in a query.
func (s *subnet) parse(b []byte) bool {
	if len(b) < 4 || b[3] != 0 {
		return false
	}
	s.present = true
	s.family, s.source = binary.BigEndian.Uint16(b), b[2]
	addr := b[4:]
	if len(addr) != (int(s.source)+7)/8 {
		return false
	}
	switch s.family {
	case 0:
		// "No address" with no family, as `dig +subnet=0` sends it.
		return s.source == 0
	case 1:
		if s.source > 32 {
			return false
		}
		var a [4]byte
		copy(a[:], addr)
		s.addr = netip.AddrFrom4(a)
	case 2:
		if s.source > 128 {
			return false
		}
		var a [16]byte
		copy(a[:], addr)
		s.addr = netip.AddrFrom16(a)
	default:
		return false
	}
	return netip.PrefixFrom(s.addr, int(s.source)).Masked().Addr() == s.addr
}

// client is the address that the answer is for: the network address of the
// client subnet if one is stated. With a source prefix of 0 the asker wants no
// address but its own used (RFC 7871 section 7.1.2).
func (q *request) client(source netip.Addr) (addr netip.Addr, isSubnet bool) {
	if q.ecs.present && q.ecs.source > 0 {
		return q.ecs.addr, true
	}
	return source.Unmap(), false
}

// skipName returns the offset after a name, which may end in a pointer.
func skipName(b []byte, off int) (int, bool) {
	for off < len(b) {
		c := b[off]
		switch {
		case c == 0:
			return off + 1, true
		case c >= 0xc0:
			return off + 2, off+2 <= len(b)
		case c > 63:
			return 0, false
		}
		off += 1 + int(c)
	}
	return 0, false
}

// skipRecord returns the offset after n records.
func skipRecord(b []byte, off, n int) (int, bool) {
	for range n {
		var ok bool
		if off, ok = skipName(b, off); !ok || off+10 > len(b) {
			return 0, false
		}
		off += 10 + int(binary.BigEndian.Uint16(b[off+8:]))
		if off > len(b) {
			return 0, false
		}
	}
	return off, true
}
