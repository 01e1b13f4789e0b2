package geo

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// ranked checks that Rank and Explain agree for an address, and returns the explanation.
func ranked(t *testing.T, table *Table, a string) Explanation {
	t.Helper()
	addr := netip.MustParseAddr(a)
	r, scope := table.Rank(addr)
	e := table.Explain(addr)
	if !slices.Equal(table.Rankings()[r].Regions, e.Ranking) || scope != e.Scope {
		t.Errorf("%s: Rank %v/%d, Explain %v/%d", a, table.Rankings()[r].Regions, scope, e.Ranking, e.Scope)
	}
	return e
}

func TestNearest(t *testing.T) {
	table := compile(t, builtin(t), threeRegions())
	for _, tt := range []struct {
		addr   string
		want   []uint16
		source Source
	}{
		{"8.8.8.0", []uint16{us, eu, ap}, SourceNearest},
		{"8.8.8.255", []uint16{us, eu, ap}, SourceNearest},
		{"2001:4860:4860::8888", []uint16{us, eu, ap}, SourceNearest},
		{"193.0.6.0", []uint16{eu, us, ap}, SourceNearest},
		{"193.0.6.255", []uint16{eu, us, ap}, SourceNearest},
		{"::ffff:193.0.6.139", []uint16{eu, us, ap}, SourceNearest},
		{"133.11.0.0", []uint16{ap, eu, us}, SourceNearest},
		{"133.11.255.255", []uint16{ap, eu, us}, SourceNearest},
		{"1.1.1.1", []uint16{ap, eu, us}, SourceNearest},
		{"200.160.0.8", []uint16{us, eu, ap}, SourceNearest},
		{"196.216.2.1", []uint16{eu, us, ap}, SourceNearest},
		{"10.0.0.1", []uint16{eu, us, ap}, SourceDefault},
	} {
		e := ranked(t, table, tt.addr)
		if !slices.Equal(e.Ranking, tt.want) || e.Source != tt.source {
			t.Errorf("%s: %v by %v, want %v by %v", tt.addr, e.Ranking, e.Source, tt.want, tt.source)
		}
	}
	for _, p := range []string{"8.8.8.0/24", "193.0.6.0/24", "133.11.0.0/16"} {
		p := netip.MustParsePrefix(p)
		if _, scope := table.Rank(p.Addr()); int(scope) > p.Bits() || scope == 0 {
			t.Errorf("%v: scope %d", p, scope)
		}
	}
	if n := len(table.Rankings()); n > 6 {
		t.Errorf("%d rankings of three regions", n)
	}
	if n := table.Ranges(); n >= builtin(t).Ranges() {
		t.Errorf("%d ranges, the database has %d", n, builtin(t).Ranges())
	}
	if r, scope := table.Rank(netip.Addr{}); r != 0 || scope != 0 {
		t.Errorf("no address: %d, scope %d", r, scope)
	}
}

func TestExplainDistances(t *testing.T) {
	spec := threeRegions()
	spec.Sites[us].Bias = 50
	spec.Sites[ap].Bias = -50
	spec.Sites = append(spec.Sites, Site{Latitude: math.NaN(), Longitude: math.NaN()})
	e := ranked(t, compile(t, builtin(t), spec), "193.0.6.139")
	for i, want := range []struct{ km, biased float64 }{eu: {324, 324}, us: {6249, 3125}, ap: {9299, 18599}} {
		if math.Abs(e.DistancesKm[i]-want.km) > 1 || math.Abs(e.BiasedKm[i]-want.biased) > 1 {
			t.Errorf("region %d: %v km, biased %v; want %v", i, e.DistancesKm[i], e.BiasedKm[i], want)
		}
	}
	if len(e.DistancesKm) != 4 || !math.IsNaN(e.DistancesKm[3]) || !math.IsNaN(e.BiasedKm[3]) {
		t.Errorf("%v, %v", e.DistancesKm, e.BiasedKm)
	}
	if e.Location.Country != "NL" || e.Network.String() != "193.0.0.0/20" {
		t.Errorf("%+v in %v", e.Location, e.Network)
	}
	e = ranked(t, compile(t, builtin(t), spec), "10.0.0.1")
	for i := range e.DistancesKm {
		if !math.IsNaN(e.DistancesKm[i]) || !math.IsNaN(e.BiasedKm[i]) {
			t.Errorf("unknown client: %v km, %v biased", e.DistancesKm, e.BiasedKm)
		}
	}
}

func TestBias(t *testing.T) {
	for _, tt := range []struct {
		bias int
		want float64
	}{{0, 1000}, {50, 500}, {99, 10}, {-50, 2000}, {-99, 100_000}, {-25, 1333.33}} {
		if got := (Site{Bias: tt.bias}).biased(1000); math.Abs(got-tt.want) > 0.01 {
			t.Errorf("bias %d: 1000 km count as %v, want %v", tt.bias, got, tt.want)
		}
	}
	first := func(euBias, usBias int, addr string) uint16 {
		spec := threeRegions()
		spec.Sites[eu].Bias, spec.Sites[us].Bias = euBias, usBias
		return ranked(t, compile(t, builtin(t), spec), addr).Ranking[0]
	}
	// São Paulo's country is 7,800 km from Virginia and 9,500 km from Frankfurt.
	for _, tt := range []struct {
		euBias, usBias int
		want           uint16
	}{{0, 0, us}, {50, 0, eu}, {0, -50, eu}, {50, 60, us}, {-50, -50, us}} {
		if got := first(tt.euBias, tt.usBias, "200.160.0.8"); got != tt.want {
			t.Errorf("bias of eu %d, of us %d: Brazil goes to %d, want %d", tt.euBias, tt.usBias, got, tt.want)
		}
	}
}

// placed is a database of one network a location, in 198.51.100.0/24 by sixteenths.
func placed(t *testing.T) *Database {
	return fixture{Options: ofType("GeoIP2-City"), rows: []row{
		{"198.51.100.0/28", cityRecord()}, // FR-IDF
		{"198.51.100.16/28", countryRecord("EU", "FR")},
		{"198.51.100.32/28", countryRecord("EU", "DE")},
		{"198.51.100.48/28", countryRecord("AS", "JP")},
		{"198.51.100.64/28", obj("continent", obj("code", "EU"))},
		{"2001:db8::/32", countryRecord("AS", "JP")},
	}}.load(t)
}

func prefixes(list ...string) []netip.Prefix {
	var p []netip.Prefix
	for _, s := range list {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

func TestRulePrecedence(t *testing.T) {
	spec := threeRegions()
	spec.Rules = []Rule{
		{Name: "wide", Prefixes: prefixes("198.51.100.0/25", "2001:db8::/33"), Countries: []string{"QQ"}, Regions: []uint16{us}},
		{Name: "europe", Continents: []string{"EU"}, Regions: []uint16{ap}},
		{Name: "france", Countries: []string{"FR"}, Regions: []uint16{us, ap}},
		{Name: "paris", Subdivisions: []string{"FR-IDF"}, Regions: []uint16{ap, us, eu}},
		{Name: "france again", Countries: []string{"FR"}, Subdivisions: []string{"FR-IDF"}, Continents: []string{"EU"}, Regions: []uint16{eu}},
		{Name: "narrow", Prefixes: prefixes("198.51.100.8/29", "2001:db8:0:1:8000::1/128", "::ffff:198.51.100.40/125"), Regions: []uint16{ap}},
		{Name: "narrow again", Prefixes: prefixes("198.51.100.8/29", "198.51.100.9/32"), Regions: []uint16{eu}},
	}
	without := spec
	without.Rules = spec.Rules[1:5]
	for _, tt := range []struct {
		name   string
		spec   Spec
		addr   string
		rule   string
		source Source
		want   []uint16
		scope  uint8
	}{
		{"subdivision over country and continent", without, "198.51.100.1", "paris", SourceSubdivisionRule, []uint16{ap, us, eu}, 28},
		{"country over continent, then nearest", without, "198.51.100.17", "france", SourceCountryRule, []uint16{us, ap, eu}, 28},
		{"continent, then nearest", without, "198.51.100.33", "europe", SourceContinentRule, []uint16{ap, eu, us}, 27},
		{"no rule", without, "198.51.100.49", "", SourceNearest, []uint16{ap, eu, us}, 27},
		{"continent without coordinates, then default", without, "198.51.100.65", "europe", SourceContinentRule, []uint16{ap, eu, us}, 28},
		{"nothing known", without, "198.51.100.81", "", SourceDefault, []uint16{eu, us, ap}, 28},
		{"prefix over subdivision, first of equals", spec, "198.51.100.8", "narrow", SourceCIDRRule, []uint16{ap, eu, us}, 32},
		{"longest prefix, though a later rule's", spec, "198.51.100.9", "narrow again", SourceCIDRRule, []uint16{eu, us, ap}, 32},
		{"mapped prefix", spec, "198.51.100.40", "narrow", SourceCIDRRule, []uint16{ap, eu, us}, 29},
		{"wide prefix", spec, "198.51.100.1", "wide", SourceCIDRRule, []uint16{us, eu, ap}, 29},
		{"outside of the prefix", spec, "198.51.100.129", "", SourceDefault, []uint16{eu, us, ap}, 25},
		{"prefix where nothing is known", spec, "198.51.100.100", "wide", SourceCIDRRule, []uint16{us, eu, ap}, 26},
		{"IPv6 prefix", spec, "2001:db8::1", "wide", SourceCIDRRule, []uint16{us, ap, eu}, 64},
		{"one IPv6 address", spec, "2001:db8:0:1:8000::1", "narrow", SourceCIDRRule, []uint16{ap, eu, us}, 128},
		{"beside it", spec, "2001:db8:0:1:8000::", "wide", SourceCIDRRule, []uint16{us, ap, eu}, 128},
		{"IPv6 outside", spec, "2001:db8:8000::1", "", SourceNearest, []uint16{ap, eu, us}, 33},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := ranked(t, compile(t, placed(t), tt.spec), tt.addr)
			if e.Rule != tt.rule || e.Source != tt.source || !slices.Equal(e.Ranking, tt.want) || e.Scope != tt.scope {
				t.Errorf("rule %q by %v: %v, scope %d; want %q by %v: %v, scope %d",
					e.Rule, e.Source, e.Ranking, e.Scope, tt.rule, tt.source, tt.want, tt.scope)
			}
		})
	}
}

func TestFixedOrder(t *testing.T) {
	spec := Spec{Candidates: []uint16{7, 2, 5}, Default: []uint16{5}}
	for _, db := range []*Database{nil, builtin(t)} {
		table := compile(t, db, spec)
		for _, a := range []string{"8.8.8.8", "0.0.0.0", "255.255.255.255", "2001:db8::1", "::", "10.0.0.1"} {
			if e := ranked(t, table, a); !slices.Equal(e.Ranking, spec.Candidates) || e.Scope != 0 || e.Source != SourceFixed {
				t.Errorf("%s: %v by %v, scope %d", a, e.Ranking, e.Source, e.Scope)
			}
		}
		if len(table.Rankings()) != 1 || table.Ranges() != 2 {
			t.Errorf("%d rankings, %d ranges", len(table.Rankings()), table.Ranges())
		}
	}
	spec.Rules = []Rule{{Name: "own", Prefixes: prefixes("10.0.0.0/8"), Regions: []uint16{5}}, {Name: "us", Countries: []string{"US"}, Regions: []uint16{2}}}
	table := compile(t, builtin(t), spec)
	for a, want := range map[string][]uint16{"10.1.1.1": {5, 7, 2}, "8.8.8.8": {2, 7, 5}, "193.0.6.139": {7, 2, 5}} {
		if e := ranked(t, table, a); !slices.Equal(e.Ranking, want) {
			t.Errorf("%s: %v by %v, want %v", a, e.Ranking, e.Source, want)
		}
	}
	table = compile(t, nil, spec)
	for a, want := range map[string]uint8{"10.1.1.1": 8, "8.8.8.8": 7, "193.0.6.139": 1, "::": 0} {
		if e := ranked(t, table, a); e.Scope != want {
			t.Errorf("%s without a database: scope %d, want %d", a, e.Scope, want)
		}
	}
}

func TestDefaultOrderAndTies(t *testing.T) {
	spec := threeRegions()
	spec.Default = []uint16{ap}
	if e := ranked(t, compile(t, builtin(t), spec), "10.0.0.1"); !slices.Equal(e.Ranking, []uint16{ap, eu, us}) || e.Source != SourceDefault {
		t.Errorf("default: %v by %v", e.Ranking, e.Source)
	}
	// Two regions in one place, stated in either order, and one whose place is unknown.
	spec = threeRegions()
	spec.Sites = append(spec.Sites, spec.Sites[eu], Site{Latitude: math.NaN(), Longitude: math.NaN()})
	spec.Candidates = []uint16{4, 3, eu, us}
	if e := ranked(t, compile(t, builtin(t), spec), "193.0.6.139"); !slices.Equal(e.Ranking, []uint16{3, eu, us, 4}) {
		t.Errorf("tie: %v", e.Ranking)
	}
	spec.Candidates = []uint16{eu, 3, us, 4}
	if e := ranked(t, compile(t, builtin(t), spec), "193.0.6.139"); !slices.Equal(e.Ranking, []uint16{eu, 3, us, 4}) {
		t.Errorf("tie: %v", e.Ranking)
	}
}

// TestTail has ten regions around the world: only the first three of a ranking depend on the client.
func TestTail(t *testing.T) {
	spec := Spec{Nearest: true}
	for i := range 10 {
		spec.Sites = append(spec.Sites, Site{Latitude: float64(i*13%100 - 40), Longitude: float64(i*36 - 180)})
		spec.Candidates = append(spec.Candidates, uint16(9-i))
	}
	spec.Default = []uint16{4, 5, 6}
	spec.Rules = []Rule{{Name: "four", Countries: []string{"NZ"}, Regions: []uint16{9, 8, 0, 1}}}
	order := appendMissing(slices.Clone(spec.Default), spec.Candidates)
	table := compile(t, builtin(t), spec)
	if n := len(table.Rankings()); n < 20 || n > 10*9*8+2 {
		t.Errorf("%d rankings", n)
	}
	seen := map[string]bool{}
	for i, r := range table.Rankings() {
		if seen[fmt.Sprint(r)] {
			t.Errorf("ranking %d, %v, is not the only one of its kind", i, r)
		}
		seen[fmt.Sprint(r)] = true
		front := r.Regions[:MaxSpecific]
		if slices.Equal(r.Regions[:4], spec.Rules[0].Regions) {
			front = r.Regions[:4]
		}
		if whole := appendMissing(slices.Clone(front), order); !slices.Equal(whole, r.Regions) {
			t.Errorf("ranking %d is %v, want %v", i, r.Regions, whole)
		}
	}
	if !slices.Equal(table.Rankings()[0].Regions, order) {
		t.Errorf("the first ranking is %v, want the default %v", table.Rankings()[0].Regions, order)
	}
}

func TestCompileRefuses(t *testing.T) {
	rule := func(r Rule) Spec {
		spec := threeRegions()
		spec.Rules = []Rule{r}
		return spec
	}
	with := func(change func(*Spec)) Spec {
		spec := threeRegions()
		change(&spec)
		return spec
	}
	for _, tt := range []struct {
		name, want string
		spec       Spec
	}{
		{"no candidates", "candidates: none stated", Spec{}},
		{"candidate twice", "candidates[1]: region 3 is stated twice", Spec{Candidates: []uint16{3, 3}}},
		{"candidate without site", "candidates[0]: region 3 has no site", with(func(s *Spec) { s.Candidates = []uint16{3} })},
		{"bias", "sites[1]: bias 100", with(func(s *Spec) { s.Sites[us].Bias = 100 })},
		{"place", "sites[2]: 91, 0 is no place", with(func(s *Spec) { s.Sites[ap] = Site{Latitude: 91} })},
		{"default", "default[0]: region 9 is not a candidate", with(func(s *Spec) { s.Default = []uint16{9} })},
		{"default twice", "default[1]: region 0 is stated twice", with(func(s *Spec) { s.Default = []uint16{eu, eu} })},
		{"rule matches nothing", `rules[0] "x": it matches no client`, rule(Rule{Name: "x", Regions: []uint16{eu}})},
		{"rule without regions", "regions: none stated", rule(Rule{Countries: []string{"FR"}})},
		{"rule's region", "regions[0]: region 8 is not a candidate", rule(Rule{Countries: []string{"FR"}, Regions: []uint16{8}})},
		{"prefix", "prefixes[0]: invalid Prefix", rule(Rule{Prefixes: []netip.Prefix{{}}, Regions: []uint16{eu}})},
		{"prefix of both families", "prefixes[0]: ::ffff:1.2.3.4/80", rule(Rule{Prefixes: []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("::ffff:1.2.3.4"), 80)}, Regions: []uint16{eu}})},
		{"country", `countries[1]: "fra"`, rule(Rule{Countries: []string{"FR", "fra"}, Regions: []uint16{eu}})},
		{"country in small letters", `countries[0]: "fr"`, rule(Rule{Countries: []string{"fr"}, Regions: []uint16{eu}})},
		{"continent", `continents[0]: "XX"`, rule(Rule{Continents: []string{"XX"}, Regions: []uint16{eu}})},
		{"subdivision", `subdivisions[0]: "IDF"`, rule(Rule{Subdivisions: []string{"IDF"}, Regions: []uint16{eu}})},
		{"subdivision's form", `subdivisions[0]: "FR_IDF"`, rule(Rule{Subdivisions: []string{"FR_IDF"}, Regions: []uint16{eu}})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Compile(nil, tt.spec); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestSourceString(t *testing.T) {
	for s, want := range map[Source]string{SourceCIDRRule: "cidr-rule", SourceFixed: "fixed-order", SourceNearest: "nearest", SourceDefault: "default", 200: "unknown"} {
		if got := s.String(); got != want {
			t.Errorf("%d: %q, want %q", s, got, want)
		}
	}
}

func TestRankAllocates(t *testing.T) {
	table := compile(t, builtin(t), threeRegions())
	for _, a := range []string{"8.8.8.8", "2001:67c:2e8::1", "::ffff:8.8.8.8"} {
		addr := netip.MustParseAddr(a)
		if n := testing.AllocsPerRun(100, func() { table.Rank(addr) }); n != 0 {
			t.Errorf("%s: %v allocations", a, n)
		}
	}
}
