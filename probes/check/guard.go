package check

import (
	"errors"
	"fmt"
	"net/netip"
)

// Guard says which addresses may be probed. Whoever may write a service chooses
// what every agent connects to, so what only an agent's own host or link can
// reach is refused unless its operator allows it.
type Guard struct{ allow []netip.Prefix }

// NewGuard makes a guard that also allows the given prefixes.
func NewGuard(allow []netip.Prefix) *Guard {
	g := &Guard{}
	for _, p := range allow {
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		g.allow = append(g.allow, p.Masked())
	}
	return g
}

// The networks that are refused, and how they are called.
var refused = []struct {
	prefix netip.Prefix
	what   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "unspecified"},          // RFC 1122 section 3.2.1.3
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},           // RFC 1122 section 3.2.1.3
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},      // RFC 3927; cloud metadata services
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},          // RFC 5771
	{netip.MustParsePrefix("255.255.255.255/32"), "broadcast"},   // RFC 919
	{netip.MustParsePrefix("::/128"), "unspecified"},             // RFC 4291 section 2.5.2
	{netip.MustParsePrefix("::1/128"), "loopback"},               // RFC 4291 section 2.5.3
	{netip.MustParsePrefix("fe80::/10"), "link-local"},           // RFC 4291 section 2.5.6
	{netip.MustParsePrefix("ff00::/8"), "multicast"},             // RFC 4291 section 2.7
	{netip.MustParsePrefix("fd00:ec2::254/128"), "metadata"},     // a cloud's metadata service
	{netip.MustParsePrefix("168.63.129.16/32"), "host platform"}, // a cloud's wire server
}

// nat64 holds an IPv4 address in its last four bytes (RFC 6052 section 2.1).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// Check says why an address may not be probed; nil: it may.
func (g *Guard) Check(addr netip.Addr) error {
	if !addr.IsValid() {
		return errors.New("no address")
	}
	addr = addr.Unmap().WithZone("")
	for _, p := range g.allow {
		if p.Contains(addr) {
			return nil
		}
	}
	for _, r := range refused {
		if r.prefix.Contains(addr) {
			return fmt.Errorf("refused: %s is a %s address; --allow-target allows it", addr, r.what)
		}
	}
	if nat64.Contains(addr) {
		b := addr.As16()
		return g.Check(netip.AddrFrom4([4]byte(b[12:])))
	}
	return nil
}
