package steer

import (
	"fmt"
	"strings"
)

// maxWavering bounds the endpoints that a summary names.
const maxWavering = 3

// summary says it in a few sentences.
func (w *words) summary(list []RegionReason) string {
	var b strings.Builder
	if w.view.failOpen {
		b.WriteString("Fail-open: the verdicts are so old that each counts as HEALTHY. ")
	}
	b.WriteString(w.answer(list))
	if w.client != nobody {
		fmt.Fprintf(&b, " What counts is what the vantages in %s see, the client's region.", w.name(w.client))
	}
	if w.sel.Rung != None && w.sel.TTL < w.service.TTL {
		fmt.Fprintf(&b, " The TTL is %d s and not %d s while the evidence on %s wavers.", w.sel.TTL, w.service.TTL, w.wavering())
	}
	return b.String()
}

// wavering names the endpoints that waver, in either family.
func (w *words) wavering() string {
	var names []string
	more := 0
	for i := range w.service.Endpoints {
		wavers := false
		for _, target := range w.service.Endpoints[i].Target {
			wavers = wavers || w.view.counted(w.service, target, w.client).wavers
		}
		if !wavers {
			continue
		}
		if len(names) == maxWavering {
			more++
			continue
		}
		names = append(names, w.service.Endpoints[i].Name)
	}
	text := strings.Join(names, ", ")
	if more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// answer says who answers and why.
func (w *words) answer(list []RegionReason) string {
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
		b.WriteString("No region is in service: what is healthy in " + at + " answers")
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
