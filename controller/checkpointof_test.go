package controller

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/fairlead-dns/fairlead/controller/verdicts"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

// report is an agent's stream.
type report struct {
	grpc.ServerStream
	ctx      context.Context
	requests chan *pb.ReportRequest
}

func (r *report) Context() context.Context      { return r.ctx }
func (r *report) Send(*pb.ReportResponse) error { return nil }
func (r *report) Recv() (*pb.ReportRequest, error) {
	select {
	case m := <-r.requests:
		return m, nil
	case <-r.ctx.Done():
		return nil, io.EOF
	}
}

// A checkpoint holds what is known of a target, also where too few regions can
// tell for a verdict; and nothing of those that nobody knows anything of.
func TestCheckpointOfRegionsStandings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		judge, err := verdicts.New(verdicts.Options{})
		if err != nil {
			t.Fatal(err)
		}
		judge.SetPlan(verdicts.Plan{
			Generation: regions.Generation{Epoch: 1, Revision: 1},
			Agents:     []verdicts.Agent{{Name: "a1", Region: "a"}, {Name: "b1", Region: "b"}, {Name: "c1", Region: "c"}},
			Assignments: []*pb.Assignment{
				{Target: "web@192.0.2.1"}, {Target: "web@192.0.2.2"},
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 2)
		go func() { ended <- judge.Run(ctx) }()
		stream := &report{ctx: ctx, requests: make(chan *pb.ReportRequest, 2)}
		go func() { ended <- judge.Report(stream) }()
		if table, _ := checkpointOf(judge.State(), time.Now()); table != nil {
			t.Errorf("a checkpoint of a judge that is not ready: %v", table)
		}
		time.Sleep(4 * time.Second)
		stream.requests <- &pb.ReportRequest{Message: &pb.ReportRequest_Hello{Hello: &pb.AgentHello{Agent: "a1", Region: "a"}}}
		stream.requests <- &pb.ReportRequest{Message: &pb.ReportRequest_Opinions{Opinions: &pb.OpinionUpdate{Full: true, Opinions: []*pb.Opinion{
			{Target: "web@192.0.2.1", Status: pb.HealthStatus_HEALTH_STATUS_UNHEALTHY},
		}}}}
		time.Sleep(2 * time.Second) // one region is heard, and the others were waited for
		synctest.Wait()
		table, _ := checkpointOf(judge.State(), time.Now())
		if len(table.GetTargets()) != 1 {
			t.Fatalf("checkpoint %v", table)
		}
		got := table.GetTargets()[0]
		if got.GetTarget() != "web@192.0.2.1" || got.GetVerdict() != pb.HealthStatus_HEALTH_STATUS_UNKNOWN || len(got.GetVotes()) != 0 ||
			len(got.GetRegions()) != 1 || got.GetRegions()[0].GetStanding().GetVerdict() != pb.HealthStatus_HEALTH_STATUS_UNHEALTHY {
			t.Errorf("checkpoint %v", got)
		}
		cancel()
		<-ended
		<-ended
	})
}
