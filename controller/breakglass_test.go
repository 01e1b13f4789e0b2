package controller_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// A break-glass record ends by a record of the control plane that cites its id;
// what it did may go on.
func TestEndBreakGlass(t *testing.T) {
	c := run(t, "c1", etcd(t))
	c.apply(three + policy("minRegions: 2, minRegionsPerService: 0"))
	end := func(req *pb.EndBreakGlassRequest) (*pb.EndBreakGlassResponse, error) {
		return c.EndBreakGlass(t.Context(), req)
	}
	_, err := end(&pb.EndBreakGlassRequest{Id: "bg-1"})
	wantCode(t, err, codes.InvalidArgument, "reason: required")
	_, err = end(&pb.EndBreakGlassRequest{Id: "bg-1", Reason: "r"})
	wantCode(t, err, codes.NotFound, `"bg-1"`)

	record := func(id string, a pb.BreakGlassAction, scope *pb.OverrideScope) *pb.BreakGlassRecord {
		return &pb.BreakGlassRecord{Id: id, Action: a, Scope: scope, Author: "alice", Reason: "no quorum", RemainingMillis: uint64(time.Hour.Milliseconds())}
	}
	c.subscribe(&pb.NameserverHello{Nameserver: "ns-1", Region: "eu-west", BreakGlass: &pb.BreakGlassTable{Records: []*pb.BreakGlassRecord{
		record("bg-1", pb.BreakGlassAction_BREAK_GLASS_ACTION_DRAIN, &pb.OverrideScope{Region: "eu-west"}),
		record("bg-2", pb.BreakGlassAction_BREAK_GLASS_ACTION_FORCE_DOWN, &pb.OverrideScope{Service: "www.example.test", Endpoint: "us-1"}),
		record("bg-3", pb.BreakGlassAction_BREAK_GLASS_ACTION_UNDRAIN, &pb.OverrideScope{Region: "ap-south"}),
		record("bg-4", pb.BreakGlassAction_BREAK_GLASS_ACTION_UNDRAIN, &pb.OverrideScope{Region: "ap-south", Service: "www.example.test"}),
	}}})
	eventually(t, "the records", func() bool { return len(c.overrides().GetBreakGlass()) == 4 })
	st, err := c.GetStatus(t.Context(), &pb.GetStatusRequest{})
	if err != nil || len(st.GetBreakGlass()) != 4 {
		t.Errorf("status: %v, %v", st.GetBreakGlass(), err)
	}
	_, err = end(&pb.EndBreakGlassRequest{Id: "bg-5", Reason: "r"})
	wantCode(t, err, codes.NotFound, `"bg-5"`, "bg-")

	// One that ends, and ends again; a nameserver that asks is told.
	first, err := end(&pb.EndBreakGlassRequest{Id: "bg-2", Reason: "etcd is back", Author: "bob", RequestId: "end-2"})
	if err != nil || first.GetEnd().GetId() != "bg-2" || first.GetEnd().GetAuthor() != "bob" || first.GetOverride() != nil {
		t.Fatal(first, err)
	}
	if again, err := end(&pb.EndBreakGlassRequest{Id: "bg-2", Reason: "etcd is back", Author: "bob", RequestId: "end-2"}); err != nil || !proto.Equal(first, again) {
		t.Errorf("repeated: %v, %v; first %v", again, err, first)
	}
	if again, err := end(&pb.EndBreakGlassRequest{Id: "bg-2", Reason: "again"}); err != nil || !proto.Equal(first.GetEnd(), again.GetEnd()) || !proto.Equal(first.GetGeneration(), again.GetGeneration()) {
		t.Errorf("again: %v, %v; first %v", again, err, first)
	}
	if e := c.newest(); e.GetAction() != "break-glass-end" || e.GetAuthor() != "bob" || len(e.GetSubjects()) != 1 {
		t.Errorf("event: %v", e)
	}
	n := c.subscribe(&pb.NameserverHello{Nameserver: "ns-2", Region: "us-east"})
	if _, tree := n.plan(first.GetGeneration()); len(tree.BreakGlassEnds) != 1 || tree.BreakGlassEnds[0].GetId() != "bg-2" {
		t.Errorf("a nameserver reads %v", tree.BreakGlassEnds)
	}

	// The safety rules count what it takes out, unless it ended.
	ap := &pb.DrainRegionRequest{Region: "ap-south", Reason: "r"}
	_, err = c.DrainRegion(t.Context(), ap)
	wantCode(t, err, codes.FailedPrecondition, "min-regions", "1 of 3 regions would stay in service", "break-glass holds counts as drained: bg-1 of regions/eu-west")
	// But what holds here, and perhaps not elsewhere, excuses no drain everywhere.
	dry, err := c.DrainRegion(t.Context(), &pb.DrainRegionRequest{Region: "eu-west", Reason: "r", DryRun: true})
	if err != nil || !dry.GetSafety().GetAllowed() || dry.GetSafety().GetRegions()[1].GetDrainedBefore() != 0 {
		t.Errorf("the same by the control plane: %v, %v", dry, err)
	}
	// What is adopted is judged as any other.
	ap.Force = true
	if drained, err := c.DrainRegion(t.Context(), ap); err != nil || !drained.GetSafety().GetForced() {
		t.Fatal(drained, err)
	}
	_, err = end(&pb.EndBreakGlassRequest{Id: "bg-1", Reason: "r", Adopt: true})
	wantCode(t, err, codes.FailedPrecondition, "min-regions")
	if e := c.newest(); e.GetAction() != "break-glass-end" || e.GetResult() != "refused" {
		t.Errorf("event: %v", e)
	}
	// An undrain of a part cannot be adopted while the whole is drained.
	_, err = end(&pb.EndBreakGlassRequest{Id: "bg-4", Reason: "r", Adopt: true})
	wantCode(t, err, codes.FailedPrecondition, "nothing was changed", "undrain them first")
	undrained, err := end(&pb.EndBreakGlassRequest{Id: "bg-3", Reason: "r", Adopt: true})
	if err != nil || len(undrained.GetRemoved()) != 1 || undrained.GetRemoved()[0].GetScope().GetRegion() != "ap-south" {
		t.Fatal(undrained, err)
	}
	adopted, err := end(&pb.EndBreakGlassRequest{Id: "bg-1", Reason: "it stays down", Adopt: true})
	if err != nil || adopted.GetOverride().GetScope().GetRegion() != "eu-west" || !adopted.GetSafety().GetAllowed() {
		t.Fatal(adopted, err)
	}
	if l := c.overrides(); len(l.GetOverrides()) != 1 || !proto.Equal(l.GetOverrides()[0], adopted.GetOverride()) {
		t.Errorf("overrides: %v", l)
	}
}

// What an undrain has set aside, adopting it removes, wherever the drains lie; or
// says which reach beyond it.
func TestAdoptUndrain(t *testing.T) {
	c := run(t, "c1", etcd(t))
	c.apply(three + policy("minRegions: 0, minRegionsPerService: 0"))
	www := func(endpoint string) *pb.OverrideScope {
		return &pb.OverrideScope{Service: "www.example.test", Endpoint: endpoint}
	}
	var records []*pb.BreakGlassRecord
	for id, scope := range map[string]*pb.OverrideScope{
		"bg-eu": {Region: "eu-west"}, "bg-a": {Region: "eu-west", AvailabilityZone: "eu-west-a"}, "bg-ap": {Region: "ap-south"}, "bg-us1": www("us-1"),
	} {
		records = append(records, &pb.BreakGlassRecord{
			Id: id, Action: pb.BreakGlassAction_BREAK_GLASS_ACTION_UNDRAIN, Scope: scope, Author: "alice", Reason: "no quorum",
			CreateTime: timestamppb.Now(), RemainingMillis: uint64(time.Hour.Milliseconds()),
		})
	}
	ns := c.subscribe(&pb.NameserverHello{Nameserver: "ns-1", Region: "eu-west", BreakGlass: &pb.BreakGlassTable{Records: records}})
	eventually(t, "the records", func() bool { return len(c.overrides().GetBreakGlass()) == 4 })
	drain := func(scope *pb.OverrideScope) *pb.Override {
		t.Helper()
		made, err := c.CreateOverride(t.Context(), &pb.CreateOverrideRequest{Action: drained, Scope: scope, Reason: "r"})
		if err != nil {
			t.Fatal(err)
		}
		return made.GetOverride()
	}
	adopt := func(id string) (*pb.EndBreakGlassResponse, error) {
		return c.EndBreakGlass(t.Context(), &pb.EndBreakGlassRequest{Id: id, Reason: "r", Adopt: true})
	}
	eu2 := drain(www("eu-2"))
	us := drain(&pb.OverrideScope{Region: "us-east", Service: "www.example.test"})
	pay := drain(&pb.OverrideScope{Region: "eu-west", Service: "pay.example.test"})

	// A part of a drain: not of pay's, whose endpoint is in no availability zone.
	part := drain(&pb.OverrideScope{Region: "eu-west", Service: "www.example.test"})
	_, err := adopt("bg-a")
	wantCode(t, err, codes.FailedPrecondition, "nothing was changed", part.GetId())
	if strings.Contains(err.Error(), pay.GetId()) || strings.Contains(err.Error(), eu2.GetId()) {
		t.Errorf("it names drains that it does not touch: %v", err)
	}
	_, err = adopt("bg-us1")
	wantCode(t, err, codes.FailedPrecondition, "nothing was changed", us.GetId())

	// All that lies in it, an endpoint's too.
	got, err := adopt("bg-eu")
	if err != nil || len(got.GetRemoved()) != 3 {
		t.Fatal(got, err)
	}
	if l := c.overrides().GetOverrides(); len(l) != 1 || l[0].GetId() != us.GetId() {
		t.Errorf("left: %v", l)
	}

	// One that has ended does nothing that could go on.
	ap := drain(&pb.OverrideScope{Region: "ap-south"})
	for _, r := range records {
		if r.GetId() == "bg-ap" {
			r.RemainingMillis, r.Ended = 0, "its time is over"
		}
	}
	ns.send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Following{Following: &pb.Following{BreakGlass: &pb.BreakGlassTable{Records: records, Trouble: "the file was damaged and set aside"}}}})
	eventually(t, "its end", func() bool {
		_, err := adopt("bg-ap")
		return status.Code(err) == codes.FailedPrecondition && strings.Contains(err.Error(), "its time is over")
	})
	if l := c.overrides().GetOverrides(); len(l) != 2 {
		t.Errorf("drains: %v, want %s among them", l, ap.GetId())
	}
	if st, err := c.GetStatus(t.Context(), &pb.GetStatusRequest{}); err != nil || len(st.GetAlarms()) != 1 ||
		!strings.Contains(st.GetAlarms()[0], `"ns-1"`) || !strings.Contains(st.GetAlarms()[0], "damaged and set aside") {
		t.Errorf("alarms: %v, %v", st.GetAlarms(), err)
	}
}
