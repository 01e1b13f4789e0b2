package steer

import (
	"fmt"
	"strings"

	"github.com/fairlead-dns/fairlead/regions"
)

// words puts a selection into words.
type words struct {
	view    *View
	service *regions.Service
	sv      *serviceView
	family  regions.Family
	sel     *Selection
	// passed: the region that answers ranks before the one in hand; bypassed:
	// a region before that could answer for this family alone.
	passed, bypassed bool
}

// counts is a region's endpoints of a family by their state, and anyFamily
// those of both.
type counts struct {
	healthy, unhealthy, drained, drainedUnhealthy, forcedDown, total, anyFamily int
}

func (n *counts) add(e regions.Effect) {
	n.total++
	switch {
	case e.ForcedDown:
		n.forcedDown++
	case e.Drained && e.Healthy:
		n.drained++
	case e.Drained:
		n.drainedUnhealthy++
	case e.Healthy:
		n.healthy++
	default:
		n.unhealthy++
	}
}

// String lists what there is, as "2 healthy, 1 drained".
func (n *counts) String() string {
	var parts []string
	for _, c := range [...]struct {
		n    int
		what string
	}{
		{n.healthy, "healthy"}, {n.unhealthy, "unhealthy"}, {n.drained, "drained"},
		{n.drainedUnhealthy, "drained and unhealthy"}, {n.forcedDown, "forced down"},
	} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	return strings.Join(parts, ", ")
}

func (w *words) name(region int32) string { return w.view.Plan.Regions[region].Name }

// noun is what the service has in a region.
func (w *words) noun() string {
	if w.service.Names {
		return "endpoint"
	}
	return w.family.String() + " address"
}

// reason says of a region why it does or does not answer.
func (w *words) reason(region uint16, n *counts) string {
	why := ""
	switch {
	case n.anyFamily == 0:
		return "the service has no endpoint here"
	case n.total == 0:
		return "the service has no " + w.noun() + " here"
	case w.sel.Region == int32(region):
		why = w.selected()
	case w.sv.family[w.family].regions.has(region):
		why = w.standsBy()
	case n.forcedDown == n.total:
		return "forced down"
	case n.drained == n.total:
		return "drained"
	case !w.view.within[w.service.Policy].has(region):
		why = "not a region of the steering policy"
	case n.healthy+n.unhealthy == 0:
		why = "drained"
	case n.healthy == 0:
		why = "out of service"
	default:
		why = fmt.Sprintf("out of service, below the %d %% healthy that the policy wants", w.view.Plan.Policies[w.service.Policy].MinHealthyPercent)
	}
	return why + " (" + n.String() + ")"
}

// selected says why the region that answers was taken.
func (w *words) selected() string {
	first := "first of the ranking"
	if w.bypassed {
		return "chosen by IPv4 and IPv6 together"
	}
	if w.sel.Preferred != w.sel.Region {
		first = "next of the ranking after " + w.name(w.sel.Preferred)
	}
	switch w.sel.Rung {
	case InService:
		return first + " that is in service"
	case HealthyAnywhere:
		return first + " with a healthy " + w.noun() + ", as no region has its share"
	case DrainedHealthy:
		return first + " that is healthy, though drained"
	case AllDownKeepLast:
		return first + " of those that went down last"
	default:
		return first + ", as nothing is healthy"
	}
}

// standsBy says why a region that could answer does not.
func (w *words) standsBy() string {
	state := "in service"
	if w.sv.family[w.family].rung != InService {
		state = "could answer"
	}
	switch {
	case w.passed:
		return state + ", farther down the ranking"
	case w.sel.Preferred >= 0:
		return state + ", but IPv4 and IPv6 together chose " + w.name(w.sel.Preferred)
	default:
		return state
	}
}

// summary says it in a sentence or two.
func (w *words) summary(list []RegionReason) string {
	sel := w.sel
	switch sel.Rung {
	case None:
		return w.nothing()
	case AllDownFallback:
		return "No " + w.noun() + " is healthy: the service's fallback answers."
	}
	var b strings.Builder
	at := w.name(sel.Region)
	switch sel.Rung {
	case InService:
		b.WriteString(at + " answers")
	case HealthyAnywhere:
		b.WriteString("No region has its share of healthy endpoints: what is healthy in " + at + " answers")
	case DrainedHealthy:
		b.WriteString("Nothing undrained is healthy: " + at + " answers although it is drained")
	case AllDownKeepLast:
		b.WriteString("No " + w.noun() + " is healthy: " + at + " answers with what went down last (keep-last)")
	default:
		b.WriteString("No " + w.noun() + " is healthy: " + at + " answers as if all were (serve-all)")
	}
	if sel.Preferred != sel.Region {
		fmt.Fprintf(&b, " for %s, as %s, which IPv4 and IPv6 together chose, %s", w.family, w.name(sel.Preferred), w.lacks(uint16(sel.Preferred)))
	}
	var before []string
	for _, r := range list {
		if r.Selected {
			break
		}
		if len(r.Endpoints) > 0 && int32(r.Region) != sel.Preferred {
			before = append(before, w.name(int32(r.Region))+", "+r.Reason)
		}
	}
	b.WriteString(".")
	if len(before) > 0 {
		b.WriteString(" Before it in the ranking: " + strings.Join(before, "; ") + ".")
	}
	return b.String()
}

// lacks says why a family does not answer from the preferred region.
func (w *words) lacks(region uint16) string {
	if !w.sv.configured[w.family].has(region) {
		return "has no " + w.noun()
	}
	return "has no " + w.noun() + " in service"
}

// nothing says why there is no answer.
func (w *words) nothing() string {
	switch {
	case w.sel.Preferred >= 0:
		return fmt.Sprintf("NODATA: the client is sent to %s, where the service has no %s.", w.name(w.sel.Preferred), w.noun())
	case w.sv.configured[w.family].empty():
		return "NODATA: the service has no " + w.noun() + "."
	default:
		return "NODATA: every " + w.noun() + " is forced down."
	}
}
