package cli

import (
	"fmt"
	"slices"
	"strings"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// fewEndpoints is how many endpoints of a target are named without -o wide.
const fewEndpoints = 3

// printWatched prints one change as a line; with -o wide the evidence of a
// verdict is below it.
func printWatched(p *printer, r *pb.WatchResponse) {
	at := moment(r.GetTime())
	switch c := r.GetChange().(type) {
	case *pb.WatchResponse_Generation:
		text, s := generationChange(c.Generation)
		p.linef(s, "%s  %s", at, text)
	case *pb.WatchResponse_Verdict:
		text, s := verdictChange(p, c.Verdict)
		p.linef(s, "%s  %s", at, text)
		if p.wide {
			printEvidence(p, &pb.EndpointExplanation{Health: c.Verdict.GetNow()})
		}
	case *pb.WatchResponse_Member:
		text, s := memberChange(c.Member)
		if why := c.Member.GetAgent().GetIsolated(); why != "" {
			text, s = text+", isolated: "+why, red
		}
		p.linef(s, "%s  %s", at, text)
	case *pb.WatchResponse_Health:
		text, s := healthEvent(c.Health)
		p.linef(s, "%s  %s", at, text)
	}
}

// healthEvent is an event in words. A kind of a newer version speaks for itself.
func healthEvent(e *pb.HealthEvent) (string, style) {
	text := e.GetText()
	release := " (fairlead latch release " + e.GetSubject() + " --reason TEXT)"
	switch e.GetKind() {
	case "vantage-isolated":
		return text, red
	case "vantage-back", "latch-released", "guard-released":
		return text, green
	case "guard-held":
		return "mass-withdrawal guard: " + text + release, alarm
	case "guard-passed":
		return "mass-withdrawal guard: " + text, yellow
	case "latch-tripped":
		return text + release, yellow
	}
	return strings.TrimSpace(e.GetKind() + " " + e.GetSubject() + ": " + text), plain
}

func generationChange(g *pb.GenerationChange) (string, style) {
	text := inGeneration(g.GetGeneration())
	first := generation(g.GetPrevious()).IsZero()
	var parts []string
	if g.GetConfigurationChanged() && !first {
		parts = append(parts, "the configuration changed")
	}
	for _, o := range g.GetOverridesAdded() {
		parts = append(parts, "+ "+overrideWords(o))
	}
	for _, o := range g.GetOverridesRemoved() {
		parts = append(parts, "- "+overrideWords(o))
	}
	s := bold
	if len(g.GetOverridesAdded()) > 0 {
		s = yellow
	}
	if len(parts) == 0 {
		return text, s
	}
	return text + ": " + strings.Join(parts, "; "), s
}

// overrideWords is an override in one phrase: drain of region us-east by
// alice (fibre cut).
func overrideWords(o *pb.Override) string {
	text := word(o.GetAction(), "OVERRIDE_ACTION_") + " of " + scopeWords(o)
	if o.GetAuthor() != "" {
		text += " by " + o.GetAuthor()
	}
	if o.GetReason() != "" {
		text += " (" + o.GetReason() + ")"
	}
	return text
}

func verdictChange(p *printer, v *pb.VerdictChange) (string, style) {
	h := v.GetNow()
	most := fewEndpoints
	if p.wide {
		most = len(v.GetEndpoints())
	}
	what := few(v.GetEndpoints(), most)
	verb := "is"
	switch {
	case what == "":
		what = "target " + h.GetTarget()
	case len(v.GetEndpoints()) > 1:
		verb = "are"
	}
	now := verdictWord(h.GetVerdict())
	var text string
	switch before := v.GetBefore(); {
	case before == pb.HealthStatus_HEALTH_STATUS_UNSPECIFIED && h.GetVerdict() == pb.HealthStatus_HEALTH_STATUS_UNKNOWN:
		text = fmt.Sprintf("%s %s not judged yet", what, verb)
	case before == pb.HealthStatus_HEALTH_STATUS_UNSPECIFIED:
		text = fmt.Sprintf("%s %s %s for %s", what, verb, now, millis(h.GetHeldMillis()))
	case before != h.GetVerdict():
		text = fmt.Sprintf("%s %s %s, before %s", what, verb, now, verdictWord(before))
	case h.GetQuorum() == h.GetVerdict():
		text = fmt.Sprintf("%s %s still %s, and the quorum says so again", what, verb, now)
	default:
		text = fmt.Sprintf("%s %s still %s, though the quorum is %s now", what, verb, now, verdictWord(h.GetQuorum()))
		if h.GetGuardTrip() != 0 {
			text = fmt.Sprintf("%s %s still %s: the quorum is %s now", what, verb, now, verdictWord(h.GetQuorum())) + guardHolds(h)
		}
	}
	if c := h.GetConfirmed(); c != nil && c.GetVerdict() != h.GetVerdict() {
		text += fmt.Sprintf("; not confirmed by more than half of the regions, so active-passive services take it for %s", verdictWord(c.GetVerdict()))
	}
	s := plain
	switch h.GetVerdict() {
	case pb.HealthStatus_HEALTH_STATUS_HEALTHY:
		s = green
	case pb.HealthStatus_HEALTH_STATUS_UNHEALTHY:
		s = red
	}
	if evidence := evidence(h); evidence != "" {
		text += "; " + evidence
	}
	return text, s
}

// evidence sums up the votes on a target and what the first one that agrees
// with the verdict saw.
func evidence(h *pb.TargetHealth) string {
	votes := tally(h)
	if votes == "" {
		return ""
	}
	text := h.GetTarget() + ": " + votes
	i := slices.IndexFunc(h.GetVotes(), func(v *pb.Vote) bool {
		return v.GetCounted() && v.GetReason() != "" && v.GetStatus() == h.GetVerdict()
	})
	if i >= 0 {
		text += fmt.Sprintf(" (%s: %s)", h.GetVotes()[i].GetAgent(), h.GetVotes()[i].GetReason())
	}
	return text
}

// memberKey is which member a change is about, and what of it is worth a line. Of
// isolation there are events.
func memberKey(m *pb.MemberChange) (key, state string) {
	text, _ := memberChange(m)
	if g := m.GetAgent(); g != nil {
		return "agent/" + g.GetAgent(), text
	}
	return "nameserver/" + m.GetNameserver().GetNameserver(), text
}

func memberChange(m *pb.MemberChange) (string, style) {
	of := func(region string) string {
		if region == "" {
			return ""
		}
		return " of region " + region
	}
	state := func(connected, registered bool) (string, style) {
		switch {
		case !connected:
			return "is not connected", red
		case !registered:
			return "is connected, not registered", yellow
		}
		return "is connected", green
	}
	if g := m.GetAgent(); g != nil {
		text, s := state(g.GetConnected(), g.GetRegistered())
		return "agent " + g.GetAgent() + of(g.GetRegion()) + " " + text, s
	}
	n := m.GetNameserver()
	text, s := state(n.GetConnected(), n.GetRegistered())
	switch gen := generation(n.GetGeneration()); {
	case !n.GetConnected():
	case gen.IsZero():
		text += ", serves nothing yet"
		s = yellow
	default:
		text += ", serves generation " + gen.String()
	}
	if n.GetFollowing() {
		text += ", takes its verdicts from this controller"
	}
	if n.GetConnected() && stale(n) {
		text += ", its verdicts are " + n.GetHealthState()
		s = red
	}
	if n.GetRefusal() != "" {
		text += ", refuses the newest generation: " + n.GetRefusal()
		s = red
	}
	return "nameserver " + n.GetNameserver() + of(n.GetRegion()) + " " + text, s
}
