package verdicts

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
)

// worlds are numbers of vantage regions, with agents in each.
var worlds = []string{"a1", "a1 a2", "a1 a2 a3", "a1 b1", "a1 a2 b1", "a1 a2 b1 b2", "a1 b1 c1", "a1 a2 b1 c1 c2", "a1 b1 c1 d1", "a1 b1 c1 d1 e1"}

const worldTargets = "a1 a2 a3 b1 b2 b3 c1 c2"

func genWorld(t *rapid.T) *world {
	w := newWorld(t, rapid.SampledFrom(worlds).Draw(t, "agents"), worldTargets)
	check := &pb.HealthCheckSpec{
		Quorum: rapid.SampledFrom([]pb.QuorumRule{
			pb.QuorumRule_QUORUM_RULE_MAJORITY, pb.QuorumRule_QUORUM_RULE_MAJORITY, pb.QuorumRule_QUORUM_RULE_STRICT,
			pb.QuorumRule_QUORUM_RULE_ANY_HEALTHY, pb.QuorumRule_QUORUM_RULE_AT_LEAST,
		}).Draw(t, "rule"),
		UnhealthyRegions: rapid.Uint32Range(1, 3).Draw(t, "unhealthy regions"),
		Damping:          &pb.FlapDamping{Off: rapid.Bool().Draw(t, "damping off")},
	}
	for i := range w.plan.Assignments {
		w.plan.Assignments[i].Check = check
	}
	for _, region := range []string{"a", "b"} {
		g := LatchGroup{Service: "s", Region: region, Confirmed: rapid.Bool().Draw(t, "active-passive")}
		for _, id := range strings.Fields(worldTargets) {
			if id[:1] == region {
				g.Targets = append(g.Targets, [2]string{id})
			}
		}
		w.plan.Latches = append(w.plan.Latches, g)
	}
	return w
}

// stir lets something happen that all who are linked hear of.
func (w *world) stir(t *rapid.T) {
	agent := rapid.SampledFrom(w.names).Draw(t, "agent")
	a := w.agents[agent]
	targets := strings.Fields(worldTargets)
	say := func(agents []string, from, to int, status regions.Status) {
		for _, name := range agents {
			for _, id := range targets[from:to] {
				w.sees(name, id, status)
			}
		}
	}
	from := rapid.IntRange(0, len(targets)-1).Draw(t, "from")
	to := rapid.IntRange(from+1, len(targets)).Draw(t, "to")
	status := rapid.SampledFrom([]regions.Status{regions.Healthy, regions.Unhealthy, regions.Unhealthy, regions.Unknown}).Draw(t, "status")
	switch rapid.IntRange(0, 9).Draw(t, "event") {
	case 0, 1, 2:
		say([]string{agent}, from, from+1, status)
	case 3:
		say([]string{agent}, from, to, status)
	case 4, 5:
		say(w.names, from, to, status) // it is true
	case 6:
		a.paused = !a.paused
	case 7:
		w.pass(selfEvery, 250*time.Millisecond) // what comes sooner is believed later, by each when it can
		a.isolated = rapid.SampledFrom([]string{"", "", "blind"}).Draw(t, "why")
	default:
		w.pass(time.Duration(rapid.IntRange(1, 40).Draw(t, "seconds"))*time.Second, time.Second)
	}
}

// Two controllers hear the same agents, one of them only since it was started,
// with what a nameserver told it of the other's state before or after the first
// agents reported. From then on they are in the same state, always, but for
// standings of regions that cannot tell: each drops those health.StandsFor after
// it was first kept waiting itself.
func TestALateControllerReachesTheSameState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := genWorld(t)
		one := w.start()
		w.pass(10*time.Second, time.Second)
		for range rapid.IntRange(0, 15).Draw(t, "before") {
			w.stir(t)
		}
		// What the first one knows is settled: nobody is about to be missed, and it
		// was not just now that a held target recovered.
		w.pass(easeFor+time.Second, time.Second)
		two := w.start()
		if rapid.Bool().Draw(t, "agents first") {
			w.beat()
			if rapid.Bool().Draw(t, "and a while") {
				w.pass(time.Second, 250*time.Millisecond)
			}
		}
		w.tell(one, two)
		w.pass(two.seedWait+time.Second, 250*time.Millisecond)
		if a, b := one.show(w, true), two.show(w, true); a != b {
			t.Fatalf("when it has started:\n%s\n\n%s", a, b)
		}
		for range rapid.IntRange(0, 15).Draw(t, "after") {
			w.stir(t)
			w.beat()
			w.beat() // whoever must report anew has done so
			if one.j.State().Digest == two.j.State().Digest {
				continue
			}
			if a, b := one.show(w, true), two.show(w, true); a != b {
				t.Fatalf("later:\n%s\n\n%s", a, b)
			}
		}
		w.pass(health.StandsFor, time.Second)
		if a, b := one.j.State(), two.j.State(); a.Digest != b.Digest {
			t.Fatalf("in the end:\n%s\n\n%s", one.show(w, false), two.show(w, false))
		}
	})
}

// Controllers that hear different things for a while, each over its own links,
// come to agree when all hear all again, on whatever the agents agree on, and on
// the latches when they have told each other. Where the agents agree on every
// target, that is to the digest: also of what regions stand for that cannot tell,
// and whatever was restored here and not there.
func TestControllersConverge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := genWorld(t)
		w.start()
		w.start()
		w.beat()
		for _, name := range w.names { // what was never HEALTHY is no loss
			for _, id := range strings.Fields(worldTargets) {
				w.sees(name, id, regions.Healthy)
			}
		}
		w.pass(10*time.Second, time.Second)
		for range rapid.IntRange(0, 20).Draw(t, "steps") {
			h := w.controllers[rapid.IntRange(0, 1).Draw(t, "controller")]
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0, 1:
				name := rapid.SampledFrom(w.names).Draw(t, "link")
				h.cut[name] = !h.cut[name]
			case 2:
				h.pause(w)
			case 3: // an operator releases what he sees here
				w.plan.Releases = mergedReleases(w.plan.Releases, h.j.State())
				w.replan()
			default:
				w.stir(t)
			}
		}
		for _, h := range w.controllers {
			clear(h.cut)
		}
		for _, a := range w.agents {
			a.paused, a.isolated = false, ""
		}
		w.pass(12*time.Minute, 2*time.Second) // damping is over, and all is heard
		for range 2 {
			for i, h := range w.controllers {
				w.tell(w.controllers[1-i], h)
			}
		}
		one, two := w.controllers[0].j.State(), w.controllers[1].j.State()
		if !slices.EqualFunc(one.Latches, two.Latches, func(a, b regions.Latch) bool { return a.Name() == b.Name() && a.Trip == b.Trip }) {
			t.Fatalf("latches %v and %v", one.Latches, two.Latches)
		}
		// Where the agents cannot tell now, each controller keeps its last verdict;
		// and what of it turned within a window counts for the guard there.
		apart, certain := false, true
		for a := range one.All() {
			b, _ := two.Get(a.ID)
			apart = apart || a.Quorum == regions.Unknown && a.Last != b.Last
			certain = certain && a.Quorum != regions.Unknown && confirmsNow(w, a.ID)
		}
		if certain && one.Digest != two.Digest {
			t.Fatalf("digests %s and %s:\n%s\n\n%s", one.Digest, two.Digest, w.controllers[0].show(w, false), w.controllers[1].show(w, false))
		}
		for a := range one.All() {
			b, _ := two.Get(a.ID)
			if a.Quorum != b.Quorum {
				t.Fatalf("%s: the quorum is %s and %s", a.ID, a.Quorum, b.Quorum)
			}
			if a.Quorum == regions.Unknown {
				continue // each keeps its last verdict: seeds tell who starts
			}
			if a.Guard != b.Guard && apart {
				continue
			}
			if a.Last != b.Last || a.Guard != b.Guard {
				t.Fatalf("%s:\n%s\n\n%s", a.ID, w.controllers[0].show(w, false), w.controllers[1].show(w, false))
			}
			if c, d := a.ConfirmedStanding().Verdict, b.ConfirmedStanding().Verdict; c != d && confirmsNow(w, a.ID) {
				t.Fatalf("%s: confirmed %s and %s", a.ID, c, d)
			}
		}
	})
}

func mergedReleases(before map[string]uint64, s *State) map[string]uint64 {
	out := map[string]uint64{}
	for name, trip := range before {
		out[name] = trip
	}
	for _, l := range s.Latches {
		out[l.Name()] = max(out[l.Name()], l.Trip)
	}
	if s.Guard.Trip > 0 {
		out[regions.GuardLatch] = max(out[regions.GuardLatch], s.Guard.Trip)
	}
	return out
}

// confirmsNow tells whether more than half of the regions agree about a target.
func confirmsNow(w *world, target string) bool {
	h := w.controllers[0]
	h.allDirty()
	h.judge(w.now)
	return h.decide(h.table.index.at[target], w.now).Confirmed != regions.Unknown
}
