// Package api serves the public gRPC services of a controller. It may import
// the controller's other packages and the pure ones. Reads are answered from
// the generation that is published, so that they go on without etcd; writes
// go to etcd and fail at once when it has no quorum.
package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/fairlead-dns/fairlead/controller/catalog"
	"github.com/fairlead-dns/fairlead/controller/feed"
	"github.com/fairlead-dns/fairlead/controller/planner"
	"github.com/fairlead-dns/fairlead/controller/store"
	"github.com/fairlead-dns/fairlead/controller/verdicts"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/geo"
)

// maxWait bounds how long a call may wait for nameservers.
const maxWait = 5 * time.Minute

// Options is what the API needs.
type Options struct {
	Name, Version string
	Catalog       *catalog.Catalog
	Planner       *planner.Planner
	Judge         *verdicts.Judge
	Feed          *feed.Server
	Geo           *geo.Database
	Log           *slog.Logger
}

// Server implements the public services.
type Server struct {
	pb.UnimplementedCatalogServiceServer
	pb.UnimplementedRegionServiceServer
	pb.UnimplementedOverrideServiceServer
	pb.UnimplementedInsightServiceServer

	opts Options
	geo  atomic.Pointer[geo.Database]

	viewMu sync.Mutex
	view   builtView
}

// New returns a server of the public services.
func New(o Options) *Server {
	s := &Server{opts: o}
	s.geo.Store(o.Geo)
	return s
}

// Register registers the services.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	pb.RegisterCatalogServiceServer(r, s)
	pb.RegisterRegionServiceServer(r, s)
	pb.RegisterOverrideServiceServer(r, s)
	pb.RegisterInsightServiceServer(r, s)
}

// SetGeo hands over new geo data.
func (s *Server) SetGeo(db *geo.Database) { s.geo.Store(db) }

// current is the published generation, or an error that says why there is none.
func (s *Server) current() (*planner.Current, error) {
	cur := s.opts.Planner.Current()
	switch {
	case cur != nil:
		return cur, nil
	case s.opts.Planner.Refusal() != "":
		return nil, status.Errorf(codes.FailedPrecondition, "no generation is published: %s", s.opts.Planner.Refusal())
	case !s.opts.Planner.StoreAvailable():
		return nil, status.Error(codes.Unavailable, "no generation is published: etcd does not answer")
	default:
		return nil, status.Error(codes.FailedPrecondition, "nothing is configured: begin with `fairlead apply -f FILE`")
	}
}

// request describes the caller of a change for the audit event.
func request(ctx context.Context, id, action, reason, author string) catalog.Request {
	r := catalog.Request{ID: id, Action: action, Reason: reason, Actor: author}
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		r.Peer = p.Addr.String()
	}
	if r.Actor == "" {
		r.Actor = "anonymous"
	}
	return r
}

// wait waits for nameservers to serve a version.
func (s *Server) wait(ctx context.Context, v *catalog.Version, d time.Duration) *pb.Convergence {
	if d <= 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, min(d, maxWait))
	defer cancel()
	return s.opts.Feed.Wait(ctx, v.Generation, v.Set.Names(config.KindNameserver))
}

func generation(v *catalog.Version) *pb.Generation {
	return &pb.Generation{Epoch: v.Generation.Epoch, Revision: v.Generation.Revision}
}

// toStatus maps errors to gRPC codes; it is the only place that does.
func toStatus(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	var fields config.Errors
	var field config.FieldError
	switch {
	case errors.As(err, &fields):
	case errors.As(err, &field):
		fields = config.Errors{field}
	}
	if len(fields) > 0 {
		return badRequest(fields)
	}
	for _, m := range codeOf {
		if errors.Is(err, m.err) {
			return status.Error(m.code, m.say+err.Error())
		}
	}
	return status.Error(codes.Internal, err.Error())
}

var codeOf = []struct {
	err  error
	code codes.Code
	say  string
}{
	{store.ErrUnknownOutcome, codes.Unknown, "it is not known whether the change was made; repeat it with the same request id: "},
	{store.ErrUnavailable, codes.Unavailable, "nothing was written; etcd does not answer or has no quorum: "},
	{store.ErrFull, codes.ResourceExhausted, "nothing was written: "},
	{store.ErrDenied, codes.PermissionDenied, ""},
	{store.ErrConflict, codes.Aborted, "nothing was written; others are changing the configuration at the same time: "},
	{store.ErrMissingObject, codes.DataLoss, ""},
	{store.ErrAlteredObject, codes.DataLoss, ""},
	{context.DeadlineExceeded, codes.DeadlineExceeded, ""},
	{context.Canceled, codes.Canceled, ""},
}

// maxViolations bounds the detail of one error, so that it fits a header.
const maxViolations = 100

func badRequest(fields config.Errors) error {
	detail := &errdetails.BadRequest{}
	for i, f := range fields {
		if i == maxViolations {
			detail.FieldViolations = append(detail.FieldViolations, &errdetails.BadRequest_FieldViolation{
				Description: fmt.Sprintf("and %d errors more", len(fields)-i),
			})
			break
		}
		detail.FieldViolations = append(detail.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: f.Field(), Description: f.Message})
	}
	what := "1 error"
	if len(fields) != 1 {
		what = fmt.Sprintf("%d errors", len(fields))
	}
	st, err := status.New(codes.InvalidArgument, "refused, nothing was changed: "+what+", the first: "+fields[0].Error()).WithDetails(detail)
	if err != nil {
		return status.Error(codes.InvalidArgument, fields.Error())
	}
	return st.Err()
}
