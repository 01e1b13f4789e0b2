package steer

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
)

// words puts a selection into words.
type words struct {
	view    *View
	index   int32
	service *regions.Service
	sv      *serviceView
	family  regions.Family
	sel     *Selection
	now     time.Time
	// client is the client's region if its vantages see something else than all
	// do together, and bucket its part of ramps.
	client int32
	bucket int
	// open holds the regions that could answer this client, by family alone.
	open  regionSet
	ready *[regions.MaxRegions]readiness
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

// region explains a region with its endpoints.
func (w *words) region(region uint16) RegionReason {
	st := &w.sv.family[w.family]
	rr := RegionReason{
		Region:    region,
		InService: st.rung == InService && st.regions.has(region),
		Selected:  w.sel.Region == int32(region),
	}
	var n counts
	for i := range w.service.Endpoints {
		if w.service.Endpoints[i].Region != region {
			continue
		}
		n.anyFamily++
		if !w.service.Endpoints[i].Has(w.family) {
			continue
		}
		er := w.endpoint(i)
		er.Answers = rr.Selected && slices.ContainsFunc(w.sel.group.members, func(m member) bool { return int(m.endpoint) == i })
		n.add(er.Effect)
		rr.Endpoints = append(rr.Endpoints, er)
	}
	rr.Reason = w.reason(region, &n)
	return rr
}

// reason says of a region why it does or does not answer.
func (w *words) reason(region uint16, n *counts) string {
	why := ""
	switch r := &w.ready[region]; {
	case n.anyFamily == 0:
		return "the service has no endpoint here"
	case n.total == 0:
		return "the service has no " + w.noun() + " here"
	case w.sel.Region == int32(region):
		why = w.selected()
	case w.sv.family[w.family].regions.has(region):
		why = w.standsBy(region)
	case n.forcedDown == n.total:
		return "forced down"
	case n.drained == n.total:
		return "drained"
	case !w.view.within[w.service.Policy].has(region):
		why = "not a region of the steering policy"
	case n.healthy+n.unhealthy == 0:
		why = "drained"
	case n.healthy == 0 || r.enough:
		why = "out of service"
	default:
		why = fmt.Sprintf("out of service, below the %d %% healthy that the policy wants", w.view.Plan.Policies[w.service.Policy].MinHealthyPercent)
	}
	return why + " (" + n.String() + ")" + w.returning(region)
}

// returning says how far a region is on its way back.
func (w *words) returning(region uint16) string {
	switch r := &w.ready[region]; {
	case r.latched:
		return "; waits for a release: fairlead latch release " + regions.FailbackLatch(w.service.Name, w.name(int32(region)))
	case r.enough && !r.in:
		return "; healthy for " + w.held(r.from.Add(-w.service.Failback.HoldDown)) + " of the " + w.service.Failback.HoldDown.String() + " hold-down"
	}
	ramp, in := w.ramp(region)
	if ramp.Step == 0 {
		return ""
	}
	client := "out"
	if in {
		client = "in"
	}
	return fmt.Sprintf("; ramp step %d of %d, %d %% of clients: this client is %s", ramp.Step, ramp.Steps, ramp.Percent, client)
}

// ramp returns the ramp that decides of this client and a region, if one does:
// of the family, or of both families together.
func (w *words) ramp(region uint16) (ramp rampState, in bool) {
	if w.sv.ramps == nil {
		return rampState{}, true
	}
	lists := [][]ramping{w.sv.ramps.family[w.family]}
	if !w.service.Independent {
		lists = append(lists, w.sv.ramps.joint)
	}
	for _, list := range lists {
		for i := range list {
			if p := list[i].ramp.Percent; list[i].region == region && (ramp.Step == 0 || p < ramp.Percent) {
				ramp = list[i].ramp
			}
		}
	}
	return ramp, ramp.Step == 0 || w.bucket < ramp.Percent
}

// held is for how long something holds.
func (w *words) held(since time.Time) string {
	return max(w.now.Sub(since), 0).Truncate(time.Second).String()
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
		return first + " with a healthy " + w.noun() + ", as no region is in service"
	case DrainedHealthy:
		return first + " that is healthy, though drained"
	case AllDownKeepLast:
		return first + " of those that went down last"
	default:
		return first + ", as nothing is healthy"
	}
}

// standsBy says why a region that could answer does not.
func (w *words) standsBy(region uint16) string {
	state := "in service"
	if w.sv.family[w.family].rung != InService {
		state = "could answer"
	}
	_, in := w.ramp(region)
	switch {
	case w.passed:
		return state + ", farther down the ranking"
	case !in:
		return state + ", not for all clients yet"
	case w.sel.Preferred >= 0:
		return state + ", but IPv4 and IPv6 together chose " + w.name(w.sel.Preferred)
	default:
		return state
	}
}

// lacks says why a family does not answer from the preferred region.
func (w *words) lacks(region uint16) string {
	switch {
	case !w.sv.configured[w.family].has(region):
		return "has no " + w.noun()
	case w.sv.family[w.family].regions.has(region):
		return "has no " + w.noun() + " for this client yet"
	default:
		return "has no " + w.noun() + " in service"
	}
}
