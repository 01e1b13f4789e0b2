package steer

import (
	"net/netip"

	"github.com/fairlead-dns/fairlead/regions"
)

// What a ramp sends back together: the addresses of a network. So an answer
// holds for that network, and no wider (invariant 5).
const (
	stickyV4 = 24
	stickyV6 = 56
)

// buckets is how many parts ramps divide clients into.
const buckets = 100

// ramping is a region of a standing that has only a part of its clients.
type ramping struct {
	region uint16
	ramp   rampState
}

// bucketOf returns a client's bucket, 0 to 99: a ramp at p percent has the
// clients in buckets below p. So who is in stays in while it rises, and each
// service has others go first. It is the same at every nameserver of every
// version.
func bucketOf(seed uint64, client netip.Addr) int {
	client = client.Unmap()
	network := uint64(0)
	switch {
	case client.Is4():
		a := client.As4()
		network = 4<<56 | uint64(a[0])<<16 | uint64(a[1])<<8 | uint64(a[2])
	case client.Is6():
		a := client.As16()
		network = 6 << 56
		for i := range stickyV6 / 8 {
			network |= uint64(a[i]) << (48 - 8*i)
		}
	}
	x := seed ^ network
	return int(splitmix64(&x) >> 32 * buckets >> 32)
}

// stickyBits is the length of the network that a bucket is of.
func stickyBits(client netip.Addr) uint8 {
	switch client = client.Unmap(); {
	case client.Is4():
		return stickyV4
	case client.Is6():
		return stickyV6
	default:
		return 0
	}
}

// seedOf is FNV-1a over a service's name.
func seedOf(service string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(service) {
		h = (h ^ uint64(service[i])) * 0x100000001b3
	}
	return h
}

// ramps is the ramps that run in a service.
type ramps struct {
	seed   uint64 // deals the buckets
	joint  []ramping
	family [2][]ramping
}

// open returns the regions of a standing that the clients of a bucket have.
// It is st.regions, or in room.
func (st *standing) open(list []ramping, bucket int, room *regionSet) *regionSet {
	if len(list) == 0 {
		return &st.regions
	}
	*room = st.regions
	for i := range list {
		if bucket >= list[i].ramp.Percent {
			room.remove(list[i].region)
		}
	}
	return room
}

// ramping returns the regions of a standing in service that do not have all of
// their clients. Ramps need a region that has: where every region comes back at
// once, nobody carried the load meanwhile, and each takes its own.
func (e *evaluator) ramping(f *regions.Failback, st *standing) []ramping {
	var list []ramping
	for i := range st.groups {
		region := st.groups[i].region
		if ramp := rampAt(f, e.ready[region].rampFrom, e.view.now); ramp.Percent < 100 {
			list = append(list, ramping{region, ramp})
		}
	}
	if len(list) == len(st.groups) {
		return nil
	}
	return list
}
