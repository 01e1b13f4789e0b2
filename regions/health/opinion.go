package health

import (
	"time"

	"github.com/fairlead-dns/fairlead/regions"
)

// TransitionWindow is how far back an opinion remembers its transitions.
const TransitionWindow = time.Hour

// MaxTransitions bounds the transitions that an opinion remembers; a target
// that flaps more often than that shows this number.
const MaxTransitions = 100

// Thresholds are how many observations in a row change an opinion. Values
// below 1 count as 1.
type Thresholds struct {
	Rise int // successes that make an unhealthy target healthy
	Fall int // failures that make a healthy target unhealthy
}

// Observation is one check's outcome.
type Observation struct {
	At      time.Time
	OK      bool
	Reason  string
	Latency time.Duration
}

// Opinion is one vantage's view of one target. The zero value is Unknown and
// has seen nothing.
type Opinion struct {
	Status regions.Status
	// Since is when the status came about.
	Since time.Time
	// ObservedAt is when the last check ended; zero when there was none.
	ObservedAt time.Time
	// Reason is what the last check saw.
	Reason  string
	Latency time.Duration
	// Successes and Failures count the run that lasts; one of them is 0.
	Successes, Failures int
	// Transitions between healthy and unhealthy within the window, oldest
	// first. Never written to: Step makes a new slice.
	Transitions []time.Time
}

// Step takes one observation into an opinion.
//
//	status     observation                      status after
//	---------  -------------------------------  ------------
//	UNKNOWN    success, the very first          HEALTHY
//	UNKNOWN    success, run of ≥ rise           HEALTHY
//	UNKNOWN    failure, run of ≥ fall           UNHEALTHY
//	UNKNOWN    any other                        UNKNOWN
//	HEALTHY    failure, run of ≥ fall           UNHEALTHY
//	HEALTHY    any other                        HEALTHY
//	UNHEALTHY  success, run of ≥ rise           HEALTHY
//	UNHEALTHY  any other                        UNHEALTHY
//
// An opinion that knows nothing starts with trust in one direction only. The
// first success is taken at once: an agent that restarts then votes again after
// one check, and a target that answers deserves it. The first failure is not:
// one lost packet after a restart must not become an UNHEALTHY vote, so the
// opinion stays UNKNOWN, which moves no verdict, until the run is long enough.
// After a failure, or after Abstain, a lone success is no longer the first and
// needs a run as well.
//
// An observation older than the last one is ignored.
func Step(op Opinion, obs Observation, t Thresholds) Opinion {
	first := op.ObservedAt.IsZero()
	if !first && obs.At.Before(op.ObservedAt) {
		return op
	}
	op.ObservedAt, op.Reason, op.Latency = obs.At, obs.Reason, obs.Latency
	next := op.Status
	if obs.OK {
		op.Successes, op.Failures = op.Successes+1, 0
		if op.Status == regions.Unknown && first || op.Successes >= max(t.Rise, 1) {
			next = regions.Healthy
		}
	} else {
		op.Successes, op.Failures = 0, op.Failures+1
		if op.Failures >= max(t.Fall, 1) {
			next = regions.Unhealthy
		}
	}
	return op.to(next, obs.At)
}

// Abstain withdraws the view of a target that could not be checked for a
// reason of the vantage's own: the target is refused, there is no route to its
// address family, no file descriptor was left. That is no evidence about the
// target, so the opinion becomes UNKNOWN at once.
func Abstain(op Opinion, at time.Time, reason string) Opinion {
	if at.Before(op.ObservedAt) {
		return op
	}
	op.ObservedAt, op.Reason, op.Latency = at, reason, 0
	op.Successes, op.Failures = 0, 0
	return op.to(regions.Unknown, at)
}

// to changes the status and notes the transition. Only changes between healthy
// and unhealthy count as transitions: finding out is none.
func (op Opinion) to(next regions.Status, at time.Time) Opinion {
	if op.Since.IsZero() {
		op.Since = at
	}
	if next == op.Status {
		return op
	}
	if op.Status != regions.Unknown && next != regions.Unknown {
		op.Transitions = append(recent(op.Transitions, at, MaxTransitions-1), at)
	}
	op.Status, op.Since = next, at
	return op
}

// Held is for how long the status has been held.
func (op Opinion) Held(now time.Time) time.Duration {
	return since(op.Since, now)
}

// RecentTransitions is how often the opinion changed within the window.
func (op Opinion) RecentTransitions(now time.Time) int {
	n := 0
	for _, at := range op.Transitions {
		if now.Sub(at) < TransitionWindow {
			n++
		}
	}
	return n
}

// Flaps is how many changes within an hour led to the status, the last one
// included; 0 once it has held for an hour. Unlike RecentTransitions it does
// not depend on when it is asked for, so all controllers are told the same.
func (op Opinion) Flaps(now time.Time) int {
	if op.Held(now) >= TransitionWindow {
		return 0
	}
	return op.RecentTransitions(op.Since)
}

// Wavering tells whether the last checks speak against the status and are too
// few to change it.
func (op Opinion) Wavering() bool {
	return op.Status == regions.Healthy && op.Failures > 0 || op.Status == regions.Unhealthy && op.Successes > 0
}

// recent copies the last transitions that lie within the window.
func recent(ts []time.Time, now time.Time, limit int) []time.Time {
	for len(ts) > 0 && now.Sub(ts[0]) >= TransitionWindow {
		ts = ts[1:]
	}
	if len(ts) > limit {
		ts = ts[len(ts)-limit:]
	}
	return append(make([]time.Time, 0, len(ts)+1), ts...)
}

// since is the time from t to now, 0 for an unset t and never negative.
func since(t, now time.Time) time.Duration {
	if t.IsZero() {
		return 0
	}
	return max(now.Sub(t), 0)
}
