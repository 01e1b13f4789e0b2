package verdicts

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/health"
)

func TestQuorumOfThree(t *testing.T) {
	inCourt(t, Options{}, func(t *testing.T, c *court) {
		c.plan(1, three, "t")
		a, b := c.connect("a1", "a"), c.connect("b1", "b")
		cc := c.connect("c1", "c")
		c.want("t", "?/?")
		a.says("full t=H")
		c.want("t", "?/?")
		b.says("full t=H")
		c.want("t", "H/H")
		// One vantage lies alone.
		cc.says("full t=U")
		c.want("t", "H/H")
		a.says("t=U")
		c.want("t", "U/U")
		// Nobody is sure: the verdict stays.
		cc.says("t=?")
		c.want("t", "?/U")
		if got, want := c.whyNot("t", "c1"), health.WhyNotDefinite; got != want {
			t.Errorf("why not: %q, want %q", got, want)
		}
		// A full update withdraws what it does not list.
		a.says("full")
		if got, want := c.whyNot("t", "a1"), "no opinion yet"; got != want {
			t.Errorf("why not: %q, want %q", got, want)
		}
		if got, want := c.State().Digest, healthDigest(c.State()); got != want {
			t.Errorf("digest %s, want %s", got, want)
		}
	})
}

func TestSilenceIsNoEvidence(t *testing.T) {
	inCourt(t, Options{FreshFor: 3 * time.Second}, func(t *testing.T, c *court) {
		c.plan(1, three, "t")
		a, b, d := c.connect("a1", "a"), c.connect("b1", "b"), c.connect("c1", "c")
		a.says("full t=H")
		b.says("full t=H")
		d.says("full t=U")
		c.want("t", "H/H")
		version := c.State().Version
		// Exactly at the limit, and not before.
		c.pass(3*time.Second-time.Millisecond, a, d)
		c.want("t", "H/H")
		if got := c.State().Version; got != version {
			t.Errorf("heartbeats alone made a new state: %v, then %v", version, got)
		}
		c.pass(time.Millisecond, a, d)
		c.want("t", "?/H")
		if got, want := c.whyNot("t", "b1"), "silent for over 3s"; got != want {
			t.Errorf("why not: %q, want %q", got, want)
		}
		if s := c.State(); s.AgentsFresh != 2 || s.AgentsRegistered != 3 {
			t.Errorf("%d of %d agents fresh, want 2 of 3", s.AgentsFresh, s.AgentsRegistered)
		}
		// All silent: nothing moves, however long; the evidence grows old.
		c.pass(time.Hour)
		c.want("t", "?/H")
		if age := c.State().EvidenceAge; age != time.Hour {
			t.Errorf("the evidence is %s old, want 1h", age)
		}
	})
}

func TestReconnectionMovesNothing(t *testing.T) {
	inCourt(t, Options{}, func(t *testing.T, c *court) {
		c.plan(1, three, "t", "u")
		a, b := c.connect("a1", "a"), c.connect("b1", "b")
		a.says("full t=H u=U")
		b.says("full t=H u=U")
		c.want("u", "U/U")
		before := c.State()
		a.cancel()
		c.pass(2*time.Second, b)
		c.want("t", "H/H")
		a = c.connect("a1", "a")
		c.want("t", "H/H")
		a.says("full t=H u=U")
		if d := c.State().Since(before); len(d.Changed)+len(d.Removed) != 0 {
			t.Errorf("a reconnection changed %+v", d)
		}
		// It was heard from before the hello; the hello itself is no evidence.
		a.cancel()
		c.pass(2*time.Second, b)
		a = c.connect("a1", "a")
		a.beat()
		c.pass(time.Second, a, b)
		c.want("t", "?/H")
		if got, want := c.whyNot("t", "a1"), "connected, no opinions yet"; got != want {
			t.Errorf("why not: %q, want %q", got, want)
		}
	})
}

// Invariant 8: agents that restart begin with no opinion, and move no verdict
// until they have one.
func TestRestartOfAllAgentsMovesNothing(t *testing.T) {
	inCourt(t, Options{}, func(t *testing.T, c *court) {
		c.plan(1, three, "t", "u")
		var old []*speaker
		for _, a := range three {
			s := c.connect(a.Name, a.Region)
			s.says("full t=H u=U")
			old = append(old, s)
		}
		digest := c.State().Digest
		for i, a := range three {
			old[i].cancel()
			s := c.connect(a.Name, a.Region)
			s.says("full")
			s.says("t=H u=?") // one lost packet is no opinion
			if got := c.State().Digest; got != digest {
				t.Errorf("after the restart of %s the digest is %s, was %s", a.Name, got, digest)
			}
		}
		c.want("t", "H/H")
		c.want("u", "?/U")
		if got := counted(t, c.registry, "fairlead_controller_verdict_changes_total", "healthy"); got != 1 {
			t.Errorf("%g verdicts became healthy, want 1", got)
		}
	})
}

// What comes first from a path that was stuck is old: it must not vote.
func TestHeardAgainAfterSilenceMustReportAnew(t *testing.T) {
	inCourt(t, Options{}, func(t *testing.T, c *court) {
		c.plan(1, three, "t")
		a, b, d := c.connect("a1", "a"), c.connect("b1", "b"), c.connect("c1", "c")
		for _, s := range []*speaker{a, b, d} {
			s.says("full t=H")
		}
		c.pass(4*time.Second, d)
		c.want("t", "?/H")
		d.says("t=U")
		a.beat()
		b.beat()
		c.want("t", "?/H")
		for _, s := range []*speaker{a, b} {
			if code, msg := s.status(); code != codes.Unavailable || !strings.Contains(msg, "report again") {
				t.Errorf("%s: %s %q", s.name, code, msg)
			}
		}
		a = c.connect("a1", "a")
		a.says("full t=U")
		c.want("t", "U/U")
	})
}

func TestHello(t *testing.T) {
	refusal := errors.New("the certificate says a1")
	o := Options{Authorize: func(_ context.Context, agent, _ string) error {
		if agent == "forged" {
			return refusal
		}
		return nil
	}}
	inCourt(t, o, func(t *testing.T, c *court) {
		c.plan(1, three, "t")
		for _, tc := range []struct {
			name, region string
			code         codes.Code
			message      string
		}{
			{"a1", "b", codes.PermissionDenied, `agent "a1" reports from region "b" and is registered in "a"`},
			{"", "a", codes.InvalidArgument, `agent "" is no name`},
			{"a_1", "", codes.InvalidArgument, `region "" is no name`},
			{strings.Repeat("x", 64), "a", codes.InvalidArgument, "is no name"},
			{"forged", "a", codes.PermissionDenied, "the certificate says a1"},
		} {
			code, message := c.connect(tc.name, tc.region).status()
			if code != tc.code || !strings.Contains(message, tc.message) {
				t.Errorf("%q in %q: %s %q, want %s %q", tc.name, tc.region, code, message, tc.code, tc.message)
			}
		}
		// Out of order.
		again := c.connect("a1", "a")
		again.send(&pb.ReportRequest{Message: &pb.ReportRequest_Hello{Hello: &pb.AgentHello{}}})
		if code, _ := again.status(); code != codes.InvalidArgument {
			t.Errorf("a second hello: %s", code)
		}
		early, err := pb.NewAgentServiceClient(c.conn).Report(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = early.Send(opinions("full t=H"))
		if _, err := early.Recv(); !strings.Contains(err.Error(), "must be a hello") {
			t.Errorf("opinions first: %v", err)
		}
		// Never.
		silent, err := pb.NewAgentServiceClient(c.conn).Report(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := silent.Recv(); !strings.Contains(err.Error(), "no hello within 5s") {
			t.Errorf("no hello: %v", err)
		}
	})
}

func TestNewestStreamWins(t *testing.T) {
	inCourt(t, Options{}, func(t *testing.T, c *court) {
		c.plan(1, []Agent{{Name: "a1", Region: "a"}}, "t")
		old := c.connect("a1", "a")
		old.says("full t=H")
		c.want("t", "H/H")
		fresh := c.connect("a1", "a")
		fresh.says("full t=U")
		old.says("t=H")
		c.want("t", "U/U")
		if code, msg := old.status(); code != codes.Aborted {
			t.Errorf("the older stream: %s %q", code, msg)
		}
		if !fresh.open() {
			t.Error("the newer stream was closed")
		}
	})
}

func TestGuests(t *testing.T) {
	inCourt(t, Options{}, func(t *testing.T, c *court) {
		c.plan(1, []Agent{{Name: "a1", Region: "a"}}, "t")
		guest := c.connect("g", "b")
		guest.says("full t=U")
		c.want("t", "?/?")
		if got := c.whyNot("t", "g"); got != health.WhyNotRegistered {
			t.Errorf("why not: %q", got)
		}
		if s := c.State(); s.AgentsFresh != 0 || s.AgentsRegistered != 1 || s.EvidenceAge != time.Since(c.pulse.start) {
			t.Errorf("a guest counts as evidence: %+v", s)
		}
		// It is registered: now it votes.
		c.plan(2, []Agent{{Name: "g", Region: "b"}}, "t")
		c.want("t", "U/U")
		// It is registered elsewhere: it is told.
		c.plan(3, []Agent{{Name: "g", Region: "a"}}, "t")
		if code, msg := guest.status(); code != codes.PermissionDenied || !strings.Contains(msg, `registered in "a"`) {
			t.Errorf("%s %q", code, msg)
		}
		c.want("t", "?/U")
		// Guests are bounded, and leave no trace.
		var guests []*speaker
		for i := range MaxGuests {
			guests = append(guests, c.connect("guest-"+strings.Repeat("x", i+1)[:min(i+1, 50)]+string(rune('a'+i%26)), "z"))
		}
		if code, _ := c.connect("one-more", "z").status(); code != codes.ResourceExhausted {
			t.Errorf("guest %d: %s", MaxGuests+1, code)
		}
		for _, g := range guests {
			g.cancel()
		}
		c.pass(4 * time.Second)
		if n := len(c.Agents()); n != 1 {
			t.Errorf("%d agents remain, want 1", n)
		}
	})
}

func TestFaultyOpinions(t *testing.T) {
	inCourt(t, Options{}, func(t *testing.T, c *court) {
		c.plan(1, []Agent{{Name: "a1", Region: "a"}}, "t")
		a := c.connect("a1", "a")
		long := strings.Repeat("é", MaxReason)
		a.send(&pb.ReportRequest{Message: &pb.ReportRequest_Opinions{Opinions: &pb.OpinionUpdate{Full: true, Opinions: []*pb.Opinion{
			{Target: "t", Status: pb.HealthStatus_HEALTH_STATUS_HEALTHY, Reason: long, HeldMillis: 1 << 63},
			{Target: "", Status: pb.HealthStatus_HEALTH_STATUS_HEALTHY},
			{Target: strings.Repeat("t", MaxTargetID+1), Status: pb.HealthStatus_HEALTH_STATUS_HEALTHY},
			{Target: "elsewhere", Status: 99},
		}}}})
		c.want("t", "H/H")
		got, _ := c.State().Get("t")
		if reason := got.Votes[0].Reason; len(reason) > MaxReason || !strings.HasSuffix(reason, "é…") {
			t.Errorf("the reason has %d bytes", len(reason))
		}
		for why, want := range map[string]float64{"bad-target": 2, "bad-status": 1, "long-reason": 1, "too-many": 0} {
			if got := counted(t, c.registry, "fairlead_controller_opinions_faulty_total", why); got != want {
				t.Errorf("%s: %g counted, want %g", why, got, want)
			}
		}
		// Of a newer version: unknown, not an error.
		a.send(&pb.ReportRequest{Message: &pb.ReportRequest_Opinions{Opinions: &pb.OpinionUpdate{Opinions: []*pb.Opinion{{Target: "t", Status: 99}}}}})
		c.want("t", "?/H")
		a.send(&pb.ReportRequest{})
		if !a.open() {
			t.Error("a message of a newer version ended the stream")
		}
		// More than any agent may hold: here, 100,001 opinions in one message.
		many := &pb.OpinionUpdate{Opinions: make([]*pb.Opinion, MaxOpinions+1)}
		for i := range many.Opinions {
			many.Opinions[i] = &pb.Opinion{}
		}
		a.send(&pb.ReportRequest{Message: &pb.ReportRequest_Opinions{Opinions: many}})
		if code, msg := a.status(); code != codes.InvalidArgument || !strings.Contains(msg, "at most 100000") {
			t.Errorf("%s %q", code, msg)
		}
	})
}

func counted(t *testing.T, g prometheus.Gatherer, name, label string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if len(m.GetLabel()) == 0 || m.GetLabel()[0].GetValue() == label {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s %s", name, label)
	return 0
}

func TestAssignments(t *testing.T) {
	inCourt(t, Options{}, func(t *testing.T, c *court) {
		a := c.connect("a1", "a")
		if len(a.got) != 0 {
			t.Error("assignments without a plan")
		}
		next := func() string {
			t.Helper()
			synctest.Wait()
			if len(a.got) != 1 {
				t.Fatalf("%d assignments sent, want 1", len(a.got))
			}
			m := <-a.got
			var ids []string
			for _, x := range m.GetAssignments() {
				ids = append(ids, x.GetTarget())
			}
			return strings.Join(ids, " ")
		}
		c.plan(5, three, "t", "u")
		if got := next(); got != "t u" {
			t.Errorf("assigned %q", got)
		}
		c.plan(4, three, "x")
		if len(a.got) != 0 || c.State().Len() != 2 {
			t.Error("an older plan was taken")
		}
		// An agent may know a target before this controller does.
		a.says("full t=H u=H v=H")
		b := c.connect("b1", "b")
		b.says("full v=H")
		c.plan(6, three, "u", "v")
		if got := next(); got != "u v" {
			t.Errorf("assigned %q", got)
		}
		c.want("v", "H/H")
		if _, ok := c.State().Get("t"); ok {
			t.Error("a target that left the plan is still judged")
		}
		if got := c.State().Generation.String(); got != "1.6" {
			t.Errorf("generation %s, want 1.6", got)
		}
		a.beat()
		c.pass(time.Second, a)
		agents := c.Agents()
		if len(agents) != 3 || agents[0].Name != "a1" || !agents[0].Fresh || agents[0].Targets != 3 ||
			agents[0].Generation.String() != "1.1" || agents[2].Absent != "not connected" {
			t.Errorf("agents: %+v", agents)
		}
	})
}

func TestSubscribe(t *testing.T) {
	inCourt(t, Options{}, func(t *testing.T, c *court) {
		wake, cancel := c.Subscribe()
		c.plan(1, []Agent{{Name: "a1", Region: "a"}}, "t")
		a := c.connect("a1", "a")
		for range 50 {
			a.says("t=H")
			a.says("t=U")
		}
		synctest.Wait()
		woken := 0
		for len(wake) > 0 {
			<-wake
			woken++
		}
		if woken != 1 {
			t.Errorf("a slow subscriber has %d wake-ups, want 1", woken)
		}
		cancel()
		a.says("full t=H")
		if len(wake) != 0 {
			t.Error("woken after it left")
		}
	})
}

func TestOptions(t *testing.T) {
	_, err := New(Options{FreshFor: time.Millisecond, SeedWait: -1})
	if err == nil || !strings.Contains(err.Error(), "FreshFor is 1ms") || !strings.Contains(err.Error(), "SeedWait is -1ns") {
		t.Errorf("wrong options give %v", err)
	}
	registry := prometheus.NewRegistry()
	if _, err := New(Options{Registerer: registry}); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Registerer: registry}); err == nil {
		t.Error("two judges share a registry")
	}
}
