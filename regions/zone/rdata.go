package zone

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/miekg/dns"
)

// parseRdata parses RDATA and sends it through the wire form, so that it is
// known to fit and every spelling of a name has become the same.
func parseRdata(h dns.RR_Header, rdata, origin string) (dns.RR, string, error) {
	what := dns.Type(h.Rrtype).String()
	if rdata == "" && h.Rrtype != dns.TypeAPL {
		// The library takes this for a dynamic update.
		return nil, "", fmt.Errorf("the %s record has no data", what)
	}
	zp := dns.NewZoneParser(strings.NewReader(fmt.Sprintf("%s %d IN %s %s\n", h.Name, h.Ttl, what, rdata)), origin, "")
	rr, ok := zp.Next()
	err := zp.Err()
	if err == nil && ok {
		var wire string
		if rr, wire, err = throughWire(rr); err == nil {
			return rr, wire, nil
		}
	}
	return nil, "", fmt.Errorf("%s record: %s", what, wrongRdata(h.Rrtype, rdata, plain(err)))
}

// forms says what the RDATA of common types are made of.
var forms = map[uint16]string{
	dns.TypeCNAME: "one name, as host.example.net.",
	dns.TypeDNAME: "one name, as example.net.",
	dns.TypeNS:    "one name, as ns1.example.net.",
	dns.TypePTR:   "one name, as host.example.net.",
	dns.TypeMX:    "preference and host, as 10 mail.example.net.",
	dns.TypeSRV:   "priority, weight, port and host, as 0 5 443 host.example.net.",
	dns.TypeTXT:   `texts of at most 255 bytes each, in quotes, as "v=spf1 -all"`,
	dns.TypeSOA:   "nameserver, mailbox, serial, refresh, retry, expire and minimum, as ns1.example.net. hostmaster.example.net. 1 3600 600 1209600 300",
	dns.TypeCAA:   `flags, tag and value, as 0 issue "ca.example.net"`,
	dns.TypeTLSA:  "usage, selector, matching type and data in hex, as 3 1 1 and 64 digits",
	dns.TypeSSHFP: "algorithm, type and fingerprint in hex, as 4 2 and 64 digits",
	dns.TypeDS:    "key tag, algorithm, digest type and digest in hex, as 12345 13 2 and 64 digits",
	dns.TypeNAPTR: `order, preference, flags, service, pattern and name, as 10 20 "s" "SIP+D2U" "" _sip._udp.example.net.`,
	dns.TypeSVCB:  "priority, target and parameters, as 1 svc.example.net. alpn=h2",
	dns.TypeHTTPS: "priority, target and parameters, as 1 . alpn=h2",
}

var (
	badToken = regexp.MustCompile(`^bad .*: "(.*)"$`)
	tooMuch  = regexp.MustCompile(`^garbage after rdata: "(.*)"$`)
)

// wrongRdata says what is wrong with RDATA and what would be right, from what
// the library said.
func wrongRdata(t uint16, rdata, said string) string {
	if first, _ := cutField(rdata); first == `\#` {
		return `the data after \# are not those of a whole record: want \# LENGTH HEX (RFC 3597 section 5)`
	}
	if m := tooMuch.FindStringSubmatch(said); m != nil {
		switch {
		case isComment(m[1]):
			return fmt.Sprintf("%q is too much (a comment begins with ;)", m[1])
		case forms[t] != "":
			return fmt.Sprintf("%q is too much: want %s; each record has a line of its own", m[1], forms[t])
		}
		return fmt.Sprintf("%q is too much; each record has a line of its own", m[1])
	}
	token := rdata
	if m := badToken.FindStringSubmatch(said); m != nil && m[1] != "" {
		token = m[1]
	}
	a, err := netip.ParseAddr(token)
	switch {
	case t == dns.TypeA && err == nil:
		return fmt.Sprintf("%q is an IPv6 address: want an AAAA record", token)
	case t == dns.TypeAAAA && err == nil && a.Is4():
		return fmt.Sprintf("%q is an IPv4 address: want an A record", token)
	case t == dns.TypeA:
		return fmt.Sprintf("%q is no IPv4 address, as 192.0.2.1", token)
	case t == dns.TypeAAAA:
		return fmt.Sprintf("%q is no IPv6 address, as 2001:db8::1", token)
	case forms[t] != "":
		return fmt.Sprintf("%s: want %s", said, forms[t])
	}
	return said
}

func throughWire(rr dns.RR) (out dns.RR, rdata string, err error) {
	buf := make([]byte, dns.Len(rr)+64)
	n, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		// The library's estimate of the length is short for some odd escapes.
		buf = make([]byte, dns.MaxMsgSize)
		n, err = dns.PackRR(rr, buf, 0, nil, false)
	}
	if err != nil {
		return nil, "", err
	}
	if out, _, err = dns.UnpackRR(buf[:n], 0); err != nil {
		return nil, "", err
	}
	return out, string(buf[n-int(out.Header().Rdlength) : n]), nil
}

// plain drops from an error of the library what only makes sense there: its
// prefix, and a line number that always is 1.
func plain(err error) string {
	if err == nil {
		return "cannot be read"
	}
	s, _, _ := strings.Cut(err.Error(), " at line: ")
	return strings.TrimPrefix(s, "dns: ")
}
