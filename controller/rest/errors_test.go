package rest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// A caller over a limit is told when to try again, in whole seconds and never
// too early, for calls and streams alike; the body has it exactly.
func TestRetryAfter(t *testing.T) {
	var wait time.Duration
	refuse := func() error {
		st, err := status.New(codes.ResourceExhausted, "alice is over the limit").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(wait)})
		if err != nil {
			return err
		}
		return st.Err()
	}
	r := start(t, newServices(), func(o *Options) {
		o.Unary = []grpc.UnaryServerInterceptor{func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) {
			return nil, refuse()
		}}
		o.Stream = []grpc.StreamServerInterceptor{func(any, grpc.ServerStream, *grpc.StreamServerInfo, grpc.StreamHandler) error { return refuse() }}
	}, nil)
	for w, want := range map[time.Duration]string{0: "1", 5 * time.Millisecond: "1", time.Second: "1", 1001 * time.Millisecond: "2", 90 * time.Second: "90"} {
		wait = w
		for _, path := range []string{"/v1/regions/eu-west", watchPath} {
			a := r.do(http.MethodGet, path, "")
			f := r.refused(a, http.StatusTooManyRequests, codes.ResourceExhausted, "alice is over the limit")
			if got := a.Header.Get("Retry-After"); got != want {
				t.Errorf("%s: Retry-After %q for %v, want %q", path, got, w, want)
			}
			if len(f.Details) != 1 || !strings.HasSuffix(f.Details[0]["@type"].(string), "google.rpc.RetryInfo") {
				t.Errorf("%s: %v", path, f.Details)
			}
		}
	}
}

// A 401 says that a certificate is wanted; a 403 does not ask for another one.
func TestChallenge(t *testing.T) {
	var err error
	r := start(t, newServices(), func(o *Options) {
		o.Identify = func(*http.Request) (credentials.AuthInfo, error) { return nil, err }
	}, nil)
	err = errors.New("no certificate")
	a := r.do(http.MethodGet, "/v1/regions/eu-west", "")
	r.refused(a, http.StatusUnauthorized, codes.Unauthenticated, "no certificate")
	if got := a.Header.Get("WWW-Authenticate"); got != challenge {
		t.Errorf("WWW-Authenticate %q", got)
	}
	err = status.Error(codes.PermissionDenied, "a viewer looks")
	a = r.do(http.MethodGet, "/v1/regions/eu-west", "")
	r.refused(a, http.StatusForbidden, codes.PermissionDenied, "a viewer looks")
	if a.Header.Get("WWW-Authenticate") != "" || a.Header.Get("Retry-After") != "" {
		t.Error(a.Header)
	}
}
