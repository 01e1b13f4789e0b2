package verdicts

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

// hall is a tally with agents in regions, all of which have said HEALTHY of all
// targets.
type hall struct {
	*Judge
	targets  []string
	sessions []*session
	now      time.Time
}

func newHall(b testing.TB, targets, agents, places int) *hall {
	b.Helper()
	began := time.Now() // it is busy all the time: that it stood still is for the benchmark to say
	j, err := New(Options{FreshFor: time.Hour, CPU: func() time.Duration { return time.Since(began) * time.Duration(runtime.GOMAXPROCS(0)) }})
	if err != nil {
		b.Fatal(err)
	}
	h := &hall{Judge: j, now: time.Now()}
	p := Plan{Generation: regions.Generation{Epoch: 1, Revision: 1}, Guard: regions.Guard{MaxPercent: 50, Window: time.Minute}}
	check := &pb.HealthCheckSpec{}
	for i := range targets {
		id := fmt.Sprintf("web@10.%d.%d.%d", i>>16, i>>8&255, i&255)
		h.targets = append(h.targets, id)
		p.Assignments = append(p.Assignments, &pb.Assignment{Target: id, Check: check})
		p.Regions = append(p.Regions, []string{fmt.Sprintf("region-%d", i%3)})
	}
	for i := range agents {
		a := Agent{Name: fmt.Sprintf("agent-%d", i), Region: fmt.Sprintf("region-%d", i%places)}
		p.Agents = append(p.Agents, a)
		h.sessions = append(h.sessions, sessionOf(&pb.AgentHello{Agent: a.Name, Region: a.Region}))
	}
	j.tally.plan(&p, h.now)
	for _, s := range h.sessions {
		j.tally.hear(event{session: s, opened: true}, h.now)
		h.says(s, true, pb.HealthStatus_HEALTH_STATUS_HEALTHY, h.targets...)
	}
	h.settle()
	return h
}

// says is one message of one agent, from the wire on.
func (h *hall) says(s *session, full bool, status pb.HealthStatus, targets ...string) {
	h.tally.hear(h.tally.event(s, message(full, status, targets...), h.now), h.now)
}

func message(full bool, status pb.HealthStatus, targets ...string) *pb.ReportRequest {
	up := &pb.OpinionUpdate{Full: full, Opinions: make([]*pb.Opinion, len(targets))}
	for i, t := range targets {
		up.Opinions[i] = &pb.Opinion{Target: t, Status: status, Reason: "HTTP " + status.String()}
	}
	return &pb.ReportRequest{Message: &pb.ReportRequest_Opinions{Opinions: up}}
}

func (h *hall) settle() {
	h.tally.settle(h.now)
	h.publish()
}

var flip = [2]pb.HealthStatus{pb.HealthStatus_HEALTH_STATUS_UNHEALTHY, pb.HealthStatus_HEALTH_STATUS_HEALTHY}

// The scale of a controller: 50 agents in 5 regions and 10,000 targets. The cost
// is that of what changed, not of what there is: compare one-of with the same of
// a tenth and of ten times the targets.
func BenchmarkController50x10000(b *testing.B) {
	for _, targets := range []int{1_000, 10_000, 30_000} {
		b.Run(fmt.Sprintf("one-opinion-of-50x%d", targets), func(b *testing.B) {
			h := newHall(b, targets, 50, 5)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				h.now = h.now.Add(time.Millisecond)
				n := i * 7919
				h.says(h.sessions[n%50], false, flip[i/(50*targets)%2], h.targets[n/50%targets])
				h.settle()
			}
		})
	}
	b.Run("target-falls", func(b *testing.B) { // all agents say so, each by itself
		h := newHall(b, 10_000, 50, 5)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			h.now = h.now.Add(time.Minute)
			for _, s := range h.sessions {
				h.says(s, false, flip[i/10_000%2], h.targets[i%10_000])
				h.settle()
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/50, "ns/opinion")
	})
	b.Run("all-opinions-change", func(b *testing.B) { // a message of each agent, settled after each
		h := newHall(b, 10_000, 50, 5)
		b.ReportAllocs()
		n := 0
		for i := 0; b.Loop(); i++ {
			h.now = h.now.Add(time.Hour)
			for _, s := range h.sessions {
				h.says(s, false, flip[i%2], h.targets...)
				h.settle()
				n += len(h.targets)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/opinion")
	})
	b.Run("resync", func(b *testing.B) { // after a pause all agents report all, side by side
		h := newHall(b, 10_000, 50, 5)
		ended := make(chan error, 1)
		go func() { ended <- h.Run(b.Context()) }()
		b.Cleanup(func() { <-ended })
		all := message(true, pb.HealthStatus_HEALTH_STATUS_HEALTHY, h.targets...)
		for b.Loop() {
			pauses := h.pulse.pauses.Add(1)
			h.pulse.lastRan.Store(h.pulse.beat.Load())
			notify(h.pulse.seen)
			for h.state.Load().pauses != pauses {
				time.Sleep(time.Millisecond)
			}
			var reports sync.WaitGroup
			for _, old := range h.sessions {
				s := sessionOf(old.hello)
				s.pauses = pauses
				reports.Go(func() {
					for _, ev := range []event{{session: s, opened: true}, h.tally.event(s, all, time.Now())} {
						if err := h.hand(b.Context(), ev); err != nil {
							b.Error(err)
						}
					}
				})
			}
			reports.Wait()
			for s := h.State(); !s.Ready || s.AgentsFresh != len(h.sessions); s = h.State() {
				time.Sleep(time.Millisecond)
			}
		}
	})
	b.Run("agent-falls-silent", func(b *testing.B) {
		h := newHall(b, 10_000, 50, 5)
		v := h.tally.voters[0]
		for i := 0; b.Loop(); i++ {
			h.tally.setFresh(v, i%2 == 1)
			h.settle()
		}
	})
	b.Run("memory", func(b *testing.B) {
		var before, after runtime.MemStats
		for b.Loop() {
			runtime.GC()
			runtime.ReadMemStats(&before)
			h := newHall(b, 10_000, 50, 5)
			runtime.GC()
			runtime.ReadMemStats(&after)
			runtime.KeepAlive(h)
		}
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(50*10_000), "B/opinion")
	})
}
