package config

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func (c *checker) service(name string, s *pb.ServiceSpec) {
	c.required("spec.zone", s.Zone, "the Zone that the name lies in")
	c.required("spec.policy", s.Policy, "the name of a SteeringPolicy")
	c.ttl("spec.ttl", s.Ttl, time.Second, 24*time.Hour)
	c.enum("spec.allDown", s.AllDown)
	c.enum("spec.unknown", s.Unknown)
	c.enum("spec.families", s.Families)
	c.enum("spec.verdicts", s.GetVerdicts())
	if ttl := s.Ttl.AsDuration(); s.GetMinTtl() != nil && ttl >= time.Second {
		c.ttl("spec.minTtl", s.GetMinTtl(), time.Second, ttl)
	}
	c.failback(s.GetFailback())
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
		c.endpoint(path, name, s.Zone, e)
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
	c.serviceSafety(s)
	c.alone(s.Endpoints)
	c.weights(name, s.Endpoints)
	c.fallback(name, s, byName)
}

func (c *checker) endpoint(path, service, zone string, e *pb.Endpoint) {
	c.add(path+".name", checkLabel(e.GetName()))
	c.required(path+".region", e.GetRegion(), aRegion)
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
		c.add(path+".cname", checkTarget(service, zone, e.GetCname()))
	}
	if !c.atMost(path+".addresses", len(e.GetAddresses()), 16) {
		return
	}
	v4, v6 := "", ""
	for i, s := range e.GetAddresses() {
		at := fmt.Sprintf("%s.addresses[%d]", path, i)
		a, message := checkAddress(s)
		if message != "" {
			c.add(at, message)
			continue
		}
		family, seen := "IPv4", &v4
		if a.Is6() {
			family, seen = "IPv6", &v6
		}
		if *seen != "" {
			c.addf(at, "%s is the second %s address after %s; an endpoint has at most one: make another endpoint of it", s, family, *seen)
			continue
		}
		*seen = s
	}
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
	if !byName {
		c.fallbackFamilies(s)
	}
	for i, target := range s.Fallback {
		at := fmt.Sprintf("spec.fallback[%d]", i)
		switch {
		case byName && looksLikeAddress(target):
			c.addf(at, "%q is an address; the endpoints are names, so want one name", target)
		case byName:
			c.add(at, checkTarget(name, s.Zone, target))
		case !looksLikeAddress(target) && checkDomain(target) == "":
			c.addf(at, "%q is a name; the endpoints are addresses, so want addresses", target)
		default:
			_, message := checkAddress(target)
			c.add(at, message)
		}
	}
	c.unique("spec.fallback", s.Fallback)
}

// fallbackFamilies reports a fallback of which no address is of a family that
// the endpoints answer in: it would never help.
func (c *checker) fallbackFamilies(s *pb.ServiceSpec) {
	var stated, used []string
	add := func(list []string, text string) []string {
		a, err := netip.ParseAddr(text)
		family := "IPv6"
		if a.Is4() {
			family = "IPv4"
		}
		if err == nil && !slices.Contains(list, family) {
			list = append(list, family)
		}
		return list
	}
	for _, text := range s.Fallback {
		stated = add(stated, text)
	}
	for _, e := range s.Endpoints {
		for _, text := range e.GetAddresses() {
			used = add(used, text)
		}
	}
	if len(stated) == 1 && len(used) == 1 && stated[0] != used[0] {
		c.addf("spec.fallback", "has %s addresses only, and the endpoints %s ones: want an %s address", stated[0], used[0], used[0])
	}
}
