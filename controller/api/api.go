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
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fairlead-dns/fairlead/controller/catalog"
	"github.com/fairlead-dns/fairlead/controller/feed"
	"github.com/fairlead-dns/fairlead/controller/planner"
	"github.com/fairlead-dns/fairlead/controller/store"
	"github.com/fairlead-dns/fairlead/controller/verdicts"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/geo"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

// Options is what the API needs.
type Options struct {
	Name, Version string
	Catalog       *catalog.Catalog
	Planner       *planner.Planner
	Judge         *verdicts.Judge
	Feed          *feed.Server
	Geo           *geo.Database
	// Certificates are this controller's own and the CAs behind them; optional.
	Certificates func(now time.Time) []*pb.CertificateStatus
	Log          *slog.Logger
}

// Server implements the public services.
type Server struct {
	pb.UnimplementedCatalogServiceServer
	pb.UnimplementedRegionServiceServer
	pb.UnimplementedZoneServiceServer
	pb.UnimplementedOverrideServiceServer
	pb.UnimplementedInsightServiceServer

	opts Options
	geo  atomic.Pointer[geo.Database]

	viewMu sync.Mutex
	view   builtView
	states targetStates

	watchers     atomic.Int64
	eventStreams atomic.Int64
	retried      atomic.Uint32 // whose turn it is, see turns
	stopped      chan struct{} // closed when Run returns
}

// New returns a server of the public services.
func New(o Options) *Server {
	s := &Server{opts: o, stopped: make(chan struct{})}
	s.geo.Store(o.Geo)
	return s
}

// Register registers the services.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	pb.RegisterCatalogServiceServer(r, s)
	pb.RegisterRegionServiceServer(r, s)
	pb.RegisterZoneServiceServer(r, s)
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

// toStatus maps errors to gRPC codes; it is the only place that does.
func toStatus(err error) error {
	if err == nil {
		return nil
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
	// Before what is a status already: the store's errors hold etcd's.
	for _, m := range codeOf {
		if errors.Is(err, m.err) {
			return status.Error(m.code, m.say+err.Error())
		}
	}
	if _, ok := status.FromError(err); ok {
		return err
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
	{store.ErrDenied, codes.PermissionDenied, "nothing was written: "},
	{store.ErrConflict, codes.Aborted, "nothing was written; others are changing the configuration at the same time: "},
	{store.ErrCollected, codes.Aborted, "nothing was written; old objects are being removed at the same time: "},
	{store.ErrPageToken, codes.InvalidArgument, "page_token: "},
	{store.ErrPosition, codes.InvalidArgument, "after: "},
	{store.ErrTrimmed, codes.OutOfRange, ""},
	{catalog.ErrNotKept, codes.NotFound, ""},
	{catalog.ErrOverridesFull, codes.ResourceExhausted, "nothing was written: "},
	{catalog.ErrLineage, codes.FailedPrecondition, "nothing was written: "},
	{catalog.ErrOtherRequest, codes.AlreadyExists, "nothing was written: "},
	{store.ErrEpoch, codes.FailedPrecondition, "nothing was written: "},
	{store.ErrMalformedHead, codes.DataLoss, "nothing was written: "},
	{store.ErrMissingObject, codes.DataLoss, "nothing was written: "},
	{store.ErrAlteredObject, codes.DataLoss, "nothing was written: "},
	{plan.ErrDamaged, codes.DataLoss, "nothing was written: "},
	{context.DeadlineExceeded, codes.DeadlineExceeded, ""},
	{context.Canceled, codes.Canceled, ""},
}

// The detail of one error is bounded, since it travels in a header.
const (
	maxViolations  = 100
	maxDescription = 1024 // bytes
)

func shorten(text string) string { return cut(text, maxDescription) }

// cut is a text, or so many bytes of it.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most-len("…")], "") + "…"
}

func badRequest(fields config.Errors) error {
	detail := &errdetails.BadRequest{}
	for i, f := range fields {
		if i == maxViolations {
			detail.FieldViolations = append(detail.FieldViolations, &errdetails.BadRequest_FieldViolation{
				Description: fmt.Sprintf("and %d errors more", len(fields)-i),
			})
			break
		}
		detail.FieldViolations = append(detail.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: shorten(f.Field()), Description: shorten(f.Message)})
	}
	what := "1 error"
	if len(fields) != 1 {
		what = fmt.Sprintf("%d errors", len(fields))
	}
	st, err := status.New(codes.InvalidArgument, "refused, nothing was changed: "+what+", the first: "+shorten(fields[0].Error())).WithDetails(detail)
	if err != nil {
		return status.Error(codes.InvalidArgument, shorten(fields.Error()))
	}
	return st.Err()
}
