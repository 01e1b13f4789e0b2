package verdicts

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/health"
)

// told prints assignments: the generation, then targets, references and fellows.
func toldDuty(a *pb.Assignments) string {
	if a.GetUnchanged() {
		if len(a.GetAssignments())+len(a.GetReferences())+len(a.GetFellows()) > 0 {
			return "unchanged, and yet something"
		}
		return fmt.Sprintf("%d unchanged", a.GetGeneration().GetRevision())
	}
	var ids []string
	for _, x := range a.GetAssignments() {
		ids = append(ids, x.GetTarget())
	}
	return fmt.Sprintf("%d %v %v %v", a.GetGeneration().GetRevision(), ids, a.GetReferences(), a.GetFellows())
}

func TestAssignmentsSayWhenNothingChanged(t *testing.T) {
	inCourt(t, Options{}, func(t *testing.T, c *court) {
		agents := []Agent{
			{Name: "a1", Region: "a", References: []string{"192.0.2.1:443"}, Address: "192.0.2.7:8082"},
			{Name: "b1", Region: "b", Address: "198.51.100.7:8082"}, {Name: "c1", Region: "c", Address: "203.0.113.7:8082"},
		}
		a, b, d := c.connect("a1", "a"), c.connect("b1", "b"), c.connect("c1", "c")
		next := func(want ...string) {
			t.Helper()
			synctest.Wait()
			for i, s := range []*speaker{a, b, d} {
				if len(s.got) != 1 {
					t.Fatalf("%s: %d assignments, want 1", s.name, len(s.got))
				}
				if got := toldDuty(<-s.got); got != want[i] {
					t.Errorf("%s: %q, want %q", s.name, got, want[i])
				}
			}
		}
		c.plan(1, agents, "t", "u")
		next("1 [t u] [192.0.2.1:443] [198.51.100.7:8082 203.0.113.7:8082]", "1 [t u] [] [192.0.2.7:8082 203.0.113.7:8082]", "1 [t u] [] [192.0.2.7:8082 198.51.100.7:8082]")
		// Another generation that says the same, in other words.
		c.plan(2, agents, "u", "t")
		next("2 unchanged", "2 unchanged", "2 unchanged")
		// Only one agent's references differ.
		agents = slices.Clone(agents)
		agents[0].References = nil
		c.plan(3, agents, "t", "u")
		next("3 [t u] [] [198.51.100.7:8082 203.0.113.7:8082]", "3 unchanged", "3 unchanged")
		p := planOf(4, agents, "t", "u")
		p.Assignments[1].Check = &pb.HealthCheckSpec{Rise: 9}
		c.SetPlan(p)
		next("4 [t u] [] [198.51.100.7:8082 203.0.113.7:8082]", "4 [t u] [] [192.0.2.7:8082 203.0.113.7:8082]", "4 [t u] [] [192.0.2.7:8082 198.51.100.7:8082]")
		// A new stream has nothing yet.
		b.cancel()
		b = c.connect("b1", "b")
		synctest.Wait()
		if got, want := toldDuty(<-b.got), "4 [t u] [] [192.0.2.7:8082 203.0.113.7:8082]"; got != want {
			t.Errorf("a new stream: %q, want %q", got, want)
		}
	})
}

// An agent whose fellows all stand in one region is told of none: a region that is
// gone must not pass for a fault of its own. References tell in any case.
func TestFellowsOfOneRegion(t *testing.T) {
	agents := []Agent{
		{Name: "a1", Region: "a", Address: "192.0.2.1:1"}, {Name: "b1", Region: "b", Address: "192.0.2.2:1"},
		{Name: "b2", Region: "b", Address: "192.0.2.3:1"}, {Name: "w1", Region: "c"},
	}
	inCourt(t, Options{}, func(t *testing.T, c *court) {
		a, b, w := c.connect("a1", "a"), c.connect("b1", "b"), c.connect("w1", "c")
		told := func(s *speaker, want string) {
			t.Helper()
			if got := toldDuty(<-s.got); got != want {
				t.Errorf("%s: %q, want %q", s.name, got, want)
			}
		}
		c.plan(1, agents, "t")
		synctest.Wait()
		told(a, "1 [t] [] []")
		told(b, "1 [t] [] [192.0.2.1:1 192.0.2.3:1]")
		told(w, "1 [t] [] [192.0.2.1:1 192.0.2.2:1 192.0.2.3:1]")
		agents = slices.Clone(agents)
		agents[0].References = []string{"192.0.2.9:443"}
		c.plan(2, agents, "t")
		synctest.Wait()
		told(a, "2 [t] [192.0.2.9:443] [192.0.2.2:1 192.0.2.3:1]")
	})
}

// duties prints who probes what.
func (tr *trial) duties() map[string][]string {
	out := map[string][]string{}
	for _, v := range tr.voters {
		for _, a := range v.duty.assignments {
			out[a.GetTarget()] = append(out[a.GetTarget()], v.name)
		}
	}
	return out
}

func TestVantagesPerTarget(t *testing.T) {
	const agents = "a1 a2 a3 b1 b2 b3 c1"
	tr := newTrial(t, agents, "t1 t2 t3 t4 t5 t6 t7 t8 t9")
	tr.check(&pb.HealthCheckSpec{Vantages: 3})
	before := tr.duties()
	for target, who := range before {
		regions := map[string]bool{}
		for _, name := range who {
			regions[name[:1]] = true
		}
		if len(who) != 3 || len(regions) != 3 {
			t.Errorf("%s is probed by %v, want three agents of three regions", target, who)
		}
	}
	// Those who have a seat vote; others are shown.
	tr.says(agents, "*=H")
	who := before["t1"]
	tr.says(who[0]+" "+who[1], "t1=U")
	tr.want("t1=U")
	for _, v := range tr.verdict("t1").Votes {
		if seated := slices.Contains(who, v.Agent); v.Counted != seated || !seated && v.WhyNot != health.WhyNotSeated {
			t.Errorf("%+v; the seats are %v", v, who)
		}
	}
	// One of a falls silent: for 30s its seats stay, then others of a have them.
	lost := who[0]
	tr.silence(lost)
	tr.pass(seatFor - tr.freshFor - time.Second)
	if got := tr.duties(); fmt.Sprint(got) != fmt.Sprint(before) {
		t.Errorf("after less than %s: %v, was %v", seatFor, got, before)
	}
	tr.pass(2 * time.Second)
	moved := 0
	for target, now := range tr.duties() {
		had := slices.Contains(before[target], lost)
		switch {
		case !had && !slices.Equal(now, before[target]):
			t.Errorf("%s moved from %v to %v", target, before[target], now)
		case had && slices.Contains(now, lost) && lost[:1] != "c":
			t.Errorf("%s is probed by %v still", target, now)
		}
		if had {
			moved++
			if len(now) != 3 || now[0][:1]+now[1][:1]+now[2][:1] != "abc" {
				t.Errorf("%s: %v", target, now)
			}
		}
	}
	if moved == 0 {
		t.Error("it had no seat")
	}
	// It is back, and so are its seats.
	tr.speaks(lost)
	if got := tr.duties(); fmt.Sprint(got) != fmt.Sprint(before) {
		t.Errorf("when it is back: %v, was %v", got, before)
	}
	// c has one agent only: its seat stays empty, and votes UNKNOWN.
	tr.silence("c1")
	tr.pass(time.Minute)
	if got := tr.duties(); fmt.Sprint(got) != fmt.Sprint(before) {
		t.Errorf("without c1: %v, was %v", got, before)
	}
	// As many as there are, or none stated: all.
	for _, n := range []uint32{7, 8, 0} {
		tr.check(&pb.HealthCheckSpec{Vantages: n})
		if got := strings.Join(tr.duties()["t1"], " "); got != agents {
			t.Errorf("%d vantages: %s", n, got)
		}
	}
}

// Where checks differ in how many vantages they want, everybody gets the right list.
func TestMixedDuties(t *testing.T) {
	tr := newTrial(t, "a1 b1 c1", "t u v")
	few := &pb.HealthCheckSpec{Vantages: 2}
	tr.plan.Assignments[1] = &pb.Assignment{Target: "u", Check: few}
	tr.replan()
	got := tr.duties()
	if len(got["t"]) != 3 || len(got["u"]) != 2 || len(got["v"]) != 3 {
		t.Errorf("%v", got)
	}
	tr.says("g1", "t=H") // a guest is told of everything
	if v := tr.vantages["g1"]; len(v.duty.assignments) != 3 {
		t.Errorf("a guest: %v", v.duty.assignments)
	}
	if !proto.Equal(tr.vantages["a1"].duty.assignments[0], tr.plan.Assignments[0]) {
		t.Error("another assignment")
	}
}
