package answer

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/fairlead-dns/fairlead/regions/zone"
)

// Explanation is what is to be explained: to a client, the answer to a query.
type Explanation struct {
	Name   string // with its final dot
	Type   string // A, AAAA or CNAME; empty: not said
	Client netip.Addr
	Now    time.Time
}

// explainName is below what explanations are asked for:
//
//	dig @NAMESERVER CH TXT NAME.explain.fairlead. [+subnet=CLIENT]
//	dig @NAMESERVER CH TXT _aaaa.NAME.explain.fairlead.
//
// The first label may be the type, as _a, _aaaa or _cname; it is A without. Labels
// that begin so are never host names (RFC 8552), so no service is hidden by them.
// The client is that of the subnet option, or who asks.
const explainName = zone.Name("\x07explain\x08fairlead\x00")

// maxExplain is how much text is sent, in bytes.
const maxExplain = 4096

// explain answers with an explanation, one TXT record a line, in order.
func (r *Responder) explain(p *reply, snap *Snapshot) Reason {
	source := p.in.Source.Unmap()
	switch {
	case p.q.name == explainName:
		return BadClass
	case !slices.ContainsFunc(r.o.DebugClients, func(c netip.Prefix) bool { return c.Contains(source) }):
		return NotDebugged
	case !snap.ready() || snap.Explain == nil:
		return NotReady
	}
	x := Explanation{Now: p.in.Now}
	name := p.q.name[:len(p.q.name)-len(explainName)] + zone.Root
	switch name[:name[0]+1] {
	case "\x02_a":
		x.Type = "A"
	case "\x05_aaaa":
		x.Type = "AAAA"
	case "\x06_cname":
		x.Type = "CNAME"
	}
	if x.Type != "" {
		name = name.Parent()
	}
	x.Name = name.String()
	x.Client, _ = p.q.client(p.in.Source)
	p.scope = p.q.ecs.source
	owner := p.q.name.String()
	for _, line := range within(snap.Explain(x), maxExplain) {
		p.answer = append(p.answer, &dns.TXT{
			Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeTXT, Class: dns.ClassCHAOS},
			Txt: texts(line),
		})
	}
	p.authoritative = true
	return Explained
}

// within returns as many lines as have room, and says how many more there are.
func within(lines []string, room int) []string {
	total := 0
	for _, l := range lines {
		total += len(l)
	}
	if total <= room {
		return lines
	}
	more := func(n int) string { return fmt.Sprintf("... and %d more", n) }
	room -= len(more(len(lines)))
	for i, l := range lines {
		if room -= len(l); room < 0 {
			return append(slices.Clone(lines[:i]), more(len(lines)-i))
		}
	}
	return lines
}

// texts cuts a line into the strings of a TXT record, of 255 bytes at most (RFC
// 1035 section 3.3.14), as the library wants them: it takes a backslash for an
// escape.
func texts(line string) []string {
	var out []string
	for len(line) > 255 {
		out, line = append(out, line[:255]), line[255:]
	}
	out = append(out, line)
	for i := range out {
		out[i] = strings.ReplaceAll(out[i], `\`, `\\`)
	}
	return out
}
