package api

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/fairlead-dns/fairlead/controller/catalog"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// DrainRegion implements pb.RegionServiceServer. A drain that stands is
// returned, unless it would end before the one that is asked for: then that
// replaces it.
func (s *Server) DrainRegion(ctx context.Context, req *pb.DrainRegionRequest) (*pb.DrainRegionResponse, error) {
	scope, err := regionScope(req.GetRegion(), req.GetAvailabilityZone(), req.GetService())
	if err != nil {
		return nil, err
	}
	a := ask{
		action: pb.OverrideAction_OVERRIDE_ACTION_DRAIN, scope: scope, reason: req.GetReason(), author: req.GetAuthor(), etag: req.GetEtag(),
		expireAfter: req.GetExpireAfter(), start: req.GetStartTime(), force: req.GetForce(),
	}
	c := change{id: req.GetRequestId(), request: &pb.DrainRegionRequest{
		Region: scope.GetRegion(), AvailabilityZone: scope.GetAvailabilityZone(), Service: scope.GetService(), Reason: a.reason, Author: a.author,
		ExpireAfter: a.expireAfter, StartTime: a.start, Force: a.force, Etag: a.etag,
	}}
	made, err := s.create(ctx, a, c, req.GetDryRun(), req.GetWait().AsDuration())
	if err != nil {
		return nil, err
	}
	return &pb.DrainRegionResponse{Override: made.GetOverride(), Generation: made.GetGeneration(), Convergence: made.GetConvergence(), Safety: made.GetSafety()}, nil
}

// CreateOverride implements pb.OverrideServiceServer.
func (s *Server) CreateOverride(ctx context.Context, req *pb.CreateOverrideRequest) (*pb.CreateOverrideResponse, error) {
	if err := checkAction(req.GetAction()); err != nil {
		return nil, err
	}
	scope, err := canonicalScope(req.GetScope())
	if err != nil {
		return nil, err
	}
	a := ask{
		action: req.GetAction(), scope: scope, reason: req.GetReason(), author: req.GetAuthor(), etag: req.GetEtag(),
		expireAfter: req.GetExpireAfter(), start: req.GetStartTime(), force: req.GetForce(),
	}
	c := change{id: req.GetRequestId(), request: &pb.CreateOverrideRequest{
		Action: a.action, Scope: scope, Reason: a.reason, Author: a.author,
		ExpireAfter: a.expireAfter, StartTime: a.start, Force: a.force, Etag: a.etag,
	}}
	return s.create(ctx, a, c, req.GetDryRun(), req.GetWait().AsDuration())
}

func checkAction(a pb.OverrideAction) error {
	switch a {
	case pb.OverrideAction_OVERRIDE_ACTION_DRAIN, pb.OverrideAction_OVERRIDE_ACTION_FORCE_UP, pb.OverrideAction_OVERRIDE_ACTION_FORCE_DOWN:
		return nil
	}
	return status.Errorf(codes.InvalidArgument, "action: %v, want OVERRIDE_ACTION_DRAIN, OVERRIDE_ACTION_FORCE_UP or OVERRIDE_ACTION_FORCE_DOWN", a)
}

// UndrainRegion implements pb.RegionServiceServer.
func (s *Server) UndrainRegion(ctx context.Context, req *pb.UndrainRegionRequest) (*pb.UndrainRegionResponse, error) {
	if err := required("reason", req.GetReason()); err != nil {
		return nil, err
	}
	scope, err := regionScope(req.GetRegion(), req.GetAvailabilityZone(), req.GetService())
	if err != nil {
		return nil, err
	}
	resp := &pb.UndrainRegionResponse{}
	which := chosen{action: pb.OverrideAction_OVERRIDE_ACTION_DRAIN, scope: scope, etag: req.GetEtag()}
	out, err := s.change(ctx, change{
		id: req.GetRequestId(), action: "override-delete", reason: req.GetReason(), author: req.GetAuthor(), response: resp,
		request: &pb.UndrainRegionRequest{
			Region: scope.GetRegion(), AvailabilityZone: scope.GetAvailabilityZone(), Service: scope.GetService(),
			Reason: req.GetReason(), Author: req.GetAuthor(), Etag: req.GetEtag(),
		},
		breakGlass: breakGlassCommand(which.action, which.scope, true),
		edit: func(v *catalog.Version) (e catalog.Edit, err error) {
			e, resp.Removed, err = which.removed(ctx, v)
			return e, err
		},
		short: func() proto.Message { return &pb.UndrainRegionResponse{Removed: brief(resp.Removed)} },
	})
	if err != nil {
		return nil, err
	}
	resp.Generation = generation(out.Generation)
	resp.Convergence = s.wait(ctx, out, req.GetWait().AsDuration())
	return resp, nil
}

// DeleteOverride implements pb.OverrideServiceServer.
func (s *Server) DeleteOverride(ctx context.Context, req *pb.DeleteOverrideRequest) (*pb.DeleteOverrideResponse, error) {
	if err := required("reason", req.GetReason()); err != nil {
		return nil, err
	}
	which := chosen{id: req.GetId(), etag: req.GetEtag()}
	switch {
	case which.id != "" && (req.GetScope() != nil || req.GetAction() != 0):
		return nil, status.Error(codes.InvalidArgument, "id: want either an id or an action and a scope, not both")
	case which.id != "":
	case req.GetScope() == nil:
		return nil, status.Error(codes.InvalidArgument, "id: required, or an action and a scope")
	default:
		var err error
		if which.scope, err = canonicalScope(req.GetScope()); err != nil {
			return nil, err
		}
		which.action = req.GetAction()
		if err := checkAction(which.action); err != nil {
			return nil, err
		}
	}
	resp := &pb.DeleteOverrideResponse{}
	out, err := s.change(ctx, change{
		id: req.GetRequestId(), action: "override-delete", reason: req.GetReason(), author: req.GetAuthor(), response: resp,
		request: &pb.DeleteOverrideRequest{
			Id: which.id, Action: which.action, Scope: which.scope, Reason: req.GetReason(), Author: req.GetAuthor(), Etag: which.etag,
		},
		breakGlass: breakGlassCommand(which.action, which.scope, true),
		edit: func(v *catalog.Version) (e catalog.Edit, err error) {
			e, resp.Removed, err = which.removed(ctx, v)
			return e, err
		},
		short: func() proto.Message { return &pb.DeleteOverrideResponse{Removed: brief(resp.Removed)} },
	})
	if err != nil {
		return nil, err
	}
	resp.Generation = generation(out.Generation)
	resp.Convergence = s.wait(ctx, out, req.GetWait().AsDuration())
	return resp, nil
}

// brief says of overrides, of which there are too many to be kept with a request,
// which they are.
func brief(list []*pb.Override) (out []*pb.Override) {
	for _, o := range list {
		out = append(out, &pb.Override{Id: o.GetId(), Action: o.GetAction(), Scope: o.GetScope()})
	}
	return out
}

// chosen are the overrides that shall be removed: one by its id, or those of
// exactly a scope and an action.
type chosen struct {
	id     string
	action pb.OverrideAction
	scope  *pb.OverrideScope
	etag   string // only the one that has it
}

func (w *chosen) is(o *pb.Override) bool {
	if w.id != "" {
		return o.GetId() == w.id
	}
	return o.GetAction() == w.action && proto.Equal(o.GetScope(), w.scope)
}

// removed removes them, from what is in force and from what is scheduled. There
// may be none.
func (w *chosen) removed(ctx context.Context, v *catalog.Version) (e catalog.Edit, gone []*pb.Override, err error) {
	if w.scope != nil {
		if err := mayOverride(ctx, v.Set, w.scope); err != nil {
			return catalog.Edit{}, nil, err
		}
	}
	e, gone = removing(v, func(o *pb.Override) bool { return w.is(o) && (w.etag == "" || etagOf(o) == w.etag) })
	if len(gone) == 0 {
		if _, stand := removing(v, w.is); len(stand) > 0 {
			return catalog.Edit{}, nil, changedSince(w.etag, stand)
		}
		if w.scope != nil {
			// Nothing to do; but a name that is wrong shall be told.
			return catalog.Edit{}, nil, checkScope(v.Set, w.scope)
		}
	}
	for _, o := range gone {
		if err := mayOverride(ctx, v.Set, o.GetScope()); err != nil {
			return catalog.Edit{}, nil, err
		}
	}
	return e, withEtags(gone), nil
}

// removing removes the overrides that are over, in force or scheduled.
func removing(v *catalog.Version, over func(*pb.Override) bool) (e catalog.Edit, gone []*pb.Override) {
	split := func(list []*pb.Override) (kept []*pb.Override, some bool) {
		for _, o := range list {
			if over(o) {
				gone = append(gone, o)
			} else {
				kept = append(kept, o)
			}
		}
		return kept, len(kept) < len(list)
	}
	e.Overrides, e.SetOverrides = split(v.Overrides)
	e.Scheduled, e.SetScheduled = split(v.Scheduled)
	e.Subjects = subjects(gone...)
	return e, gone
}
