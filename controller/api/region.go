package api

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead-dns/fairlead/controller/access"
	"github.com/fairlead-dns/fairlead/controller/catalog"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

const (
	maxExpiry = 366 * 24 * time.Hour
	// maxOverrides bounds the set: every one is held against every endpoint
	// when a plan is evaluated.
	maxOverrides = 1000
)

// DrainRegion implements pb.RegionServiceServer. A drain that stands is
// returned, unless it would end before the one that is asked for: then that
// replaces it.
func (s *Server) DrainRegion(ctx context.Context, req *pb.DrainRegionRequest) (*pb.DrainRegionResponse, error) {
	if strings.TrimSpace(req.GetReason()) == "" {
		return nil, status.Error(codes.InvalidArgument, "reason: required: say why, for those who find it later (--reason)")
	}
	expireAfter, err := expiry(req.GetExpireAfter())
	if err != nil {
		return nil, err
	}
	scope := drainScope(req.GetRegion(), req.GetAvailabilityZone(), req.GetService())
	resp := &pb.DrainRegionResponse{}
	c := change{
		id: req.GetRequestId(), action: "override-create", reason: req.GetReason(), author: req.GetAuthor(), response: resp,
		request: &pb.DrainRegionRequest{
			Region: scope.GetRegion(), AvailabilityZone: scope.GetAvailabilityZone(), Service: scope.GetService(),
			Reason: req.GetReason(), Author: req.GetAuthor(), ExpireAfter: req.GetExpireAfter(),
		},
	}
	c.edit = func(v *catalog.Version) (catalog.Edit, error) {
		if err := checkScope(v.Set, scope); err != nil {
			return catalog.Edit{}, err
		}
		if err := mayDrain(ctx, v.Set, scope); err != nil {
			return catalog.Edit{}, err
		}
		now := time.Now()
		made := &pb.Override{
			Id: fmt.Sprintf("%x-%04x", now.UnixMilli(), rand.Uint32N(1<<16)), Action: pb.OverrideAction_OVERRIDE_ACTION_DRAIN,
			Scope: scope, Author: author(ctx, req.GetAuthor()), Reason: req.GetReason(), CreateTime: timestamppb.New(now),
		}
		if expireAfter > 0 {
			made.ExpireTime = timestamppb.New(now.Add(expireAfter))
		}
		e := catalog.Edit{SetOverrides: true, Overrides: []*pb.Override{made}, Subjects: []string{subject(made)}}
		for _, o := range v.Overrides {
			switch {
			case !isDrain(o, scope):
				e.Overrides = append(e.Overrides, o)
			case outlasts(made, o):
				e.Subjects = append(e.Subjects, subject(o))
			default:
				resp.Override = o
				return catalog.Edit{}, nil
			}
		}
		if len(e.Overrides) > maxOverrides {
			return catalog.Edit{}, status.Errorf(codes.ResourceExhausted, "%d overrides stand already", maxOverrides)
		}
		resp.Override = made
		return e, nil
	}
	out, err := s.change(ctx, c)
	if err != nil {
		return nil, err
	}
	resp.Generation = generation(out.Generation)
	resp.Convergence = s.wait(ctx, out, req.GetWait().AsDuration())
	return resp, nil
}

// UndrainRegion implements pb.RegionServiceServer.
func (s *Server) UndrainRegion(ctx context.Context, req *pb.UndrainRegionRequest) (*pb.UndrainRegionResponse, error) {
	scope := drainScope(req.GetRegion(), req.GetAvailabilityZone(), req.GetService())
	resp := &pb.UndrainRegionResponse{}
	out, err := s.change(ctx, change{
		id: req.GetRequestId(), action: "override-delete", reason: req.GetReason(), author: req.GetAuthor(), response: resp,
		request: &pb.UndrainRegionRequest{
			Region: scope.GetRegion(), AvailabilityZone: scope.GetAvailabilityZone(), Service: scope.GetService(),
			Reason: req.GetReason(), Author: req.GetAuthor(),
		},
		edit: func(v *catalog.Version) (catalog.Edit, error) {
			if err := mayDrain(ctx, v.Set, scope); err != nil {
				return catalog.Edit{}, err
			}
			e := catalog.Edit{SetOverrides: true}
			for _, o := range v.Overrides {
				if isDrain(o, scope) {
					resp.Removed = append(resp.Removed, o)
					e.Subjects = append(e.Subjects, subject(o))
					continue
				}
				e.Overrides = append(e.Overrides, o)
			}
			if len(resp.Removed) == 0 {
				// Nothing to do; but a name that is wrong shall be told.
				return catalog.Edit{}, checkScope(v.Set, scope)
			}
			return e, nil
		},
	})
	if err != nil {
		return nil, err
	}
	resp.Generation = generation(out.Generation)
	resp.Convergence = s.wait(ctx, out, req.GetWait().AsDuration())
	return resp, nil
}

// mayDrain checks the caller's scope.
func mayDrain(ctx context.Context, set *config.Set, scope *pb.OverrideScope) error {
	svc := set.Get(config.Key{Kind: config.KindService, Name: scope.GetService()}).GetService()
	return access.Drain(ctx, scope.GetRegion(), svc.GetSpec().GetZone(), scope.GetService())
}

func isDrain(o *pb.Override, scope *pb.OverrideScope) bool {
	return o.GetAction() == pb.OverrideAction_OVERRIDE_ACTION_DRAIN && proto.Equal(o.GetScope(), scope)
}

// outlasts tells whether a ends later than b.
func outlasts(a, b *pb.Override) bool {
	switch {
	case b.GetExpireTime() == nil:
		return false
	case a.GetExpireTime() == nil:
		return true
	}
	return a.GetExpireTime().AsTime().After(b.GetExpireTime().AsTime())
}

// expiry reads expire_after; 0 stands for never.
func expiry(d *durationpb.Duration) (time.Duration, error) {
	if d == nil {
		return 0, nil
	}
	if err := d.CheckValid(); err != nil {
		return 0, status.Errorf(codes.InvalidArgument, "expire_after: %v", err)
	}
	if d.AsDuration() < 0 || d.AsDuration() > maxExpiry {
		return 0, status.Errorf(codes.InvalidArgument, "expire_after: %v, want 0 (never) to %v", d.AsDuration(), maxExpiry)
	}
	return d.AsDuration(), nil
}

// ListOverrides implements pb.OverrideServiceServer.
func (s *Server) ListOverrides(context.Context, *pb.ListOverridesRequest) (*pb.ListOverridesResponse, error) {
	cur, err := s.current()
	if err != nil {
		return nil, err
	}
	return &pb.ListOverridesResponse{Overrides: cur.Overrides, Generation: generation(cur.Generation)}, nil
}

// ExpireOverrides removes the overrides whose time is over. Any number of
// controllers may do so at the same time.
func (s *Server) ExpireOverrides(ctx context.Context, now time.Time) error {
	expired := func(o *pb.Override) bool {
		return o.GetExpireTime() != nil && !now.Before(o.GetExpireTime().AsTime())
	}
	cur := s.opts.Planner.Current()
	if cur == nil {
		return nil
	}
	due := false
	for _, o := range cur.Overrides {
		due = due || expired(o)
	}
	if !due {
		return nil
	}
	req := catalog.Request{Actor: "controller/" + s.opts.Name, Action: "override-expire", Reason: "expired"}
	_, err := s.opts.Catalog.Change(ctx, req, func(v *catalog.Version) (catalog.Edit, error) {
		e := catalog.Edit{}
		for _, o := range v.Overrides {
			if expired(o) {
				e.SetOverrides = true
				e.Subjects = append(e.Subjects, subject(o))
				continue
			}
			e.Overrides = append(e.Overrides, o)
		}
		return e, nil
	})
	return err
}

func subject(o *pb.Override) string {
	s := o.GetScope()
	parts := []string{"overrides/" + o.GetId()}
	for _, p := range []struct{ kind, name string }{
		{"regions", s.GetRegion()}, {"availabilityzones", s.GetAvailabilityZone()},
		{"services", s.GetService()}, {"endpoints", s.GetEndpoint()},
	} {
		if p.name != "" {
			parts = append(parts, p.kind+"/"+p.name)
		}
	}
	return strings.Join(parts, " ")
}

func drainScope(region, availabilityZone, service string) *pb.OverrideScope {
	return &pb.OverrideScope{
		Region: strings.ToLower(region), AvailabilityZone: strings.ToLower(availabilityZone),
		Service: strings.ToLower(strings.TrimSuffix(service, ".")),
	}
}

// checkScope refuses names that are not there.
func checkScope(set *config.Set, scope *pb.OverrideScope) error {
	region := set.Get(config.Key{Kind: config.KindRegion, Name: scope.GetRegion()})
	if region == nil {
		return notFound("region", scope.GetRegion(), set.Names(config.KindRegion))
	}
	if az := scope.GetAvailabilityZone(); az != "" {
		known := region.GetRegion().GetSpec().GetAvailabilityZones()
		found := false
		for _, k := range known {
			found = found || k == az
		}
		if !found {
			return notFound("availability zone", az, known)
		}
	}
	if svc := scope.GetService(); svc != "" {
		r := set.Get(config.Key{Kind: config.KindService, Name: svc})
		if r == nil {
			return notFound("service", svc, set.Names(config.KindService))
		}
		for _, e := range r.GetService().GetSpec().GetEndpoints() {
			if e.GetRegion() == scope.GetRegion() {
				return nil
			}
		}
		return status.Errorf(codes.InvalidArgument, "service %q has no endpoint in region %q", svc, scope.GetRegion())
	}
	return nil
}

func notFound(kind, name string, known []string) error {
	if name == "" {
		return status.Errorf(codes.InvalidArgument, "%s: required", kind)
	}
	return status.Errorf(codes.InvalidArgument, "no %s %q%s", kind, name, config.Suggest(name, known))
}
