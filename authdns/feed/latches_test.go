package feed

import (
	"fmt"
	"testing"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

// A controller is told of the latches that it lacks, and not every second of
// those that it goes on lacking.
func TestUnknownLatches(t *testing.T) {
	all := &pb.LatchTable{Latches: []*pb.Latch{
		{Service: "a", Region: "r", Trip: 1}, {Service: "b", Region: "r", Trip: 2}, {Service: "c", Region: "r", Trip: 3},
	}}
	s := &Subscription{}
	s.state.table.latches = []regions.Latch{{Service: "a", Region: "r", Trip: 1}, {Service: "b", Region: "r", Trip: 1}}
	now := time.Now()
	told := func(all *pb.LatchTable, at time.Duration) string {
		out := ""
		for _, l := range s.unknownLatches(all, now.Add(at)).GetLatches() {
			out += fmt.Sprintf("%s%d ", l.GetService(), l.GetTrip())
		}
		return out
	}
	for _, step := range []struct {
		whole bool
		all   *pb.LatchTable
		at    time.Duration
		want  string
	}{
		{false, all, 0, ""}, // the hello has told of all
		{true, nil, 0, ""},
		{true, all, 0, "b2 c3 "},
		{true, all, latchesEvery - 1, ""},
		{true, all, latchesEvery, "b2 c3 "},
	} {
		s.state.table.whole = step.whole
		if got := told(step.all, step.at); got != step.want {
			t.Errorf("whole %v, after %s: told of %q, want %q", step.whole, step.at, got, step.want)
		}
	}
	s.state.table.latches = []regions.Latch{{Service: "b", Region: "r", Trip: 5}, {Service: "c", Region: "r", Trip: 3}}
	if got := told(all, time.Hour); got != "a1 " {
		t.Errorf("told of %q, want those that it does not hold any more", got)
	}
}
