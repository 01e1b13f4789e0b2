package api

import (
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fairlead-dns/fairlead/controller/verdicts"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

// GetHistory implements pb.InsightServiceServer.
func (s *Server) GetHistory(req *pb.GetHistoryRequest, stream grpc.ServerStreamingServer[pb.GetHistoryResponse]) error {
	cur, err := s.current()
	if err != nil {
		return err
	}
	name := strings.ToLower(strings.TrimSuffix(req.GetService(), "."))
	i, ok := cur.Plan.Service(name)
	if !ok {
		return status.Errorf(codes.NotFound, "no service %q%s", req.GetService(), config.Suggest(name, cur.Set.Names(config.KindService)))
	}
	svc := &cur.Plan.Services[i]
	if !svc.Checked {
		return status.Errorf(codes.NotFound, "service %q has no health check", name)
	}
	var targets, endpoints []string
	for e := range svc.Endpoints {
		ep := &svc.Endpoints[e]
		endpoints = append(endpoints, ep.Name)
		if req.GetEndpoint() != "" && req.GetEndpoint() != ep.Name {
			continue
		}
		for _, f := range []regions.Family{regions.V4, regions.V6} {
			if t := ep.Target[f]; t >= 0 {
				targets = append(targets, cur.Plan.Targets[t].ID)
			}
		}
	}
	if len(targets) == 0 {
		return status.Errorf(codes.NotFound, "service %q has no endpoint %q%s", name, req.GetEndpoint(), config.Suggest(req.GetEndpoint(), endpoints))
	}
	missing, err := s.opts.Judge.History(stream.Context(), targets, healthpb.Age(req.GetMaxAgeMillis()), func(p verdicts.HistoryPart) error {
		return stream.Send(&pb.GetHistoryResponse{Agent: p.Agent, Region: p.Region, Registered: p.Registered, Histories: p.Histories})
	})
	if err != nil {
		return err
	}
	return stream.Send(&pb.GetHistoryResponse{Missing: missing})
}
