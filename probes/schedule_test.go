package probes

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead-dns/fairlead/probes/check"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func noCheck(*pb.HealthCheckSpec) (check.Check, error) { return newWorld(), nil }

func TestScheduleKeepsPhaseAcrossStandstill(t *testing.T) {
	s := newSchedule(rand.New(rand.NewPCG(1, 2)))
	s.assign(assignments(1, "t").GetAssignments(), noCheck, start)
	j := s.jobs["t"]
	if spread := j.due.Sub(start); spread < 0 || spread >= firstSpread {
		t.Errorf("the first check comes after %s", spread)
	}
	first := j.due
	s.pop(first)
	if gap := j.due.Sub(first); gap < time.Second/2 || gap >= time.Second {
		t.Errorf("the second check comes %s after the first", gap)
	}
	phase := j.due
	s.pop(phase.Add(10 * time.Millisecond)) // a little late
	if want := phase.Add(time.Second); !j.due.Equal(want) {
		t.Errorf("due %s, want %s", j.due, want)
	}
	s.pop(phase.Add(61500 * time.Millisecond)) // after a minute's standstill: once
	if want := phase.Add(62 * time.Second); !j.due.Equal(want) {
		t.Errorf("due %s, want %s", j.due, want)
	}
	if s.pop(phase.Add(61500*time.Millisecond)) != nil {
		t.Error("what was missed is made up for")
	}
}

// Any sequence of assignments leaves exactly what was assigned last, with every
// job in the queue once and nothing popped before it is due.
func TestScheduleProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSchedule(rand.New(rand.NewPCG(3, 4)))
		now := start
		genTarget := rapid.Custom(func(t *rapid.T) string {
			return fmt.Sprintf("%s:%d/%dms", rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "target"),
				rapid.IntRange(80, 81).Draw(t, "port"), rapid.SampledFrom([]int{100, 1000, 10000}).Draw(t, "interval"))
		})
		for range rapid.IntRange(1, 10).Draw(t, "rounds") {
			as := assignments(1, rapid.SliceOfN(genTarget, 0, 8).Draw(t, "targets")...).GetAssignments()
			before := map[string]*job{}
			for id, j := range s.jobs {
				j.opinion = health.Opinion{Status: regions.Healthy}
				before[id] = j
			}
			c := s.assign(as, noCheck, now)
			want := map[string]*pb.Assignment{}
			for _, a := range as {
				if want[a.GetTarget()] == nil {
					want[a.GetTarget()] = a
				}
			}
			if len(s.jobs) != len(want) || len(s.queue) != len(want) {
				t.Fatalf("%d jobs and %d in the queue, want %d", len(s.jobs), len(s.queue), len(want))
			}
			for id, a := range want {
				j, old := s.jobs[id], before[id]
				if j == nil || j.timing != check.TimingOf(a.GetCheck()) || s.queue[j.at] != j || j.gone {
					t.Fatalf("%s is wrong: %+v", id, j)
				}
				if j.due.After(now.Add(j.timing.Interval)) {
					t.Fatalf("%s is due in %s at an interval of %s", id, j.due.Sub(now), j.timing.Interval)
				}
				switch {
				case old == nil:
				case sameProbe(old.spec, a.GetCheck()) && j != old:
					t.Fatalf("%s lost its opinion", id)
				case j != old && (!old.gone || !slices.Contains(c.anew, j) || j.opinion.Status != regions.Unknown):
					t.Fatalf("%s did not begin anew", id)
				}
			}
			for id := range before {
				if (want[id] == nil) != slices.Contains(c.removed, id) {
					t.Fatalf("removed %v", c.removed)
				}
			}
			now = now.Add(time.Duration(rapid.IntRange(0, 20000).Draw(t, "ms")) * time.Millisecond)
			for j := s.pop(now); j != nil; j = s.pop(now) {
				if !j.due.After(now) {
					t.Fatalf("%s stays due", j.target)
				}
			}
		}
	})
}

// Whatever happens, a reader that takes what has changed knows what the book holds.
func TestBookProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBook()
		wake, stop := b.read()
		defer stop()
		type reader struct {
			at    uint64
			table map[string]string
		}
		readers := []*reader{{table: map[string]string{}}, {table: map[string]string{}}}
		truth := map[string]string{}
		now := start
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			target := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "target")
			now = now.Add(time.Second)
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				op := health.Opinion{
					Status: rapid.SampledFrom([]regions.Status{0, 1, 2}).Draw(t, "status"),
					Reason: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "reason"), Since: now,
				}
				was, known := b.get(target)
				for len(wake) > 0 {
					<-wake
				}
				b.put(target, op)
				if woken := len(wake) > 0; woken != (!known || was.Status != op.Status) {
					t.Fatalf("woken: %t", woken)
				}
				truth[target] = op.Status.String() + op.Reason
			case 2:
				b.remove([]string{target})
				delete(truth, target)
			case 3:
				r := readers[rapid.IntRange(0, 1).Draw(t, "reader")]
				opinions, to, full := b.since(r.at, now)
				if full {
					clear(r.table)
				}
				for _, o := range opinions {
					s := regions.Status(o.GetStatus() - 1)
					r.table[o.GetTarget()] = s.String() + o.GetReason()
				}
				r.at = to
				if fmt.Sprint(r.table) != fmt.Sprint(truth) {
					t.Fatalf("the reader knows %v, the book holds %v", r.table, truth)
				}
				if again, _, _ := b.since(r.at, now); len(again) != 0 {
					t.Fatalf("%d opinions twice", len(again))
				}
			}
		}
	})
}
