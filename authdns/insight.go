package authdns

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

// insight explains from what this nameserver answers with.
type insight struct {
	pb.UnimplementedInsightServiceServer
	s *Server
}

// Explain implements pb.InsightServiceServer.
func (i *insight) Explain(_ context.Context, req *pb.ExplainRequest) (*pb.ExplainResponse, error) {
	serving := i.s.follower.Serving()
	if serving == nil {
		return nil, status.Error(codes.FailedPrecondition, "this nameserver serves no generation")
	}
	q, err := serving.Plan.Compiled.ParseQuestion(req.GetName(), req.GetType(), req.GetClient())
	if errors.Is(err, plan.ErrNoService) {
		return nil, status.Error(codes.NotFound, err.Error())
	}
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	now := time.Now()
	resp := plan.Explain(serving.View, q, now, func(target string) (health.Verdict, bool) {
		t, ok := serving.Plan.Target(target)
		if !ok {
			return health.Verdict{}, false
		}
		st := serving.View.State(t)
		return health.Verdict{Quorum: st.Verdict, Last: st.Verdict, Since: st.Since}, st.Verdict != regions.Unknown
	})
	resp.Source = "nameserver/" + i.s.opts.Name
	if age, ok := i.s.follower.HealthAge(now); ok {
		resp.HealthAgeMillis = healthpb.Millis(age)
	}
	return resp, nil
}
