package steer

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestPages: a copy has the changes, and what it was made from has not.
func TestPages(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		table := make([]int, rapid.SampledFrom([]int{0, 1, pageSize - 1, pageSize, pageSize + 1, 3 * pageSize}).Draw(rt, "size"))
		for i := range table {
			table[i] = i
		}
		p := paged(slices.Clone(table))
		changed := map[int32]int{}
		if len(table) > 0 {
			changed = rapid.MapOfN(rapid.Int32Range(0, int32(len(table)-1)), rapid.IntRange(-9, -1), 0, 5).Draw(rt, "changes")
		}
		at := slices.Sorted(maps.Keys(changed))
		entries := make([]int, len(at))
		for k, i := range at {
			entries[k] = changed[i]
		}
		n := p.with(at, entries)
		for i := range table {
			want, ok := changed[int32(i)]
			if !ok {
				want = i
			}
			if n.at(int32(i)) != want || p.at(int32(i)) != i {
				rt.Fatalf("%d: %d, want %d; before %d", i, n.at(int32(i)), want, p.at(int32(i)))
			}
		}
	})
}
