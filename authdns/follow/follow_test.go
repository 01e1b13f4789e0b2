package follow

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

func (s *scene) metric(name string) float64 {
	s.t.Helper()
	all, err := s.reg.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	s.t.Fatalf("no metric %s", name)
	return 0
}

func TestFollows(t *testing.T) {
	play(t, 1, func(t *testing.T, s *scene, cs []*controller) {
		c := cs[0]
		s.want("-")
		if _, ok := s.HealthAge(time.Now()); ok {
			t.Error("verdicts have an age before there are any")
		}
		// The plan comes before anything was judged: it is served, by each
		// service's policy for what was never judged.
		c.offers(makeGeneration(t, 1, 5, 2))
		pass(time.Second)
		s.want("1.5 1=? 2=?")
		if ack := c.lastAck(); ack != "1.5" {
			t.Errorf("acknowledged %q", ack)
		}
		s.followed(false)
		c.says("1=H 2=U")
		pass(time.Second)
		s.want("1.5 1=? 2=?") // it is not ready
		c.set(func(s *script) { s.ready = true })
		pass(time.Second)
		s.want("1.5 1=H 2=U")
		s.followed(true)
		if age, ok := s.HealthAge(time.Now()); !ok || age > time.Second {
			t.Errorf("age %v, %v", age, ok)
		}
		c.says("1=U")
		pass(100 * time.Millisecond)
		s.want("1.5 1=U 2=U")
		// A target that it has not judged, and one that it no longer has, keep
		// what is known.
		c.set(func(s *script) { s.verdicts = nil })
		c.says("1=?")
		pass(100 * time.Millisecond)
		s.want("1.5 1=U 2=U")
		c.offers(makeGeneration(t, 1, 6, 3))
		pass(time.Second)
		s.want("1.6 1=U 2=U 3=?")
		// The controller is gone: nothing changes, and the age grows.
		c.stop()
		pass(time.Hour)
		s.want("1.6 1=U 2=U 3=?")
		if age, _ := s.HealthAge(time.Now()); age < time.Hour || s.metric("fairlead_authdns_health_age_seconds") < 3600 {
			t.Errorf("age %v", age)
		}
		if s.metric("fairlead_authdns_following") != 0 {
			t.Error("following nobody, says the metric not")
		}
		// It comes back with another incarnation, is told what is known here,
		// and is followed again.
		c.set(func(s *script) { s.verdicts = nil })
		c.says("1=H 2=H 3=H")
		c.start()
		pass(5 * time.Second)
		s.want("1.6 1=H 2=H 3=H")
		s.followed(true)
		c.seen(func() {
			h := c.hellos[len(c.hellos)-1]
			if h.GetNameserver() != "ns-1" || h.GetInstallation() != installation || h.GetGeneration().GetRevision() != 6 || len(h.GetVerdicts()) != 2 {
				t.Fatalf("hello %v", h)
			}
			if age := time.Duration(h.GetVerdictsAgeMillis()) * time.Millisecond; age < time.Hour {
				t.Errorf("the verdicts in the hello are %v old, want over an hour", age)
			}
			// How long a verdict had held is told as of then, not as of now.
			if held := time.Duration(h.GetVerdicts()[0].GetHeldMillis()) * time.Millisecond; held > time.Minute {
				t.Errorf("a verdict had held for %v when last heard of", held)
			}
		})
	})
}

func TestNeverAnOlderGeneration(t *testing.T) {
	play(t, 2, func(t *testing.T, s *scene, cs []*controller) {
		cs[0].offers(makeGeneration(t, 2, 50, 2))
		cs[1].offers(makeGeneration(t, 2, 49, 1))
		pass(time.Second)
		s.want("2.50 1=? 2=?")
		cs[0].stop() // only the one that lags is left
		pass(time.Minute)
		s.want("2.50 1=? 2=?")
		cs[1].offers(makeGeneration(t, 1, 900, 1)) // an older epoch, however high its revision
		pass(time.Minute)
		s.want("2.50 1=? 2=?")
		cs[1].offers(makeGeneration(t, 3, 2, 3)) // restored
		pass(time.Second)
		s.want("3.2 1=? 2=? 3=?")
		for i, v := range s.published[1:] {
			if v.Plan.Generation.Compare(s.published[i].Plan.Generation) < 0 {
				t.Errorf("%v was published after %v", v.Plan.Generation, s.published[i].Plan.Generation)
			}
		}
		cs[0].start()
	})
}

// A controller of another installation is refused, its verdicts too, and it
// keeps nobody from the right ones.
func TestForeignInstallation(t *testing.T) {
	play(t, 2, func(t *testing.T, s *scene, cs []*controller) {
		own, foreign := cs[0], cs[1]
		own.offers(makeGeneration(t, 1, 5, 1))
		own.set(func(s *script) { s.ready = true })
		own.says("1=H")
		pass(time.Second)
		s.want("1.5 1=H")
		foreign.offers(makeGeneration(t, 9, 1, 3).with(func(u *pb.PlanUpdate) { u.Head.Installation = "there" }))
		foreign.set(func(s *script) { s.ready = true })
		foreign.says("1=U")
		own.set(func(s *script) { s.evidenceAge = time.Minute }) // so that the other is fresher by far
		pass(time.Second)
		s.want("1.5 1=H")
		s.followed(true, false)
		if ack := foreign.lastAck(); !strings.Contains(ack, `1.5 refused: generation 9.1: the controller belongs to installation "there"`) || !strings.Contains(ack, "empty its snapshot directory") {
			t.Errorf("acknowledged %q", ack)
		}
		own.offers(makeGeneration(t, 1, 6, 2))
		pass(time.Second)
		s.want("1.6 1=H 2=?")
		if ack := own.lastAck(); ack != "1.6" {
			t.Errorf("acknowledged %q", ack)
		}
		own.stop()
		pass(time.Minute)
		s.want("1.6 1=H 2=?")
		s.followed(true, false)
		own.start()
	})
}

// What is torn, altered or makes no sense is refused with the reason; the good
// one stays, and the next good one is served.
func TestBadGenerations(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(g *generationOf)
		words string
	}{
		"a missing object": {func(g *generationOf) {
			for d := range g.objects {
				if string(d[:]) != string(g.update.Head.Manifest) {
					delete(g.objects, d)
				}
			}
		}, "object"},
		"an altered object": {func(g *generationOf) {
			d := plan.Digest(g.update.Head.Manifest)
			g.objects[d] = append([]byte("x"), g.objects[d]...)
		}, "other contents"},
		"rubbish for a manifest": {func(g *generationOf) {
			data := []byte("rubbish")
			d := plan.Sum(data)
			g.objects[d] = data
			g.update.Head.Manifest = d[:]
		}, "manifest"},
		"no head":            {func(g *generationOf) { g.update.Head = nil }, "epoch"},
		"a short digest":     {func(g *generationOf) { g.update.Head.Manifest = []byte("short") }, "by 5 bytes"},
		"another epoch":      {func(g *generationOf) { g.update.Head.Epoch = 7 }, "epoch 7"},
		"too large a digest": {func(g *generationOf) { g.update.Head.Overrides = make([]byte, 1000) }, "by 1000 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, 1, func(t *testing.T, s *scene, cs []*controller) {
				c := cs[0]
				c.offers(makeGeneration(t, 1, 5, 1))
				pass(time.Second)
				bad := makeGeneration(t, 1, 6, 2).with(func(*pb.PlanUpdate) {})
				test.spoil(&bad)
				c.offers(bad)
				pass(time.Second)
				s.want("1.5 1=?")
				if ack := c.lastAck(); !strings.HasPrefix(ack, "1.5 refused: generation 1.6: ") || !strings.Contains(ack, test.words) {
					t.Errorf("acknowledged %q", ack)
				}
				if s.metric("fairlead_authdns_generation_refused") != 1 {
					t.Error("the metric does not tell")
				}
				// Trying again is not all that it does.
				before := 0
				c.seen(func() { before = c.fetches })
				pass(5 * time.Minute)
				c.seen(func() {
					if n := c.fetches - before; n > 40 {
						t.Errorf("%d fetches in 5 minutes", n)
					}
				})
				c.offers(makeGeneration(t, 1, 7, 3))
				pass(time.Second)
				s.want("1.7 1=? 2=? 3=?")
				if ack := c.lastAck(); ack != "1.7" {
					t.Errorf("acknowledged %q", ack)
				}
				if s.metric("fairlead_authdns_generation_refused") != 0 {
					t.Error("the metric does not tell that it is over")
				}
			})
		})
	}
}

// The same generation with other contents is no generation of ours.
func TestSameGenerationOtherContents(t *testing.T) {
	play(t, 1, func(t *testing.T, s *scene, cs []*controller) {
		cs[0].offers(makeGeneration(t, 1, 5, 1))
		pass(time.Second)
		cs[0].offers(makeGeneration(t, 1, 5, 2))
		pass(time.Second)
		s.want("1.5 1=?")
		if ack := cs[0].lastAck(); !strings.Contains(ack, "restored without a new epoch") {
			t.Errorf("acknowledged %q", ack)
		}
	})
}

// When one controller cannot hand out the newest generation, another does; or
// one with an older one that is newer than what is served.
func TestFetchesElsewhere(t *testing.T) {
	play(t, 2, func(t *testing.T, s *scene, cs []*controller) {
		for _, broken := range []int{0, 1} {
			revision := int64(10 + 10*broken)
			cs[broken].set(func(s *script) { s.fail = true })
			cs[1-broken].set(func(s *script) { s.fail = false })
			cs[0].offers(makeGeneration(t, 1, revision, 1+4*broken))
			cs[1].offers(makeGeneration(t, 1, revision, 1+4*broken))
			pass(time.Second)
			if g := s.Serving(); g == nil || g.Plan.Generation.Revision != revision {
				t.Fatalf("%d: serving %v", revision, g)
			}
			cs[broken].offers(makeGeneration(t, 1, revision+5, 2+4*broken))
			cs[1-broken].offers(makeGeneration(t, 1, revision+3, 3+4*broken))
			pass(2 * time.Second)
			if g := s.Serving().Plan.Generation.Revision; g != revision+3 {
				t.Fatalf("serving revision %d, want %d", g, revision+3)
			}
			if ack := cs[broken].lastAck(); !strings.Contains(ack, "no objects today") {
				t.Errorf("acknowledged %q", ack)
			}
		}
	})
}

// A fetch that hangs keeps no verdict waiting.
func TestVerdictsDoNotWaitForPlans(t *testing.T) {
	play(t, 1, func(t *testing.T, s *scene, cs []*controller) {
		c := cs[0]
		c.offers(makeGeneration(t, 1, 5, 1))
		c.set(func(s *script) { s.ready = true })
		c.says("1=H")
		pass(time.Second)
		c.set(func(s *script) { s.hang = true })
		c.offers(makeGeneration(t, 1, 6, 2))
		pass(time.Second)
		c.says("1=U")
		pass(100 * time.Millisecond)
		s.want("1.5 1=U")
		c.set(func(s *script) { s.hang = false })
		pass(2 * fetchLimit)
		s.want("1.6 1=U 2=?")
	})
}

func TestChangesController(t *testing.T) {
	play(t, 2, func(t *testing.T, s *scene, cs []*controller) {
		a, b := cs[0], cs[1]
		g := makeGeneration(t, 1, 5, 2)
		a.offers(g)
		b.offers(g)
		a.says("1=H 2=H")
		a.set(func(s *script) { s.ready = true })
		pass(time.Second)
		s.followed(true, false)
		// One that is no better is not changed to, and what it says is not served.
		b.says("1=U 2=U")
		b.set(func(s *script) { s.ready = true })
		pass(time.Minute)
		s.followed(true, false)
		s.want("1.5 1=H 2=H")
		// It lives, but has not heard an agent for long: the other has.
		a.set(func(s *script) { s.evidenceAge = 10 * time.Second })
		pass(time.Second)
		s.followed(false, true)
		s.want("1.5 1=U 2=U")
		a.set(func(s *script) { s.evidenceAge = 0 })
		pass(time.Minute)
		s.followed(false, true)
		// It hangs, with its stream open.
		b.set(func(s *script) { s.silent = true })
		pass(2 * time.Second)
		s.followed(true, false)
		s.want("1.5 1=H 2=H")
		// It says that it is not ready.
		b.set(func(s *script) { s.silent = false })
		pass(10 * time.Second)
		a.set(func(s *script) { s.ready = false })
		pass(time.Second)
		s.followed(false, true)
		// It dies. The one that is left is fresh and has judged one target only.
		a.set(func(s *script) { s.verdicts = nil })
		a.says("1=H 2=?")
		a.set(func(s *script) { s.ready = true })
		b.stop()
		pass(2 * time.Second)
		s.want("1.5 1=H 2=U")
		a.seen(func() {
			if !a.follow {
				t.Error("the one that is left is not followed")
			}
		})
		if n := s.metric("fairlead_authdns_controller_changes_total"); n < 4 {
			t.Errorf("%v changes of controller", n)
		}
		b.start()
	})
}

// A table that is out of step is asked for anew, and meanwhile not answered by.
func TestResync(t *testing.T) {
	play(t, 1, func(t *testing.T, s *scene, cs []*controller) {
		c := cs[0]
		c.offers(makeGeneration(t, 1, 5, 2))
		c.set(func(s *script) { s.ready = true })
		c.says("1=H 2=H")
		pass(time.Second)
		c.set(func(s *script) { s.spoil = true; s.silent = true })
		c.says("1=U")
		c.set(func(s *script) { s.silent = false })
		pass(time.Second)
		s.want("1.5 1=U 2=H")
		s.followed(true)
		c.seen(func() {
			if c.resyncs != 1 || len(c.hellos) != 1 {
				t.Errorf("%d resyncs on %d streams, want 1 on 1", c.resyncs, len(c.hellos))
			}
		})
	})
}

// A stream that ends is opened again, and everything that was told is told
// again; one that is silent is given up.
func TestStreamsAreReopened(t *testing.T) {
	play(t, 1, func(t *testing.T, s *scene, cs []*controller) {
		c := cs[0]
		c.offers(makeGeneration(t, 1, 5, 1))
		c.set(func(s *script) { s.ready = true })
		c.says("1=H")
		pass(time.Second)
		hellos := func() (n int) { c.seen(func() { n = len(c.hellos) }); return n }
		before := hellos()
		c.set(func(s *script) { s.cut = true })
		pass(time.Minute)
		if n := hellos() - before; n < 20 || n > 70 {
			t.Errorf("%d attempts in a minute", n)
		}
		c.seen(func() { c.follow, c.acks = false, nil })
		c.set(func(s *script) { s.cut = false })
		pass(5 * time.Second)
		s.followed(true)
		s.want("1.5 1=H")
		if ack := c.lastAck(); ack != "1.5" {
			t.Errorf("acknowledged %q", ack)
		}
		before = hellos()
		c.set(func(s *script) { s.silent = true })
		pass(time.Minute)
		if n := hellos() - before; n < 5 {
			t.Errorf("a silent stream was opened %d times in a minute", n)
		}
		c.seen(func() {
			if c.streams > 1 {
				t.Errorf("%d streams are open", c.streams)
			}
		})
	})
}

func TestMetricsAreWellFormed(t *testing.T) {
	play(t, 1, func(t *testing.T, s *scene, _ []*controller) {
		if problems, err := testutil.GatherAndLint(s.reg); err != nil || len(problems) > 0 {
			t.Error(problems, err)
		}
	})
}
