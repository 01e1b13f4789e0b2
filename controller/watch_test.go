package controller_test

import (
	"context"
	"testing"

	"google.golang.org/grpc/codes"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// Whoever watches sees a change of configuration, a drain, a verdict with its
// evidence, who comes and goes, and the end.
func TestWatch(t *testing.T) {
	c := run(t, "c1", etcd(t))
	c.apply(base)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w, err := c.Watch(ctx, &pb.WatchRequest{Initial: true})
	if err != nil {
		t.Fatal(err)
	}
	// Changes of different kinds come in any order, and those of one kind that
	// come together are told as one. So each is waited for before the next is
	// made, among all that was told since the one before.
	var told []*pb.WatchResponse
	since := 0
	next := func(what string, pick func(*pb.WatchResponse) bool) *pb.WatchResponse {
		t.Helper()
		for i := since; ; i++ {
			if i == len(told) {
				m, err := w.Recv()
				if err != nil {
					t.Fatalf("waiting for %s: %v; told since the last change: %v", what, err, told[since:])
				}
				if m.GetTime() == nil {
					t.Errorf("no time in %v", m)
				}
				told = append(told, m)
			}
			if pick(told[i]) {
				return told[i]
			}
		}
	}
	change := func() { since = len(told) }
	next("the generation", func(m *pb.WatchResponse) bool { return m.GetGeneration().GetConfigurationChanged() })
	next("the end of the present state", func(m *pb.WatchResponse) bool { return m.GetHeartbeat() != nil })

	change()
	c.reports(ctx)
	v := next("the verdict", func(m *pb.WatchResponse) bool {
		return m.GetVerdict().GetNow().GetVerdict() == pb.HealthStatus_HEALTH_STATUS_UNHEALTHY
	}).GetVerdict()
	if v.GetNow().GetTarget() != "web@192.0.2.10" || v.GetBefore() != pb.HealthStatus_HEALTH_STATUS_UNKNOWN ||
		len(v.GetEndpoints()) != 1 || v.GetEndpoints()[0] != "www.example.test/eu-1" || v.GetNow().GetVotes()[0].GetReason() != "connection refused" {
		t.Errorf("%v", v)
	}
	next("the agent", func(m *pb.WatchResponse) bool { return m.GetMember().GetAgent().GetConnected() })

	change()
	if _, err := c.DrainRegion(ctx, &pb.DrainRegionRequest{Region: "us-east", Reason: "fibre cut", Force: true}); err != nil {
		t.Fatal(err)
	}
	g := next("the drain", func(m *pb.WatchResponse) bool { return len(m.GetGeneration().GetOverridesAdded()) > 0 }).GetGeneration()
	if g.GetConfigurationChanged() || g.GetPrevious() == nil || g.GetOverridesAdded()[0].GetReason() != "fibre cut" {
		t.Errorf("%v", g)
	}
	change()
	if _, err := c.UndrainRegion(ctx, &pb.UndrainRegionRequest{Region: "us-east", Reason: "mended"}); err != nil {
		t.Fatal(err)
	}
	next("the undrain", func(m *pb.WatchResponse) bool { return len(m.GetGeneration().GetOverridesRemoved()) > 0 })
	change()
	ns := c.subscribe(&pb.NameserverHello{Nameserver: "ns-1"})
	next("the nameserver", func(m *pb.WatchResponse) bool { return m.GetMember().GetNameserver().GetConnected() })
	change()
	ns.close()
	next("that it left", func(m *pb.WatchResponse) bool {
		return m.GetMember().GetNameserver() != nil && !m.GetMember().GetNameserver().GetConnected()
	})

	if err := c.stop(); err != nil {
		t.Error(err)
	}
	for err == nil {
		_, err = w.Recv()
	}
	wantCode(t, err, codes.Unavailable)
}
