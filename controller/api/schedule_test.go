package api

import (
	"fmt"
	"testing"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// Those that were refused take turns, a few at a time; nobody else waits.
func TestTurns(t *testing.T) {
	s := &Server{}
	var due []*pb.Override
	for i := range 3*maxRetried + 7 {
		due = append(due, &pb.Override{Id: fmt.Sprint(i), Refusal: "min-regions"})
	}
	due = append(due, &pb.Override{Id: "new-1"}, &pb.Override{Id: "new-2"})
	seen := map[string]int{}
	for range 4 {
		turn := s.turns(due)
		if len(turn) != maxRetried+2 {
			t.Fatalf("%d at a time", len(turn))
		}
		for _, o := range turn {
			seen[o.GetId()]++
		}
	}
	if len(seen) != len(due) || seen["new-1"] != 4 || seen["new-2"] != 4 {
		t.Errorf("%d of %d had a turn: %v", len(seen), len(due), seen)
	}
	if few := s.turns(due[:3]); len(few) != 3 || few[0] != due[0] {
		t.Errorf("few: %v", few)
	}
}
