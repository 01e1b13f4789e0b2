package simulation

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fairlead-dns/fairlead/authdns/follow"
	"github.com/fairlead-dns/fairlead/controller/verdicts"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/steer"
)

func compare(a, b string) int { return cmp.Compare(a, b) }

// check looks at every nameserver's answers.
func (s *sim) check() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checkTaken()
	var alike []*nameserver
	for _, n := range s.nameservers {
		if !n.running.Load() {
			continue
		}
		v := n.follower.Serving()
		if v == nil {
			if n.saw.newest != (regions.Generation{}) {
				s.say("invariant 6: %s serves nothing, and has served %s", n.host.name, n.saw.newest)
			}
			continue
		}
		s.answers(n, v)
		s.follows(n)
		s.latchesOf(n.host.name, &n.saw, parseLatches(n), func(name string) uint64 { return v.Plan.Releases[name] })
		alike = append(alike, n)
	}
	for i, n := range alike {
		for _, m := range alike[:i] {
			s.equal(n, m)
		}
	}
}

const (
	// changeOver is how long a nameserver may take to follow a controller that
	// it can follow, after whatever was wrong with it before: connections that
	// hang end after a few seconds.
	changeOver = 9 * time.Second
	// freshEnough is how old its verdicts are then, at most.
	freshEnough = 2 * time.Second
)

// follows checks that a nameserver answers by fresh verdicts whenever there is a
// controller that it can follow. s.mu is held.
func (s *sim) follows(n *nameserver) {
	now := time.Now()
	for _, c := range s.controllers {
		if !s.canFollow(n, c) {
			delete(n.good, c)
			continue
		}
		since, had := n.good[c]
		if !had {
			n.good[c] = now
			continue
		}
		if now.Sub(since) < changeOver {
			continue
		}
		if age, ok := n.follower.HealthAge(now); !ok || age > freshEnough {
			s.say("delivery: %s answers by verdicts that are %s old, and could follow %s for %s", n.host.name, age, c.host.name, now.Sub(since))
		}
	}
}

// canFollow tells whether a controller is there for a nameserver and hears some
// agent.
func (s *sim) canFollow(n *nameserver, c *controller) bool {
	if !c.running.Load() || !c.judge.State().Ready {
		return false
	}
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	if c.host.paused || n.host.paused || !s.net.both(n.host, c.host) {
		return false
	}
	// So many registered regions must be heard that they can decide: of two, one.
	heard := map[string]bool{}
	for _, a := range s.agents {
		if a.running.Load() && !a.host.paused && s.net.both(a.host, c.host) {
			heard[a.region] = true
		}
	}
	need := len(s.world.regions)/2 + 1
	if len(s.world.regions) == 2 {
		need = 1
	}
	return len(heard) >= need
}

// answers checks that health empties no answer (invariant 1) and that nobody is
// sent to a drained region while there is another.
func (s *sim) answers(n *nameserver, v *follow.Serving) {
	var isDrained []int32
	for _, o := range v.Plan.Overrides {
		if r, ok := v.Plan.Region(o.Scope.Region); ok {
			isDrained = append(isDrained, int32(r))
		}
	}
	for i := range v.Plan.Services {
		for r := range s.world.regions {
			sel := v.View.Select(int32(i), regions.V4, client(r, 1), 1, nil)
			if len(sel.Addrs) == 0 {
				s.say("invariant 1: %s has no answer for %s of %s on rung %s", n.host.name, v.Plan.Services[i].Name, client(r, 1), sel.Rung)
			}
			if slices.Contains(isDrained, sel.Region) && sel.Rung < steer.DrainedHealthy {
				s.say("invariant 2: %s sends %s of %s to %s, which is drained, on rung %s", n.host.name, client(r, 1), v.Plan.Services[i].Name, v.Plan.Regions[sel.Region].Name, sel.Rung)
			}
		}
	}
}

// equal checks that two nameservers of the same generation and the same health
// state give the same answers (invariant 5).
func (s *sim) equal(n, m *nameserver) {
	v, w := n.follower.Serving(), m.follower.Serving()
	if v.Plan.Generation != w.Plan.Generation || stateOf(n, v) != stateOf(m, w) {
		return
	}
	for i := range v.Plan.Services {
		svc := &v.Plan.Services[i]
		if svc.Failback.HoldDown > 0 || len(svc.Failback.RampSteps) > 0 {
			continue // they hang on the moment when a verdict came about, too
		}
		for r := range s.world.regions {
			a := v.View.Select(int32(i), regions.V4, client(r, 9), 9, nil)
			b := w.View.Select(int32(i), regions.V4, client(r, 9), 9, nil)
			if a.Rung == steer.AllDownKeepLast {
				continue // likewise
			}
			if !slices.Equal(a.Addrs, b.Addrs) || a.TTL != b.TTL || a.Scope != b.Scope || a.Rung != b.Rung {
				s.say("invariant 5: %s and %s have the same state and answer %s of %s differently: %+v and %+v", n.host.name, m.host.name, client(r, 9), svc.Name, a, b)
			}
		}
	}
}

// state is the health state that a nameserver answers by, but for the times.
type state struct {
	digest   health.Digest
	failOpen bool
}

func stateOf(n *nameserver, v *follow.Serving) state {
	s := state{failOpen: v.View.FailOpen()}
	for i, t := range v.Plan.Targets {
		st := v.View.State(int32(i))
		verdict := health.Verdict{Last: st.Verdict, Confirmed: st.Confirmed, Guard: st.GuardTrip, Wavering: st.Wavering}
		for _, r := range st.Regions {
			verdict.Regions = append(verdict.Regions, health.RegionStanding{Region: v.Plan.Regions[r.Region].Name, Standing: r.Standing})
		}
		health.SortRegions(verdict.Regions)
		s.digest = s.digest.AddVerdict(t.ID, verdict)
	}
	s.digest = s.digest.ReplaceLatches(nil, parseLatches(n))
	return s
}

// missing says what somebody lacks of the truth; "": everybody holds it.
func (s *sim) missing() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	newest := s.newest().Generation
	truth := map[string]regions.Status{}
	for _, t := range s.world.targets {
		truth[t.id] = regions.Unhealthy
		if e := s.endpoints[t.address]; e.up && !e.host.dark {
			truth[t.id] = regions.Healthy
		}
	}
	var states []*verdicts.State
	for _, c := range s.controllers {
		if !c.running.Load() {
			continue
		}
		st := c.judge.State()
		states = append(states, st)
		switch {
		case !st.Ready:
			return c.host.name + " is not ready"
		case st.Generation != newest:
			return fmt.Sprintf("%s judges by %s, want %s", c.host.name, st.Generation, newest)
		case essence(st) != essence(states[0]):
			return fmt.Sprintf("%s and another differ: %s and %s", c.host.name, describe(st), describe(states[0]))
		}
		for t := range st.All() {
			if t.Last != truth[t.ID] {
				return fmt.Sprintf("%s takes %s for %s, want %s (%s)", c.host.name, t.ID, t.Last, truth[t.ID], votes(t))
			}
		}
	}
	for _, n := range s.nameservers {
		if !n.running.Load() {
			continue
		}
		v := n.follower.Serving()
		if v == nil {
			return n.host.name + " serves nothing"
		}
		if v.Plan.Generation != newest {
			return fmt.Sprintf("%s serves %s, want %s", n.host.name, v.Plan.Generation, newest)
		}
		if age, ok := n.follower.HealthAge(time.Now()); !ok || age > 2*time.Second {
			return fmt.Sprintf("%s answers by verdicts that are %s old", n.host.name, age)
		}
		for i := range v.Plan.Targets {
			if st := v.View.State(int32(i)); st.Verdict != truth[v.Plan.Targets[i].ID] {
				return fmt.Sprintf("%s takes %s for %s, want %s", n.host.name, v.Plan.Targets[i].ID, st.Verdict, truth[v.Plan.Targets[i].ID])
			}
		}
		var told pb.Following
		if n.follower.Report(&told); told.GetDivergingTargets() > 0 && !s.lost {
			return fmt.Sprintf("%s says that its controllers differ on %d targets", n.host.name, told.GetDivergingTargets())
		}
		if is, want := latchText(parseLatches(n), v.Plan.Releases), latchText(states[0].Latches, nil); is != want {
			return fmt.Sprintf("%s knows the latches %s, and the controllers %s", n.host.name, is, want)
		}
	}
	return ""
}

// essence is what two controllers that hear the same must agree on, whatever they
// have heard before: what the quorum says, and the digest.
func essence(st *verdicts.State) string {
	var b strings.Builder
	for t := range st.All() {
		fmt.Fprint(&b, t.ID, t.Quorum)
	}
	return b.String() + st.Digest.String()
}

func describe(st *verdicts.State) string {
	var out []string
	for t := range st.All() {
		text := fmt.Sprintf("%s=%s", t.ID, t.Last)
		if t.Restored {
			text += "+restored"
		}
		if t.Wavering {
			text += "+wavering"
		}
		if t.Guard > 0 {
			text += fmt.Sprintf("+guard%d", t.Guard)
		}
		if t.Confirmed != nil {
			text += fmt.Sprintf("+confirmed:%s/%v", t.Confirmed.Verdict, t.Confirmed.Restored)
		}
		for _, r := range t.Regions {
			text += fmt.Sprintf("+%s:%s/%v", r.Region, r.Verdict, r.Restored)
		}
		out = append(out, text)
	}
	return strings.Join(out, " ") + " latches " + latchText(st.Latches, nil)
}

func latchText(ls []regions.Latch, released map[string]uint64) string {
	var out []string
	for _, l := range ls {
		if l.Trip > released[l.Name()] {
			out = append(out, fmt.Sprintf("%s#%d", l.Name(), l.Trip))
		}
	}
	slices.Sort(out)
	return fmt.Sprint(out)
}
