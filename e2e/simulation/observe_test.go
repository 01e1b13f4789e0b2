package simulation

import (
	"fmt"
	"strings"
	"time"

	"github.com/fairlead-dns/fairlead/authdns/follow"
	"github.com/fairlead-dns/fairlead/controller/verdicts"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

// youngFor is for how long a controller that has just started may take verdicts
// over that others held.
const youngFor = 12 * time.Second

// observed is what was last seen of a process. sim.mu guards it.
type observed struct {
	any       bool
	last      []regions.Status // by target
	confirmed []regions.Status
	standings [][]regions.Status // by target and region
	latches   map[string]uint64  // trips that stand, by name
	// newest is the newest generation that a nameserver has served, over restarts.
	newest regions.Generation
	turns  int
}

func (o *observed) forget(targets int) {
	*o = observed{last: make([]regions.Status, targets), confirmed: make([]regions.Status, targets), standings: make([][]regions.Status, targets), latches: map[string]uint64{}, newest: o.newest, turns: o.turns}
}

func (s *sim) forgetController(c *controller) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for t := range c.saw.last {
		s.held.change(t, c.saw.last[t], regions.Unknown, now)
	}
	c.saw.forget(len(s.world.targets))
}

func (s *sim) forgetNameserver(n *nameserver) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.saw.forget(len(s.world.targets))
}

// judgeSays looks at a state of a controller: every verdict that turns must have
// had a cause (invariants 7, 8 and 10), and what was once judged is never
// forgotten.
func (s *sim) judgeSays(c *controller, st *verdicts.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for i, t := range s.world.targets {
		v, ok := st.Get(t.id)
		if !ok {
			continue
		}
		if was, is := c.saw.last[i], v.Last; is != was {
			s.note("%s: %s %s → %s (%s)", c.host.name, t.id, was, is, votes(v))
			s.held.change(i, was, is, now)
			c.saw.last[i] = is
			n, who := s.causes.regions(i, is, now)
			young := (was == regions.Unknown || now.Sub(c.started) < youngFor) && s.held.recently(i, is, now)
			switch {
			case is == regions.Unknown:
				s.say("invariant 7: %s forgot its verdict on %s, which was %s", c.host.name, t.id, was)
			case n < s.causes.needed() && !young:
				s.say("invariant 7: %s turned %s from %s to %s, for which only the regions %s had cause (%s)", c.host.name, t.id, was, is, who, votes(v))
			}
			if was != regions.Unknown {
				c.saw.turns++
			}
		}
		if was, is := c.saw.confirmed[i], v.ConfirmedStanding().Verdict; is != was {
			c.saw.confirmed[i] = is
			n, who := s.causes.regions(i, is, now)
			young := was == regions.Unknown || now.Sub(c.started) < youngFor
			if is != regions.Unknown && n < s.causes.majority() && !young {
				s.say("invariant 10: %s turned what is confirmed of %s from %s to %s, for which only the regions %s had cause", c.host.name, t.id, was, is, who)
			}
		}
	}
	s.checkStandings(c, st, now)
	s.checkGuard(c, st, now)
	s.checkTrips(c, st, now)
	if d := digestOf(st); d != st.Digest {
		s.say("invariant 5: %s says the digest %s of a state whose digest is %s: %s", c.host.name, st.Digest, d, describe(st))
	}
	s.latchesOf(c.host.name, &c.saw, st.Latches, func(name string) uint64 {
		return c.plans.Current().Plan.Releases[name]
	})
}

// checkStandings checks that where a region stands otherwise than the verdict, its
// own vantages had cause. s.mu is held.
func (s *sim) checkStandings(c *controller, st *verdicts.State, now time.Time) {
	young := now.Sub(c.started) < youngFor
	for i, t := range s.world.targets {
		v, ok := st.Get(t.id)
		if !ok {
			continue
		}
		was := c.saw.standings[i]
		is := make([]regions.Status, len(s.world.regions))
		for k, r := range s.world.regions {
			is[k] = v.In(r).Verdict
			if was == nil || is[k] == was[k] || is[k] == v.Last || young {
				continue
			}
			if _, who := s.causes.regions(i, is[k], now); !strings.Contains(who, r) {
				s.say("invariant 7: %s turned what %s says of %s from %s to %s, for which only the regions %s had cause", c.host.name, r, t.id, was[k], is[k], who)
			}
		}
		c.saw.standings[i] = is
	}
}

// checkGuard checks that nobody takes everything for lost without the word of a
// majority on any of it (invariant 10). s.mu is held.
func (s *sim) checkGuard(c *controller, st *verdicts.State, now time.Time) {
	for i, t := range s.world.targets {
		v, ok := st.Get(t.id)
		if !ok || v.Last != regions.Unhealthy {
			return
		}
		if n, _ := s.causes.regions(i, regions.Unhealthy, now); n >= s.causes.majority() {
			return
		}
	}
	s.say("invariant 10: %s takes every target for lost, none of it confirmed", c.host.name)
}

// checkTrips checks that a latch trips only where its region is lost. s.mu is held.
func (s *sim) checkTrips(c *controller, st *verdicts.State, now time.Time) {
	for _, l := range st.Latches {
		if l.Trip <= s.trips[l.Name()] {
			continue
		}
		s.trips[l.Name()] = l.Trip
		for i, t := range s.world.targets {
			if t.region == l.Region && !s.held.recently(i, regions.Unhealthy, now) {
				s.say("latches: %s trips %s, and nobody takes %s for lost", c.host.name, l.Name(), t.id)
			}
		}
	}
}

// latchesOf checks that latches are monotone at a process: one that stood stands
// still, or is released. s.mu is held.
func (s *sim) latchesOf(who string, o *observed, latches []regions.Latch, released func(string) uint64) {
	now := map[string]uint64{}
	for _, l := range latches {
		now[l.Name()] = l.Trip
	}
	for name, trip := range o.latches {
		if now[name] < trip && released(name) < trip {
			s.say("latches: %s forgot trip %d of %s", who, trip, name)
		}
	}
	for name, trip := range now {
		if trip > o.latches[name] {
			s.note("%s: trip %d of %s", who, trip, name)
		}
	}
	o.latches = now
}

// parseLatches are the latches that a nameserver tells controllers of.
func parseLatches(n *nameserver) []regions.Latch {
	return healthpb.ParseLatches(n.follower.Hello().GetLatches(), time.Now())
}

func votes(v *verdicts.Target) string {
	var out []string
	for _, w := range v.Votes {
		text := w.Agent + "=" + w.CountedAs.String()[:2]
		if w.WhyNot != "" {
			text += "(" + w.WhyNot + ")"
		}
		out = append(out, text)
	}
	if v.Guard > 0 {
		out = append(out, fmt.Sprintf("held under trip %d", v.Guard))
	}
	return strings.Join(out, " ")
}

// published looks at what a nameserver answers from: never an older generation
// (invariant 2), with the overrides that this generation had, and no verdict that
// no controller passed.
func (s *sim) published(n *nameserver, v *follow.Serving) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	gen := v.Plan.Generation
	if gen.Compare(n.saw.newest) < 0 {
		s.say("invariant 2: %s went back from generation %s to %s", n.host.name, n.saw.newest, gen)
	}
	n.saw.newest = gen
	s.overridesOf(n, v)
	first := !n.saw.any
	n.saw.any = true
	for i, t := range s.world.targets {
		at, ok := v.Plan.Target(t.id)
		if !ok {
			continue
		}
		was, is := n.saw.last[i], v.View.State(at).Verdict
		if was == is {
			continue
		}
		n.saw.last[i] = is
		s.note("%s: %s %s → %s", n.host.name, t.id, was, is)
		switch {
		case first: // what it had on its disk
		case is == regions.Unknown:
			s.say("invariant 7: %s forgot the verdict on %s, which was %s", n.host.name, t.id, was)
		default: // the controller's word may be noted a moment later than it is taken
			s.taken = append(s.taken, taken{n, i, is, now})
		}
	}
}

// taken is a verdict that a nameserver took over.
type taken struct {
	by     *nameserver
	target int
	is     regions.Status
	at     time.Time
}

// checkTaken checks that each verdict that a nameserver took over is one that a
// controller passed. s.mu is held.
func (s *sim) checkTaken() {
	for _, k := range s.taken {
		if !s.held.recently(k.target, k.is, k.at) {
			s.say("invariant 7: %s takes %s for %s, which no controller says", k.by.host.name, s.world.targets[k.target].id, k.is)
		}
	}
	s.taken = s.taken[:0]
}

// digestOf is the digest of a state, made anew.
func digestOf(st *verdicts.State) (d health.Digest) {
	for t := range st.All() {
		d = d.AddVerdict(t.ID, t.Verdict)
	}
	return d.ReplaceLatches(nil, st.Latches)
}

// overridesOf checks that what a nameserver serves holds every drain that it has
// served before, until somebody has ended it. s.mu is held.
func (s *sim) overridesOf(n *nameserver, v *follow.Serving) {
	is := map[string]bool{}
	for _, o := range v.Plan.Overrides {
		is[o.ID] = true
	}
	for id, d := range s.drains {
		switch {
		case is[id]:
			d.seen[n] = true
		case d.seen[n] && !d.ended:
			s.say("invariant 2: %s undid the drain %s by generation %s", n.host.name, id, v.Plan.Generation)
		}
	}
}

// drained is a drain in the history. sim.mu guards it.
type drained struct {
	override *pb.Override
	ended    bool
	seen     map[*nameserver]bool // that served it
}
