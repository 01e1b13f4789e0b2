package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// checkAddress says what is wrong with s as something that answers hold, or "".
func checkAddress(s string) (netip.Addr, string) {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return a, notAnAddress(s)
	case a.Zone() != "":
		return a, fmt.Sprintf("%q has a zone (%%%s); DNS cannot carry it", s, a.Zone())
	case a.Is4In6():
		return a, fmt.Sprintf("%q is an IPv4 address in IPv6 form; write %s", s, a.Unmap())
	case a.IsUnspecified():
		return a, fmt.Sprintf("%q is the unspecified address", s)
	case a.IsMulticast(), s == "255.255.255.255":
		return a, fmt.Sprintf("%q is a multicast or broadcast address", s)
	default:
		return a, ""
	}
}

// notAnAddress says what s is instead of an address.
func notAnAddress(s string) string {
	if strings.Contains(s, "://") {
		return fmt.Sprintf("%q is a URL; want the address alone", s)
	}
	if host, _, err := net.SplitHostPort(s); err == nil {
		return fmt.Sprintf("%q has a port; DNS carries none, and the health check states its own: write %s", s, host)
	}
	if bare := strings.Trim(s, "[]"); bare != s {
		if _, err := netip.ParseAddr(bare); err == nil {
			return fmt.Sprintf("%q is in brackets; write %s", s, bare)
		}
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		return fmt.Sprintf("%q is a prefix; want one address, as %s", s, p.Addr())
	}
	if zeros := withoutZeros(s); zeros != s {
		if _, err := netip.ParseAddr(zeros); err == nil {
			return fmt.Sprintf("%q has a number with a zero before it, which some read as octal; write %s", s, zeros)
		}
	}
	if !looksLikeAddress(s) && strings.Contains(s, ".") && checkDomain(s) == "" {
		return fmt.Sprintf("%q is a name; write it as cname instead of addresses", s)
	}
	return fmt.Sprintf("%q is no IP address", s)
}

// withoutZeros takes the zeros off the numbers of an IPv4 address.
func withoutZeros(s string) string {
	parts := strings.Split(s, ".")
	for i, p := range parts {
		if p = strings.TrimLeft(p, "0"); p == "" {
			p = "0"
		}
		parts[i] = p
	}
	return strings.Join(parts, ".")
}

// checkTarget says what is wrong with the target of a CNAME, or "". Of a name
// without dots it is likely that the zone's was left off.
func checkTarget(service, zone, s string) string {
	if _, rest, ok := strings.Cut(s, "://"); ok {
		host, _, _ := strings.Cut(rest, "/")
		return fmt.Sprintf("%q is a URL; DNS leads to no port and no path: write %s", s, host)
	}
	if host, port, ok := strings.Cut(s, ":"); ok && checkDomain(host) == "" && strings.Contains(host, ".") {
		if _, err := strconv.ParseUint(port, 10, 16); err == nil {
			return fmt.Sprintf("%q has a port; DNS carries none: write %s", s, host)
		}
	}
	if looksLikeAddress(s) {
		return fmt.Sprintf("%q is an address; write it under addresses", s)
	}
	if s == service {
		return "is the service itself"
	}
	return checkHost(s, zone)
}

// checkHost is checkDomain for a host name that may not be a single label.
func checkHost(s, zone string) string {
	if message := checkDomain(s); message != "" || strings.Contains(s, ".") {
		return message
	}
	if zone == "" {
		return fmt.Sprintf("%q is not a whole name", s)
	}
	return fmt.Sprintf("%q is not a whole name (did you mean %q?)", s, s+"."+zone)
}

// alone reports targets that an earlier endpoint has too. Two endpoints of a
// region would only count twice. And in two regions a drain or the failure of
// one would leave the traffic where it is; only a name may be shared so, since
// what is behind it is not ours.
func (c *checker) alone(endpoints []*pb.Endpoint) {
	type place struct{ endpoint, at int }
	first := make(map[string]place, 2*len(endpoints))
	for i, e := range endpoints {
		for j, s := range e.GetAddresses() {
			before, ok := first[s]
			if !ok {
				first[s] = place{i, j}
				continue
			}
			other := endpoints[before.endpoint]
			where := fmt.Sprintf("spec.endpoints[%d].addresses[%d]", i, j)
			switch {
			case before.endpoint == i: // said already: of one family
			case other.GetRegion() == e.GetRegion():
				c.addf(where, "%s is the address of endpoint %q too: want each address once", s, other.GetName())
			default:
				c.addf(where, "%s is the address of endpoint %q in region %q too: a drain of one of the regions would move nothing; want each address once", s, other.GetName(), other.GetRegion())
			}
		}
		if e.GetCname() == "" {
			continue
		}
		key := e.GetCname() + "@" + e.GetRegion()
		if before, ok := first[key]; ok {
			c.addf(fmt.Sprintf("spec.endpoints[%d].cname", i), "%q is the name of endpoint %q in region %q too: want each name once in a region", e.GetCname(), endpoints[before.endpoint].GetName(), e.GetRegion())
		} else {
			first[key] = place{i, 0}
		}
	}
}

// weights reports regions whose endpoints all have the weight 0: then they
// answer as with any other weight, which nobody means by it.
func (c *checker) weights(name string, endpoints []*pb.Endpoint) {
	var told []string
	for i, e := range endpoints {
		if e == nil || e.Weight == nil || e.GetWeight() > 0 || e.GetRegion() == "" || slices.Contains(told, e.GetRegion()) {
			continue
		}
		others, positive := 0, false
		for _, o := range endpoints {
			if o.GetRegion() == e.GetRegion() && o != e {
				others++
				positive = positive || o.GetWeight() > 0
			}
		}
		told = append(told, e.GetRegion())
		const want = "want one above 0, or take it out of service with `fairlead region drain %s --service %s`"
		switch {
		case positive:
		case others == 0:
			c.addf(fmt.Sprintf("spec.endpoints[%d].weight", i), "is 0, but there is no other endpoint in region %q, so it answers all the same: "+want, e.GetRegion(), e.GetRegion(), name)
		default:
			c.addf(fmt.Sprintf("spec.endpoints[%d].weight", i), "is 0, as of every endpoint in region %q, so they answer all the same: "+want, e.GetRegion(), e.GetRegion(), name)
		}
	}
}
