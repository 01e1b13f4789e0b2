package api

import (
	"testing"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// A break-glass record is told when it begins and when it ends, whoever holds it.
func TestWatchBreakGlass(t *testing.T) {
	glass := func(id string, remaining uint64, ended string, nameservers ...string) *pb.BreakGlassStatus {
		return &pb.BreakGlassStatus{Nameservers: nameservers, Record: &pb.BreakGlassRecord{
			Id: id, Action: pb.BreakGlassAction_BREAK_GLASS_ACTION_FORCE_DOWN, Scope: &pb.OverrideScope{Region: "eu"},
			Author: "ana", Reason: "fire", RemainingMillis: remaining, Ended: ended,
		}}
	}
	for _, initial := range []bool{true, false} {
		inWatch(t, func(t *testing.T, w *watched) {
			w.publish(version(t, 1, nil, watchedYAML))
			w.glass = []*pb.BreakGlassStatus{glass("bg-1", 60_000, "", "ns-1"), glass("bg-0", 0, "expired")}
			w.watch(initial, 100)
			if initial {
				w.want("generation 1 after 0 config",
					"web@192.0.2.1 unknown, was unspecified: api.example.test/e www.example.test/eu-1",
					"web@192.0.2.2 unknown, was unspecified: www.example.test/eu-2",
					"break-glass-begun bg-1: force-down of regions/eu by ana at ns-1, for 1m0s: fire", "heartbeat")
			} else {
				w.want()
			}
			w.holds(glass("bg-1", 50_000, "", "ns-1", "ns-2"), glass("bg-2", 1000, "", "ns-2"), glass("bg-1", 50_000, "", "liar"))
			w.want("break-glass-begun bg-2: force-down of regions/eu by ana at ns-2, for 1s: fire")
			w.holds(glass("bg-2", 0, "ended by bob: over"))
			w.want("break-glass-ended bg-1: force-down of regions/eu by ana: no nameserver that is known here holds it any more",
				"break-glass-ended bg-2: force-down of regions/eu by ana: ended by bob: over")
			w.holds()
			w.want()
		})
	}
}
