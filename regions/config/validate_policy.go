package config

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func (c *checker) policy(s *pb.SteeringPolicySpec) {
	if s.Mode == pb.SteeringMode_STEERING_MODE_UNSPECIFIED {
		c.addf("spec.mode", "required: %s", strings.Join(enumWords(s.Mode.Descriptor()), " or "))
	}
	c.enum("spec.mode", s.Mode)
	c.between("spec.maxAnswers", s.MaxAnswers, 1, 32)
	c.between("spec.minHealthyPercent", s.MinHealthyPercent, 0, 100)
	if c.atMost("spec.regions", len(s.Regions), MaxRegions) {
		c.unique("spec.regions", s.Regions)
	}
	if c.atMost("spec.defaultOrder", len(s.DefaultOrder), MaxRegions) {
		c.unique("spec.defaultOrder", s.DefaultOrder)
		c.within("spec.defaultOrder", s.DefaultOrder, s.Regions)
	}
	c.atMost("spec.bias", len(s.Bias), MaxRegions)
	for _, region := range slices.Sorted(maps.Keys(s.Bias)) {
		path := fmt.Sprintf("spec.bias[%q]", region)
		if bias := s.Bias[region]; bias < -99 || bias > 99 {
			c.addf(path, "%d is out of range: want -99 to 99", bias)
		}
		if len(s.Regions) > 0 && !slices.Contains(s.Regions, region) {
			c.addf(path, "%q is not in spec.regions%s", region, Suggest(region, s.Regions))
		}
	}
	if !c.atMost("spec.rules", len(s.Rules), maxRules) {
		return
	}
	first := map[string]int{}
	for i, rule := range s.Rules {
		path := fmt.Sprintf("spec.rules[%d]", i)
		c.rule(path, rule, s.Regions)
		if j, ok := first[rule.GetName()]; ok && rule.GetName() != "" {
			c.addf(path+".name", "%q is given twice; the first is spec.rules[%d]", rule.GetName(), j)
		} else {
			first[rule.GetName()] = i
		}
	}
	c.overlaps(s.Rules)
}

// within reports what of list is not among regions, if these are stated.
func (c *checker) within(path string, list, regions []string) {
	for i, region := range list {
		if len(regions) > 0 && !slices.Contains(regions, region) {
			c.addf(fmt.Sprintf("%s[%d]", path, i), "%q is not in spec.regions%s", region, Suggest(region, regions))
		}
	}
}

func (c *checker) rule(path string, rule *pb.SteeringRule, regions []string) {
	c.add(path+".name", checkLabel(rule.GetName()))
	if len(rule.GetRegions()) == 0 {
		c.add(path+".regions", "required: the regions for these clients, first choice first")
	}
	if c.atMost(path+".regions", len(rule.GetRegions()), MaxRegions) {
		c.unique(path+".regions", rule.GetRegions())
		c.within(path+".regions", rule.GetRegions(), regions)
	}
	matchers := len(rule.GetCidrs()) + len(rule.GetCountries()) + len(rule.GetContinents()) + len(rule.GetSubdivisions())
	if matchers == 0 {
		c.add(path, "matches nobody: want cidrs, countries, continents or subdivisions")
	}
	c.codes(path+".cidrs", rule.GetCidrs(), checkPrefix)
	c.codes(path+".countries", rule.GetCountries(), checkCountry)
	c.codes(path+".continents", rule.GetContinents(), checkContinent)
	c.codes(path+".subdivisions", rule.GetSubdivisions(), checkSubdivision)
}

// overlaps reports what an earlier rule matches already: of equally specific
// matches the first rule in the list wins, so it would never apply here.
func (c *checker) overlaps(rules []*pb.SteeringRule) {
	type place struct{ rule, at int }
	for _, field := range []struct {
		name string
		of   func(*pb.SteeringRule) []string
	}{
		{"cidrs", (*pb.SteeringRule).GetCidrs},
		{"countries", (*pb.SteeringRule).GetCountries},
		{"continents", (*pb.SteeringRule).GetContinents},
		{"subdivisions", (*pb.SteeringRule).GetSubdivisions},
	} {
		first := map[string]place{}
		for i, rule := range rules {
			for j, s := range field.of(rule) {
				switch before, ok := first[s]; {
				case !ok:
					first[s] = place{i, j}
				case before.rule != i:
					c.addf(fmt.Sprintf("spec.rules[%d].%s[%d]", i, field.name, j), "%q is in rule %q too (spec.rules[%d].%s[%d]), which comes first and takes it: remove one of them",
						s, rules[before.rule].GetName(), before.rule, field.name, before.at)
				}
			}
		}
	}
}

// codes checks each of a list of matchers.
func (c *checker) codes(path string, list []string, check func(string) string) {
	if !c.atMost(path, len(list), maxMatchers) {
		return
	}
	for i, s := range list {
		c.add(fmt.Sprintf("%s[%d]", path, i), check(s))
	}
	c.unique(path, list)
}

func checkPrefix(s string) string {
	p, err := netip.ParsePrefix(s)
	switch {
	case err == nil && p.Addr().Is4In6():
		return fmt.Sprintf("%q is an IPv4 prefix in IPv6 form; write it as IPv4", s)
	case err == nil:
		return ""
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return fmt.Sprintf("%q is an address; write %s/%d for it alone", s, a, a.BitLen())
	}
	return fmt.Sprintf("%q is no prefix: want 192.0.2.0/24 or 2001:db8::/32", s)
}
