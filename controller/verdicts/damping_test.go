package verdicts

import (
	"testing"
	"testing/synctest"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// A recovery that is damped counts when its hold is over, though nothing is said.
func TestDampedRecovery(t *testing.T) {
	inCourt(t, Options{}, func(t *testing.T, c *court) {
		c.plan(1, three, "t")
		a, b, d := c.connect("a1", "a"), c.connect("b1", "b"), c.connect("c1", "c")
		a.says("full t=H")
		b.says("full t=H")
		d.says("full t=U")
		c.want("t", "H/H")
		flaps := func(s *speaker, status pb.HealthStatus, transitions uint32) {
			s.send(&pb.ReportRequest{Message: &pb.ReportRequest_Opinions{Opinions: &pb.OpinionUpdate{Opinions: []*pb.Opinion{
				{Target: "t", Status: status, RecentTransitions: transitions},
			}}}})
		}
		flaps(a, pb.HealthStatus_HEALTH_STATUS_UNHEALTHY, 5)
		c.want("t", "U/U")
		flaps(a, pb.HealthStatus_HEALTH_STATUS_HEALTHY, 6) // three recoveries: a minute
		c.want("t", "U/U")
		got, _ := c.State().Get("t")
		if v := got.Votes[0]; v.Status.String() != "HEALTHY" || v.CountedAs.String() != "UNHEALTHY" || !v.Counted {
			t.Errorf("%+v", v)
		}
		if n := counted(t, c.registry, "fairlead_controller_verdicts_damped", ""); n != 1 {
			t.Errorf("%g targets are damped", n)
		}
		c.pass(time.Minute-time.Millisecond, a, b, d)
		c.want("t", "U/U")
		// Time alone brings it back; and not again.
		time.Sleep(time.Millisecond)
		synctest.Wait()
		c.want("t", "H/H")
		if n := counted(t, c.registry, "fairlead_controller_verdicts_damped", ""); n != 0 {
			t.Errorf("%g targets are damped", n)
		}
		if !got.Restored {
			got, _ = c.State().Get("t")
		}
		if !got.Restored {
			t.Error("it is not restored")
		}
	})
}

// Each target has at most one alarm, however its opinions change.
func TestAlarmsAreBounded(t *testing.T) {
	tr := newTrial(t, "a1", "a1 a2 a3")
	tr.says("a1", "*=U")
	for i := range 100 {
		tr.now = tr.now.Add(time.Second)
		tr.says("a1", "a1=H8 a2=H8")
		tr.says("a1", []string{"a1=U9", "a1=?", "a2=U8"}[i%3])
	}
	if n := len(tr.alarms.heap); n > 2 {
		t.Errorf("%d alarms", n)
	}
	tr.says("a1", "*=H8")
	tr.want("*=U")
	tr.replan()
	tr.pass(2*time.Minute - time.Second)
	tr.want("*=U")
	tr.pass(time.Second)
	tr.want("*=H")
	if n := len(tr.alarms.heap); n != 0 || tr.damped != 0 {
		t.Errorf("%d alarms, %d damped", n, tr.damped)
	}
	// Off, by the check.
	tr.says("a1", "*=U20")
	tr.check(&pb.HealthCheckSpec{Damping: &pb.FlapDamping{Off: true}})
	tr.says("a1", "*=H20")
	tr.want("*=H")
}

// A controller that has just started does not take for silent whom it could not
// hear yet: one of two regions decides alone only after a while.
func TestAwaited(t *testing.T) {
	tr := newTrial(t, "a1 b1", "a1 b1")
	tr.says("a1", "a1=U b1=H")
	tr.want("*=?")
	tr.pass(tr.seedWait - time.Millisecond)
	tr.want("*=?")
	tr.pass(time.Millisecond)
	tr.want("a1=U! b1=H!")
	if tr.oneSided != 2 {
		t.Errorf("%d decisions are one-sided, want 2", tr.oneSided)
	}
	tr.says("b1", "*=H")
	if tr.want("a1=U! b1=H"); tr.oneSided != 0 {
		t.Errorf("%d decisions are one-sided, want 0", tr.oneSided)
	}
	// After a pause it is the same.
	tr.resync(1, tr.now.Add(-time.Minute), tr.now)
	tr.settle()
	tr.sessions, tr.pauses = map[string]*session{}, 1
	tr.opinions["a1"]["a1"] = "H"
	tr.speaks("a1")
	tr.want("a1=U! b1=H")
	tr.pass(tr.seedWait)
	tr.want("a1=H! b1=H")
}
