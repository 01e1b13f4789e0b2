package controller_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead-dns/fairlead/controller/store"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// follower reads a stream of events, and goes on after the last position when it
// breaks.
type follower struct {
	r      *running
	filter *pb.EventFilter
	stream pb.InsightService_StreamEventsClient
	cancel func()
	after  string
	broken int
}

func (r *running) follow(after string, filter *pb.EventFilter) *follower {
	r.t.Helper()
	f := &follower{r: r, filter: filter, after: after, cancel: func() {}}
	r.t.Cleanup(func() { f.cancel() })
	f.open()
	return f
}

// open opens the stream and reads where it begins.
func (f *follower) open() {
	f.r.t.Helper()
	eventually(f.r.t, "a stream of events", func() bool {
		f.cancel()
		ctx, cancel := context.WithCancel(context.Background())
		f.cancel = cancel
		var err error
		if f.stream, err = f.r.StreamEvents(ctx, &pb.StreamEventsRequest{Filter: f.filter, After: f.after}); err != nil {
			return false
		}
		m, err := f.stream.Recv()
		if err == nil && m.GetEvent() != nil {
			f.r.t.Errorf("it begins with %v", m)
		}
		if err == nil {
			f.after = m.GetPosition()
		}
		return err == nil
	})
}

// next is the next event.
func (f *follower) next() *pb.AuditEvent {
	f.r.t.Helper()
	for range 1000 {
		m, err := f.stream.Recv()
		if err != nil {
			if c := status.Code(err); c != codes.Unavailable {
				f.r.t.Fatalf("the stream ended: %v", err)
			}
			f.broken++
			f.open()
			continue
		}
		f.after = m.GetPosition()
		if m.GetEvent() != nil {
			return m.GetEvent()
		}
	}
	f.r.t.Fatal("no event")
	return nil
}

// Whoever follows the events reads each of them once, whatever becomes of etcd and
// of the controller meanwhile.
func TestStreamEvents(t *testing.T) {
	e := etcd(t)
	c := run(t, "c1", e)
	c.apply(base)
	f := c.follow("", nil)
	all := c.follow(store.FirstPosition, nil)
	drains := c.follow("", &pb.EventFilter{Action: "override", Subject: "us-east"})
	if got := all.next(); got.GetAction() != "apply" || got.GetHead() != nil || len(got.GetChanges()) == 0 {
		t.Errorf("from the first: %v", got)
	}
	c.drain("eu-west")
	_, err := c.DrainRegion(t.Context(), &pb.DrainRegionRequest{Region: "us-east", Reason: "both"})
	wantCode(t, err, codes.FailedPrecondition, "min-regions")
	us := c.forceDrain("us-east")
	for i, follower := range []*follower{f, all} {
		for _, want := range []struct{ region, result string }{{"eu-west", "done"}, {"us-east", "refused"}, {"us-east", "forced"}} {
			got := follower.next()
			if got.GetAction() != "override-create" || got.GetResult() != want.result || len(got.GetOverridesAfter()) != 1 ||
				got.GetOverridesAfter()[0].GetScope().GetRegion() != want.region || got.GetGeneration().GetRevision() == 0 ||
				(got.GetError() != "") != (want.result == "refused") || len(got.GetSafety().GetFindings()) == 0 {
				t.Errorf("follower %d: %v, want the drain of %s, %s", i, got, want.region, want.result)
			}
		}
	}
	if got := drains.next(); got.GetResult() != "refused" {
		t.Errorf("of us-east: %v", got)
	}
	if got := drains.next(); gen(got.GetGeneration()) != gen(us.GetGeneration()) {
		t.Errorf("of us-east: %v", got)
	}

	// Compaction, and etcd away for a while.
	client := raw(t, e)
	if _, err := client.Compact(t.Context(), us.GetGeneration().GetRevision()); err != nil {
		t.Fatal(err)
	}
	if err := e.Stop(0); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ListEvents(t.Context(), &pb.ListEventsRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("a list without etcd: %v", err)
	}
	if err := e.Restart(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	undrained := c.eventuallyUndrains("us-east")
	for i, follower := range []*follower{f, all, drains} {
		got := follower.next()
		if gen(got.GetGeneration()) != gen(undrained.GetGeneration()) || len(got.GetOverridesBefore()) != 1 || len(got.GetOverridesAfter()) != 0 {
			t.Errorf("follower %d: %v, want the undrain", i, got)
		}
		if follower.broken > 0 {
			t.Errorf("follower %d: its stream broke %d times", i, follower.broken)
		}
	}

	// The controller stops; another one goes on from there.
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the controller stopped: %v", err)
	}
	c2 := run(t, "c2", e)
	c2.forceDrain("us-east")
	if got := c2.follow(f.after, nil).next(); got.GetOverridesAfter()[0].GetScope().GetRegion() != "us-east" {
		t.Errorf("after the change of controllers: %v", got)
	}

	for after, want := range map[string]codes.Code{"nonsense": codes.InvalidArgument, "fffffffffffffffe/7fffffffffffffff-0": codes.OutOfRange} {
		stream, err := c2.StreamEvents(t.Context(), &pb.StreamEventsRequest{After: after})
		if err == nil {
			_, err = stream.Recv()
		}
		wantCode(t, err, want)
	}
	stream, err := c2.StreamEvents(t.Context(), &pb.StreamEventsRequest{Filter: &pb.EventFilter{Result: "failed"}})
	if err == nil {
		_, err = stream.Recv()
	}
	wantCode(t, err, codes.InvalidArgument, "result", "refused")
}

func (r *running) forceDrain(region string) *pb.DrainRegionResponse {
	r.t.Helper()
	resp, err := r.DrainRegion(r.t.Context(), &pb.DrainRegionRequest{Region: region, Reason: "it must be", Force: true})
	if err != nil {
		r.t.Fatal(err)
	}
	return resp
}

func (r *running) eventuallyUndrains(region string) (resp *pb.UndrainRegionResponse) {
	r.t.Helper()
	eventually(r.t, "an undrain", func() bool {
		var err error
		resp, err = r.UndrainRegion(r.t.Context(), &pb.UndrainRegionRequest{Region: region, Reason: "over"})
		return err == nil
	})
	return resp
}

// A filtered list is the list without what does not match.
func TestListEventsFiltered(t *testing.T) {
	c := run(t, "c1", etcd(t))
	c.apply(base)
	for range 6 {
		c.drain("eu-west")
		c.eventuallyUndrains("eu-west")
	}
	list := func(f *pb.EventFilter, size int32) (actions []string) {
		t.Helper()
		for token, pages := "", 0; ; pages++ {
			resp, err := c.ListEvents(t.Context(), &pb.ListEventsRequest{Filter: f, PageSize: size, PageToken: token})
			if err != nil || len(resp.GetEvents()) > int(size) || pages > 20 {
				t.Fatalf("page %d: %d events, %v", pages, len(resp.GetEvents()), err)
			}
			for _, e := range resp.GetEvents() {
				if e.GetHead() != nil {
					t.Errorf("the head is listed: %v", e)
				}
				actions = append(actions, e.GetAction())
			}
			if token = resp.GetNextPageToken(); token == "" {
				return actions
			}
		}
	}
	if got := list(nil, 4); len(got) != 13 || got[12] != "apply" {
		t.Errorf("all: %v", got)
	}
	if got := list(&pb.EventFilter{Action: "override-create"}, 4); len(got) != 6 || slices.Contains(got, "override-delete") {
		t.Errorf("drains: %v", got)
	}
	if got := list(&pb.EventFilter{Subject: "zones/example.test"}, 4); strings.Join(got, " ") != "apply" {
		t.Errorf("of the zone: %v", got)
	}
	past, future := timestamppb.New(time.Now().Add(-time.Hour)), timestamppb.New(time.Now().Add(time.Hour))
	for f, want := range map[*pb.EventFilter]int{{Since: past}: 13, {Since: future}: 0, {Until: past}: 0, {Since: past, Until: future, Result: "refused"}: 0} {
		if got := list(f, 5); len(got) != want {
			t.Errorf("%v: %d, want %d", f, len(got), want)
		}
	}
	_, err := c.ListEvents(t.Context(), &pb.ListEventsRequest{Filter: &pb.EventFilter{Since: future, Until: past}})
	wantCode(t, err, codes.InvalidArgument, "is not before", fmt.Sprint(future.AsTime().Year()))
}
