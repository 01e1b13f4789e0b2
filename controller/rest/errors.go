package rest

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
)

// writeStatus answers with an error: a google.rpc.Status as JSON.
func writeStatus(w http.ResponseWriter, httpStatus int, st *status.Status) {
	body, err := protojson.Marshal(st.Proto())
	if err != nil { // a detail of a type that is not known here
		p := st.Proto()
		p.Details = nil
		p.Message = strings.ToValidUTF8(p.GetMessage(), "\uFFFD")
		body, _ = protojson.Marshal(p)
	}
	h := w.Header()
	h.Set("Content-Type", jsonType)
	advise(h, httpStatus, st)
	h.Del("Content-Length")
	w.WriteHeader(httpStatus)
	_, _ = w.Write(append(body, '\n'))
}

// challenge says what an UNAUTHENTICATED lacks. RFC 9110 section 15.5.2 wants a
// challenge in every 401, and there is no registered scheme for certificates:
// they are asked for in the TLS handshake.
const challenge = `TLS-Client-Certificate realm="fairlead"`

// advise sets the header fields that say what to do about an error: when to
// ask again, from the google.rpc.RetryInfo in it (RFC 9110 section 10.2.3, whole
// seconds), and what to show.
func advise(h http.Header, httpStatus int, st *status.Status) {
	if httpStatus == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", challenge)
	}
	for _, d := range st.Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok {
			wait := r.GetRetryDelay().AsDuration()
			h.Set("Retry-After", strconv.FormatInt(max(1, int64((wait+time.Second-1)/time.Second)), 10))
		}
	}
}

// refuse answers with an error of this package's own.
func refuse(w http.ResponseWriter, httpStatus int, code codes.Code, message string) {
	writeStatus(w, httpStatus, status.New(code, message))
}

func notAllowed(w http.ResponseWriter, method string, allowed []string) {
	w.Header().Set("Allow", strings.Join(allowed, ", ")) // RFC 9110 section 15.5.6
	refuse(w, http.StatusMethodNotAllowed, codes.Unimplemented,
		fmt.Sprintf("%.20s is not for this path; want %s", method, strings.Join(allowed, " or ")))
}

func notFound(w http.ResponseWriter) {
	refuse(w, http.StatusNotFound, codes.NotFound, "there is no such path; GET "+openAPIPath+" lists all")
}

// probed marks a request that only asks whether there is a route.
type probed struct{}

// handleRoutingError answers a request that has no route.
func handleRoutingError(ctx context.Context, mux *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, httpStatus int) {
	if ctx.Value(probed{}) != nil {
		return
	}
	switch httpStatus {
	case http.StatusMethodNotAllowed:
		notAllowed(w, r.Method, allowedMethods(ctx, mux, r))
	case http.StatusNotFound:
		notFound(w)
	default:
		refuse(w, http.StatusBadRequest, codes.InvalidArgument, "the path is malformed; want one as /v1/regions")
	}
}

// allowedMethods asks the translator itself which methods a path has.
func allowedMethods(ctx context.Context, mux *runtime.ServeMux, r *http.Request) []string {
	var out []string
	for _, m := range []string{http.MethodDelete, http.MethodGet, http.MethodPatch, http.MethodPost} {
		var found bool
		probe := r.Clone(context.WithValue(ctx, probed{}, &found))
		probe.Method = m
		mux.ServeHTTP(discard{}, probe)
		if found {
			out = append(out, m)
		}
	}
	if slices.Contains(out, http.MethodGet) && r.URL.Path != watchPath {
		out = append(out, http.MethodHead)
	}
	slices.Sort(out)
	return out
}

// discard is where the answer to a probe goes.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}
