package zone

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

// describe prints a match in short.
func describe(m Match) string {
	var b strings.Builder
	b.WriteString(m.Kind.String())
	if m.Node != nil {
		b.WriteString(" at " + m.Node.Owner)
	}
	if m.RRset != nil {
		b.WriteString(" " + dns.Type(m.RRset.Type).String())
	}
	if m.Wildcard {
		b.WriteString(" (wildcard)")
	}
	if m.Service >= 0 {
		fmt.Fprintf(&b, " #%d", m.Service)
	}
	return b.String()
}

func TestLookup(t *testing.T) {
	z := build(t, `
www      A 192.0.2.1
         TXT x
alias    CNAME www
a.b.c    A 192.0.2.2
*.w      A 192.0.2.3
x.y.w    A 192.0.2.4
*.ent.sub TXT x
deep.*.star A 192.0.2.5
del      NS ns.del
ns.del   A 192.0.2.6
del      DS 1 8 2 0000000000000000000000000000000000000000000000000000000000000000
far.del  NS ns.other.test.
dn       DNAME target.other.test.
dn       TXT x
\*.lit   A 192.0.2.7
d\.ot    A 192.0.2.8
*.cn     CNAME www
`, ServiceOwner{Owner: "svc.example.test", Index: 4}, ServiceOwner{Owner: "*.tenant.example.test", Index: 5},
		ServiceOwner{Owner: "n.example.test", Index: 6, Name: true}, ServiceOwner{Owner: "example.test", Index: 7})
	// The wildcard examples are those of RFC 4592 section 2.2.1 in spirit.
	for _, tt := range []struct{ name, qtype, want string }{
		{"example.test", "SOA", "data at example.test. SOA"},
		{"example.test", "NS", "data at example.test. NS"},
		{"example.test", "A", "service at example.test. #7"},
		{"example.test", "MX", "NODATA at example.test."},
		{"www.example.test", "A", "data at www.example.test. A"},
		{"www.example.test", "AAAA", "NODATA at www.example.test."},
		{"www.example.test", "ANY", "data at www.example.test."},
		{"below.www.example.test", "A", "NXDOMAIN"},
		{"alias.example.test", "A", "CNAME at alias.example.test. CNAME"},
		{"alias.example.test", "CNAME", "data at alias.example.test. CNAME"},
		{"alias.example.test", "ANY", "data at alias.example.test. CNAME"},
		{"c.example.test", "A", "NODATA at c.example.test."},
		{"b.c.example.test", "ANY", "NODATA at b.c.example.test."},
		{"z.c.example.test", "A", "NXDOMAIN"},
		{"w.example.test", "A", "NODATA at w.example.test."},
		{"q.w.example.test", "A", "data at *.w.example.test. A (wildcard)"},
		{"q.r.w.example.test", "A", "data at *.w.example.test. A (wildcard)"},
		{"q.w.example.test", "MX", "NODATA at *.w.example.test. (wildcard)"},
		{"*.w.example.test", "A", "data at *.w.example.test. A"},
		{"q.*.w.example.test", "A", "NXDOMAIN"},
		// y.w exists, empty: no wildcard at or below it.
		{"y.w.example.test", "A", "NODATA at y.w.example.test."},
		{"q.y.w.example.test", "A", "NXDOMAIN"},
		{"q.x.y.w.example.test", "A", "NXDOMAIN"},
		// A wildcard that exists empty gives NODATA.
		{"q.star.example.test", "A", "NODATA at *.star.example.test. (wildcard)"},
		{"sub.example.test", "TXT", "NODATA at sub.example.test."},
		{"q.ent.sub.example.test", "TXT", "data at *.ent.sub.example.test. TXT (wildcard)"},
		{"q.cn.example.test", "A", "CNAME at *.cn.example.test. CNAME (wildcard)"},
		// Zone cuts.
		{"del.example.test", "A", "delegation at del.example.test. NS"},
		{"del.example.test", "NS", "delegation at del.example.test. NS"},
		{"del.example.test", "ANY", "delegation at del.example.test. NS"},
		{"del.example.test", "DS", "data at del.example.test. DS"},
		{"ns.del.example.test", "A", "delegation at del.example.test. NS"},
		{"x.ns.del.example.test", "A", "delegation at del.example.test. NS"},
		{"x.del.example.test", "DS", "delegation at del.example.test. NS"},
		{"far.del.example.test", "DS", "delegation at del.example.test. NS"},
		{"example.test", "DS", "NODATA at example.test."},
		// DNAME.
		{"dn.example.test", "A", "NODATA at dn.example.test."},
		{"dn.example.test", "DNAME", "data at dn.example.test. DNAME"},
		{"dn.example.test", "TXT", "data at dn.example.test. TXT"},
		{"x.dn.example.test", "A", "DNAME at dn.example.test. DNAME"},
		{"y.x.dn.example.test", "DNAME", "DNAME at dn.example.test. DNAME"},
		// Escapes: \* is the asterisk label all the same (RFC 4592 section 2.1.1).
		{"q.lit.example.test", "A", "data at *.lit.example.test. A (wildcard)"},
		{`d\.ot.example.test`, "A", "data at d\\.ot.example.test. A"},
		{"d.ot.example.test", "A", "NXDOMAIN"},
		// Services.
		{"svc.example.test", "A", "service at svc.example.test. #4"},
		{"svc.example.test", "AAAA", "service at svc.example.test. #4"},
		{"svc.example.test", "TXT", "NODATA at svc.example.test."},
		{"svc.example.test", "HTTPS", "NODATA at svc.example.test."},
		{"svc.example.test", "ANY", "data at svc.example.test."},
		{"q.tenant.example.test", "AAAA", "service at *.tenant.example.test. (wildcard) #5"},
		{"tenant.example.test", "A", "NODATA at tenant.example.test."},
		{"n.example.test", "A", "service at n.example.test. #6"},
		{"n.example.test", "MX", "service at n.example.test. #6"},
		{"n.example.test", "CNAME", "service at n.example.test. #6"},
		{strings.Repeat("x.", 110) + "example.test", "A", "NXDOMAIN"},
		{strings.Repeat("x.", 110) + "w.example.test", "A", "data at *.w.example.test. A (wildcard)"},
	} {
		m := z.Lookup(name(t, tt.name), dns.StringToType[tt.qtype])
		if got := describe(m); got != tt.want {
			t.Errorf("%s %s: got %s, want %s", tt.name, tt.qtype, got, tt.want)
		}
	}
	for n, want := range map[string]string{
		"q.y.w.example.test": "y.w.example.test.", "nope.example.test": "example.test.",
		"q.w.example.test": "w.example.test.", "www.example.test": "www.example.test.",
	} {
		if m := z.Lookup(name(t, n), dns.TypeA); m.ClosestEncloser.Owner != want {
			t.Errorf("%s: closest encloser %s, want %s", n, m.ClosestEncloser.Owner, want)
		}
	}
}

func TestSetFind(t *testing.T) {
	var zones []*Zone
	for _, o := range []string{"example.test", "sub.example.test", "a.b.sub.example.test", "other.test"} {
		z, err := Build(Params{Origin: o, Nameservers: []string{"ns.x.test"}})
		if err != nil {
			t.Fatal(err)
		}
		zones = append(zones, z)
	}
	s, err := NewSet(zones)
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[string]string{
		"example.test": "example.test.", "www.example.test": "example.test.", "sub.example.test": "sub.example.test.",
		"x.b.sub.example.test": "sub.example.test.", "x.a.b.sub.example.test": "a.b.sub.example.test.",
		"notexample.test": "", "test": "", ".": "", "other.test": "other.test.", strings.Repeat("x.", 100) + "other.test": "other.test.",
		`x\.example.test`: "",
	} {
		got := ""
		if z := s.Find(name(t, n)); z != nil {
			got = z.Origin
		}
		if got != want {
			t.Errorf("%s: %q, want %q", n, got, want)
		}
	}
	if _, err := NewSet(append(zones, zones[1], zones[3])); err == nil || err.Error() != "zone sub.example.test. is there twice\nzone other.test. is there twice" {
		t.Errorf("%v", err)
	}
	hidden := build(t, "", ServiceOwner{Owner: "x.sub.example.test"}, ServiceOwner{Owner: "y.example.test"})
	if _, err := NewSet([]*Zone{hidden, zones[1]}); err == nil || err.Error() != `service "x.sub.example.test." is in zone example.test., but zone sub.example.test. answers for the name: put it there` {
		t.Errorf("%v", err)
	}
	if zs := s.Zones(); len(zs) != 4 || zs[0].Origin != "a.b.sub.example.test." || s.Len() != 4 || s.Zone(zones[0].Name) != zones[0] {
		t.Errorf("%v", zs)
	}
	empty, err := NewSet(nil)
	if err != nil || empty.Find(name(t, "a.test")) != nil {
		t.Errorf("an empty set finds something, or %v", err)
	}
}

// naive answers like RFC 1034 section 4.3.2 reads, label by label from the
// apex down, over nothing but a list of owners and types.
type naive struct {
	apex    string
	records map[string][]string // owner → types; SVC and NAMES are services
}

func (n naive) exists(name string) bool {
	for o := range n.records {
		if o == name || strings.HasSuffix(o, "."+name) {
			return true
		}
	}
	return false
}

func (n naive) has(name, t string) bool {
	for _, x := range n.records[name] {
		if x == t {
			return true
		}
	}
	return false
}

func (n naive) lookup(name, qtype string) string {
	labels := strings.Split(strings.TrimSuffix(name, "."+n.apex), ".")
	if name == n.apex {
		labels = nil
	}
	at := n.apex
	for i := len(labels) - 1; i >= 0; i-- {
		if n.has(at, "DNAME") {
			return "DNAME at " + at + ". DNAME"
		}
		next := labels[i] + "." + at
		if !n.exists(next) {
			star := "*." + at
			if !n.exists(star) {
				return "NXDOMAIN"
			}
			return n.node(star, qtype, " (wildcard)")
		}
		at = next
		if n.has(at, "NS") && (i > 0 || qtype != "DS") {
			return "delegation at " + at + ". NS"
		}
	}
	return n.node(at, qtype, "")
}

func (n naive) node(at, qtype, suffix string) string {
	switch {
	case n.has(at, "NAMES"), n.has(at, "SVC") && (qtype == "A" || qtype == "AAAA"):
		return "service at " + at + "." + suffix + " #1"
	case n.has(at, qtype):
		return "data at " + at + ". " + qtype + suffix
	case n.has(at, "CNAME"):
		return "CNAME at " + at + ". CNAME" + suffix
	}
	return "NODATA at " + at + "." + suffix
}

// TestLookupAgainstNaive compares the lookup over random small zones with
// the naive one, for every name of a small alphabet. Labels that are no
// owner's are asked for, too.
func TestLookupAgainstNaive(t *testing.T) {
	rdata := map[string]string{
		"A": "192.0.2.1", "TXT": "x", "NS": "ns.other.test.", "DS": "1 8 2 00", "CNAME": "c.other.test.", "DNAME": "d.other.test.",
	}
	label := rapid.SampledFrom([]string{"a", "b", "*"})
	rapid.Check(t, func(t *rapid.T) {
		p := Params{Origin: "z.test", Nameservers: []string{"ns.other.test"}}
		n := naive{apex: "z.test", records: map[string][]string{"z.test": {"NS", "SOA"}}}
		for range rapid.IntRange(0, 8).Draw(t, "records") {
			owner := strings.Join(append(rapid.SliceOfN(label, 0, 3).Draw(t, "owner"), "z.test"), ".")
			typ := rapid.SampledFrom([]string{"A", "A", "TXT", "NS", "DS", "CNAME", "DNAME", "SVC", "NAMES"}).Draw(t, "type")
			q := p
			if typ == "SVC" || typ == "NAMES" {
				q.Services = append(q.Services[:len(q.Services):len(q.Services)], ServiceOwner{Owner: owner, Index: 1, Name: typ == "NAMES"})
			} else {
				q.Records += owner + ". " + typ + " " + rdata[typ] + "\n"
			}
			// A record that would make the zone wrong is left out.
			if _, err := Build(q); err != nil {
				continue
			}
			p = q
			n.records[owner] = append(n.records[owner], typ)
		}
		z, err := Build(p)
		if err != nil {
			t.Fatal(err)
		}
		// NS at the apex is no cut.
		var ask func(name string, depth int)
		ask = func(name string, depth int) {
			wire, _ := ParseName(name)
			for _, qtype := range []string{"A", "TXT", "NS", "DS", "CNAME", "DNAME", "AAAA"} {
				code := dns.StringToType[qtype]
				got := describe(z.Lookup(wire, code))
				if want := n.lookup(name, qtype); got != want {
					t.Fatalf("%s %s: got %s, want %s, in\n%s%v", name, qtype, got, want, p.Records, p.Services)
				}
				if again := describe(z.LookupWire([]byte(wire), code)); again != got {
					t.Fatalf("over the wire form: %s", again)
				}
			}
			if depth == 0 {
				return
			}
			for _, l := range []string{"a", "b", "*", "q"} {
				ask(l+"."+name, depth-1)
			}
		}
		ask("z.test", 3)
	})
}

func TestLookupAllocatesNothing(t *testing.T) {
	z := build(t, "a.b.c A 192.0.2.1\n*.w A 192.0.2.1\ndel NS ns.other.test.")
	s, err := NewSet([]*Zone{z})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"a.b.c.example.test", "q.r.w.example.test", "x.del.example.test", strings.Repeat("x.", 100) + "example.test"} {
		wire := []byte(name(t, n))
		if got := testing.AllocsPerRun(100, func() { s.FindWire(wire).LookupWire(wire, dns.TypeA) }); got != 0 {
			t.Errorf("%s: %v allocations", n, got)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	var text strings.Builder
	for i := range 100000 {
		fmt.Fprintf(&text, "h%d.d%d A 192.0.2.1\n", i, i%1000)
	}
	z := build(b, text.String())
	for what, n := range map[string]string{
		"hit": "h777.d777.example.test", "miss": "nope.d777.example.test", "deep-miss": strings.Repeat("x.", 110) + "example.test",
	} {
		wire := []byte(name(b, n))
		b.Run(what, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				z.LookupWire(wire, dns.TypeA)
			}
		})
	}
}

func BenchmarkBuild(b *testing.B) {
	var text strings.Builder
	for i := range 10000 {
		fmt.Fprintf(&text, "h%d.d%d A 192.0.2.1\n", i, i%1000)
	}
	b.ReportAllocs()
	for b.Loop() {
		build(b, text.String())
	}
}
