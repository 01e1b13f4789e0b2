package feed

import (
	"testing"

	"github.com/fairlead-dns/fairlead/controller/verdicts"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

// What changes only why a verdict stands, or who is a guest, is not sent, and asked
// for by nobody: heartbeats go on naming what was sent. A verdict that turns then is
// sent alone, without its evidence.
func TestEvidenceIsNotSent(t *testing.T) {
	s := start(t, false)
	const n = 50
	s.judges(1, n)
	a := s.agent()
	a.says(true, up, 0, n)
	eventually(t, "ready", func() bool { return s.judge.State().Ready })
	ns := s.subscribe(&pb.NameserverHello{Nameserver: "ns-1", Region: "r"})
	ns.until(func() bool { return ns.beat != nil })
	sent, made := ns.beat.GetVersion().GetNumber(), s.judge.State().Version.Number

	guest, err := pb.NewAgentServiceClient(s.conn).Report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	other := &agent{s, guest}
	other.send(&pb.ReportRequest{Message: &pb.ReportRequest_Hello{Hello: &pb.AgentHello{Agent: "guest", Region: "elsewhere"}}})
	other.says(true, down, 0, n)
	for _, reason := range []string{"HTTP 200", "HTTP 204"} {
		u := &pb.OpinionUpdate{}
		for i := range n {
			u.Opinions = append(u.Opinions, &pb.Opinion{Target: target(i), Status: up, Reason: reason})
		}
		a.send(&pb.ReportRequest{Message: &pb.ReportRequest_Opinions{Opinions: u}})
		eventually(t, "the evidence", func() bool {
			v, _ := s.judge.State().Get(target(n - 1))
			return len(v.Votes) == 2 && (v.Votes[0].Reason == reason || v.Votes[1].Reason == reason)
		})
	}
	if now := s.judge.State().Version.Number; now <= made {
		t.Fatalf("the judge's state is number %d still", now)
	}
	for range 3 {
		ns.beat = nil
		ns.until(func() bool { return ns.beat != nil })
	}
	if ns.fulls != 1 || ns.deltas != 0 || ns.beat.GetVersion().GetNumber() != sent {
		t.Errorf("%d full updates, %d more, and the heartbeat is of number %d; want 1, 0 and %d",
			ns.fulls, ns.deltas, ns.beat.GetVersion().GetNumber(), sent)
	}

	a.says(false, down, 7, 8)
	for ns.deltas == 0 {
		for _, h := range ns.read().GetHealth().GetTargets() {
			if h.GetTarget() != target(7) || h.GetVerdict() != down || len(h.GetVotes()) != 0 {
				t.Errorf("sent %v", h)
			}
		}
	}
	ns.beat = nil
	ns.until(func() bool { return ns.beat != nil }) // of the same digest, as read checks
	if ns.deltas != 1 || ns.beat.GetVersion().GetNumber() <= sent {
		t.Errorf("%d updates, and the heartbeat is of number %d", ns.deltas, ns.beat.GetVersion().GetNumber())
	}
}

// States that differ in evidence only are one table to all subscribers, whichever
// of them has been seen first; nobody is led back to an older one.
func TestTableOfStates(t *testing.T) {
	s := start(t, false)
	s.judges(1, 3)
	a := s.agent()
	a.says(true, up, 0, 3)
	eventually(t, "ready", func() bool { return s.judge.State().Ready })
	var states []*verdicts.State
	for _, c := range []struct {
		status pb.HealthStatus
		reason string
	}{{up, "HTTP 200"}, {up, "HTTP 204"}, {down, "HTTP 500"}, {down, "HTTP 503"}} {
		a.send(&pb.ReportRequest{Message: &pb.ReportRequest_Opinions{Opinions: &pb.OpinionUpdate{
			Opinions: []*pb.Opinion{{Target: target(1), Status: c.status, Reason: c.reason}},
		}}})
		eventually(t, c.reason, func() bool {
			st := s.judge.State()
			v, _ := st.Get(target(1))
			if v.Votes[0].Reason != c.reason {
				return false
			}
			states = append(states, st)
			return true
		})
	}
	for name, order := range map[string][][2]int{ // which is seen, and which is to be had
		"in order":          {{0, 0}, {1, 0}, {2, 2}, {3, 2}},
		"one is skipped":    {{0, 0}, {2, 2}, {3, 2}},
		"older ones later":  {{1, 1}, {0, 1}, {3, 3}, {2, 3}, {1, 3}},
		"the same one more": {{2, 2}, {2, 2}, {3, 2}, {3, 2}},
	} {
		var sh shared
		for i, o := range order {
			if got := sh.table(states[o[0]]); got != states[o[1]] {
				t.Errorf("%s, step %d: got number %d, want %d", name, i, got.Version.Number, states[o[1]].Version.Number)
			}
		}
	}
	if v, _ := states[3].Get(target(1)); v.Last != regions.Unhealthy {
		t.Errorf("the last one is %v", v.Last)
	}
}
