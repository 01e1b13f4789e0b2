package geo

import (
	"errors"
	"fmt"
	"net/netip"
)

// Site is where a region is. NaN coordinates stand for an unknown place: such a region follows all
// others.
type Site struct {
	Latitude, Longitude float64
	// Bias, -99 to 99, makes the region attract more clients (positive) or fewer, as in Route 53's
	// geoproximity routing: a distance d counts as d*(1-bias/100), or d/(1+bias/100) for a negative bias.
	Bias int
}

// biased is the distance that counts.
func (s Site) biased(km float64) float64 {
	b := float64(s.Bias) / 100
	if b < 0 {
		return km / (1 + b)
	}
	return km * (1 - b)
}

// Rule sends the clients that it matches to regions of the operator's choice. It matches by any of its
// prefixes, countries, continents and subdivisions.
type Rule struct {
	Name         string
	Prefixes     []netip.Prefix
	Countries    []string // FR
	Continents   []string // EU
	Subdivisions []string // FR-IDF
	// Regions come first, in this order. The policy's other candidates follow, nearest first.
	Regions []uint16
}

// Spec is what a steering policy says of geography. A region is an index into the plan's regions.
//
// Which rule is applied to a client: the one with the longest CIDR prefix that holds the address, else
// one that names its subdivision, else its country, else its continent; among equals, the first.
type Spec struct {
	// Nearest orders the candidates by biased distance. Without it they stand in their stated order for
	// every client that no rule matches (active-passive), and Default is not used.
	Nearest    bool
	Sites      []Site   // by region
	Candidates []uint16 // regions that the policy may use
	Rules      []Rule
	Default    []uint16 // first for clients without a location; the other candidates follow
}

func (s *Spec) validate() error {
	var errs []error
	known := map[uint16]bool{}
	if len(s.Candidates) == 0 {
		errs = append(errs, errors.New("candidates: none stated"))
	}
	for i, r := range s.Candidates {
		switch {
		case known[r]:
			errs = append(errs, fmt.Errorf("candidates[%d]: region %d is stated twice", i, r))
		case s.Nearest && int(r) >= len(s.Sites):
			errs = append(errs, fmt.Errorf("candidates[%d]: region %d has no site", i, r))
		}
		known[r] = true
	}
	for i, site := range s.Sites {
		if site.Bias < -99 || site.Bias > 99 {
			errs = append(errs, fmt.Errorf("sites[%d]: bias %d is outside -99..99", i, site.Bias))
		}
		unknown := site.Latitude != site.Latitude || site.Longitude != site.Longitude // NaN
		if !unknown && !validCoordinates(site.Latitude, site.Longitude) {
			errs = append(errs, fmt.Errorf("sites[%d]: %v, %v is no place on earth", i, site.Latitude, site.Longitude))
		}
	}
	errs = append(errs, checkOrder("default", s.Default, known))
	for i := range s.Rules {
		if err := s.Rules[i].validate(known); err != nil {
			errs = append(errs, fmt.Errorf("rules[%d] %q: %w", i, s.Rules[i].Name, err))
		}
	}
	return errors.Join(errs...)
}

func (r *Rule) validate(candidates map[uint16]bool) error {
	var errs []error
	if len(r.Prefixes)+len(r.Countries)+len(r.Continents)+len(r.Subdivisions) == 0 {
		errs = append(errs, errors.New("it matches no client: no prefix, country, continent or subdivision"))
	}
	if len(r.Regions) == 0 {
		errs = append(errs, errors.New("regions: none stated"))
	}
	errs = append(errs, checkOrder("regions", r.Regions, candidates))
	for i, p := range r.Prefixes {
		if _, ok := unmapPrefix(p); !ok {
			errs = append(errs, fmt.Errorf("prefixes[%d]: %v is not a prefix of one address family", i, p))
		}
	}
	check := func(field, form string, codes []string, valid func(string) bool) {
		for i, c := range codes {
			if !valid(c) {
				errs = append(errs, fmt.Errorf("%s[%d]: %q is not %s", field, i, c, form))
			}
		}
	}
	check("countries", "two capitals (ISO 3166-1)", r.Countries, func(c string) bool { return countryCode(c) == c && c != "" })
	check("continents", "one of AF AN AS EU NA OC SA", r.Continents, func(c string) bool { return continentCode(c) == c && c != "" })
	check("subdivisions", "like FR-IDF (ISO 3166-2)", r.Subdivisions, func(c string) bool {
		return len(c) > 3 && countryCode(c[:2]) != "" && subdivisionCode(c[:2], c[3:]) == c
	})
	return errors.Join(errs...)
}

func checkOrder(field string, regions []uint16, candidates map[uint16]bool) error {
	var errs []error
	seen := map[uint16]bool{}
	for i, r := range regions {
		switch {
		case !candidates[r]:
			errs = append(errs, fmt.Errorf("%s[%d]: region %d is not a candidate", field, i, r))
		case seen[r]:
			errs = append(errs, fmt.Errorf("%s[%d]: region %d is stated twice", field, i, r))
		}
		seen[r] = true
	}
	return errors.Join(errs...)
}

// unmapPrefix brings a prefix into the form that addresses are looked up in: IPv4-mapped ones as IPv4.
// A prefix that is invalid, or that holds all of the mapped addresses and more in their form, has none.
func unmapPrefix(p netip.Prefix) (netip.Prefix, bool) {
	if !p.IsValid() {
		return netip.Prefix{}, false
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, false
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), true
}
