package plan

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/zone"
)

// Base is a compiled configuration: the domain's tables, the zones, and who
// is registered. Immutable.
type Base struct {
	*regions.Base
	Zones       *zone.Set
	Agents      []Member // sorted by name
	Nameservers []Member
	Assignments []*pb.Assignment // by target index
}

// Member is a registered agent or nameserver.
type Member struct{ Name, Region string }

// Plan is the base with the overrides of a generation.
type Plan struct {
	*regions.Plan
	Compiled *Base
}

// Compile compiles a set that was defaulted and validated. References that
// lead nowhere are errors all the same: the set may come from another version.
func Compile(set *config.Set) (*Base, error) {
	c := compiler{regionIndex: map[string]uint16{}, policyIndex: map[string]uint16{}, checks: map[string]*pb.HealthCheckSpec{}, targets: map[string]*target{}}
	for _, r := range set.ByKind("Region") {
		s := r.GetRegion()
		c.regionIndex[s.GetMetadata().GetName()] = uint16(len(c.regions))
		c.regions = append(c.regions, regions.Region{
			Name:     s.GetMetadata().GetName(),
			Latitude: s.GetSpec().GetLatitude(), Longitude: s.GetSpec().GetLongitude(),
			Capacity: s.GetSpec().GetCapacity(), AvailabilityZones: s.GetSpec().GetAvailabilityZones(),
		})
	}
	if len(c.regions) > regions.MaxRegions {
		return nil, fmt.Errorf("%d regions, at most %d", len(c.regions), regions.MaxRegions)
	}
	for _, r := range set.ByKind("HealthCheck") {
		c.checks[r.GetHealthCheck().GetMetadata().GetName()] = r.GetHealthCheck().GetSpec()
	}
	for _, r := range set.ByKind("SteeringPolicy") {
		c.policy(r.GetSteeringPolicy())
	}
	if len(c.policies) > regions.MaxPolicies {
		return nil, fmt.Errorf("%d steering policies, at most %d", len(c.policies), regions.MaxPolicies)
	}
	owners := map[string][]zone.ServiceOwner{}
	for _, r := range set.ByKind("Service") {
		c.service(r.GetService(), owners)
	}
	b := &Base{}
	var zones []*zone.Zone
	for _, r := range set.ByKind("Zone") {
		name := r.GetZone().GetMetadata().GetName()
		z, err := BuildZone(r.GetZone(), owners[name])
		delete(owners, name)
		if err != nil {
			c.errs = append(c.errs, fmt.Errorf("zones %q: %w", name, err))
			continue
		}
		zones = append(zones, z)
	}
	for name, o := range owners {
		c.errs = append(c.errs, fmt.Errorf("services %q: no zone %q", o[0].Owner, name))
	}
	if err := errors.Join(c.errs...); err != nil {
		return nil, err
	}
	var err error
	if b.Zones, err = zone.NewSet(zones); err != nil {
		return nil, err
	}
	for _, r := range set.ByKind("Agent") {
		b.Agents = append(b.Agents, Member{r.GetAgent().GetMetadata().GetName(), r.GetAgent().GetSpec().GetRegion()})
	}
	for _, r := range set.ByKind("Nameserver") {
		b.Nameservers = append(b.Nameservers, Member{r.GetNameserver().GetMetadata().GetName(), r.GetNameserver().GetSpec().GetRegion()})
	}
	b.Base = c.finish(b)
	return b, nil
}

// BuildZone compiles one zone with the owner names of its services.
func BuildZone(z *pb.Zone, owners []zone.ServiceOwner) (*zone.Zone, error) {
	s := z.GetSpec()
	return zone.Build(zone.Params{
		Origin: fqdn(z.GetMetadata().GetName()), Nameservers: s.GetNameservers(), Mailbox: s.GetMailbox(),
		TTL: uint32(s.GetTtl().GetSeconds()), NegativeTTL: uint32(s.GetNegativeTtl().GetSeconds()),
		Serial: max(z.GetStatus().GetSerial(), 1), Records: s.GetRecords(), Services: owners,
	})
}

// With adds the overrides of a generation.
func (b *Base) With(gen regions.Generation, overrides []*pb.Override) *Plan {
	p := &regions.Plan{Base: b.Base, Generation: gen}
	for _, o := range overrides {
		action, known := actions[o.GetAction()]
		if !known {
			continue // an action of a newer version: carried, not obeyed
		}
		s := o.GetScope()
		r := regions.Override{
			ID: o.GetId(), Action: action, Author: o.GetAuthor(), Reason: o.GetReason(),
			Scope: regions.Scope{Region: s.GetRegion(), AvailabilityZone: s.GetAvailabilityZone(), Service: s.GetService(), Endpoint: s.GetEndpoint()},
		}
		if o.GetCreateTime() != nil {
			r.Created = o.GetCreateTime().AsTime()
		}
		if o.GetExpireTime() != nil {
			r.Expires = o.GetExpireTime().AsTime()
		}
		p.Overrides = append(p.Overrides, r)
	}
	regions.SortOverrides(p.Overrides)
	return &Plan{Plan: p, Compiled: b}
}

var actions = map[pb.OverrideAction]regions.Action{
	pb.OverrideAction_OVERRIDE_ACTION_DRAIN:      regions.Drain,
	pb.OverrideAction_OVERRIDE_ACTION_FORCE_UP:   regions.ForceUp,
	pb.OverrideAction_OVERRIDE_ACTION_FORCE_DOWN: regions.ForceDown,
}

type target struct {
	assignment *pb.Assignment
	index      int32
	services   []int32
}

type compiler struct {
	regions     []regions.Region
	regionIndex map[string]uint16
	policies    []regions.Policy
	policyIndex map[string]uint16
	checks      map[string]*pb.HealthCheckSpec
	services    []regions.Service
	targets     map[string]*target
	errs        []error
}

func (c *compiler) errorf(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf(format, args...))
}

func (c *compiler) region(name, where string) (uint16, bool) {
	i, ok := c.regionIndex[name]
	if !ok {
		c.errorf("%s: no region %q", where, name)
	}
	return i, ok
}

func (c *compiler) regionList(names []string, where string) []uint16 {
	var out []uint16
	for _, n := range names {
		if i, ok := c.region(n, where); ok {
			out = append(out, i)
		}
	}
	return out
}

func (c *compiler) policy(p *pb.SteeringPolicy) {
	name, s := p.GetMetadata().GetName(), p.GetSpec()
	where := fmt.Sprintf("steeringpolicies %q", name)
	out := regions.Policy{
		Name:          name,
		ActivePassive: s.GetMode() == pb.SteeringMode_STEERING_MODE_ACTIVE_PASSIVE,
		Candidates:    c.regionList(s.GetRegions(), where+" spec.regions"),
		Bias:          make([]int, len(c.regions)),
		Default:       c.regionList(s.GetDefaultOrder(), where+" spec.defaultOrder"),
		MaxAnswers:    int(s.GetMaxAnswers()), MinHealthyPercent: int(s.GetMinHealthyPercent()),
	}
	if len(s.GetRegions()) == 0 {
		for i := range c.regions {
			out.Candidates = append(out.Candidates, uint16(i))
		}
	}
	for r, bias := range s.GetBias() {
		if i, ok := c.region(r, where+" spec.bias"); ok {
			out.Bias[i] = int(bias)
		}
	}
	for _, r := range s.GetRules() {
		rule := regions.PolicyRule{
			Name: r.GetName(), Countries: r.GetCountries(), Continents: r.GetContinents(), Subdivisions: r.GetSubdivisions(),
			Regions: c.regionList(r.GetRegions(), where+" spec.rules"),
		}
		for _, text := range r.GetCidrs() {
			prefix, err := netip.ParsePrefix(text)
			if err != nil {
				c.errorf("%s spec.rules: %w", where, err)
				continue
			}
			rule.Prefixes = append(rule.Prefixes, prefix.Masked())
		}
		out.Rules = append(out.Rules, rule)
	}
	if out.MaxAnswers <= 0 || out.MaxAnswers > regions.MaxAnswers {
		c.errorf("%s spec.maxAnswers: %d, want 1 to %d", where, out.MaxAnswers, regions.MaxAnswers)
	}
	c.policyIndex[name] = uint16(len(c.policies))
	c.policies = append(c.policies, out)
}

func (c *compiler) service(svc *pb.Service, owners map[string][]zone.ServiceOwner) {
	name, s := svc.GetMetadata().GetName(), svc.GetSpec()
	where := fmt.Sprintf("services %q", name)
	index := int32(len(c.services))
	out := regions.Service{
		Name: name, Zone: s.GetZone(), TTL: uint32(s.GetTtl().GetSeconds()),
		Checked: s.GetHealthCheck() != "", NeverJudged: regions.Healthy,
		Independent: s.GetFamilies() == pb.Families_FAMILIES_INDEPENDENT,
	}
	if s.GetUnknown() == pb.UnknownState_UNKNOWN_STATE_UNHEALTHY {
		out.NeverJudged = regions.Unhealthy
	}
	switch s.GetAllDown() {
	case pb.AllDown_ALL_DOWN_SERVE_FALLBACK:
		out.AllDown = regions.ServeFallback
	case pb.AllDown_ALL_DOWN_KEEP_LAST:
		out.AllDown = regions.KeepLast
	}
	var ok bool
	if out.Policy, ok = c.policyIndex[s.GetPolicy()]; !ok {
		c.errorf("%s spec.policy: no steering policy %q", where, s.GetPolicy())
	}
	var check *pb.HealthCheckSpec
	if out.Checked {
		if check = c.checks[s.GetHealthCheck()]; check == nil {
			c.errorf("%s spec.healthCheck: no health check %q", where, s.GetHealthCheck())
		}
	}
	if len(s.GetEndpoints()) > regions.MaxServiceEndpoints {
		c.errorf("%s spec.endpoints: %d, at most %d", where, len(s.GetEndpoints()), regions.MaxServiceEndpoints)
	}
	for _, e := range s.GetEndpoints() {
		at := fmt.Sprintf("%s endpoint %q", where, e.GetName())
		ep := regions.Endpoint{Name: e.GetName(), AvailabilityZone: e.GetAvailabilityZone(), Weight: 100, Target: [2]int32{-1, -1}}
		if e.Weight != nil {
			ep.Weight = e.GetWeight()
		}
		ep.Region, _ = c.region(e.GetRegion(), at)
		assign := func(f regions.Family, address string) {
			if check != nil {
				ep.Target[f] = c.target(s.GetHealthCheck(), address, check, index)
			}
		}
		for _, text := range e.GetAddresses() {
			a, err := netip.ParseAddr(text)
			if err != nil {
				c.errorf("%s: %w", at, err)
				continue
			}
			a = a.Unmap()
			f := regions.V6
			if a.Is4() {
				f = regions.V4
			}
			if ep.Addr[f].IsValid() {
				c.errorf("%s: two %s addresses", at, f)
			}
			ep.Addr[f] = a
			assign(f, a.String())
		}
		if e.GetCname() != "" {
			out.Names = true
			ep.CNAME = fqdn(e.GetCname())
			assign(regions.V4, strings.TrimSuffix(ep.CNAME, "."))
		}
		if !ep.Has(regions.V4) && !ep.Has(regions.V6) {
			c.errorf("%s: neither addresses nor a name", at)
		}
		out.Endpoints = append(out.Endpoints, ep)
	}
	for _, text := range s.GetFallback() {
		if a, err := netip.ParseAddr(text); err != nil {
			out.FallbackName = fqdn(text)
		} else if a = a.Unmap(); a.Is4() {
			out.Fallback[regions.V4] = append(out.Fallback[regions.V4], a)
		} else {
			out.Fallback[regions.V6] = append(out.Fallback[regions.V6], a)
		}
	}
	owners[out.Zone] = append(owners[out.Zone], zone.ServiceOwner{Owner: fqdn(name), Index: index, Name: out.Names})
	c.services = append(c.services, out)
}

// target returns a provisional number for a target; finish sorts them.
func (c *compiler) target(check, address string, spec *pb.HealthCheckSpec, service int32) int32 {
	id := regions.TargetID(check, address)
	t := c.targets[id]
	if t == nil {
		t = &target{assignment: &pb.Assignment{Target: id, Address: address, Check: spec}, index: int32(len(c.targets))}
		c.targets[id] = t
	}
	if n := len(t.services); n == 0 || t.services[n-1] != service {
		t.services = append(t.services, service)
	}
	return t.index
}

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

func fqdn(name string) string {
	return strings.TrimSuffix(strings.ToLower(name), ".") + "."
}
