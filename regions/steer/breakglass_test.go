package steer

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead-dns/fairlead/regions"
)

// TestEndpointsOfAnAnswer: a selection names the endpoints whose addresses it has,
// no others, and says that they are drained when they are.
func TestEndpointsOfAnAnswer(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		v := anyWorld(rt).view(rt)
		client, lot := anyClient(rt), rapid.Uint64().Draw(rt, "lot")
		for service := range v.Plan.Services {
			s := &v.Plan.Services[service]
			for _, f := range families {
				if s.Names && f == regions.V6 {
					continue
				}
				sel := v.Select(int32(service), f, client, lot, nil)
				answered := map[netip.Addr]bool{}
				for i := range sel.Endpoints {
					e := &s.Endpoints[i]
					if s.Names && e.CNAME != sel.CNAME || !s.Names && !slices.Contains(sel.Addrs, e.Addr[f]) {
						rt.Fatalf("service %d, %v: %s is not in the answer %+v", service, f, e.Name, sel)
					}
					answered[e.Addr[f]] = true
					if drained := v.Effect(int32(service), int(i), f).Drained; drained != sel.Drained {
						rt.Fatalf("service %d, %v: %s is drained: %v, the selection says %v", service, f, e.Name, drained, sel.Drained)
					}
				}
				if sel.Rung == AllDownFallback || sel.Rung == None {
					if len(answered) > 0 {
						rt.Fatalf("service %d, %v: no endpoint answers, not %v", service, f, answered)
					}
				} else if !s.Names && len(answered) != len(sel.Addrs) || len(answered) == 0 {
					rt.Fatalf("service %d, %v: %v of %v", service, f, answered, sel.Addrs)
				}
			}
		}
	})
}

// TestWithBreakGlass: to add and to take away what was said directly gives the
// view that is made with it, or without.
func TestWithBreakGlass(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := anyWorld(rt)
		w.plan.Overrides = slices.DeleteFunc(w.plan.Overrides, func(o regions.Override) bool { return o.Origin == regions.BreakGlass })
		without := w.view(rt)
		var said []regions.Override
		for range rapid.IntRange(1, 3).Draw(rt, "said") {
			o := anyOverride(rt, rapid.StringMatching(`bg-[a-z]{3}`).Draw(rt, "id"), len(w.plan.Regions))
			o.Origin = regions.BreakGlass
			said = append(said, o)
		}
		other, p := *w, *w.plan
		p.Overrides = slices.Concat(p.Overrides, said)
		regions.SortOverrides(p.Overrides)
		other.plan = &p
		with := other.view(rt)
		same := func(what string, got, want *View) {
			if !slices.EqualFunc(got.Plan.Overrides, want.Plan.Overrides, func(a, b regions.Override) bool { return a == b }) {
				rt.Fatalf("%s: %v, want %v", what, got.Plan.Overrides, want.Plan.Overrides)
			}
			for service := range got.Plan.Services {
				for _, f := range families {
					for i := range got.Plan.Services[service].Endpoints {
						if a, b := got.Effect(int32(service), i, f).String(), want.Effect(int32(service), i, f).String(); a != b {
							rt.Fatalf("%s: endpoint %d of %d is %s, want %s", what, i, service, a, b)
						}
					}
				}
			}
			eachChoice(got, func(service int32, f regions.Family, ranking []uint16, bucket int) {
				if a, b := actual(got, service, f, ranking, bucket), actual(want, service, f, ranking, bucket); a != b {
					rt.Fatalf("%s: %+v, want %+v", what, a, b)
				}
			})
		}
		added := without.WithBreakGlass(said, without.now)
		same("added", added, with)
		same("taken away", added.WithBreakGlass(nil, without.now), without)
	})
}
