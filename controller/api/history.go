package api

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/fairlead-dns/fairlead/controller/access"
	"github.com/fairlead-dns/fairlead/controller/catalog"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
)

// historyPage is the default page of generations and of events.
const historyPage = 100

// ListGenerations implements pb.CatalogServiceServer.
func (s *Server) ListGenerations(ctx context.Context, req *pb.ListGenerationsRequest) (*pb.ListGenerationsResponse, error) {
	size, err := pageSize(req, historyPage)
	if err != nil {
		return nil, err
	}
	records, next, err := s.opts.Catalog.History(ctx, size, req.GetPageToken())
	if err != nil {
		return nil, toStatus(err)
	}
	resp := &pb.ListGenerationsResponse{NextPageToken: next}
	for _, r := range records {
		resp.Generations = append(resp.Generations, &pb.GenerationRecord{Generation: generation(r.Generation), Event: r.Event, Kept: r.Kept})
	}
	return resp, nil
}

// DiffGenerations implements pb.CatalogServiceServer.
func (s *Server) DiffGenerations(ctx context.Context, req *pb.DiffGenerationsRequest) (*pb.DiffGenerationsResponse, error) {
	from, err := s.generation(ctx, "from", req.GetFrom())
	if err != nil {
		return nil, err
	}
	var to *catalog.Version
	if req.GetTo() == nil {
		if to, err = s.opts.Catalog.Read(ctx); err != nil {
			return nil, toStatus(err)
		}
	} else if to, err = s.generation(ctx, "to", req.GetTo()); err != nil {
		return nil, err
	}
	diff := config.Compare(from.Set, to.Set)
	resp := &pb.DiffGenerationsResponse{Unchanged: uint32(diff.Unchanged)}
	for _, c := range diff.Changes {
		resp.Changes = append(resp.Changes, shown(c))
	}
	return resp, nil
}

// generation reads the generation that a field of a request names.
func (s *Server) generation(ctx context.Context, field string, g *pb.Generation) (*catalog.Version, error) {
	gen := regions.Generation{Epoch: g.GetEpoch(), Revision: g.GetRevision()}
	if gen.Revision <= 0 {
		return nil, status.Errorf(codes.InvalidArgument, "%s: required: want a generation that ListGenerations lists", field)
	}
	v, err := s.opts.Catalog.Generation(ctx, gen)
	if err != nil {
		return nil, toStatus(err)
	}
	return v, nil
}

// RollbackGeneration implements pb.CatalogServiceServer. It goes the way of an
// apply: what was valid then must be so now, and a caller with a scope may
// bring back only what is in it.
func (s *Server) RollbackGeneration(ctx context.Context, req *pb.RollbackGenerationRequest) (*pb.RollbackGenerationResponse, error) {
	if err := required("reason", req.GetReason()); err != nil {
		return nil, err
	}
	resp := &pb.RollbackGenerationResponse{}
	var old *catalog.Version // read once: it does not change
	edit := func(v *catalog.Version) (catalog.Edit, error) {
		if old == nil {
			var err error
			if old, err = s.generation(ctx, "generation", req.GetGeneration()); err != nil {
				return catalog.Edit{}, err
			}
		}
		next, diff := config.Revert(v.Set, old.Set)
		for _, c := range diff.Changes {
			resp.Changes = append(resp.Changes, shown(c))
		}
		if err := access.Changes(ctx, diff.Changes); err != nil {
			return catalog.Edit{}, err
		}
		e, err := s.finish(v, next, diff)
		if e.Set != nil {
			e.Subjects = append([]string{"generations/" + old.Generation.String()}, e.Subjects...)
		}
		return e, err
	}
	if req.GetDryRun() {
		v, err := s.opts.Catalog.Read(ctx)
		if err != nil {
			return nil, toStatus(err)
		}
		if _, err := edit(v); err != nil {
			return nil, toStatus(err)
		}
		resp.Generation = generation(v.Generation)
		return resp, nil
	}
	out, err := s.change(ctx, change{
		id: req.GetRequestId(), action: "rollback", reason: req.GetReason(),
		request:  &pb.RollbackGenerationRequest{Generation: req.GetGeneration(), Reason: req.GetReason()},
		response: resp, edit: edit,
		short: func() proto.Message { return &pb.RollbackGenerationResponse{} },
	})
	if err != nil {
		return nil, err
	}
	resp.Generation = generation(out.Generation)
	resp.Convergence = s.wait(ctx, out, req.GetWait().AsDuration())
	return resp, nil
}
