// Package access decides who may call what: one matrix of RPC and role, and
// the scope of the caller's certificate against what a call changes. What the
// matrix does not name is denied. It may import regions/identity, regions/config
// and the proto; who calls comes from the gRPC connection.
package access

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

// Identify says who calls, from what its connection and its token prove. An
// error refuses the call, as UNAUTHENTICATED when it is no gRPC status.
type Identify func(ctx context.Context) (identity.Identity, error)

// Anyone is an Identify for a server without TLS: everybody may do everything.
func Anyone(context.Context) (identity.Identity, error) {
	return identity.Identity{Role: identity.Admin, Name: "anonymous"}, nil
}

// least is, by method, the least role of a person, or the one role of a
// program.
var least = map[string]identity.Role{
	"/fairlead.v1.AgentService/Report":      identity.Agent,
	"/fairlead.v1.FeedService/Subscribe":    identity.Nameserver,
	"/fairlead.v1.FeedService/FetchObjects": identity.Nameserver,

	"/fairlead.v1.CatalogService/ListResources":        identity.Viewer,
	"/fairlead.v1.CatalogService/GetResource":          identity.Viewer,
	"/fairlead.v1.CatalogService/ListGenerations":      identity.Viewer,
	"/fairlead.v1.CatalogService/DiffGenerations":      identity.Viewer,
	"/fairlead.v1.RegionService/GetRegion":             identity.Viewer,
	"/fairlead.v1.RegionService/ListRegions":           identity.Viewer,
	"/fairlead.v1.ZoneService/GetZone":                 identity.Viewer,
	"/fairlead.v1.ZoneService/ListZones":               identity.Viewer,
	"/fairlead.v1.OverrideService/ListOverrides":       identity.Viewer,
	"/fairlead.v1.OverrideService/GetOverrideProgress": identity.Viewer,
	"/fairlead.v1.InsightService/Explain":              identity.Viewer,
	"/fairlead.v1.InsightService/GetStatus":            identity.Viewer,
	"/fairlead.v1.InsightService/Watch":                identity.Viewer,
	"/fairlead.v1.InsightService/ListEvents":           identity.Viewer,
	"/fairlead.v1.InsightService/StreamEvents":         identity.Viewer,
	"/fairlead.v1.InsightService/GetHistory":           identity.Viewer,

	"/fairlead.v1.RegionService/DrainRegion":      identity.Operator,
	"/fairlead.v1.RegionService/UndrainRegion":    identity.Operator,
	"/fairlead.v1.OverrideService/CreateOverride": identity.Operator,
	"/fairlead.v1.OverrideService/DeleteOverride": identity.Operator,
	"/fairlead.v1.OverrideService/EndBreakGlass":  identity.Operator,
	"/fairlead.v1.OverrideService/ReleaseLatch":   identity.Operator,

	"/fairlead.v1.CatalogService/Apply":              identity.Admin,
	"/fairlead.v1.CatalogService/UpdateResource":     identity.Admin,
	"/fairlead.v1.CatalogService/DeleteResource":     identity.Admin,
	"/fairlead.v1.CatalogService/RollbackGeneration": identity.Admin,

	"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":      identity.Viewer,
	"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": identity.Viewer,
	"/grpc.health.v1.Health/Check":                                   identity.Viewer,
	"/grpc.health.v1.Health/List":                                    identity.Viewer,
	"/grpc.health.v1.Health/Watch":                                   identity.Viewer,
}

// Needs is the least role of a person, or the one role of a program, that may
// call a method; false when nobody may.
func Needs(method string) (identity.Role, bool) {
	role, known := least[method]
	return role, known
}

// Check tells whether a caller may call a method at all. Its scope is checked
// where what it changes is known.
func Check(method string, caller identity.Identity) error {
	role, known := least[method]
	switch {
	case !known:
		return status.Errorf(codes.PermissionDenied, "%s is open to nobody", method)
	case caller.Role == role, role.Person() && caller.Role.AtLeast(role):
		return nil
	case isAnyone(caller):
		return nil
	case role.Person():
		return status.Errorf(codes.PermissionDenied, "%s is %s; %s needs %s or above", caller, article(caller.Role), method, role)
	default:
		return status.Errorf(codes.PermissionDenied, "%s is %s; %s is for the role %s", caller, article(caller.Role), method, role)
	}
}

// isAnyone tells whether Anyone identified the caller: a server without TLS
// knows no agents from admins. No certificate has an identity without a trust
// domain.
func isAnyone(id identity.Identity) bool { return id.Role == identity.Admin && id.TrustDomain == "" }

func article(r identity.Role) string {
	s := r.String()
	if strings.ContainsAny(s[:1], "aeiou") {
		return "an " + s
	}
	return "a " + s
}

type callerKey struct{}

// Caller is who calls, as an interceptor found it.
func Caller(ctx context.Context) identity.Identity {
	id, _ := ctx.Value(callerKey{}).(identity.Identity)
	return id
}

// With returns a context in which the caller is id.
func With(ctx context.Context, id identity.Identity) context.Context {
	return context.WithValue(ctx, callerKey{}, id)
}

// Peer is where a call comes from, for the audit: the caller's address, and
// whether it was a token that said who calls.
func Peer(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr == nil {
		return ""
	}
	if Caller(ctx).Token {
		return p.Addr.String() + " by token"
	}
	return p.Addr.String()
}

// Unary checks every unary call.
func Unary(identify Identify) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		ctx, err := admit(ctx, identify, info.FullMethod)
		if err != nil {
			return nil, err
		}
		return handler(ctx, req)
	}
}

// Stream checks every stream.
func Stream(identify Identify) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		ctx, err := admit(stream.Context(), identify, info.FullMethod)
		if err != nil {
			return err
		}
		return handler(srv, admitted{stream, ctx})
	}
}

// Tap checks every call and stream by its headers, before any message of it is
// read: whoever may not call a method makes the server hold nothing for him. The
// interceptors then find who calls. What the matrix does not name goes on to
// them, who deny it if it is served; if not, the caller is told that.
func Tap(identify Identify) tap.ServerInHandle {
	return func(ctx context.Context, info *tap.Info) (context.Context, error) {
		if _, known := Needs(info.FullMethodName); known {
			return admit(ctx, identify, info.FullMethodName)
		}
		return identified(ctx, identify)
	}
}

func admit(ctx context.Context, identify Identify, method string) (context.Context, error) {
	ctx, err := identified(ctx, identify)
	if err != nil {
		return ctx, err
	}
	return ctx, Check(method, Caller(ctx))
}

// identified is a call's context with its caller, once.
func identified(ctx context.Context, identify Identify) (context.Context, error) {
	if _, known := ctx.Value(callerKey{}).(identity.Identity); known { // by Tap
		return ctx, nil
	}
	id, err := identify(ctx)
	if err == nil {
		return With(ctx, id), nil
	}
	if _, ok := status.FromError(err); !ok {
		err = status.Errorf(codes.Unauthenticated, "%v", err)
	}
	return ctx, err
}

type admitted struct {
	grpc.ServerStream
	ctx context.Context
}

func (a admitted) Context() context.Context { return a.ctx }

// Agent refuses an agent that claims another name or region than its
// certificate's.
func Agent(ctx context.Context, name, region string) error {
	return claims(ctx, identity.Agent, name, region)
}

// Nameserver refuses a nameserver that claims another name or region than its
// certificate's.
func Nameserver(ctx context.Context, name, region string) error {
	return claims(ctx, identity.Nameserver, name, region)
}

func claims(ctx context.Context, role identity.Role, name, region string) error {
	id := Caller(ctx)
	if isAnyone(id) {
		return nil
	}
	if id.Role != role || id.Name != name || id.Region != region {
		return status.Errorf(codes.PermissionDenied, "the certificate says %s; it cannot speak for %s %q of region %q", id, role, name, region)
	}
	return nil
}

// Drain refuses a drain or undrain outside the caller's scope; zone and
// service are empty for a whole region.
func Drain(ctx context.Context, region, zone, service string) error {
	id := Caller(ctx)
	if err := mustBePerson(id); err != nil {
		return err
	}
	if service == "" {
		if !id.Scope.AllowsRegion(region) {
			return outside(id, "region "+region)
		}
		return nil
	}
	if !id.Scope.AllowsService(zone, service, []string{region}) {
		return outside(id, fmt.Sprintf("service %s in region %s", service, region))
	}
	return nil
}

// Everything refuses whoever's scope has limits: what a call changes concerns
// all regions and services.
func Everything(ctx context.Context, what string) error {
	id := Caller(ctx)
	if err := mustBePerson(id); err != nil {
		return err
	}
	if !id.Scope.All() {
		return outside(id, what)
	}
	return nil
}

// Changes refuses changes of configuration outside the caller's scope: what
// belongs to no zone, service or region needs one without limits.
func Changes(ctx context.Context, changes []*pb.Change) error {
	id := Caller(ctx)
	if err := mustBePerson(id); err != nil {
		return err
	}
	if id.Scope.All() {
		return nil
	}
	for _, c := range changes {
		for _, r := range []*pb.Resource{c.GetBefore(), c.GetAfter()} {
			if r != nil && !mayChange(id.Scope, r) {
				return outside(id, config.KeyOf(r).String())
			}
		}
	}
	return nil
}

// mustBePerson refuses whoever has no scope: the empty scope of a program, or of
// nobody, is no permission.
func mustBePerson(id identity.Identity) error {
	if id.Role.Person() {
		return nil
	}
	if id.Role == identity.None {
		return status.Error(codes.PermissionDenied, "it is not known who calls")
	}
	return status.Errorf(codes.PermissionDenied, "%s changes nothing: that is for operators and admins", id)
}

func mayChange(scope identity.Scope, r *pb.Resource) bool {
	switch k := r.GetKind().(type) {
	case *pb.Resource_Zone:
		return scope.AllowsZone(k.Zone.GetMetadata().GetName())
	case *pb.Resource_Service:
		return scope.AllowsService(k.Service.GetSpec().GetZone(), k.Service.GetMetadata().GetName(), nil)
	default:
		return false
	}
}

func outside(id identity.Identity, what string) error {
	return status.Errorf(codes.PermissionDenied, "%s is outside the scope of %s (%s)", what, id, id.Scope)
}
