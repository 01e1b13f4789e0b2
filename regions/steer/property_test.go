package steer

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead-dns/fairlead/regions"
)

// TestMain lets the properties be tried more often than rapid does by itself:
// the rare cases are the ones that count.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "1000"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

var families = []regions.Family{regions.V4, regions.V6}

// eachChoice calls visit for both services, both families, every order of the
// policy's regions, which are more than its rankings, and every part of a ramp.
func eachChoice(v *View, visit func(service int32, f regions.Family, ranking []uint16, bucket int)) {
	for service := range v.Plan.Services {
		s := &v.Plan.Services[service]
		parts := someBuckets
		if len(s.Failback.RampSteps) == 0 {
			parts = parts[:1]
		}
		candidates := v.Plan.Policies[s.Policy].Candidates
		for _, f := range families {
			for _, bucket := range parts {
				permute(slices.Clone(candidates), 0, func(ranking []uint16) { visit(int32(service), f, ranking, bucket) })
			}
		}
	}
}

func permute(list []uint16, from int, visit func([]uint16)) {
	if from == len(list) {
		visit(list)
		return
	}
	for i := from; i < len(list); i++ {
		list[from], list[i] = list[i], list[from]
		permute(list, from+1, visit)
		list[from], list[i] = list[i], list[from]
	}
}

// TestAgainstNaive: both implementations choose the same.
func TestAgainstNaive(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := anyWorld(rt)
		v := w.view(rt)
		eachChoice(v, func(service int32, f regions.Family, ranking []uint16, bucket int) {
			n := naive{world: w, svc: &w.plan.Services[service]}
			if got, want := actual(v, service, f, ranking, bucket), n.choose(f, ranking, bucket); got != want {
				rt.Fatalf("service %d, %v, ranking %v, bucket %d: %+v, want %+v", service, f, ranking, bucket, got, want)
			}
		})
	})
}

// TestDependsOnClient: a scope of 0 is returned exactly when every client gets
// the same answer, and a scope regards networks at least when those of two
// buckets get another one.
func TestDependsOnClient(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		v := anyWorld(rt).view(rt)
		type at struct {
			service int32
			family  regions.Family
		}
		differ, byBucket := map[at]bool{}, map[at]bool{}
		first, ofRanking := map[at]outcome{}, map[string]outcome{}
		eachChoice(v, func(service int32, f regions.Family, ranking []uint16, bucket int) {
			here := at{service, f}
			got := actual(v, service, f, ranking, bucket)
			if before, seen := first[here]; !seen {
				first[here] = got
			} else if before != got {
				differ[here] = true
			}
			r := fmt.Sprint(here, ranking)
			if before, seen := ofRanking[r]; !seen {
				ofRanking[r] = got
			} else if before != got {
				byBucket[here] = true
			}
		})
		for here := range first {
			sv := v.services.at(here.service)
			depends, sticky := sv.depends[here.family], sv.sticky[here.family]
			if (depends || sticky) != differ[here] {
				rt.Fatalf("%+v: depends on the client: %v and %v, want %v", here, depends, sticky, differ[here])
			}
			if byBucket[here] && !sticky {
				rt.Fatalf("%+v: networks get different answers, and yet no scope", here)
			}
		}
	})
}

// TestScope (invariant 5): every address inside a returned ECS scope has the
// same candidates and weights, and the same region.
func TestScope(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		v := anyWorld(rt).view(rt)
		client := anyClient(rt)
		for service := range v.Plan.Services {
			for _, f := range families {
				sel := v.Select(int32(service), f, client, 7, nil)
				inside := netip.PrefixFrom(client, int(sel.Scope)).Masked()
				for range 20 {
					other := anyClient(rt)
					if !inside.Contains(other) {
						continue
					}
					got := v.Select(int32(service), f, other, 7, nil)
					if got.Rung != sel.Rung || got.Region != sel.Region || got.TTL != sel.TTL || candidatesOf(v, int32(service), f, &got) != candidatesOf(v, int32(service), f, &sel) || !slices.Equal(got.Addrs, sel.Addrs) || got.CNAME != sel.CNAME {
						rt.Fatalf("service %d, %v: %v is answered %+v and %v in its scope %v is answered %+v", service, f, client, sel, other, inside, got)
					}
				}
			}
		}
	})
}

// TestHealthNeverEmpties (invariant 1): whatever the verdicts, there is an
// answer while an endpoint of the family is not forced down; for IPv6, if the
// region that the service chose has IPv6 at all.
func TestHealthNeverEmpties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		v := anyWorld(rt).view(rt)
		client := anyClient(rt)
		for service := range v.Plan.Services {
			s := &v.Plan.Services[service]
			for _, f := range families {
				left := false
				for i := range s.Endpoints {
					left = left || s.Endpoints[i].Has(f) && !v.Effect(int32(service), i, f).ForcedDown
				}
				sel := v.Select(int32(service), f, client, 7, nil)
				empty := len(sel.Addrs) == 0 && sel.CNAME == ""
				if empty != (sel.Rung == None) {
					rt.Fatalf("service %d, %v: %+v", service, f, sel)
				}
				elsewhere := f == regions.V6 && sel.Preferred >= 0 && !v.services.at(int32(service)).configured[f].has(uint16(sel.Preferred))
				if elsewhere && s.Independent {
					rt.Fatalf("service %d, %v: families are independent, and yet %+v", service, f, sel)
				}
				if left && empty && !elsewhere {
					rt.Fatalf("service %d, %v: no answer, though an endpoint is not forced down: %+v", service, f, sel)
				}
			}
		}
	})
}

// TestForcedDownNeverAnswers, nor does an endpoint on another rung than the
// answer's, nor more than maxAnswers of them, nor one twice.
func TestForcedDownNeverAnswers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		v := anyWorld(rt).view(rt)
		client, lot := anyClient(rt), rapid.Uint64().Draw(rt, "lot")
		for service := range v.Plan.Services {
			s := &v.Plan.Services[service]
			for _, f := range families {
				sel := v.Select(int32(service), f, client, lot, nil)
				if len(sel.Addrs) > v.Plan.Policies[s.Policy].MaxAnswers {
					rt.Fatalf("%d answers", len(sel.Addrs))
				}
				for i, a := range sel.Addrs {
					if slices.Contains(sel.Addrs[:i], a) {
						rt.Fatalf("%v is answered twice", a)
					}
				}
				if sel.Rung == AllDownFallback {
					continue
				}
				effects := map[int]regions.Effect{}
				for _, r := range v.Explain(int32(service), f, client, v.now).Regions {
					for _, e := range r.Endpoints {
						effects[e.Endpoint] = e.Effect
					}
				}
				for i := range s.Endpoints {
					e := &s.Endpoints[i]
					answers := e.Addr[f].IsValid() && slices.Contains(sel.Addrs, e.Addr[f]) || e.CNAME != "" && sel.CNAME == e.CNAME
					if !e.Has(f) || !answers {
						continue
					}
					effect := effects[i]
					ok := !effect.ForcedDown
					switch sel.Rung {
					case InService, HealthyAnywhere:
						ok = effect.Serves()
					case DrainedHealthy:
						ok = ok && effect.Drained && effect.Healthy
					}
					if !ok || int32(e.Region) != sel.Region {
						rt.Fatalf("service %d: %s, which is %v in region %d, answers: %+v", service, e.Name, effect, e.Region, sel)
					}
				}
			}
		}
	})
}

// TestFollowedEqualsNew: a view that followed changes and the time is the view
// made afresh.
func TestFollowedEqualsNew(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := anyWorld(rt)
		v := w.view(rt)
		was := snapshotOf(v)
		after := v
		for range rapid.IntRange(1, 4).Draw(rt, "steps") {
			w.now = w.now.Add(time.Duration(rapid.SampledFrom([]int{0, 5, 30, 60}).Draw(rt, "later")) * time.Second)
			switch rapid.IntRange(0, 4).Draw(rt, "what") {
			case 0:
				w.latches = anyLatches(rt, len(w.plan.Regions))
				after = after.WithLatches(w.latches, w.now)
			case 1:
				w.failOpen = !w.failOpen
				after = after.WithFailOpen(w.failOpen, w.now)
			case 2:
				after = after.At(w.now)
			default:
				changed := map[int32]TargetState{}
				for range rapid.IntRange(0, 3).Draw(rt, "targets") {
					if len(w.states) == 0 {
						break
					}
					i := rapid.IntRange(0, len(w.states)-1).Draw(rt, "target")
					changed[int32(i)] = anyState(rt, len(w.plan.Regions))
					w.states[i] = changed[int32(i)]
				}
				after = after.With(changed, w.now)
			}
			fresh := w.view(rt)
			if got, want := snapshotOf(after), snapshotOf(fresh); !slices.Equal(got, want) {
				rt.Fatalf("after changes %v, made afresh %v", got, want)
			}
			if got, want := after.NextChange(), fresh.NextChange(); !got.Equal(want) {
				rt.Fatalf("the next change is at %v, made afresh at %v", got, want)
			}
			for i := range w.states {
				if !after.State(int32(i)).Equal(w.states[i]) {
					rt.Fatalf("target %d is %v, want %v", i, after.State(int32(i)), w.states[i])
				}
			}
		}
		if got := snapshotOf(v); !slices.Equal(got, was) {
			rt.Fatalf("the view that changes were made from is now %v, was %v", got, was)
		}
	})
}

// TestNextChange: before it, time changes nothing.
func TestNextChange(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := anyWorld(rt)
		v := w.view(rt)
		later := time.Hour
		if next := v.NextChange(); !next.IsZero() {
			if later = next.Sub(w.now); later <= 0 {
				rt.Fatalf("it was %v ago", -later)
			}
		}
		w.now = w.now.Add(time.Duration(rapid.Int64Range(0, int64(later-1)).Draw(rt, "later")))
		if v.At(w.now) != v {
			rt.Fatal("another view, and nothing was due")
		}
		if got, want := snapshotOf(v), snapshotOf(w.view(rt)); !slices.Equal(got, want) {
			rt.Fatalf("%v, and later %v", got, want)
		}
	})
}

// snapshotOf is everything that a view can answer.
func snapshotOf(v *View) []any {
	var all []any
	eachChoice(v, func(service int32, f regions.Family, ranking []uint16, bucket int) {
		all = append(all, actual(v, service, f, ranking, bucket))
	})
	for i := range v.Plan.Services {
		sv := v.services.at(int32(i))
		all = append(all, sv.depends, sv.sticky, sv.configured)
	}
	return all
}

// TestDeterminism: equal arguments give equal selections, also from another
// view of equal plan and states; the buffer does not matter.
func TestDeterminism(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := anyWorld(rt)
		v, again := w.view(rt), w.view(rt)
		client, lot := anyClient(rt), rapid.Uint64().Draw(rt, "lot")
		dirty := slices.Repeat([]netip.Addr{addr4(77)}, 9)
		for service := range int32(len(v.Plan.Services)) {
			for _, f := range families {
				a, b := v.Select(service, f, client, lot, nil), again.Select(service, f, client, lot, dirty)
				if !slices.Equal(a.Addrs, b.Addrs) || a.CNAME != b.CNAME || a.Scope != b.Scope || a.Rung != b.Rung || a.Region != b.Region || a.Preferred != b.Preferred || a.TTL != b.TTL {
					rt.Fatalf("%+v and %+v", a, b)
				}
			}
		}
	})
}

// TestExplainAgrees: an explanation is of the selection that is answered.
func TestExplainAgrees(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		v := anyWorld(rt).view(rt)
		client, lot := anyClient(rt), rapid.Uint64().Draw(rt, "lot")
		for service := range v.Plan.Services {
			s := &v.Plan.Services[service]
			for _, f := range families {
				sel, x := v.Select(int32(service), f, client, lot, nil), v.Explain(int32(service), f, client, v.now)
				if x.Selection.Rung != sel.Rung || x.Selection.Region != sel.Region || x.Selection.Scope != sel.Scope || x.Selection.TTL != sel.TTL || x.Selection.Preferred != sel.Preferred {
					rt.Fatalf("answered %+v, explained %+v", sel, x.Selection)
				}
				for _, a := range sel.Addrs {
					if !slices.Contains(x.Candidates, a) {
						rt.Fatalf("%v is answered, candidates are %v", a, x.Candidates)
					}
				}
				if sel.CNAME != "" && !slices.Contains(x.Names, sel.CNAME) {
					rt.Fatalf("%v is answered, candidates are %v", sel.CNAME, x.Names)
				}
				seen, selected, answering := 0, 0, 0
				for _, r := range x.Regions {
					if r.Reason == "" {
						rt.Fatal("a region without a reason")
					}
					if r.Selected {
						selected++
					}
					for _, e := range r.Endpoints {
						seen++
						if e.Answers {
							answering++
							if a := s.Endpoints[e.Endpoint].Addr[f]; !s.Names && !slices.Contains(x.Candidates, a) {
								rt.Fatalf("%v answers, candidates are %v", a, x.Candidates)
							}
						}
					}
				}
				want := 0
				for i := range s.Endpoints {
					if s.Endpoints[i].Has(f) {
						want++
					}
				}
				if seen != want || selected > 1 || (selected == 1) != (sel.Region >= 0) || (answering > 0) != (sel.Region >= 0) {
					rt.Fatalf("%d of %d endpoints explained, %d answer, %d regions selected: %+v", seen, want, answering, selected, sel)
				}
				if x.Summary == "" {
					rt.Fatal("no summary")
				}
			}
		}
	})
}
