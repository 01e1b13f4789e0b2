package answer

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/geo"
	"github.com/fairlead-dns/fairlead/regions/steer"
	"github.com/fairlead-dns/fairlead/regions/zone"
)

// The services of the fixture, by index.
const (
	svcWWW      = iota // both families, regions a and b
	svcApex            // IPv4 only
	svcTenant          // *.tenant
	svcCDN             // names
	svcChain           // a name that is an alias in our zones
	svcDown            // forced down
	svcWildName        // *.names: names, one region
)

const exampleRecords = `
@         MX 10 mail
@         TXT "apex"
mail      A 192.0.2.25
ns1       A 192.0.2.53
ns1       AAAA 2001:db8::53
host      300 A 192.0.2.1
host      300 A 192.0.2.2
host      TXT "x"
alias     60 CNAME host
two       CNAME alias
out       CNAME www.elsewhere.test.
tonx      CNAME nope
toother   CNAME www.other.test.
todel     CNAME x.del
tosvc     CNAME www
loop      CNAME loop2
loop2     CNAME loop
self      CNAME self
a.b.ent   A 192.0.2.3
*.wild    A 192.0.2.4
*.wild    TXT "w"
x.y.wild  A 192.0.2.5
*.walias  CNAME host
del       NS ns.del
del       NS ns1
del       NS ns.elsewhere.test.
ns.del    A 192.0.2.54
del       DS 1 8 2 0000000000000000000000000000000000000000000000000000000000000000
dn        120 DNAME other.test.
dnloop    DNAME dnloop.example.test.
dnself    DNAME host
dnlong    DNAME aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb.test.
big       TXT "BIG"
odd       TYPE65280 \# 4 01020304
svcb      HTTPS 1 . alpn=h2
d\.ot     A 192.0.2.6
Case      CNAME MiXed.Example.Test.
mixed     A 192.0.2.7
www       TXT "beside the service"
`

const otherRecords = `
www      A 192.0.2.80
www      AAAA 2001:db8::80
*        TXT "other"
`

// chain makes 20 aliases in a row.
func chain() string {
	var b strings.Builder
	for i := range 20 {
		fmt.Fprintf(&b, "c%d CNAME c%d\n", i, i+1)
	}
	return b.String()
}

// bigTXT fills a name with more than a datagram holds.
func bigTXT() string {
	var b strings.Builder
	for i := range 20 {
		fmt.Fprintf(&b, "big TXT \"%02d%s\"\n", i, strings.Repeat("x", 100))
	}
	return b.String()
}

// manyNS makes a zone cut with needed glue and glue that is only useful.
func manyNS() string {
	var b strings.Builder
	for i := range 12 {
		fmt.Fprintf(&b, "sib NS ns%d.sibs\nns%d.sibs A 192.0.2.%d\nns%d.sibs AAAA 2001:db8::%d\n", i, i, i, i, i)
		fmt.Fprintf(&b, "own NS ns%d.own\nns%d.own A 192.0.2.%d\nns%d.own AAAA 2001:db8::%d\n", i, i, i, i, i)
	}
	return b.String()
}

func mustZone(p zone.Params) *zone.Zone {
	z, err := zone.Build(p)
	if err != nil {
		panic(err)
	}
	return z
}

// zones of the fixture: a parent and its child, and a stranger. The child
// nodel is not delegated by its parent.
func fixtureZones() *zone.Set {
	set, err := zone.NewSet([]*zone.Zone{
		mustZone(zone.Params{
			Origin: "example.test", Nameservers: []string{"ns1.example.test", "ns2.elsewhere.test"}, Serial: 42,
			Records: exampleRecords + chain() + bigTXT() + manyNS() + "child NS ns1.child\nns1.child A 192.0.2.55\nchild DS 2 8 2 " + strings.Repeat("11", 32) + "\n",
			Services: []zone.ServiceOwner{
				{Owner: "www.example.test", Index: svcWWW},
				{Owner: "example.test", Index: svcApex},
				{Owner: "*.tenant.example.test", Index: svcTenant},
				{Owner: "cdn.example.test", Index: svcCDN, Name: true},
				{Owner: "chain.example.test", Index: svcChain, Name: true},
				{Owner: "down.example.test", Index: svcDown},
				{Owner: "*.names.example.test", Index: svcWildName, Name: true},
			},
		}),
		mustZone(zone.Params{Origin: "child.example.test", Nameservers: []string{"ns1.child.example.test"}, Records: "ns1 A 192.0.2.55\nx A 192.0.2.56"}),
		mustZone(zone.Params{Origin: "nodel.example.test", Nameservers: []string{"ns1.example.test"}, Records: "x A 192.0.2.57"}),
		mustZone(zone.Params{Origin: "other.test", Nameservers: []string{"ns1.example.test"}, NegativeTTL: 7, TTL: 900, Records: otherRecords}),
	})
	if err != nil {
		panic(err)
	}
	return set
}

func addressEndpoint(name string, region uint16, addrs ...string) regions.Endpoint {
	e := regions.Endpoint{Name: name, Region: region, Weight: 100, Target: [2]int32{-1, -1}}
	for _, s := range addrs {
		a := netip.MustParseAddr(s)
		if a.Is4() {
			e.Addr[regions.V4] = a
		} else {
			e.Addr[regions.V6] = a
		}
	}
	return e
}

func nameEndpoint(name string, region uint16, target string) regions.Endpoint {
	return regions.Endpoint{Name: name, Region: region, Weight: 100, Target: [2]int32{-1, -1}, CNAME: target}
}

// fixture is a snapshot with real zones and a real view: region a answers
// 198.51.100.0/24 and 2001:db8:a::/48, region b 203.0.113.0/24 and everybody
// else.
var fixture = sync.OnceValue(func() *Snapshot {
	db, err := geo.Builtin()
	if err != nil {
		panic(err)
	}
	base := regions.NewBase(
		[]regions.Region{{Name: "a", Latitude: 50, Longitude: 10}, {Name: "b", Latitude: 40, Longitude: -80}},
		[]regions.Policy{{
			Name: "nearest", Candidates: []uint16{0, 1}, Default: []uint16{1}, MaxAnswers: 8, ActivePassive: true,
			Rules: []regions.PolicyRule{
				{Name: "a", Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:a::/48")}, Regions: []uint16{0}},
				{Name: "b", Prefixes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}, Regions: []uint16{1}},
			},
		}},
		[]regions.Service{
			svcWWW: {Name: "www.example.test", TTL: 30, Endpoints: []regions.Endpoint{
				addressEndpoint("a1", 0, "192.0.2.101", "2001:db8::101"), addressEndpoint("a2", 0, "192.0.2.102"),
				addressEndpoint("b1", 1, "192.0.2.201", "2001:db8::201"),
			}},
			svcApex:   {Name: "example.test", TTL: 20, Endpoints: []regions.Endpoint{addressEndpoint("b1", 1, "192.0.2.202")}},
			svcTenant: {Name: "*.tenant.example.test", TTL: 10, Endpoints: []regions.Endpoint{addressEndpoint("b1", 1, "192.0.2.203")}},
			svcCDN: {Name: "cdn.example.test", TTL: 15, Names: true, Endpoints: []regions.Endpoint{
				nameEndpoint("a1", 0, "a.cdn.elsewhere.test."), nameEndpoint("b1", 1, "b.cdn.elsewhere.test."),
			}},
			svcChain: {Name: "chain.example.test", TTL: 15, Names: true, Endpoints: []regions.Endpoint{nameEndpoint("b1", 1, "www.example.test.")}},
			svcDown:  {Name: "down.example.test", TTL: 15, Endpoints: []regions.Endpoint{addressEndpoint("b1", 1, "192.0.2.204")}},
			svcWildName: {Name: "*.names.example.test", TTL: 15, Names: true, Endpoints: []regions.Endpoint{
				nameEndpoint("b1", 1, "host.example.test."),
			}},
		}, nil)
	rankings, err := steer.CompileRankings(base, db, nil)
	if err != nil {
		panic(err)
	}
	plan := &regions.Plan{Base: base, Generation: regions.Generation{Epoch: 1, Revision: 7}, Overrides: []regions.Override{
		{ID: "1", Action: regions.ForceDown, Scope: regions.Scope{Service: "down.example.test"}},
	}}
	return &Snapshot{Zones: fixtureZones(), View: steer.NewView(steer.Inputs{Plan: plan, Tables: rankings.Tables}), Generation: plan.Generation}
})

func responder(t testing.TB, o Options) *Responder {
	t.Helper()
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Sources of queries.
var (
	clientA = netip.MustParseAddr("198.51.100.7")
	clientB = netip.MustParseAddr("203.0.113.7")
)

func wire(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func question(name, qtype string) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(name, dns.StringToType[qtype])
	m.Id = 4711
	m.RecursionDesired = false
	return m
}

// ask sends a message from a client to the fixture.
func ask(t testing.TB, r *Responder, m *dns.Msg, src netip.Addr, transport Transport) (*dns.Msg, Info) {
	t.Helper()
	q := Query{Wire: wire(t, m), Source: src, Transport: transport, Now: time.Unix(1e9, 0), Random: 1}
	out, info := r.Respond(nil, q, fixture())
	if out == nil {
		return nil, info
	}
	resp := new(dns.Msg)
	if err := resp.Unpack(out); err != nil {
		t.Fatalf("%v cannot be parsed: % x", err, out)
	}
	return resp, info
}

// text prints a response as the tables have it.
func text(m *dns.Msg) string {
	var b strings.Builder
	b.WriteString(dns.RcodeToString[m.Rcode])
	for _, f := range []struct {
		set  bool
		name string
	}{{m.Authoritative, "aa"}, {m.Truncated, "tc"}, {m.RecursionDesired, "rd"}, {m.RecursionAvailable, "ra"}, {m.AuthenticatedData, "ad"}, {m.CheckingDisabled, "cd"}} {
		if f.set {
			b.WriteString(" " + f.name)
		}
	}
	section := func(tag string, rrs []dns.RR) {
		for _, rr := range rrs {
			if rr.Header().Rrtype == dns.TypeOPT {
				continue
			}
			b.WriteString("\n" + tag + " " + strings.ReplaceAll(rr.String(), "\t", " "))
		}
	}
	section("an", m.Answer)
	section("au", m.Ns)
	section("ad", m.Extra)
	return b.String()
}
