package check

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestGuard(t *testing.T) {
	for _, tc := range []struct {
		addr, why string
		allow     string
	}{
		{"192.0.2.1", "", ""},
		{"10.0.0.1", "", ""},
		{"2001:db8::1", "", ""},
		{"fd00::1", "", ""},
		{"127.0.0.1", "loopback", ""},
		{"127.255.255.254", "loopback", ""},
		{"::1", "loopback", ""},
		{"::ffff:127.0.0.1", "loopback", ""},
		{"64:ff9b::7f00:1", "loopback", ""},
		{"64:ff9b::192.0.2.1", "", ""},
		{"169.254.169.254", "link-local", ""},
		{"::ffff:169.254.169.254", "link-local", ""},
		{"fd00:ec2::254", "metadata", ""},
		{"fe80::1", "link-local", ""},
		{"febf::1%eth0", "link-local", ""},
		{"224.0.0.1", "multicast", ""},
		{"ff02::1", "multicast", ""},
		{"0.0.0.0", "unspecified", ""},
		{"0.1.2.3", "unspecified", ""},
		{"::", "unspecified", ""},
		{"255.255.255.255", "broadcast", ""},
		{"127.0.0.1", "", "127.0.0.1/32"},
		{"127.0.0.2", "loopback", "127.0.0.1/32"},
		{"::ffff:127.0.0.1", "", "127.0.0.0/8"},
		{"127.0.0.1", "", "::ffff:127.0.0.0/104"},
		{"fe80::1%eth0", "", "fe80::/10"},
		{"127.0.0.1", "loopback", "::/0"},
	} {
		t.Run(tc.addr+" "+tc.allow, func(t *testing.T) {
			var allow []netip.Prefix
			if tc.allow != "" {
				allow = append(allow, netip.MustParsePrefix(tc.allow))
			}
			err := NewGuard(allow).Check(netip.MustParseAddr(tc.addr))
			if tc.why == "" && err != nil || tc.why != "" && (err == nil || !strings.Contains(err.Error(), tc.why)) {
				t.Errorf("%v, want %q", err, tc.why)
			}
		})
	}
	if NewGuard(nil).Check(netip.Addr{}) == nil {
		t.Error("no address is allowed")
	}
}

// What the standard library calls special is refused in every notation.
func TestGuardAgainstNetip(t *testing.T) {
	g := NewGuard(nil)
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "bytes")
		b[0] = rapid.SampledFrom([]byte{b[0], 0, 127, 169, 224, 255}).Draw(t, "first")
		a := netip.AddrFrom4([4]byte(b))
		special := a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified()
		if special && g.Check(a) == nil {
			t.Fatalf("%s is allowed", a)
		}
		mapped := netip.AddrFrom16(a.As16())
		if (g.Check(a) == nil) != (g.Check(mapped) == nil) {
			t.Fatalf("%s and %s are judged differently", a, mapped)
		}
	})
}
