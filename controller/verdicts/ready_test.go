package verdicts

import (
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

func TestReady(t *testing.T) {
	ready := func(t *testing.T, c *court, want bool) {
		t.Helper()
		synctest.Wait()
		if got := c.State().Ready; got != want {
			t.Errorf("ready: %t, want %t", got, want)
		}
	}
	t.Run("at once when a majority decides everything", func(t *testing.T) {
		inCourt(t, Options{}, func(t *testing.T, c *court) {
			a, b := c.connect("a1", "a"), c.connect("b1", "b")
			ready(t, c, false)
			c.plan(1, three, "t")
			a.says("full t=H")
			ready(t, c, false)
			b.says("t=H")
			ready(t, c, false) // not all of its opinions
			b.says("full t=H")
			ready(t, c, true)
			c.pass(time.Hour) // and stays so, with old evidence
			ready(t, c, true)
		})
	})
	t.Run("after a wait when something stays undecided", func(t *testing.T) {
		inCourt(t, Options{SeedWait: 5 * time.Second}, func(t *testing.T, c *court) {
			c.plan(1, three, "t", "u")
			a, b := c.connect("a1", "a"), c.connect("b1", "b")
			a.says("full t=H u=?")
			b.says("full t=H u=U")
			c.pass(5*time.Second-time.Millisecond, a, b)
			ready(t, c, false)
			c.pass(time.Millisecond)
			ready(t, c, true)
		})
	})
	t.Run("not while nobody is heard", func(t *testing.T) {
		inCourt(t, Options{}, func(t *testing.T, c *court) {
			c.plan(1, three, "t")
			c.pass(time.Minute)
			ready(t, c, false)
			a := c.connect("a1", "a")
			ready(t, c, false)
			a.says("full t=H")
			ready(t, c, true) // one of three, but the wait is over
		})
	})
	t.Run("with seeds as soon as a majority is heard", func(t *testing.T) {
		inCourt(t, Options{}, func(t *testing.T, c *court) {
			c.Seed(SeedTable{Verdicts: seeds("t=U"), Age: 0, From: "ns1"})
			c.plan(1, three, "t")
			c.want("t", "?/U")
			a, b := c.connect("a1", "a"), c.connect("b1", "b")
			a.says("full t=?")
			ready(t, c, false)
			b.says("full t=?")
			ready(t, c, true)
			c.want("t", "?/U")
		})
	})
	t.Run("half of the regions is no majority", func(t *testing.T) {
		inCourt(t, Options{}, func(t *testing.T, c *court) {
			c.Seed(SeedTable{Verdicts: seeds("t=H"), Age: 0, From: "ns1"})
			c.plan(1, three[:2], "t")
			c.connect("a1", "a").says("full t=H")
			ready(t, c, false)
			c.connect("b1", "b").says("full t=H")
			ready(t, c, true)
		})
	})
	t.Run("after a wait when no agent is registered", func(t *testing.T) {
		inCourt(t, Options{}, func(t *testing.T, c *court) {
			c.plan(1, nil, "t")
			ready(t, c, false)
			c.pass(5 * time.Second)
			ready(t, c, true)
		})
	})
}

func seeds(text string) []*pb.TargetHealth {
	var out []*pb.TargetHealth
	for _, o := range opinions(text).GetOpinions().GetOpinions() {
		out = append(out, &pb.TargetHealth{Target: o.GetTarget(), Verdict: o.GetStatus(), HeldMillis: 60_000})
	}
	return out
}

func TestSeeds(t *testing.T) {
	inCourt(t, Options{}, func(t *testing.T, c *court) {
		// Before the plan; the freshest table wins, whatever the order.
		c.Seed(SeedTable{Verdicts: seeds("t=H u=H"), Age: time.Second, From: "fresh"})
		c.Seed(SeedTable{Verdicts: seeds("t=U u=U v=U w=?"), Age: time.Minute, From: "stale"})
		c.plan(1, three, "t", "u", "v", "w")
		for target, want := range map[string]string{"t": "?/H", "u": "?/H", "v": "?/U", "w": "?/?"} {
			c.want(target, want)
		}
		got, _ := c.State().Get("t")
		if held := got.Held(time.Now()); held != 61*time.Second {
			t.Errorf("the seeded verdict has held %s, want 61s", held)
		}
		// A fresher one after the plan.
		c.Seed(SeedTable{Verdicts: seeds("u=U"), Age: 0, From: "fresher"})
		c.want("u", "?/U")
		// A verdict of its own is not overridden.
		a, b := c.connect("a1", "a"), c.connect("b1", "b")
		a.says("full t=U u=? v=U w=U")
		b.says("full t=U u=H v=U w=U")
		c.want("t", "U/U")
		got, _ = c.State().Get("v")
		if held := got.Held(time.Now()); held != 120*time.Second {
			t.Errorf("a seed that was confirmed has held %s, want 2m", held)
		}
		c.pass(time.Second, a, b)
		c.Seed(SeedTable{Verdicts: seeds("t=H u=H v=H"), Age: 0, From: "late"})
		for target, want := range map[string]string{"t": "U/U", "u": "?/H", "v": "U/U", "w": "U/U"} {
			c.want(target, want)
		}
		// The digest follows.
		want := healthDigest(c.State())
		if got := c.State().Digest; got != want {
			t.Errorf("digest %s, want %s", got, want)
		}
	})
}

func TestSeedsFromTheWireAreBounded(t *testing.T) {
	now := time.Now()
	got := parseSeeds(SeedTable{Age: math.MaxInt64, Verdicts: []*pb.TargetHealth{
		nil,
		{Target: "t", Verdict: healthpb.Status(regions.Healthy), HeldMillis: math.MaxUint64, GuardTrip: math.MaxUint64},
		{Target: "", Verdict: healthpb.Status(regions.Healthy)},
		{Target: "u", Verdict: 99},
	}}, now).seeds
	if len(got) != 1 || got["t"].Since.After(now) || got["t"].seen.After(now) || got["t"].Guard != 0 {
		t.Errorf("seeds %+v", got)
	}
	if got := parseSeeds(SeedTable{Verdicts: seeds("t=H"), Age: -time.Hour}, now).seeds["t"].seen; got.After(now) {
		t.Errorf("a table from the future: %s", got)
	}
}

// A judge that was paused trusts nothing it knew: the sessions end, it is not
// ready, verdicts stand and give way to what somebody has seen since.
func TestResync(t *testing.T) {
	inCourt(t, Options{}, func(t *testing.T, c *court) {
		c.plan(1, three, "t", "u")
		a, b := c.connect("a1", "a"), c.connect("b1", "b")
		a.says("full t=H u=H")
		b.says("full t=H u=H")
		c.pass(10*time.Second, a, b)
		c.want("t", "H/H")

		// As the pulse sees it: the last beat is ten seconds old.
		c.pulse.beat.Store(int64(time.Since(c.pulse.start) - 10*time.Second))
		if c.State().Ready {
			t.Error("ready although no beat has come for ten seconds")
		}
		c.want("t", "?/H")
		if s := c.State(); s.Ready || s.AgentsFresh != 0 {
			t.Errorf("after a pause: %+v", s)
		}
		for _, s := range []*speaker{a, b} {
			if _, msg := s.status(); msg != "the controller stood still and forgot what it had heard: report again" {
				t.Errorf("%s: %s", s.name, msg)
			}
		}
		// Nameservers have followed another controller meanwhile.
		c.Seed(SeedTable{Verdicts: seeds("t=U"), Age: 2 * time.Second, From: "ns1"})
		c.Seed(SeedTable{Verdicts: seeds("u=U"), Age: 20 * time.Second, From: "old"})
		c.want("t", "?/U")
		c.want("u", "?/H")
		a, b = c.connect("a1", "a"), c.connect("b1", "b")
		a.says("full t=U u=H")
		if c.State().Ready {
			t.Error("ready with one of three regions")
		}
		b.says("full t=U u=H")
		c.want("t", "U/U")
		if !c.State().Ready {
			t.Error("not ready again")
		}
	})
}

// A stream that began before a pause is not admitted after it.
func TestSessionFromBeforeAPause(t *testing.T) {
	m, _ := newMetrics(nil)
	o := Options{}
	if err := o.validate(); err != nil {
		t.Fatal(err)
	}
	ta := newTally(&o, m)
	now := time.Now()
	p := planOf(1, three, "t")
	ta.plan(&p, now)
	s := sessionOf(&pb.AgentHello{Agent: "a1", Region: "a"})
	ta.resync(1, now.Add(-time.Minute), now)
	ta.hear(event{session: s, opened: true}, now)
	ta.hear(ta.event(s, opinions("full t=U"), now), now)
	select {
	case err := <-s.end:
		if !errors.Is(err, errPaused) {
			t.Errorf("ended with %v", err)
		}
	default:
		t.Error("it goes on")
	}
	if v := ta.vantages["a1"]; v.session != nil || v.targets() != 0 {
		t.Errorf("it was admitted: %+v", v)
	}
}
