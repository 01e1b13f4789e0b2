package steer

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
)

// manyServices makes n services of four dual-stack endpoints in three regions.
func manyServices(n, overrides int) *world {
	w := &world{plan: &regions.Plan{}}
	var services []regions.Service
	var targets []regions.Target
	for i := range n {
		s := regions.Service{Name: fmt.Sprintf("s%d.example.test", i), TTL: 30, Checked: true, NeverJudged: regions.Healthy}
		for e := range 4 {
			ep := regions.Endpoint{Name: fmt.Sprintf("e%d", e), Region: uint16(e % 3), Weight: 100, Target: [2]int32{int32(len(targets)), int32(len(targets) + 1)}}
			ep.Addr[0] = netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), byte(e)})
			ep.Addr[1] = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i >> 16), byte(i >> 8), byte(i), 15: byte(e)})
			for range 2 {
				targets = append(targets, regions.Target{ID: fmt.Sprintf("web@%d", len(targets)), Check: "web", Services: []int32{int32(i)}})
				w.states = append(w.states, TargetState{Standing: regions.Standing{Verdict: regions.Healthy, Since: epoch}})
			}
			s.Endpoints = append(s.Endpoints, ep)
		}
		services = append(services, s)
	}
	for i := range overrides {
		w.plan.Overrides = append(w.plan.Overrides, regions.Override{ID: fmt.Sprint(i), Action: regions.Drain, Scope: regions.Scope{Service: services[i*7%n].Name}})
	}
	w.plan.Base = regions.NewBase(baseOf().Regions, []regions.Policy{nearest("nearest")}, services, targets)
	return w
}

// BenchmarkNewView evaluates 100,000 services, as for a new generation.
func BenchmarkNewView(b *testing.B) {
	for _, overrides := range []int{0, 1000} {
		b.Run(fmt.Sprintf("overrides=%d", overrides), func(b *testing.B) {
			w := manyServices(100_000, overrides)
			tables := compileRankings(b, w.plan.Base, nil, nil).Tables
			var v *View
			before := heap()
			for b.Loop() {
				v = NewView(Inputs{Plan: w.plan, Tables: tables, States: w.states, Now: epoch})
			}
			b.ReportMetric(float64(heap()-before)/float64(len(v.Plan.Services)), "B/service")
			runtime.KeepAlive(v)
		})
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkWith follows one verdict among 800,000 targets.
func BenchmarkWith(b *testing.B) {
	w := manyServices(100_000, 0)
	v := NewView(Inputs{Plan: w.plan, Tables: compileRankings(b, w.plan.Base, nil, nil).Tables, States: w.states, Now: epoch})
	changed := map[int32]TargetState{5: {Standing: regions.Standing{Verdict: regions.Unhealthy, Since: epoch}}}
	for b.Loop() {
		v = v.With(changed, epoch)
	}
}

// BenchmarkAt lets one of 100,000 hold-downs end after the other.
func BenchmarkAt(b *testing.B) {
	w := manyServices(100_000, 0)
	for i := range w.plan.Services {
		w.plan.Services[i].Failback.HoldDown = 1000 * time.Hour
	}
	for i := range w.states {
		w.states[i].Restored, w.states[i].Since = true, epoch.Add(time.Duration(i)*time.Millisecond)
	}
	v := NewView(Inputs{Plan: w.plan, Tables: compileRankings(b, w.plan.Base, nil, nil).Tables, States: w.states, Now: epoch})
	start := v
	for b.Loop() {
		next := v.NextChange()
		if next.IsZero() {
			v = start
			continue
		}
		v = v.At(next)
	}
}

func BenchmarkSelect(b *testing.B) {
	for _, c := range []struct {
		name string
		edit func(*world)
	}{
		{"plain", func(*world) {}},
		{"ramp", func(w *world) {
			for i := range w.plan.Services {
				s := &w.plan.Services[i]
				s.Failback = regions.Failback{RampSteps: []int{50}, RampInterval: time.Hour}
				for _, e := range []int{0, 3} { // all of the first region's
					for _, t := range s.Endpoints[e].Target {
						w.states[t].Restored = true
					}
				}
			}
		}},
		{"client-region", func(w *world) {
			for i := range w.plan.Services {
				s := &w.plan.Services[i]
				s.ClientRegionVerdicts = true
				for _, t := range s.Endpoints[1].Target {
					w.states[t].Regions = []RegionStanding{{Region: eu, Standing: regions.Standing{Verdict: regions.Unhealthy, Since: epoch}}}
				}
			}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			w := manyServices(1000, 0)
			c.edit(w)
			v := NewView(Inputs{Plan: w.plan, Tables: compileRankings(b, w.plan.Base, nil, nil).Tables, States: w.states, Now: epoch})
			var buf [regions.MaxAnswers]netip.Addr
			i := uint64(0)
			b.ReportAllocs()
			for b.Loop() {
				i++
				v.Select(int32(i%1000), regions.Family(i&1), anyone, i, buf[:0])
			}
		})
	}
}
