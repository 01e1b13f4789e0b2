package zone

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
	"golang.org/x/net/idna"
)

// Lint returns what is wrong with the text of a zone by itself: what Build
// refuses line by line, and what Build would take although nobody can mean it,
// as a forgotten final dot. Only what people write is held to it: a nameserver
// loads what another version let through.
func Lint(origin, records string) []*Error {
	apex, err := ParseName(origin)
	if err != nil {
		return nil // the zone's name is wrong, not its text
	}
	var f findings
	l := linter{apex: apex, m: master{origin: apex.String(), ttl: 3600}}
	s := &scanner{text: records, line: 1}
	for {
		e, ok, err := s.next()
		if !ok {
			return f.all()
		}
		if err == nil {
			err = l.entry(e)
		}
		if err != nil {
			f.fail(e.line, "%w", err)
		}
	}
}

type linter struct {
	apex Name
	m    master
}

func (l *linter) entry(e entry) error {
	origin := l.m.origin
	r, err := l.m.read(e)
	if err == nil {
		err = checkASCII(e.text)
	}
	if err != nil {
		return err
	}
	if r == nil {
		if word, arg := cutField(e.text); strings.EqualFold(word, "$ORIGIN") {
			return l.relative(arg, origin)
		}
		return nil
	}
	if err := l.relative(r.first, l.m.origin); err != nil {
		return err
	}
	if !r.owner.Under(l.apex) {
		return errOutside(r.owner, l.apex)
	}
	return l.data(r)
}

// relative refuses a name that lacks its final dot: read as absolute it lies
// in the zone, as written it lies in the zone twice.
func (l *linter) relative(word, origin string) error {
	if word == "" || word == "@" || dns.IsFqdn(word) || l.apex == Root {
		return nil
	}
	absolute, err := ParseName(word)
	if err != nil || !absolute.Under(l.apex) {
		return nil
	}
	became, err := ParseName(word + "." + strings.TrimPrefix(origin, "."))
	if err != nil || became == absolute {
		return nil
	}
	return fmt.Errorf("%q has no final dot, so it means %s: write %s. with the dot (or the whole name, if that is meant)", word, became, word)
}

// hosts are the places of host names among the words of RDATA; with names,
// those of other domain names too.
var (
	hosts = map[uint16][]int{dns.TypeNS: {0}, dns.TypeCNAME: {0}, dns.TypeMX: {1}, dns.TypeSRV: {3}, dns.TypeSVCB: {1}, dns.TypeHTTPS: {1}}
	names = map[uint16][]int{dns.TypePTR: {0}, dns.TypeDNAME: {0}, dns.TypeSOA: {0, 1}}
)

func (l *linter) data(r *record) error {
	t := r.rr.Header().Rrtype
	what := dns.Type(t)
	words := fields(r.text)
	if words[0] == `\#` {
		return nil
	}
	for _, i := range hosts[t] {
		if i < len(words) {
			switch _, err := netip.ParseAddr(strings.TrimSuffix(words[i], ".")); {
			case err == nil && t == dns.TypeCNAME:
				return fmt.Errorf("CNAME record: %q is an address: want an A or AAAA record, or a host name", words[i])
			case err == nil:
				return fmt.Errorf("%s record: %q is an address; it names a host: want the host's name, and an A or AAAA record of that", what, words[i])
			case strings.Contains(words[i], "://"):
				return fmt.Errorf("%s record: %q is a URL; want a host name: DNS leads to no path", what, words[i])
			}
		}
	}
	for _, i := range slices.Concat(names[t], hosts[t]) {
		if i < len(words) {
			if err := l.relative(words[i], l.m.origin); err != nil {
				return fmt.Errorf("%s record: %w", what, err)
			}
		}
	}
	switch rr := r.rr.(type) {
	case *dns.SOA:
		if len(words) != 7 {
			return fmt.Errorf("SOA record: has %d values of 7: want %s", len(words), forms[t])
		}
		if local, host, at := strings.Cut(words[1], "@"); at && local != "" {
			return fmt.Errorf("SOA record: %q is a mail address; write it as a domain name: %s.%s", words[1], strings.ReplaceAll(local, ".", `\.`), host)
		}
	case *dns.DS:
		if want := digestBytes[rr.DigestType]; want > 0 && len(rr.Digest) != 2*want {
			return fmt.Errorf("DS record: the digest of type %d has %d hex digits; want %d", rr.DigestType, len(rr.Digest), 2*want)
		}
	}
	return nil
}

// digestBytes are the lengths of DS digests (RFC 3658, RFC 4509, RFC 6605).
var digestBytes = map[uint8]int{dns.SHA1: 20, dns.SHA256: 32, dns.SHA384: 48}

// fields splits RDATA into its words; "" has one, which is empty.
func fields(s string) []string {
	var words []string
	for {
		word, rest := cutField(s)
		words = append(words, word)
		if rest == "" {
			return words
		}
		s = rest
	}
}

// checkASCII refuses what is not ASCII outside quotes: on the wire it would be
// bytes that no resolver asks for (RFC 5891 section 4.4 wants A-labels).
func checkASCII(text string) error {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c >= 0x80 && !quoted:
			from := strings.LastIndexAny(text[:i], " \t") + 1
			word, _ := cutField(text[from:])
			if strings.ContainsAny(word, "“”„‘’«»") {
				return fmt.Errorf(`%s has typographic quotes: write plain ones, as "text"`, word)
			}
			if ascii, err := idna.Lookup.ToASCII(word); err == nil {
				return fmt.Errorf("%q is not ASCII: write a name as %s, and a text in quotes", word, ascii)
			}
			return fmt.Errorf("%q is not ASCII: write a name in its xn-- form, and a text in quotes", word)
		}
	}
	return nil
}

// errOutside says that an owner does not lie in the zone.
func errOutside(owner, apex Name) error {
	return fmt.Errorf("%s is not in the zone %s (a name without a final dot is relative to the origin)", owner, apex)
}
