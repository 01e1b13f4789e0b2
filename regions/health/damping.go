package health

import "time"

// Damping is what a target that flaps must do before it counts as healthy
// again. The zero value is the default.
type Damping struct {
	// Off: a recovery counts at once.
	Off bool
	// Recoveries within an hour make the next one wait. 0: 2.
	Recoveries int
	// BaseHold is how long; it doubles with every further recovery up to MaxHold,
	// which is at most an hour. 0: 30s and 10m.
	BaseHold, MaxHold time.Duration
}

// The defaults of damping.
const (
	DefaultRecoveries = 2
	DefaultBaseHold   = 30 * time.Second
	DefaultMaxHold    = 10 * time.Minute
)

// Hold is for how long a HEALTHY opinion must have held before it counts, given
// the transitions that led to it:
//
//	recoveries (half of    hold, with the defaults
//	the transitions)       (2 recoveries, 30s, 10m)
//	---------------------  ------------------------
//	0, 1                   none
//	2                      30s
//	3                      1m
//	4                      2m
//	5                      4m
//	6                      8m
//	7 and more             10m
//
// Both travel inside the opinion (how long it has held, and how often it had
// changed), so every controller damps alike, also one that has just started.
// With the defaults the vote of a vantage on an endpoint that flaps, however
// fast, returns to HEALTHY at most eleven times an hour (invariant 9).
func (d Damping) Hold(transitions int) time.Duration {
	recoveries, hold, most := d.Recoveries, d.BaseHold, d.MaxHold
	if recoveries <= 0 {
		recoveries = DefaultRecoveries
	}
	if hold <= 0 {
		hold = DefaultBaseHold
	}
	if most <= 0 {
		most = DefaultMaxHold
	}
	most = min(most, TransitionWindow)
	seen := transitions / 2
	if d.Off || seen < recoveries {
		return 0
	}
	for range min(seen-recoveries, MaxTransitions) {
		if hold >= most {
			break
		}
		hold *= 2
	}
	return min(hold, most)
}
