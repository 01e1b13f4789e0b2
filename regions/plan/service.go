package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/zone"
)

func (c *compiler) service(svc *pb.Service) {
	name, s := svc.GetMetadata().GetName(), svc.GetSpec()
	where := fmt.Sprintf("services %q", name)
	out := regions.Service{
		Name: name, Zone: s.GetZone(), TTL: uint32(s.GetTtl().GetSeconds()),
		Checked: s.GetHealthCheck() != "", NeverJudged: regions.Healthy,
		Independent: s.GetFamilies() == pb.Families_FAMILIES_INDEPENDENT,
		AllDown:     allDowns[s.GetAllDown()],
		MinTTL:      minTTL(s), Failback: failback(s),
		ClientRegionVerdicts: s.GetVerdicts() == pb.VerdictScope_VERDICT_SCOPE_CLIENT_REGION,
	}
	drainsOf(s.GetSafety(), &out)
	if s.GetUnknown() == pb.UnknownState_UNKNOWN_STATE_UNHEALTHY {
		out.NeverJudged = regions.Unhealthy
	}
	var ok bool
	if out.Policy, ok = c.policyIndex[s.GetPolicy()]; !ok {
		c.errorf("%s spec.policy: no steering policy %q", where, s.GetPolicy())
	}
	if out.Checked {
		check := c.checks[s.GetHealthCheck()]
		if check == nil {
			c.errorf("%s spec.healthCheck: no health check %q", where, s.GetHealthCheck())
		}
		out.Spread = check.GetInterval().AsDuration() + check.GetTimeout().AsDuration()
	}
	if len(s.GetEndpoints()) > regions.MaxServiceEndpoints {
		c.errorf("%s spec.endpoints: %d, at most %d", where, len(s.GetEndpoints()), regions.MaxServiceEndpoints)
		return
	}
	for _, e := range s.GetEndpoints() {
		out.Names = out.Names || e.GetCname() != ""
	}
	out.Endpoints = make([]regions.Endpoint, 0, len(s.GetEndpoints()))
	for _, e := range s.GetEndpoints() {
		out.Endpoints = append(out.Endpoints, c.endpoint(where, e, &out, s.GetHealthCheck()))
	}
	for _, text := range s.GetFallback() {
		c.fallback(where, text, &out)
	}
	c.owners[out.Zone] = append(c.owners[out.Zone], zone.ServiceOwner{Owner: fqdn(name), Index: int32(len(c.services)), Name: out.Names})
	c.services = append(c.services, out)
}

// allDowns has what this version knows; anything else is serve-all.
var allDowns = map[pb.AllDown]regions.AllDown{
	pb.AllDown_ALL_DOWN_SERVE_FALLBACK: regions.ServeFallback,
	pb.AllDown_ALL_DOWN_KEEP_LAST:      regions.KeepLast,
}

func (c *compiler) endpoint(where string, e *pb.Endpoint, svc *regions.Service, check string) regions.Endpoint {
	at := fmt.Sprintf("%s endpoint %q", where, e.GetName())
	ep := regions.Endpoint{Name: e.GetName(), AvailabilityZone: e.GetAvailabilityZone(), Weight: config.DefaultWeight, Target: [2]int32{-1, -1}}
	if e.Weight != nil {
		ep.Weight = e.GetWeight()
	}
	ep.Region, _ = c.region(e.GetRegion(), at)
	if svc.Names {
		if len(e.GetAddresses()) > 0 || e.GetCname() == "" && len(e.ProtoReflect().GetUnknown()) == 0 {
			c.errorf("%s: an endpoint of a service is a name and another is not", at)
			return ep
		}
		if e.GetCname() == "" {
			return ep
		}
		ep.CNAME = c.host(at, e.GetCname())
		ep.Target[regions.V4] = c.target(check, strings.TrimSuffix(ep.CNAME, "."))
		return ep
	}
	for _, text := range e.GetAddresses() {
		a, f, err := parseAddress(text)
		if err != nil {
			c.errorf("%s: %w", at, err)
			continue
		}
		if ep.Addr[f].IsValid() {
			c.errorf("%s: two %s addresses", at, f)
		}
		ep.Addr[f] = a
		ep.Target[f] = c.target(check, a.String())
	}
	// One with a target of a newer version's kind is carried; it never answers.
	if len(e.GetAddresses()) == 0 && len(e.ProtoReflect().GetUnknown()) == 0 {
		c.errorf("%s: neither addresses nor a name", at)
	}
	return ep
}

func (c *compiler) fallback(where, text string, svc *regions.Service) {
	where += " spec.fallback"
	switch a, f, err := parseAddress(text); {
	case svc.Names && err == nil:
		c.errorf("%s: %s is an address, and the endpoints are names", where, text)
	case svc.Names && svc.FallbackName != "":
		c.errorf("%s: two names, %s and %s", where, svc.FallbackName, text)
	case svc.Names:
		svc.FallbackName = c.host(where, text)
	case err != nil:
		c.errorf("%s: %w", where, err)
	default:
		svc.Fallback[f] = append(svc.Fallback[f], a)
	}
}

func parseAddress(text string) (netip.Addr, regions.Family, error) {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return a, regions.V4, fmt.Errorf("%q is no IP address", text)
	}
	if a = a.Unmap().WithZone(""); a.Is4() {
		return a, regions.V4, nil
	}
	return a, regions.V6, nil
}

// host returns the FQDN of a host name that answers lead to.
func (c *compiler) host(where, name string) string {
	if _, err := zone.ParseName(fqdn(name)); err != nil {
		c.errorf("%s: %q: %w", where, name, err)
	}
	return fqdn(name)
}

type target struct {
	assignment *pb.Assignment
	index      int32
	services   []int32
}

// target returns a provisional number for a target of the service in hand, -1
// without a check; finish sorts them.
func (c *compiler) target(check, address string) int32 {
	if check == "" {
		return -1
	}
	service := int32(len(c.services))
	id := regions.TargetID(check, address)
	t := c.targets[id]
	if t == nil {
		t = &target{assignment: &pb.Assignment{Target: id, Address: address, Check: c.checks[check]}, index: int32(len(c.targets))}
		c.targets[id] = t
	}
	if n := len(t.services); n == 0 || t.services[n-1] != service {
		t.services = append(t.services, service)
	}
	return t.index
}

// finish gives the targets their numbers, in the order of their ids.
func (c *compiler) finish(b *Base) *regions.Base {
	ids := make([]string, 0, len(c.targets))
	for id := range c.targets {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	renumber := make([]int32, len(ids))
	targets := make([]regions.Target, len(ids))
	for i, id := range ids {
		t := c.targets[id]
		renumber[t.index] = int32(i)
		check, address, _ := regions.SplitTargetID(id)
		targets[i] = regions.Target{ID: id, Check: check, Address: address, Services: t.services}
		b.Assignments = append(b.Assignments, t.assignment)
	}
	for s := range c.services {
		for e := range c.services[s].Endpoints {
			ep := &c.services[s].Endpoints[e]
			for f := range ep.Target {
				if ep.Target[f] >= 0 {
					ep.Target[f] = renumber[ep.Target[f]]
				}
			}
		}
	}
	return regions.NewBase(c.regions, c.policies, c.services, targets)
}
