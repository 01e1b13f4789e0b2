package steer

import (
	"fmt"

	"github.com/fairlead-dns/fairlead/regions"
)

// endpoint explains one endpoint.
func (w *words) endpoint(i int) EndpointReason {
	v, target := w.view, w.service.Endpoints[i].Target[w.family]
	c := v.counted(w.service, target, w.client)
	er := EndpointReason{
		Endpoint: i, Effect: v.effect(w.service, c, v.overridesOf(nil, w.index, i)),
		State: v.State(target), Counts: c.Standing, Voice: c.voice, Wavers: c.wavers,
	}
	er.Detail = w.detail(&er, &c)
	return er
}

// detail says in words why an endpoint's effective state is what it is: the
// override that decides, if any, and what is measured beside it.
func (w *words) detail(er *EndpointReason, c *counted) string {
	measured := w.measured(er, c)
	o := er.Effect.Override
	if o == nil {
		return measured
	}
	detail := fmt.Sprintf("%s of %s by %s: %s", o.Action, o.Scope, o.Author, o.Reason)
	if o.Origin == regions.BreakGlass {
		detail = o.Origin.String() + " " + detail
	}
	if c.Verdict != regions.Unknown {
		detail += "; measured: " + measured
	}
	return detail
}

const unconfirmed = "confirmed by more than half of the registered regions"

// measured says what is known of an endpoint's health.
func (w *words) measured(er *EndpointReason, c *counted) string {
	if !w.service.Checked {
		return "the service has no health check"
	}
	text := w.standing(c.Standing)
	hold := w.service.Failback.HoldDown
	switch at := settledFrom(&w.service.Failback, c, er.Effect.HealthBy); {
	case er.Effect.HealthBy == regions.ByFailOpen:
		text += ", counts as HEALTHY while verdicts are that old (fail-open)"
	case at.After(w.now) && hold > 0:
		text += " of the " + hold.String() + " hold-down"
	}
	all := er.State
	switch {
	case c.voice == ClientRegion:
		text += " by the vantages in " + w.name(w.client) + ", the client's region; " + w.standing(all.Standing) + " by all"
	case c.voice == Confirmed && all.Verdict != c.Verdict:
		text += "; " + w.standing(all.Standing) + " is not " + unconfirmed
	case c.voice == Quorum && all.Confirmed != nil && all.Confirmed.Verdict != all.Verdict:
		text += ", not " + unconfirmed
	}
	if c.held {
		text += fmt.Sprintf(", held by the mass-withdrawal guard (trip %d; fairlead latch release %s)", all.GuardTrip, regions.GuardLatch)
	}
	if c.wavers {
		text += "; wavering"
	}
	return text
}

// standing says for how long a verdict holds.
func (w *words) standing(s regions.Standing) string {
	switch {
	case s.Verdict == regions.Unknown:
		return "no verdict was ever passed"
	case s.Since.IsZero():
		return s.Verdict.String()
	default:
		return s.Verdict.String() + " for " + w.held(s.Since)
	}
}
