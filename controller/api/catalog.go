package api

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/fairlead-dns/fairlead/controller/catalog"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

const (
	maxPage = 1000
	// maxPageBytes keeps a page below what gRPC's clients accept by default,
	// 4 MiB, unless one resource is larger.
	maxPageBytes = 3 << 20
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
		return s.finish(v, next, diff)
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
		short: func() proto.Message { return &pb.ApplyResponse{Unchanged: resp.GetUnchanged()} },
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
	if _, err := plan.Compile(next); err != nil {
		return catalog.Edit{}, status.Errorf(codes.InvalidArgument, "refused, nothing was changed: %v", err)
	}
	e := catalog.Edit{Set: next}
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
		r := cur.Set.Get(config.Key{Kind: kinds[0], Name: strings.ToLower(strings.TrimSuffix(req.GetName(), "."))})
		if r == nil {
			return nil, status.Errorf(codes.NotFound, "no %s %q", kinds[0], req.GetName())
		}
		resp.Resources = []*pb.Resource{config.WithEtag(r)}
		return resp, nil
	}
	size := int(req.GetPageSize())
	if size < 0 {
		return nil, status.Errorf(codes.InvalidArgument, "page_size: %d, want 0 (the default) to %d", size, maxPage)
	}
	if size == 0 || size > maxPage {
		size = maxPage
	}
	var start config.Key
	if token := req.GetPageToken(); token != "" {
		if start, err = config.ParseKey(token); err != nil || !slices.Contains(kinds, start.Kind) {
			return nil, status.Errorf(codes.InvalidArgument, "page_token: %.80q is none of this list: want a next_page_token of the same kind", token)
		}
		kinds = kinds[slices.Index(kinds, start.Kind):]
	}
	bytes := 0
	for _, kind := range kinds {
		names := cur.Set.Names(kind)
		if kind == start.Kind {
			from, _ := slices.BinarySearch(names, start.Name)
			names = names[from:]
		}
		for _, name := range names {
			key := config.Key{Kind: kind, Name: name}
			r := config.WithEtag(cur.Set.Get(key))
			bytes += proto.Size(r)
			if n := len(resp.Resources); n == size || n > 0 && bytes > maxPageBytes {
				resp.NextPageToken = key.String()
				return resp, nil
			}
			resp.Resources = append(resp.Resources, r)
		}
	}
	return resp, nil
}

// DeleteResource implements pb.CatalogServiceServer.
func (s *Server) DeleteResource(ctx context.Context, req *pb.DeleteResourceRequest) (*pb.DeleteResourceResponse, error) {
	kind, err := config.ParseKind(req.GetKind())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	key := config.Key{Kind: kind, Name: strings.ToLower(strings.TrimSuffix(req.GetName(), "."))}
	resp := &pb.DeleteResourceResponse{}
	edit := func(v *catalog.Version) (catalog.Edit, error) {
		next, diff, ok := config.Delete(v.Set, key)
		if !ok {
			return catalog.Edit{}, status.Errorf(codes.NotFound, "no %s %q%s", kind, req.GetName(), config.Suggest(key.Name, v.Set.Names(kind)))
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
		request:  &pb.DeleteResourceRequest{Kind: kind, Name: key.Name, Reason: req.GetReason()},
		response: resp, edit: edit,
	})
	if err != nil {
		return nil, err
	}
	resp.Generation = generation(out.Generation)
	return resp, nil
}
