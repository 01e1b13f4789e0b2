package steer

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"

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
				w.states = append(w.states, TargetState{Verdict: regions.Healthy, Since: epoch})
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
				v = NewView(w.plan, tables, w.states)
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
	v := NewView(w.plan, compileRankings(b, w.plan.Base, nil, nil).Tables, w.states)
	changed := map[int32]TargetState{5: {Verdict: regions.Unhealthy, Since: epoch}}
	for b.Loop() {
		v = v.With(changed)
	}
}

func BenchmarkSelect(b *testing.B) {
	w := manyServices(1000, 0)
	v := NewView(w.plan, compileRankings(b, w.plan.Base, nil, nil).Tables, w.states)
	var buf [regions.MaxAnswers]netip.Addr
	i := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		i++
		v.Select(int32(i%1000), regions.Family(i&1), anyone, i, buf[:0])
	}
}
