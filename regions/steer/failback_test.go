package steer

import (
	"slices"
	"testing"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
)

// answersAt goes through a view's time, in seconds after epoch, and holds that
// a view that follows NextChange is the view made afresh.
func answersAt(t *testing.T, w *world, f regions.Family, want map[int]string) {
	t.Helper()
	w.now = epoch
	v := w.view(t)
	last := slices.Max(slices.Collect(mapKeys(want)))
	for s := 0; s <= last; s++ {
		now := epoch.Add(time.Duration(s) * time.Second)
		w.now = now
		if next := v.NextChange(); !next.IsZero() && !next.After(v.now) {
			t.Fatalf("at %d s the next change was at %v", s, next.Sub(epoch))
		}
		v = v.At(now)
		fresh := w.view(t)
		got := describe(v, 0, f, anyone)
		if again := describe(fresh, 0, f, anyone); got != again {
			t.Fatalf("at %d s: %s, made afresh: %s", s, got, again)
		}
		if text, ok := want[s]; ok && got != text {
			t.Errorf("at %d s: %s, want %s", s, got, text)
		}
	}
}

func mapKeys(m map[int]string) func(func(int) bool) {
	return func(yield func(int) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// TestHoldDown: a region comes back when enough of its endpoints have been
// healthy for long enough; what does not come back does not wait.
func TestHoldDown(t *testing.T) {
	hold := regions.Service{Failback: regions.Failback{HoldDown: time.Minute}}
	half := regions.Policy{MinHealthyPercent: 50}
	const near, far = "in-service eu: eu-1", "in-service us: us-1"
	for _, c := range []struct {
		name      string
		policy    regions.Policy
		service   regions.Service
		endpoints []string
		want      map[int]string
	}{
		{"a recovery waits", regions.Policy{}, hold, []string{"eu-1 up - back=10s", "us-1 up -"}, map[int]string{0: far, 49: far, 50: near, 90: near}},
		{"without a hold-down it does not", regions.Policy{}, regions.Service{}, []string{"eu-1 up - back=0s", "us-1 up -"}, map[int]string{0: near}},
		{"an old one waited", regions.Policy{}, hold, []string{"eu-1 up - back=60s", "us-1 up -"}, map[int]string{0: near}},
		{"one that was never down does not wait", regions.Policy{}, hold, []string{"eu-1 up - at=0s", "us-1 up -"}, map[int]string{0: near}},
		{"nor one that was never judged", regions.Policy{}, hold, []string{"eu-1 never -", "us-1 up -"}, map[int]string{0: near}},
		{"nor one that is forced up", regions.Policy{}, hold, []string{"eu-1 up - back=10s force-up", "us-1 up -"}, map[int]string{0: near}},
		{"nor what was undrained", regions.Policy{}, hold, []string{"eu-1 up - at=-1h", "us-1 up -"}, map[int]string{0: near}},
		{
			"in a region in service it answers at once", regions.Policy{}, hold, []string{"eu-1 up - back=10s", "eu-2 up -", "us-1 up -"},
			map[int]string{0: "in-service eu: eu-1 eu-2"},
		},
		{
			"the share is of the settled", half, hold, []string{"eu-1 up - back=10s", "eu-2 up - back=30s", "eu-3 up - back=20s", "eu-4 down -", "us-1 up -"},
			map[int]string{29: far, 30: far, 39: far, 40: "in-service eu: eu-1 eu-2 eu-3"},
		},
		{
			"the drained do not count in it", half, hold, []string{"eu-1 up - back=10s", "eu-2 up - back=30s", "eu-3 down - drain", "us-1 up -"},
			map[int]string{29: far, 30: "in-service eu: eu-1 eu-2"},
		},
		{
			"nothing else is in service", regions.Policy{}, hold, []string{"eu-1 up - back=10s", "us-1 down -"},
			map[int]string{0: "healthy-anywhere eu: eu-1", 50: near},
		},
		{
			"everything comes back", regions.Policy{}, hold, []string{"eu-1 up - back=10s", "us-1 up - back=20s"},
			map[int]string{0: "healthy-anywhere eu: eu-1", 39: "healthy-anywhere eu: eu-1", 40: far, 49: far, 50: near},
		},
		{
			"the guard holds a recovery", regions.Policy{}, hold, []string{"eu-1 up - back=10s guard=3", "us-1 up -"},
			map[int]string{0: far, 50: near},
		},
		{
			"confirmed counts", regions.Policy{}, hold, []string{"eu-1 up - back=10s confirmed=up", "us-1 up -"},
			map[int]string{0: near},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			answersAt(t, worldOf(t, c.policy, c.service, c.endpoints...), regions.V4, c.want)
		})
	}
}

// TestHoldDownByFamily: each family waits for itself, and together they are
// back with the first of them.
func TestHoldDownByFamily(t *testing.T) {
	hold := regions.Service{Failback: regions.Failback{HoldDown: time.Minute}}
	w := worldOf(t, regions.Policy{}, hold, "eu-1 up up back4=10s back6=30s", "us-1 up up")
	answersAt(t, w, regions.V4, map[int]string{29: "in-service us: us-1", 30: "in-service us: us-1", 49: "in-service us: us-1", 50: "in-service eu: eu-1"})
	answersAt(t, w, regions.V6, map[int]string{29: "in-service us: us-1", 30: "in-service eu: eu-1"})
}

// TestLatch: a region of a service with manual failback waits for a release of
// the trip that took it out, or of a later one.
func TestLatch(t *testing.T) {
	manual := regions.Service{Failback: regions.Failback{Manual: true}}
	latch := func(service, region string, trip uint64) regions.Latch {
		return regions.Latch{Service: service, Region: region, Trip: trip}
	}
	const www = "www.example.test"
	two := []string{"eu-1 up - back=1h", "us-1 up -"}
	for _, c := range []struct {
		name      string
		service   regions.Service
		endpoints []string
		latches   []regions.Latch
		released  uint64
		want      string
	}{
		{"none", manual, two, nil, 0, "in-service eu: eu-1"},
		{"it waits", manual, two, []regions.Latch{latch(www, "eu", 1)}, 0, "in-service us: us-1"},
		{"another region's", manual, two, []regions.Latch{latch(www, "ap", 1)}, 0, "in-service eu: eu-1"},
		{"another service's", manual, two, []regions.Latch{latch("api.example.test", "eu", 1)}, 0, "in-service eu: eu-1"},
		{"a region that is not there", manual, two, []regions.Latch{latch(www, "xx", 1)}, 0, "in-service eu: eu-1"},
		{"released", manual, two, []regions.Latch{latch(www, "eu", 1)}, 1, "in-service eu: eu-1"},
		{"released with a later trip", manual, two, []regions.Latch{latch(www, "eu", 1)}, 4, "in-service eu: eu-1"},
		{"tripped again since", manual, two, []regions.Latch{latch(www, "eu", 2)}, 1, "in-service us: us-1"},
		{"both known", manual, two, []regions.Latch{latch(www, "eu", 2), latch(www, "eu", 1)}, 1, "in-service us: us-1"},
		{"not by hand", regions.Service{}, two, []regions.Latch{latch(www, "eu", 1)}, 0, "in-service eu: eu-1"},
		{"forced up", manual, []string{"eu-1 down - force-up", "us-1 up -"}, []regions.Latch{latch(www, "eu", 1)}, 0, "in-service us: us-1"},
		{"nothing else is in service", manual, []string{"eu-1 up -", "us-1 down -"}, []regions.Latch{latch(www, "eu", 1)}, 0, "healthy-anywhere eu: eu-1"},
		{"all wait", manual, two, []regions.Latch{latch(www, "eu", 1), latch(www, "us", 1)}, 0, "healthy-anywhere eu: eu-1"},
		{"rather than drained ones", manual, []string{"eu-1 up -", "us-1 up - drain"}, []regions.Latch{latch(www, "eu", 1)}, 0, "healthy-anywhere eu: eu-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := worldOf(t, regions.Policy{}, c.service, c.endpoints...)
			w.plan.Releases = map[string]uint64{regions.FailbackLatch(www, "eu"): c.released}
			bare := w.view(t)
			w.latches = c.latches
			if got := describe(w.view(t), 0, regions.V4, anyone); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if got := describe(bare.WithLatches(c.latches, epoch), 0, regions.V4, anyone); got != c.want {
				t.Errorf("latched later: %s, want %s", got, c.want)
			}
			if got, want := describe(w.view(t).WithLatches(nil, epoch), 0, regions.V4, anyone), describe(bare, 0, regions.V4, anyone); got != want {
				t.Errorf("without latches again: %s, want %s", got, want)
			}
		})
	}
}

// TestFailOpen: every verdict counts as HEALTHY, and nothing else changes.
func TestFailOpen(t *testing.T) {
	manual := regions.Service{Failback: regions.Failback{Manual: true}}
	for _, c := range []struct {
		name      string
		service   regions.Service
		endpoints []string
		latches   []regions.Latch
		want      string
	}{
		{"what is down answers", regions.Service{}, []string{"eu-1 down -", "us-1 up -"}, nil, "in-service eu: eu-1"},
		{"at once", regions.Service{Failback: regions.Failback{HoldDown: time.Hour}}, []string{"eu-1 down -", "us-1 up -"}, nil, "in-service eu: eu-1"},
		{"a drain stays", regions.Service{}, []string{"eu-1 down - drain", "us-1 down -"}, nil, "in-service us: us-1"},
		{"forced down stays", regions.Service{}, []string{"eu-1 down - force-down", "us-1 down -"}, nil, "in-service us: us-1"},
		{"a latch stays", manual, []string{"eu-1 down -", "us-1 down -"}, []regions.Latch{{Service: "www.example.test", Region: "eu", Trip: 1}}, "in-service us: us-1"},
		{"no verdict is none", regions.Service{NeverJudged: regions.Unhealthy}, []string{"eu-1 never -", "us-1 down -"}, nil, "in-service us: us-1"},
		{"a hold-down goes on", regions.Service{Failback: regions.Failback{HoldDown: time.Hour}}, []string{"eu-1 up - back=10s", "us-1 down -"}, nil, "in-service us: us-1"},
		{"nothing is steady", regions.Service{MinTTL: 5}, []string{"eu-1 up - wavers", "us-1 down -"}, nil, "in-service eu: eu-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := worldOf(t, regions.Policy{}, c.service, c.endpoints...)
			w.latches = c.latches
			closed := w.view(t)
			w.failOpen = true
			open := w.view(t)
			for name, v := range map[string]*View{"made": open, "opened": closed.WithFailOpen(true, epoch)} {
				if got := describe(v, 0, regions.V4, anyone); got != c.want || !v.FailOpen() {
					t.Errorf("%s: %s, want %s", name, got, c.want)
				}
				if x := v.Explain(0, regions.V4, anyone, epoch); x.Rung != "in-service (fail-open)" || x.Selection.TTL != 30 {
					t.Errorf("%s: rung %s, TTL %d", name, x.Rung, x.Selection.TTL)
				}
			}
			if got, want := describe(open.WithFailOpen(false, epoch), 0, regions.V4, anyone), describe(closed, 0, regions.V4, anyone); got != want {
				t.Errorf("closed again: %s, want %s", got, want)
			}
		})
	}
}
