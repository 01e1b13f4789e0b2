package geo

import (
	"cmp"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/gaissmai/bart"
	"github.com/maxmind/mmdbwriter"
	"github.com/oschwald/maxminddb-golang/v2"
	"pgregory.net/rapid"
)

// v4InV6 is where an MMDB keeps IPv4. As IPv6 addresses these have been nobody's since RFC 4291.
var v4InV6 = netip.MustParsePrefix("::/96")

// naive answers from the file itself and from the rules as they are written, without tables.
type naive struct {
	reader *maxminddb.Reader
	spec   Spec
	cidrs  *bart.Table[int]
}

func newNaive(t *rapid.T, data []byte, spec Spec) *naive {
	n := &naive{spec: spec, cidrs: &bart.Table[int]{}}
	var err error
	if n.reader, err = maxminddb.OpenBytes(data); err != nil {
		t.Fatal(err)
	}
	for i, rule := range spec.Rules {
		for _, p := range rule.Prefixes {
			if _, taken := n.cidrs.Get(p.Masked()); !taken {
				n.cidrs.Insert(p.Masked(), i)
			}
		}
	}
	return n
}

func (n *naive) ranking(addr netip.Addr) []uint16 {
	addr = addr.Unmap()
	var country string
	if !v4InV6.Contains(addr) {
		n.reader.Lookup(addr).DecodePath(&country, "country", "iso_code")
	}
	c, known := CountryByCode(country)
	tail := n.spec.Candidates
	if n.spec.Nearest {
		tail = appendMissing(slices.Clone(n.spec.Default), tail)
	}
	rule, matched := n.cidrs.Lookup(addr)
	for i := range n.spec.Rules {
		if !matched && slices.Contains(n.spec.Rules[i].Countries, country) {
			rule, matched = i, true
		}
	}
	for i := range n.spec.Rules {
		if !matched && slices.Contains(n.spec.Rules[i].Continents, c.Continent) {
			rule, matched = i, true
		}
	}
	var front []uint16
	if matched {
		front = append(front, n.spec.Rules[rule].Regions...)
	}
	if n.spec.Nearest && known {
		near := slices.Clone(n.spec.Candidates)
		slices.SortStableFunc(near, func(a, b uint16) int { return cmp.Compare(n.metres(a, c), n.metres(b, c)) })
		front = appendMissing(front, near)
		keep := MaxSpecific
		if matched {
			keep = max(keep, len(n.spec.Rules[rule].Regions))
		}
		front = front[:min(keep, len(front))]
	}
	return appendMissing(front, tail)
}

func (n *naive) metres(region uint16, c Country) float64 {
	s := n.spec.Sites[region]
	return math.Round(1000 * s.biased(DistanceKm(c.Latitude, c.Longitude, s.Latitude, s.Longitude)))
}

// drawPrefix draws from a few neighbourhoods, so that prefixes nest, touch and repeat.
func drawPrefix(t *rapid.T, label string) netip.Prefix {
	if rapid.Bool().Draw(t, label+" v4") {
		last := rapid.SampledFrom([]byte{0, 1, 2, 3, 128, 254, 255}).Draw(t, label)
		third := rapid.SampledFrom([]byte{0, 1, 100, 255}).Draw(t, label)
		first := rapid.SampledFrom([]byte{1, 198, 223}).Draw(t, label)
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{first, 51, third, last}), rapid.IntRange(0, 32).Draw(t, label)).Masked()
	}
	a := netip.MustParseAddr("2400:db8::").As16()
	for range rapid.IntRange(0, 3).Draw(t, label) {
		bit := rapid.IntRange(16, 127).Draw(t, label)
		a[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.PrefixFrom(netip.AddrFrom16(a), rapid.IntRange(16, 128).Draw(t, label)).Masked()
}

// edges are the addresses at both sides of both ends of a prefix, where rankings may change.
func edges(p netip.Prefix) []netip.Addr {
	k := keyOf(p.Addr()).last(p.Bits())
	var b [16]byte
	for i := range 8 {
		b[i], b[8+i] = byte(k.hi>>(56-8*i)), byte(k.lo>>(56-8*i))
	}
	last := netip.AddrFrom16(b)
	if p.Addr().Is4() {
		last = netip.AddrFrom4([4]byte(b[:4]))
	}
	all := []netip.Addr{p.Addr(), last, p.Addr().Prev(), last.Next()}
	return slices.DeleteFunc(all, func(a netip.Addr) bool { return !a.IsValid() })
}

// TestScopeProperty: for random data and rules, every address has the ranking that the naive way
// gives it, all addresses in its scope have the same, and no wider scope has this property.
func TestScopeProperty(t *testing.T) {
	countries := []string{"FR", "DE", "US", "JP", "BR", "ZA", "AU", "QQ"}
	rapid.Check(t, func(t *rapid.T) {
		f := fixture{Options: mmdbwriter.Options{
			DatabaseType: "GeoIP2-Country", DisableIPv4Aliasing: true,
			RecordSize: rapid.SampledFrom([]int{24, 28, 32}).Draw(t, "record size"),
		}}
		probes := []netip.Addr{netip.MustParseAddr("::ffff:198.51.100.1"), netip.MustParseAddr("::"), netip.MustParseAddr("0.0.0.0")}
		for range rapid.IntRange(1, 25).Draw(t, "networks") {
			p := drawPrefix(t, "network")
			f.rows = append(f.rows, row{p.String(), obj("country", obj("iso_code", rapid.SampledFrom(countries).Draw(t, "country")))})
			probes = append(probes, edges(p)...)
		}
		spec := threeRegions()
		spec.Nearest = rapid.Bool().Draw(t, "nearest")
		spec.Sites = append(spec.Sites, Site{Latitude: -33.9, Longitude: 151.2, Bias: rapid.IntRange(-99, 99).Draw(t, "bias")}, Site{Latitude: -23.5, Longitude: -46.6})
		spec.Candidates = rapid.Permutation([]uint16{0, 1, 2, 3, 4}).Draw(t, "candidates")[:rapid.IntRange(1, 5).Draw(t, "count")]
		some := func(label string, least int) []uint16 {
			return rapid.Permutation(spec.Candidates).Draw(t, label)[:rapid.IntRange(least, len(spec.Candidates)).Draw(t, label)]
		}
		spec.Default = some("default", 0)
		for range rapid.IntRange(0, 4).Draw(t, "rules") {
			rule := Rule{Regions: some("regions", 1)}
			for range rapid.IntRange(0, 4).Draw(t, "prefixes") {
				p := drawPrefix(t, "prefix")
				rule.Prefixes = append(rule.Prefixes, p)
				probes = append(probes, edges(p)...)
			}
			rule.Countries = []string{rapid.SampledFrom(countries).Draw(t, "rule's country")}
			if rapid.Bool().Draw(t, "with continent") {
				rule.Continents = []string{"EU"}
			}
			spec.Rules = append(spec.Rules, rule)
		}
		data := f.bytes(t)
		checkScopes(t, compile(t, f.load(t), spec), newNaive(t, data, spec), probes)
	})
}

func checkScopes(t *rapid.T, table *Table, n *naive, probes []netip.Addr) {
	wants := make([][]uint16, len(probes))
	for i, a := range probes {
		wants[i] = n.ranking(a)
	}
	for i, a := range probes {
		r, scope := table.Rank(a)
		got := table.Rankings()[r].Regions
		if !slices.Equal(got, wants[i]) {
			t.Fatalf("%v: %v, want %v", a, got, wants[i])
		}
		if e := table.Explain(a); !slices.Equal(e.Ranking, got) || e.Scope != scope {
			t.Fatalf("%v: Explain says %v/%d, Rank %v/%d", a, e.Ranking, e.Scope, got, scope)
		}
		a = a.Unmap()
		inner := netip.PrefixFrom(a, int(scope)).Masked()
		outer := netip.PrefixFrom(a, int(scope)-1).Masked() // invalid, so empty, for scope 0
		widest := scope == 0
		for j, b := range probes {
			differ := !slices.Equal(wants[j], wants[i])
			if b = b.Unmap(); inner.Contains(b) && differ {
				t.Fatalf("%v has %v, but %v in its scope %v has %v", a, wants[i], b, inner, wants[j])
			}
			widest = widest || differ && outer.Contains(b)
		}
		if !widest {
			t.Fatalf("%v: scope %v could be wider", a, inner)
		}
	}
}

// TestScopeBuiltin: two random addresses in one scope have one ranking.
func TestScopeBuiltin(t *testing.T) {
	spec := threeRegions()
	spec.Rules = []Rule{{Prefixes: prefixes("8.8.8.0/24", "2001:db8:1::/48"), Countries: []string{"CH"}, Regions: []uint16{ap}}}
	table := compile(t, builtin(t), spec)
	random := rand.New(rand.NewPCG(3, 4))
	for i := range 200_000 {
		a := randomV4(random)
		if i%2 == 0 {
			a = randomV6(random)
		}
		r, scope := table.Rank(a)
		b := a.AsSlice()
		for bit := int(scope); bit < len(b)*8; bit++ {
			if random.IntN(2) == 0 {
				b[bit/8] ^= 0x80 >> (bit % 8)
			}
		}
		other, _ := netip.AddrFromSlice(b)
		if o, otherScope := table.Rank(other); o != r || otherScope != scope {
			t.Fatalf("%v: %d, scope %d; %v: %d, scope %d", a, r, scope, other, o, otherScope)
		}
		if i%100 == 0 && !slices.Equal(table.Explain(a).Ranking, table.Rankings()[r].Regions) {
			t.Fatalf("%v: Rank and Explain differ", a)
		}
	}
}
