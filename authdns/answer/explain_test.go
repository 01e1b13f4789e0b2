package answer

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/fairlead-dns/fairlead/authdns/usage"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/steer"
)

func chaosQuestion(name string) *dns.Msg {
	m := question(name, "TXT")
	m.Question[0].Qclass = dns.ClassCHAOS
	return m
}

// lines are the strings of the TXT records, joined within each.
func lines(m *dns.Msg) (out []string) {
	for _, rr := range m.Answer {
		out = append(out, strings.Join(rr.(*dns.TXT).Txt, ""))
	}
	return out
}

// explained is the fixture with an Explain that repeats what it is asked.
func explained(say func(Explanation) []string) *Snapshot {
	snap := *fixture()
	snap.Explain = say
	return &snap
}

var debugClients = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:a::/48")}

func TestExplain(t *testing.T) {
	r := responder(t, Options{NSID: "ns-1", DebugClients: debugClients})
	repeat := explained(func(x Explanation) []string {
		return []string{fmt.Sprint(x.Name, " ", x.Type, " ", x.Client, " ", x.Now.Unix()), `a\b "c"`}
	})
	for _, c := range []struct {
		name, source, subnet string
		snap                 *Snapshot
		want                 string
		reason               Reason
	}{
		{"www.example.test.explain.fairlead.", "198.51.100.7", "", repeat, "www.example.test.  198.51.100.7 1000000000", Explained},
		{"WWW.example.test.Explain.FAIRLEAD.", "::ffff:198.51.100.7", "", repeat, "www.example.test.  198.51.100.7 1000000000", Explained},
		{"_aaaa.www.example.test.explain.fairlead.", "2001:db8:a::1", "", repeat, "www.example.test. AAAA 2001:db8:a::1 1000000000", Explained},
		{"_cname.www.example.test.explain.fairlead.", "198.51.100.7", "203.0.113.0/24", repeat, "www.example.test. CNAME 203.0.113.0 1000000000", Explained},
		{"_a.x.explain.fairlead.", "198.51.100.7", "", repeat, "x. A 198.51.100.7 1000000000", Explained},
		{"_a.explain.fairlead.", "198.51.100.7", "", repeat, ". A 198.51.100.7 1000000000", Explained},
		{`a\.b.example.test.explain.fairlead.`, "198.51.100.7", "", repeat, `a\\.b.example.test.  198.51.100.7 1000000000`, Explained},
		// Others: whatever the subnet option says.
		{"www.example.test.explain.fairlead.", "203.0.113.7", "198.51.100.0/24", repeat, "", NotDebugged},
		{"explain.fairlead.", "198.51.100.7", "", repeat, "", BadClass},
		{"www.example.test.xexplain.fairlead.", "198.51.100.7", "", repeat, "", BadClass},
		{"www.example.test.explain.fairlead.", "198.51.100.7", "", nil, "", NotReady},
		{"www.example.test.explain.fairlead.", "203.0.113.7", "", nil, "", NotDebugged},
		{"www.example.test.explain.fairlead.", "198.51.100.7", "", fixture(), "", NotReady},
	} {
		m := chaosQuestion(c.name)
		m.SetEdns0(1232, false)
		if c.subnet != "" {
			p := netip.MustParsePrefix(c.subnet)
			m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(p.Bits()), Address: p.Addr().AsSlice()})
		}
		out, info := r.Respond(nil, Query{Wire: wire(t, m), Source: netip.MustParseAddr(c.source), Now: time.Unix(1e9, 0)}, c.snap)
		got := new(dns.Msg)
		if err := got.Unpack(out); err != nil {
			t.Fatal(err)
		}
		if info.Reason != c.reason || got.Rcode != outcomes[c.reason].rcode {
			t.Errorf("%s from %s: %v, %v", c.name, c.source, info.Reason, got)
		}
		want := []string(nil)
		if c.want != "" {
			want = []string{c.want, `a\\b \"c\"`}
		}
		if d := cmp.Diff(want, lines(got)); d != "" {
			t.Errorf("%s from %s: %s", c.name, c.source, d)
		}
		prohibited := false
		for _, o := range got.IsEdns0().Option {
			e, ok := o.(*dns.EDNS0_EDE)
			prohibited = prohibited || ok && e.InfoCode == dns.ExtendedErrorCodeProhibited
		}
		if prohibited != (c.reason == NotDebugged) {
			t.Errorf("%s from %s: %v", c.name, c.source, got)
		}
	}
	// Another type is not asked so.
	m := chaosQuestion("www.example.test.explain.fairlead.")
	m.Question[0].Qtype = dns.TypeA
	if out, info := r.Respond(nil, Query{Wire: wire(t, m), Source: clientA}, repeat); info.Reason != BadClass {
		t.Errorf("% x %v", out, info)
	}
}

// What does not fit a datagram goes over TCP; what is more than anybody reads is
// cut, and the text says by how much.
func TestExplainLimits(t *testing.T) {
	r := responder(t, Options{DebugClients: debugClients})
	respond := func(n int, tr Transport, size uint16) (*dns.Msg, Info) {
		snap := explained(func(Explanation) (out []string) {
			for i := range n {
				out = append(out, fmt.Sprintf("%04d", i)+strings.Repeat("x", 296))
			}
			return out
		})
		m := chaosQuestion("www.example.test.explain.fairlead.")
		m.SetEdns0(size, false)
		out, info := r.Respond(nil, Query{Wire: wire(t, m), Source: clientA, Transport: tr}, snap)
		got := new(dns.Msg)
		if err := got.Unpack(out); err != nil {
			t.Fatal(err)
		}
		return got, info
	}
	if m, info := respond(3, UDP, 1232); m.Truncated || len(m.Answer) != 3 || info.Truncated || len(m.Answer[0].(*dns.TXT).Txt) != 2 {
		t.Errorf("%v", m)
	}
	if m, info := respond(5, UDP, 4096); !m.Truncated || len(m.Answer) != 0 || !info.Truncated {
		t.Errorf("%v", m)
	}
	if m, _ := respond(5, TCP, 1232); m.Truncated || len(m.Answer) != 5 {
		t.Errorf("%v", m)
	}
	m, _ := respond(20, TCP, 1232)
	got := lines(m)
	total := 0
	for _, l := range got {
		total += len(l)
	}
	if len(got) != 14 || got[13] != "... and 7 more" || total > maxExplain {
		t.Errorf("%d lines, %d bytes, the last is %q", len(got), total, got[len(got)-1])
	}
	if d := cmp.Diff([]string{"... and 2 more"}, within([]string{strings.Repeat("x", 5000), "y"}, maxExplain)); d != "" {
		t.Error(d)
	}
}

// Answers of services are noted, with every service of a chain.
func TestUsage(t *testing.T) {
	start := time.Now()
	base := fixture().View.(*steer.View).Plan.Base
	snap := *fixture()
	snap.Usage = usage.New(start).For(base, start)
	r := responder(t, Options{})
	answered := func(service, endpoint string) bool {
		return snap.Usage.Report(regions.Scope{Service: service, Endpoint: endpoint}, start).LastAnswerMillis != nil
	}
	send := func(name, qtype string) {
		r.Respond(nil, Query{Wire: wire(t, question(name, qtype)), Source: clientB, Now: start}, &snap)
	}
	send("www.example.test.", "TXT")
	send("nope.example.test.", "A")
	send("down.example.test.", "A")
	for _, s := range []string{"www.example.test", "down.example.test"} {
		if answered(s, "") {
			t.Errorf("%s counts as answered", s)
		}
	}
	send("chain.example.test.", "AAAA")
	send("cdn.example.test.", "HTTPS")
	if !answered("chain.example.test", "b1") || !answered("www.example.test", "b1") || answered("www.example.test", "a1") ||
		!answered("cdn.example.test", "b1") || answered("cdn.example.test", "a1") {
		t.Error("not what was answered")
	}
	// To note it takes no memory.
	q := Query{Wire: wire(t, question("www.example.test.", "A")), Source: clientA, Now: start}
	with := testing.AllocsPerRun(100, func() { r.Respond(nil, q, &snap) })
	if without := testing.AllocsPerRun(100, func() { r.Respond(nil, q, fixture()) }); with != without {
		t.Errorf("%v allocations, without usage %v", with, without)
	}
}

func BenchmarkRespond(b *testing.B) {
	r := responder(b, Options{})
	noted := *fixture()
	noted.Usage = usage.New(time.Now()).For(fixture().View.(*steer.View).Plan.Base, time.Now())
	q := Query{Wire: wire(b, question("www.example.test.", "A")), Source: clientA, Now: time.Now()}
	for _, c := range []struct {
		name string
		snap *Snapshot
	}{{"plain", fixture()}, {"noted", &noted}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			dst := make([]byte, 0, 4096)
			for b.Loop() {
				r.Respond(dst, q, c.snap)
			}
		})
	}
}
