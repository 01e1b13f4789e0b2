package controller_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// manual is the base with a service whose regions wait for a person.
var manual = strings.Replace(base, "healthCheck: web\n", "healthCheck: web\n  failback: {mode: manual}\n", 1)

const (
	euTarget = "web@192.0.2.10"
	usTarget = "web@192.0.2.20"
	euLatch  = "failback/www.example.test/eu-west"
)

// A region that was out waits for its release, which is a change as a drain is;
// when it goes out again it waits again.
func TestReleaseLatch(t *testing.T) {
	c := run(t, "c1", etcd(t))
	applied := c.apply(manual)
	event := c.healthEvents()
	agent := c.probe("probe-eu", "eu-west", healthy(euTarget), healthy(usTarget))
	eventually(t, "eu-west to answer", func() bool { address, _ := c.answer(); return address == "192.0.2.10" })
	release := func(latch string, trip uint64) (*pb.ReleaseLatchResponse, error) {
		return c.ReleaseLatch(t.Context(), &pb.ReleaseLatchRequest{Latch: latch, Reason: "it is mended", Trip: trip})
	}
	_, err := release(euLatch, 0)
	wantCode(t, err, codes.NotFound, `no latch "`+euLatch+`" stands`, "there is none")

	agent.say(unhealthy(euTarget))
	if e := event("latch-tripped"); e.GetSubject() != euLatch || !strings.Contains(e.GetText(), "0 of 1 endpoints healthy") {
		t.Errorf("%v", e)
	}
	latch := func() *pb.LatchStatus {
		if l := c.status().GetLatches(); len(l) == 1 {
			return l[0]
		}
		return nil
	}
	if l := latch(); l.GetLatch().GetService() != "www.example.test" || l.GetLatch().GetRegion() != "eu-west" || l.GetLatch().GetTrip() != 1 || l.GetHealthy() {
		t.Errorf("%v", l)
	}
	agent.say(healthy(euTarget))
	eventually(t, "the latched region to be healthy", func() bool { return latch().GetHealthy() })
	if address, why := c.answer(); address != "192.0.2.20" || !strings.Contains(why, "waits for a release") {
		t.Errorf("answered %s: %s", address, why)
	}

	for _, tt := range []struct {
		latch string
		trip  uint64
		code  codes.Code
		words []string
	}{
		{"eu-west", 0, codes.InvalidArgument, []string{"want failback/SERVICE/REGION or guard"}},
		{"", 0, codes.InvalidArgument, []string{"want failback/SERVICE/REGION or guard"}},
		{"failback/www.example.test/eu-wets", 0, codes.NotFound, []string{`did you mean "` + euLatch + `"?`}},
		{"guard", 0, codes.NotFound, []string{`no latch "guard" stands`}},
		{euLatch, 2, codes.NotFound, []string{"stands at trip 1: there is no trip 2 yet"}},
	} {
		_, err := release(tt.latch, tt.trip)
		wantCode(t, err, tt.code, tt.words...)
	}
	_, err = c.ReleaseLatch(t.Context(), &pb.ReleaseLatchRequest{Latch: euLatch, Reason: " "})
	wantCode(t, err, codes.InvalidArgument, "reason: required")

	n := c.subscribe(&pb.NameserverHello{Nameserver: "ns-1", Region: "eu-west"})
	n.plan(applied.GetGeneration())
	req := &pb.ReleaseLatchRequest{
		Latch: "failback/WWW.example.test./EU-West", Reason: "it is mended", Author: "alice", RequestId: "release-1", Wait: durationpb.New(time.Minute),
	}
	done := make(chan *pb.ReleaseLatchResponse)
	go func() {
		defer close(done)
		resp, err := c.ReleaseLatch(t.Context(), req)
		if err != nil {
			t.Error(err)
			return
		}
		done <- resp
	}()
	next := &pb.Generation{Epoch: applied.GetGeneration().GetEpoch(), Revision: applied.GetGeneration().GetRevision() + 1}
	update, _ := n.plan(next)
	n.acknowledge(update.GetGeneration(), "")
	resp := <-done
	if r := resp.GetRelease(); r.GetLatch() != euLatch || r.GetTrip() != 1 || r.GetAuthor() != "alice" || r.GetReason() != "it is mended" || r.GetCreateTime() == nil {
		t.Errorf("%v", r)
	}
	if !proto.Equal(resp.GetGeneration(), update.GetGeneration()) || !slices.Equal(resp.GetConvergence().GetServing(), []string{"ns-1"}) {
		t.Errorf("%v, converged %v; fed %v", resp.GetGeneration(), resp.GetConvergence(), update.GetGeneration())
	}
	if e := event("latch-released"); e.GetSubject() != euLatch || !strings.Contains(e.GetText(), "trip 1") {
		t.Errorf("%v", e)
	}
	eventually(t, "eu-west to answer again", func() bool { address, _ := c.answer(); return address == "192.0.2.10" && latch() == nil })

	// Who repeats the request is told the same; the latch stands no more.
	req.Wait = nil
	again, err := c.ReleaseLatch(t.Context(), req)
	if err != nil || !proto.Equal(again.GetRelease(), resp.GetRelease()) || !proto.Equal(again.GetGeneration(), resp.GetGeneration()) {
		t.Errorf("repeated: %v, %v", again, err)
	}
	req.Reason = "another"
	_, err = c.ReleaseLatch(t.Context(), req)
	wantCode(t, err, codes.AlreadyExists, "release-1")
	_, err = release(euLatch, 0)
	wantCode(t, err, codes.NotFound, "there is none")

	events, err := c.ListEvents(t.Context(), &pb.ListEventsRequest{PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	if e := events.GetEvents()[0]; e.GetAction() != "latch-release" || !slices.Equal(e.GetSubjects(), []string{"latches/" + euLatch}) || e.GetReason() != "it is mended" {
		t.Errorf("%v", e)
	}

	agent.say(unhealthy(euTarget))
	if e := event("latch-tripped"); !strings.Contains(e.GetText(), "trip 2") {
		t.Errorf("%v", e)
	}
	if l := latch(); l.GetLatch().GetTrip() != 2 {
		t.Errorf("%v", l)
	}
	// A release of what is over is done with, and ends nothing.
	if resp, err := release(euLatch, 1); err != nil || resp.GetRelease().GetAuthor() != "alice" || latch().GetLatch().GetTrip() != 2 {
		t.Errorf("%v, %v; %v", resp, err, latch())
	}
}

// What the guard holds is in the status with what to do; a release lets it count.
func TestReleaseGuard(t *testing.T) {
	c := run(t, "c1", etcd(t))
	c.apply(base)
	event := c.healthEvents()
	agent := c.probe("probe-eu", "eu-west", healthy(euTarget), healthy(usTarget))
	healthyEndpoints := func() uint32 { return c.status().GetServices()[0].GetHealthy() }
	eventually(t, "two healthy endpoints", func() bool { return healthyEndpoints() == 2 })
	if g := c.status().GetGuard(); g != nil {
		t.Errorf("%v", g)
	}

	// One vantage region that sees everything down.
	agent.say(unhealthy(euTarget), unhealthy(usTarget))
	if e := event("guard-held"); e.GetSubject() != "guard" || !strings.Contains(e.GetText(), "none would be left") {
		t.Errorf("%v", e)
	}
	g := c.status().GetGuard()
	if g.GetTrip() != 1 || g.GetHeld() != 2 || !slices.Equal(g.GetTargets(), []string{euTarget, usTarget}) ||
		!strings.Contains(g.GetReason(), "2 of 2 targets") || !strings.Contains(g.GetReason(), "release guard trip 1") {
		t.Errorf("%v", g)
	}
	if healthyEndpoints() != 2 {
		t.Error("what is held does not count as healthy")
	}
	_, err := c.ReleaseLatch(t.Context(), &pb.ReleaseLatchRequest{Latch: "guards", Reason: "r"})
	wantCode(t, err, codes.InvalidArgument, "or guard")
	_, err = c.ReleaseLatch(t.Context(), &pb.ReleaseLatchRequest{Latch: euLatch, Reason: "r"})
	wantCode(t, err, codes.NotFound, "guard")
	resp, err := c.ReleaseLatch(t.Context(), &pb.ReleaseLatchRequest{Latch: "guard", Reason: "they are dead indeed"})
	if err != nil || resp.GetRelease().GetTrip() != 1 || resp.GetRelease().GetAuthor() != "anonymous" {
		t.Fatalf("%v, %v", resp, err)
	}
	if e := event("guard-released"); !strings.Contains(e.GetText(), "trip 1") {
		t.Errorf("%v", e)
	}
	eventually(t, "nothing to be held", func() bool { return c.status().GetGuard() == nil && healthyEndpoints() == 0 })
}

// What is kept of releases does not grow: with a further release go those of
// services that have no manual failback any more.
func TestReleasesAreDropped(t *testing.T) {
	c := run(t, "c1", etcd(t))
	applied := c.apply(manual)
	event := c.healthEvents()
	agent := c.probe("probe-eu", "eu-west", healthy(euTarget), healthy(usTarget))
	n := c.subscribe(&pb.NameserverHello{Nameserver: "ns-1", Region: "eu-west"})
	n.plan(applied.GetGeneration())
	release := func(latch string, want ...string) {
		t.Helper()
		resp, err := c.ReleaseLatch(t.Context(), &pb.ReleaseLatchRequest{Latch: latch, Reason: "it is mended"})
		if err != nil {
			t.Fatal(err)
		}
		_, tree := n.plan(resp.GetGeneration())
		var kept []string
		for _, r := range tree.Releases {
			kept = append(kept, r.GetLatch())
		}
		if !slices.Equal(kept, want) {
			t.Errorf("after the release of %s %q are kept, want %q", latch, kept, want)
		}
	}
	loseAll := func() {
		agent.say(healthy(euTarget), healthy(usTarget))
		eventually(t, "two healthy endpoints", func() bool { return c.status().GetServices()[0].GetHealthy() == 2 })
		agent.say(unhealthy(euTarget), unhealthy(usTarget))
		event("guard-held")
	}
	eventually(t, "eu-west to answer", func() bool { address, _ := c.answer(); return address == "192.0.2.10" })
	agent.say(unhealthy(euTarget))
	event("latch-tripped")
	release(euLatch, euLatch)
	loseAll()
	release("guard", euLatch, "guard")
	c.apply(base)
	loseAll()
	release("guard", "guard")
}
