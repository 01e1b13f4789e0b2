package geo

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
)

// key is an address of either family, aligned to the left of 128 bits, so that a prefix of n bits is
// the first n bits for both. Each family has its own spans: keys of different families never meet.
type key struct{ hi, lo uint64 }

// keyOf expects an unmapped address.
func keyOf(addr netip.Addr) key {
	if addr.Is4() {
		b := addr.As4()
		return key{hi: uint64(binary.BigEndian.Uint32(b[:])) << 32}
	}
	b := addr.As16()
	return key{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (k key) compare(o key) int {
	switch {
	case k.hi < o.hi || k.hi == o.hi && k.lo < o.lo:
		return -1
	case k == o:
		return 0
	}
	return 1
}

// next is k+1; ok is false at the end of the space.
func (k key) next() (_ key, ok bool) {
	lo, carry := bits.Add64(k.lo, 1, 0)
	hi, carry := bits.Add64(k.hi, 0, carry)
	return key{hi, lo}, carry == 0
}

// prev is k-1, for k > 0.
func (k key) prev() key {
	lo, borrow := bits.Sub64(k.lo, 1, 0)
	return key{k.hi - borrow, lo}
}

// withBit is k with the bit set that follows the first depth bits.
func (k key) withBit(depth int) key {
	if depth < 64 {
		return key{k.hi | 1<<(63-depth), k.lo}
	}
	return key{k.hi, k.lo | 1<<(127-depth)}
}

// last is the last key of the block that begins at k and has n bits in common.
func (k key) last(n int) key {
	if n < 64 {
		return key{k.hi | ^uint64(0)>>n, ^uint64(0)}
	}
	return key{k.hi, k.lo | ^uint64(0)>>(n-64)}
}

// common is the number of leading bits that k and o share.
func (k key) common(o key) int {
	if x := k.hi ^ o.hi; x != 0 {
		return bits.LeadingZeros64(x)
	}
	return 64 + bits.LeadingZeros64(k.lo^o.lo)
}

// spans divides the address space of one family, wholly, into runs of equal value. Run i goes from
// start(i) to just before start(i+1); neighbours differ in value; start(0) is the first address.
type spans struct {
	hi    []uint64
	lo    []uint64 // nil while every run starts on a /64 boundary
	value []uint32

	// index is a first level: index[b] is the run that holds the first address of bucket b. Buckets are
	// equal blocks from base on, 1<<shift (in the upper half of a key) wide. The last entry closes the
	// last bucket. Keys outside the buckets, and spans without an index, are searched for in all runs.
	index []uint32
	base  uint64
	shift uint8
}

const (
	minIndexed   = 32 // runs; fewer are as quick without
	maxIndexBits = 16 // 256 KiB
)

func (s *spans) len() int { return len(s.hi) }

func (s *spans) start(i int) key {
	if s.lo == nil {
		return key{hi: s.hi[i]}
	}
	return key{s.hi[i], s.lo[i]}
}

// add appends a run. Starts must not decrease; the later of two runs with one start replaces the
// earlier, and a run equal to the one before it is merged with it.
func (s *spans) add(start key, value uint32) {
	n := len(s.hi)
	if n > 0 && s.start(n-1) == start {
		n--
		s.hi, s.value = s.hi[:n], s.value[:n]
		if s.lo != nil {
			s.lo = s.lo[:n]
		}
	}
	if n > 0 && s.value[n-1] == value {
		return
	}
	if s.lo == nil && start.lo != 0 {
		s.lo = make([]uint64, n, cap(s.hi))
	}
	s.hi = append(s.hi, start.hi)
	s.value = append(s.value, value)
	if s.lo != nil {
		s.lo = append(s.lo, start.lo)
	}
}

// finish gives back spare memory and builds the index. IPv6 is indexed where its unicast addresses
// are, in 2000::/3.
func (s *spans) finish(v6 bool) {
	s.hi, s.lo, s.value = slices.Clone(s.hi), slices.Clone(s.lo), slices.Clone(s.value)
	n := len(s.hi)
	if n < minIndexed {
		return
	}
	width := min(bits.Len(uint(n)), maxIndexBits)
	s.base, s.shift = 0, uint8(64-width)
	if v6 {
		s.base, s.shift = 0x2000<<48, uint8(61-width)
	}
	s.index = make([]uint32, 1<<width+1)
	run := 0
	for b := range s.index {
		first := key{hi: s.base + uint64(b)<<s.shift}
		if b == 1<<width && !v6 {
			run = n - 1 // the sum above has wrapped around
		}
		for run+1 < n && s.start(run+1).compare(first) <= 0 {
			run++
		}
		s.index[b] = uint32(run)
	}
}

// find returns the run that holds k.
func (s *spans) find(k key) int {
	l, r := 0, len(s.hi)-1
	if b := (k.hi - s.base) >> s.shift; b+1 < uint64(len(s.index)) {
		l, r = int(s.index[b]), int(s.index[b+1])
	}
	for l < r {
		m := int(uint(l+r+1) >> 1)
		if h := s.hi[m]; h < k.hi || h == k.hi && (s.lo == nil || s.lo[m] <= k.lo) {
			l = m
		} else {
			r = m - 1
		}
	}
	return l
}

// scope is the length of the largest aligned block that holds k and lies wholly within run i, which
// must hold k too: the block has to end before it meets the address on either side of the run, and a
// block of n bits meets another address exactly when they share n bits.
func (s *spans) scope(i int, k key) int {
	n := 0
	if i > 0 {
		n = k.common(s.start(i).prev()) + 1
	}
	if i+1 < len(s.hi) {
		n = max(n, k.common(s.start(i+1))+1)
	}
	return n
}
