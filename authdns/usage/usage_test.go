package usage

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/steer"
)

var start = time.Now()

func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

// service makes one whose endpoints are in regions by their names' first letters.
func service(name string, ttl uint32, allDown regions.AllDown, endpoints ...string) regions.Service {
	s := regions.Service{Name: name, TTL: ttl, AllDown: allDown}
	for i, e := range endpoints {
		s.Endpoints = append(s.Endpoints, regions.Endpoint{
			Name: e, Region: uint16(e[0] - 'a'), Weight: 1, AvailabilityZone: e[1:], Target: [2]int32{-1, -1},
			Addr: [2]netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})},
		})
	}
	return s
}

func names(s regions.Service) regions.Service {
	s.Names = true
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		e.Addr, e.CNAME = [2]netip.Addr{}, e.Name+".cdn.test."
	}
	return s
}

func baseOf(services ...regions.Service) *regions.Base {
	return regions.NewBase([]regions.Region{{Name: "a"}, {Name: "b"}, {Name: "c"}},
		[]regions.Policy{{Name: "p", ActivePassive: true, Candidates: []uint16{0, 1, 2}, MaxAnswers: 8}}, services, nil)
}

func view(t testing.TB, base *regions.Base, overrides ...regions.Override) *steer.View {
	t.Helper()
	rankings, err := steer.CompileRankings(base, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return steer.NewView(steer.Inputs{Plan: &regions.Plan{Base: base, Overrides: overrides}, Tables: rankings.Tables})
}

// ask answers a query for a service and notes it.
func ask(table *Table, v *steer.View, name string, now time.Time) {
	i, _ := v.Plan.Service(name)
	var buf [8]netip.Addr
	sel := v.Select(i, regions.V4, netip.Addr{}, 0, buf[:0])
	table.Answered(i, &sel, now)
}

func report(t *testing.T, what string, table *Table, scope regions.Scope, now time.Time, want *pb.UsageReport) {
	t.Helper()
	if d := cmp.Diff(want, table.Report(scope, now), protocmp.Transform()); d != "" {
		t.Errorf("%s: %s", what, d)
	}
}

func TestReport(t *testing.T) {
	base := baseOf(service("w", 30, 0, "a1", "a2", "b1"), service("x", 600, 0, "b1"), names(service("n", 60, 0, "c1")))
	table := New(start).For(base, start)
	a, b, c := regions.Scope{Region: "a"}, regions.Scope{Region: "b"}, regions.Scope{Region: "c"}
	report(t, "just started", table, a, at(0), &pb.UsageReport{Endpoints: 2, CachedMillis: 30_000, Ttl: 30})
	report(t, "just started", table, b, at(1), &pb.UsageReport{Endpoints: 2, CachedMillis: 599_000, Ttl: 600})
	report(t, "one service's", table, regions.Scope{Region: "b", Service: "w"}, at(1), &pb.UsageReport{Endpoints: 1, CachedMillis: 29_000, Ttl: 30})
	report(t, "what there is not", table, regions.Scope{Region: "d"}, at(1), &pb.UsageReport{})
	report(t, "nothing", table, regions.Scope{}, at(1), &pb.UsageReport{})
	v := view(t, base)
	ask(table, v, "w", at(100.2))
	// A part of a second counts as a whole: it is never said too early that a cache
	// is empty, nor that the last answer was longer ago than it was.
	report(t, "answered", table, a, at(110.5), &pb.UsageReport{Endpoints: 2, LastAnswerMillis: proto.Uint64(9_500), CachedMillis: 20_500, Ttl: 30})
	report(t, "an availability zone of it", table, regions.Scope{Region: "a", AvailabilityZone: "1"}, at(110.5), &pb.UsageReport{Endpoints: 1, LastAnswerMillis: proto.Uint64(9_500), CachedMillis: 20_500, Ttl: 30})
	report(t, "answered a moment ago", table, a, at(100.3), &pb.UsageReport{Endpoints: 2, LastAnswerMillis: proto.Uint64(0), CachedMillis: 30_700, Ttl: 30})
	report(t, "another region", table, b, at(110), &pb.UsageReport{Endpoints: 2, CachedMillis: 490_000, Ttl: 600})
	report(t, "long after", table, a, at(131), &pb.UsageReport{Endpoints: 2, LastAnswerMillis: proto.Uint64(30_000)})
	ask(table, v, "n", at(200))
	report(t, "a name", table, c, at(200), &pb.UsageReport{Endpoints: 1, LastAnswerMillis: proto.Uint64(0), CachedMillis: 61_000, Ttl: 60})
	// The clock may be asked about a moment before the last.
	ask(table, v, "n", at(150))
	report(t, "an earlier answer", table, c, at(202), &pb.UsageReport{Endpoints: 1, LastAnswerMillis: proto.Uint64(1_000), CachedMillis: 59_000, Ttl: 60})
	(*Table)(nil).Answered(0, &steer.Selection{}, at(0))
}

// What answers though it is drained is counted, whether it is healthy or all is
// down, and nothing else is.
func TestLastResort(t *testing.T) {
	drain := func(region string) regions.Override {
		return regions.Override{ID: region, Action: regions.Drain, Scope: regions.Scope{Region: region}}
	}
	base := baseOf(service("w", 30, 0, "a1", "b1"))
	table := New(start).For(base, start)
	resorts := func(region string) uint64 {
		return table.Report(regions.Scope{Region: region}, at(0)).GetLastResortAnswers()
	}
	ask(table, view(t, base, drain("a")), "w", at(0))
	if a, b := resorts("a"), resorts("b"); a != 0 || b != 0 {
		t.Errorf("another region answers: %d, %d", a, b)
	}
	both := view(t, base, drain("a"), drain("b"))
	ask(table, both, "w", at(0))
	ask(table, both, "w", at(0))
	if a, b := resorts("a"), resorts("b"); a != 2 || b != 0 {
		t.Errorf("healthy and drained: %d, %d, want 2, 0", a, b)
	}
	// Checked and never judged: down. Undrained, drained.
	for i := range base.Services {
		base.Services[i].Checked, base.Services[i].NeverJudged = true, regions.Unhealthy
	}
	ask(table, view(t, base), "w", at(0))
	if a := resorts("a"); a != 2 {
		t.Errorf("serve-all: %d", a)
	}
	ask(table, view(t, base, drain("a"), drain("b")), "w", at(0))
	if a := resorts("a"); a != 3 {
		t.Errorf("serve-all of what is drained: %d", a)
	}
}

// Slots go by name, and an answer from the former configuration still counts.
func TestFor(t *testing.T) {
	old := baseOf(service("w", 30, 0, "a1", "a2"), service("x", 30, 0, "b1"))
	table := New(start).For(old, start)
	if table.For(old, start) != table {
		t.Error("another table for the same configuration")
	}
	v := view(t, old)
	ask(table, v, "w", at(10))
	next := table.For(baseOf(service("v", 30, 0, "a1"), service("w", 30, 0, "a0", "a2", "a1")), at(20))
	scope := func(endpoint string) regions.Scope { return regions.Scope{Service: "w", Endpoint: endpoint} }
	for _, e := range []string{"a1", "a2"} {
		report(t, e, next, scope(e), at(31), &pb.UsageReport{Endpoints: 1, LastAnswerMillis: proto.Uint64(20_000), CachedMillis: 10_000, Ttl: 30})
	}
	report(t, "a new one", next, scope("a0"), at(31), &pb.UsageReport{Endpoints: 1})
	report(t, "another service's", next, regions.Scope{Service: "v"}, at(31), &pb.UsageReport{Endpoints: 1})
	ask(table, v, "w", at(40))
	report(t, "answered from the former", next, scope("a1"), at(41), &pb.UsageReport{Endpoints: 1, LastAnswerMillis: proto.Uint64(0), CachedMillis: 30_000, Ttl: 30})
	if got := next.For(old, at(41)).Report(regions.Scope{Region: "b"}, at(41)); got.LastAnswerMillis != nil {
		t.Errorf("one that was away: %v", got)
	}
}

// What is cached of an endpoint that is there no more, or elsewhere, counts where it
// was until no cache has it.
func TestGone(t *testing.T) {
	table := New(start).For(baseOf(service("w", 30, 0, "a1", "a2", "b3"), service("x", 60, 0, "a1")), start)
	v := view(t, table.base)
	ask(table, v, "w", at(100)) // a1 and a2
	ask(table, v, "x", at(100))
	drained := view(t, table.base, regions.Override{ID: "d", Action: regions.Drain, Scope: regions.Scope{Region: "a"}},
		regions.Override{ID: "e", Action: regions.ForceDown, Scope: regions.Scope{Region: "b"}})
	ask(table, drained, "w", at(100))
	a, b := regions.Scope{Region: "a"}, regions.Scope{Region: "b"}
	// a1 moves to b, a2 is taken out, and so is x.
	moved := service("w", 30, 0, "a1", "b3")
	moved.Endpoints[0].Region = 1
	next := table.For(baseOf(moved), at(110))
	report(t, "where it was", next, a, at(110), &pb.UsageReport{LastAnswerMillis: proto.Uint64(9_000), CachedMillis: 51_000, Ttl: 60, LastResortAnswers: 2})
	report(t, "one service's", next, regions.Scope{Region: "a", Service: "w"}, at(110), &pb.UsageReport{LastAnswerMillis: proto.Uint64(9_000), CachedMillis: 21_000, Ttl: 30, LastResortAnswers: 2})
	report(t, "where it is", next, b, at(110), &pb.UsageReport{Endpoints: 2, LastAnswerMillis: proto.Uint64(9_000), CachedMillis: 21_000, Ttl: 30})
	// A query that is still answered by the former configuration counts there, one by
	// the new one where the endpoint is.
	ask(table, v, "w", at(120))
	ask(next, view(t, next.base), "w", at(125))
	report(t, "where it was, again", next, a, at(170), &pb.UsageReport{LastAnswerMillis: proto.Uint64(49_000), LastResortAnswers: 2})
	report(t, "where it is, again", next, b, at(126), &pb.UsageReport{Endpoints: 2, LastAnswerMillis: proto.Uint64(0), CachedMillis: 30_000, Ttl: 30})
	// It is remembered by later ones for as long as that matters.
	later := next.For(baseOf(moved, service("y", 1, 0, "c1")), at(130))
	report(t, "by a later one", later, a, at(130), &pb.UsageReport{LastAnswerMillis: proto.Uint64(9_000), CachedMillis: 31_000, Ttl: 60, LastResortAnswers: 2})
	last := later.For(baseOf(moved), at(500))
	report(t, "long after", last, a, at(500), &pb.UsageReport{})
	if len(last.gone) != 0 {
		t.Errorf("%d are remembered", len(last.gone))
	}
}

// The TTL may be lowered: what was answered before the start was so by the larger one.
func TestLoweredTTL(t *testing.T) {
	table := New(start).For(baseOf(service("w", 3600, 0, "a1")), start)
	table = table.For(baseOf(service("w", 60, 0, "a1")), at(10))
	report(t, "lowered", table, regions.Scope{Region: "a"}, at(100), &pb.UsageReport{Endpoints: 1, CachedMillis: 3_500_000, Ttl: 3600})
}

// Many answer at once: the race detector looks on, and nothing is lost.
func TestConcurrent(t *testing.T) {
	base := baseOf(service("w", 30, 0, "a1", "a2"))
	table := New(start).For(base, start)
	v := view(t, base, regions.Override{ID: "d", Action: regions.Drain, Scope: regions.Scope{Region: "a"}})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 1000 {
				ask(table, v, "w", at(float64(i+g)))
				table.Report(regions.Scope{Region: "a"}, at(0))
			}
		})
	}
	wg.Wait()
	report(t, "all", table, regions.Scope{Region: "a"}, at(1003), &pb.UsageReport{
		Endpoints: 2, LastAnswerMillis: proto.Uint64(0), CachedMillis: 30_000, Ttl: 30, LastResortAnswers: 2 * 4 * 1000,
	})
}

func TestNoAllocation(t *testing.T) {
	base := baseOf(service("w", 30, 0, "a1", "a2"), names(service("n", 30, 0, "a1")))
	table, v := New(start).For(base, start), view(t, base)
	second := 0.0
	for _, name := range []string{"w", "n"} {
		if n := testing.AllocsPerRun(100, func() { second++; ask(table, v, name, at(second)) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkAnswered(b *testing.B) {
	for _, n := range []int{1, 8} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var endpoints []string
			for i := range n {
				endpoints = append(endpoints, fmt.Sprint("a", i))
			}
			base := baseOf(service("w", 30, 0, endpoints...))
			table, v := New(start).For(base, start), view(b, base)
			sel := v.Select(0, regions.V4, netip.Addr{}, 0, nil)
			now := time.Now()
			b.ReportAllocs()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					table.Answered(0, &sel, now)
				}
			})
		})
	}
}
