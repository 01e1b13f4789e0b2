package verdicts

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// A gap between beats is a pause as far as the time on processors does not fill it.
func TestPulseTellsPauseFromOverload(t *testing.T) {
	procs := time.Duration(runtime.GOMAXPROCS(0))
	for name, tc := range map[string]struct {
		gap, cpu          time.Duration
		pauses, overloads uint64
	}{
		"no gap":                            {gap: PauseLimit},
		"stopped":                           {gap: 10 * time.Second, cpu: 20 * time.Millisecond, pauses: 1},
		"stopped, the clock is not known":   {gap: PauseLimit + 1, pauses: 1},
		"stopped, busy before and after it": {gap: 3 * time.Second, cpu: procs * 500 * time.Millisecond, pauses: 1},
		"overloaded":                        {gap: 1500 * time.Millisecond, cpu: procs * 700 * time.Millisecond, overloads: 1},
		"overloaded for as long as can be":  {gap: 10 * time.Second, cpu: procs * 10 * time.Second, overloads: 1},
		"overloaded for long, by others":    {gap: 10 * time.Second, cpu: procs * 5 * time.Second, pauses: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var used time.Duration
				p := newPulse(func() time.Duration { return used })
				p.begin()
				for range 3 { // what was used before is no evidence
					time.Sleep(pulseEvery)
					used += procs * pulseEvery
					p.alive()
				}
				time.Sleep(tc.gap)
				used += tc.cpu
				p.alive()
				p.alive()
				if got := p.pauses.Load(); got != tc.pauses {
					t.Errorf("%d pauses, want %d", got, tc.pauses)
				}
				if got := p.overloads.Load(); got != tc.overloads {
					t.Errorf("%d overloads, want %d", got, tc.overloads)
				}
			})
		})
	}
}

// A judge that was overloaded forgets nothing: the sessions go on, and it stays
// ready; and it says so.
func TestOverloadIsNoPause(t *testing.T) {
	var used atomic.Int64
	inCourt(t, Options{CPU: func() time.Duration { return time.Duration(used.Load()) }}, func(t *testing.T, c *court) {
		c.plan(1, three, "t")
		a, b := c.connect("a1", "a"), c.connect("b1", "b")
		a.says("full t=H")
		b.says("full t=H")
		c.want("t", "H/H")
		// The last beat was long ago, and then one comes.
		gap := func(cpu time.Duration) {
			used.Add(int64(cpu))
			c.pulse.beat.Store(int64(time.Since(c.pulse.start) - 2*time.Second))
			time.Sleep(pulseEvery)
			synctest.Wait()
		}
		counted := func(resyncs, overloads float64) {
			t.Helper()
			if r, o := testutil.ToFloat64(c.m.resyncs), testutil.ToFloat64(c.m.overload); r != resyncs || o != overloads {
				t.Errorf("%v resyncs and %v overloads, want %v and %v", r, o, resyncs, overloads)
			}
		}
		gap(2 * time.Second * time.Duration(runtime.GOMAXPROCS(0)))
		c.want("t", "H/H")
		if s := c.State(); !s.Ready || s.AgentsFresh != 2 || !a.open() || !b.open() {
			t.Errorf("after an overload: %+v", s)
		}
		counted(0, 1)
		gap(time.Millisecond)
		c.want("t", "?/H")
		if s := c.State(); s.Ready || s.AgentsFresh != 0 || a.open() || b.open() {
			t.Errorf("after a pause: %+v", s)
		}
		counted(1, 1)
	})
}
