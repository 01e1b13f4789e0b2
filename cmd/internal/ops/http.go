// Package ops holds what the mains share: logs, the HTTP endpoint for
// operations, geo data files, and gRPC connections.
package ops

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc/codes"
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
	// Log takes what goes wrong with connections; nil: nobody wants to know.
	Log *slog.Logger
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
	logger := h.Log
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return serve(ctx, l, mux, log.New(complaints{logger}, "", 0))
}

// complaints takes the lines that net/http writes about connections. One that is
// closed before it has said anything is no fault: fellow agents knock at each
// other's port every second, and so do load balancers.
type complaints struct{ log *slog.Logger }

func (c complaints) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	knock := strings.HasPrefix(text, "http: TLS handshake error from ") &&
		(strings.HasSuffix(text, ": EOF") || strings.HasSuffix(text, ": connection reset by peer"))
	if !knock {
		c.log.Warn("a connection to --http failed", "error", text)
	}
	return len(line), nil
}

// onlyLoopbackNames refuses requests to other host names than loopback's:
// without TLS nobody is asked who he is, and a page in a browser here could
// otherwise reach the API under a name of its own that it lets resolve to
// loopback (DNS rebinding).
func onlyLoopbackNames(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := RequireLoopback("Host", net.JoinHostPort(hostname(r.Host), "0")); err != nil {
			refuse(w, "without TLS the API is served to loopback's own names only")
			return
		}
		h.ServeHTTP(w, r)
	})
}

// NoREST answers for the API where it is not served, and says why.
func NoREST(why string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { refuse(w, why) })
}

// refuse is PERMISSION_DENIED as the API says it: a google.rpc.Status.
func refuse(w http.ResponseWriter, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusForbidden)
	body, _ := json.Marshal(map[string]any{"code": codes.PermissionDenied, "message": message})
	_, _ = w.Write(append(body, '\n'))
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
	return serve(ctx, l, handler, nil)
}

func serve(ctx context.Context, l net.Listener, handler http.Handler, errorLog *log.Logger) error {
	srv := &http.Server{
		Handler: handler, ErrorLog: errorLog, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second,
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
