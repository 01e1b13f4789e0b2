package verdicts

import (
	"context"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

// court is a judge behind a real gRPC server, in a synctest bubble.
type court struct {
	*Judge
	t        *testing.T
	conn     *grpc.ClientConn
	registry *prometheus.Registry
}

// inCourt runs a test in a bubble, with a judge that runs.
func inCourt(t *testing.T, o Options, test func(t *testing.T, c *court)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		o.Registerer = registry
		j, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- j.Run(ctx) }()

		listener := bufconn.Listen(1 << 20)
		server := grpc.NewServer()
		pb.RegisterAgentServiceServer(server, j)
		go server.Serve(listener)
		conn, err := grpc.NewClient("passthrough:court",
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
		if err != nil {
			t.Fatal(err)
		}
		test(t, &court{Judge: j, t: t, conn: conn, registry: registry})
		conn.Close()
		server.Stop()
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// plan sets a plan and waits until it is taken.
func (c *court) plan(revision int64, agents []Agent, targets ...string) {
	c.SetPlan(planOf(revision, agents, targets...))
	synctest.Wait()
}

func planOf(revision int64, agents []Agent, targets ...string) Plan {
	p := Plan{Generation: regions.Generation{Epoch: 1, Revision: revision}, Agents: agents}
	for _, t := range targets {
		p.Assignments = append(p.Assignments, &pb.Assignment{Target: t})
	}
	return p
}

// sessionOf is a stream for a tally without a judge.
func sessionOf(hello *pb.AgentHello) *session {
	s := newSession(0)
	s.hello = hello
	return s
}

// event is what a stream makes of a message.
func (t *tally) event(s *session, req *pb.ReportRequest, now time.Time) event {
	ev := event{session: s, beat: req.GetHeartbeat()}
	if up := req.GetOpinions(); up != nil {
		ev.update = readUpdate(up, now, t.base)
	}
	return ev
}

// three is one agent in each of three regions.
var three = []Agent{{Name: "a1", Region: "a"}, {Name: "b1", Region: "b"}, {Name: "c1", Region: "c"}}

// speaker is an agent's stream.
type speaker struct {
	c      *court
	name   string
	stream grpc.BidiStreamingClient[pb.ReportRequest, pb.ReportResponse]
	cancel context.CancelFunc
	ended  chan error
	got    chan *pb.Assignments
	// queries are the questions about history.
	queries chan *pb.HistoryQuery
}

// connect opens a stream and says hello.
func (c *court) connect(name, region string) *speaker {
	ctx, cancel := context.WithCancel(c.t.Context())
	stream, err := pb.NewAgentServiceClient(c.conn).Report(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	s := &speaker{c: c, name: name, stream: stream, cancel: cancel, ended: make(chan error, 1), got: make(chan *pb.Assignments, 100), queries: make(chan *pb.HistoryQuery, 100)}
	go func() {
		for {
			m, err := stream.Recv()
			if err != nil {
				s.ended <- err
				return
			}
			if q := m.GetHistory(); q != nil {
				s.queries <- q
			} else {
				s.got <- m.GetAssignments()
			}
		}
	}()
	s.send(&pb.ReportRequest{Message: &pb.ReportRequest_Hello{Hello: &pb.AgentHello{Agent: name, Region: region, Version: "1"}}})
	return s
}

func (s *speaker) send(req *pb.ReportRequest) {
	_ = s.stream.Send(req) // when the stream has ended, ended has the reason
	synctest.Wait()
}

// beat sends a heartbeat.
func (s *speaker) beat() {
	s.send(&pb.ReportRequest{Message: &pb.ReportRequest_Heartbeat{Heartbeat: &pb.AgentHeartbeat{
		ClockMillis: time.Now().UnixMilli(), Generation: &pb.Generation{Epoch: 1, Revision: 1}}}})
}

// says sends opinions: "t1=H t2=U t3=?", or "full t1=H".
func (s *speaker) says(text string) { s.send(opinions(text)) }

func opinions(text string) *pb.ReportRequest {
	up := &pb.OpinionUpdate{}
	for word := range splitWords(text) {
		if word == "full" {
			up.Full = true
			continue
		}
		target, letter := word[:len(word)-2], word[len(word)-1:]
		up.Opinions = append(up.Opinions, &pb.Opinion{
			Target: target, Reason: "said " + letter, HeldMillis: 1000,
			Status: map[string]pb.HealthStatus{
				"H": pb.HealthStatus_HEALTH_STATUS_HEALTHY, "U": pb.HealthStatus_HEALTH_STATUS_UNHEALTHY,
				"?": pb.HealthStatus_HEALTH_STATUS_UNKNOWN,
			}[letter],
		})
	}
	return &pb.ReportRequest{Message: &pb.ReportRequest_Opinions{Opinions: up}}
}

func splitWords(text string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for i := 0; i < len(text); {
			n := i
			for n < len(text) && text[n] != ' ' {
				n++
			}
			if n > i && !yield(text[i:n]) {
				return
			}
			i = n + 1
		}
	}
}

// status is the code and text that the stream ended with.
func (s *speaker) status() (codes.Code, string) {
	s.c.t.Helper()
	synctest.Wait()
	select {
	case err := <-s.ended:
		st := status.Convert(err)
		return st.Code(), st.Message()
	default:
		s.c.t.Fatalf("%s: the stream is open", s.name)
		return 0, ""
	}
}

func (s *speaker) open() bool { return len(s.ended) == 0 }

// pass lets time pass while the given agents beat every 250 ms.
func (c *court) pass(d time.Duration, beating ...*speaker) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(min(250*time.Millisecond, time.Until(end)))
		for _, s := range beating {
			s.beat()
		}
	}
	synctest.Wait()
}

// want checks a target: quorum and last verdict, as "H/H".
func (c *court) want(target, want string) {
	c.t.Helper()
	synctest.Wait()
	t, ok := c.State().Get(target)
	if !ok {
		c.t.Fatalf("no target %s", target)
	}
	if got := letter(t.Quorum) + "/" + letter(t.Last); got != want {
		c.t.Errorf("%s: quorum/verdict is %s, want %s; votes %+v", target, got, want, t.Votes)
	}
}

func letter(s regions.Status) string { return [...]string{"?", "H", "U"}[s] }

// whyNot is why an agent's vote on a target does not count.
func (c *court) whyNot(target, agent string) string {
	c.t.Helper()
	synctest.Wait()
	t, _ := c.State().Get(target)
	for _, v := range t.Votes {
		if v.Agent == agent {
			return v.WhyNot
		}
	}
	return fmt.Sprintf("no vote of %s", agent)
}

// seedsOf is what a nameserver that follows a state tells, through the wire.
func seedsOf(s *State, now time.Time) SeedTable {
	t := SeedTable{From: "nameserver", Latches: healthpb.Latches(s.Latches, now)}
	for target := range s.All() {
		v := target.Verdict
		v.Votes = nil
		t.Verdicts = append(t.Verdicts, healthpb.TargetHealth(target.ID, v, now))
	}
	return t
}
