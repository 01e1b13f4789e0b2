package plan

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/steer"
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

// Compile compiles a set that was defaulted and validated. What a query could
// not be answered from, as a reference that leads nowhere, is an error all the
// same: the set may come from another version. So what a controller compiles, a
// nameserver of the same version loads.
func Compile(set *config.Set) (*Base, error) {
	c := compiler{
		regionIndex: map[string]uint16{}, policyIndex: map[string]uint16{},
		checks: map[string]*pb.HealthCheckSpec{}, targets: map[string]*target{},
		owners: map[string][]zone.ServiceOwner{},
	}
	for _, r := range set.ByKind(config.KindRegion) {
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
	for _, r := range set.ByKind(config.KindHealthCheck) {
		c.checks[r.GetHealthCheck().GetMetadata().GetName()] = r.GetHealthCheck().GetSpec()
	}
	for _, r := range set.ByKind(config.KindSteeringPolicy) {
		c.policy(r.GetSteeringPolicy())
	}
	if len(c.policies) > regions.MaxPolicies {
		return nil, fmt.Errorf("%d steering policies, at most %d", len(c.policies), regions.MaxPolicies)
	}
	c.services = make([]regions.Service, 0, set.Count(config.KindService))
	for _, r := range set.ByKind(config.KindService) {
		if z := r.GetService().GetSpec().GetZone(); set.Get(config.Key{Kind: config.KindZone, Name: z}) == nil {
			c.errorf("services %q spec.zone: no zone %q", r.GetService().GetMetadata().GetName(), z)
		}
		c.service(r.GetService())
	}
	var zones []*zone.Zone
	for _, r := range set.ByKind(config.KindZone) {
		name := r.GetZone().GetMetadata().GetName()
		z, err := BuildZone(r.GetZone(), c.owners[name])
		if err != nil {
			c.errorf("zones %q: %w", name, err)
			continue
		}
		zones = append(zones, z)
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	b := &Base{}
	var err error
	if b.Zones, err = zone.NewSet(zones); err != nil {
		return nil, err
	}
	for _, r := range set.ByKind(config.KindAgent) {
		b.Agents = append(b.Agents, Member{r.GetAgent().GetMetadata().GetName(), r.GetAgent().GetSpec().GetRegion()})
	}
	for _, r := range set.ByKind(config.KindNameserver) {
		b.Nameservers = append(b.Nameservers, Member{r.GetNameserver().GetMetadata().GetName(), r.GetNameserver().GetSpec().GetRegion()})
	}
	b.Base = c.finish(b)
	b.Safety = safety(set)
	// The rankings of a nameserver are made of more data, but fail no other way.
	if _, err := steer.CompileRankings(b.Base, nil, nil); err != nil {
		return nil, err
	}
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

type compiler struct {
	regions     []regions.Region
	regionIndex map[string]uint16
	policies    []regions.Policy
	policyIndex map[string]uint16
	checks      map[string]*pb.HealthCheckSpec
	services    []regions.Service
	targets     map[string]*target
	owners      map[string][]zone.ServiceOwner // by zone
	errs        []error
	more        int
}

// maxErrors is how many errors are told at once: they travel in a refusal.
const maxErrors = 100

func (c *compiler) errorf(format string, args ...any) {
	if len(c.errs) == maxErrors {
		c.more++
		return
	}
	c.errs = append(c.errs, fmt.Errorf(format, args...))
}

func (c *compiler) err() error {
	if c.more > 0 {
		c.errs = append(c.errs, fmt.Errorf("and %d more errors", c.more))
	}
	return errors.Join(c.errs...)
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
		if len(c.regions) == 0 {
			c.errorf("%s: there is no region for it", where)
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

func fqdn(name string) string {
	return strings.TrimSuffix(strings.ToLower(name), ".") + "."
}
