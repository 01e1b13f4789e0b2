package verdicts

import (
	"strings"
	"testing"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

// The guard's truth table, with what an operator can do in each case. Vantages
// are named by their region, targets by the region that they stand in; the
// scripts are what agents say. h is a HEALTHY verdict that is held, and U! one
// that is not confirmed: services that are active-passive do not follow it.
var guardTable = []struct {
	what, vantages, targets string
	check                   *pb.HealthCheckSpec
	alarm                   bool
	happens                 func(*trial)
	want, told              string
	operator                string
}{
	{
		what:     "a region is lost whole, three vantage regions: confirmed, so it passes",
		vantages: "a1 b1 c1", targets: "a1 a2 b1 b2 c1 c2",
		happens:  func(tr *trial) { tr.silence("a1"); tr.says("b1 c1", "a*=U") },
		want:     "a*=U b*=H c*=H",
		operator: "nothing to do",
	},
	{
		what:     "a region is lost whole with its vantage, two vantage regions: one side decides, and it passes",
		vantages: "a1 b1", targets: "a1 a2 b1 b2",
		happens: func(tr *trial) { tr.silence("a1"); tr.says("b1", "a*=U") },
		want:    "a*=U! b*=H", told: "guard-passed",
		operator: "active-active has failed over; active-passive waits for the other vantage region: drain the region, or run a witness vantage in a third one",
	},
	{
		what:     "a region is lost whole, two vantage regions that are both heard: confirmed, so it passes",
		vantages: "a1 b1", targets: "a1 a2 b1 b2",
		happens:  func(tr *trial) { tr.says("a1 b1", "a*=U") },
		want:     "a*=U b*=H",
		operator: "nothing to do",
	},
	{
		what:     "a region is lost whole, one vantage region elsewhere: it passes",
		vantages: "b1", targets: "a1 a2 b1 b2",
		happens: func(tr *trial) { tr.says("b1", "a*=U") },
		want:    "a*=U b*=H", told: "guard-passed",
		operator: "look at the event; a vantage in a second region would confirm it",
	},
	{
		what:     "the opinions on a region that is lost come one by one: held above the share, passed when it is whole",
		vantages: "b1", targets: "a1 a2 a3 a4 a5 a6 b1 b2",
		happens: func(tr *trial) {
			for _, id := range []string{"a1", "a2", "a3", "a4"} {
				tr.says("b1", id+"=U")
			}
			tr.says("b1", "a5=U")
			tr.want("a4=U a5=h a6=H")
			tr.wantTold("guard-held")
			tr.pass(time.Second)
			tr.says("b1", "a6=U")
		},
		want: "a*=U b*=H", told: "guard-passed",
		operator: "nothing to do",
	},
	{
		what:     "a partition between two living regions, seen from one side: each side serves what it sees",
		vantages: "a1 b1", targets: "a1 a2 b1 b2",
		happens: func(tr *trial) { tr.silence("b1"); tr.says("a1", "b*=U") },
		want:    "a*=H b*=U!", told: "guard-passed",
		operator: "nothing to do for active-active; active-passive stays where it is on both sides",
	},
	{
		what:     "the same partition, seen from the other side",
		vantages: "a1 b1", targets: "a1 a2 b1 b2",
		happens: func(tr *trial) { tr.silence("a1"); tr.says("b1", "a*=U") },
		want:    "a*=U! b*=H", told: "guard-passed",
		operator: "as above",
	},
	{
		what:     "a partition between the vantages only: both are heard and disagree, so nothing moves",
		vantages: "a1 b1", targets: "a1 a2 b1 b2",
		happens:  func(tr *trial) { tr.says("a1", "b*=U"); tr.says("b1", "a*=U") },
		want:     "a*=H b*=H",
		operator: "nothing to do; a third vantage region would decide",
	},
	{
		what:     "the path of the only vantage is broken: everything looks lost, so it holds",
		vantages: "a1", targets: "a1 a2 b1 b2 c1 c2",
		happens: func(tr *trial) { tr.says("a1", "*=U") },
		want:    "a*=h b*=h c*=h", told: "guard-held",
		operator: "mend the vantage; if all is lost indeed, release the trip: the services' all-down policy answers then",
	},
	{
		what:     "the uplink of the only vantage is broken: two regions look lost, its own does not, so it holds",
		vantages: "a1", targets: "a1 a2 b1 b2 c1 c2",
		happens: func(tr *trial) { tr.says("a1", "b*=U c*=U") },
		want:    "a*=H b*=h c*=h", told: "guard-held",
		operator: "mend the uplink; if both are lost indeed, release the trip, or drain them",
	},
	{
		what:     "one agent's path is broken, three vantage regions: it is isolated, or outvoted",
		vantages: "a1 b1 c1", targets: "a1 a2 b1 b2 c1 c2",
		happens: func(tr *trial) { tr.says("a1", "*=U"); tr.pass(3 * time.Second) },
		want:    "a*=H b*=H c*=H", told: "vantage-isolated",
		operator: "mend the agent; its opinions count again by themselves",
	},
	{
		what:     "one agent's path is broken, two vantage regions: it is isolated, and nothing moves while it is",
		vantages: "a1 b1", targets: "a1 a2 b1 b2",
		happens: func(tr *trial) { tr.says("a1", "*=U"); tr.pass(3 * time.Second); tr.says("b1", "b1=U") },
		want:    "a*=H b*=H", told: "vantage-isolated",
		operator: "mend the agent, or stop it: then the other one decides; a third vantage region outvotes it",
	},
	{
		what:     "the same, and it says itself that it is cut off: the other one decides",
		vantages: "a1 b1", targets: "a1 a2 b1 b2",
		happens: func(tr *trial) {
			tr.isolated("a1", "no reference and no fellow answers")
			tr.says("a1", "*=U")
			tr.pass(3 * time.Second)
			tr.says("b1", "b1=U")
		},
		want: "a*=H b1=U! b2=H", told: "vantage-isolated",
		operator: "mend the agent; references in its Agent resource make it tell",
	},
	{
		what:     "a bad deployment kills half of the endpoints everywhere, confirmed: it passes",
		vantages: "a1 b1", targets: "a1 a2 b1 b2 c1 c2",
		happens:  func(tr *trial) { tr.says("a1 b1", "a1=U b1=U c1=U") },
		want:     "a1=U b1=U c1=U a2=H b2=H c2=H",
		operator: "roll the deployment back",
	},
	{
		what:     "a bad deployment kills more than half of the endpoints everywhere, confirmed: it passes",
		vantages: "a1 b1 c1", targets: "a1 a2 a3 b1 b2 b3",
		happens:  func(tr *trial) { tr.says("a1 b1 c1", "a1=U a2=U b1=U b2=U") },
		want:     "a1=U a2=U b1=U b2=U a3=H b3=H",
		operator: "roll the deployment back",
	},
	{
		what:     "a bad deployment kills more than half everywhere, one vantage region: not confirmed, so it holds",
		vantages: "a1", targets: "a1 a2 a3 b1 b2 b3",
		happens: func(tr *trial) { tr.says("a1", "a1=U a2=U b1=U b2=U") },
		want:    "a1=h a2=h b1=h b2=h a3=H b3=H", told: "guard-held",
		operator: "release the trip, or force the endpoints down; a vantage in a second region would confirm it",
	},
	{
		what:     "half everywhere, one vantage region: within the share, so it passes",
		vantages: "a1", targets: "a1 a2 b1 b2",
		happens:  func(tr *trial) { tr.says("a1", "a1=U b1=U") },
		want:     "a1=U b1=U a2=H b2=H",
		operator: "nothing to do",
	},
	{
		what:     "endpoints fall one by one within the window, not confirmed: those beyond the share are held",
		vantages: "a1", targets: "a1 a2 a3 b1 b2 b3",
		happens: func(tr *trial) {
			for _, id := range []string{"a1", "b1", "a2", "b2"} {
				tr.says("a1", id+"=U")
				tr.pass(10 * time.Second)
			}
		},
		want: "a1=U b1=U a2=U b2=h a3=H b3=H", told: "guard-held",
		operator: "look at what falls; release the trip if it is true",
	},
	{
		what:     "endpoints fall one by one, slower than the window: each passes",
		vantages: "a1", targets: "a1 a2 a3 b1 b2 b3",
		happens: func(tr *trial) {
			for _, id := range []string{"a1", "b1", "a2", "b2"} {
				tr.says("a1", id+"=U")
				tr.pass(25 * time.Second)
			}
		},
		want:     "a1=U b1=U a2=U b2=U a3=H b3=H",
		operator: "set a longer window if that is too fast",
	},
	{
		what:     "the rule at-least 1, one of three regions sees most of everything down: not confirmed, so it holds",
		vantages: "a1 b1 c1", targets: "a1 a2 a3 a4 b1 b2 b3 b4",
		check:   &pb.HealthCheckSpec{Quorum: pb.QuorumRule_QUORUM_RULE_AT_LEAST, UnhealthyRegions: 1},
		happens: func(tr *trial) { tr.says("a1", "a1=U a2=U a3=U b1=U b2=U b3=U") },
		want:    "a1=h a2=h a3=h b1=h b2=h b3=h a4=H b4=H", told: "guard-held",
		operator: "release the trip if those clients shall lose them; a stricter quorum decides this itself",
	},
	{
		what:     "everything is lost, confirmed: it passes, and the all-down policies answer",
		vantages: "a1 b1", targets: "a1 a2 b1 b2",
		happens:  func(tr *trial) { tr.says("a1 b1", "*=U") },
		want:     "a*=U b*=U",
		operator: "nothing here",
	},
	{
		what:     "everything is lost with one of two vantage regions silent: it holds",
		vantages: "a1 b1", targets: "a1 a2 b1 b2",
		happens: func(tr *trial) { tr.silence("b1"); tr.says("a1", "*=U") },
		want:    "a*=h b*=h", told: "guard-held",
		operator: "release the trip if it is true; it passes by itself when the other vantage region confirms it",
	},
	{
		what:     "the mode is alarm: it passes, with an event",
		vantages: "a1", targets: "a1 a2 b1 b2", alarm: true,
		happens: func(tr *trial) { tr.says("a1", "*=U") },
		want:    "a*=U b*=U", told: "guard-passed",
		operator: "look at the event",
	},
	{
		what:     "an operator releases the trip: what was held follows the quorum, what falls later is a new trip",
		vantages: "a1", targets: "a1 a2 a3 b1 b2 b3",
		happens: func(tr *trial) {
			tr.says("a1", "a1=U a2=U b1=U b2=U")
			tr.wantTold("guard-held")
			tr.release(regions.GuardLatch, 1)
			tr.want("a1=U a2=U b1=U b2=U")
			tr.wantTold("guard-released")
			tr.says("a1", "a3=U")
			if got := tr.guarding().Trip; got != 2 {
				tr.Fatalf("the next trip is %d", got)
			}
		},
		want: "a1=U a2=U b1=U b2=U a3=h b3=H", told: "guard-held",
		operator: "release guard, with the trip that the status shows",
	},
	{
		what:     "the losses that are held are confirmed: they pass one by one",
		vantages: "a1 b1", targets: "a1 a2 b1 b2",
		happens: func(tr *trial) {
			tr.silence("b1")
			tr.says("a1", "*=U")
			tr.wantTold("guard-held")
			tr.opinions["b1"] = map[string]string{"a1": "U", "a2": "?", "b1": "?", "b2": "?"}
			tr.speaks("b1")
			tr.want("a1=U a2=h b1=h b2=h")
			tr.wantTold("guard-passed")
			tr.says("b1", "a2=U b1=U b2=U")
		},
		want: "a*=U b*=U", told: "guard-passed",
		operator: "nothing to do",
	},
	{
		what:     "what was held is HEALTHY again: the hold is over",
		vantages: "a1", targets: "a1 a2 b1 b2",
		happens: func(tr *trial) {
			tr.says("a1", "*=U")
			tr.wantTold("guard-held")
			tr.says("a1", "a*=H")
			tr.pass(9 * time.Second)
			tr.want("a*=H b*=h")
			tr.says("a1", "b*=H")
		},
		want: "a*=H b*=H", told: "guard-released",
		operator: "nothing to do",
	},
	{
		what:     "what was held is HEALTHY again, but for one region: after ten seconds that is a region that is lost",
		vantages: "a1", targets: "a1 a2 b1 b2",
		happens: func(tr *trial) {
			tr.says("a1", "*=U")
			tr.wantTold("guard-held")
			tr.says("a1", "a*=H")
			tr.pass(10 * time.Second)
		},
		want: "a*=H b*=U", told: "guard-passed",
		operator: "look at the event",
	},
	{
		what:     "the last target of all, or the only one: one is no mass",
		vantages: "a1", targets: "a1",
		happens:  func(tr *trial) { tr.says("a1", "*=U") },
		want:     "a1=U",
		operator: "the service's all-down policy answers",
	},
	{
		what:     "the vantage falls silent while it holds: silence is no evidence, and the hold goes on",
		vantages: "a1", targets: "a1 a2 b1 b2",
		happens: func(tr *trial) {
			tr.says("a1", "*=U")
			tr.wantTold("guard-held")
			tr.silence("a1")
			tr.pass(time.Hour)
		},
		want:     "a*=h b*=h",
		operator: "release the trip, or mend the vantage",
	},
}

func TestGuardTable(t *testing.T) {
	for _, row := range guardTable {
		t.Run(row.what, func(t *testing.T) {
			tr := newTrial(t, row.vantages, row.targets)
			tr.plan.Guard.AlarmOnly = row.alarm
			tr.replan()
			if row.check != nil {
				tr.check(row.check)
			}
			tr.says(row.vantages, "*=H")
			tr.pass(2 * time.Minute)
			tr.want("*=H")
			tr.wantTold("")
			row.happens(tr)
			tr.want(row.want)
			tr.wantTold(row.told)
			s := tr.guarding()
			held := strings.Count(tr.show(), "=h")
			if s.Held != held || len(s.Targets) != held || (s.Trip > 0) != (held > 0) || (s.Reason != "") != (held > 0) || s.Since.IsZero() != (held == 0) {
				t.Errorf("%d held, and the status is %+v", held, s)
			}
		})
	}
}

// A hold that somebody else has goes on here, under its trip.
func TestHeldBySeed(t *testing.T) {
	one := newTrial(t, "a1", "a1 a2 b1 b2")
	one.says("a1", "*=H")
	one.says("a1", "*=U")
	one.release(regions.GuardLatch, 1)
	one.says("a1", "*=H")
	one.pass(time.Hour)
	one.says("a1", "*=U")
	one.want("*=h")
	if trip := one.guarding().Trip; trip != 2 {
		t.Fatalf("trip %d, want 2", trip)
	}
	// The other has heard of the release, then of the hold, and then the agent.
	two := newTrial(t, "a1", "a1 a2 b1 b2")
	two.release(regions.GuardLatch, 1)
	two.tally.seed(parseSeeds(one.seeds(), two.now), two.now)
	two.settle()
	two.says("a1", "*=U")
	two.want("*=h")
	if s := two.guarding(); s.Trip != 2 || s.Held != 4 {
		t.Errorf("%+v", s)
	}
	two.release(regions.GuardLatch, 2)
	two.want("*=U")
	// Or the agent first: within the first seconds the seed is taken as if it had
	// come before.
	three := newTrial(t, "a1", "a1 a2 b1 b2")
	three.release(regions.GuardLatch, 1)
	three.says("a1", "*=U")
	three.want("*=U")
	three.tally.seed(parseSeeds(one.seeds(), three.now), three.now)
	three.settle()
	three.want("*=h")
	// A hold that was released is none.
	four := newTrial(t, "a1", "a1 a2 b1 b2")
	four.release(regions.GuardLatch, 2)
	four.says("a1", "*=U")
	four.tally.seed(parseSeeds(one.seeds(), four.now), four.now)
	four.settle()
	four.want("*=U")
}

// The window moves over losses in any number, and what is kept of them is bounded.
func TestGuardForgetsOldLosses(t *testing.T) {
	tr := newTrial(t, "a1", "a1 a2 a3 a4 b1 b2 b3 b4")
	tr.says("a1", "*=H")
	for range 500 {
		tr.says("a1", "a1=U b1=U")
		tr.says("a1", "a1=H b1=H")
		tr.now = tr.now.Add(time.Second)
	}
	if n := len(tr.tally.guard.turned); n > 2*8+64+2 {
		t.Errorf("%d losses are kept", n)
	}
	tr.want("*=H")
	tr.says("a1", "a1=U b1=U a2=U b2=U")
	tr.want("a1=U b1=U a2=U b2=U")
	tr.says("a1", "a3=U")
	tr.want("a3=h")
}
