package api

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/fairlead-dns/fairlead/controller/access"
	"github.com/fairlead-dns/fairlead/controller/catalog"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

// Apply implements pb.CatalogServiceServer.
func (s *Server) Apply(ctx context.Context, req *pb.ApplyRequest) (*pb.ApplyResponse, error) {
	resp := &pb.ApplyResponse{}
	edit := func(v *catalog.Version) (catalog.Edit, error) {
		next, diff, err := config.Merge(v.Set, req.GetResources(), req.GetPrune())
		if err != nil {
			return catalog.Edit{}, err
		}
		if err := config.CheckEtags(v.Set, req.GetResources()); err != nil {
			return catalog.Edit{}, err
		}
		resp.Unchanged = uint32(diff.Unchanged)
		for _, c := range diff.Changes {
			resp.Changes = append(resp.Changes, shown(c))
		}
		if err := access.Changes(ctx, diff.Changes); err != nil {
			return catalog.Edit{}, err
		}
		e, err := s.finish(v, next, diff)
		if err == nil {
			resp.Warnings = config.WarningsOf(v.Set, next, req.GetResources())
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
		id: req.GetRequestId(), action: "apply", reason: req.GetReason(),
		request:  &pb.ApplyRequest{Resources: req.GetResources(), Prune: req.GetPrune(), Reason: req.GetReason()},
		response: resp, edit: edit,
		short: func() proto.Message {
			return &pb.ApplyResponse{Unchanged: resp.GetUnchanged(), Warnings: resp.GetWarnings()}
		},
	})
	if err != nil {
		return nil, err
	}
	resp.Generation = generation(out.Generation)
	resp.Convergence = s.wait(ctx, out, req.GetWait().AsDuration())
	return resp, nil
}

// shown is a change with the etags in it.
func shown(c *pb.Change) *pb.Change {
	out := &pb.Change{Action: c.GetAction()}
	if c.GetBefore() != nil {
		out.Before = config.WithEtag(c.GetBefore())
	}
	if c.GetAfter() != nil {
		out.After = config.WithEtag(c.GetAfter())
	}
	return out
}

// finish validates what a change would make of the configuration.
func (s *Server) finish(v *catalog.Version, next *config.Set, d config.Diff) (catalog.Edit, error) {
	if len(d.Changes) == 0 {
		return catalog.Edit{}, nil
	}
	if err := config.Validate(next, config.Options{Base: v.Set, Records: plan.CheckRecords}); err != nil {
		return catalog.Edit{}, err
	}
	next = config.BumpSerials(v.Set, next, d.Changes, uint32(time.Now().Unix()))
	base, err := plan.Compile(next)
	if err != nil {
		return catalog.Edit{}, status.Errorf(codes.InvalidArgument, "refused, nothing was changed: %v", err)
	}
	e := catalog.Edit{Set: next, Base: base}
	for _, c := range d.Changes {
		r := c.GetAfter()
		if r == nil {
			r = c.GetBefore()
		}
		e.Subjects = append(e.Subjects, config.KeyOf(r).String())
	}
	return e, nil
}

// ListResources implements pb.CatalogServiceServer.
func (s *Server) ListResources(_ context.Context, req *pb.ListResourcesRequest) (*pb.ListResourcesResponse, error) {
	cur, err := s.current()
	if err != nil {
		return nil, err
	}
	kinds := config.Kinds()
	if req.GetKind() != "" {
		kind, err := config.ParseKind(req.GetKind())
		if err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		kinds = []string{kind}
	}
	resp := &pb.ListResourcesResponse{Generation: generation(cur.Generation)}
	if req.GetName() != "" {
		if req.GetKind() == "" {
			return nil, status.Error(codes.InvalidArgument, "name needs kind")
		}
		r, err := find(cur.Set, keyOf(kinds[0], req.GetName()), "name")
		if err != nil {
			return nil, err
		}
		resp.Resources = []*pb.Resource{config.WithEtag(r)}
		return resp, nil
	}
	if resp.Resources, resp.NextPageToken, err = list(cur.Set, kinds, req, maxPage); err != nil {
		return nil, err
	}
	return resp, nil
}

// DeleteResource implements pb.CatalogServiceServer.
func (s *Server) DeleteResource(ctx context.Context, req *pb.DeleteResourceRequest) (*pb.DeleteResourceResponse, error) {
	kind, err := config.ParseKind(req.GetKind())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	key := keyOf(kind, req.GetName())
	resp := &pb.DeleteResourceResponse{}
	edit := func(v *catalog.Version) (catalog.Edit, error) {
		stored, err := find(v.Set, key, "name")
		if err != nil {
			return catalog.Edit{}, err
		}
		if err := checkEtag(stored, req.GetEtag()); err != nil {
			return catalog.Edit{}, err
		}
		next, diff, _ := config.Delete(v.Set, key)
		if err := access.Changes(ctx, diff.Changes); err != nil {
			return catalog.Edit{}, err
		}
		e, err := s.finish(v, next, diff)
		var fields config.Errors
		if errors.As(err, &fields) {
			return catalog.Edit{}, status.Errorf(codes.FailedPrecondition, "%s is in use, nothing was changed: %v", key, shorten(fields.Error()))
		}
		return e, err
	}
	out, err := s.change(ctx, change{
		id: req.GetRequestId(), action: "delete", reason: req.GetReason(),
		request:  &pb.DeleteResourceRequest{Kind: kind, Name: key.Name, Reason: req.GetReason(), Etag: req.GetEtag()},
		response: resp, edit: edit,
	})
	if err != nil {
		return nil, err
	}
	resp.Generation = generation(out.Generation)
	return resp, nil
}
