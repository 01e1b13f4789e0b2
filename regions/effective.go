package regions

import "math/bits"

// Decider names what decided an endpoint's effective state.
type Decider uint8

// The deciders.
const (
	ByVerdict Decider = iota
	ByNeverJudged
	ByGuardHold
	ByFailOpen
	ByNoCheck
	ByForceUp
	ByDrain
	ByForceDown
	ByBreakGlass
)

func (d Decider) String() string {
	return [...]string{
		"verdict", "never-judged", "guard-hold", "fail-open", "no-check", "force-up", "drain", "force-down", "break-glass",
	}[d]
}

// Effect is the effective state of one endpoint in one family.
type Effect struct {
	// Healthy is the health underneath: what a drained endpoint is judged by
	// when it is the last resort.
	Healthy    bool
	Drained    bool
	ForcedDown bool
	// By is what decided whether it answers; HealthBy what decided Healthy.
	By       Decider
	HealthBy Decider
	// Override is the one that decided, if any.
	Override *Override
}

// Serves tells whether the endpoint is healthy and neither drained nor forced down.
func (e Effect) Serves() bool { return e.Healthy && !e.Drained && !e.ForcedDown }

// String names the state: forced-down, drained, healthy or unhealthy. What is
// under an override is told beside it, not here.
func (e Effect) String() string {
	switch {
	case e.ForcedDown:
		return "forced-down"
	case e.Drained:
		return "drained"
	case e.Healthy:
		return "healthy"
	default:
		return "unhealthy"
	}
}

// Measured is what is known of an endpoint's health in one family, before any
// override.
type Measured struct {
	// Checked: the service has a health check.
	Checked bool
	// Verdict is the last one that was HEALTHY or UNHEALTHY, of those whose
	// verdicts count for the service: an UNKNOWN quorum keeps it, so UNKNOWN here
	// means that no verdict was ever passed.
	Verdict Status
	// GuardHeld: the mass-withdrawal guard holds the verdict against the quorum.
	GuardHeld bool
	// NeverJudged counts where no verdict was ever passed.
	NeverJudged Status
	// FailOpen: the verdicts are so old that each counts as HEALTHY.
	FailOpen bool
}

// fact is something that holds of an endpoint. The stronger come first.
type fact uint8

const (
	isBrokenDown    fact = iota // of break-glass
	isForcedDown                // of the control plane
	isBrokenDrained             // of break-glass, down to
	isBrokenUp
	isBrokenUndrained
	isDrained // of the control plane
	isForcedUp
	isUnchecked
	isOpened
	isHeld
	isHealthy
	isUnhealthy
	isTrusted
	isAnything
)

// outcome is what a fact makes of an endpoint.
type outcome uint8

const (
	neverAnswers outcome = iota // and weaker facts say how healthy it is
	lastResort                  // likewise
	uncovered                   // if weaker facts say that it is healthy
	up
	down
	asJudged // up or down, by the verdict
)

// precedence is what decides an endpoint: the strongest fact that holds decides
// whether it answers, the strongest that says up or down how healthy it is.
var precedence = [...]struct {
	by Decider
	outcome
}{
	isBrokenDown:      {ByBreakGlass, neverAnswers},
	isForcedDown:      {ByForceDown, neverAnswers},
	isBrokenDrained:   {ByBreakGlass, lastResort},
	isBrokenUp:        {ByBreakGlass, up},
	isBrokenUndrained: {ByBreakGlass, uncovered},
	isDrained:         {ByDrain, lastResort},
	isForcedUp:        {ByForceUp, up},
	isUnchecked:       {ByNoCheck, up},
	isOpened:          {ByFailOpen, up},
	isHeld:            {ByGuardHold, asJudged},
	isHealthy:         {ByVerdict, up},
	isUnhealthy:       {ByVerdict, down},
	isTrusted:         {ByNeverJudged, up},
	isAnything:        {ByNeverJudged, down},
}

// facts is a set of them.
type facts uint32

func (s *facts) add(f fact) { *s |= 1 << f }

const (
	byBreakGlass facts = 1<<isBrokenDown | 1<<isBrokenDrained | 1<<isBrokenUp
	// What break-glass sets aside: its force-up a force-down, too.
	bySoftControl facts = 1<<isDrained | 1<<isForcedUp
)

// Effective combines what is measured of an endpoint and the overrides that
// hold it, in any order:
//
//	break-glass > force-down > drain > force-up > guard hold > verdict
//
//	what holds                       healthy              answers
//	break-glass                      as its action says below; what the control
//	                                 plane says of the endpoint does not count, but
//	                                 for a force-down, which only a force-up lifts
//	force-down                       as the rows below    never
//	break-glass undrain              as the rows below    if healthy; no drain of
//	                                 the control plane counts, all else does
//	drain                            as the rows below    as the last resort
//	force-up                         yes                  yes
//	no health check                  yes                  yes
//	fail-open, verdict UNHEALTHY     yes                  yes
//	guard hold                       as the held verdict  if healthy
//	verdict HEALTHY                  yes                  yes
//	verdict UNHEALTHY                no                   no
//	never judged                     as the service says  if healthy
//
// The undrain of break-glass is the weakest of its actions, and under a
// force-down it changes nothing. A force-up under a drain makes the endpoint
// healthy for when it is the last resort. Of several overrides with the action
// that decides, the one with the least id is named.
func Effective(m Measured, overrides []*Override) Effect {
	hold := m.facts()
	for _, o := range overrides {
		hold.add(o.fact())
	}
	if hold&byBreakGlass != 0 {
		hold &^= bySoftControl
	}
	if hold&(1<<isBrokenUp) != 0 {
		hold &^= 1 << isForcedDown
	}
	if hold&(1<<isBrokenUndrained) != 0 {
		hold &^= 1 << isDrained
	}
	strongest := fact(bits.TrailingZeros32(uint32(hold)))
	e := Effect{By: precedence[strongest].by}
	for {
		row := &precedence[bits.TrailingZeros32(uint32(hold))]
		hold &= hold - 1
		switch row.outcome {
		case neverAnswers:
			e.ForcedDown = true
			continue
		case lastResort:
			e.Drained = true
			continue
		case uncovered:
			continue
		case up:
			e.Healthy = true
		case asJudged:
			e.Healthy = m.Verdict == Healthy
		}
		e.HealthBy = row.by
		break
	}
	for _, o := range overrides {
		if strongest < isUnchecked && o.fact() == strongest && (e.Override == nil || o.ID < e.Override.ID) {
			e.Override = o
		}
	}
	return e
}

// facts returns what holds without overrides; isAnything, which says down,
// always does.
func (m *Measured) facts() facts {
	hold := facts(1 << isAnything)
	if !m.Checked {
		hold.add(isUnchecked)
	}
	switch m.Verdict {
	case Healthy:
		hold.add(isHealthy)
	case Unhealthy:
		hold.add(isUnhealthy)
		if m.FailOpen {
			hold.add(isOpened)
		}
	}
	if m.GuardHeld && m.Verdict != Unknown {
		hold.add(isHeld)
	}
	if m.NeverJudged == Healthy {
		hold.add(isTrusted)
	}
	return hold
}

func (o *Override) fact() fact {
	return [...][4]fact{
		ControlPlane: {ForceUp: isForcedUp, Drain: isDrained, ForceDown: isForcedDown, Undrain: isAnything},
		BreakGlass:   {ForceUp: isBrokenUp, Drain: isBrokenDrained, ForceDown: isBrokenDown, Undrain: isBrokenUndrained},
	}[o.Origin][o.Action]
}
