package steer

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead-dns/fairlead/regions"
)

// TestWeightsExactly: over every number that can be drawn, each member is
// picked as often as its weight says, whoever else is taken.
func TestWeightsExactly(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		weights := rapid.SliceOfN(rapid.Uint32Range(1, 50), 1, 12).Draw(rt, "weights")
		g := group{}
		var gone taken
		left := uint64(0)
		for i, w := range weights {
			g.members = append(g.members, member{uint16(i), w})
			if i > 0 && rapid.Bool().Draw(rt, "taken") {
				gone.add(i)
			} else {
				left += uint64(w)
			}
		}
		count := make([]uint32, len(weights))
		for x := range left {
			count[g.at(x, &gone)]++
		}
		for i, w := range weights {
			if gone.has(i) {
				w = 0
			}
			if count[i] != w {
				rt.Fatalf("weights %v, taken %v: member %d is picked %d times", weights, gone, i, count[i])
			}
		}
	})
}

// TestWeightsMeasured draws by consecutive lots, as a bad random source would
// give them, and looks at the first address.
func TestWeightsMeasured(t *testing.T) {
	const n = 100_000
	v := worldOf(t, regions.Policy{}, regions.Service{}, "eu-1 up - w=1", "eu-2 up - w=2", "eu-3 up - w=7", "eu-4 up - w=0").view(t)
	first, second := map[netip.Addr]int{}, map[netip.Addr]int{}
	var buf [8]netip.Addr
	for lot := range uint64(n) {
		sel := v.Select(0, regions.V4, anyone, lot, buf[:0])
		if len(sel.Addrs) != 3 {
			t.Fatalf("%v, want the three with a weight", sel.Addrs)
		}
		first[sel.Addrs[0]]++
		second[sel.Addrs[1]]++
	}
	check := func(what string, got int, want float64) {
		// Six standard deviations of a binomial distribution.
		if d := 6 * math.Sqrt(n*want*(1-want)); math.Abs(float64(got)-n*want) > d {
			t.Errorf("%s %d of %d times, want %.0f ± %.0f", what, got, n, n*want, d)
		}
	}
	for i, w := range []float64{1, 2, 7} {
		check(fmt.Sprintf("endpoint %d is first", i+1), first[addr4(i)], w/10)
		// Second: after each other one as first.
		p := 0.0
		for j, other := range []float64{1, 2, 7} {
			if i != j {
				p += other / 10 * w / (10 - other)
			}
		}
		check(fmt.Sprintf("endpoint %d is second", i+1), second[addr4(i)], p)
	}
}

// TestNamesFollowWeights for services that are answered by a CNAME.
func TestNamesFollowWeights(t *testing.T) {
	const n = 20_000
	v := worldOf(t, regions.Policy{}, regions.Service{Names: true}, "eu-1 up - w=1", "eu-2 up - w=3").view(t)
	count := 0
	for lot := range uint64(n) {
		if v.Select(0, regions.V4, anyone, lot, nil).CNAME == "eu-2.example.net." {
			count++
		}
	}
	if math.Abs(float64(count)-0.75*n) > 6*math.Sqrt(n*0.75*0.25) {
		t.Errorf("weight 3 of 4 answers %d of %d times", count, n)
	}
}

func TestMaxAnswers(t *testing.T) {
	endpoints := []string{"eu-1 up -", "eu-2 up -", "eu-3 up -"}
	sorry := regions.Service{AllDown: regions.ServeFallback, Fallback: [2][]netip.Addr{{addr4(200), addr4(201), addr4(202)}}}
	for limit := 1; limit <= 4; limit++ {
		v := worldOf(t, regions.Policy{MaxAnswers: limit}, regions.Service{}, endpoints...).view(t)
		down := worldOf(t, regions.Policy{MaxAnswers: limit}, sorry, "eu-1 down -").view(t)
		firsts := map[netip.Addr]bool{}
		for lot := range uint64(200) {
			if got := len(v.Select(0, regions.V4, anyone, lot, nil).Addrs); got != min(limit, 3) {
				t.Fatalf("maxAnswers %d: %d answers", limit, got)
			}
			addrs := down.Select(0, regions.V4, anyone, lot, nil).Addrs
			if len(addrs) != min(limit, 3) {
				t.Fatalf("maxAnswers %d: %d answers from the fallback", limit, len(addrs))
			}
			firsts[addrs[0]] = true
		}
		if len(firsts) != 3 {
			t.Errorf("maxAnswers %d: the fallback begins with %v only", limit, firsts)
		}
	}
}

// TestSharedAddress: an RRset holds no duplicates (RFC 2181 section 5), and the
// address gets the share of both endpoints that have it.
func TestSharedAddress(t *testing.T) {
	w := worldOf(t, regions.Policy{}, regions.Service{}, "eu-1 up -", "eu-2 up -", "eu-3 up -")
	w.plan.Services[0].Endpoints[1].Addr[regions.V4] = addr4(0)
	v := w.view(t)
	first := 0
	for lot := range uint64(3000) {
		addrs := v.Select(0, regions.V4, anyone, lot, nil).Addrs
		if len(addrs) != 2 || addrs[0] == addrs[1] {
			t.Fatal(addrs)
		}
		if addrs[0] == addr4(0) {
			first++
		}
	}
	if first < 1850 || first > 2150 {
		t.Errorf("two of three endpoints share an address, which is first %d of 3000 times", first)
	}
	if x := v.Explain(0, regions.V4, anyone, epoch); !slices.Equal(x.Candidates, []netip.Addr{addr4(0), addr4(2)}) {
		t.Error("candidates", x.Candidates)
	}
}

// TestSelectAllocates nothing, whatever the service and its rung.
func TestSelectAllocates(t *testing.T) {
	for _, c := range []struct {
		name      string
		service   regions.Service
		endpoints []string
	}{
		{"addresses", regions.Service{}, []string{"eu-1 up up w=1", "eu-2 up up w=0", "eu-3 up up w=20", "us-1 up up"}},
		{"all of weight 0", regions.Service{}, []string{"eu-1 up up w=0", "eu-2 up up w=0"}},
		{"drained", regions.Service{}, []string{"eu-1 up up drain", "us-1 down down"}},
		{"independent", regions.Service{Independent: true}, []string{"eu-1 up down", "us-1 up up"}},
		{"fallback", regions.Service{AllDown: regions.ServeFallback, Fallback: [2][]netip.Addr{{addr4(200), addr4(201)}, {addr6(200)}}}, []string{"eu-1 down down"}},
		{"nothing", regions.Service{}, []string{"eu-1 up up force-down"}},
		{"names", regions.Service{Names: true}, []string{"eu-1 up -", "eu-2 up -"}},
		{"a ramp", regions.Service{Failback: regions.Failback{RampSteps: []int{50}, RampInterval: time.Hour}}, []string{"eu-1 up up back=1m", "us-1 up up", "ap-1 up up back4=1m"}},
		{"client-region verdicts", regions.Service{ClientRegionVerdicts: true}, []string{"eu-1 up up eu=down", "us-1 up up us=down"}},
	} {
		v := worldOf(t, regions.Policy{ActivePassive: !c.service.ClientRegionVerdicts, Candidates: []uint16{eu, us, ap}}, c.service, c.endpoints...).view(t)
		var buf [regions.MaxAnswers]netip.Addr
		lot := uint64(0)
		for _, f := range families {
			if n := testing.AllocsPerRun(200, func() {
				lot++
				v.Select(0, f, anyone, lot, buf[:0])
			}); n != 0 {
				t.Errorf("%s, %v: %v allocations", c.name, f, n)
			}
		}
	}
}
