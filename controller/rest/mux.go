package rest

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	gateway "github.com/fairlead-dns/fairlead/proto/fairlead/v1/gateway"
	"github.com/fairlead-dns/fairlead/regions/config"
)

// watchPath is the one path that streams.
const watchPath = "/v1/watch"

// newMux makes the translator of all public services. No header becomes
// metadata and no metadata becomes a header: the in-process server trusts what
// comes in, and what goes out is for gRPC clients.
func (s *Server) newMux() (*runtime.ServeMux, error) {
	none := func(string) (string, bool) { return "", false }
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, newMarshaler(lines)),
		runtime.WithMarshalerOption(eventType, newMarshaler(events)),
		runtime.WithIncomingHeaderMatcher(none),
		runtime.WithOutgoingHeaderMatcher(none),
		runtime.WithOutgoingTrailerMatcher(none),
		runtime.WithMetadata(s.calls.annotate),
		runtime.WithMiddlewares(s.check),
		runtime.WithErrorHandler(handleError),
		runtime.WithRoutingErrorHandler(handleRoutingError),
		runtime.WithStreamErrorHandler(handleStreamError),
		// An escaped slash belongs to a name, and does not part it.
		runtime.WithUnescapingMode(runtime.UnescapingModeAllExceptSlash),
		// What a request does is what its method says.
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableChunkedEncoding(), // net/http does it
	)
	ctx, cc := context.Background(), connection{s}
	return mux, errors.Join(
		gateway.RegisterRegionServiceHandlerClient(ctx, mux, pb.NewRegionServiceClient(cc)),
		gateway.RegisterZoneServiceHandlerClient(ctx, mux, pb.NewZoneServiceClient(cc)),
		gateway.RegisterCatalogServiceHandlerClient(ctx, mux, pb.NewCatalogServiceClient(cc)),
		gateway.RegisterOverrideServiceHandlerClient(ctx, mux, pb.NewOverrideServiceClient(cc)),
		gateway.RegisterInsightServiceHandlerClient(ctx, mux, pb.NewInsightServiceClient(cc)),
	)
}

// choose prepares a request for the translator: HEAD is as GET, whose body
// net/http leaves out (RFC 9110 section 9.3.2), and events are for streams.
func choose(r *http.Request) {
	streams := r.URL.Path == watchPath
	if r.Method == http.MethodHead && !streams {
		r.Method = http.MethodGet
	}
	wantsEvents := strings.Contains(strings.Join(r.Header.Values("Accept"), ","), eventType)
	r.Header.Del("Accept")
	if streams && wantsEvents {
		r.Header.Set("Accept", eventType)
	}
}

// spellKind lets the kind in the path of an update be written as anywhere
// else (service, services, health-check): its routes have it as a literal.
func spellKind(r *http.Request) error {
	const prefix = "/v1/resources/"
	kind, _, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, prefix), "/")
	if r.Method != http.MethodPatch || !strings.HasPrefix(r.URL.Path, prefix) || !ok {
		return nil
	}
	known, err := config.ParseKind(kind)
	if err != nil {
		return err
	}
	for _, p := range []*string{&r.URL.Path, &r.URL.RawPath} {
		if rest, ok := strings.CutPrefix(*p, prefix+kind+"/"); ok {
			*p = prefix + known + "/" + rest
		}
	}
	return nil
}

// handleError answers a call that failed.
func handleError(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, err error) {
	var own *runtime.HTTPStatusError
	if errors.As(err, &own) {
		writeStatus(w, own.HTTPStatus, status.Convert(own.Err))
		return
	}
	st := status.Convert(err)
	writeStatus(w, runtime.HTTPStatusFromCode(st.Code()), st)
}

// handleStreamError is told of the end of a stream. What comes before the
// first message becomes an ordinary error; later it is the last line.
func handleStreamError(ctx context.Context, err error) *status.Status {
	st := status.Convert(err)
	if w, ok := ctx.Value(writerKey{}).(*writer); ok {
		w.failed = st
	}
	return st
}
