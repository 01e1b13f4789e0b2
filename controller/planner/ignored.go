package planner

import (
	"fmt"
	"slices"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

// Ignored is an override that changes nothing, which is seldom what was meant.
type Ignored struct {
	Override *pb.Override
	Reason   string
}

// Ignored lists the overrides of a generation that hold no endpoint, and those
// that this version does not understand. Overrides outlive configuration: a
// rollback or an apply may take away what one of them names.
func (c *Current) Ignored() []Ignored {
	var out []Ignored
	for _, o := range c.Overrides {
		if why := c.whyIgnored(o); why != "" {
			out = append(out, Ignored{o, why})
		}
	}
	return out
}

func (c *Current) whyIgnored(o *pb.Override) string {
	if slices.Contains(c.Plan.Ignored, o.GetId()) {
		return fmt.Sprintf("controller and nameservers of this version do not understand its action (%v) or scope: a newer one made it", o.GetAction())
	}
	s := o.GetScope()
	if s.GetRegion()+s.GetAvailabilityZone()+s.GetService()+s.GetEndpoint() == "" {
		return "its scope is empty, which holds nothing"
	}
	region, known := c.Plan.Region(s.GetRegion())
	if s.GetRegion() != "" && !known {
		return fmt.Sprintf("there is no region %q", s.GetRegion())
	}
	if z := s.GetAvailabilityZone(); z != "" {
		has := func(r regions.Region) bool { return slices.Contains(r.AvailabilityZones, z) }
		switch {
		case known && !has(c.Plan.Regions[region]):
			return fmt.Sprintf("region %q has no availability zone %q", s.GetRegion(), z)
		case !known && !slices.ContainsFunc(c.Plan.Regions, has):
			return fmt.Sprintf("no region has an availability zone %q", z)
		}
	}
	if s.GetService() == "" {
		return "" // a region without endpoints may get some
	}
	i, known := c.Plan.Service(s.GetService())
	if !known {
		return fmt.Sprintf("there is no service %q", s.GetService())
	}
	svc := &c.Plan.Services[i]
	scope := regions.Scope{Region: s.GetRegion(), AvailabilityZone: s.GetAvailabilityZone(), Service: s.GetService(), Endpoint: s.GetEndpoint()}
	for e := range svc.Endpoints {
		ep := &svc.Endpoints[e]
		if scope.Holds(svc.Name, ep.Name, c.Plan.Regions[ep.Region].Name, ep.AvailabilityZone) {
			return ""
		}
	}
	where := regions.Scope{Region: s.GetRegion(), AvailabilityZone: s.GetAvailabilityZone()}
	switch named := func(e regions.Endpoint) bool { return e.Name == s.GetEndpoint() }; {
	case s.GetEndpoint() == "":
		return fmt.Sprintf("service %q has no endpoint in %s", svc.Name, where)
	case !slices.ContainsFunc(svc.Endpoints, named):
		return fmt.Sprintf("service %q has no endpoint %q", svc.Name, s.GetEndpoint())
	}
	return fmt.Sprintf("endpoint %q of service %q is not in %s", s.GetEndpoint(), svc.Name, where)
}

// tellIgnored logs what is ignored now and was not before.
func (p *Planner) tellIgnored(before, now *Current) {
	known := map[string]bool{}
	if before != nil {
		for _, i := range before.Ignored() {
			known[i.Override.GetId()] = true
		}
	}
	for _, i := range now.Ignored() {
		if !known[i.Override.GetId()] {
			p.opts.Log.Warn("override changes nothing", "override", i.Override.GetId(), "reason", i.Override.GetReason(), "author", i.Override.GetAuthor(), "why", i.Reason)
		}
	}
}
