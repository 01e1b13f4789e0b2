package authdns

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fairlead-dns/fairlead/regions/identity"
)

// people lets those in who may look, and denies everybody else: all that a
// nameserver serves by gRPC is for people.
func people(identify func(context.Context) (identity.Identity, error)) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		id, err := identify(ctx)
		if err != nil {
			return nil, status.Errorf(codes.Unauthenticated, "%v", err)
		}
		if !id.Role.AtLeast(identity.Viewer) {
			return nil, status.Errorf(codes.PermissionDenied, "%s: %s needs %s or above", id, info.FullMethod, identity.Viewer)
		}
		return handler(ctx, req)
	}
}
