package replay_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/health/replay"
)

// Whatever an agent sends as its history is refused or can be replayed.
func FuzzHistory(f *testing.F) {
	seed, err := proto.Marshal(&pb.ObservationHistory{
		Target: "web@192.0.2.1", AgeMillis: []uint64{1 << 63, 1000, 0}, LatencyMicros: []uint32{1, 1 << 31, 3}, Outcome: []uint32{0, 1, 0},
		Outcomes: []*pb.ObservationOutcome{{Result: 1, Reason: "connected"}, {Result: 2, Reason: "connection refused"}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, wire []byte) {
		var h pb.ObservationHistory
		if proto.Unmarshal(wire, &h) != nil {
			return
		}
		all, err := replay.Observations(&h, epoch)
		if err != nil || len(all) == 0 {
			return
		}
		o := usual
		o.Interval = 0
		if _, err := replay.Run([]replay.Vantage{{Agent: "a", Region: "eu", Registered: true, Observations: all}}, o); err != nil {
			t.Fatal(err)
		}
	})
}
