package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// heartbeatEvery is how often agents beat, and reportAgain how soon one whose
// stream has ended opens another.
const (
	heartbeatEvery = 250 * time.Millisecond
	reportAgain    = 100 * time.Millisecond
)

const (
	healthy   = pb.HealthStatus_HEALTH_STATUS_HEALTHY
	unhealthy = pb.HealthStatus_HEALTH_STATUS_UNHEALTHY
)

// agent is an agent's stream to the controller, and after it another one, as the
// real agent's. What it says is put into its mouth.
type agent struct {
	o      *options
	hello  *pb.AgentHello
	conn   *grpc.ClientConn
	cancel context.CancelFunc
	ended  sync.WaitGroup
	breaks atomic.Int64

	mu       sync.Mutex // held while sending
	stream   grpc.BidiStreamingClient[pb.ReportRequest, pb.ReportResponse]
	statuses []pb.HealthStatus // by target; nil: it has said nothing yet
}

// startAgents connects all agents of a setup. They have said nothing yet.
func startAgents(o *options, c *controller, s *setup) ([]*agent, error) {
	var all []*agent
	for i := range s.Agents {
		conn, err := connect(c.Address, s)
		if err != nil {
			stopAgents(all)
			return nil, err
		}
		ctx, cancel := context.WithCancel(context.Background())
		a := &agent{o: o, conn: conn, cancel: cancel, hello: &pb.AgentHello{
			Agent: agentName(i), Region: regionName(i % s.Regions), Version: "bench", Incarnation: uint64(i) + 1,
		}}
		all = append(all, a)
		a.ended.Go(func() { a.report(ctx) })
		a.ended.Go(func() { a.beat(ctx) })
	}
	return all, nil
}

// report keeps a stream up.
func (a *agent) report(ctx context.Context) {
	for ctx.Err() == nil {
		err := a.reportOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		a.breaks.Add(1)
		a.o.say("%s reports again: %v", a.hello.GetAgent(), err)
		time.Sleep(reportAgain)
	}
}

func (a *agent) reportOnce(ctx context.Context) error {
	stream, err := pb.NewAgentServiceClient(a.conn).Report(ctx, grpc.MaxCallRecvMsgSize(64<<20))
	if err != nil {
		return err
	}
	a.open(stream)
	for {
		if _, err := stream.Recv(); err != nil {
			return err
		}
	}
}

func (a *agent) open(stream grpc.BidiStreamingClient[pb.ReportRequest, pb.ReportResponse]) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stream = stream
	a.send(&pb.ReportRequest{Message: &pb.ReportRequest_Hello{Hello: a.hello}})
	if a.statuses != nil {
		a.send(everything(a.statuses))
	}
}

func (a *agent) beat(ctx context.Context) {
	beat := time.NewTicker(heartbeatEvery)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
		}
		a.mu.Lock()
		a.send(&pb.ReportRequest{Message: &pb.ReportRequest_Heartbeat{Heartbeat: &pb.AgentHeartbeat{
			ClockMillis: time.Now().UnixMilli(), Generation: &pb.Generation{Epoch: 1, Revision: 1},
		}}})
		a.mu.Unlock()
	}
}

// send sends on the stream, if there is one. What ends that, Recv tells. mu is held.
func (a *agent) send(m *pb.ReportRequest) {
	if a.stream != nil {
		_ = a.stream.Send(m)
	}
}

// says reports a message of opinions: of all targets, where that is full, or a
// status of some.
func (a *agent) says(m *saying) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.statuses == nil {
		a.statuses = make([]pb.HealthStatus, a.o.endpoints)
	}
	for _, t := range m.targets {
		a.statuses[t] = m.status
	}
	a.send(m.message)
}

// saying is a status of some targets as a message, to be sent by any agent.
type saying struct {
	targets []int
	status  pb.HealthStatus
	message *pb.ReportRequest
}

func say(full bool, status pb.HealthStatus, targets ...int) *saying {
	u := &pb.OpinionUpdate{Full: full, Opinions: make([]*pb.Opinion, len(targets))}
	for i, t := range targets {
		u.Opinions[i] = opinion(t, status)
	}
	return &saying{targets, status, &pb.ReportRequest{Message: &pb.ReportRequest_Opinions{Opinions: u}}}
}

// everything is all that an agent says.
func everything(statuses []pb.HealthStatus) *pb.ReportRequest {
	u := &pb.OpinionUpdate{Full: true}
	for t, status := range statuses {
		if status != pb.HealthStatus_HEALTH_STATUS_UNSPECIFIED {
			u.Opinions = append(u.Opinions, opinion(t, status))
		}
	}
	return &pb.ReportRequest{Message: &pb.ReportRequest_Opinions{Opinions: u}}
}

func opinion(target int, status pb.HealthStatus) *pb.Opinion {
	reason := "connected"
	if status == unhealthy {
		reason = "connection refused"
	}
	return &pb.Opinion{Target: targetID(target), Status: status, HeldMillis: 1, ObservedMillis: 1, Reason: reason}
}

// broken is how many streams have ended that should not.
func broken(all []*agent) (n int64) {
	for _, a := range all {
		n += a.breaks.Load()
	}
	return n
}

func stopAgents(all []*agent) {
	for _, a := range all {
		a.cancel()
		a.ended.Wait()
		a.conn.Close()
	}
}

// upTo are the numbers below n.
func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
