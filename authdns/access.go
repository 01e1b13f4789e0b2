package authdns

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"github.com/fairlead-dns/fairlead/regions/identity"
)

// least is, by method, the least role that may call it: all that a nameserver
// serves by gRPC is for people. What is not named here is denied.
var least = map[string]identity.Role{
	"/fairlead.v1.InsightService/Explain":                identity.Viewer,
	"/fairlead.v1.BreakGlassService/ListBreakGlass":      identity.Viewer,
	"/fairlead.v1.BreakGlassService/CreateBreakGlass":    identity.Operator,
	"/fairlead.v1.BreakGlassService/EndBreakGlassRecord": identity.Operator,
}

type callerKey struct{}

// caller is who calls. Without TLS everybody is an admin, on loopback.
func caller(ctx context.Context) identity.Identity {
	id, _ := ctx.Value(callerKey{}).(identity.Identity)
	return id
}

// anyone identifies callers where there is no TLS.
func anyone(context.Context) (identity.Identity, error) {
	return identity.Identity{Role: identity.Admin, Name: "anonymous"}, nil
}

// identified is a call's context with its caller, once.
func identified(ctx context.Context, identify func(context.Context) (identity.Identity, error)) (context.Context, error) {
	if _, known := ctx.Value(callerKey{}).(identity.Identity); known { // by atDoor
		return ctx, nil
	}
	id, err := identify(ctx)
	if err != nil {
		return ctx, status.Errorf(codes.Unauthenticated, "%v", err)
	}
	return context.WithValue(ctx, callerKey{}, id), nil
}

// check tells whether a caller may call a method at all. His scope is checked
// where what he changes is known.
func check(ctx context.Context, method string) error {
	id := caller(ctx)
	switch role, served := least[method]; {
	case !served:
		return status.Errorf(codes.PermissionDenied, "%s is open to nobody at a nameserver", method)
	case !id.Role.AtLeast(role):
		return status.Errorf(codes.PermissionDenied, "%s: %s needs %s or above", id, method, role)
	}
	return nil
}

// atDoor checks every call by its headers, before any message of it is read.
// What the matrix does not name goes on: unary denies it if it is served; if
// not, the caller is told that.
func atDoor(identify func(context.Context) (identity.Identity, error)) tap.ServerInHandle {
	return func(ctx context.Context, info *tap.Info) (context.Context, error) {
		ctx, err := identified(ctx, identify)
		if _, served := least[info.FullMethodName]; err != nil || !served {
			return ctx, err
		}
		return ctx, check(ctx, info.FullMethodName)
	}
}

// unary checks every unary call.
func unary(identify func(context.Context) (identity.Identity, error)) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		ctx, err := identified(ctx, identify)
		if err == nil {
			err = check(ctx, info.FullMethod)
		}
		if err != nil {
			return nil, err
		}
		return handler(ctx, req)
	}
}

// streams denies every stream: a nameserver serves none.
func streams(_ any, _ grpc.ServerStream, info *grpc.StreamServerInfo, _ grpc.StreamHandler) error {
	return status.Errorf(codes.PermissionDenied, "%s is open to nobody at a nameserver", info.FullMethod)
}
