package ops

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestHTTP(t *testing.T) {
	defer goleak.VerifyNone(t)
	l, err := Listen(t.Context(), "--http", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ready := error(nil)
	h := HTTP{Listener: l, Gatherer: NewRegistry("fairlead-test", "1"), Ready: func() error { return ready }}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(path string) (int, string) {
		resp, err := client.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	if code, body := get("/healthz"); code != 200 || body != "ok\n" {
		t.Errorf("/healthz: %d %q", code, body)
	}
	if code, _ := get("/readyz"); code != 200 {
		t.Errorf("/readyz: %d", code)
	}
	ready = errors.New("no generation")
	if code, body := get("/readyz"); code != 503 || body != "not ready: no generation\n" {
		t.Errorf("/readyz: %d %q", code, body)
	}
	if code, body := get("/metrics"); code != 200 || !strings.Contains(body, `fairlead_build_info{program="fairlead-test",version="1"} 1`) {
		t.Errorf("/metrics: %d %q", code, body)
	}
	if code, _ := get("/v1/status"); code != 404 {
		t.Errorf("/v1/status without REST: %d", code)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Who connects and leaves is not worth a line; who speaks wrongly is.
func TestKnocks(t *testing.T) {
	defer goleak.VerifyNone(t)
	// For its certificate.
	server := httptest.NewTLSServer(http.NotFoundHandler())
	config := server.TLS.Clone()
	server.Close()
	l, err := Listen(t.Context(), "--http", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var log lockedBuffer
	h := HTTP{Listener: l, TLS: config, Gatherer: NewRegistry("fairlead-test", "1"), Log: slog.New(slog.NewTextHandler(&log, nil))}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	for range 3 {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + l.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err) // net/http answers in plain text
	}
	resp.Body.Close()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(log.String(), "TLS handshake error") && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `msg="a connection to --http failed"`) || !strings.Contains(got, "HTTP request to an HTTPS server") {
		t.Errorf("the log is\n%s", got)
	}
	if n, err := (complaints{slog.New(slog.NewTextHandler(&log, nil))}).Write([]byte("http: TLS handshake error from 192.0.2.1:5: read tcp 192.0.2.2:1->192.0.2.1:5: read: connection reset by peer\n")); n == 0 || err != nil || strings.Contains(log.String(), "reset") {
		t.Errorf("%d, %v, %s", n, err, log.String())
	}
}

// lockedBuffer is written by a server and read by a test.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestPlainRESTIsForLoopbackNames(t *testing.T) {
	h := onlyLoopbackNames(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for host, want := range map[string]int{
		"127.0.0.1:8080": 200, "localhost": 200, "localhost:8080": 200, "[::1]:8080": 200, "::1": 200,
		"evil.example:8080": 403, "127.0.0.1.evil.example": 403, "192.0.2.1": 403, "": 403,
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/v1/status", nil)
		r.Host = host
		if h.ServeHTTP(w, r); w.Code != want {
			t.Errorf("Host %q: %d, want %d", host, w.Code, want)
		}
		if want == 403 && w.Body.String() != `{"code":7,"message":"without TLS the API is served to loopback's own names only"}`+"\n" {
			t.Errorf("Host %q: %s", host, w.Body)
		}
	}
}

func TestRequireLoopback(t *testing.T) {
	for addr, ok := range map[string]bool{
		"127.0.0.1:1": true, "[::1]:1": true, "localhost:1": true, "127.9.9.9:1": true,
		":1": false, "0.0.0.0:1": false, "192.0.2.1:1": false, "example.test:1": false, "127.0.0.1": false,
	} {
		if err := RequireLoopback("--grpc", addr); (err == nil) != ok {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

func TestListenNamesTheFlag(t *testing.T) {
	l, err := Listen(t.Context(), "--http", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := Listen(t.Context(), "--grpc", l.Addr().String()); err == nil || !strings.Contains(err.Error(), "--grpc "+l.Addr().String()) {
		t.Errorf("got %v", err)
	}
}

func TestLogger(t *testing.T) {
	for _, c := range []struct{ format, level, want string }{{"xml", "info", "--log-format"}, {"text", "loud", "--log-level"}, {"json", "debug", ""}} {
		_, err := NewLogger(io.Discard, c.format, c.level)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
