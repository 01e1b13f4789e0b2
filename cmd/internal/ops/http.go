// Package ops holds what the mains share: logs, the HTTP endpoint for
// operations, geo data files, and gRPC connections.
package ops

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// NewRegistry returns a registry with the process's own metrics and the build.
func NewRegistry(program, version string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "fairlead_build_info", Help: "1; the labels name the program and its version.",
			ConstLabels: prometheus.Labels{"program": program, "version": version},
		}, func() float64 { return 1 }),
	)
	return r
}

// Listen opens a TCP listener; the error names the flag that gave the address.
func Listen(ctx context.Context, flag, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", flag, addr, err)
	}
	return l, nil
}

// HTTP is the endpoint for operations: /metrics, /healthz and /readyz.
type HTTP struct {
	Listener net.Listener
	TLS      *tls.Config // nil: plain HTTP
	Gatherer prometheus.Gatherer
	// REST serves /v1/; nil: nothing does.
	REST http.Handler
	// Ready says why the program is not ready, or nil.
	Ready func() error
}

// Run serves until ctx ends.
func (h HTTP) Run(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(h.Gatherer, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := h.Ready(); err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
	switch {
	case h.REST != nil && h.TLS == nil:
		mux.Handle("/v1/", onlyLoopbackNames(h.REST))
	case h.REST != nil:
		mux.Handle("/v1/", h.REST)
	}
	l := h.Listener
	if h.TLS != nil {
		l = tls.NewListener(l, h.TLS)
	}
	return Serve(ctx, l, mux)
}

// onlyLoopbackNames refuses requests to other host names than loopback's:
// without TLS nobody is asked who he is, and a page in a browser here could
// otherwise reach the API under a name of its own that it lets resolve to
// loopback (DNS rebinding).
func onlyLoopbackNames(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := RequireLoopback("Host", net.JoinHostPort(hostname(r.Host), "0")); err != nil {
			http.Error(w, "without TLS the API is served to loopback's own names only", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// hostname is a Host header without its port.
func hostname(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return strings.Trim(host, "[]")
}

// Serve serves HTTP with limits until ctx ends.
func Serve(ctx context.Context, l net.Listener, handler http.Handler) error {
	srv := &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 500*time.Millisecond)
	defer cancel()
	if srv.Shutdown(stop) != nil {
		_ = srv.Close()
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
