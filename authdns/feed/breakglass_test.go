package feed

import (
	"context"
	"testing"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// The records go out when they changed, once on every stream.
func TestToldOfBreakGlass(t *testing.T) {
	version := uint64(7)
	s := &Subscription{opts: Options{BreakGlass: func() (*pb.BreakGlassTable, uint64) {
		return &pb.BreakGlassTable{Records: []*pb.BreakGlassRecord{{Id: "bg-1"}}}, version
	}}}
	told := func() bool { return s.followingMessage(false).GetFollowing().GetBreakGlass() != nil }
	_, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.up(cancel)
	for i, want := range []bool{true, false, false} {
		if got := told(); got != want {
			t.Errorf("message %d: %v, want %v", i, got, want)
		}
	}
	version++
	if !told() || told() {
		t.Error("after a change: not once")
	}
	s.up(cancel)
	if !told() || told() {
		t.Error("on a new stream: not once")
	}
}

// A report cites the query, and one that nobody can answer is left alone.
func TestUsageQuery(t *testing.T) {
	s := New(Options{})
	_, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := s.up(cancel)
	q := &pb.UsageQuery{Id: 9, Scope: &pb.OverrideScope{Region: "eu-west"}}
	s.report(q)
	s.opts.Usage = func(scope *pb.OverrideScope) *pb.UsageReport {
		if scope.GetRegion() != "eu-west" {
			t.Errorf("%v", scope)
		}
		return &pb.UsageReport{Endpoints: 3}
	}
	s.report(q)
	if len(out) != 1 {
		t.Fatalf("%d messages", len(out))
	}
	if r := (<-out).GetUsage(); r.GetId() != 9 || r.GetEndpoints() != 3 {
		t.Errorf("%v", r)
	}
	// A controller that floods takes no time from answers.
	answered := 0
	s.opts.Usage = func(*pb.OverrideScope) *pb.UsageReport { answered++; return &pb.UsageReport{} }
	begin := time.Now()
	for range 100_000 {
		s.report(q)
		select {
		case <-out:
		default:
		}
	}
	if most := usageBurst + int(usageRate*time.Since(begin).Seconds()) + 1; answered > most {
		t.Errorf("%d of 100,000 are answered, want %d at most", answered, most)
	}
}
