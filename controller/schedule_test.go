package controller_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// A window begins and ends, at whichever controller comes first.
func TestWindow(t *testing.T) {
	e := etcd(t)
	a, b := run(t, "c1", e), run(t, "c2", e)
	a.apply(three)
	start := time.Now().Add(time.Hour)
	req := &pb.DrainRegionRequest{Region: "eu-west", Reason: "maintenance", StartTime: timestamppb.New(start), ExpireAfter: durationpb.New(time.Hour)}
	made, err := a.DrainRegion(t.Context(), req)
	if err != nil || !made.GetSafety().GetAllowed() || !made.GetOverride().GetExpireTime().AsTime().Equal(start.Add(time.Hour)) {
		t.Fatal(made, err)
	}
	// The same again, or a part of it, is there already; another window is not.
	part := &pb.DrainRegionRequest{Region: "eu-west", Reason: "part", StartTime: timestamppb.New(start.Add(time.Minute)), ExpireAfter: durationpb.New(time.Minute)}
	if again, err := a.DrainRegion(t.Context(), part); err != nil || again.GetOverride().GetId() != made.GetOverride().GetId() {
		t.Error(again, err)
	}
	other := &pb.DrainRegionRequest{Region: "eu-west", Reason: "tomorrow", StartTime: timestamppb.New(start.Add(24 * time.Hour)), ExpireAfter: durationpb.New(time.Hour)}
	if again, err := a.DrainRegion(t.Context(), other); err != nil || again.GetOverride().GetId() == made.GetOverride().GetId() {
		t.Error(again, err)
	}
	if l := a.overrides(); len(l.GetOverrides()) != 0 || len(l.GetScheduled()) != 2 {
		t.Fatalf("before: %v", l)
	}
	eventually(t, "it at the other controller", func() bool { return len(b.overrides().GetScheduled()) == 2 })
	for _, c := range []*running{b, a} {
		if err := c.Advance(t.Context(), start.Add(-time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if l := b.overrides(); len(l.GetOverrides()) != 0 {
		t.Fatalf("too soon: %v", l)
	}
	for _, c := range []*running{b, a} { // a comes late, and does not mind
		if err := c.Advance(t.Context(), start); err != nil {
			t.Fatal(err)
		}
	}
	l := b.overrides()
	if len(l.GetOverrides()) != 1 || len(l.GetScheduled()) != 1 || l.GetOverrides()[0].GetId() != made.GetOverride().GetId() {
		t.Fatalf("in the window: %v", l)
	}
	if e := b.newest(); e.GetAction() != "override-start" || e.GetActor() != "controller/c2" || !e.GetSafety().GetAllowed() || e.GetResult() != "done" {
		t.Errorf("event: %v", e)
	}
	if err := b.Advance(t.Context(), start.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if l := b.overrides(); len(l.GetOverrides()) != 0 || len(l.GetScheduled()) != 1 {
		t.Errorf("after it: %v", l)
	}
	if e := b.newest(); e.GetAction() != "override-expire" {
		t.Errorf("event: %v", e)
	}
	// An undrain ends what is scheduled too.
	un, err := a.UndrainRegion(t.Context(), &pb.UndrainRegionRequest{Region: "eu-west", Reason: "test"})
	if err != nil || len(un.GetRemoved()) != 1 || un.GetRemoved()[0].GetReason() != "tomorrow" {
		t.Error(un, err)
	}
}

// A window begins by itself.
func TestWindowBeginsByItself(t *testing.T) {
	c := run(t, "c1", etcd(t))
	c.apply(three)
	req := &pb.DrainRegionRequest{Region: "eu-west", Reason: "maintenance", StartTime: timestamppb.New(time.Now().Add(2 * time.Second))}
	if _, err := c.DrainRegion(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the start", func() bool { l := c.overrides(); return len(l.GetOverrides()) == 1 && len(l.GetScheduled()) == 0 })
}

// What was safe when it was scheduled need not be when its time comes: then it
// waits, says why once, and begins when it is safe; or its time is over.
func TestWindowThatIsNotSafe(t *testing.T) {
	e := etcd(t)
	a, b := run(t, "c1", e), run(t, "c2", e)
	a.apply(three + policy("minRegions: 2, minRegionsPerService: 0"))
	start := time.Now().Add(time.Hour)
	schedule := func(region string, force bool) (*pb.DrainRegionResponse, error) {
		return a.DrainRegion(t.Context(), &pb.DrainRegionRequest{
			Region: region, Reason: "maintenance", StartTime: timestamppb.New(start), ExpireAfter: durationpb.New(time.Hour), Force: force,
		})
	}
	if _, err := schedule("eu-west", false); err != nil {
		t.Fatal(err)
	}
	// Two windows at the same time are judged together.
	_, err := schedule("us-east", false)
	wantCode(t, err, codes.FailedPrecondition, "min-regions")
	if _, err := a.DrainRegion(t.Context(), &pb.DrainRegionRequest{Region: "ap-south", Reason: "incident"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the drain at the other controller", func() bool { return len(b.overrides().GetOverrides()) == 1 })
	for range 3 {
		for _, c := range []*running{a, b} {
			if err := c.Advance(t.Context(), start); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "the alarm", func() bool {
		st, err := b.GetStatus(t.Context(), &pb.GetStatusRequest{})
		if err != nil || len(st.GetScheduled()) != 1 || len(st.GetOverrides()) != 1 {
			t.Fatal(st, err)
		}
		return len(st.GetAlarms()) == 1 && strings.Contains(st.GetAlarms()[0], "has not begun") && strings.Contains(st.GetAlarms()[0], "min-regions") &&
			strings.Contains(st.GetScheduled()[0].GetRefusal(), "1 of 3 regions would stay in service")
	})
	refused := 0
	events, err := a.ListEvents(t.Context(), &pb.ListEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events.GetEvents() {
		if e.GetAction() == "override-start" && e.GetResult() == "refused" {
			refused++
		}
	}
	if refused != 1 {
		t.Errorf("%d refusals in the audit trail, want 1", refused)
	}
	if _, err := a.UndrainRegion(t.Context(), &pb.UndrainRegionRequest{Region: "ap-south", Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	if err := a.Advance(t.Context(), start.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if l := a.overrides(); len(l.GetOverrides()) != 1 || l.GetOverrides()[0].GetRefusal() != "" || len(l.GetScheduled()) != 0 {
		t.Errorf("safe again: %v", l)
	}

	// Force travels with it.
	if _, err := schedule("us-east", true); err != nil {
		t.Fatal(err)
	}
	if err := a.Advance(t.Context(), start.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if l := a.overrides(); len(l.GetOverrides()) != 2 || !l.GetOverrides()[1].GetForced() {
		t.Errorf("by force: %v", l)
	}
	if e := a.newest(); e.GetAction() != "override-start" || e.GetResult() != "forced" {
		t.Errorf("event: %v", e)
	}
	// One that never began ends with its window.
	if _, err := schedule("ap-south", true); err != nil {
		t.Fatal(err)
	}
	if err := a.Advance(t.Context(), start.Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if l := a.overrides(); len(l.GetOverrides())+len(l.GetScheduled()) != 0 {
		t.Errorf("after all: %v", l)
	}
}

// A window that may begin by force only is another than one without it: neither
// stands for the other, unless it does so with more force.
func TestForceOfWindows(t *testing.T) {
	c := run(t, "c1", etcd(t))
	c.apply(three)
	start := time.Now().Add(time.Hour)
	schedule := func(hours int, force bool) *pb.Override {
		t.Helper()
		made, err := c.DrainRegion(t.Context(), &pb.DrainRegionRequest{
			Region: "eu-west", Reason: "maintenance", StartTime: timestamppb.New(start), ExpireAfter: durationpb.New(time.Duration(hours) * time.Hour), Force: force,
		})
		if err != nil {
			t.Fatal(err)
		}
		return made.GetOverride()
	}
	without := schedule(1, false)
	forced := schedule(1, true)
	if !forced.GetForced() || forced.GetId() == without.GetId() {
		t.Errorf("by force: %v", forced)
	}
	if again := schedule(1, false); again.GetId() != forced.GetId() {
		t.Errorf("without force: %v, want %v, which does more", again, forced)
	}
	if l := c.overrides().GetScheduled(); len(l) != 1 {
		t.Errorf("scheduled: %v", l)
	}
	longer := schedule(2, false)
	if l := c.overrides().GetScheduled(); len(l) != 2 || longer.GetForced() {
		t.Errorf("a longer one without force, which may never begin, replaces the forced one: %v", l)
	}
}
