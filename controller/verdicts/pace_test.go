package verdicts

import (
	"testing"
	"testing/synctest"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func TestPace(t *testing.T) {
	now := time.Now()
	for name, tc := range map[string]struct {
		took, since time.Duration
		gathering   bool
		rest        time.Duration
	}{
		"a dear settling while all report": {took: 100 * time.Millisecond, gathering: true, rest: 300 * time.Millisecond},
		"some of the rest is over":         {took: 100 * time.Millisecond, since: 200 * time.Millisecond, gathering: true, rest: 100 * time.Millisecond},
		"all of it":                        {took: 100 * time.Millisecond, since: time.Second, gathering: true},
		"a very dear one":                  {took: time.Minute, gathering: true, rest: restMost},
		"one that cost nothing":            {gathering: true},
		"nobody is about to report":        {took: time.Minute},
	} {
		var p pace
		p.settled(tc.took, now)
		if got := p.rest(tc.gathering, now.Add(tc.since)); got != tc.rest {
			t.Errorf("%s: rests for %s, want %s", name, got, tc.rest)
		}
	}
}

func TestGathering(t *testing.T) {
	inCourt(t, Options{SeedWait: 10 * time.Second}, func(t *testing.T, c *court) {
		gathers := func(when string, want bool) {
			t.Helper()
			synctest.Wait()
			if got := c.tally.gathering(time.Now()); got != want {
				t.Errorf("%s: gathers %t, want %t", when, got, want)
			}
		}
		gathers("without a plan", false)
		c.plan(1, three, "t")
		a, b, d := c.connect("a1", "a"), c.connect("b1", "b"), c.connect("c1", "c")
		a.says("full t=H")
		b.says("full t=H")
		gathers("one is to be heard", true)
		d.says("full t=H")
		gathers("all are heard", false)
		c.pass(time.Minute, a, b, d)
		gathers("later", false)
		d.cancel()
		gathers("one is gone", false)
		d = c.connect("c1", "c")
		gathers("it is back, and has not told all", true)
		c.pass(10*time.Second, a, b)
		gathers("it never tells", false)
		d.says("full t=U")
		c.connect("guest", "c")
		gathers("a guest", false)
	})
}

// A judge that rests while it gathers hears nevertheless, settles when the rest is
// over, and at once when nobody is awaited any more.
func TestRestingJudge(t *testing.T) {
	for name, agents := range map[string][]Agent{"a majority is heard": three[:2], "all are heard": three} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j, err := New(Options{})
				if err != nil {
					t.Fatal(err)
				}
				j.SetPlan(planOf(1, three, "t"))
				j.pace.settled(time.Hour, time.Now())
				ran := make(chan error, 1)
				go func() { ran <- j.Run(t.Context()) }()
				t.Cleanup(func() { <-ran })
				for _, a := range agents {
					s := sessionOf(&pb.AgentHello{Agent: a.Name, Region: a.Region})
					for _, ev := range []event{{session: s, opened: true}, j.tally.event(s, opinions("full t=H"), time.Now())} {
						if err := j.hand(t.Context(), ev); err != nil {
							t.Fatal(err)
						}
					}
				}
				synctest.Wait()
				if got, want := j.State().Ready, len(agents) == len(three); got != want {
					t.Errorf("ready %t at once, want %t", got, want)
				}
				time.Sleep(restMost)
				synctest.Wait()
				if !j.State().Ready {
					t.Error("not ready when the rest is over")
				}
			})
		})
	}
}
