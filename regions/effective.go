package regions

// Decider names what decided an endpoint's effective state.
type Decider uint8

// The deciders.
const (
	ByVerdict Decider = iota
	ByNoCheck
	ByNeverJudged
	ByForceUp
	ByDrain
	ByForceDown
)

func (d Decider) String() string {
	return [...]string{"verdict", "no-check", "never-judged", "force-up", "drain", "force-down"}[d]
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

// Effective combines an endpoint's verdict and the overrides that hold it, in
// any order:
//
//	force-down > drain > force-up > verdict
//
//	checked  verdict    overrides         healthy             answers
//	no       —          none              yes (no-check)      yes
//	yes      HEALTHY    none              yes (verdict)       yes
//	yes      UNHEALTHY  none              no  (verdict)       no
//	yes      UNKNOWN    none              as the service says of the never judged
//	any      any        force-up          yes (force-up)      yes
//	any      any        drain             as without drain    as the last resort
//	any      any        force-down        as without          never
//
// The verdict is the last one that was HEALTHY or UNHEALTHY: an UNKNOWN
// quorum keeps it, so UNKNOWN here means that no verdict was ever passed. Of
// several overrides with the action that decides, the one with the least id
// is named.
func Effective(checked bool, verdict, neverJudged Status, overrides []*Override) Effect {
	var e Effect
	switch {
	case !checked:
		e.Healthy, e.HealthBy = true, ByNoCheck
	case verdict == Unknown:
		e.Healthy, e.HealthBy = neverJudged == Healthy, ByNeverJudged
	default:
		e.Healthy, e.HealthBy = verdict == Healthy, ByVerdict
	}
	e.By = e.HealthBy
	var decides *Override
	for _, o := range overrides {
		switch o.Action {
		case ForceUp:
			e.Healthy, e.HealthBy = true, ByForceUp
		case Drain:
			e.Drained = true
		case ForceDown:
			e.ForcedDown = true
		}
		if decides == nil || o.Action > decides.Action || o.Action == decides.Action && o.ID < decides.ID {
			decides = o
		}
	}
	if decides != nil {
		e.Override = decides
		e.By = [...]Decider{ForceUp: ByForceUp, Drain: ByDrain, ForceDown: ByForceDown}[decides.Action]
	}
	return e
}
