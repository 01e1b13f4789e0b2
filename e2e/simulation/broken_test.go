package simulation

import (
	"os"
	"testing"
	"time"

	"github.com/fairlead-dns/fairlead/controller/catalog"
	"github.com/fairlead-dns/fairlead/controller/planner"
	"github.com/fairlead-dns/fairlead/controller/verdicts"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

// TestBrokenRules breaks rules on purpose, each at a boundary that the simulation
// controls, and checks that the simulation finds it within a number of seeds.
func TestBrokenRules(t *testing.T) {
	for _, d := range []struct {
		defect
		within int
	}{
		{defect{name: "what wavers reads as down at nameservers", toNameserver: waveringIsDown}, 20},
		{defect{name: "UNKNOWN reads as down: an agent that cannot tell says down", fromAgent: cannotTellIsDown}, 200},
		{defect{name: "judges trust one vantage", judged: oneVantage}, 50},
		{defect{name: "a controller offers an older generation under a newer number", learnt: olderUnderNewer}, 150},
		{defect{name: "the guard holds nothing", judged: noGuard, regions: 2}, 400},
		{defect{name: "nameservers follow one controller only", subscribed: 1}, 40},
		{defect{name: "nameservers tell controllers of no latches", fromNameserver: noLatches}, 100},
		{defect{name: "nameservers lose their files", stopped: func(n *nameserver) { must(os.RemoveAll(n.dir)) }}, 300},
	} {
		t.Run(d.name, func(t *testing.T) {
			ran, bad := many(t, 1, d.within, 1, d.defect)
			if len(bad) == 0 {
				t.Fatalf("not found within %d seeds", ran)
			}
			t.Logf("found after %d seeds: %s", ran, bad[0].found[0])
		})
	}
}

// waveringIsDown rewrites what a stream brings, digests and all.
func waveringIsDown() func(*pb.SubscribeResponse) {
	table := map[string]health.Verdict{}
	var latches []regions.Latch
	return func(m *pb.SubscribeResponse) {
		now := time.Now()
		if u := m.GetHealth(); u != nil {
			if u.GetFull() {
				clear(table)
			}
			if u.GetLatches() != nil {
				latches = healthpb.ParseLatches(u.GetLatches(), now)
			}
			for _, t := range u.GetTargets() {
				if t.GetWavering() {
					t.Verdict, t.Restored = pb.HealthStatus_HEALTH_STATUS_UNHEALTHY, false
				}
				table[t.GetTarget()] = healthpb.ParseTargetHealth(t, now)
			}
			for _, id := range u.GetRemoved() {
				delete(table, id)
			}
		}
		var d health.Digest
		for id, v := range table {
			d = d.AddVerdict(id, v)
		}
		d = d.ReplaceLatches(nil, latches)
		switch m := m.GetMessage().(type) {
		case *pb.SubscribeResponse_Health:
			m.Health.Digest = uint64(d)
		case *pb.SubscribeResponse_Heartbeat:
			m.Heartbeat.Digest = uint64(d)
		}
	}
}

func cannotTellIsDown(_ *sim, _ *agent, m *pb.ReportRequest) {
	for _, o := range m.GetOpinions().GetOpinions() {
		if o.GetStatus() == pb.HealthStatus_HEALTH_STATUS_UNKNOWN {
			o.Status = pb.HealthStatus_HEALTH_STATUS_UNHEALTHY
		}
	}
}

func oneVantage(p verdicts.Plan) verdicts.Plan {
	p.Agents = p.Agents[:1]
	return p
}

func noGuard(p verdicts.Plan) verdicts.Plan {
	p.Guard = regions.Guard{}
	return p
}

// olderUnderNewer makes every third generation what the one before it was, at the
// first controller.
func olderUnderNewer(c *controller, cur *planner.Current, history []*planner.Current) *planner.Current {
	if n := len(history); c.host.name == "c1" && n > 1 {
		old := history[n-2]
		return &planner.Current{
			Version: &catalog.Version{Generation: cur.Generation, Head: old.Head, Tree: old.Tree},
			Plan:    c.s.world.base.With(cur.Generation, old.OverrideSet()),
		}
	}
	return cur
}

func noLatches(m *pb.SubscribeRequest) {
	if h := m.GetHello(); h != nil {
		h.Latches = nil
	}
	if f := m.GetFollowing(); f != nil {
		f.Latches = nil
	}
}
