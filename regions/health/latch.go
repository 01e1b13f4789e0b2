package health

import (
	"cmp"
	"slices"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
)

// LatchKey names a latch.
type LatchKey struct{ Service, Region string }

// MaxTrip bounds the trips that are believed: nothing trips so often.
const MaxTrip = 1 << 53

// KeyOf is the key of a latch.
func KeyOf(l regions.Latch) LatchKey { return LatchKey{l.Service, l.Region} }

// MergeLatch is what is known of one latch by two who know of it: the highest
// trip wins, and of one trip the earliest moment. Merging is commutative,
// associative and idempotent, so it does not matter who tells whom what, how
// often and in which order.
func MergeLatch(a, b regions.Latch) regions.Latch {
	if b.Trip > a.Trip || b.Trip == a.Trip && b.Since.Before(a.Since) {
		return b
	}
	return a
}

// Trip is the latch that stands after its region went out of service. One that
// stands already goes on standing. Otherwise its trip is above every one that is
// known, so that no release of an earlier one ends it; but none is above MaxTrip.
func Trip(known regions.Latch, released uint64, now time.Time) regions.Latch {
	if known.Trip > released && known.Trip <= MaxTrip {
		return known
	}
	known.Trip, known.Since = min(released, MaxTrip-1)+1, now
	return known
}

// OutOfService tells whether a region of a service is out by verdicts alone,
// given how many of its endpoints are UNHEALTHY: fewer than the policy's share
// are left, or none. Endpoints that were never judged are not UNHEALTHY: what
// was never in service cannot fall out of it.
func OutOfService(endpoints, unhealthy, minHealthyPercent int) bool {
	left := endpoints - unhealthy
	return endpoints > 0 && (left == 0 || left*100 < minHealthyPercent*endpoints)
}

// SortLatches sorts by service and region, the order in which tables hold them.
func SortLatches(ls []regions.Latch) {
	slices.SortFunc(ls, func(a, b regions.Latch) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Region, b.Region))
	})
}
