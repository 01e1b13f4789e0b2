package zone

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// entry is one logical line of a master file: parentheses joined, comments
// gone. The library's parser stops at the first mistake and forgets the lines
// of what it read; splitting first gives every record its line and lets all
// mistakes be told at once.
type entry struct {
	line  int
	blank bool // begins with white space: the owner is that of the record before
	text  string
}

// scanner splits master-file text into entries.
type scanner struct {
	text    string
	line    int
	resumed bool // after a parenthesis that is never closed
}

// next returns the next entry that is not empty. After an error the scan goes
// on at the next line.
func (s *scanner) next() (e entry, ok bool, err error) {
	for len(s.text) > 0 {
		e, err = s.entry()
		if err != nil || strings.TrimSpace(e.text) != "" {
			return e, true, err
		}
	}
	return entry{}, false, nil
}

// entry reads one logical line.
func (s *scanner) entry() (entry, error) {
	start := s.text // not empty
	e := entry{line: s.line, blank: start[0] == ' ' || start[0] == '\t'}
	var text strings.Builder
	depth, quoted, comment := 0, false, false
	for i := 0; i < len(s.text); i++ {
		c := s.text[i]
		switch {
		case c == '\n':
			s.line++
			if quoted {
				s.text = s.text[i+1:]
				return e, errors.New(`a quoted string does not end on its line: close it with "`)
			}
			comment = false
			if depth == 0 {
				s.text = s.text[i+1:]
				e.text = strings.Trim(text.String(), " \t")
				return e, nil
			}
			text.WriteByte(' ')
		case comment || c == '\r':
		case c == '\\':
			// An escaped character means itself wherever it stands.
			text.WriteByte(c)
			if i+1 < len(s.text) && s.text[i+1] != '\n' && s.text[i+1] != '\r' {
				i++
				text.WriteByte(s.text[i])
			}
		case c == '"':
			quoted = !quoted
			text.WriteByte(c)
		case quoted:
			text.WriteByte(c)
		case c == ';':
			comment = true
		case c == '(':
			depth++
			text.WriteByte(' ')
		case c == ')':
			depth--
			if depth < 0 {
				s.skipLine(i)
				return e, errors.New("a closing parenthesis without an opening one")
			}
			text.WriteByte(' ')
		default:
			text.WriteByte(c)
		}
	}
	s.text = ""
	switch {
	case quoted:
		return e, errors.New(`a quoted string does not end on its line: close it with "`)
	case depth > 0:
		if !s.resumed {
			// The mistakes on the other lines count too. Once only: or a text of
			// such lines is read as often as it has lines.
			s.text, s.line, s.resumed = start, e.line, true
			s.skipLine(0)
		}
		return e, errors.New("an opening parenthesis that is never closed")
	}
	e.text = strings.Trim(text.String(), " \t")
	return e, nil
}

func (s *scanner) skipLine(from int) {
	if at := strings.IndexByte(s.text[from:], '\n'); at >= 0 {
		s.text = s.text[from+at+1:]
		s.line++
		return
	}
	s.text = ""
}

// cutField returns the first word of s and what follows it.
func cutField(s string) (word, rest string) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case ' ', '\t':
			return s[:i], strings.TrimLeft(s[i:], " \t")
		}
	}
	return s, ""
}

// master reads master-file text record by record.
type master struct {
	origin string // current $ORIGIN, with final dot
	ttl    uint32 // current $TTL
	owner  string // of the record before
}

// record is one parsed record.
type record struct {
	line  int
	owner Name
	rr    dns.RR
	rdata string // on the wire, names uncompressed
	// As written: the owner, empty where it is that of the record before, and
	// the RDATA.
	first, text string
}

// read parses one entry. A directive gives no record.
func (m *master) read(e entry) (*record, error) {
	r, err := m.parse(e)
	if err != nil && isComment(e.text) {
		// Such a name may be, so this is said only where the rest is wrong too.
		return nil, fmt.Errorf("%w (a comment begins with ;)", err)
	}
	return r, err
}

// isComment tells whether a text begins as comments of other languages do.
func isComment(s string) bool { return strings.HasPrefix(s, "#") || strings.HasPrefix(s, "//") }

func (m *master) parse(e entry) (*record, error) {
	if !escapesFit(e.text) {
		return nil, errors.New(`an escape is no byte: want \000 to \255`)
	}
	first, rest := cutField(e.text)
	if !e.blank && first[0] == '$' {
		return nil, m.directive(first, rest)
	}
	if e.blank {
		rest = e.text
		if m.owner == "" {
			return nil, errors.New("the line begins with white space, but no record before it has an owner name to take over")
		}
	} else {
		// Also when the rest is wrong: what follows belongs to this owner.
		m.owner = m.absolute(first)
	}
	owner, err := ParseName(m.owner)
	if err != nil {
		return nil, fmt.Errorf("owner: %w", err)
	}
	h, rdata, err := m.header(rest)
	if err != nil {
		return nil, err
	}
	h.Name = owner.String()
	r := &record{line: e.line, owner: owner, text: rdata}
	if !e.blank {
		r.first = first
	}
	if r.rr, r.rdata, err = parseRdata(h, rdata, m.origin); err != nil {
		return nil, err
	}
	return r, nil
}

func (m *master) absolute(name string) string {
	switch {
	case name == "@":
		return m.origin
	case dns.IsFqdn(name):
		return name
	case m.origin == ".":
		return name + "."
	}
	return name + "." + m.origin
}

func (m *master) directive(word, rest string) error {
	arg, extra := cutField(rest)
	switch strings.ToUpper(word) {
	case "$ORIGIN":
		if arg == "" || extra != "" {
			return errors.New("$ORIGIN takes one name")
		}
		n, err := ParseName(m.absolute(arg))
		if err != nil {
			return fmt.Errorf("$ORIGIN: %w", err)
		}
		m.origin = n.String()
	case "$TTL":
		if arg == "" || extra != "" {
			return errors.New("$TTL takes one duration, as 3600 or 1h")
		}
		ttl, err := parseTTL(arg)
		if err != nil {
			return fmt.Errorf("$TTL: %w", err)
		}
		m.ttl = ttl
	default:
		return fmt.Errorf("%s is not allowed here: write the records out ($ORIGIN and $TTL are understood)", strings.ToUpper(word))
	}
	return nil
}

// header reads [TTL] [class] type, in which TTL and class may change places.
func (m *master) header(s string) (h dns.RR_Header, rdata string, err error) {
	h = dns.RR_Header{Class: dns.ClassINET, Ttl: m.ttl}
	var haveTTL, haveClass bool
	for {
		word, rest := cutField(s)
		upper := strings.ToUpper(word)
		switch {
		case word == "":
			return h, "", errors.New("the record type is missing")
		case !haveTTL && isDigit(word[0]):
			if h.Ttl, err = parseTTL(word); err != nil {
				return h, "", err
			}
			haveTTL = true
		case isDigit(word[0]):
			return h, "", fmt.Errorf("%q is a second TTL; want the record type", word)
		case haveClass && isClass(upper):
			return h, "", fmt.Errorf("%q is a second class; want the record type", word)
		case isClass(upper):
			if upper != "IN" && upper != "CLASS1" {
				return h, "", fmt.Errorf("class %s: only IN is served", word)
			}
			haveClass = true
		default:
			h.Rrtype, err = parseType(upper)
			if err != nil {
				return h, "", err
			}
			return h, rest, nil
		}
		s = rest
	}
}

func isClass(upper string) bool {
	if _, ok := dns.StringToClass[upper]; ok {
		// ANY is a record type as well; neither is allowed in a zone.
		return upper != "ANY"
	}
	number, ok := strings.CutPrefix(upper, "CLASS")
	_, err := strconv.ParseUint(number, 10, 16)
	return ok && err == nil
}

func parseType(upper string) (uint16, error) {
	t, known := dns.StringToType[upper]
	if !known {
		// Types that the library does not know (RFC 3597 section 5).
		number, ok := strings.CutPrefix(upper, "TYPE")
		n, err := strconv.ParseUint(number, 10, 16)
		switch {
		case upper == "ALIAS" || upper == "ANAME":
			return 0, fmt.Errorf("%s is no record type of DNS: make a Service of the name; it answers with addresses, at the apex too", upper)
		case !ok || err != nil:
			return 0, fmt.Errorf("unknown record type %q: want one as A or MX, or TYPE and its number", upper)
		}
		t = uint16(n)
	}
	if t == dns.TypeNone || t == dns.TypeOPT || (t >= 128 && t <= 255) {
		return 0, fmt.Errorf("%s is a type of queries or messages (RFC 6895 section 3.1): it has no place in a zone", dns.Type(t))
	}
	return t, nil
}

// maxTTL is the largest TTL (RFC 2181 section 8).
const maxTTL = 1<<31 - 1

// parseTTL reads seconds, or numbers with the units s, m, h, d and w.
func parseTTL(s string) (uint32, error) {
	wrong := fmt.Errorf("%q is no TTL: want seconds, or numbers with s, m, h, d or w as 1h30m, at most %d seconds", s, maxTTL)
	var total, n uint64
	digits := 0
	for _, c := range []byte(s) {
		unit := uint64(1)
		switch c | 0x20 {
		case 's':
		case 'm':
			unit = 60
		case 'h':
			unit = 3600
		case 'd':
			unit = 86400
		case 'w':
			unit = 604800
		default:
			if !isDigit(c) || digits > 10 {
				return 0, wrong
			}
			n = n*10 + uint64(c-'0')
			digits++
			continue
		}
		if digits == 0 {
			return 0, wrong
		}
		total += n * unit
		n, digits = 0, 0
	}
	total += n
	if total > maxTTL {
		return 0, wrong
	}
	return uint32(total), nil
}
