package verdicts

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

// world is agents that see targets, and controllers that hear them, each over
// links of its own. It has one clock and no latency.
type world struct {
	fataler
	now         time.Time
	plan        Plan
	agents      map[string]*sawyer
	controllers []*hearing
	names       []string // of the agents
}

// sawyer is an agent: what it sees of each target.
type sawyer struct {
	name     string
	opinions map[string]health.Opinion
	paused   bool
	isolated string
}

// hearing is a controller, and the streams that it has.
type hearing struct {
	*tally
	j       *Judge
	streams map[string]*session
	cut     map[string]bool
	unsent  map[string]map[string]bool // targets whose opinion it has yet to hear, by agent
}

func newWorld(t fataler, agents, targets string) *world {
	tr := newTrial(t, agents, targets) // for its plan
	w := &world{fataler: t, now: tr.now, plan: tr.plan, agents: map[string]*sawyer{}, names: strings.Fields(agents)}
	for _, name := range w.names {
		w.agents[name] = &sawyer{name: name, opinions: map[string]health.Opinion{}}
	}
	return w
}

// start starts a controller.
func (w *world) start(seeds ...SeedTable) *hearing {
	tr := newTrial(w.fataler, "", "")
	h := &hearing{tally: tr.tally, j: tr.j, streams: map[string]*session{}, cut: map[string]bool{}, unsent: map[string]map[string]bool{}}
	h.waitFrom = w.now
	h.planned = false
	w.controllers = append(w.controllers, h)
	h.takePlan(w)
	for _, s := range seeds {
		h.tally.seed(parseSeeds(s, w.now), w.now)
	}
	h.settle(w)
	return h
}

func (h *hearing) takePlan(w *world) {
	p := w.plan
	h.tally.plan(&p, w.now)
}

func (h *hearing) settle(w *world) {
	w.Helper()
	h.tally.settle(w.now)
	h.tally.assign()
	h.tally.events = nil
	h.j.publish()
	if got, want := h.j.State().Digest, healthDigest(h.j.State()); got != want {
		w.Fatalf("digest %s, computed anew %s", got, want)
	}
}

// sees is one observation, or several, of an agent of one target, by which its
// opinion changes.
func (w *world) sees(agent, target string, status regions.Status) {
	a := w.agents[agent]
	op := a.opinions[target]
	switch status {
	case regions.Unknown:
		op = health.Abstain(op, w.now, "abstains")
	default:
		op = health.Step(op, health.Observation{At: w.now, OK: status == regions.Healthy, Reason: status.String()}, health.Thresholds{Rise: 1, Fall: 1})
	}
	a.opinions[target] = op
	for _, h := range w.controllers {
		if h.unsent[agent] == nil {
			h.unsent[agent] = map[string]bool{}
		}
		h.unsent[agent][target] = true
		if !a.paused && !h.cut[agent] && h.sendUnsent(w, a) {
			h.settle(w)
		}
	}
}

// sendUnsent sends what the controller has yet to hear on a stream, if there is one.
func (h *hearing) sendUnsent(w *world, a *sawyer) bool {
	s := h.streams[a.name]
	if s == nil || len(h.unsent[a.name]) == 0 {
		return false
	}
	targets := slices.Sorted(maps.Keys(h.unsent[a.name]))
	delete(h.unsent, a.name)
	h.hear(h.event(s, a.update(w.now, false, targets...), w.now), w.now)
	return true
}

func (a *sawyer) update(now time.Time, full bool, targets ...string) *pb.ReportRequest {
	up := &pb.OpinionUpdate{Full: full}
	for _, t := range targets {
		up.Opinions = append(up.Opinions, healthpb.Opinion(t, a.opinions[t], now))
	}
	return &pb.ReportRequest{Message: &pb.ReportRequest_Opinions{Opinions: up}}
}

// beat lets every agent that can speak to every controller that it reaches;
// streams that are broken are made anew.
func (w *world) beat() {
	for _, h := range w.controllers {
		for _, name := range w.names {
			a := w.agents[name]
			s := h.streams[name]
			if s != nil && len(s.end) > 0 {
				s, h.streams[name] = nil, nil
			}
			if a.paused || h.cut[name] {
				continue
			}
			if s == nil {
				s = sessionOf(&pb.AgentHello{Agent: name, Region: name[:1], Incarnation: 1})
				s.pauses = h.pauses
				h.streams[name] = s
				h.hear(event{session: s, opened: true}, w.now)
				var targets []string
				for t := range a.opinions {
					targets = append(targets, t)
				}
				slices.Sort(targets)
				h.hear(h.event(s, a.update(w.now, true, targets...), w.now), w.now)
				delete(h.unsent, name)
			}
			h.sendUnsent(w, a)
			h.hear(event{session: s, beat: &pb.AgentHeartbeat{Isolated: a.isolated}}, w.now)
		}
		h.settle(w)
	}
}

// pass lets time pass.
func (w *world) pass(d, every time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(min(every, end.Sub(w.now)))
		w.beat()
	}
}

// restart makes a controller stand still for a while and go on.
func (h *hearing) pause(w *world) {
	h.tally.resync(h.pauses+1, w.now.Add(-time.Minute), w.now)
	h.settle(w)
}

// tell gives a controller what another one has, through a nameserver.
func (w *world) tell(from, to *hearing) {
	to.tally.seed(parseSeeds(seedsOf(from.j.State(), w.now), w.now), w.now)
	to.settle(w)
}

// replan changes the plan everywhere.
func (w *world) replan() {
	w.plan.Generation.Revision++
	for _, h := range w.controllers {
		h.takePlan(w)
		h.settle(w)
	}
}

// show prints what a controller makes of everything that can be compared; with or
// without the standings of regions that cannot tell now.
func (h *hearing) show(w *world, certain bool) string {
	var words []string
	s := h.j.State()
	for t := range s.All() {
		words = append(words, fmt.Sprintf("%s=%s/%s/%s guard=%d restored=%t regions=%v wavering=%t", t.ID, letter(t.Quorum), letter(t.Last),
			letter(t.ConfirmedStanding().Verdict), t.Guard, t.Restored, h.regionLetters(w, t, certain), t.Wavering))
	}
	for _, l := range s.Latches {
		words = append(words, fmt.Sprintf("%s:%d", l.Name(), l.Trip))
	}
	return strings.Join(words, "\n")
}

func (h *hearing) regionLetters(w *world, t *Target, certain bool) (out []string) {
	h.view(w.now)
	votes := h.decide(h.table.index.at[t.ID], w.now).ByRegion
	for _, r := range t.Regions {
		if certain && slices.ContainsFunc(votes, func(v health.RegionVote) bool {
			return v.Region == r.Region && v.Status == regions.Unknown
		}) {
			continue
		}
		out = append(out, r.Region+letter(r.Verdict))
	}
	return out
}
