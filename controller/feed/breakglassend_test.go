package feed

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// What ended is shown for an hour after it did, whenever this controller began to
// listen; and for an hour after it was heard, if it stood here before.
func TestBreakGlassEnds(t *testing.T) {
	s := start(t, false)
	want := func(what, want string) {
		t.Helper()
		eventually(t, what+": "+want, func() bool { return s.shows() == want })
	}
	ended := func(id string, ago time.Duration) *pb.BreakGlassRecord {
		r := record(id, 0, "by bob")
		r.EndTime = timestamppb.New(time.Now().Add(-ago))
		return r
	}
	old := record("bg-6", 0, "by bob") // of an older version, which does not say when
	old.CreateTime = timestamppb.New(time.Now().Add(-48 * time.Hour))
	ns := s.subscribe(&pb.NameserverHello{Nameserver: "ns-1", BreakGlass: table(
		ended("bg-1", time.Minute), ended("bg-2", 61*time.Minute), ended("bg-3", -time.Hour), record("bg-4", 0, "by bob"),
		record("bg-5", time.Hour, ""), old,
	)})
	want("just begun to listen", "bg-5 at ns-1; bg-1: by bob; bg-3: by bob; bg-4: by bob")
	if r := s.BreakGlass()[1].GetRecord(); time.Since(r.GetEndTime().AsTime()) < time.Minute {
		t.Errorf("it does not say when: %v", r)
	}
	// Its clock may be far off: that it ended is news.
	ns.tells(table(ended("bg-1", 2*time.Hour), ended("bg-5", 3*time.Hour)))
	want("stood", "bg-1: by bob; bg-5: by bob")
	ns.tells(table(ended("bg-5", 3*time.Hour)))
	want("heard again", "bg-5: by bob")
	// With all that an operator may write into it.
	long := ended("bg-7", 0)
	long.Ended = "ended by operator/alice: " + strings.Repeat("x", maxText)
	ns.tells(table(long))
	want("a long reason", "bg-7: "+long.GetEnded())
	// Of one that is over and whose nameserver is away, the controller says it.
	ns.tells(table(record("bg-8", 20*time.Millisecond, "")))
	want("over", "bg-8: its time is over")
	if r := s.BreakGlass()[0].GetRecord(); r.GetEndTime() == nil {
		t.Errorf("it does not say when: %v", r)
	}
}

// A nameserver that tells of another's record with other words, and of a longer time,
// does not change what that one says.
func TestBreakGlassOfAnother(t *testing.T) {
	s := start(t, false)
	s.subscribe(&pb.NameserverHello{Nameserver: "ns-1", BreakGlass: table(record("bg-1", time.Hour, ""))})
	lie := record("bg-1", 23*time.Hour, "")
	lie.Author, lie.Reason = "mallory", "all is well"
	s.subscribe(&pb.NameserverHello{Nameserver: "liar", BreakGlass: table(lie)})
	eventually(t, "both", func() bool { return s.shows() == "bg-1 at ns-1; bg-1 at liar" })
	if r := s.BreakGlass()[0].GetRecord(); r.GetAuthor() != "ana" || r.GetReason() != "fire" || r.GetRemainingMillis() > 3_600_000 {
		t.Errorf("%v", r)
	}
}
