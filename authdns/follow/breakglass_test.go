package follow

import (
	"testing"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

// said is one record, on the only region.
func (s *scene) said(id string, action pb.BreakGlassAction, after time.Duration) {
	s.t.Helper()
	rec := &pb.BreakGlassRecord{Id: id, Action: action, Scope: &pb.OverrideScope{Region: "r"}, Author: "a", Reason: "b"}
	if _, _, err := s.opts.BreakGlass.Create(rec, after, time.Now()); err != nil {
		s.t.Fatal(err)
	}
}

// effect is how the first service's endpoint stands.
func (s *scene) effect() string {
	v := s.Serving()
	e := v.View.Effect(0, 0, regions.V4)
	return e.String() + " by " + e.By.String()
}

// What is said counts at once and until it is over, across generations and
// restarts, until one ends it; controllers hear of it.
func TestBreakGlass(t *testing.T) {
	const drain, undrain = pb.BreakGlassAction_BREAK_GLASS_ACTION_DRAIN, pb.BreakGlassAction_BREAK_GLASS_ACTION_UNDRAIN
	drained := &pb.Override{Id: "ov", Action: pb.OverrideAction_OVERRIDE_ACTION_DRAIN, Scope: &pb.OverrideScope{Region: "r"}, Author: "a", Reason: "b"}
	play(t, 1, func(t *testing.T, s *scene, cs []*controller) {
		c := cs[0]
		is := func(when, want string) {
			t.Helper()
			if got := s.effect(); got != want {
				t.Errorf("%s: %s, want %s", when, got, want)
			}
		}
		c.set(func(s *script) { s.ready = true })
		c.says("1=H")
		c.offers(makeGeneration(t, 1, 5, 1))
		pass(time.Second)
		is("nothing said", "healthy by verdict")
		s.said("bg-1", drain, 10*time.Second)
		pass(0)
		is("said", "drained by break-glass")
		// A newer generation keeps it, verdicts go on under it.
		c.offers(makeGeneration(t, 1, 6, 1))
		c.says("1=U")
		pass(time.Second)
		is("a newer generation", "drained by break-glass")
		if v := s.Serving(); v.Plan.Generation.Revision != 6 || v.View.Effect(0, 0, regions.V4).Healthy || len(v.BreakGlass) != 1 {
			t.Errorf("%+v", v)
		}
		c.says("1=H")
		pass(9*time.Second - time.Millisecond)
		is("just before its end", "drained by break-glass")
		pass(time.Millisecond + tick)
		is("at its end", "healthy by verdict")
		// It sets a drain of the control plane aside.
		c.offers(makeGenerationUnder(t, 1, 7, 1, "", &pb.OverrideSet{Overrides: []*pb.Override{drained}}))
		pass(time.Second)
		is("drained by the control plane", "drained by drain")
		if o := s.Serving().Overrides; len(o) != 1 || o[0].GetId() != "ov" {
			t.Errorf("%v", o)
		}
		s.said("bg-2", undrain, time.Hour)
		pass(0)
		is("undrained", "healthy by break-glass")
		if h := s.Hello().GetBreakGlass().GetRecords(); len(h) != 2 || h[1].GetId() != "bg-2" || h[1].GetRemainingMillis() == 0 || h[0].GetEnded() != "expired" {
			t.Errorf("%v", h)
		}
		// A restart: it counts with the first answer.
		s.stop()
		s2 := begin(t, s.dir)
		s2.Load()
		if got := s2.effect(); got != "healthy by break-glass" {
			t.Errorf("after a restart: %s", got)
		}
		*s = *begin(t, s.dir, cs...)
		s.Load()
		s.run()
		pass(2 * time.Second)
		// The plan ends it.
		c.offers(makeGenerationUnder(t, 1, 8, 1, "", &pb.OverrideSet{
			Overrides: []*pb.Override{drained}, BreakGlassEnds: []*pb.BreakGlassEnd{{Id: "bg-2", Author: "carol", Reason: "back"}},
		}))
		pass(time.Second)
		is("ended by the plan", "drained by drain")
		if how := s.opts.BreakGlass.Find("bg-2", time.Now()).GetEnded(); how != "ended by the control plane, by carol: back" {
			t.Errorf("%q", how)
		}
	})
}

// With no generation there is nothing that it could count for; it is told all the same.
func TestBreakGlassWithoutGeneration(t *testing.T) {
	play(t, 1, func(t *testing.T, s *scene, _ []*controller) {
		s.said("bg-1", pb.BreakGlassAction_BREAK_GLASS_ACTION_DRAIN, time.Hour)
		pass(time.Second)
		if h := s.Hello(); len(h.GetBreakGlass().GetRecords()) != 1 || h.GetGeneration() != nil {
			t.Errorf("%v", h)
		}
	})
}
