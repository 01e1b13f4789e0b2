package geo

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

// drawKey draws an address whose bits are mostly few, so that runs meet and nest at all depths.
func drawKey(t *rapid.T, width int, label string) key {
	k := key{}
	for _, depth := range rapid.SliceOfN(rapid.IntRange(0, width-1), 0, 6).Draw(t, label) {
		k = k.withBit(depth)
	}
	return k
}

func number(k key) *big.Int {
	n := new(big.Int).SetUint64(k.hi)
	return n.Or(n.Lsh(n, 64), new(big.Int).SetUint64(k.lo))
}

// TestSpans compares find and scope, with and without the index, with a search that looks at every
// run and tries every length.
func TestSpans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v6 := rapid.Bool().Draw(t, "v6")
		width := 32
		if v6 {
			width = 128
		}
		var keys []key
		for range rapid.IntRange(0, 120).Draw(t, "runs") {
			k := drawKey(t, width, "start")
			if v6 && rapid.Bool().Draw(t, "unicast") {
				k.hi = k.hi&^(7<<61) | 1<<61
			}
			keys = append(keys, k)
		}
		s := buildSpans(keys, t)
		probe := append(keys, drawKey(t, width, "probe"), key{}.last(0))
		if !v6 {
			probe[len(probe)-1] = key{hi: 0xffffffff << 32}
		}
		plain := s
		s.finish(v6)
		for _, k := range probe {
			i := naiveFind(&plain, k)
			if got := plain.find(k); got != i {
				t.Fatalf("%v: run %d without index, want %d", k, got, i)
			}
			if got := s.find(k); got != i {
				t.Fatalf("%v: run %d, want %d", k, got, i)
			}
			if got, want := s.scope(i, k), naiveScope(&s, i, k, width); got != want {
				t.Fatalf("%v: scope %d, want %d", k, got, want)
			}
		}
	})
}

func buildSpans(keys []key, t *rapid.T) spans {
	sorted := map[key]bool{{}: true}
	for _, k := range keys {
		sorted[k] = true
	}
	var s spans
	for k, more := (key{}), true; more; {
		s.add(k, uint32(rapid.IntRange(0, 2).Draw(t, "value")))
		more = false
		var least key
		for o := range sorted {
			if o.compare(k) > 0 && (!more || o.compare(least) < 0) {
				least, more = o, true
			}
		}
		k = least
	}
	return s
}

func naiveFind(s *spans, k key) int {
	found := 0
	for i := range s.len() {
		if number(s.start(i)).Cmp(number(k)) <= 0 {
			found = i
		}
	}
	return found
}

func naiveScope(s *spans, i int, k key, width int) int {
	end := new(big.Int).Lsh(big.NewInt(1), 128)
	if i+1 < s.len() {
		end = number(s.start(i + 1))
	}
	for n := range width {
		size := new(big.Int).Lsh(big.NewInt(1), uint(128-n))
		first := number(k)
		first.Sub(first, new(big.Int).Mod(first, size))
		if first.Cmp(number(s.start(i))) >= 0 && first.Add(first, size).Cmp(end) <= 0 {
			return n
		}
	}
	return width
}

func TestSpansAddReplacesAndMerges(t *testing.T) {
	var s spans
	for i, v := range []uint32{1, 1, 2, 1} {
		s.add(key{lo: uint64(i) << 60, hi: uint64(i)}, v)
	}
	s.add(key{lo: 3 << 60, hi: 3}, 2) // replaces the last run, and is then equal to the one before
	if s.len() != 2 || s.value[1] != 2 || s.start(1) != (key{hi: 2, lo: 2 << 60}) {
		t.Errorf("%+v", s)
	}
}
