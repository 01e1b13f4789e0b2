package feed

import (
	"testing"

	"github.com/fairlead-dns/fairlead/controller/verdicts"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

// Latches come with all verdicts and whenever they change, also when no verdict
// does; read checks the digest after every message.
func TestLatchesAreFed(t *testing.T) {
	s := start(t, false)
	plan := verdicts.Plan{
		Generation: regions.Generation{Epoch: 1, Revision: 1}, Agents: []verdicts.Agent{{Name: "a", Region: "r"}},
		Assignments: []*pb.Assignment{{Target: target(0)}, {Target: target(1)}},
		Latches:     []verdicts.LatchGroup{{Service: "www.example.test", Region: "eu", Targets: [][2]string{{target(0)}}}},
	}
	s.judge.SetPlan(plan)
	a := s.agent()
	a.says(true, up, 0, 2)
	eventually(t, "ready", func() bool { return s.judge.State().Ready })
	ns := s.subscribe(&pb.NameserverHello{Nameserver: "ns-1", Region: "r"})
	ns.until(func() bool { return len(ns.table) == 2 && ns.beat != nil })
	if len(ns.latches) != 0 {
		t.Fatalf("latches %v", ns.latches)
	}
	a.says(false, down, 0, 1)
	ns.until(func() bool { return len(ns.latches) == 1 })
	if l := ns.latches[0]; l.Name() != "failback/www.example.test/eu" || l.Trip != 1 {
		t.Errorf("%+v", l)
	}
	a.says(false, up, 0, 1)
	ns.until(func() bool { return ns.table[target(0)].Restored })
	// One that subscribes now has it at once, and so has who asks for all.
	late := s.subscribe(&pb.NameserverHello{Nameserver: "ns-2", Region: "r"})
	late.until(func() bool { return late.beat != nil })
	if len(late.latches) != 1 || !late.table[target(0)].Restored {
		t.Errorf("%v %v", late.latches, late.table)
	}
	late.send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Resync{Resync: &pb.HealthResync{}}})
	late.until(func() bool { return late.fulls == 2 })
	if len(late.latches) != 1 {
		t.Errorf("after a resync: %v", late.latches)
	}
	// Released: nothing but the latches changes.
	plan.Generation.Revision = 2
	plan.Releases = map[string]uint64{"failback/www.example.test/eu": 1}
	s.judge.SetPlan(plan)
	ns.until(func() bool { return len(ns.latches) == 0 })
	late.until(func() bool { return len(late.latches) == 0 })
	// What a nameserver remembers is told to all.
	s.subscribe(&pb.NameserverHello{Nameserver: "ns-3", Region: "r", Latches: &pb.LatchTable{Latches: []*pb.Latch{
		{Service: "www.example.test", Region: "eu", Trip: 7},
	}}})
	ns.until(func() bool { return len(ns.latches) == 1 && ns.latches[0].Trip == 7 })
}
