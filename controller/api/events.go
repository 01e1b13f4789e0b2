package api

import (
	"context"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// ListEvents implements pb.InsightServiceServer.
func (s *Server) ListEvents(ctx context.Context, req *pb.ListEventsRequest) (*pb.ListEventsResponse, error) {
	size, err := historySize(req)
	if err != nil {
		return nil, err
	}
	records, next, err := s.opts.Catalog.History(ctx, size, req.GetPageToken())
	if err != nil {
		return nil, toStatus(err)
	}
	resp := &pb.ListEventsResponse{NextPageToken: next}
	for _, r := range records {
		resp.Events = append(resp.Events, r.Event)
	}
	return resp, nil
}
