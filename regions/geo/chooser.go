package geo

import (
	"math"
	"net/netip"
	"slices"
)

// Source says what decided a ranking.
type Source uint8

const (
	SourceDefault         Source = iota // nearest was asked for, but the client has no coordinates
	SourceFixed                         // the policy's stated order
	SourceNearest                       // biased distance
	SourceContinentRule                 // a rule matched the client's continent
	SourceCountryRule                   // … its country
	SourceSubdivisionRule               // … its subdivision
	SourceCIDRRule                      // … its address
)

var sourceNames = [...]string{"default", "fixed-order", "nearest", "continent-rule", "country-rule", "subdivision-rule", "cidr-rule"}

// String is the name for people and for the API, in kebab-case.
func (s Source) String() string {
	if int(s) < len(sourceNames) {
		return sourceNames[s]
	}
	return "unknown"
}

// MaxSpecific is how many regions at the front of a ranking are chosen by distance. The others follow
// in the policy's default order, so that n regions make at most n(n-1)(n-2) rankings (and as many again
// for each rule that names fewer than three).
const MaxSpecific = 3

const noRule = -1

// chooser makes the decision for one client. Compile asks it once per location, and Explain again for
// one address, so that the two cannot differ.
type chooser struct {
	spec         Spec
	order        []uint16       // every candidate, in the order for clients of whom nothing is known
	subdivisions map[string]int // → first rule that names it
	countries    map[string]int
	continents   map[string]int
}

// newChooser keeps its own copy of everything in spec that is read after Compile.
func newChooser(spec Spec) (*chooser, error) {
	if err := spec.validate(); err != nil {
		return nil, err
	}
	c := &chooser{spec: spec, subdivisions: map[string]int{}, countries: map[string]int{}, continents: map[string]int{}}
	c.spec.Sites = slices.Clone(spec.Sites)
	c.spec.Candidates = slices.Clone(spec.Candidates)
	c.spec.Rules = slices.Clone(spec.Rules)
	if spec.Nearest {
		c.order = slices.Clone(spec.Default)
	}
	c.order = appendMissing(c.order, c.spec.Candidates)
	for i := range c.spec.Rules {
		r := &c.spec.Rules[i]
		r.Regions = slices.Clone(r.Regions)
		prefixes := make([]netip.Prefix, len(r.Prefixes))
		for j, p := range r.Prefixes {
			prefixes[j], _ = unmapPrefix(p)
		}
		r.Prefixes = prefixes
		index(c.subdivisions, r.Subdivisions, i)
		index(c.countries, r.Countries, i)
		index(c.continents, r.Continents, i)
	}
	return c, nil
}

func index(m map[string]int, codes []string, rule int) {
	for _, code := range codes {
		if _, taken := m[code]; !taken {
			m[code] = rule
		}
	}
}

// cidrRule is the rule with the longest prefix that holds addr, for Explain; Compile lays all prefixes
// out as spans instead.
func (c *chooser) cidrRule(addr netip.Addr) int {
	best, length := noRule, -1
	for i := range c.spec.Rules {
		for _, p := range c.spec.Rules[i].Prefixes {
			if p.Contains(addr) && p.Bits() > length {
				best, length = i, p.Bits()
			}
		}
	}
	return best
}

// decide tells which rule is applied to a client at loc, given the rule that matches its address, and
// what decides.
func (c *chooser) decide(cidr int, loc *Location) (rule int, _ Source) {
	if cidr != noRule {
		return cidr, SourceCIDRRule
	}
	if i, ok := c.subdivisions[loc.Subdivision]; ok {
		return i, SourceSubdivisionRule
	}
	if i, ok := c.countries[loc.Country]; ok {
		return i, SourceCountryRule
	}
	if i, ok := c.continents[loc.Continent]; ok {
		return i, SourceContinentRule
	}
	switch {
	case !c.spec.Nearest:
		return noRule, SourceFixed
	case loc.HasCoordinates:
		return noRule, SourceNearest
	}
	return noRule, SourceDefault
}

// appendFront appends the regions that are specific to the client: those of the rule, all of them, and
// the nearest ones until there are MaxSpecific. It is empty where the default order is the answer.
func (c *chooser) appendFront(front []uint16, rule int, loc *Location) []uint16 {
	if rule != noRule {
		front = append(front, c.spec.Rules[rule].Regions...)
	}
	if !c.spec.Nearest || !loc.HasCoordinates {
		return front
	}
	return c.appendNearest(front, min(MaxSpecific, len(c.spec.Candidates))-len(front), loc)
}

// appendNearest appends the nearest candidates that front does not hold yet, up to want of them. Among
// equally distant ones the first stated comes first.
func (c *chooser) appendNearest(front []uint16, want int, loc *Location) []uint16 {
	taken, near := front, front[len(front):]
	var metres [MaxSpecific]int64 // of near
	for _, r := range c.spec.Candidates {
		if slices.Contains(taken, r) {
			continue
		}
		m := c.metres(r, loc)
		at := len(near)
		for at > 0 && metres[at-1] > m {
			at--
		}
		if at >= want {
			continue
		}
		if len(near) < want {
			near = append(near, 0)
		}
		copy(near[at+1:], near[at:])
		copy(metres[at+1:], metres[at:])
		near[at], metres[at] = r, m
	}
	return append(taken, near...)
}

// metres is the biased distance in whole metres. The last bits of a distance depend on the processor,
// and two nameservers must not differ for it: nor should they for less than a metre.
func (c *chooser) metres(region uint16, loc *Location) int64 {
	site := c.spec.Sites[region]
	km := site.biased(DistanceKm(loc.Latitude, loc.Longitude, site.Latitude, site.Longitude))
	if math.IsNaN(km) {
		return math.MaxInt64
	}
	return int64(math.Round(km * 1000))
}

// ranking is the whole order for a front.
func (c *chooser) ranking(front []uint16) []uint16 {
	return appendMissing(slices.Clone(front), c.order)
}

func appendMissing(to, from []uint16) []uint16 {
	for _, r := range from {
		if !slices.Contains(to, r) {
			to = append(to, r)
		}
	}
	return to
}
