package authdns

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fairlead-dns/fairlead/authdns/follow"
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
	resp, err := i.s.explain(serving, req, time.Now())
	if errors.Is(err, plan.ErrNoService) {
		return nil, status.Error(codes.NotFound, err.Error())
	}
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return resp, nil
}

// explain answers a question from what is served.
func (s *Server) explain(serving *follow.Serving, req *pb.ExplainRequest, now time.Time) (*pb.ExplainResponse, error) {
	q, err := serving.Plan.Compiled.ParseQuestion(req.GetName(), req.GetType(), req.GetClient())
	if err != nil {
		return nil, err
	}
	resp := plan.Explain(serving.View, q, now, func(target string) (health.Verdict, bool) {
		t, ok := serving.Plan.Target(target)
		if !ok {
			return health.Verdict{}, false
		}
		st := serving.View.State(t)
		return health.Verdict{Quorum: st.Verdict, Last: st.Verdict, Since: st.Since}, st.Verdict != regions.Unknown
	})
	resp.Source = "nameserver/" + s.opts.Name
	if resp.Type = strings.ToUpper(req.GetType()); resp.Type == "" {
		resp.Type = "A"
	}
	if age, ok := s.follower.HealthAge(now); ok {
		resp.HealthAgeMillis = healthpb.Millis(age)
	}
	s.addOverrides(resp, serving, q.Service, now)
	return resp, nil
}

// addOverrides adds what holds endpoints of a service, as it was written.
func (s *Server) addOverrides(resp *pb.ExplainResponse, serving *follow.Serving, service int32, now time.Time) {
	p := serving.View.Plan
	svc := &p.Services[service]
	holding := map[string]bool{}
	for i := range p.Overrides {
		o := &p.Overrides[i]
		if slices.ContainsFunc(svc.Endpoints, func(e regions.Endpoint) bool {
			return o.Scope.Holds(svc.Name, e.Name, p.Regions[e.Region].Name, e.AvailabilityZone)
		}) {
			holding[o.ID] = true
		}
	}
	if len(holding) == 0 {
		return
	}
	for _, o := range serving.Overrides {
		if holding[o.GetId()] {
			resp.Overrides = append(resp.Overrides, o)
		}
	}
	for _, o := range serving.BreakGlass {
		if rec := s.records.Find(o.ID, now); holding[o.ID] && rec != nil {
			resp.BreakGlass = append(resp.BreakGlass, rec)
		}
	}
}
