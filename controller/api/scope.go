package api

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fairlead-dns/fairlead/controller/access"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

// regionScope is the scope of a region, of an availability zone in it, or of what
// a service has there.
func regionScope(region, availabilityZone, service string) (*pb.OverrideScope, error) {
	s, err := canonicalScope(&pb.OverrideScope{Region: region, AvailabilityZone: availabilityZone, Service: service})
	if err == nil && s.GetRegion() == "" {
		err = status.Error(codes.InvalidArgument, "region: required")
	}
	return s, err
}

// canonicalScope is a scope as it is kept: of a region, of an availability zone
// in it, of a service in either, or of an endpoint, which is in one region by
// itself.
func canonicalScope(s *pb.OverrideScope) (*pb.OverrideScope, error) {
	if s == nil {
		return nil, status.Error(codes.InvalidArgument, "scope: required: a region, or a service and one of its endpoints")
	}
	if len(s.ProtoReflect().GetUnknown()) > 0 {
		return nil, status.Error(codes.InvalidArgument, "scope: has a field that this version does not know: ask a newer controller")
	}
	out := &pb.OverrideScope{
		Region: strings.ToLower(s.GetRegion()), AvailabilityZone: strings.ToLower(s.GetAvailabilityZone()),
		Service: strings.ToLower(strings.TrimSuffix(s.GetService(), ".")), Endpoint: strings.ToLower(s.GetEndpoint()),
	}
	switch {
	case out.Endpoint != "" && out.Service == "":
		return nil, status.Error(codes.InvalidArgument, "scope: an endpoint needs its service")
	case out.Endpoint != "" && out.Region+out.AvailabilityZone != "":
		return nil, status.Error(codes.InvalidArgument, "scope: an endpoint is in one region by itself: leave region and availability_zone out")
	case out.Endpoint == "" && out.Region == "":
		return nil, status.Error(codes.InvalidArgument, "scope: region: required, unless it is of one endpoint of a service")
	}
	return out, nil
}

// checkScope refuses names that are not there.
func checkScope(set *config.Set, scope *pb.OverrideScope) error {
	if name := scope.GetRegion(); name != "" {
		region := set.Get(config.Key{Kind: config.KindRegion, Name: name})
		if region == nil {
			return notFound("region", name, set.Names(config.KindRegion))
		}
		known := region.GetRegion().GetSpec().GetAvailabilityZones()
		if az := scope.GetAvailabilityZone(); az != "" && !slices.Contains(known, az) {
			return notFound("availability zone", az, known)
		}
	}
	if scope.GetService() == "" {
		return nil
	}
	service := serviceOf(set, scope)
	if service == nil {
		var known []string
		if set.Count(config.KindService) <= maxSuggest {
			known = set.Names(config.KindService)
		}
		return notFound("service", scope.GetService(), known)
	}
	var endpoints []string
	for _, e := range service.GetSpec().GetEndpoints() {
		switch {
		case scope.GetEndpoint() != "" && scope.GetEndpoint() != e.GetName():
		case scope.GetRegion() != "" && scope.GetRegion() != e.GetRegion():
		case scope.GetAvailabilityZone() != "" && scope.GetAvailabilityZone() != e.GetAvailabilityZone():
		default:
			return nil
		}
		endpoints = append(endpoints, e.GetName())
	}
	switch {
	case scope.GetEndpoint() != "":
		return notFound("endpoint", scope.GetEndpoint(), endpoints)
	case scope.GetAvailabilityZone() != "":
		return status.Errorf(codes.InvalidArgument, "service %q has no endpoint in availability zone %q of region %q", scope.GetService(), scope.GetAvailabilityZone(), scope.GetRegion())
	default:
		return status.Errorf(codes.InvalidArgument, "service %q has no endpoint in region %q", scope.GetService(), scope.GetRegion())
	}
}

func serviceOf(set *config.Set, scope *pb.OverrideScope) *pb.Service {
	return set.Get(config.Key{Kind: config.KindService, Name: scope.GetService()}).GetService()
}

func notFound(kind, name string, known []string) error {
	suggestion := ""
	if known != nil {
		suggestion = config.Suggest(name, known)
	}
	return status.Errorf(codes.InvalidArgument, "no %s %.255q%s", kind, name, suggestion)
}

// mayOverride checks the caller's scope. That of an endpoint is its region's.
func mayOverride(ctx context.Context, set *config.Set, scope *pb.OverrideScope) error {
	service, region := serviceOf(set, scope), scope.GetRegion()
	for _, e := range service.GetSpec().GetEndpoints() {
		if region == "" && e.GetName() == scope.GetEndpoint() {
			region = e.GetRegion()
		}
	}
	return access.Drain(ctx, region, service.GetSpec().GetZone(), scope.GetService())
}

// within tells whether whatever is in a scope is in another one too.
func within(inner, outer *pb.OverrideScope) bool {
	in := func(inner, outer string) bool { return outer == "" || inner == outer }
	return in(inner.GetRegion(), outer.GetRegion()) && in(inner.GetAvailabilityZone(), outer.GetAvailabilityZone()) &&
		in(inner.GetService(), outer.GetService()) && in(inner.GetEndpoint(), outer.GetEndpoint())
}

// located is a scope with the place of its endpoint, if it is of one that is there.
func located(set *config.Set, s *pb.OverrideScope) *pb.OverrideScope {
	for _, e := range serviceOf(set, s).GetSpec().GetEndpoints() {
		if e.GetName() == s.GetEndpoint() {
			return &pb.OverrideScope{Region: e.GetRegion(), AvailabilityZone: e.GetAvailabilityZone(), Service: s.GetService(), Endpoint: s.GetEndpoint()}
		}
	}
	return s
}

// meet tells whether anything may be in both of two scopes, which are located.
func meet(set *config.Set, a, b *pb.OverrideScope) bool {
	one := func(a, b string) bool { return a == "" || b == "" || a == b }
	both := &pb.OverrideScope{
		Region: cmp.Or(a.GetRegion(), b.GetRegion()), AvailabilityZone: cmp.Or(a.GetAvailabilityZone(), b.GetAvailabilityZone()),
		Service: cmp.Or(a.GetService(), b.GetService()), Endpoint: cmp.Or(a.GetEndpoint(), b.GetEndpoint()),
	}
	return one(a.GetRegion(), b.GetRegion()) && one(a.GetAvailabilityZone(), b.GetAvailabilityZone()) &&
		one(a.GetService(), b.GetService()) && one(a.GetEndpoint(), b.GetEndpoint()) && checkScope(set, both) == nil
}

// subjects name overrides in the audit trail.
func subjects(overrides ...*pb.Override) []string {
	var out []string
	for _, o := range overrides {
		out = append(out, "overrides/"+o.GetId()+" "+scopeText(o.GetScope()))
	}
	return out
}

// scopeText is a scope as keys, as regions/eu-west services/www.example.test.
func scopeText(s *pb.OverrideScope) string {
	var parts []string
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
