package rest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/codes"
)

const (
	maxBody      = 1 << 20
	maxApplyBody = 64 << 20

	// How many requests are under way at a time: what a request holds in
	// memory is bounded by its body, and an apply's is large.
	maxCalls   = 128
	maxApplies = 2
	maxStreams = 128
)

// limits are the slots that requests take.
type limits struct{ calls, applies, streams chan struct{} }

func newLimits() limits {
	return limits{make(chan struct{}, maxCalls), make(chan struct{}, maxApplies), make(chan struct{}, maxStreams)}
}

// take takes a slot, and nil when there is none.
func (l *limits) take(r *route) (release func()) {
	slots := l.calls
	switch {
	case r.rpc.IsStreamingServer():
		slots = l.streams
	case r.bodyLimit() > maxBody:
		slots = l.applies
	}
	select {
	case slots <- struct{}{}:
		return func() { <-slots }
	default:
		return nil
	}
}

func (r *route) bodyLimit() int64 {
	if r.rpc.FullName() == "fairlead.v1.CatalogService.Apply" {
		return maxApplyBody
	}
	return maxBody
}

// check is between the translator's choice of a route and the call. It
// refuses what the translator would pass over in silence, and bounds the rest.
func (s *Server) check(next runtime.HandlerFunc) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, path map[string]string) {
		if found, ok := r.Context().Value(probed{}).(*bool); ok {
			*found = true
			return
		}
		pattern, _ := runtime.HTTPPattern(r.Context())
		rt := s.routes.of(r.Method, pattern.String())
		if rt == nil {
			refuse(w, http.StatusInternalServerError, codes.Internal, "the route "+pattern.String()+" is in no document; run make generate")
			return
		}
		for name, value := range path {
			if value == "" {
				notFound(w)
				return
			}
			if !utf8.ValidString(value) {
				refuse(w, http.StatusBadRequest, codes.InvalidArgument, fmt.Sprintf("%s: %.80q is no UTF-8", name, value))
				return
			}
		}
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err == nil {
			err = rt.checkQuery(query)
		}
		if err != nil {
			refuse(w, http.StatusBadRequest, codes.InvalidArgument, err.Error())
			return
		}
		if rt.body && !isJSON(w, r) {
			return
		}
		release := s.limits.take(rt)
		if release == nil {
			w.Header().Set("Retry-After", "1")
			refuse(w, http.StatusTooManyRequests, codes.ResourceExhausted, "too many requests of this kind are under way; try again")
			return
		}
		defer release()
		if !rt.takeBody(w, r, path) {
			return
		}
		next(w, r, path)
	}
}

// isJSON refuses bodies that are no JSON. An empty one must say it too: what
// a page of another origin can send unasked says something else or nothing.
func isJSON(w http.ResponseWriter, r *http.Request) bool {
	given := r.Header.Get("Content-Type")
	kind, _, err := mime.ParseMediaType(given)
	if coding := r.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		w.Header().Set("Accept-Encoding", "identity") // RFC 9110 section 12.5.3
		refuse(w, http.StatusUnsupportedMediaType, codes.InvalidArgument,
			fmt.Sprintf("content encoding %.80q; want none", coding))
		return false
	}
	if err != nil || kind != jsonType {
		w.Header().Set("Accept", jsonType) // RFC 9110 section 15.5.16
		refuse(w, http.StatusUnsupportedMediaType, codes.InvalidArgument,
			fmt.Sprintf("content type %.80q; want %s, also of an empty body", given, jsonType))
		return false
	}
	return true
}

// takeBody replaces the body by one that is read already, so that the rest
// neither waits for the client nor fails because of it.
func (r *route) takeBody(w http.ResponseWriter, req *http.Request, path map[string]string) bool {
	if !r.body {
		if req.ContentLength != 0 {
			refuse(w, http.StatusBadRequest, codes.InvalidArgument, req.Method+" takes no body here")
			return false
		}
		req.Header.Del("Content-Type")
		req.Body = http.NoBody
		return true
	}
	limit := r.bodyLimit()
	tooLarge := func() bool {
		w.Header().Set("Connection", "close")
		refuse(w, http.StatusRequestEntityTooLarge, codes.InvalidArgument, fmt.Sprintf("the body is larger than %d MiB", limit>>20))
		return false
	}
	if req.ContentLength > limit {
		return tooLarge()
	}
	var buf bytes.Buffer
	if req.ContentLength > 0 {
		buf.Grow(int(req.ContentLength) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(http.MaxBytesReader(nil, req.Body, limit))
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return tooLarge()
	case err != nil:
		refuse(w, http.StatusBadRequest, codes.InvalidArgument, "the body broke off: "+err.Error())
		return false
	}
	req.Header.Set("Content-Type", jsonType)
	req.Body = &requestBody{Reader: bytes.NewReader(buf.Bytes()), data: buf.Bytes(), path: path}
	return true
}

// requestBody is a body in memory, with the fields that the path says.
type requestBody struct {
	*bytes.Reader
	data []byte
	path map[string]string
}

var _ io.ReadCloser = (*requestBody)(nil)

// Close implements io.Closer.
func (*requestBody) Close() error { return nil }
