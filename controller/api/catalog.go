package api

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fairlead-dns/fairlead/controller/catalog"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

const maxPage = 1000

// Apply implements pb.CatalogServiceServer.
func (s *Server) Apply(ctx context.Context, req *pb.ApplyRequest) (*pb.ApplyResponse, error) {
	var diff config.Diff
	edit := func(v *catalog.Version) (catalog.Edit, error) {
		next, d, err := config.Merge(v.Set, req.GetResources(), req.GetPrune())
		if err != nil {
			return catalog.Edit{}, err
		}
		if err := config.CheckEtags(v.Set, req.GetResources()); err != nil {
			return catalog.Edit{}, err
		}
		diff = d
		return s.finish(v, next, d)
	}
	var v *catalog.Version
	var err error
	if req.GetDryRun() {
		if v, err = s.opts.Catalog.Read(ctx); err == nil {
			_, err = edit(v)
		}
	} else {
		v, err = s.opts.Catalog.Change(ctx, request(ctx, req.GetRequestId(), "apply", req.GetReason(), ""), edit)
	}
	if err != nil {
		return nil, toStatus(err)
	}
	resp := &pb.ApplyResponse{Generation: generation(v), Unchanged: uint32(diff.Unchanged)}
	for _, c := range diff.Changes {
		out := &pb.Change{Action: c.GetAction()}
		if c.GetBefore() != nil {
			out.Before = config.WithEtag(c.GetBefore())
		}
		if c.GetAfter() != nil {
			out.After = config.WithEtag(c.GetAfter())
		}
		resp.Changes = append(resp.Changes, out)
	}
	if !req.GetDryRun() {
		resp.Convergence = s.wait(ctx, v, req.GetWait().AsDuration())
	}
	return resp, nil
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
		if len(e.Subjects) < maxSubjects {
			e.Subjects = append(e.Subjects, config.KeyOf(r).String())
		}
	}
	return e, nil
}

// maxSubjects bounds an audit event.
const maxSubjects = 1000

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
	resp := &pb.ListResourcesResponse{Generation: generation(cur.Version)}
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
	if size <= 0 || size > maxPage {
		size = maxPage
	}
	start := config.Key{}
	if req.GetPageToken() != "" {
		if start, err = config.ParseKey(req.GetPageToken()); err != nil {
			return nil, status.Errorf(codes.InvalidArgument, "page_token: %v", err)
		}
	}
	skipping := start != config.Key{}
	for _, kind := range kinds {
		if skipping && kind != start.Kind {
			continue
		}
		names := cur.Set.Names(kind)
		from := 0
		if skipping {
			from, _ = slices.BinarySearch(names, start.Name)
			skipping = false
		}
		for _, name := range names[from:] {
			if len(resp.Resources) == size {
				resp.NextPageToken = config.Key{Kind: kind, Name: name}.String()
				return resp, nil
			}
			resp.Resources = append(resp.Resources, config.WithEtag(cur.Set.Get(config.Key{Kind: kind, Name: name})))
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
	v, err := s.opts.Catalog.Change(ctx, request(ctx, req.GetRequestId(), "delete", req.GetReason(), ""), func(v *catalog.Version) (catalog.Edit, error) {
		next, diff, ok := config.Delete(v.Set, key)
		if !ok {
			return catalog.Edit{}, status.Errorf(codes.NotFound, "no %s %q", kind, req.GetName())
		}
		e, err := s.finish(v, next, diff)
		var fields config.Errors
		if errors.As(err, &fields) {
			return catalog.Edit{}, status.Errorf(codes.FailedPrecondition, "%s is in use, nothing was changed: %v", key, fields)
		}
		return e, err
	})
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.DeleteResourceResponse{Generation: generation(v)}, nil
}
