package config

import (
	"fmt"
	"net/netip"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func (c *checker) service(name string, s *pb.ServiceSpec) {
	c.required("spec.zone", s.Zone)
	c.required("spec.policy", s.Policy)
	c.ttl("spec.ttl", s.Ttl, time.Second, 24*time.Hour)
	c.enum("spec.allDown", s.AllDown)
	c.enum("spec.unknown", s.Unknown)
	c.enum("spec.families", s.Families)
	if len(s.Endpoints) == 0 {
		c.addf("spec.endpoints", "required: 1 to %d", MaxEndpoints)
	}
	if !c.atMost("spec.endpoints", len(s.Endpoints), MaxEndpoints) {
		return
	}
	// The first endpoint that says so decides what the others must be.
	byName, decidedBy := false, -1
	first := make(map[string]int, len(s.Endpoints))
	for i, e := range s.Endpoints {
		path := fmt.Sprintf("spec.endpoints[%d]", i)
		c.endpoint(path, name, e)
		if j, ok := first[e.GetName()]; ok && e.GetName() != "" {
			c.addf(path+".name", "%q is given twice; the first is spec.endpoints[%d]", e.GetName(), j)
		} else {
			first[e.GetName()] = i
		}
		hasName := e.GetCname() != ""
		if hasName == (len(e.GetAddresses()) > 0) {
			continue // wrong by itself
		}
		if decidedBy < 0 {
			byName, decidedBy = hasName, i
		} else if hasName != byName {
			field, other := ".addresses", "a cname"
			if hasName {
				field, other = ".cname", "addresses"
			}
			c.addf(path+field, "spec.endpoints[%d] has %s; the endpoints of a service are all addresses or all names", decidedBy, other)
		}
	}
	if byName && name != "" && name == s.Zone {
		// RFC 1034 section 3.6.2: a CNAME stands alone, and the apex has SOA and NS.
		c.add("spec.endpoints", "are names, and the service is the zone's apex, which cannot be a CNAME (RFC 1034 section 3.6.2): want addresses")
	}
	c.fallback(name, s, byName)
}

func (c *checker) endpoint(path, service string, e *pb.Endpoint) {
	c.add(path+".name", checkLabel(e.GetName()))
	c.required(path+".region", e.GetRegion())
	if w := e.GetWeight(); w > MaxWeight {
		c.addf(path+".weight", "%d is out of range: want 0 to %d", w, MaxWeight)
	}
	switch {
	case len(e.GetAddresses()) == 0 && e.GetCname() == "":
		c.add(path+".addresses", "required: an IPv4 or IPv6 address or both (or cname instead)")
	case len(e.GetAddresses()) > 0 && e.GetCname() != "":
		c.add(path+".cname", "there are addresses too; want one of them")
	}
	if e.GetCname() != "" {
		c.add(path+".cname", checkTarget(service, e.GetCname()))
	}
	if !c.atMost(path+".addresses", len(e.GetAddresses()), 16) {
		return
	}
	v4, v6 := "", ""
	for i, s := range e.GetAddresses() {
		at := fmt.Sprintf("%s.addresses[%d]", path, i)
		if message := checkAddress(s); message != "" {
			c.add(at, message)
			continue
		}
		family, seen := "IPv4", &v4
		if netip.MustParseAddr(s).Is6() {
			family, seen = "IPv6", &v6
		}
		if *seen != "" {
			c.addf(at, "%s is the second %s address after %s; an endpoint has at most one: make another endpoint of it", s, family, *seen)
			continue
		}
		*seen = s
	}
}

// checkAddress says what is wrong with s as something that answers hold.
func checkAddress(s string) string {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return fmt.Sprintf("%q is no IP address", s)
	case a.Zone() != "":
		return fmt.Sprintf("%q has a zone (%%%s); DNS cannot carry it", s, a.Zone())
	case a.Is4In6():
		return fmt.Sprintf("%q is an IPv4 address in IPv6 form; write %s", s, a.Unmap())
	case a.IsUnspecified():
		return fmt.Sprintf("%q is the unspecified address", s)
	case a.IsMulticast(), s == "255.255.255.255":
		return fmt.Sprintf("%q is a multicast or broadcast address", s)
	default:
		return ""
	}
}

// checkTarget says what is wrong with the target of a CNAME.
func checkTarget(service, s string) string {
	if looksLikeAddress(s) {
		return fmt.Sprintf("%q is an address; write it under addresses", s)
	}
	if s == service {
		return "is the service itself"
	}
	return checkDomain(s)
}

func (c *checker) fallback(name string, s *pb.ServiceSpec, byName bool) {
	serves := s.AllDown == pb.AllDown_ALL_DOWN_SERVE_FALLBACK
	switch {
	case !serves && len(s.Fallback) > 0 && s.AllDown.Descriptor().Values().ByNumber(s.AllDown.Number()) != nil:
		c.add("spec.fallback", "is only for `allDown: serve-fallback`: set that, or remove it")
	case serves && len(s.Fallback) == 0 && byName:
		c.add("spec.fallback", "required by `allDown: serve-fallback`: one name")
	case serves && len(s.Fallback) == 0:
		c.add("spec.fallback", "required by `allDown: serve-fallback`: addresses")
	}
	if !c.atMost("spec.fallback", len(s.Fallback), maxFallback) {
		return
	}
	if byName && len(s.Fallback) > 1 {
		c.addf("spec.fallback", "has %d; the endpoints are names, so want one name", len(s.Fallback))
	}
	for i, target := range s.Fallback {
		at := fmt.Sprintf("spec.fallback[%d]", i)
		switch {
		case byName && looksLikeAddress(target):
			c.addf(at, "%q is an address; the endpoints are names, so want one name", target)
		case byName:
			c.add(at, checkTarget(name, target))
		case !looksLikeAddress(target):
			c.addf(at, "%q is a name; the endpoints are addresses, so want addresses", target)
		default:
			c.add(at, checkAddress(target))
		}
	}
	c.unique("spec.fallback", s.Fallback)
}
