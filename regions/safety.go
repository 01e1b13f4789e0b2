package regions

import "time"

// Safety holds the limits on what may change by itself and on what operators
// may take out of service.
type Safety struct {
	Guard  Guard
	Ages   HealthAges
	Drains DrainRules
}

// Guard is the mass-withdrawal guard's policy.
type Guard struct {
	// AlarmOnly: it raises an alarm and holds nothing.
	AlarmOnly bool
	// MaxPercent of all targets may turn UNHEALTHY within the window without the
	// confirmation of the quorum.
	MaxPercent int
	Window     time.Duration
}

// HealthAges is what the age of the health state means at a nameserver.
type HealthAges struct {
	// FrozenAfter: older than this, answers say that they are stale.
	FrozenAfter time.Duration
	// FailOpenAfter: older than this, every verdict counts as HEALTHY; 0: never.
	FailOpenAfter time.Duration
}

// DefaultSafety is what holds where nothing is stated.
func DefaultSafety() Safety {
	return Safety{
		Guard: Guard{MaxPercent: 50, Window: time.Minute},
		Ages:  HealthAges{FrozenAfter: 10 * time.Second},
		Drains: DrainRules{
			MinRegions: 1, MinRegionsPerService: 1, MaxDrainedPercent: 100, HeadroomPercent: -1,
		},
	}
}

// HealthState is what the age of the health state makes of it.
type HealthState uint8

// The states, as a nameserver's verdicts grow old.
const (
	Fresh HealthState = iota
	Frozen
	FailOpen
)

func (s HealthState) String() string { return [...]string{"fresh", "frozen", "fail-open"}[s] }

// State is what an age makes of the health state. It is fresh up to the age
// that is stated, not beyond it.
func (a HealthAges) State(age time.Duration) HealthState {
	switch {
	case a.FailOpenAfter > 0 && age > a.FailOpenAfter:
		return FailOpen
	case age > a.FrozenAfter:
		return Frozen
	default:
		return Fresh
	}
}
