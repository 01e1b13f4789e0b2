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
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead-dns/fairlead/controller/catalog"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

const (
	maxReason = 1024
	// maxOverrides bounds the set: every one is held against every endpoint
	// when a plan is evaluated.
	maxOverrides = 1000
)

// DrainRegion implements pb.RegionServiceServer.
func (s *Server) DrainRegion(ctx context.Context, req *pb.DrainRegionRequest) (*pb.DrainRegionResponse, error) {
	if err := checkReason(req.GetReason(), req.GetAuthor()); err != nil {
		return nil, err
	}
	if d := req.GetExpireAfter(); d != nil && d.AsDuration() < 0 {
		return nil, status.Errorf(codes.InvalidArgument, "expire_after: %v is in the past", d.AsDuration())
	}
	scope := drainScope(req.GetRegion(), req.GetAvailabilityZone(), req.GetService())
	var made *pb.Override
	r := request(ctx, req.GetRequestId(), "override-create", req.GetReason(), req.GetAuthor())
	v, err := s.opts.Catalog.Change(ctx, r, func(v *catalog.Version) (catalog.Edit, error) {
		if err := checkScope(v.Set, scope); err != nil {
			return catalog.Edit{}, err
		}
		for _, o := range v.Overrides {
			if o.GetAction() == pb.OverrideAction_OVERRIDE_ACTION_DRAIN && proto.Equal(o.GetScope(), scope) {
				made = o
				return catalog.Edit{}, nil
			}
		}
		if len(v.Overrides) >= maxOverrides {
			return catalog.Edit{}, status.Errorf(codes.ResourceExhausted, "%d overrides stand already", len(v.Overrides))
		}
		now := time.Now()
		made = &pb.Override{
			Id: fmt.Sprintf("%x-%04x", now.UnixMilli(), rand.Uint32N(1<<16)), Action: pb.OverrideAction_OVERRIDE_ACTION_DRAIN,
			Scope: scope, Author: r.Actor, Reason: req.GetReason(), CreateTime: timestamppb.New(now),
		}
		if d := req.GetExpireAfter().AsDuration(); d > 0 {
			made.ExpireTime = timestamppb.New(now.Add(d))
		}
		return catalog.Edit{
			SetOverrides: true, Overrides: append(append([]*pb.Override(nil), v.Overrides...), made),
			Subjects: []string{subject(made)},
		}, nil
	})
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.DrainRegionResponse{Override: made, Generation: generation(v), Convergence: s.wait(ctx, v, req.GetWait().AsDuration())}, nil
}

// UndrainRegion implements pb.RegionServiceServer.
func (s *Server) UndrainRegion(ctx context.Context, req *pb.UndrainRegionRequest) (*pb.UndrainRegionResponse, error) {
	scope := drainScope(req.GetRegion(), req.GetAvailabilityZone(), req.GetService())
	var removed []*pb.Override
	r := request(ctx, req.GetRequestId(), "override-delete", req.GetReason(), req.GetAuthor())
	v, err := s.opts.Catalog.Change(ctx, r, func(v *catalog.Version) (catalog.Edit, error) {
		removed = nil
		e := catalog.Edit{SetOverrides: true}
		for _, o := range v.Overrides {
			if o.GetAction() == pb.OverrideAction_OVERRIDE_ACTION_DRAIN && proto.Equal(o.GetScope(), scope) {
				removed = append(removed, o)
				e.Subjects = append(e.Subjects, subject(o))
				continue
			}
			e.Overrides = append(e.Overrides, o)
		}
		if len(removed) == 0 {
			// Nothing to do; but a name that is wrong shall be told.
			return catalog.Edit{}, checkScope(v.Set, scope)
		}
		return e, nil
	})
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.UndrainRegionResponse{Removed: removed, Generation: generation(v), Convergence: s.wait(ctx, v, req.GetWait().AsDuration())}, nil
}

// ListOverrides implements pb.OverrideServiceServer.
func (s *Server) ListOverrides(context.Context, *pb.ListOverridesRequest) (*pb.ListOverridesResponse, error) {
	cur, err := s.current()
	if err != nil {
		return nil, err
	}
	return &pb.ListOverridesResponse{Overrides: cur.Overrides, Generation: generation(cur.Version)}, nil
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

func checkReason(reason, author string) error {
	switch {
	case strings.TrimSpace(reason) == "":
		return status.Error(codes.InvalidArgument, "reason: required: say why, for those who find it later (--reason)")
	case len(reason) > maxReason:
		return status.Errorf(codes.InvalidArgument, "reason: %d bytes, at most %d", len(reason), maxReason)
	case len(author) > maxReason:
		return status.Errorf(codes.InvalidArgument, "author: %d bytes, at most %d", len(author), maxReason)
	}
	return nil
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
