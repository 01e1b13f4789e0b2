package controller_test

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// Every agent that is connected is asked for what it recorded of a service's
// targets; who is not, and is registered, is named.
func TestGetHistory(t *testing.T) {
	c := run(t, "c1", etcd(t))
	c.apply(strings.Replace(base, "---\n"+www, `---
apiVersion: fairlead/v1
kind: Agent
metadata: {name: probe-us}
spec: {region: us-east}
---
`+service("plain.example.test", "192.0.2.30")+"---\n"+www, 1))
	history := func(req *pb.GetHistoryRequest) (all []*pb.GetHistoryResponse, err error) {
		stream, err := c.GetHistory(t.Context(), req)
		if err != nil {
			return nil, err
		}
		for {
			m, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return all, nil
			}
			if err != nil {
				return nil, err
			}
			all = append(all, m)
		}
	}
	for _, tt := range []struct {
		req   *pb.GetHistoryRequest
		words []string
	}{
		{&pb.GetHistoryRequest{Service: "wwww.example.test"}, []string{`no service "wwww.example.test"`, `did you mean "www.example.test"?`}},
		{&pb.GetHistoryRequest{}, []string{`no service ""`}},
		{&pb.GetHistoryRequest{Service: "plain.example.test"}, []string{`"plain.example.test" has no health check`}},
		{&pb.GetHistoryRequest{Service: "www.example.test", Endpoint: "eu-2"}, []string{`no endpoint "eu-2"`, `did you mean "eu-1"?`}},
	} {
		_, err := history(tt.req)
		wantCode(t, err, codes.NotFound, tt.words...)
	}

	// Without any agent there is nothing but who is missing.
	eventually(t, "who is missing", func() bool { // once the judge has the plan
		got, err := history(&pb.GetHistoryRequest{Service: "WWW.example.test."})
		return err == nil && len(got) == 1 && slices.Equal(got[0].GetMissing(), []string{"probe-eu: not connected", "probe-us: not connected"})
	})

	said := func(target string, ages ...uint64) *pb.ObservationHistory {
		h := &pb.ObservationHistory{Target: target, AgeMillis: ages, Outcomes: []*pb.ObservationOutcome{{Result: pb.ObservationResult_OBSERVATION_RESULT_PASSED, Reason: "HTTP 200"}}}
		h.LatencyMicros, h.Outcome = make([]uint32, len(ages)), make([]uint32, len(ages))
		return h
	}
	asked := make(chan *pb.HistoryQuery, 10)
	answering := func(p *probe, parts ...[]*pb.ObservationHistory) {
		go func() {
			q := <-p.queries
			asked <- q
			for i, h := range parts {
				p.send(&pb.ReportRequest{Message: &pb.ReportRequest_History{History: &pb.HistoryReply{Id: q.GetId(), Histories: h, Last: i == len(parts)-1}}})
			}
		}()
	}
	answering(c.probe("probe-eu", "eu-west"), []*pb.ObservationHistory{said(euTarget, 3000, 2000)}, []*pb.ObservationHistory{said(euTarget, 1000)})
	answering(c.probe("guest", "us-east"), nil)
	eventually(t, "two agents", func() bool {
		n := 0
		for _, a := range c.status().GetAgents() {
			if a.GetConnected() {
				n++
			}
		}
		return n == 2
	})
	got, err := history(&pb.GetHistoryRequest{Service: "www.example.test", Endpoint: "eu-1", MaxAgeMillis: 60_000})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if q := <-asked; !slices.Equal(q.GetTargets(), []string{euTarget}) || q.GetMaxAgeMillis() != 60_000 {
			t.Errorf("asked %v", q)
		}
	}
	var ages []uint64
	for _, m := range got[:len(got)-1] {
		if m.GetAgent() != "probe-eu" || m.GetRegion() != "eu-west" || !m.GetRegistered() || len(m.GetMissing()) > 0 {
			t.Errorf("%v", m)
		}
		for _, h := range m.GetHistories() {
			ages = append(ages, h.GetAgeMillis()...)
		}
	}
	if d := cmp.Diff([]uint64{3000, 2000, 1000}, ages); d != "" {
		t.Error(d)
	}
	if last := got[len(got)-1]; !slices.Equal(last.GetMissing(), []string{"probe-us: not connected"}) || len(last.GetHistories()) > 0 {
		t.Errorf("%v", last)
	}
}

// A vantage that is cut off is in the status and in the events, and so is that it
// is back.
func TestIsolatedVantage(t *testing.T) {
	c := run(t, "c1", etcd(t))
	c.apply(base)
	event := c.healthEvents()
	agent := c.probe("probe-eu", "eu-west", healthy(euTarget), healthy(usTarget))
	isolated := func() string { return c.status().GetAgents()[0].GetIsolated() }
	eventually(t, "a verdict", func() bool { return c.status().GetServices()[0].GetHealthy() == 2 })
	if why := isolated(); why != "" {
		t.Errorf("isolated: %s", why)
	}
	agent.feel("none of 2 references answers")
	if e := event("vantage-isolated"); e.GetSubject() != "probe-eu" || !strings.Contains(e.GetText(), "none of 2 references answers") {
		t.Errorf("%v", e)
	}
	if why := isolated(); why != "none of 2 references answers" {
		t.Errorf("isolated: %q", why)
	}
	// What it says now counts for nothing.
	agent.say(unhealthy(euTarget))
	eventually(t, "the vote", func() bool {
		x, err := c.Explain(t.Context(), &pb.ExplainRequest{Name: "www.example.test", Client: "193.0.6.139"})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range x.GetRegions() {
			for _, e := range r.GetEndpoints() {
				for _, v := range e.GetHealth().GetVotes() {
					if v.GetStatus() == pb.HealthStatus_HEALTH_STATUS_UNHEALTHY {
						return !v.GetCounted() && strings.Contains(v.GetWhyNot(), "isolated") && e.GetHealth().GetVerdict() == pb.HealthStatus_HEALTH_STATUS_HEALTHY
					}
				}
			}
		}
		return false
	})
	agent.say(healthy(euTarget))
	agent.feel("")
	if e := event("vantage-back"); e.GetSubject() != "probe-eu" {
		t.Errorf("%v", e)
	}
	eventually(t, "it is back", func() bool { return isolated() == "" })
}
