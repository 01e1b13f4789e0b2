package verdicts

import (
	"slices"
	"testing"
	"time"
)

func TestEventRing(t *testing.T) {
	var r eventRing
	if got := r.after(0); len(got) != 0 {
		t.Errorf("%v", got)
	}
	numbers := func(after uint64) (out []uint64) {
		for _, e := range r.after(after) {
			out = append(out, e.Number)
		}
		return out
	}
	for range 3 {
		r.add(Event{})
	}
	if got := numbers(1); !slices.Equal(got, []uint64{2, 3}) {
		t.Errorf("after 1: %v", got)
	}
	for range 2*maxEvents + 7 {
		r.add(Event{})
	}
	all := numbers(0)
	if len(all) != maxEvents || all[0] != maxEvents+11 || all[maxEvents-1] != 2*maxEvents+10 || !slices.IsSorted(all) {
		t.Errorf("%d events, from %d to %d", len(all), all[0], all[len(all)-1])
	}
	if got := numbers(r.last); len(got) != 0 {
		t.Errorf("after the last: %v", got)
	}
	if got := numbers(r.last + 5); len(got) != 0 {
		t.Errorf("from the future: %v", got)
	}
}

// Whoever subscribes is woken by an event and finds it.
func TestEvents(t *testing.T) {
	inCourt(t, Options{}, func(t *testing.T, c *court) {
		p := planOf(1, three, "t", "u")
		p.Latches = []LatchGroup{{Service: "s", Region: "a", Targets: [][2]string{{"t"}}}}
		c.SetPlan(p)
		a, b := c.connect("a1", "a"), c.connect("b1", "b")
		a.says("full t=H u=H")
		b.says("full t=H u=H")
		c.pass(5*time.Second, a, b)
		wake, cancel := c.Subscribe()
		defer cancel()
		a.says("t=U")
		for len(wake) > 0 {
			<-wake
		}
		before := c.State().Version
		b.says("t=U")
		if len(wake) != 1 {
			t.Fatal("not woken")
		}
		events := c.Events(0)
		if len(events) != 1 || events[0].Kind != LatchTripped || events[0].Subject != "failback/s/a" || events[0].Text == "" || events[0].Time.IsZero() {
			t.Fatalf("%+v", events)
		}
		if got := c.Events(events[0].Number); len(got) != 0 {
			t.Errorf("again: %+v", got)
		}
		s := c.State()
		if len(s.Latches) != 1 || s.Version == before {
			t.Errorf("%+v", s.Latches)
		}
		for name, want := range map[string]float64{"latches": 1, "agents_isolated": 0, "guard_held_targets": 0, "verdicts_one_sided": 0} {
			if got := counted(t, c.registry, "fairlead_controller_"+name, ""); got != want {
				t.Errorf("%s is %g, want %g", name, got, want)
			}
		}
	})
}
