package controller_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// answering is a nameserver that serves what it is told to and answers queries.
type answering struct {
	*nameserver
	mu     sync.Mutex
	serves *pb.Generation // the newest that it acknowledges; nil: any
	report *pb.UsageReport
	scope  *pb.OverrideScope // that it was asked for last
}

func (r *running) answering(name string) *answering {
	r.t.Helper()
	a := &answering{nameserver: r.subscribe(&pb.NameserverHello{Nameserver: name, Region: "eu-west"})}
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			m, err := a.stream.Recv()
			if err != nil {
				return
			}
			a.answer(m)
		}
	})
	r.t.Cleanup(func() { a.close(); reading.Wait() })
	return a
}

func (a *answering) answer(m *pb.SubscribeResponse) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case m.GetPlan() != nil && (a.serves == nil || gen(m.GetPlan().GetGeneration()).Compare(gen(a.serves)) <= 0):
		a.acknowledge(m.GetPlan().GetGeneration(), "")
	case m.GetUsageQuery() != nil && a.report != nil:
		a.scope = m.GetUsageQuery().GetScope()
		a.report.Id = m.GetUsageQuery().GetId()
		a.send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Usage{Usage: a.report}})
	}
}

func (a *answering) reports(r *pb.UsageReport) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.report = r
}

const nameservers = `
apiVersion: fairlead/v1
kind: Nameserver
metadata: {name: ns-1}
spec: {region: eu-west}
---
apiVersion: fairlead/v1
kind: Nameserver
metadata: {name: ns-away}
spec: {region: us-east}
---
`

// A drain, as its operator follows it: who serves it, how long caches may keep
// what was answered before, and who has not said.
func TestOverrideProgress(t *testing.T) {
	c := run(t, "c1", etcd(t))
	scope := &pb.OverrideScope{Region: "EU-west"}
	applied := c.apply(nameservers + base)
	ns1, ns2 := c.answering("ns-1"), c.answering("ns-2")
	ns2.mu.Lock()
	ns2.serves = applied.GetGeneration()
	ns2.mu.Unlock()
	eventually(t, "both", func() bool {
		st, err := c.GetStatus(t.Context(), &pb.GetStatusRequest{})
		return err == nil && !slices.ContainsFunc(st.GetNameservers(), func(n *pb.NameserverStatus) bool {
			return n.GetNameserver() != "ns-away" && n.GetGeneration() == nil
		}) && len(st.GetNameservers()) == 3
	})
	drained := c.drain("eu-west").GetGeneration()
	last := uint64(1200)
	ns1.reports(&pb.UsageReport{Generation: drained, Endpoints: 1, LastAnswerMillis: &last, CachedMillis: 28_800, Ttl: 30, LastResortAnswers: 2})
	ns2.reports(&pb.UsageReport{Generation: applied.GetGeneration(), Endpoints: 1, CachedMillis: 3_600_000, Ttl: 3600, LastResortAnswers: 9})

	progress := func() *pb.GetOverrideProgressResponse {
		t.Helper()
		p, err := c.GetOverrideProgress(t.Context(), &pb.GetOverrideProgressRequest{Scope: scope, Generation: drained})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	var p *pb.GetOverrideProgressResponse
	eventually(t, "ns-1's report", func() bool {
		p = progress()
		return len(p.GetUnknown()) == 2
	})
	if got := strings.Join(p.GetUnknown(), " "); got != "ns-2 ns-away" || len(p.GetNameservers()) != 3 || gen(p.GetGeneration()) != gen(drained) {
		t.Errorf("unknown: %s; %v", got, p)
	}
	if cv := p.GetConvergence(); strings.Join(cv.GetServing(), " ") != "ns-1" || strings.Join(cv.GetMissing(), " ") != "ns-2 ns-away" || cv.GetReasons()["ns-away"] == "" {
		t.Errorf("convergence: %v", cv)
	}
	if left := time.Until(p.GetCachedUntil().AsTime()); p.GetTtl() != 30 || p.GetLastResortAnswers() != 2 || left <= 0 || left > 28_800*time.Millisecond {
		t.Errorf("TTL %d, cached for %v, last resort %d", p.GetTtl(), left, p.GetLastResortAnswers())
	}
	if u := p.GetNameservers()[0].GetUsage(); u.GetLastAnswerMillis() != 1200 || p.GetNameservers()[2].GetUsage() != nil {
		t.Errorf("usage: %v", p.GetNameservers())
	}
	ns1.mu.Lock()
	if got := ns1.scope; got.GetRegion() != "eu-west" {
		t.Errorf("it was asked for %v", got)
	}
	ns1.mu.Unlock()

	// The other one catches up, and no cache holds any more; without a generation
	// the newest counts.
	ns2.mu.Lock()
	ns2.acknowledge(drained, "")
	ns2.mu.Unlock()
	ns1.reports(&pb.UsageReport{Generation: drained, Endpoints: 1})
	ns2.reports(&pb.UsageReport{Generation: drained, Endpoints: 1})
	eventually(t, "the end", func() bool {
		var err error
		p, err = c.GetOverrideProgress(t.Context(), &pb.GetOverrideProgressRequest{Scope: scope})
		return err == nil && strings.Join(p.GetUnknown(), " ") == "ns-away"
	})
	if p.GetCachedUntil() != nil || p.GetTtl() != 0 || strings.Join(p.GetConvergence().GetServing(), " ") != "ns-1 ns-2" || gen(p.GetGeneration()) != gen(drained) {
		t.Errorf("in the end: %v", p)
	}

	for _, bad := range []*pb.GetOverrideProgressRequest{
		{}, {Scope: &pb.OverrideScope{}}, {Scope: &pb.OverrideScope{Endpoint: "e"}}, {Scope: scope, Generation: &pb.Generation{Epoch: 1}},
	} {
		_, err := c.GetOverrideProgress(t.Context(), bad)
		wantCode(t, err, codes.InvalidArgument)
	}
}

// What nameservers were told directly is shown, and watched.
func TestBreakGlassIsShown(t *testing.T) {
	c := run(t, "c1", etcd(t))
	c.apply(nameservers + base)
	w, err := c.Watch(t.Context(), &pb.WatchRequest{Initial: true})
	if err != nil {
		t.Fatal(err)
	}
	event := func(kind string) *pb.HealthEvent {
		t.Helper()
		for {
			m, err := w.Recv()
			if err != nil {
				t.Fatalf("waiting for %s: %v", kind, err)
			}
			if m.GetHealth().GetKind() == kind {
				return m.GetHealth()
			}
		}
	}
	ns1 := c.subscribe(&pb.NameserverHello{Nameserver: "ns-1", BreakGlass: &pb.BreakGlassTable{Records: []*pb.BreakGlassRecord{{
		Id: "bg-1", Action: pb.BreakGlassAction_BREAK_GLASS_ACTION_DRAIN, Scope: &pb.OverrideScope{Region: "eu-west"},
		Author: "ana", Reason: "no quorum", CreateTime: timestamppb.Now(), RemainingMillis: 3_600_000,
	}}}})
	c.subscribe(&pb.NameserverHello{Nameserver: "ns-away"})
	if e := event("break-glass-begun"); e.GetSubject() != "bg-1" || !strings.Contains(e.GetText(), "drain of regions/eu-west by ana at ns-1") {
		t.Errorf("it begins: %v", e)
	}
	eventually(t, "the status", func() bool {
		st, err := c.GetStatus(t.Context(), &pb.GetStatusRequest{})
		return err == nil && len(st.GetBreakGlass()) == 1 && slices.Equal(st.GetBreakGlass()[0].GetNameservers(), []string{"ns-1"}) &&
			slices.Equal(st.GetBreakGlass()[0].GetMissing(), []string{"ns-away"})
	})
	// An end that cites it is a record of the control plane; the nameserver obeys.
	ended, err := c.EndBreakGlass(t.Context(), &pb.EndBreakGlassRequest{Id: "bg-1", Reason: "quorum is back"})
	if err != nil || ended.GetEnd().GetId() != "bg-1" {
		t.Fatalf("end: %v, %v", ended, err)
	}
	ns1.send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Following{Following: &pb.Following{BreakGlass: &pb.BreakGlassTable{Records: []*pb.BreakGlassRecord{{
		Id: "bg-1", Action: pb.BreakGlassAction_BREAK_GLASS_ACTION_DRAIN, Scope: &pb.OverrideScope{Region: "eu-west"},
		Author: "ana", Reason: "no quorum", CreateTime: timestamppb.Now(), Ended: "by the control plane: quorum is back",
	}}}}}})
	if e := event("break-glass-ended"); e.GetSubject() != "bg-1" || !strings.Contains(e.GetText(), "quorum is back") {
		t.Errorf("it ends: %v", e)
	}
}
