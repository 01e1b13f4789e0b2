package regions

import (
	"strings"
	"time"
)

// Failback is how a region of a service comes back into service after it was
// out of it by verdicts (not by a drain). Until then its healthy endpoints
// answer only when no region is in service.
type Failback struct {
	// Manual: once out of service, the region waits for a release of its latch.
	Manual bool
	// HoldDown is for how long an endpoint that was unhealthy must be healthy
	// before it counts towards its region.
	HoldDown time.Duration
	// RampSteps are the shares of clients, in percent and ascending, that get the
	// region back, each for RampInterval; then all do. Without any, all at once.
	RampSteps    []int
	RampInterval time.Duration
}

// Latch remembers that a region of a service with manual failback waits for a
// person. Controllers and nameservers tell each other; the highest trip of a
// latch wins, and only a release of that trip or a higher one ends it.
type Latch struct {
	Service, Region string
	// Trip counts up per service and region.
	Trip uint64
	// Since is when it tripped.
	Since time.Time
}

// Name is what a release calls the latch.
func (l Latch) Name() string { return FailbackLatch(l.Service, l.Region) }

// GuardLatch is what a release calls what the mass-withdrawal guard holds.
const GuardLatch = "guard"

const failbackPrefix = "failback/"

// FailbackLatch is what a release calls the latch of a service's region:
// failback/SERVICE/REGION.
func FailbackLatch(service, region string) string { return failbackPrefix + service + "/" + region }

// SplitFailbackLatch returns the service and the region of a latch's name. An
// owner name may hold a slash (RFC 2317), the name of a region does not.
func SplitFailbackLatch(latch string) (service, region string, ok bool) {
	rest, ok := strings.CutPrefix(latch, failbackPrefix)
	at := strings.LastIndexByte(rest, '/')
	if !ok || at <= 0 || at == len(rest)-1 {
		return "", "", false
	}
	return rest[:at], rest[at+1:], true
}
