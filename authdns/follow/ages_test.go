package follow

import (
	"strings"
	"testing"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

const failOpenAfterAMinute = `---
apiVersion: fairlead/v1
kind: SafetyPolicy
metadata: {name: default}
spec: {healthAges: {frozenAfter: 10s, failOpenAfter: 60s}}
`

// service is one with a failback policy: 192.0.2.101.
func service(failback string) string {
	return `---
apiVersion: fairlead/v1
kind: Region
metadata: {name: s}
spec: {latitude: 0, longitude: 0}
---
apiVersion: fairlead/v1
kind: Service
metadata: {name: b.example.test}
spec: {zone: example.test, policy: nearest, healthCheck: web, failback: {` + failback + `},
  endpoints: [{name: e, region: r, addresses: [192.0.2.101]}, {name: f, region: s, addresses: [192.0.2.102]}]}
`
}

// answersFrom is the region that b.example.test answers from, for a client
// whose location is not known.
func (s *scene) answersFrom() string {
	s.t.Helper()
	v := s.Serving().View
	i, ok := v.Plan.Service("b.example.test")
	if !ok {
		s.t.Fatal("no such service")
	}
	sel := v.Select(i, regions.V4, clientAnywhere, 1, nil)
	return v.Plan.Regions[sel.Region].Name
}

// With every controller gone the verdicts grow old: answers stay, first as they
// are, then said to be stale, then, if that is asked for, as if all were healthy.
// When a controller is back, all is as it says.
func TestAges(t *testing.T) {
	play(t, 1, func(t *testing.T, s *scene, cs []*controller) {
		c := cs[0]
		c.offers(makeGenerationWith(t, 1, 5, 1, failOpenAfterAMinute))
		c.says("1=U")
		c.set(func(s *script) { s.ready = true })
		pass(time.Minute)
		state := func(want regions.HealthState, serves bool) {
			t.Helper()
			v := s.Serving()
			if v.Health != want || v.View.FailOpen() != (want == regions.FailOpen) {
				t.Errorf("the verdicts are %v, fail-open %v; want %v", v.Health, v.View.FailOpen(), want)
			}
			if got := v.View.Effect(0, 0, regions.V4).Serves(); got != serves {
				t.Errorf("%v: the endpoint serves: %v, want %v", want, got, serves)
			}
		}
		state(regions.Fresh, false)
		c.seen(func() {
			if r := c.report; r.GetHealthState() != "fresh" || r.GetHealthAgeMillis() > 1000 {
				t.Errorf("the controller was told %v", r)
			}
		})
		c.stop()
		pass(8 * time.Second)
		state(regions.Fresh, false)
		pass(4 * time.Second)
		state(regions.Frozen, false)
		if s.metric("fairlead_authdns_health_frozen") != 1 {
			t.Error("no metric says that the verdicts are frozen")
		}
		pass(50 * time.Second)
		state(regions.FailOpen, true)
		if s.metric("fairlead_authdns_health_fail_open") != 1 || s.metric("fairlead_authdns_health_frozen") != 0 {
			t.Error("no metric says that all counts as healthy")
		}
		c.start()
		pass(5 * time.Second)
		state(regions.Fresh, false)
	})
}

// Time alone ends a hold-down.
func TestHoldDownEnds(t *testing.T) {
	play(t, 1, func(t *testing.T, s *scene, cs []*controller) {
		c := cs[0]
		c.offers(makeGenerationWith(t, 1, 5, 1, service("holdDown: 60s")))
		c.says("101=U 102=H")
		c.set(func(s *script) { s.ready = true })
		pass(time.Second)
		if got := s.answersFrom(); got != "s" {
			t.Fatalf("with r down, %s answers", got)
		}
		c.set(func(s *script) { s.restored = true })
		c.says("101=H")
		pass(58 * time.Second)
		if got := s.answersFrom(); got != "s" {
			t.Errorf("within the hold-down, %s answers", got)
		}
		pass(3 * time.Second)
		if got := s.answersFrom(); got != "r" {
			t.Errorf("after the hold-down, %s answers", got)
		}
	})
}

// A latch counts whoever tells of it, over a restart and whatever another
// controller says, until the plan releases that trip.
func TestLatches(t *testing.T) {
	play(t, 2, func(t *testing.T, s *scene, cs []*controller) {
		a, b := cs[0], cs[1]
		manual := service("mode: manual")
		for _, c := range cs {
			c.offers(makeGenerationWith(t, 1, 5, 1, manual))
			c.says("101=H 102=H")
			c.set(func(s *script) { s.ready = true })
			pass(500 * time.Millisecond) // the first is followed
		}
		pass(time.Second)
		from := func(want string) {
			t.Helper()
			if got := s.answersFrom(); got != want {
				t.Errorf("%s answers, want %s", got, want)
			}
		}
		from("r")
		s.followed(true, false)
		latch := func(trip uint64) []regions.Latch {
			return []regions.Latch{{Service: "b.example.test", Region: "r", Trip: trip, Since: time.Now()}}
		}
		b.set(func(s *script) { s.latches = latch(2) }) // who is not followed
		pass(time.Second)
		from("s")
		b.set(func(s *script) { s.latches = nil })
		a.set(func(s *script) { s.latches = latch(1) })
		pass(time.Second)
		from("s")
		s.again(a, b)
		from("s")
		pass(time.Second)
		a.seen(func() {
			l := a.hellos[len(a.hellos)-1].GetLatches().GetLatches()
			if len(l) != 1 || l[0].GetTrip() != 2 {
				t.Errorf("the hello tells of %v", l)
			}
		})
		release := func(revision int64, trip uint64) {
			for _, c := range cs {
				c.offers(makeGenerationWith(t, 1, revision, 1, manual, &pb.LatchRelease{Latch: "failback/b.example.test/r", Trip: trip}))
			}
			pass(time.Second)
		}
		release(6, 1) // that was before
		from("s")
		release(7, 2)
		from("r")
		a.set(func(s *script) { s.latches = latch(3) })
		pass(time.Second)
		from("s")
	})
}

// A latch is forgotten with what it waited for: its trip is released, or its
// service has no manual failback any more. Nothing brings it back, no restart and
// no configuration that has it again, as one that is restored from a backup.
func TestLatchesAreForgotten(t *testing.T) {
	manual := service("mode: manual")
	release := &pb.LatchRelease{Latch: "failback/b.example.test/r", Trip: 2}
	for _, tt := range []struct {
		what string
		next func(t *testing.T) generationOf
	}{
		{"released", func(t *testing.T) generationOf { return makeGenerationWith(t, 1, 6, 1, manual, release) }},
		{"automatic", func(t *testing.T) generationOf { return makeGenerationWith(t, 1, 6, 1, service("holdDown: 1s")) }},
		{"not checked", func(t *testing.T) generationOf {
			return makeGenerationWith(t, 1, 6, 1, strings.Replace(manual, "healthCheck: web, ", "", 1))
		}},
		{"in no such region", func(t *testing.T) generationOf {
			return makeGenerationWith(t, 1, 6, 1, strings.Replace(manual, "{name: e, region: r, ", "{name: e, region: s, ", 1))
		}},
		{"no service", func(t *testing.T) generationOf { return makeGeneration(t, 1, 6, 1) }},
	} {
		t.Run(tt.what, func(t *testing.T) {
			play(t, 2, func(t *testing.T, s *scene, cs []*controller) {
				all := func(g generationOf) {
					for _, c := range cs {
						c.offers(g)
					}
					pass(time.Second)
				}
				told := func(trip uint64) {
					cs[1].set(func(s *script) {
						s.latches = []regions.Latch{{Service: "b.example.test", Region: "r", Trip: trip, Since: time.Now()}}
					})
					pass(time.Second)
				}
				known := func(want float64) {
					t.Helper()
					if got := s.metric("fairlead_authdns_latches"); got != want {
						t.Errorf("%v latches are known, want %v", got, want)
					}
				}
				all(makeGenerationWith(t, 1, 5, 1, manual))
				told(2)
				known(1)
				all(tt.next(t))
				known(0)
				cs[1].set(func(s *script) { s.latches = nil })
				pass(time.Second)
				told(1) // by one that lags behind
				known(0)
				cs[1].set(func(s *script) { s.latches = nil })
				pass(time.Second)
				s.again(cs...)
				pass(time.Second)
				known(0)
				all(makeGenerationWith(t, 2, 5, 1, manual)) // restored
				known(0)
				s.again(cs...)
				pass(time.Second)
				known(0)
				told(1)
				known(1)
			})
		})
	}
}

// A latch of a service that the nameserver does not serve yet counts once it does.
func TestLatchBeforeItsPlan(t *testing.T) {
	play(t, 2, func(t *testing.T, s *scene, cs []*controller) {
		for _, c := range cs {
			c.offers(makeGeneration(t, 1, 5, 1))
		}
		pass(time.Second)
		cs[1].set(func(s *script) {
			s.latches = []regions.Latch{{Service: "b.example.test", Region: "r", Trip: 1, Since: time.Now()}}
		})
		pass(time.Second)
		if got := s.metric("fairlead_authdns_latches"); got != 0 {
			t.Errorf("%v latches wait for nothing", got)
		}
		for _, c := range cs {
			c.offers(makeGenerationWith(t, 1, 6, 1, service("mode: manual")))
		}
		pass(time.Second)
		if got := s.metric("fairlead_authdns_latches"); got != 1 {
			t.Errorf("%v latches, want that which the controller told of before", got)
		}
	})
}

// Controllers that go on judging differently are counted.
func TestDivergence(t *testing.T) {
	play(t, 2, func(t *testing.T, s *scene, cs []*controller) {
		for _, c := range cs {
			c.offers(makeGeneration(t, 1, 5, 3))
			c.says("1=H 2=H 3=H")
			c.set(func(s *script) { s.ready = true })
		}
		pass(time.Minute)
		differ := func(want float64) {
			t.Helper()
			if got := s.metric("fairlead_authdns_health_diverging_targets"); got != want {
				t.Errorf("%v targets diverge, want %v", got, want)
			}
		}
		differ(0)
		cs[1].says("1=U 2=U")
		pass(3 * time.Second) // a change reaches them one after the other
		differ(0)
		pass(10 * time.Second)
		differ(2)
		pass(2 * time.Second)
		cs[0].seen(func() {
			if n := cs[0].report.GetDivergingTargets(); n != 2 {
				t.Errorf("the controller was told of %d", n)
			}
		})
		cs[0].says("1=U 2=U")
		pass(time.Second)
		differ(0)
	})
}
