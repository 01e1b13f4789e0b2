package feed

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

func record(id string, remaining time.Duration, ended string) *pb.BreakGlassRecord {
	return &pb.BreakGlassRecord{
		Id: id, Action: pb.BreakGlassAction_BREAK_GLASS_ACTION_DRAIN, Scope: &pb.OverrideScope{Region: "eu"}, Author: "ana", Reason: "fire",
		CreateTime: timestamppb.Now(), RemainingMillis: uint64(remaining.Milliseconds()), Ended: ended,
	}
}

func table(list ...*pb.BreakGlassRecord) *pb.BreakGlassTable {
	return &pb.BreakGlassTable{Records: list}
}

func (n *subscription) tells(t *pb.BreakGlassTable) {
	n.send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Following{Following: &pb.Following{BreakGlass: t}}})
}

// shows describes the list, as "bg-1 at ns-1,ns-2 not ns-3".
func (s *station) shows() string {
	var parts []string
	for _, st := range s.BreakGlass() {
		r := st.GetRecord()
		text := fmt.Sprintf("%s at %s", r.GetId(), strings.Join(st.GetNameservers(), ","))
		if len(st.GetNameservers()) == 0 {
			text = fmt.Sprintf("%s: %s", r.GetId(), r.GetEnded())
		}
		if (r.GetRemainingMillis() > 0) != (len(st.GetNameservers()) > 0) {
			text += "?"
		}
		if len(st.GetMissing()) > 0 {
			text += " not " + strings.Join(st.GetMissing(), ",")
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}

func TestBreakGlass(t *testing.T) {
	s := start(t, true)
	all := []*pb.Resource{{Kind: &pb.Resource_Region{Region: &pb.Region{Metadata: &pb.Metadata{Name: "eu"}, Spec: &pb.RegionSpec{}}}}}
	for _, name := range []string{"ns-1", "ns-2", "ns-3", "away"} {
		all = append(all, &pb.Resource{Kind: &pb.Resource_Nameserver{
			Nameserver: &pb.Nameserver{Metadata: &pb.Metadata{Name: name}, Spec: &pb.NameserverSpec{Region: "eu"}},
		}})
	}
	set, err := config.NewSet(all)
	if err != nil {
		t.Fatal(err)
	}
	s.publish(set)
	want := func(what, want string) {
		t.Helper()
		got := ""
		for range 3000 {
			if got = s.shows(); got == want {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("%s: %s, want %s", what, got, want)
	}
	want("without any", "")
	long, short := record("bg-1", time.Hour, ""), record("bg-1", time.Minute, "")
	ns1 := s.subscribe(&pb.NameserverHello{Nameserver: "ns-1", BreakGlass: table(short, record("bg-0", 0, "expired"))})
	want("one", "bg-1 at ns-1; bg-0: expired")
	ns2 := s.subscribe(&pb.NameserverHello{Nameserver: "ns-2"})
	s.subscribe(&pb.NameserverHello{Nameserver: "ns-3"})
	s.subscribe(&pb.NameserverHello{Nameserver: "unregistered"})
	want("who lacks it", "bg-1 at ns-1 not ns-2,ns-3; bg-0: expired")
	ns2.tells(table(long))
	want("two", "bg-1 at ns-1,ns-2 not ns-3; bg-0: expired")
	if r := s.BreakGlass()[0].GetRecord(); r.GetRemainingMillis() < 3_000_000 {
		t.Errorf("of two times not the longer one is shown: %v", r)
	}
	// It says nothing new of them.
	ns2.tells(nil)
	// What is of another installation is not ours.
	s.subscribe(&pb.NameserverHello{Nameserver: "foreign", Installation: "other", BreakGlass: table(record("bg-9", time.Hour, ""))})
	// One that speaks of something else by the same name does not hide it.
	other := record("bg-1", time.Hour, "")
	other.Scope.Region = "us"
	liar := s.subscribe(&pb.NameserverHello{Nameserver: "liar", BreakGlass: table(other)})
	want("a liar", "bg-1 at ns-1,ns-2 not ns-3; bg-1 at liar not ns-1,ns-2,ns-3; bg-0: expired")
	liar.tells(table())
	want("none any more", "bg-1 at ns-1,ns-2 not ns-3; bg-0: expired")
	// It holds on while it is away, as far as is known here.
	ns1.cancel()
	eventually(t, "it left", func() bool {
		return slices.ContainsFunc(s.Nameservers(), func(n Nameserver) bool { return n.Name == "ns-1" && !n.Connected })
	})
	want("one left", "bg-1 at ns-1,ns-2 not ns-3; bg-0: expired")
	ns1 = s.subscribe(&pb.NameserverHello{Nameserver: "ns-1", BreakGlass: table(record("bg-1", 0, "ended by bob"))})
	want("ended at one", "bg-1 at ns-2 not ns-1,ns-3")
	ns2.tells(table(record("bg-1", 50*time.Millisecond, "")))
	want("expired", "bg-1: ended by bob")

	// What cannot be shown is not kept, and what is too much neither.
	long2 := record("bg-long", time.Hour, "")
	long2.Reason = strings.Repeat("x", maxText+1)
	old := record("bg-old", 0, "expired")
	old.CreateTime = timestamppb.New(time.Now().Add(-48 * time.Hour))
	bad := []*pb.BreakGlassRecord{long2, old, record("bg-", time.Hour, ""), record("x", time.Hour, ""), record("bg-A", time.Hour, ""), record("bg-"+strings.Repeat("a", 61), time.Hour, ""), nil}
	ns1.tells(table(append(bad, record("bg-2", time.Hour, ""))...))
	want("what is none", "bg-2 at ns-1 not ns-2,ns-3; bg-1: its time is over")
	var many []*pb.BreakGlassRecord
	for i := range 2 * maxRecords {
		many = append(many, record(fmt.Sprintf("bg-%d", i), time.Hour, ""))
	}
	ns1.tells(table(many...))
	eventually(t, "as many as there may be", func() bool { return len(s.BreakGlass()) == maxRecords })
	// No record is shown for longer than one may hold.
	ns1.tells(table(record("bg-ever", 1000*time.Hour, "")))
	eventually(t, "the one", func() bool { return len(s.BreakGlass()) == 2 })
	if r := s.BreakGlass()[0].GetRecord(); r.GetRemainingMillis() > uint64(maxBreakGlass.Milliseconds()) {
		t.Errorf("it remains for %d ms", r.GetRemainingMillis())
	}
}
