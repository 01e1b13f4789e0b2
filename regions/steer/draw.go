package steer

import (
	"net/netip"
	"slices"

	"github.com/fairlead-dns/fairlead/regions"
)

// splitmix64 is the generator of Steele, Lea and Flood: one word of state,
// good enough to deal weights from one random word per query.
func splitmix64(x *uint64) uint64 {
	*x += 0x9e3779b97f4a7c15
	z := *x
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below draws a number below n. A remainder favours the small ones by n in
// 2^64: at most 2^-36, as a total of weights is at most 2^28.
func below(n uint64, lot *uint64) uint64 { return splitmix64(lot) % n }

// taken is a set of positions in a group or a fallback.
type taken [regions.MaxServiceEndpoints / 64]uint64

func (t *taken) add(i int)      { t[i/64] |= 1 << (i % 64) }
func (t *taken) has(i int) bool { return t[i/64]&(1<<(i%64)) != 0 }

// at returns the position of the member that x, below the total of the weights
// that are not taken, falls on.
func (g *group) at(x uint64, t *taken) int {
	for i := range g.members {
		if t.has(i) {
			continue
		}
		w := uint64(g.members[i].weight)
		if x < w {
			return i
		}
		x -= w
	}
	return len(g.members) - 1
}

// pick deals one endpoint by weight.
func pick(g *group, lot uint64, t *taken) uint16 {
	i := g.at(below(g.total, &lot), t)
	t.add(i)
	return g.members[i].endpoint
}

// draw deals addresses by weight, without putting them back, so the first
// address of an answer follows the weights exactly. An address that two
// endpoints share is there once: an RRset holds no duplicates (RFC 2181 section 5).
func draw(endpoints []regions.Endpoint, f regions.Family, g *group, limit int, lot uint64, buf []netip.Addr, t *taken) []netip.Addr {
	left := g.total
	for range g.members {
		if len(buf) >= limit {
			break
		}
		i := g.at(below(left, &lot), t)
		t.add(i)
		left -= uint64(g.members[i].weight)
		if a := endpoints[g.members[i].endpoint].Addr[f]; !slices.Contains(buf, a) {
			buf = append(buf, a)
		}
	}
	return buf
}

// drawEqual deals addresses of equal weight.
func drawEqual(addrs []netip.Addr, limit int, lot uint64, buf []netip.Addr) []netip.Addr {
	var t taken
	for n := uint64(min(len(addrs), regions.MaxServiceEndpoints)); n > 0 && len(buf) < limit; n-- {
		i, x := 0, below(n, &lot)
		for ; t.has(i) || x > 0; i++ {
			if !t.has(i) {
				x--
			}
		}
		t.add(i)
		if !slices.Contains(buf, addrs[i]) {
			buf = append(buf, addrs[i])
		}
	}
	return buf
}
