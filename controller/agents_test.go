package controller_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// probe is an agent that says what it is told to say.
type probe struct {
	t       testing.TB
	queries chan *pb.HistoryQuery

	mu       sync.Mutex // one message at a time
	stream   grpc.BidiStreamingClient[pb.ReportRequest, pb.ReportResponse]
	isolated string
}

// probe connects an agent that has said something of some targets.
func (r *running) probe(name, region string, opinions ...*pb.Opinion) *probe {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := pb.NewAgentServiceClient(r.conn).Report(ctx)
	if err != nil {
		cancel()
		r.t.Fatal(err)
	}
	p := &probe{t: r.t, stream: stream, queries: make(chan *pb.HistoryQuery, 10)}
	p.send(&pb.ReportRequest{Message: &pb.ReportRequest_Hello{Hello: &pb.AgentHello{Agent: name, Region: region, Version: "1"}}})
	p.send(&pb.ReportRequest{Message: &pb.ReportRequest_Opinions{Opinions: &pb.OpinionUpdate{Full: true, Opinions: opinions}}})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			m, err := stream.Recv()
			if err != nil {
				return
			}
			if q := m.GetHistory(); q != nil {
				p.queries <- q
			}
		}
	})
	wg.Go(func() {
		beat := time.NewTicker(100 * time.Millisecond)
		defer beat.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-beat.C:
				p.beat()
			}
		}
	})
	r.t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return p
}

func (p *probe) send(m *pb.ReportRequest) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.stream.Send(m); err != nil {
		p.t.Fatal(err)
	}
}

// beat says that everything still holds. That the stream has ended is for others
// to find out.
func (p *probe) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.stream.Send(&pb.ReportRequest{Message: &pb.ReportRequest_Heartbeat{
		Heartbeat: &pb.AgentHeartbeat{ClockMillis: time.Now().UnixMilli(), Isolated: p.isolated}}})
}

// say tells opinions that are others now.
func (p *probe) say(opinions ...*pb.Opinion) {
	p.t.Helper()
	p.send(&pb.ReportRequest{Message: &pb.ReportRequest_Opinions{Opinions: &pb.OpinionUpdate{Opinions: opinions}}})
}

// feel tells why the agent holds itself to be cut off.
func (p *probe) feel(isolated string) {
	p.mu.Lock()
	p.isolated = isolated
	p.mu.Unlock()
	p.beat()
}

func healthy(target string) *pb.Opinion {
	return &pb.Opinion{Target: target, Status: pb.HealthStatus_HEALTH_STATUS_HEALTHY, Reason: "HTTP 200"}
}

func unhealthy(target string) *pb.Opinion {
	return &pb.Opinion{Target: target, Status: pb.HealthStatus_HEALTH_STATUS_UNHEALTHY, Reason: "connection refused"}
}

// healthEvents watches, and returns what reads on to the next event of a kind.
func (r *running) healthEvents() func(kind string) *pb.HealthEvent {
	r.t.Helper()
	w, err := r.Watch(r.t.Context(), &pb.WatchRequest{})
	if err != nil {
		r.t.Fatal(err)
	}
	// The header comes when the watch has begun.
	if _, err := w.Header(); err != nil {
		r.t.Fatal(err)
	}
	return func(kind string) *pb.HealthEvent {
		r.t.Helper()
		for {
			m, err := w.Recv()
			if err != nil {
				r.t.Fatalf("waiting for the event %s: %v", kind, err)
			}
			if e := m.GetHealth(); e.GetKind() == kind {
				return e
			}
		}
	}
}

func (r *running) status() *pb.GetStatusResponse {
	r.t.Helper()
	st, err := r.GetStatus(r.t.Context(), &pb.GetStatusRequest{})
	if err != nil {
		r.t.Fatal(err)
	}
	return st
}

// answer is the one address that a client in Europe gets for www.example.test,
// and why it is not that of eu-west.
func (r *running) answer() (address, why string) {
	r.t.Helper()
	x, err := r.Explain(r.t.Context(), &pb.ExplainRequest{Name: "www.example.test", Client: "193.0.6.139"})
	if err != nil || len(x.GetAnswers()) != 1 {
		r.t.Fatalf("%v, %v", x, err)
	}
	for _, region := range x.GetRegions() {
		if region.GetRegion() == "eu-west" {
			why = region.GetReason()
		}
	}
	return x.GetAnswers()[0], why
}
