package check

import (
	"errors"
	"net/netip"
)

// Guard says which addresses may be probed. Whoever may write a service chooses
// what every agent connects to, so what only an agent's own host, link or cloud
// can reach is refused unless its operator allows it.
//
// Private networks (RFC 1918, RFC 4193, RFC 6598) and the agent host's own
// addresses are where endpoints live too, so a service may name them. But a
// target may not: a redirect from elsewhere does not lead there (Follow).
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

// network is a range of addresses, and how they are called.
type network struct {
	prefix netip.Prefix
	what   string
}

func named(what string, prefixes ...string) (ns []network) {
	for _, p := range prefixes {
		ns = append(ns, network{netip.MustParsePrefix(p), what})
	}
	return ns
}

func join(lists ...[]network) (ns []network) {
	for _, l := range lists {
		ns = append(ns, l...)
	}
	return ns
}

var (
	// refused are the networks that nobody outside an agent's host, link or cloud
	// can reach, or that only tunnel or translate to addresses in hiding.
	refused = join(
		named("an unspecified", "0.0.0.0/8", "::/128"),                 // RFC 1122 section 3.2.1.3; Linux connects 0.0.0.0 to itself
		named("a loopback", "127.0.0.0/8", "::1/128"),                  // RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.3
		named("a link-local", "169.254.0.0/16", "fe80::/10"),           // RFC 3927; most metadata services
		named("a multicast", "224.0.0.0/4", "ff00::/8"),                // RFC 5771, RFC 4291 section 2.7
		named("a broadcast", "255.255.255.255/32"),                     // RFC 919
		named("a reserved", "240.0.0.0/4", "192.0.0.0/24", "100::/64"), // RFC 1112 section 4, RFC 6890 section 2.2.2, RFC 6666
		named("a relay", "192.88.99.0/24"),                             // RFC 7526: 6to4 anycast, deprecated
		// Metadata and host services of clouds that are not link-local.
		named("a metadata", "100.100.100.200/32", "fd00:ec2::/32", "fd20:ce::254/128", "fd00:c1::a9fe:a9fe/128", "fd00:42::42/128"),
		named("a host platform", "168.63.129.16/32"),
		// Site-local, deprecated by RFC 3879: still delivered where configured.
		named("a site-local", "fec0::/10"),
		// What hides an IPv4 address: IPv4-compatible (RFC 4291 section 2.5.5.1),
		// Teredo (RFC 4380), 6to4 (RFC 3056), NAT64 of local use whose layout only
		// its operator knows (RFC 8215).
		named("an IPv4-compatible", "::/96"),
		named("a tunnel", "2001::/32", "2002::/16"),
		named("a local NAT64", "64:ff9b:1::/48"),
		named("an overlay", "2001:10::/28", "2001:20::/28", "5f00::/16"), // RFC 4843, RFC 7343, RFC 9602
	)
	// embedding networks hold an IPv4 address in their last four bytes, which is
	// judged: NAT64 (RFC 6052 section 2.1), SIIT (RFC 2765 section 2.1).
	embedding = []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("::ffff:0:0:0/96")}
	// unicast is what IANA has given out of IPv6 (RFC 4291 section 2.4).
	unicast = []netip.Prefix{netip.MustParsePrefix("2000::/3"), netip.MustParsePrefix("fc00::/7")}
	// private networks are reached from inside only.
	private = join(
		named("a private", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
		named("a shared", "100.64.0.0/10"), // RFC 6598
	)
)

// refusal is why an address may not be probed. It names the kind of address
// only, so that it is the same for all of them.
type refusal struct{ what string }

func (r refusal) Error() string {
	return "refused: " + r.what + " address; --allow-target allows it"
}

// Check says why an address may not be probed; nil: it may. A nil guard allows
// nothing more than the others.
func (g *Guard) Check(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	switch {
	case !addr.IsValid():
		return errors.New("no address")
	case g.allows(addr):
		return nil
	}
	for _, r := range refused {
		if r.prefix.Contains(addr) {
			return refusal{r.what}
		}
	}
	if addr.Is4() {
		return nil
	}
	b := addr.As16()
	hidden := netip.AddrFrom4([4]byte(b[12:]))
	for _, p := range embedding {
		if p.Contains(addr) {
			return g.Check(hidden)
		}
	}
	// ISATAP hides it in the interface identifier of any network (RFC 5214
	// section 6.1).
	if [3]byte(b[9:12]) == [3]byte{0, 0x5e, 0xfe} && b[8]&^2 == 0 {
		return g.Check(hidden)
	}
	for _, p := range unicast {
		if p.Contains(addr) {
			return nil
		}
	}
	return refusal{"a reserved"}
}

// Follow says why a redirect from one address may not lead to another one; nil:
// it may. The one who writes a service chooses its targets; where a redirect
// leads is chosen by the target, which may be anybody's. So what is reached from
// inside only, private networks and this host's own addresses, is for the
// redirects of targets of that kind.
func (g *Guard) Follow(from, to netip.Addr) error {
	from, to = from.Unmap().WithZone(""), to.Unmap().WithZone("")
	if err := g.Check(to); err != nil {
		return err
	}
	if g.allows(to) || from == to || kindOf(from) != "" {
		return nil
	}
	if what := kindOf(to); what != "" {
		return refusal{what}
	}
	return nil
}

func (g *Guard) allows(addr netip.Addr) bool {
	if g == nil {
		return false
	}
	for _, p := range g.allow {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// kindOf says how an address is called that is reached from inside only.
func kindOf(addr netip.Addr) string {
	for _, p := range private {
		if p.prefix.Contains(addr) {
			return p.what
		}
	}
	if addr.IsLoopback() {
		return "a loopback"
	}
	if own(addr) {
		return "an own"
	}
	return ""
}
