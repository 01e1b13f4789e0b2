package steer

import (
	"slices"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
)

// readiness is how far a region is from being in service, for one family or
// for both together:
//
//	in service   enough endpoints are settled, and no latch waits for a release
//	settled      healthy, and if that was a recovery, for the hold-down
//	enough       the share of the undrained endpoints that the policy states, at
//	             least one
//	from         when there were enough: that many settled by then. Zero: as far
//	             as is known there always were
//	ramp         its clients come back in steps, counted from then, or from the
//	             release of its latch
//
// All of it is a function of how long verdicts have held, so no one has to
// remember or to lead anything: two nameservers with the same verdicts agree.
type readiness struct {
	undrained, healthy, need int32
	// always counts the settled that did not recover, as far as is known, and
	// rising those that may become healthy.
	always, rising int32
	in             bool
	enough         bool // at from
	latched        bool
	from           time.Time
	rampFrom       time.Time
}

// rampState is how far a region's clients are back.
type rampState struct {
	// Percent of clients have the region; 100 without a ramp.
	Percent int
	// Step of Steps, from 1; 0 without a ramp.
	Step, Steps int
	// Next is when the next step begins.
	Next time.Time
}

// rampAt returns the ramp of a region that came back at a moment.
func rampAt(f *regions.Failback, from, now time.Time) rampState {
	if len(f.RampSteps) == 0 || from.IsZero() || f.RampInterval <= 0 {
		return rampState{Percent: 100}
	}
	step := int(min(max(now.Sub(from), 0)/f.RampInterval, time.Duration(len(f.RampSteps))))
	if step == len(f.RampSteps) {
		return rampState{Percent: 100}
	}
	return rampState{
		Percent: f.RampSteps[step], Step: step + 1, Steps: len(f.RampSteps),
		Next: from.Add(time.Duration(step+1) * f.RampInterval),
	}
}

// settledFrom is from when an endpoint counts towards its region; zero when
// it did not recover, or nobody asks for how long it has.
func settledFrom(f *regions.Failback, c *counted, by regions.Decider) time.Time {
	if !c.Restored || by != regions.ByVerdict && by != regions.ByGuardHold || f.HoldDown == 0 && len(f.RampSteps) == 0 {
		return time.Time{}
	}
	return c.Since.Add(f.HoldDown)
}

// weigh finds out how ready every region of the candidates is.
func (e *evaluator) weigh(service int32, cand []candidate) {
	v := e.view
	s := &v.Plan.Services[service]
	for i := range cand {
		e.ready[cand[i].region] = readiness{}
	}
	for i := range cand {
		if c := &cand[i]; !c.effect.Drained && !c.effect.ForcedDown {
			e.ready[c.region].count(c)
		}
	}
	latches := regionSet{}
	if s.Failback.Manual {
		latches = v.latched[service]
	}
	policy := &v.Plan.Policies[s.Policy]
	for i := range cand {
		region := cand[i].region
		r := &e.ready[region]
		if r.need > 0 {
			continue // weighed for another of its endpoints
		}
		r.need = policy.Needed(r.undrained)
		r.latched = latches.has(region)
		if r.enough = r.healthy >= r.need; !r.enough {
			continue
		}
		if r.always < r.need {
			r.from = e.kthSettled(cand, region, int(r.need))
		}
		switch r.in = !r.latched && !r.from.After(v.now); {
		case r.in && len(s.Failback.RampSteps) > 0:
			r.rampFrom = r.from
			if s.Failback.Manual {
				r.rampFrom = later(r.from, e.released(s, region))
			}
			e.next = earlier(e.next, rampAt(&s.Failback, r.rampFrom, v.now).Next)
		case !r.in && !r.latched:
			e.next = earlier(e.next, r.from)
		}
	}
}

func (r *readiness) count(c *candidate) {
	r.undrained++
	if c.effect.Healthy {
		r.healthy++
		if c.settled.IsZero() {
			r.always++
		}
	}
	if c.mayRise {
		r.rising++
	}
}

// kthSettled returns when the k-th of a region's healthy endpoints was or will
// be settled.
func (e *evaluator) kthSettled(cand []candidate, region uint16, k int) time.Time {
	e.times = e.times[:0]
	for i := range cand {
		if c := &cand[i]; c.region == region && c.effect.Serves() {
			e.times = append(e.times, c.settled)
		}
	}
	slices.SortFunc(e.times, time.Time.Compare)
	return e.times[k-1]
}

// released is when the latch of a service's region was released, zero when it
// never was. That is another machine's clock: what lies ahead of ours by more
// than a step of the ramp says only that one of them is wrong, as after a jump,
// and must not send clients away again.
func (e *evaluator) released(s *regions.Service, region uint16) time.Time {
	at, ok := e.view.Plan.ReleasedAt[regions.FailbackLatch(s.Name, e.view.Plan.Regions[region].Name)]
	if !ok {
		return at
	}
	if near := at.Add(-s.Failback.RampInterval); near.After(e.view.now) {
		e.next = earlier(e.next, near)
		return time.Time{}
	}
	return at
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
