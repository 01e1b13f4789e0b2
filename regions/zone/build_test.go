package zone

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// dump prints a zone's records, in the order of the wanted text's owners.
func dump(z *Zone, owners ...string) []string {
	var out []string
	for _, o := range owners {
		n, _ := ParseName(o)
		for _, s := range z.Node(n).Sets {
			for _, rr := range s.RRs {
				out = append(out, strings.ReplaceAll(rr.String(), "\t", " "))
			}
		}
	}
	return out
}

func TestMasterFile(t *testing.T) {
	z := build(t, `
; comments, parentheses, relative and absolute names
@       MX 10 Mail
        IN 300 TXT "a;b" ( "c" ; inside
                 "d(e" )
mail    A 192.0.2.1
        300 IN AAAA 2001:db8::1
$ttl 2h
www.example.test. in cname MAIL
$Origin sub
a 1d A 192.0.2.2
$ORIGIN example.test.
b\.c    A 192.0.2.3
\100\101 A 192.0.2.4
x       TYPE65280 \# 3 abcdef
        A \# 4 c0000205
        TYPE16 \# 3 027879
_s._tcp SRV 1 2 3 mail
`)
	got := dump(z, "example.test", "mail.example.test", "www.example.test", "a.sub.example.test", `b\.c.example.test`,
		"de.example.test", "x.example.test", "_s._tcp.example.test")
	want := []string{
		"example.test. 3600 IN NS ns1.other.test.",
		"example.test. 3600 IN SOA ns1.other.test. hostmaster.example.test. 1 3600 600 1209600 30",
		"example.test. 3600 IN MX 10 Mail.example.test.",
		`example.test. 300 IN TXT "a;b" "c" "d(e"`,
		"mail.example.test. 3600 IN A 192.0.2.1",
		"mail.example.test. 300 IN AAAA 2001:db8::1",
		"www.example.test. 7200 IN CNAME MAIL.example.test.",
		"a.sub.example.test. 86400 IN A 192.0.2.2",
		`b\.c.example.test. 7200 IN A 192.0.2.3`,
		"de.example.test. 7200 IN A 192.0.2.4",
		"x.example.test. 7200 IN A 192.0.2.5",
		`x.example.test. 7200 IN TXT "xy"`,
		`x.example.test. 7200 CLASS1 TYPE65280 \# 3 abcdef`,
		"_s._tcp.example.test. 7200 IN SRV 1 2 3 mail.example.test.",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if len(z.Warnings) != 0 {
		t.Errorf("warnings: %v", z.Warnings)
	}
}

func TestSOA(t *testing.T) {
	own := "@ 600 SOA ns.x.test. me.x.test. 77 1 2 3 4\n@ NS ns.x.test."
	for _, tt := range []struct {
		name string
		p    Params
		want string
	}{
		{
			"built", Params{Nameservers: []string{"NS1.Other.test", "ns2.other.test."}, TTL: 900, NegativeTTL: 7},
			"900 ns1.other.test. hostmaster.example.test. 1 7",
		},
		{"mailbox", Params{Nameservers: []string{"ns.x.test"}, Mailbox: `john\.doe.x.test`, Serial: 5}, `3600 ns.x.test. john\.doe.x.test. 5 30`},
		{"own", Params{Records: own}, "600 ns.x.test. me.x.test. 77 4"},
		{"own with serial", Params{Records: own, Serial: 78}, "600 ns.x.test. me.x.test. 78 4"},
		{"nameserver from the records", Params{Records: "@ 60 NS ns9.x.test.", Serial: 1}, "3600 ns9.x.test. hostmaster.example.test. 1 30"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.p.Origin = "Example.test"
			z, err := Build(tt.p)
			if err != nil {
				t.Fatal(err)
			}
			s := z.SOA
			got := fmt.Sprintf("%d %s %s %d %d", s.Hdr.Ttl, s.Ns, s.Mbox, s.Serial, s.Minttl)
			if got != tt.want || s.Hdr.Name != "example.test." || z.Origin != "example.test." {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if z.Apex().RRset(dns.TypeSOA).RRs[0] != dns.RR(s) {
				t.Error("the SOA that is served is another one")
			}
		})
	}
}

func TestNameserversJoin(t *testing.T) {
	z, err := Build(Params{Origin: "example.test", Nameservers: []string{"a.x.test", "b.x.test"}, Records: "@ 60 NS A.x.test.\n@ 60 NS c.x.test."})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"example.test. 60 IN NS A.x.test.", "example.test. 60 IN NS c.x.test.", "example.test. 60 IN NS b.x.test.",
		"example.test. 3600 IN SOA A.x.test. hostmaster.example.test. 1 3600 600 1209600 30",
	}
	if d := cmp.Diff(want, dump(z, "example.test")); d != "" || len(z.Warnings) > 0 {
		t.Error(d, z.Warnings)
	}
}

func TestMistakes(t *testing.T) {
	address := func(owner string) []ServiceOwner { return []ServiceOwner{{Owner: owner}} }
	names := func(owner string) []ServiceOwner { return []ServiceOwner{{Owner: owner, Name: true}} }
	for _, tt := range []struct {
		name     string
		records  string
		services []ServiceOwner
		want     []string // each in its line of the error
	}{
		{"all at once", "a A 1.2.3\nb A 192.0.2.1\nc MX mail\n", nil, []string{`line 1: A record: "1.2.3" is no IPv4 address, as 192.0.2.1`, `line 3: MX record: bad MX Pref: "mail": want preference and host, as 10 mail.example.net.`}},
		{"line of a record over several", "\n\na TXT ( \"x\"\n \"y\"\n )\nb A x", nil, []string{"line 6:"}},
		{"unknown type", "a AAAAA ::1", nil, []string{`line 1: unknown record type "AAAAA"`}},
		{"no type", "a 300 IN", nil, []string{"line 1: the record type is missing"}},
		{"no data", "a A", nil, []string{"line 1: the A record has no data"}},
		{"too much data", "a A 192.0.2.1 192.0.2.2", nil, []string{`line 1: A record: `}},
		{"include", "$INCLUDE /etc/passwd", nil, []string{"line 1: $INCLUDE is not allowed"}},
		{"generate", "$GENERATE 1-9 a$ A 192.0.2.$", nil, []string{"line 1: $GENERATE is not allowed"}},
		{"bad ttl directive", "$TTL soon", nil, []string{`line 1: $TTL: "soon" is no TTL`}},
		{"bad origin directive", "$ORIGIN a..b", nil, []string{"line 1: $ORIGIN: "}},
		{"ttl too large", "a 2147483648 A 192.0.2.1\nb 9999w A 192.0.2.1", nil, []string{`line 1: "2147483648" is no TTL`, "line 2:"}},
		{"class", "a CH A 192.0.2.1\nb CLASS4 TXT x", nil, []string{"line 1: class CH: only IN", "line 2: class CLASS4"}},
		{"meta type", "a OPT x\nb TYPE250 \\# 0\nc ANY x", nil, []string{"line 1: OPT is a type of queries", "line 2: TSIG is", "line 3: ANY is"}},
		{"outside", "a.other.test. A 192.0.2.1\n$ORIGIN other.test.\nb A 192.0.2.1", nil, []string{"line 1: a.other.test. is not in the zone example.test.", "line 3: b.other.test."}},
		{"blank first", "  A 192.0.2.1", nil, []string{"line 1: the line begins with white space"}},
		{"bad owner", "a..b A 192.0.2.1\n A 192.0.2.2", nil, []string{"line 1: owner:", "line 2: owner:"}},
		{"escape", "a TXT \\999\n\\256 A 192.0.2.1\nb TXT \\\\999", nil, []string{`line 1: an escape is no byte`, "line 2: an escape"}},
		{"quote", "a TXT \"x\nb A 192.0.2.1\nc A x", nil, []string{"line 1: a quoted string does not end", "line 3:"}},
		{"parenthesis", "a TXT ( x\nb A x\nc TXT ( y", nil, []string{"line 1: an opening parenthesis", "line 2: A record", "line 3: an opening parenthesis"}},
		{"other parenthesis", "a TXT x )\nb A x", nil, []string{"line 1: a closing parenthesis", "line 2:"}},
		{"string too long", "a TXT " + strings.Repeat("x", 256) + strings.Repeat("\\", 3), nil, []string{"line 1: TXT record:"}},
		{"bad generic data", "a TYPE65280 \\# 3 abcd", nil, []string{"line 1: TYPE65280 record"}},
		{"cname and data", "a CNAME b\na A 192.0.2.1", nil, []string{"line 2: a.example.test. has a CNAME and A"}},
		{"data and cname", "a A 192.0.2.1\na MX 1 b\na CNAME b", nil, []string{"line 3: a.example.test. has a CNAME and A", "line 3: a.example.test. has a CNAME and MX"}},
		{"cname at the apex", "@ CNAME b", nil, []string{"line 1: example.test. has a CNAME and NS", "line 1: example.test. has a CNAME and SOA"}},
		{"two cnames", "a CNAME b\na CNAME c", nil, []string{"line 1: a.example.test. has 2 CNAME records"}},
		{"two dnames", "a DNAME b\na DNAME c", nil, []string{"line 1: a.example.test. has 2 DNAME records"}},
		{"below dname", "a DNAME b\nx.y.a A 192.0.2.1", address("z.a.example.test"), []string{`service "z.a.example.test." lies below the DNAME`, "line 2: x.y.a.example.test. A lies below the DNAME at a.example.test."}},
		{"below the apex' dname", "@ DNAME b.test.\nx A 192.0.2.1", nil, []string{"line 2: x.example.test. A lies below the DNAME at example.test."}},
		{"dname and ns", "a DNAME b\na NS ns.other.test.", nil, []string{"line 2: a.example.test. has a DNAME and NS"}},
		{"wildcard ns and dname", "*.a NS ns.other.test.\n*.b DNAME c", nil, []string{"line 1: *.a.example.test. NS: at a wildcard", "line 2: *.b.example.test. DNAME: at a wildcard"}},
		{"soa elsewhere", "a SOA b c 1 2 3 4 5", nil, []string{"line 1: a.example.test. SOA: only the apex"}},
		{"two soas", "@ SOA b c 1 2 3 4 5\n@ SOA b c 2 2 3 4 5", nil, []string{"line 1: example.test. has 2 SOA records"}},
		{"ds at the apex", "@ DS 1 8 2 " + strings.Repeat("00", 32), nil, []string{"line 1: example.test. DS: it belongs into the parent"}},
		{"no glue", "a NS ns.a\nb NS b", nil, []string{"line 1: a.example.test. NS ns.a.example.test. lies in the zone that is given away", "line 2: b.example.test. NS b.example.test."}},
		{"no address", "a NS ns", nil, []string{"line 1: a.example.test. NS ns.example.test. has no address in the zone"}},
		{"service outside", "", address("www.other.test"), []string{`service "www.other.test" is not in the zone example.test.`}},
		{"bad service name", "", address("a..b"), []string{"service: "}},
		{"service twice", "", append(address("a.example.test"), names("A.example.test.")...), []string{`service "A.example.test." is there twice`}},
		{"service and data", "a A 192.0.2.1\na AAAA ::1\na TXT x", address("a.example.test"), []string{"line 1: a.example.test. A: the service of this name answers", "line 2: a.example.test. AAAA"}},
		{"service and cname", "a CNAME b", address("a.example.test"), []string{"line 1: a.example.test. CNAME: the service"}},
		{"service of names and data", "a TXT x", names("a.example.test"), []string{`line 1: service "a.example.test." has endpoints that are names`}},
		{"service of names at the apex", "", names("example.test"), []string{`service "example.test." is the apex`}},
		{"service at a cut", "a NS ns.other.test.", address("a.example.test"), []string{`line 1: service "a.example.test." is at a zone cut`}},
		{"service below a cut", "a NS ns.other.test.", address("b.a.example.test"), []string{`line 1: service "b.a.example.test." lies below the zone cut at a.example.test.`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			z, err := Build(Params{Origin: "example.test", Nameservers: []string{"ns1.other.test"}, Records: tt.records, Services: tt.services})
			if err == nil || z != nil {
				t.Fatalf("built: %v", z)
			}
			got := lines(err)
			if len(got) != len(tt.want) {
				t.Fatalf("got\n%v\nwant %d lines", err, len(tt.want))
			}
			for i, w := range tt.want {
				if !strings.HasPrefix(got[i], w) {
					t.Errorf("got  %s\nwant %s", got[i], w)
				}
			}
		})
	}
}

func TestParamMistakes(t *testing.T) {
	for _, tt := range []struct {
		p    Params
		want string
	}{
		{Params{Origin: ""}, "origin: the name is empty"},
		{Params{Origin: "a..b"}, "origin: "},
		{Params{Origin: "example.test"}, "zone example.test. has no nameserver"},
		{Params{Origin: "example.test", Nameservers: []string{"a..b", "ns.x.test"}}, "nameservers[0]: "},
		{Params{Origin: "example.test", Nameservers: []string{"ns.x.test"}, Mailbox: "me@x.test"}, `mailbox "me@x.test": write it as a domain name`},
		{Params{Origin: "example.test", Nameservers: []string{"ns.x.test"}, Mailbox: "me..x"}, "mailbox: "},
	} {
		if _, err := Build(tt.p); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %s", tt.p, err, tt.want)
		}
	}
}

func TestErrorCarriesItsLine(t *testing.T) {
	_, err := Build(Params{Origin: "example.test", Nameservers: []string{"ns.x.test"}, Records: "\na A x"})
	var e *Error
	if !errors.As(err, &e) || e.Line != 2 {
		t.Errorf("%v", err)
	}
	_, err = Build(Params{Origin: "example.test", Nameservers: []string{"ns.x.test"}, Records: strings.Repeat("a A x\n", 1000)})
	if got := lines(err); len(got) != maxErrors+1 || got[maxErrors] != "and 900 more mistakes" {
		t.Errorf("%d lines, at last %s", len(got), got[len(got)-1])
	}
}

func TestWarnings(t *testing.T) {
	for _, tt := range []struct {
		name, records string
		want          []string
	}{
		{"duplicate", "a A 192.0.2.1\nA A 192.0.2.1", []string{"line 2: a.example.test. A: the record is there already"}},
		{"ttl", "a 60 A 192.0.2.1\na 50 A 192.0.2.2", []string{"line 2: a.example.test. A: TTL 50 differs from 60"}},
		{"mx to cname", "@ MX 1 a\na CNAME b.other.test.", []string{"line 1: example.test. MX a.example.test. is an alias"}},
		{"ns to cname", "a NS b\nb CNAME c.other.test.", []string{"line 1: a.example.test. NS b.example.test. is an alias"}},
		{"srv to nothing", "_s._udp SRV 1 1 1 a", []string{"line 1: _s._udp.example.test. SRV a.example.test. has no address"}},
		{"mx to a host of a child", "@ MX 1 m.c\nc NS ns.other.test.", nil},
		{"ns in another child", "a NS n.b\nb NS ns.other.test.", []string{"line 1: a.example.test. NS n.b.example.test.: no address of it is here"}},
		{"hidden", "a NS ns.other.test.\na TXT x\nb.a MX 1 c.other.test.\nb.a A 192.0.2.1", []string{"line 2: a.example.test. TXT is never answered", "line 3: b.a.example.test. MX is never answered"}},
		{"null mx", "@ MX 0 .", nil},
		{"wildcard host", "@ MX 1 m\n* A 192.0.2.1", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			z := build(t, tt.records)
			if len(z.Warnings) != len(tt.want) {
				t.Fatalf("got %v, want %v", z.Warnings, tt.want)
			}
			for i, w := range tt.want {
				if !strings.HasPrefix(z.Warnings[i].Error(), w) {
					t.Errorf("got %s, want %s", z.Warnings[i], w)
				}
			}
		})
	}
}

// Names that exist are not covered by the wildcard service beside them.
func TestShadowWarnings(t *testing.T) {
	z, err := Build(Params{
		Origin: "example.test", Nameservers: []string{"ns1.other.test"},
		Records: `a TXT x
b A 192.0.2.1
_dmarc TXT x
_acme-challenge.c TXT x
d NS ns.other.test.
*.x A 192.0.2.1
y.x TXT x
`,
		Services: []ServiceOwner{{Owner: "*.example.test"}, {Owner: "e.example.test"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range z.Warnings {
		got = append(got, w.Error())
	}
	const tail = " exists, so the service *.example.test. does not answer for it (RFC 4592 section 2.2.1): make a service or address records of that name"
	if d := cmp.Diff([]string{"c.example.test." + tail, "x.example.test." + tail, "line 1: a.example.test." + tail}, got); d != "" {
		t.Error(d)
	}
}

func TestDuplicatesAndTTLs(t *testing.T) {
	z := build(t, "a 60 MX 1 B\na 50 MX 1 b\na 40 MX 2 b.example.test.\na 70 MX 3 b\nb A 192.0.2.1")
	want := []string{
		"a.example.test. 40 IN MX 1 B.example.test.", "a.example.test. 40 IN MX 2 b.example.test.",
		"a.example.test. 40 IN MX 3 b.example.test.",
	}
	if d := cmp.Diff(want, dump(z, "a.example.test")); d != "" {
		t.Error(d)
	}
}

// An RRset that no message can hold could never be answered.
func TestRRsetTooLarge(t *testing.T) {
	var b strings.Builder
	for i := range 4100 {
		fmt.Fprintf(&b, "a A 10.0.%d.%d\n", i/256, i%256)
	}
	_, err := Build(Params{Origin: "example.test", Nameservers: []string{"ns.x.test"}, Records: b.String()})
	if got := lines(err); len(got) != 1 || !strings.Contains(got[0], "line 4064: a.example.test. A: the RRset does not fit") {
		t.Errorf("%v", err)
	}
}

func TestRootZone(t *testing.T) {
	z, err := Build(Params{Origin: ".", Nameservers: []string{"a.test"}, Records: "test NS ns.test\nns.test A 192.0.2.1\n@ TXT x\nx A 192.0.2.2"})
	if err != nil {
		t.Fatal(err)
	}
	if m := z.Lookup(name(t, "www.test"), dns.TypeA); m.Kind != Delegation || m.Node.Owner != "test." {
		t.Errorf("%+v", m)
	}
	if m := z.Lookup(Root, dns.TypeTXT); m.Kind != Data {
		t.Errorf("%+v", m)
	}
	if m := z.Lookup(name(t, "y"), dns.TypeA); m.Kind != NXDomain || m.ClosestEncloser != z.Apex() {
		t.Errorf("%+v", m)
	}
}

func FuzzBuild(f *testing.F) {
	for _, s := range []string{
		"a A 192.0.2.1\n", "$TTL 1h\n@ MX 1 (\n a )\n", "a TXT \"x\\\"y\" ; z\n", "a\\", "$ORIGIN x\n@ A 192.0.2.1\n b AAAA ::1",
		"*.x CNAME y\nd DNAME e\nc NS n.c\nn.c A 192.0.2.1", "a TYPE1 \\# 4 01020304", "a SVCB 1 . alpn=h2 key65000=x", "a APL",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, records string) {
		z, err := Build(Params{Origin: "example.test", Nameservers: []string{"ns.x.test"}, Records: records, Services: []ServiceOwner{{Owner: "svc.example.test"}}})
		if err != nil {
			return
		}
		for n, node := range z.nodes {
			if !n.Under(z.Name) || node.Name != n {
				t.Fatalf("%s is in the zone", n)
			}
			for _, s := range node.Sets {
				for _, rr := range s.RRs {
					if rr.Header().Name != node.Owner || rr.Header().Ttl != s.TTL || rr.Header().Class != dns.ClassINET {
						t.Fatalf("%v in the set of %s", rr, node.Owner)
					}
					if _, err := dns.PackRR(rr, make([]byte, dns.MaxMsgSize), 0, nil, false); err != nil {
						t.Fatalf("%v: %v", rr, err)
					}
				}
			}
		}
	})
}
