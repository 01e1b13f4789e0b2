package geo

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
)

// Ranking is an order of all candidates of a policy, the preferred one first.
type Ranking struct {
	Regions []uint16
}

// Table gives the ranking for any address under one policy. It is immutable.
type Table struct {
	v4, v6   spans // → index in rankings
	rankings []Ranking
	chooser  *chooser
	db       *Database // nil: every client is of unknown location
}

// Rank returns the index in [Table.Rankings] for addr, and the ECS scope: the length of the shortest
// prefix around addr, in bits of its own family (of IPv4 for an IPv4-mapped address), in which every
// address has the same ranking. Index 0 with scope 0 is returned for an invalid address; index 0 is the
// ranking of clients of whom nothing is known.
func (t *Table) Rank(addr netip.Addr) (r int, scope uint8) {
	if !addr.IsValid() {
		return 0, 0
	}
	addr = addr.Unmap()
	s := &t.v6
	if addr.Is4() {
		s = &t.v4
	}
	k := keyOf(addr)
	i := s.find(k)
	return int(s.value[i]), uint8(s.scope(i, k))
}

// Rankings returns all rankings that occur. No two are equal. The caller must not change them.
func (t *Table) Rankings() []Ranking { return t.rankings }

// Ranges is the number of address ranges that remained after merging.
func (t *Table) Ranges() int { return t.v4.len() + t.v6.len() }

// Explanation is a ranking with all that led to it.
type Explanation struct {
	Database string // its type and the day it was built; empty: none is loaded
	Location Location
	Network  netip.Prefix // the addresses around the client that share its location
	Source   Source
	Rule     string // name of the rule that was applied, if any
	Ranking  []uint16
	// DistancesKm and BiasedKm are by region, for all that have a site; NaN when unknown.
	DistancesKm, BiasedKm []float64
	Scope                 uint8
}

// Explain decides again for one address, from the database and the rules, and tells why. Its ranking
// equals that of Rank.
func (t *Table) Explain(addr netip.Addr) Explanation {
	var e Explanation
	addr = addr.Unmap().WithZone("")
	if t.db != nil {
		e.Location, e.Network = t.db.Lookup(addr)
		e.Database = t.db.String()
	}
	c := t.chooser
	rule, source := c.decide(c.cidrRule(addr), &e.Location)
	if rule != noRule {
		e.Rule = c.spec.Rules[rule].Name
	}
	e.Source = source
	e.Ranking = c.ranking(c.appendFront(nil, rule, &e.Location))
	_, e.Scope = t.Rank(addr)
	e.DistancesKm = make([]float64, len(c.spec.Sites))
	e.BiasedKm = make([]float64, len(c.spec.Sites))
	for i, site := range c.spec.Sites {
		km := math.NaN()
		if e.Location.HasCoordinates {
			km = DistanceKm(e.Location.Latitude, e.Location.Longitude, site.Latitude, site.Longitude)
		}
		e.DistancesKm[i], e.BiasedKm[i] = km, site.biased(km)
	}
	return e
}

// Compile makes the table of a policy. Every different location is decided once, however many ranges
// it has. Without a database (nil) no location is known: only CIDR rules tell clients apart.
func Compile(db *Database, spec Spec) (*Table, error) {
	c, err := newChooser(spec)
	if err != nil {
		return nil, fmt.Errorf("geo: policy: %w", err)
	}
	t := &Table{chooser: c, db: db}
	b := newBuilder(t)
	unknown := spans{hi: []uint64{0}, value: []uint32{0}}
	v4, v6 := &unknown, &unknown
	if db != nil {
		v4, v6 = &db.v4, &db.v6
	}
	b.overlay(&t.v4, c.ruleSpans(false), v4)
	b.overlay(&t.v6, c.ruleSpans(true), v6)
	t.v4.finish(false)
	t.v6.finish(true)
	t.rankings = slices.Clip(t.rankings)
	return t, nil
}

// builder remembers decisions while a table is compiled.
type builder struct {
	t         *Table
	locations []Location
	byLoc     []uint32          // location → ranking+1, for addresses without a CIDR rule
	byRule    map[uint64]uint32 // CIDR rule and location → ranking
	byFront   map[string]uint32
	byWhole   map[string]uint32
	front     []uint16
	bytes     []byte
}

func newBuilder(t *Table) *builder {
	b := &builder{t: t, locations: []Location{{}}, byRule: map[uint64]uint32{}, byFront: map[string]uint32{}, byWhole: map[string]uint32{}}
	if t.db != nil {
		b.locations = t.db.locations
	}
	b.byLoc = make([]uint32, len(b.locations))
	b.rank(noRule, 0) // makes index 0 the ranking of the unknown location
	return b
}

// rank returns the ranking for a location, given the CIDR rule that matches or noRule.
func (b *builder) rank(cidr int, location uint32) uint32 {
	if cidr == noRule {
		if r := b.byLoc[location]; r > 0 {
			return r - 1
		}
		r := b.decide(cidr, location)
		b.byLoc[location] = r + 1
		return r
	}
	memo := uint64(cidr)<<32 | uint64(location)
	r, ok := b.byRule[memo]
	if !ok {
		r = b.decide(cidr, location)
		b.byRule[memo] = r
	}
	return r
}

func (b *builder) decide(cidr int, location uint32) uint32 {
	loc, c := &b.locations[location], b.t.chooser
	rule, _ := c.decide(cidr, loc)
	b.front = c.appendFront(b.front[:0], rule, loc)
	r, ok := b.byFront[string(b.text(b.front))]
	if ok {
		return r
	}
	frontText := string(b.bytes)
	// Different fronts may give the same whole.
	whole := c.ranking(b.front)
	r, ok = b.byWhole[string(b.text(whole))]
	if !ok {
		r = uint32(len(b.t.rankings))
		b.t.rankings = append(b.t.rankings, Ranking{Regions: whole})
		b.byWhole[string(b.bytes)] = r
	}
	b.byFront[frontText] = r
	return r
}

// text writes regions as a map key into b.bytes.
func (b *builder) text(regions []uint16) []byte {
	b.bytes = b.bytes[:0]
	for _, r := range regions {
		b.bytes = append(b.bytes, byte(r>>8), byte(r))
	}
	return b.bytes
}

// overlay walks the runs of rules and of locations side by side, and writes the rankings to out.
func (b *builder) overlay(out *spans, rules, locations *spans) {
	at, i, j := key{}, 0, 0
	for {
		out.add(at, b.rank(int(rules.value[i])-1, locations.value[j]))
		moreRules, moreLocations := i+1 < rules.len(), j+1 < locations.len()
		order := 0
		switch {
		case !moreRules && !moreLocations:
			return
		case !moreRules:
			order = 1
		case !moreLocations:
			order = -1
		default:
			order = rules.start(i + 1).compare(locations.start(j + 1))
		}
		if order <= 0 {
			i++
			at = rules.start(i)
		}
		if order >= 0 {
			j++
			at = locations.start(j)
		}
	}
}

// ruleSpans lays out the prefixes of all rules of one family as runs of the rule whose prefix is the
// longest there, plus one; 0 where there is none.
func (c *chooser) ruleSpans(v6 bool) *spans {
	type block struct {
		first key
		bits  int
		rule  int
	}
	var blocks []block
	for i := range c.spec.Rules {
		for _, p := range c.spec.Rules[i].Prefixes {
			if p.Addr().Is6() == v6 {
				blocks = append(blocks, block{keyOf(p.Addr()), p.Bits(), i})
			}
		}
	}
	// Outer blocks before inner ones; of equal ones the first rule's stays on top, so it comes last.
	slices.SortStableFunc(blocks, func(a, b block) int {
		if n := a.first.compare(b.first); n != 0 {
			return n
		}
		if a.bits != b.bits {
			return a.bits - b.bits
		}
		return b.rule - a.rule
	})
	out := &spans{}
	out.add(key{}, 0)
	var open []block // from the outermost to the innermost
	closeBefore := func(k key, all bool) {
		for len(open) > 0 {
			inner := open[len(open)-1]
			last := inner.first.last(inner.bits)
			if !all && last.compare(k) >= 0 {
				return
			}
			open = open[:len(open)-1]
			outer := 0
			if len(open) > 0 {
				outer = open[len(open)-1].rule + 1
			}
			if after, ok := last.next(); ok {
				out.add(after, uint32(outer))
			}
		}
	}
	for _, b := range blocks {
		closeBefore(b.first, false)
		out.add(b.first, uint32(b.rule+1))
		open = append(open, b)
	}
	closeBefore(key{}, true)
	return out
}
