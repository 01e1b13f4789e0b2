// Package rest serves the public gRPC services as JSON over HTTP, under /v1:
// for curl, for the console, and for programs that speak no gRPC. The routes
// are in proto/gateway.yaml; grpc-gateway translates; the services themselves
// are those of controller/api, called over an in-process connection, so that
// there is one implementation, one authorisation and one audit of a call.
//
// It may import the protos, their gateway and the pure packages, and no other
// package of the controller. All data come from the services; it keeps none.
package rest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

const (
	// maxMessage bounds a message on the in-process connection.
	maxMessage = 64 << 20
	// stopGrace is how long calls in flight may take at the end.
	stopGrace = 500 * time.Millisecond
)

// Options say what is served.
type Options struct {
	// Register registers the public services; it is called with a server of
	// this package's own, which only this package can reach. Whatever else it
	// registers has no route.
	Register func(grpc.ServiceRegistrar)
	// Unary and Stream are the interceptors of that server, outermost first:
	// those of the gRPC listener. peer.FromContext tells them the HTTP client's
	// address, and its AuthInfo is what Identify returned.
	Unary  []grpc.UnaryServerInterceptor
	Stream []grpc.StreamServerInterceptor
	// Identify says who sends a request, as credentials.TLSInfo{State: *r.TLS}
	// does for a client with a certificate. An error refuses the request, as
	// UNAUTHENTICATED when it is no gRPC status. Nil: nobody is identified.
	Identify func(*http.Request) (credentials.AuthInfo, error)
	Log      *slog.Logger
}

func (o *Options) validate() error {
	if o.Register == nil || o.Log == nil {
		return errors.New("rest: services and log are required")
	}
	return nil
}

// Server is an http.Handler for the paths under /v1/.
type Server struct {
	opts   Options
	mux    *runtime.ServeMux
	routes routes
	limits limits
	calls  calls
	origin *http.CrossOriginProtection
	link   atomic.Pointer[grpc.ClientConn] // nil unless Run runs
}

// New wires a server. It answers UNAVAILABLE until Run runs.
func New(o Options) (*Server, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &Server{opts: o, limits: newLimits(), origin: http.NewCrossOriginProtection()}
	var err error
	if s.routes, err = readRoutes(openAPI); err != nil {
		return nil, fmt.Errorf("rest: openapi.swagger.json: %w", err)
	}
	if s.mux, err = s.newMux(); err != nil {
		return nil, fmt.Errorf("rest: %w", err)
	}
	return s, nil
}

// Run carries calls until ctx ends. Streams end first.
func (s *Server) Run(ctx context.Context) error {
	server, listener := s.newServer(ctx)
	conn, err := dial(listener)
	if err != nil {
		return fmt.Errorf("rest: %w", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, grpc.ErrServerStopped) {
			return err
		}
		return nil // ctx ended before it began
	})
	g.Go(func() error {
		<-ctx.Done()
		s.link.Store(nil)
		t := time.AfterFunc(stopGrace, server.Stop)
		defer t.Stop()
		server.GracefulStop()
		return conn.Close()
	})
	s.link.Store(conn)
	if err := g.Wait(); err != nil {
		return fmt.Errorf("rest: %w", err)
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	h := rw.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	// A page of another origin cannot write in the name of who looks at it.
	if err := s.origin.Check(r); err != nil {
		refuse(rw, http.StatusForbidden, codes.PermissionDenied, "a page of another origin sent this: "+err.Error())
		return
	}
	if r.URL.Path == openAPIPath {
		serveOpenAPI(rw, r)
		return
	}
	who, err := s.identify(r)
	if err != nil {
		writeStatus(rw, runtime.HTTPStatusFromCode(status.Code(err)), status.Convert(err))
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	ctx, done := s.calls.begin(ctx, who)
	defer done()
	r = r.Clone(ctx)
	choose(r)
	if err := spellKind(r); err != nil {
		refuse(rw, http.StatusBadRequest, codes.InvalidArgument, err.Error())
		return
	}
	w, r := newWriter(rw, r, cancel)
	s.mux.ServeHTTP(w, r)
}
