package verdicts

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

// latched prints the latches that stand, as "s/a:1".
func (tr *trial) latched() string {
	var words []string
	for _, l := range tr.j.State().Latches {
		words = append(words, fmt.Sprintf("%s/%s:%d", l.Service, l.Region, l.Trip))
	}
	return strings.Join(words, " ")
}

func (tr *trial) wantLatched(want string) {
	tr.Helper()
	if got := tr.latched(); got != want {
		tr.Fatalf("latches %q, want %q; %s", got, want, tr.show())
	}
}

// group is a latch group over the targets of a region.
func (tr *trial) group(service, region string, targets ...[2]string) *LatchGroup {
	tr.plan.Latches = append(tr.plan.Latches, LatchGroup{Service: service, Region: region, Targets: targets})
	return &tr.plan.Latches[len(tr.plan.Latches)-1]
}

// latchTrial has a service s with regions a and b, and three vantage regions.
func latchTrial(t fataler) *trial {
	tr := newTrial(t, "a1 b1 c1", "a1 a2 b1")
	tr.group("s", "a", [2]string{"a1"}, [2]string{"a2"})
	tr.group("s", "b", [2]string{"b1"})
	tr.replan()
	tr.pass(tr.seedWait)
	return tr
}

func TestLatch(t *testing.T) {
	tr := latchTrial(t)
	tr.wantLatched("")
	tr.says("a1 b1 c1", "*=H")
	tr.says("a1 b1 c1", "a1=U")
	tr.wantLatched("") // one is left
	tr.says("a1 b1 c1", "a2=U")
	tr.wantLatched("s/a:1")
	tr.wantTold("latch-tripped")
	if l := tr.j.State().Latches[0]; !l.Since.Equal(tr.now) || l.Name() != "failback/s/a" {
		t.Errorf("%+v", l)
	}
	// It waits, whatever the verdicts do.
	tr.says("a1 b1 c1", "a*=H")
	tr.pass(time.Hour)
	tr.wantLatched("s/a:1")
	tr.says("a1 b1 c1", "a*=U")
	tr.wantLatched("s/a:1")
	tr.says("a1 b1 c1", "a*=H")
	tr.wantTold("")
	// An operator releases it.
	tr.release("failback/s/a", 1)
	tr.wantLatched("")
	tr.wantTold("latch-released")
	tr.says("a1 b1 c1", "a*=U")
	tr.wantLatched("s/a:2")
	tr.wantTold("latch-tripped")
	// Released while it is out still: it waits for the next release.
	tr.release("failback/s/a", 2)
	tr.wantLatched("s/a:3")
	tr.wantTold("latch-released latch-tripped")
	// A release of what is not there yet changes nothing for others.
	tr.release("failback/s/b", 1)
	tr.wantLatched("s/a:3")
	// The service's failback is automatic now.
	tr.plan.Latches = tr.plan.Latches[1:]
	tr.replan()
	tr.wantLatched("")
}

// What a controller judges from nothing trips no latch before it could be told
// what was before; what is true still then does, though nothing is said.
func TestLatchWaitsForSeeds(t *testing.T) {
	tr := newTrial(t, "a1 b1 c1", "a1 b1")
	tr.group("s", "a", [2]string{"a1"})
	tr.group("s", "b", [2]string{"b1"})
	tr.replan()
	tr.says("a1 b1 c1", "*=U")
	tr.wantLatched("")
	tr.says("a1 b1 c1", "b1=H")
	tr.pass(tr.seedWait - time.Millisecond)
	tr.wantLatched("")
	if next := tr.next(tr.now); !next.Equal(tr.now.Add(time.Millisecond)) {
		t.Errorf("it looks again at %s, now is %s", next, tr.now)
	}
	tr.pass(time.Millisecond)
	tr.wantLatched("s/a:1")
}

func TestLatchFollowsThePolicy(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*LatchGroup)
		happen func(*trial)
		want   string
	}{
		"a share": {
			func(g *LatchGroup) { g.MinHealthyPercent = 60 },
			func(tr *trial) { tr.says("a1 b1", "a1=U") }, "s/a:1",
		},
		"a share that is left": {
			func(g *LatchGroup) { g.MinHealthyPercent = 50 },
			func(tr *trial) { tr.says("a1 b1", "a1=U") }, "",
		},
		"not confirmed, active-active": {
			func(*LatchGroup) {},
			func(tr *trial) { tr.silence("b1"); tr.says("a1", "a*=U") }, "s/a:1",
		},
		"not confirmed, active-passive": {
			func(g *LatchGroup) { g.Confirmed = true },
			func(tr *trial) { tr.silence("b1"); tr.says("a1", "a*=U") }, "",
		},
		"confirmed later, active-passive": {
			func(g *LatchGroup) { g.Confirmed = true },
			func(tr *trial) {
				tr.silence("b1")
				tr.says("a1", "a*=U")
				tr.opinions["b1"]["a1"], tr.opinions["b1"]["a2"] = "U", "U"
				tr.speaks("b1")
			}, "s/a:1",
		},
		"one family of two, together": {
			func(g *LatchGroup) { g.Targets = [][2]string{{"a1", "a2"}} },
			func(tr *trial) { tr.says("a1 b1", "a2=U") }, "",
		},
		"one family of two, independent": {
			func(g *LatchGroup) { g.Targets, g.Independent = [][2]string{{"a1", "a2"}}, true },
			func(tr *trial) { tr.says("a1 b1", "a2=U") }, "s/a:1",
		},
		"both families": {
			func(g *LatchGroup) { g.Targets = [][2]string{{"a1", "a2"}} },
			func(tr *trial) { tr.says("a1 b1", "a*=U") }, "s/a:1",
		},
		"never judged": {
			func(*LatchGroup) {},
			func(tr *trial) { tr.says("a1 b1", "a*=?") }, "",
		},
		"held by the guard": {
			func(*LatchGroup) {},
			func(tr *trial) { tr.silence("b1"); tr.says("a1", "*=U") }, "",
		},
		"a target that is not there": {
			func(g *LatchGroup) { g.Targets = [][2]string{{"elsewhere"}} },
			func(tr *trial) { tr.says("a1 b1", "*=U") }, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTrial(t, "a1 b1", "a1 a2 b1 b2")
			tc.change(tr.group("s", "a", [2]string{"a1"}, [2]string{"a2"}))
			tr.replan()
			if name != "never judged" {
				tr.says("a1 b1", "*=H")
			}
			tr.pass(time.Minute)
			tc.happen(tr)
			tr.wantLatched(tc.want)
		})
	}
}

func TestLatchSeeds(t *testing.T) {
	seed := func(tr *trial, ls ...*pb.Latch) {
		tr.tally.seed(parseSeeds(SeedTable{Age: 365 * 24 * time.Hour, Latches: &pb.LatchTable{Latches: ls}}, tr.now), tr.now)
		tr.settle()
	}
	tr := latchTrial(t)
	tr.says("a1 b1 c1", "*=H")
	later := &pb.Latch{Service: "later", Region: "a", Trip: 1}
	seed(tr, &pb.Latch{Service: "s", Region: "a", Trip: 4, HeldMillis: 60_000}, later)
	tr.wantLatched("s/a:4")
	seed(tr, &pb.Latch{Service: "s", Region: "a", Trip: 2}, &pb.Latch{Service: "s", Region: "a", Trip: 4})
	tr.wantLatched("s/a:4")
	if held := tr.now.Sub(tr.j.State().Latches[0].Since); held != time.Minute {
		t.Errorf("it has stood for %s, want 1m", held)
	}
	// The plan catches up, and it is told again.
	tr.group("later", "a", [2]string{"a1"})
	tr.replan()
	tr.wantLatched("s/a:4")
	seed(tr, later)
	tr.wantLatched("later/a:1 s/a:4")
	tr.release("failback/s/a", 4)
	tr.wantLatched("later/a:1")
	// Whoever has not heard of the release tells of it in vain.
	seed(tr, &pb.Latch{Service: "s", Region: "a", Trip: 4})
	tr.wantLatched("later/a:1")
	seed(tr, &pb.Latch{Service: "s", Region: "a", Trip: 5})
	tr.wantLatched("later/a:1 s/a:5")
	// What is told of nothing is bounded.
	var many []*pb.Latch
	for i := range maxUnplaced + 10 {
		many = append(many, &pb.Latch{Service: fmt.Sprint("x", i), Region: "a", Trip: 1})
	}
	seed(tr, many...)
	if n := len(tr.tally.latches.unplaced); n > 0 {
		t.Errorf("%d latches wait for a plan though it is there", n)
	}
	early := newTrial(t, "a1 b1 c1", "a1")
	seed(early, many...)
	if n := len(early.tally.latches.unplaced); n != maxUnplaced {
		t.Errorf("%d latches wait for a plan, want %d", n, maxUnplaced)
	}
	early.group("x7", "a", [2]string{"a1"})
	early.replan()
	early.wantLatched("x7/a:1")
	early.says("a1 b1 c1", "*=H")
	if n := len(early.tally.latches.unplaced); n > 0 {
		t.Errorf("%d latches still wait when it is ready", n)
	}
}

// Two controllers that hear the same, tell each other what they have in any
// order and are told of the same releases have the same latches.
func TestLatchesConverge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		both := []*trial{latchTrial(t), latchTrial(t)}
		for _, tr := range both {
			tr.says("a1 b1 c1", "*=H")
		}
		word := func() string {
			return rapid.SampledFrom([]string{"a*=U", "a*=H", "b1=U", "b1=H", "a1=U"}).Draw(t, "word")
		}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			tr := both[rapid.IntRange(0, 1).Draw(t, "who")]
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1: // one of them hears it
				tr.says("a1 b1 c1", word())
			case 2: // a nameserver that follows the one subscribes to the other
				other := both[0]
				if other == tr {
					other = both[1]
				}
				s := seedsOf(other.j.State(), other.now)
				tr.tally.seed(parseSeeds(SeedTable{Latches: s.Latches}, tr.now), tr.now)
				tr.settle()
			case 3: // an operator releases what he sees there
				for _, l := range tr.j.State().Latches {
					tr.release(l.Name(), l.Trip)
				}
			}
		}
		// In the end both hear the same, have the same plan, and tell each other.
		last := word()
		releases := map[string]uint64{}
		for _, tr := range both {
			tr.says("a1 b1 c1", "*=H")
			for name, trip := range tr.plan.Releases {
				releases[name] = max(releases[name], trip)
			}
		}
		for _, tr := range both {
			for name, trip := range releases {
				tr.release(name, trip)
			}
			tr.says("a1 b1 c1", last)
		}
		for range 2 {
			for i, tr := range both {
				s := seedsOf(both[1-i].j.State(), both[1-i].now)
				tr.tally.seed(parseSeeds(SeedTable{Latches: s.Latches}, tr.now), tr.now)
				tr.settle()
			}
		}
		if a, b := both[0].latched(), both[1].latched(); a != b {
			t.Fatalf("%q and %q", a, b)
		}
		for _, l := range both[0].j.State().Latches {
			if l.Trip <= releases[regions.FailbackLatch(l.Service, l.Region)] {
				t.Fatalf("%+v stands though it was released", l)
			}
		}
	})
}
