package probes

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/fairlead-dns/fairlead/probes/check"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func noCheck(*pb.HealthCheckSpec) (check.Check, error) { return newWorld(), nil }

// listOf makes a list as a controller of its own would send it.
func listOf(revision int64, targets ...string) []assigned {
	return newFollow(slog.New(slog.DiscardHandler)).compact(assignments(revision, targets...).GetAssignments())
}

func scheduleFor(agent string) *schedule {
	return newSchedule(agent, start, rand.New(rand.NewPCG(1, 2)))
}

// late is how much after its phase a moment is, at an interval.
func late(j *job, at time.Time, interval time.Duration) time.Duration {
	return (time.Duration(at.UnixNano()) - part(j.phase, interval)) % interval
}

func TestScheduleKeepsPhaseAcrossStandstill(t *testing.T) {
	s := scheduleFor("probe-1")
	s.assign([][]assigned{listOf(1, "t")}, noCheck, start)
	j := s.jobs["t"]
	if spread := j.due.Sub(start); spread < 0 || spread > firstSpread {
		t.Errorf("the first check comes after %s", spread)
	}
	now := j.due
	for i, gap := range []time.Duration{0, 10 * time.Millisecond, 61500 * time.Millisecond, 0, 0} {
		popped, due := s.pop(now.Add(gap))
		if popped != j || !due.Equal(now) || !j.due.After(now) {
			t.Fatalf("%d: popped %v, due %s, next %s", i, popped, due, j.due)
		}
		now = now.Add(gap)
		if l := late(j, j.due, time.Second); l > time.Second/jitter {
			t.Errorf("%d: due %s after its phase", i, l)
		}
		if wait := j.due.Sub(now); wait > time.Second+time.Second/jitter {
			t.Errorf("%d: the next check comes in %s", i, wait)
		}
		if again, _ := s.pop(now); again != nil {
			t.Errorf("%d: what was missed is made up for", i)
		}
		now = j.due
	}
}

// The clock's time of the phases is that of the start; a clock that is set later
// moves nothing, and an agent that restarts goes on in the same phase.
func TestPhaseIsTheSameAfterARestart(t *testing.T) {
	first, second := scheduleFor("probe-1"), newSchedule("probe-1", start.Add(12345*time.Millisecond), rand.New(rand.NewPCG(8, 9)))
	first.assign([][]assigned{listOf(1, "t/10s")}, noCheck, start)
	second.assign([][]assigned{listOf(1, "t/10s")}, noCheck, start.Add(20*time.Second))
	a, b := first.jobs["t"], second.jobs["t"]
	x, y := first.after(a, start.Add(time.Minute)), second.after(b, start.Add(time.Minute))
	if d := x.Sub(y).Abs(); d > 10*time.Second/jitter {
		t.Errorf("checks at %s and %s", x, y)
	}
}

// An agent's checks are spread evenly over the interval, and agents do not come
// to a target together.
func TestPhasesAreSpread(t *testing.T) {
	const n, slots = 4000, 10
	var targets []string
	for i := range n {
		targets = append(targets, fmt.Sprintf("web@192.0.%d.%d/10s", i/256, i%256))
	}
	l := listOf(1, targets...)
	var agents []*schedule
	for i := range 5 {
		s := scheduleFor(fmt.Sprintf("probe-%d", i))
		s.assign([][]assigned{l}, noCheck, start)
		agents = append(agents, s)
	}
	for i, s := range agents {
		var first, later [slots]int
		for _, j := range s.jobs {
			first[slots*j.due.Sub(start)/(firstSpread+1)]++
			later[slots*(s.after(j, start.Add(time.Minute)).Sub(start)%(10*time.Second))/(10*time.Second)]++
		}
		for slot := range slots {
			for what, got := range map[string]int{"first": first[slot], "later": later[slot]} {
				if got < n/slots*8/10 || got > n/slots*12/10 {
					t.Errorf("agent %d: %d of the %s checks are in slot %d of %d", i, got, what, slot, slots)
				}
			}
		}
	}
	// Were they to come together, all of them would.
	together := 0
	for target, j := range agents[0].jobs {
		near := 0
		for _, s := range agents[1:] {
			if d := s.jobs[target].phase - j.phase; d < 1<<60 || -d < 1<<60 { // an eighth of the interval
				near++
			}
		}
		if near == len(agents)-1 {
			together++
		}
	}
	if together > n/1000 {
		t.Errorf("for %d of %d targets all agents come within an eighth of the interval", together, n)
	}
}

// Any sequence of assignments leaves exactly what was assigned last, with every
// job in the queue once and nothing popped before it is due.
func TestScheduleProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := scheduleFor("probe-1")
		now := start
		genTarget := rapid.Custom(func(t *rapid.T) string {
			return fmt.Sprintf("%s:%d/%dms", rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "target"),
				rapid.IntRange(80, 81).Draw(t, "port"), rapid.SampledFrom([]int{100, 1000, 10000}).Draw(t, "interval"))
		})
		for range rapid.IntRange(1, 10).Draw(t, "rounds") {
			var lists [][]assigned
			for range rapid.IntRange(1, 3).Draw(t, "controllers") {
				lists = append(lists, listOf(1, rapid.SliceOfN(genTarget, 0, 8).Draw(t, "targets")...))
			}
			before := map[string]*job{}
			for id, j := range s.jobs {
				j.opinion = health.Opinion{Status: regions.Healthy}
				before[id] = j
			}
			c := s.assign(lists, noCheck, now)
			want := map[string]assigned{}
			for _, a := range slices.Concat(lists...) {
				if _, ok := want[a.target]; !ok {
					want[a.target] = a
				}
			}
			if len(s.jobs) != len(want) || len(s.queue) != len(want) {
				t.Fatalf("%d jobs and %d in the queue, want %d", len(s.jobs), len(s.queue), len(want))
			}
			for id, a := range want {
				j, old := s.jobs[id], before[id]
				if j == nil || j.plan.timing != check.TimingOf(a.spec) || s.queue[j.at] != j || j.gone {
					t.Fatalf("%s is wrong: %+v", id, j)
				}
				if j.due.After(now.Add(j.plan.timing.Interval + j.plan.timing.Interval/jitter)) {
					t.Fatalf("%s is due in %s at an interval of %s", id, j.due.Sub(now), j.plan.timing.Interval)
				}
				replaced := slices.Contains(c.replaced, replacement{old, j})
				switch {
				case old == nil:
					if !slices.Contains(c.added, j) {
						t.Fatalf("%s is new and not said to be", id)
					}
				case proto.Equal(old.plan.spec.GetTcp(), a.spec.GetTcp()) && j != old:
					t.Fatalf("%s lost its opinion", id)
				case j != old && (!old.gone || !replaced || j.opinion.Status != regions.Unknown):
					t.Fatalf("%s did not begin anew", id)
				}
			}
			for id, j := range before {
				if _, ok := want[id]; ok == slices.Contains(c.removed, j) {
					t.Fatalf("removed %v", c.removed)
				}
			}
			now = now.Add(time.Duration(rapid.IntRange(0, 20000).Draw(t, "ms")) * time.Millisecond)
			for j, due := s.pop(now); j != nil; j, due = s.pop(now) {
				if !j.due.After(now) || due.After(now) {
					t.Fatalf("%s was due at %s and stays due", j.target, due)
				}
			}
		}
	})
}
