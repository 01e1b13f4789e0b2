package zone

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// TestLint holds the text that a user reads for one wrong line; want "" is a
// line that is right.
func TestLint(t *testing.T) {
	const soa = "want nameserver, mailbox, serial, refresh, retry, expire and minimum, as ns1.example.net. hostmaster.example.net. 1 3600 600 1209600 300"
	for _, c := range []struct{ record, want string }{
		// Orders, names and notations.
		{"a 300 IN A 192.0.2.1", ""},
		{"a IN 300 A 192.0.2.1", ""},
		{"a IN A 192.0.2.1", ""},
		{"a class1 1h30m a 192.0.2.1", ""},
		{"@ MX 10 @", ""},
		{"300 A 192.0.2.1", ""},
		{"IN A 192.0.2.1", ""},
		{"A A 192.0.2.1", ""},
		{"(a A 192.0.2.1)", ""},
		{`\097\.b A 192.0.2.1`, ""},
		{`a TXT "b;c" d\;e \034f "g \"h\" \\"`, ""},
		{`a TXT "bücher"`, ""},
		{`a TYPE65280 \# 2 abcd`, ""},
		{`a A \# 4 c0000201`, ""},
		{`_s._tcp SRV 0 5 443 host`, ""},
		{`0/25 CNAME 1.0/25`, ""}, // RFC 2317
		{"example A 192.0.2.1", ""},
		{"www.example.test.example.test. A 192.0.2.1", ""},
		{"a CNAME example.test.example.test.", ""},
		{"$ORIGIN example.test.", ""},
		{"@ SOA ns1.other.test. me 1 1h 10m 2w 5m", ""},
		{"a DS 1 13 2 " + strings.Repeat("0a", 32), ""},
		{"a DS 1 13 99 0a", ""},

		// The owner, TTL, class and type.
		{"www.example.test A 192.0.2.1", `"www.example.test" has no final dot, so it means www.example.test.example.test.: write www.example.test. with the dot (or the whole name, if that is meant)`},
		{"EXAMPLE.test A 192.0.2.1", `"EXAMPLE.test" has no final dot, so it means example.test.example.test.: write EXAMPLE.test. with the dot (or the whole name, if that is meant)`},
		{"$ORIGIN sub.example.test", `"sub.example.test" has no final dot, so it means sub.example.test.example.test.: write sub.example.test. with the dot (or the whole name, if that is meant)`},
		{"a.other.test. A 192.0.2.1", "a.other.test. is not in the zone example.test. (a name without a final dot is relative to the origin)"},
		{"münchen A 192.0.2.1", `"münchen" is not ASCII: write a name as xn--mnchen-3ya, and a text in quotes`},
		{"a TXT bücher", `"bücher" is not ASCII: write a name as xn--bcher-kva, and a text in quotes`},
		{"“a” TXT x", `“a” has typographic quotes: write plain ones, as "text"`},
		{strings.Repeat("z", 64) + " A 192.0.2.1", fmt.Sprintf(`owner: "%s.example.test." is no domain name: want labels of 1 to 63 bytes separated by dots, 255 bytes in all`, strings.Repeat("z", 64))},
		{"y 300 300 A 192.0.2.1", `"300" is a second TTL; want the record type`},
		{"y IN IN A 192.0.2.1", `"IN" is a second class; want the record type`},
		{"y 1x A 192.0.2.1", `"1x" is no TTL: want seconds, or numbers with s, m, h, d or w as 1h30m, at most 2147483647 seconds`},
		{"y 2147483648 A 192.0.2.1", `"2147483648" is no TTL: want seconds, or numbers with s, m, h, d or w as 1h30m, at most 2147483647 seconds`},
		{"y CH A 192.0.2.1", "class CH: only IN is served"},
		{"@ ALIAS x.example.net.", "ALIAS is no record type of DNS: make a Service of the name; it answers with addresses, at the apex too"},
		{"# a comment", `A record: "comment" is no IPv4 address, as 192.0.2.1 (a comment begins with ;)`},
		{"$INCLUDE /etc/passwd", "$INCLUDE is not allowed here: write the records out ($ORIGIN and $TTL are understood)"},
		{"$generate 1-9 a$ A 192.0.2.$", "$GENERATE is not allowed here: write the records out ($ORIGIN and $TTL are understood)"},

		// The data.
		{"a A 192.0.2", `A record: "192.0.2" is no IPv4 address, as 192.0.2.1`},
		{"a A 2001:db8::1", `A record: "2001:db8::1" is an IPv6 address: want an AAAA record`},
		{"a AAAA 192.0.2.1", `AAAA record: "192.0.2.1" is an IPv4 address: want an A record`},
		{"a AAAA 2001:db8::g", `AAAA record: "2001:db8::g" is no IPv6 address, as 2001:db8::1`},
		{"a A 192.0.2.1 192.0.2.2", `A record: "192.0.2.2" is too much; each record has a line of its own`},
		{"a A 192.0.2.1 # note", `A record: "#" is too much (a comment begins with ;)`},
		{"a A 192.0.2.1,192.0.2.2", `A record: "192.0.2.1,192.0.2.2" is no IPv4 address, as 192.0.2.1`},
		{`a A \# 3 c00002`, `A record: the data after \# are not those of a whole record: want \# LENGTH HEX (RFC 3597 section 5)`},
		{`a TYPE65280 \# 4 abcd`, `TYPE65280 record: the data after \# are not those of a whole record: want \# LENGTH HEX (RFC 3597 section 5)`},
		{"a MX mail", `MX record: bad MX Pref: "mail": want preference and host, as 10 mail.example.net.`},
		{"a MX 10 mail extra", `MX record: "extra" is too much: want preference and host, as 10 mail.example.net.; each record has a line of its own`},
		{"a SRV 1 2 host", `SRV record: bad SRV Port: "host": want priority, weight, port and host, as 0 5 443 host.example.net.`},
		{"a CNAME", "the CNAME record has no data"},
		{"a CNAME example.test", `CNAME record: "example.test" has no final dot, so it means example.test.example.test.: write example.test. with the dot (or the whole name, if that is meant)`},
		{"a MX 10 mail.example.test", `MX record: "mail.example.test" has no final dot, so it means mail.example.test.example.test.: write mail.example.test. with the dot (or the whole name, if that is meant)`},
		{"a NS 192.0.2.1", `NS record: "192.0.2.1" is an address; it names a host: want the host's name, and an A or AAAA record of that`},
		{"a CNAME 192.0.2.1.", `CNAME record: "192.0.2.1." is an address: want an A or AAAA record, or a host name`},
		{"a CNAME https://x.example.net/", `CNAME record: "https://x.example.net/" is a URL; want a host name: DNS leads to no path`},
		{"@ SOA a b 1", "SOA record: has 3 values of 7: " + soa},
		{"@ SOA a root@example.test. 1 2 3 4 5", `SOA record: "root@example.test." is a mail address; write it as a domain name: root.example.test.`},
		{"@ SOA a b 1 x 3 4 5", `SOA record: bad SOA zone parameter: "x": ` + soa},
		{"a DS 1 13 2 0a", "DS record: the digest of type 2 has 2 hex digits; want 64"},
		{`a TXT "x`, `a quoted string does not end on its line: close it with "`},
		{`a TXT \256`, `an escape is no byte: want \000 to \255`},
		{"a TXT ( x", "an opening parenthesis that is never closed"},
	} {
		var got []string
		for _, e := range Lint("example.test", "; first\n"+c.record+"\n") {
			if e.Line != 2 {
				t.Errorf("%s: line %d, want 2", c.record, e.Line)
			}
			got = append(got, e.Err.Error())
		}
		if d := cmp.Diff(c.want, strings.Join(got, "\n")); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.record, d)
		}
	}
}

// TestLintAll: all mistakes come at once, in order, each with the line on which
// its record begins; blank owners are carried over wrong lines.
func TestLintAll(t *testing.T) {
	got := Lint("example.test", `$TTL 1h
@ IN SOA ns1.other.test. hostmaster.other.test. (
        2026110101 ; serial
        2h 15m 2w  ; refresh, retry, expire
        5m )
        NS ns1.other.test.
a       A 1.2.3
        AAAA 2001:db8::1
$ORIGIN b
c       MX (
          10
          m.example.test )

  	; only a comment
        TXT "x"
d       A x`)
	var lines []int
	for _, e := range got {
		lines = append(lines, e.Line)
	}
	if d := cmp.Diff([]int{7, 10, 16}, lines); d != "" {
		t.Errorf("%s\n%v", d, got)
	}
	got = Lint("example.test", strings.Repeat("a A x\n", 150))
	if n := len(got); n != maxErrors+1 || got[n-1].Error() != "and 50 more mistakes" || got[0].Line != 1 {
		t.Errorf("%d mistakes, last %v", n, got[n-1])
	}
	if got := Lint("a..b", "x"); got != nil {
		t.Errorf("the zone's name: %v", got)
	}
	// In the root zone and below $ORIGIN . everything is said in full.
	for origin, text := range map[string]string{".": "test NS ns.test\nns.test A 192.0.2.1", "example.test": "$ORIGIN .\nwww.example.test CNAME a.example.test"} {
		if got := Lint(origin, text); got != nil {
			t.Errorf("%s: %v", origin, got)
		}
	}
}

func TestHidden(t *testing.T) {
	got := Hidden("example.test", `@ NS ns1.other.test.
sub NS ns.sub
sub NS ns1.other.test.
sub DS 1 13 2 `+strings.Repeat("00", 32)+`
ns.sub A 192.0.2.1
ns.sub TXT "glue has addresses only"
www.sub A 192.0.2.2
a.b.sub 60 IN MX 10 x
sub TXT "the apex"
subx A 192.0.2.3
deep.c A 192.0.2.4
c A 192.0.2.5
wrong A x
`, []string{"sub.example.test", "deep.c.example.test", "example.test", "a..b"})
	var lines []string
	for _, e := range got {
		lines = append(lines, e.Error())
	}
	const tail = ", which is here too, has the name; put the record there"
	want := []string{
		"line 6: ns.sub.example.test. TXT would never be answered: zone sub.example.test." + tail,
		"line 7: www.sub.example.test. A would never be answered: zone sub.example.test." + tail,
		"line 8: a.b.sub.example.test. MX would never be answered: zone sub.example.test." + tail,
		"line 9: sub.example.test. TXT would never be answered: zone sub.example.test." + tail,
		"line 11: deep.c.example.test. A would never be answered: zone deep.c.example.test." + tail,
	}
	if d := cmp.Diff(want, lines); d != "" {
		t.Error(d)
	}
	if Hidden("a..b", "", nil) != nil || Hidden("example.test", "x A 192.0.2.1", nil) != nil {
		t.Error("hidden by nothing")
	}
}

func TestStatedSerial(t *testing.T) {
	for text, want := range map[string]uint32{
		"":    0,
		"a A": 0,
		"a A x\n@ SOA a b (\n 7 1 1 1 1 )\n@ SOA a b 8 1 1 1 1": 7,
		"sub SOA a b 7 1 1 1 1":                                 0,
	} {
		if got := StatedSerial("example.test", text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	if StatedSerial("a..b", "@ SOA a b 7 1 1 1 1") != 0 {
		t.Error("a wrong origin has a serial")
	}
}

// FuzzLint: no text crashes it; each mistake has a line of the text; it refuses
// every line that Build does not read.
func FuzzLint(f *testing.F) {
	for _, s := range []string{
		"a A 192.0.2.1\n", "$ORIGIN b\nc MX 1 example.test\n", "a TXT (\n \"x\"\n", "ü A 192.0.2.1", "a CNAME 192.0.2.1", "@ SOA a b 1",
		`a DS 1 2 2 00`, `a A \# 4 01020304`, "sub A 192.0.2.1\nsub NS x.sub\nx.sub A 192.0.2.1", "# x\n// y\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, records string) {
		told := map[int]bool{}
		lines := strings.Count(records, "\n") + 1
		mistakes := Lint("example.test", records)
		for _, e := range append(mistakes, Hidden("example.test", records, []string{"sub.example.test"})...) {
			if e.Line > lines || e.Line < 1 && !strings.HasPrefix(e.Error(), "and ") || e.Err == nil {
				t.Fatalf("no good place among %d lines: %v", lines, e)
			}
			told[e.Line] = true
		}
		StatedSerial("example.test", records)
		b := builder{p: Params{Records: records}, zone: &Zone{Name: "\x07example\x04test\x00", Origin: "example.test.", nodes: map[Name]*Node{}}}
		b.lines, b.sizes, b.seen = map[*RRset]int{}, map[*RRset]int{}, map[seenKey][]dns.RR{}
		b.zone.apex = b.node(b.zone.Name)
		b.addRecords()
		for _, e := range b.errs {
			if len(mistakes) <= maxErrors && !told[e.Line] && !strings.Contains(e.Error(), "does not fit into a DNS message") {
				t.Fatalf("let through %v", e)
			}
		}
	})
}
