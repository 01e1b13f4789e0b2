package check

import (
	"net"
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
		{"240.0.0.1", "reserved", ""},
		{"192.0.0.192", "reserved", ""},
		{"192.88.99.1", "relay", ""},
		{"100.100.100.200", "metadata", ""},
		{"100.100.100.201", "", ""},
		{"168.63.129.16", "host platform", ""},
		{"198.18.0.1", "", ""},
		{"::ffff:100.100.100.200", "metadata", ""},
		{"fd00:ec2::23", "metadata", ""},
		{"fd20:ce::254", "metadata", ""},
		{"fd20:ce::255", "", ""},
		{"fd00:c1::a9fe:a9fe", "metadata", ""},
		{"fec0::1", "site-local", ""},
		{"feff::1", "site-local", ""},
		{"::127.0.0.1", "IPv4-compatible", ""},
		{"::192.0.2.1", "IPv4-compatible", ""},
		{"::ffff:0:127.0.0.1", "loopback", ""},
		{"::ffff:0:192.0.2.1", "", ""},
		{"64:ff9b::a9fe:a9fe", "link-local", ""},
		{"64:ff9b:1::a9fe:a9fe", "local NAT64", ""},
		{"64:ff9b:2::1", "reserved", ""},
		{"2002:7f00:1::1", "tunnel", ""},
		{"2002:c000:201::1", "tunnel", ""},
		{"2001::1", "tunnel", ""},
		{"2001:0:c000:201::1", "tunnel", ""},
		{"2001:10::1", "overlay", ""},
		{"2001:20::1", "overlay", ""},
		{"2001:30::1", "", ""},
		{"2001:db8::5efe:7f00:1", "loopback", ""},
		{"2001:db8::200:5efe:a9fe:a9fe", "link-local", ""},
		{"2001:db8::5efe:c000:201", "", ""},
		{"2001:db8::100:5efe:7f00:1", "", ""},
		{"100::1", "reserved", ""},
		{"5f00::1", "overlay", ""},
		{"4000::1", "reserved", ""},
		{"e000::1", "reserved", ""},
		{"2001:db8::1%eth0", "", ""},
		{"::1%lo", "loopback", ""},
		{"127.0.0.1", "", "127.0.0.1/32"},
		{"::ffff:0:127.0.0.1", "", "127.0.0.0/8"},
		{"4000::1", "", "4000::/8"},
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
			if tc.why == "" && err != nil || tc.why != "" && (err == nil || !strings.Contains(err.Error(), tc.why+" address")) {
				t.Errorf("%v, want %q", err, tc.why)
			}
			if err != nil && strings.ContainsAny(err.Error(), "0123456789%") && !strings.Contains(tc.why, "4") {
				t.Errorf("an address is in %q", err)
			}
		})
	}
	var none *Guard
	for _, g := range []*Guard{none, NewGuard(nil)} {
		if g.Check(netip.Addr{}) == nil {
			t.Error("no address is allowed")
		}
		if g.Check(netip.MustParseAddr("192.0.2.1")) != nil || g.Check(netip.MustParseAddr("127.0.0.1")) == nil {
			t.Error("the guard that allows nothing more")
		}
	}
}

// Where a redirect may lead.
func TestGuardFollow(t *testing.T) {
	host := ownAddress(t)
	for _, tc := range []struct{ from, to, why, allow string }{
		{"192.0.2.1", "198.51.100.1", "", ""},
		{"192.0.2.1", "2001:db8::1", "", ""},
		{"192.0.2.1", "127.0.0.1", "loopback", ""},
		{"192.0.2.1", "10.0.0.1", "private", ""},
		{"192.0.2.1", "::ffff:10.0.0.1", "private", ""},
		{"192.0.2.1", "172.31.255.255", "private", ""},
		{"192.0.2.1", "172.32.0.0", "", ""},
		{"192.0.2.1", "192.168.1.1", "private", ""},
		{"192.0.2.1", "100.64.0.1", "shared", ""},
		{"192.0.2.1", "fd00::1", "private", ""},
		{"192.0.2.1", "10.0.0.1", "", "10.0.0.0/24"},
		{"10.0.0.1", "192.168.1.1", "", ""},
		{"fd00::1", "10.0.0.1", "", ""},
		{"10.0.0.1", "169.254.169.254", "link-local", ""},
		{"203.0.113.1", host, "own", ""},
		{"203.0.113.1", host, "", host + "/32"},
		{host, host, "", ""},
	} {
		if tc.from == "" || tc.to == "" {
			continue
		}
		t.Run(tc.from+" "+tc.to+" "+tc.allow, func(t *testing.T) {
			var allow []netip.Prefix
			if tc.allow != "" {
				allow = append(allow, netip.MustParsePrefix(tc.allow))
			}
			err := NewGuard(allow).Follow(netip.MustParseAddr(tc.from), netip.MustParseAddr(tc.to))
			if tc.why == "" && err != nil || tc.why != "" && (err == nil || !strings.Contains(err.Error(), tc.why+" address")) {
				t.Errorf("%v, want %q", err, tc.why)
			}
		})
	}
}

// ownAddress is an address of this host that is neither loopback nor private;
// "": it has none.
func ownAddress(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && NewGuard(nil).Check(p.Addr()) == nil && !p.Addr().IsPrivate() {
			return p.Addr().String()
		}
	}
	t.Log("NOT TESTED: a redirect to this host's own address: it has none that is public")
	return ""
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
