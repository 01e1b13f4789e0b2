package steer

import (
	"math/bits"

	"github.com/fairlead-dns/fairlead/regions"
)

// regionSet is a set of region indexes.
type regionSet [regions.MaxRegions / 64]uint64

func (s *regionSet) add(r uint16)      { s[r/64] |= 1 << (r % 64) }
func (s *regionSet) remove(r uint16)   { s[r/64] &^= 1 << (r % 64) }
func (s *regionSet) has(r uint16) bool { return s[r/64]&(1<<(r%64)) != 0 }
func (s *regionSet) empty() bool       { return *s == regionSet{} }

// size returns how many there are.
func (s *regionSet) size() int {
	n := 0
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

// lowest returns the lowest region of a set, or -1.
func (s *regionSet) lowest() int32 {
	for i, w := range s {
		if w != 0 {
			return int32(i*64 + bits.TrailingZeros64(w))
		}
	}
	return -1
}

// subsetOf tells whether all of s are in t.
func (s *regionSet) subsetOf(t *regionSet) bool {
	for i := range s {
		if s[i]&^t[i] != 0 {
			return false
		}
	}
	return true
}

// first returns the first region of a ranking that is in the set, or -1.
func (s *regionSet) first(ranking []uint16) int32 {
	for _, r := range ranking {
		if s.has(r) {
			return int32(r)
		}
	}
	return -1
}
