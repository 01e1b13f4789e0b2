package zone

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

func TestParseName(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, tt := range []struct {
		in, wire, out string
	}{
		{".", "\x00", "."},
		{"Example.TEST", "\x07example\x04test\x00", "example.test."},
		{"example.test.", "\x07example\x04test\x00", "example.test."},
		{`a\.b.test`, "\x03a.b\x04test\x00", `a\.b.test.`},
		{`a.b.test`, "\x01a\x01b\x04test\x00", "a.b.test."},
		{`\065\066.test`, "\x02ab\x04test\x00", "ab.test."},
		{`\000\255.test`, "\x02\x00\xff\x04test\x00", `\000\255.test.`},
		{`a\\b.test`, "\x03a\\b\x04test\x00", `a\\b.test.`},
		{"_sip._tcp.test", "\x04_sip\x04_tcp\x04test\x00", "_sip._tcp.test."},
		{"*.test", "\x01*\x04test\x00", "*.test."},
		{long + "." + long + "." + long + "." + long[:61], "", strings.Repeat(long+".", 3) + long[:61] + "."},
		// Wrong ones.
		{"", "", ""},
		{"a..b", "", ""},
		{".a", "", ""},
		{long + "a.test", "", ""},
		{long + "." + long + "." + long + "." + long[:62], "", ""},
		{`\256.test`, "", ""},
	} {
		n, err := ParseName(tt.in)
		if tt.out == "" {
			if err == nil {
				t.Errorf("%q: taken as %q", tt.in, n)
			}
			continue
		}
		if err != nil || n.String() != tt.out || (tt.wire != "" && string(n) != tt.wire) {
			t.Errorf("%q: %q, %q, %v; want %q, %q", tt.in, string(n), n, err, tt.wire, tt.out)
		}
	}
}

func TestNameParts(t *testing.T) {
	n := name(t, "c.B.example.test")
	for _, tt := range []struct {
		got, want any
	}{
		{n.Labels(), 4},
		{Root.Labels(), 0},
		{n.Parent(), name(t, "b.example.test")},
		{Root.Parent(), Root},
		{n.Ancestor(2), name(t, "example.test")},
		{n.Ancestor(9), n},
		{n.Ancestor(0), Root},
		{n.Under(name(t, "EXAMPLE.test")), true},
		{n.Under(n), true},
		{n.Under(Root), true},
		{Root.Under(n), false},
		{name(t, "notexample.test").Under(name(t, "example.test")), false},
		// Equal bytes at the end, but not at the border of a label.
		{name(t, `x\007example.test`).Under(name(t, "example.test")), false},
		{name(t, `a\.example.test`).Under(name(t, "example.test")), false},
		{name(t, "*.test").IsWildcard(), true},
		{name(t, `\042.test`).IsWildcard(), true},
		{name(t, "*a.test").IsWildcard(), false},
		{name(t, "a.*.test").IsWildcard(), false},
		{Root.IsWildcard(), false},
	} {
		if tt.got != tt.want {
			t.Errorf("got %v, want %v", tt.got, tt.want)
		}
	}
}

// What String prints, ParseName reads, whatever bytes the labels have; and
// case never matters.
func TestNameRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var wire []byte
		for _, l := range rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 1, 20), 0, 8).Draw(t, "labels") {
			wire = append(append(wire, byte(len(l))), l...)
		}
		wire = append(wire, 0)
		upper := append([]byte(nil), wire...)
		for i, c := range upper {
			if 'a' <= c && c <= 'z' && c > 63 {
				upper[i] = c - 'a' + 'A'
			}
		}
		Lower(wire)
		Lower(upper)
		if string(wire) != string(upper) {
			t.Fatalf("case counts: %q, %q", wire, upper)
		}
		n, err := ParseName(Name(wire).String())
		if err != nil || n != Name(wire) {
			t.Fatalf("%q: %q, %v", wire, n, err)
		}
	})
}

func FuzzParseName(f *testing.F) {
	for _, s := range []string{"example.test", `a\.b`, `\000`, "*.x", ".", `\`, `a\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseName(s)
		if err != nil {
			return
		}
		if len(n) > 255 || n[len(n)-1] != 0 {
			t.Fatalf("%q: %q", s, string(n))
		}
		if again, err := ParseName(n.String()); err != nil || again != n {
			t.Fatalf("%q: %q, then %q, %v", s, n, again, err)
		}
		if !dns.IsFqdn(n.String()) {
			t.Fatalf("%q: %q has no final dot", s, n)
		}
	})
}
