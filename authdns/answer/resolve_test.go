package answer

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

const (
	soa      = "au example.test. 30 IN SOA ns1.example.test. hostmaster.example.test. 42 3600 600 1209600 30"
	otherSOA = "au other.test. 7 IN SOA ns1.example.test. hostmaster.other.test. 1 3600 600 1209600 7"
)

func TestAnswers(t *testing.T) {
	r := responder(t, Options{})
	var c17 []string
	for i := range 17 {
		c17 = append(c17, "an c"+strconv.Itoa(i)+".example.test. 3600 IN CNAME c"+strconv.Itoa(i+1)+".example.test.")
	}
	delegation := "au del.example.test. 3600 IN NS ns.del.example.test.\nau del.example.test. 3600 IN NS ns1.example.test.\n" +
		"au del.example.test. 3600 IN NS ns.elsewhere.test.\nad ns.del.example.test. 3600 IN A 192.0.2.54\n" +
		"ad ns1.example.test. 3600 IN A 192.0.2.53\nad ns1.example.test. 3600 IN AAAA 2001:db8::53"
	for _, tt := range []struct {
		q      string
		want   string
		reason Reason
	}{
		// Static data.
		{"host.example.test. A", "NOERROR aa\nan host.example.test. 300 IN A 192.0.2.1\nan host.example.test. 300 IN A 192.0.2.2", Answered},
		{"example.test. SOA", "NOERROR aa\nan example.test. 3600 IN SOA ns1.example.test. hostmaster.example.test. 42 3600 600 1209600 30", Answered},
		{"example.test. NS", "NOERROR aa\nan example.test. 3600 IN NS ns1.example.test.\nan example.test. 3600 IN NS ns2.elsewhere.test.\nad ns1.example.test. 3600 IN A 192.0.2.53\nad ns1.example.test. 3600 IN AAAA 2001:db8::53", Answered},
		{"example.test. MX", "NOERROR aa\nan example.test. 3600 IN MX 10 mail.example.test.", Answered},
		{"odd.example.test. TYPE65280", "NOERROR aa\nan odd.example.test. 3600 CLASS1 TYPE65280 \\# 4 01020304", Answered},
		{"svcb.example.test. HTTPS", "NOERROR aa\nan svcb.example.test. 3600 IN HTTPS 1 . alpn=\"h2\"", Answered},
		{`d\.ot.example.test. A`, "NOERROR aa\nan d\\.ot.example.test. 3600 IN A 192.0.2.6", Answered},
		{`d.ot.example.test. A`, "NXDOMAIN aa\n" + soa, NXDomain},
		{"child.example.test. NS", "NOERROR aa\nan child.example.test. 3600 IN NS ns1.child.example.test.\nad ns1.child.example.test. 3600 IN A 192.0.2.55", Answered},
		{"x.child.example.test. A", "NOERROR aa\nan x.child.example.test. 3600 IN A 192.0.2.56", Answered},
		// Negative answers; RFC 2308: the TTL is the lower of SOA's own and its minimum.
		{"nope.example.test. A", "NXDOMAIN aa\n" + soa, NXDomain},
		{"x.host.example.test. A", "NXDOMAIN aa\n" + soa, NXDomain},
		{"host.example.test. AAAA", "NOERROR aa\n" + soa, NoData},
		{"ent.example.test. A", "NOERROR aa\n" + soa, NoData},
		{"b.ent.example.test. MX", "NOERROR aa\n" + soa, NoData},
		{"nope.other.test. A", "NOERROR aa\n" + otherSOA, NoData},
		// Wildcards.
		{"q.wild.example.test. A", "NOERROR aa\nan q.wild.example.test. 3600 IN A 192.0.2.4", Answered},
		{"q.r.wild.example.test. TXT", "NOERROR aa\nan q.r.wild.example.test. 3600 IN TXT \"w\"", Answered},
		{"q.wild.example.test. MX", "NOERROR aa\n" + soa, NoData},
		{"*.wild.example.test. A", "NOERROR aa\nan *.wild.example.test. 3600 IN A 192.0.2.4", Answered},
		{"y.wild.example.test. A", "NOERROR aa\n" + soa, NoData},
		{"q.y.wild.example.test. A", "NXDOMAIN aa\n" + soa, NXDomain},
		{"q.walias.example.test. A", "NOERROR aa\nan q.walias.example.test. 3600 IN CNAME host.example.test.\nan host.example.test. 300 IN A 192.0.2.1\nan host.example.test. 300 IN A 192.0.2.2", Answered},
		// Aliases.
		{"alias.example.test. CNAME", "NOERROR aa\nan alias.example.test. 60 IN CNAME host.example.test.", Answered},
		{"two.example.test. TXT", "NOERROR aa\nan two.example.test. 3600 IN CNAME alias.example.test.\nan alias.example.test. 60 IN CNAME host.example.test.\nan host.example.test. 3600 IN TXT \"x\"", Answered},
		{"two.example.test. MX", "NOERROR aa\nan two.example.test. 3600 IN CNAME alias.example.test.\nan alias.example.test. 60 IN CNAME host.example.test.\n" + soa, NoData},
		{"out.example.test. A", "NOERROR aa\nan out.example.test. 3600 IN CNAME www.elsewhere.test.", Answered},
		{"tonx.example.test. A", "NXDOMAIN aa\nan tonx.example.test. 3600 IN CNAME nope.example.test.\n" + soa, NXDomain},
		{"toother.example.test. AAAA", "NOERROR aa\nan toother.example.test. 3600 IN CNAME www.other.test.\nan www.other.test. 900 IN AAAA 2001:db8::80", Answered},
		{"loop.example.test. A", "NOERROR aa\nan loop.example.test. 3600 IN CNAME loop2.example.test.\nan loop2.example.test. 3600 IN CNAME loop.example.test.", Answered},
		{"self.example.test. A", "NOERROR aa\nan self.example.test. 3600 IN CNAME self.example.test.", Answered},
		{"c0.example.test. A", "NOERROR aa\n" + strings.Join(c17, "\n"), Answered},
		{"case.example.test. A", "NOERROR aa\nan case.example.test. 3600 IN CNAME MiXed.Example.Test.\nan mixed.example.test. 3600 IN A 192.0.2.7", Answered},
		{"todel.example.test. A", "NOERROR aa\nan todel.example.test. 3600 IN CNAME x.del.example.test.\n" + delegation, Answered},
		// DNAME.
		{"dn.example.test. DNAME", "NOERROR aa\nan dn.example.test. 120 IN DNAME other.test.", Answered},
		{"dn.example.test. A", "NOERROR aa\n" + soa, NoData},
		{"www.dn.example.test. A", "NOERROR aa\nan dn.example.test. 120 IN DNAME other.test.\nan www.dn.example.test. 120 IN CNAME www.other.test.\nan www.other.test. 900 IN A 192.0.2.80", Answered},
		{"www.dn.example.test. CNAME", "NOERROR aa\nan dn.example.test. 120 IN DNAME other.test.\nan www.dn.example.test. 120 IN CNAME www.other.test.", Answered},
		{"q.dnself.example.test. A", "NXDOMAIN aa\nan dnself.example.test. 3600 IN DNAME host.example.test.\nan q.dnself.example.test. 3600 IN CNAME q.host.example.test.\n" + soa, NXDomain},
		{"q.dnloop.example.test. A", "NOERROR aa\nan dnloop.example.test. 3600 IN DNAME dnloop.example.test.\nan q.dnloop.example.test. 3600 IN CNAME q.dnloop.example.test.", Answered},
		{
			strings.Repeat("x.", 80) + "dnlong.example.test. A",
			"YXDOMAIN aa\nan dnlong.example.test. 3600 IN DNAME " + strings.Repeat("a", 60) + "." + strings.Repeat("b", 52) + ".test.", NameTooLong,
		},
		// Zone cuts.
		{"del.example.test. NS", "NOERROR\n" + delegation, Referral},
		{"x.y.del.example.test. A", "NOERROR\n" + delegation, Referral},
		{"ns.del.example.test. A", "NOERROR\n" + delegation, Referral},
		{"del.example.test. DS", "NOERROR aa\nan del.example.test. 3600 IN DS 1 8 2 " + strings.Repeat("0", 64), Answered},
		{"x.del.example.test. DS", "NOERROR\n" + delegation, Referral},
		// The DS of a child that we serve too is the parent's (RFC 4035 section 3.1.4.1).
		{"child.example.test. DS", "NOERROR aa\nan child.example.test. 3600 IN DS 2 8 2 " + strings.Repeat("1", 64), Answered},
		{"nodel.example.test. DS", "NOERROR aa\nau nodel.example.test. 30 IN SOA ns1.example.test. hostmaster.nodel.example.test. 1 3600 600 1209600 30", NoData},
		{"other.test. DS", "NOERROR aa\n" + otherSOA, NoData},
		// ANY (RFC 8482).
		{"host.example.test. ANY", "NOERROR aa\nan host.example.test. 3600 IN HINFO \"RFC8482\" \"\"", Answered},
		{"alias.example.test. ANY", "NOERROR aa\nan alias.example.test. 60 IN CNAME host.example.test.", Answered},
		{"www.example.test. ANY", "NOERROR aa\nan www.example.test. 3600 IN HINFO \"RFC8482\" \"\"", Answered},
		{"ent.example.test. ANY", "NOERROR aa\n" + soa, NoData},
		{"nope.example.test. ANY", "NXDOMAIN aa\n" + soa, NXDomain},
		{"q.dn.example.test. ANY", "NOERROR aa\nan dn.example.test. 120 IN DNAME other.test.\nan q.dn.example.test. 120 IN CNAME q.other.test.", Answered},
		// Services; the client is of region b.
		{"www.example.test. A", "NOERROR aa\nan www.example.test. 30 IN A 192.0.2.201", Answered},
		{"www.example.test. AAAA", "NOERROR aa\nan www.example.test. 30 IN AAAA 2001:db8::201", Answered},
		{"www.example.test. TXT", "NOERROR aa\nan www.example.test. 3600 IN TXT \"beside the service\"", Answered},
		{"www.example.test. HTTPS", "NOERROR aa\n" + soa, NoData},
		{"x.www.example.test. A", "NXDOMAIN aa\n" + soa, NXDomain},
		{"example.test. A", "NOERROR aa\nan example.test. 20 IN A 192.0.2.202", Answered},
		{"example.test. AAAA", "NOERROR aa\n" + soa, NoData},
		{"q.tenant.example.test. A", "NOERROR aa\nan q.tenant.example.test. 10 IN A 192.0.2.203", Answered},
		{"tenant.example.test. A", "NOERROR aa\n" + soa, NoData},
		{"tosvc.example.test. A", "NOERROR aa\nan tosvc.example.test. 3600 IN CNAME www.example.test.\nan www.example.test. 30 IN A 192.0.2.201", Answered},
		{"cdn.example.test. A", "NOERROR aa\nan cdn.example.test. 15 IN CNAME b.cdn.elsewhere.test.", Answered},
		{"cdn.example.test. HTTPS", "NOERROR aa\nan cdn.example.test. 15 IN CNAME b.cdn.elsewhere.test.", Answered},
		{"cdn.example.test. CNAME", "NOERROR aa\nan cdn.example.test. 15 IN CNAME b.cdn.elsewhere.test.", Answered},
		{"chain.example.test. AAAA", "NOERROR aa\nan chain.example.test. 15 IN CNAME www.example.test.\nan www.example.test. 30 IN AAAA 2001:db8::201", Answered},
		{"chain.example.test. ANY", "NOERROR aa\nan chain.example.test. 15 IN CNAME www.example.test.", Answered},
		{"q.names.example.test. A", "NOERROR aa\nan q.names.example.test. 15 IN CNAME host.example.test.\nan host.example.test. 300 IN A 192.0.2.1\nan host.example.test. 300 IN A 192.0.2.2", Answered},
		{"down.example.test. A", "NOERROR aa\n" + soa, NoData},
		// Not ours.
		{"www.elsewhere.test. A", "REFUSED", NotAuthoritative},
		{"test. A", "REFUSED", NotAuthoritative},
		{". NS", "REFUSED", NotAuthoritative},
	} {
		name, qtype, _ := strings.Cut(tt.q, " ")
		m := question(name, qtype)
		if qtype == "TYPE65280" {
			m.Question[0].Qtype = 65280
		}
		got, info := ask(t, r, m, clientB, UDP)
		if d := cmp.Diff(tt.want, text(got)); d != "" {
			// The long ones need more than a datagram without EDNS.
			if got.Truncated {
				got, info = ask(t, r, m, clientB, TCP)
				d = cmp.Diff(tt.want, text(got))
			}
			if d != "" {
				t.Errorf("%s: %s", tt.q, d)
			}
		}
		if info.Reason != tt.reason || info.Rcode != got.Rcode || info.Qtype != m.Question[0].Qtype {
			t.Errorf("%s: info %+v", tt.q, info)
		}
		if len(got.Question) != 1 || got.Question[0] != m.Question[0] || got.Id != m.Id || !got.Response {
			t.Errorf("%s: header or question: %v", tt.q, got)
		}
	}
}

func TestInfo(t *testing.T) {
	r := responder(t, Options{})
	_, info := ask(t, r, question("www.example.test.", "A"), clientA, UDP)
	if info.Service != svcWWW || info.Region != 0 || info.Zone == nil || info.Zone.Origin != "example.test." || info.Truncated {
		t.Errorf("%+v", info)
	}
	_, info = ask(t, r, question("host.example.test.", "A"), clientA, UDP)
	if info.Service != -1 || info.Region != -1 {
		t.Errorf("%+v", info)
	}
}

// The address of the client decides, and where two endpoints answer, the
// random word their order.
func TestServiceByClient(t *testing.T) {
	r := responder(t, Options{})
	orders := map[string]bool{}
	for random := range uint64(20) {
		out, _ := r.Respond(nil, Query{Wire: wire(t, question("www.example.test.", "A")), Source: clientA, Random: random}, fixture())
		m := new(dns.Msg)
		if err := m.Unpack(out); err != nil {
			t.Fatal(err)
		}
		if len(m.Answer) != 2 {
			t.Fatalf("%v", m)
		}
		var order []string
		for _, rr := range m.Answer {
			order = append(order, rr.(*dns.A).A.String())
		}
		orders[strings.Join(order, " ")] = true
	}
	if len(orders) != 2 || !orders["192.0.2.101 192.0.2.102"] || !orders["192.0.2.102 192.0.2.101"] {
		t.Errorf("%v", orders)
	}
}

// The bytes after the question do not depend on how the name is spelled, and
// the asker's spelling comes back.
func TestSpelling(t *testing.T) {
	r := responder(t, Options{})
	for _, name := range []string{
		"host.example.test.", "two.example.test.", "q.wild.example.test.", "nope.example.test.", "x.del.example.test.",
		"www.example.test.", "q.tenant.example.test.", "www.dn.example.test.", "chain.example.test.", "case.example.test.",
	} {
		send := func(m *dns.Msg) []byte {
			out, _ := r.Respond(nil, Query{Wire: wire(t, m), Source: clientB, Transport: TCP, Random: 3}, fixture())
			return out
		}
		lower := send(question(name, "A"))
		mixed := question(strings.ToUpper(name), "A")
		upper := send(mixed)
		end := headerSize + len(name) + 1 + 4
		if string(lower[end:]) != string(upper[end:]) {
			t.Errorf("%s: the spelling changes the response", name)
		}
		m := new(dns.Msg)
		if err := m.Unpack(upper); err != nil {
			t.Fatal(err)
		}
		if m.Question[0] != mixed.Question[0] {
			t.Errorf("%s: question %v", name, m.Question[0])
		}
		if len(m.Answer) > 0 {
			if owner := m.Answer[0].Header().Name; !strings.HasSuffix(strings.ToUpper(name), owner) {
				t.Errorf("%s: owner %s", name, owner)
			}
		}
	}
}
