package dev

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/fairlead-dns/fairlead/cmd/internal/ops"
)

// endpoint is the sample's service in one region: a real HTTP server that can
// be told to fail and to recover.
type endpoint struct {
	region   string
	listener net.Listener
	failing  atomic.Bool
}

// listenEndpoint opens an endpoint's socket.
func listenEndpoint(ctx context.Context, region, addr string) (*endpoint, error) {
	l, err := ops.Listen(ctx, "--sample-port", addr)
	if err != nil {
		return nil, fmt.Errorf("sample endpoint of %s: %w (the sample uses 127.0.10.1, 127.0.20.1 and 127.0.30.1; -f FILE runs without it)", region, err)
	}
	return &endpoint{region: region, listener: l}, nil
}

func (e *endpoint) addr() string { return e.listener.Addr().String() }

// Run serves until ctx ends: / and /healthz answer for the service, POST
// /fail and /recover control it.
func (e *endpoint) Run(ctx context.Context) error {
	mux := http.NewServeMux()
	serve := func(w http.ResponseWriter, _ *http.Request) {
		if e.failing.Load() {
			http.Error(w, e.region+" is failing (POST /recover mends it)", http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintf(w, "hello from %s\n", e.region)
	}
	mux.HandleFunc("GET /{$}", serve)
	mux.HandleFunc("GET /healthz", serve)
	set := func(failing bool, say string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			e.failing.Store(failing)
			_, _ = fmt.Fprintf(w, "%s %s\n", e.region, say)
		}
	}
	mux.HandleFunc("POST /fail", set(true, "fails from now on"))
	mux.HandleFunc("POST /recover", set(false, "answers again"))
	return ops.Serve(ctx, e.listener, mux)
}
