package verdicts

import (
	"math"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

// Nobody can lift a trip to where no release reaches it.
func TestTripsThatCannotBe(t *testing.T) {
	tr := latchTrial(t)
	tr.says("a1 b1 c1", "*=H")
	refused := 0.0
	tell := func(trip uint64, want string) {
		t.Helper()
		tr.mergeLatch(regions.Latch{Service: "s", Region: "a", Trip: trip, Since: tr.now})
		tr.pass(time.Second)
		tr.wantLatched(want)
		if got := testutil.ToFloat64(tr.m.refused); got != refused {
			t.Errorf("%g latches refused, want %g", got, refused)
		}
	}
	refused++
	tell(health.MaxTrip, "")
	refused++
	tell(maxAhead+1, "")
	tell(maxAhead, "s/a:1000")
	tell(3, "s/a:1000")
	tell(2*maxAhead, "s/a:2000")
	refused++
	tell(math.MaxUint64, "s/a:2000")
	tr.release("failback/s/a", 5000)
	tell(5000+maxAhead, "s/a:6000")
}

// What cannot be hides nothing that somebody tells before there is a plan.
func TestTripsThatCannotBeHideNothing(t *testing.T) {
	inCourt(t, Options{}, func(t *testing.T, c *court) {
		now := time.Now()
		for _, trip := range []uint64{3, health.MaxTrip, 2} {
			c.Seed(SeedTable{Latches: healthpb.Latches([]regions.Latch{{Service: "s", Region: "a", Trip: trip, Since: now}}, now)})
		}
		c.plan(1, three, "t")
		p := planOf(2, three, "t")
		p.Latches = []LatchGroup{{Service: "s", Region: "a", Targets: [][2]string{{"t"}}}}
		c.SetPlan(p)
		c.pass(time.Second)
		if ls := c.State().Latches; len(ls) != 1 || ls[0].Trip != 3 {
			t.Errorf("latches %v, want trip 3", ls)
		}
	})
}

// Whatever is told and released: the latches that are published come off the
// wire as they were put on it, so that nameservers have the same digest.
func TestPublishedLatchesSurviveTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tr := latchTrial(t)
		tr.says("a1 b1 c1", "*=H")
		for range rapid.IntRange(1, 10).Draw(t, "steps") {
			trip := rapid.OneOf(rapid.Uint64Range(0, 5), rapid.Uint64Range(health.MaxTrip-5, health.MaxTrip+5), rapid.Uint64()).Draw(t, "trip")
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				tr.release("failback/s/a", trip)
			case 1:
				tr.mergeLatch(regions.Latch{Service: "s", Region: "a", Trip: trip, Since: tr.now})
				tr.settle()
			case 2:
				tr.says("a1 b1 c1", "a*=U")
			case 3:
				tr.says("a1 b1 c1", "a*=H")
			}
			st := tr.j.State()
			got := healthpb.ParseLatches(healthpb.Latches(st.Latches, tr.now), tr.now)
			if a, b := health.Digest(0).ReplaceLatches(nil, st.Latches), health.Digest(0).ReplaceLatches(nil, got); a != b {
				t.Fatalf("published %v, at the nameserver %v", st.Latches, got)
			}
		}
	})
}

// Manual, automatic, manual: a latch from before does not come back.
func TestALatchDoesNotComeBackWithItsPolicy(t *testing.T) {
	tr := latchTrial(t)
	tr.says("a1 b1 c1", "*=H")
	tr.says("a1 b1 c1", "a*=U")
	tr.wantLatched("s/a:1")
	old := tr.j.State().Latches[0]
	groups := tr.plan.Latches
	tr.plan.Latches = nil
	tr.replan()
	tr.says("a1 b1 c1", "*=H")
	tr.wantLatched("")
	tr.mergeLatch(old) // a nameserver that has not heard of it yet
	tr.pass(time.Minute)
	tr.plan.Latches = groups
	tr.replan()
	tr.pass(time.Second)
	tr.wantLatched("")
}
