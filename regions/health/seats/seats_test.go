package seats_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead-dns/fairlead/regions/health/seats"
)

// fleet makes agents of regions that have so many of them.
func fleet(sizes ...int) []seats.Agent {
	var agents []seats.Agent
	for r, n := range sizes {
		for i := range n {
			agents = append(agents, seats.Agent{Name: fmt.Sprintf("probe-%c-%d", 'a'+r, i+1), Region: fmt.Sprintf("region-%c", 'a'+r)})
		}
	}
	return agents
}

// genFleet draws up to six regions of one to five agents, in any order.
func genFleet(t *rapid.T) []seats.Agent {
	return rapid.Permutation(fleet(rapid.SliceOfN(rapid.IntRange(1, 5), 1, 6).Draw(t, "sizes")...)).Draw(t, "agents")
}

func genTarget(t *rapid.T) string {
	return fmt.Sprintf("web@192.0.2.%d", rapid.IntRange(0, 1_000_000).Draw(t, "target"))
}

func genAbsent(t *rapid.T, agents []seats.Agent) map[string]bool {
	absent := map[string]bool{}
	for _, a := range agents {
		if rapid.IntRange(0, 3).Draw(t, "absent") == 0 {
			absent[a.Name] = true
		}
	}
	return absent
}

func in(set map[string]bool) func(string) bool { return func(name string) bool { return set[name] } }

// byRegion counts the seats of each region.
func byRegion(agents []seats.Agent, names []string) map[string]int {
	n := map[string]int{}
	for _, a := range agents {
		if slices.Contains(names, a.Name) {
			n[a.Region]++
		}
	}
	return n
}

// minus is what is in a and not in b.
func minus(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

func regionOf(agents []seats.Agent, name string) string {
	return agents[slices.IndexFunc(agents, func(a seats.Agent) bool { return a.Name == name })].Region
}

func TestSeatsProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		agents, target := genFleet(t), genTarget(t)
		k := rapid.IntRange(-1, len(agents)+1).Draw(t, "k")
		absent := genAbsent(t, agents)
		got := seats.Of(target, k, agents, in(absent))

		want := k
		if k <= 0 || k > len(agents) {
			want = len(agents)
		}
		if len(got) != want || !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != want {
			t.Fatalf("%d of %d: seats %v", k, len(agents), got)
		}
		if again := seats.Of(target, k, rapid.Permutation(agents).Draw(t, "order"), in(absent)); !slices.Equal(got, again) {
			t.Fatalf("in another order: %v, before %v", again, got)
		}

		// As many regions as there can be, and none more than one ahead of one that
		// has agents left. Who is absent changes neither.
		sizes, seated := map[string]int{}, byRegion(agents, got)
		for _, a := range agents {
			sizes[a.Region]++
		}
		if len(seated) != min(want, len(sizes)) {
			t.Fatalf("%d seats are in %d of %d regions", want, len(seated), len(sizes))
		}
		for r, n := range seated {
			for s, m := range seated {
				if m < sizes[s] && n > m+1 {
					t.Fatalf("%s has %d seats, %s %d of %d", r, n, s, m, sizes[s])
				}
			}
		}
		if calm := byRegion(agents, seats.Of(target, k, agents, nil)); !maps.Equal(calm, seated) {
			t.Fatalf("with agents absent the regions have %v, without %v", seated, calm)
		}
		// An absent agent has a seat only where no other of its region is free.
		for _, name := range got {
			if !absent[name] {
				continue
			}
			for _, a := range agents {
				if a.Region == regionOf(agents, name) && !absent[a.Name] && !slices.Contains(got, a.Name) {
					t.Fatalf("%s is absent and has a seat, %s has none", name, a.Name)
				}
			}
		}
	})
}

func TestOneChangeMovesOneSeat(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		agents, target := genFleet(t), genTarget(t)
		k := rapid.IntRange(1, len(agents)).Draw(t, "k")
		absent := genAbsent(t, agents)
		who := rapid.SampledFrom(agents).Draw(t, "who")
		before := seats.Of(target, k, agents, in(absent))

		// Silent, or back: it and at most one other, of its own region.
		turned := maps.Clone(absent)
		turned[who.Name] = !absent[who.Name]
		after := seats.Of(target, k, agents, in(turned))
		out, came := minus(before, after), minus(after, before)
		if len(out) != len(came) || len(out) > 1 {
			t.Fatalf("%s is absent (%t): out %v, in %v", who.Name, turned[who.Name], out, came)
		}
		for _, name := range append(out, came...) {
			if regionOf(agents, name) != who.Region {
				t.Fatalf("%s of %s is absent, and %s moves", who.Name, who.Region, name)
			}
		}
		if len(out) == 1 && out[0] != who.Name && came[0] != who.Name {
			t.Fatalf("%s is absent, and %v gives its seat to %v", who.Name, out, came)
		}

		// Removed (read the other way: added): its seat goes to one other, of its own
		// region where that has an agent left, and no other seat moves.
		fewer := slices.DeleteFunc(slices.Clone(agents), func(a seats.Agent) bool { return a == who })
		if k > len(fewer) {
			return
		}
		after = seats.Of(target, k, fewer, in(absent))
		out, came = minus(before, after), minus(after, before)
		if !slices.Contains(before, who.Name) {
			if len(out)+len(came) > 0 {
				t.Fatalf("%s had no seat and is removed: out %v, in %v", who.Name, out, came)
			}
			return
		}
		if len(out) != 1 || out[0] != who.Name || len(came) != 1 {
			t.Fatalf("%s is removed: out %v, in %v", who.Name, out, came)
		}
		region := 0
		for _, a := range agents {
			if a.Region == who.Region {
				region++
			}
		}
		if byRegion(agents, before)[who.Region] < region && regionOf(agents, came[0]) != who.Region {
			t.Fatalf("%s of %s is removed, and %s gets its seat", who.Name, who.Region, came[0])
		}
	})
}

// The load is even: every agent has its share of the seats of its region, and
// regions have equal shares as far as they have agents.
func TestLoadBalance(t *testing.T) {
	for _, c := range []struct {
		k     int
		sizes []int
		even  bool // over all agents, not only within each region
	}{
		{1, []int{1, 1, 1}, true},
		{2, []int{3, 3, 3}, true},
		{3, []int{2, 2, 2}, true},
		{4, []int{3, 3, 3}, true},
		{3, []int{10, 10, 10, 10, 10}, true},
		{3, []int{1, 2, 5}, false},
		{5, []int{2, 4, 4}, false},
	} {
		agents := fleet(c.sizes...)
		load, byRegion := map[string]int{}, map[string]int{}
		const targets = 10_000
		for i := range targets {
			for _, name := range seats.Of(fmt.Sprintf("web@192.0.%d.%d", i/256, i%256), c.k, agents, nil) {
				load[name]++
				byRegion[regionOf(agents, name)]++
			}
		}
		for _, a := range agents {
			size := c.sizes[a.Region[len(a.Region)-1]-'a']
			fair := float64(byRegion[a.Region]) / float64(size)
			if c.even {
				fair = float64(targets*c.k) / float64(len(agents))
			}
			if off := math.Abs(float64(load[a.Name])-fair) / fair; off > 0.2 {
				t.Errorf("%d seats in %v: %s has %d, %.0f%% off its share", c.k, c.sizes, a.Name, load[a.Name], 100*off)
			}
		}
	}
}

// Controllers of different versions must agree: these never change.
func TestSeatsAreStable(t *testing.T) {
	agents := fleet(2, 2, 3, 1)
	var lines []string
	for i := range 6 {
		target := fmt.Sprintf("web@192.0.2.%d", i)
		lines = append(lines, strings.Join(seats.Of(target, 3, agents, nil), " "))
	}
	want := []string{
		"probe-a-1 probe-b-2 probe-d-1",
		"probe-a-2 probe-b-1 probe-c-1",
		"probe-a-2 probe-b-2 probe-d-1",
		"probe-b-2 probe-c-3 probe-d-1",
		"probe-b-1 probe-c-3 probe-d-1",
		"probe-b-2 probe-c-1 probe-d-1",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("seats have moved:\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

func TestAllocations(t *testing.T) {
	agents := fleet(10, 10, 10, 10, 10)
	got := testing.AllocsPerRun(100, func() { seats.Of("web@192.0.2.1", 3, agents, nil) })
	if got > 1 {
		t.Errorf("%g allocations, want 1: the result", got)
	}
}

func BenchmarkOf(b *testing.B) {
	for _, n := range []int{2, 10} {
		agents := fleet(n, n, n, n, n)
		b.Run(fmt.Sprintf("3-of-%d", len(agents)), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				seats.Of("web@192.0.2.1", 3, agents, nil)
			}
		})
	}
}
