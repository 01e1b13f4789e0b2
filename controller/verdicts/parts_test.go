package verdicts

import (
	"testing"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// part is a message of a full update of which more follow.
func part(text string) *pb.ReportRequest {
	req := opinions(text)
	req.GetOpinions().More = true
	return req
}

// A full update may take several messages; between them an agent that has
// reconnected stands by what it said before.
func TestAFullUpdateInParts(t *testing.T) {
	inCourt(t, Options{}, func(t *testing.T, c *court) {
		c.plan(1, []Agent{{Name: "a1", Region: "a"}}, "t", "u", "v")
		a := c.connect("a1", "a")
		a.send(part("full t=H"))
		if s := c.State(); s.AgentsFresh != 0 {
			t.Errorf("%d agents are heard before all of it is there", s.AgentsFresh)
		}
		c.want("t", "?/?")
		a.beat() // which may come between
		a.send(part("u=H"))
		c.want("u", "?/?")
		a.says("v=H")
		for _, target := range []string{"t", "u", "v"} {
			c.want(target, "H/H")
		}
		if s := c.State(); s.AgentsFresh != 1 {
			t.Errorf("%d agents are heard, want 1", s.AgentsFresh)
		}

		b := c.connect("a1", "a")
		b.send(part("full t=U"))
		for _, target := range []string{"t", "u", "v"} {
			c.want(target, "H/H")
		}
		b.send(part("full u=H")) // begins anew
		b.says("v=H")
		c.want("t", "?/H")
		c.want("u", "H/H")
		c.want("v", "H/H")

		// What began on a stream that has ended is no part of the next one.
		b.send(part("full t=U u=U"))
		d := c.connect("a1", "a")
		d.says("v=U")
		c.want("u", "H/H")
		c.want("v", "U/U")
		d.says("full t=H u=H v=H")
		c.want("t", "H/H")
	})
}

// Together the messages hold as many opinions as one may.
func TestPartsAreBounded(t *testing.T) {
	v := &vantage{}
	up := &update{full: true, more: true}
	for range 2 {
		up.opinions = append(up.opinions, make([]said, MaxOpinions*3/4)...)
		if got := v.collect(up); got != nil {
			t.Fatalf("%d opinions are taken before all are there", len(got.opinions))
		}
		up = &update{more: true}
	}
	last := &update{opinions: make([]said, 7)}
	whole := v.collect(last)
	if whole == nil || !whole.full || len(whole.opinions) != MaxOpinions || last.ignored["too-many"] != 7 {
		t.Errorf("the whole: %d opinions, ignored %v", len(whole.opinions), last.ignored)
	}
	if v.parts != nil {
		t.Error("it is kept")
	}
}

// A stream that has said hello waits for the first plan as long as it takes.
func TestHelloBeforeThePlan(t *testing.T) {
	inCourt(t, Options{}, func(t *testing.T, c *court) {
		a := c.connect("a1", "a")
		c.pass(3*helloWait, a)
		if !a.open() {
			code, text := a.status()
			t.Fatalf("it ended: %s %s", code, text)
		}
		c.plan(1, three[:1], "t")
		a.says("full t=H")
		c.want("t", "H/H")
	})
}
