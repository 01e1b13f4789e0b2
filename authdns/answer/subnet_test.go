package answer

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

// askSubnet sends a client subnet option as raw bytes and returns the
// response and the data of the option in it.
func askSubnet(t *testing.T, r *Responder, name, qtype, option string, src netip.Addr) (*dns.Msg, string, Info) {
	t.Helper()
	m := question(name, qtype)
	m.SetEdns0(1232, false)
	o := m.IsEdns0()
	o.Option = append(o.Option, &dns.EDNS0_LOCAL{Code: dns.EDNS0SUBNET, Data: []byte(option)})
	got, info := ask(t, r, m, src, UDP)
	// What the library makes of an option differs in form; these are the bytes.
	out, _ := r.Respond(nil, Query{Wire: wire(t, m), Source: src}, fixture())
	_, data, _ := strings.Cut(string(out), "\x00\x08\x00"+string(rune(len(option))))
	return got, data[:min(len(data), len(option))], info
}

func TestSubnetForm(t *testing.T) {
	r := responder(t, Options{})
	v6 := "\x20\x01\x0d\xb8\x00\x0a"
	for _, tt := range []struct {
		name, option string
		ok           bool
	}{
		{"/24", "\x00\x01\x18\x00\xc6\x33\x64", true},
		{"/32", "\x00\x01\x20\x00\xc6\x33\x64\x07", true},
		{"/23", "\x00\x01\x17\x00\xc6\x33\x64", true},
		{"/1", "\x00\x01\x01\x00\x80", true},
		{"/0", "\x00\x01\x00\x00", true},
		{"IPv6 /48", "\x00\x02\x30\x00" + v6, true},
		{"IPv6 /128", "\x00\x02\x80\x00" + v6 + strings.Repeat("\x01", 10), true},
		{"IPv6 /0", "\x00\x02\x00\x00", true},
		{"no family, no address", "\x00\x00\x00\x00", true},
		{"empty", "", false},
		{"cut", "\x00\x01\x18", false},
		{"address missing", "\x00\x01\x18\x00", false},
		{"address too short", "\x00\x01\x18\x00\xc6\x33", false},
		{"address too long", "\x00\x01\x18\x00\xc6\x33\x64\x00", false},
		{"bits beyond the prefix", "\x00\x01\x17\x00\xc6\x33\x65", false},
		{"bits beyond the IPv6 prefix", "\x00\x02\x2f\x00\x20\x01\x0d\xb8\x00\x0b", false},
		{"scope in a query", "\x00\x01\x18\x18\xc6\x33\x64", false},
		{"/33", "\x00\x01\x21\x00\xc6\x33\x64\x07\x80", false},
		{"IPv6 /129", "\x00\x02\x81\x00" + strings.Repeat("\x01", 16) + "\x80", false},
		{"no family with a prefix", "\x00\x00\x08\x00\x0a", false},
		{"unknown family", "\x00\x03\x08\x00\x0a", false},
		{"unknown family without a prefix", "\x00\x03\x00\x00", false},
	} {
		got, subnet, info := askSubnet(t, r, "www.example.test.", "A", tt.option, clientB)
		if tt.ok && (got.Rcode != dns.RcodeSuccess || subnet == "") {
			t.Errorf("%s: refused: %v", tt.name, got)
		}
		if !tt.ok && (got.Rcode != dns.RcodeFormatError || subnet != "" || info.Reason != BadSubnet) {
			t.Errorf("%s: taken: %v", tt.name, got)
		}
		// Who does not know the option does not mind its form.
		got, subnet, _ = askSubnet(t, responder(t, Options{IgnoreSubnet: true}), "www.example.test.", "A", tt.option, clientB)
		if got.Rcode != dns.RcodeSuccess || subnet != "" || got.Answer[0].(*dns.A).A.String() != "192.0.2.201" {
			t.Errorf("%s, ignored: %v", tt.name, got)
		}
	}
	// The option twice.
	m := question("www.example.test.", "A")
	m.SetEdns0(1232, false)
	for range 2 {
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_LOCAL{Code: dns.EDNS0SUBNET, Data: []byte("\x00\x01\x00\x00")})
	}
	if got, info := ask(t, r, m, clientB, UDP); got.Rcode != dns.RcodeFormatError || info.Reason != BadSubnet {
		t.Errorf("twice: %v", got)
	}
}

func TestSubnetDecides(t *testing.T) {
	r := responder(t, Options{})
	inA, inA6 := "\x00\x01\x18\x00\xc6\x33\x64", "\x00\x02\x30\x00\x20\x01\x0d\xb8\x00\x0a"
	mappedA := "\x00\x02\x78\x00" + strings.Repeat("\x00", 10) + "\xff\xff\xc6\x33\x64"
	for _, tt := range []struct {
		name, q, option string
		src             netip.Addr
		region          int32 // -1: no service
		scope           byte
	}{
		{"prefix instead of source", "www.example.test. A", inA, clientB, 0, 24},
		{"family differs from the type", "www.example.test. AAAA", inA, clientB, 0, 24},
		{"IPv6 prefix", "www.example.test. A", inA6, clientB, 0, 48},
		{"IPv4-mapped prefix", "www.example.test. A", mappedA, clientB, 0, 120},
		{"another prefix", "www.example.test. A", "\x00\x01\x10\x00\xcb\x00", clientA, 1, 5},
		{"prefix 0: the source decides", "www.example.test. A", "\x00\x01\x00\x00", clientA, 0, 0},
		{"no family: the source decides", "www.example.test. A", "\x00\x00\x00\x00", clientA, 0, 0},
		{"static data", "host.example.test. A", inA, clientB, -1, 0},
		{"static data of a service", "www.example.test. TXT", inA, clientB, -1, 0},
		{"no such name", "nope.example.test. A", inA, clientB, -1, 0},
		{"no such type", "host.example.test. AAAA", inA, clientB, -1, 0},
		{"not ours", "www.elsewhere.test. A", inA, clientB, -1, 0},
		{"a service of one region", "example.test. A", inA, clientB, 1, 0},
		{"a service with no such family", "example.test. AAAA", inA, clientB, -1, 0},
		{"names", "cdn.example.test. A", inA, clientB, 0, 24},
		{"an alias of a service", "tosvc.example.test. A", inA, clientB, 0, 24},
		{"a service that is an alias of a service", "chain.example.test. A", inA, clientB, 0, 24},
	} {
		name, qtype, _ := strings.Cut(tt.q, " ")
		_, subnet, info := askSubnet(t, r, name, qtype, tt.option, tt.src)
		// All but the scope comes back as it was sent (RFC 7871 section 7.2.1).
		want := tt.option[:3] + string([]byte{tt.scope}) + tt.option[4:]
		if info.Region != tt.region || subnet != want {
			t.Errorf("%s: region %d, subnet % x; want %d, % x", tt.name, info.Region, subnet, tt.region, want)
		}
	}
	// Nobody gets an option who sent none.
	m := question("www.example.test.", "A")
	m.SetEdns0(1232, false)
	if got, _ := ask(t, r, m, clientA, UDP); len(got.IsEdns0().Option) != 0 {
		t.Errorf("%v", got)
	}
	// A source in IPv4-mapped form is IPv4.
	if _, info := ask(t, r, m, netip.AddrFrom16(clientA.As16()), UDP); info.Region != 0 {
		t.Errorf("%+v", info)
	}
}

// Every address inside a returned scope gets the same response: resolvers
// answer all of them from their cache.
func TestScopeHolds(t *testing.T) {
	r := responder(t, Options{})
	send := func(t *rapid.T, q string, p netip.Prefix) (answer string, scope int) {
		m := question(q, "A")
		m.SetEdns0(1232, false)
		family := uint16(1)
		if p.Addr().Is6() {
			family = 2
		}
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_SUBNET{
			Code: dns.EDNS0SUBNET, Family: family, SourceNetmask: uint8(p.Bits()), Address: p.Addr().AsSlice(),
		})
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		out, _ := r.Respond(nil, Query{Wire: b, Source: clientB, Random: 5}, fixture())
		got := new(dns.Msg)
		if err := got.Unpack(out); err != nil {
			t.Fatal(err)
		}
		return text(got), int(got.IsEdns0().Option[0].(*dns.EDNS0_SUBNET).SourceScope)
	}
	rapid.Check(t, func(t *rapid.T) {
		q := rapid.SampledFrom([]string{"www.example.test.", "chain.example.test.", "cdn.example.test.", "example.test."}).Draw(t, "name")
		seeds := []netip.Addr{clientA, clientB, netip.MustParseAddr("198.51.101.1"), netip.MustParseAddr("2001:db8:a::1"), netip.MustParseAddr("2001:db8:b::1")}
		near := rapid.SampledFrom(seeds).Draw(t, "near").AsSlice()
		// Some bits of an address near the border of a rule are turned over.
		bit := rapid.IntRange(0, len(near)*8-1).Draw(t, "bit")
		near[bit/8] ^= 1 << (7 - bit%8)
		addr, _ := netip.AddrFromSlice(near)
		p := netip.PrefixFrom(addr, rapid.IntRange(1, addr.BitLen()).Draw(t, "source")).Masked()
		answer, scope := send(t, q, p)
		// Another address of the scope differs somewhere behind it.
		other := p.Addr().AsSlice()
		for i := scope; i < len(other)*8; i++ {
			if rapid.Bool().Draw(t, "turn") {
				other[i/8] ^= 1 << (7 - i%8)
			}
		}
		a, _ := netip.AddrFromSlice(other)
		if got, s := send(t, q, netip.PrefixFrom(a, a.BitLen())); got != answer || s != scope {
			t.Fatalf("%s: %s/%d has\n%s\n%s has (scope %d)\n%s", q, p, scope, answer, a, s, got)
		}
	})
}
