package check

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// serveHTTP serves HTTP/1.1 and HTTP/2, in plain text, or over TLS when there is
// a configuration.
func serveHTTP(t *testing.T, config *tls.Config, h http.Handler) uint32 {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = &http.Protocols{}
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetHTTP2(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.ErrorLog = discard
	if config != nil {
		s.TLS = config
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return portOf(s.Listener.Addr())
}

// serveHTTP3 serves HTTP/3.
func serveHTTP3(t *testing.T, config *tls.Config, h http.Handler) uint32 {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http3.Server{TLSConfig: http3.ConfigureTLSConfig(config), Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(pc) }()
	t.Cleanup(func() { s.Close(); pc.Close(); <-done })
	return uint32(pc.LocalAddr().(*net.UDPAddr).Port)
}

// versions are all ways to speak HTTP with one handler.
type version struct {
	name    string
	version pb.HttpVersion
	port    uint32
	tls     *pb.TlsOptions
	proto   string
}

func versions(t *testing.T, h http.Handler) []version {
	authority := newCA(t)
	plain := serveHTTP(t, nil, h)
	secure := serveHTTP(t, authority.config(t, leaf{}), h)
	quic := serveHTTP3(t, authority.config(t, leaf{}), h)
	o := &pb.TlsOptions{CaCertificates: authority.text}
	return []version{
		{"http1", pb.HttpVersion_HTTP_VERSION_HTTP1, plain, nil, "HTTP/1.1"},
		{"https1", pb.HttpVersion_HTTP_VERSION_UNSPECIFIED, secure, o, "HTTP/1.1"},
		{"h2c", pb.HttpVersion_HTTP_VERSION_HTTP2, plain, nil, "HTTP/2.0"},
		{"h2", pb.HttpVersion_HTTP_VERSION_HTTP2, secure, o, "HTTP/2.0"},
		{"h3", pb.HttpVersion_HTTP_VERSION_HTTP3, quic, o, "HTTP/3.0"},
	}
}

func TestHTTPVersions(t *testing.T) {
	t.Parallel()
	type seen struct{ proto, method, host, uri, agent, header, body string }
	var last atomic.Pointer[seen]
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		last.Store(&seen{r.Proto, r.Method, r.Host, r.RequestURI, r.UserAgent(), r.Header.Get("X-Probe"), string(body)})
		switch r.URL.Path {
		case "/sick":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/early":
			w.WriteHeader(http.StatusEarlyHints)
		case "/hangs":
			<-r.Context().Done()
		case "/large":
			for range 100 {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		case "/header":
			for i := range 40 {
				w.Header().Set(fmt.Sprint("X-Large-", i), strings.Repeat("x", 4<<10))
			}
		}
		io.WriteString(w, "status: ok\n")
	})
	for _, v := range versions(t, h) {
		t.Run(v.name, func(t *testing.T) {
			probe := func(timeout time.Duration, p *pb.HttpProbe) Outcome {
				p.Port, p.Version, p.Tls = v.port, v.version, v.tls
				return mustNew(t, httpSpec(timeout, p), loopback).Probe(t.Context(), "127.0.0.1")
			}
			out := probe(ample, &pb.HttpProbe{Path: "/a%20b?c=d", Host: "www.example.test", Headers: map[string]string{"x-probe": "1, 2"}})
			expect(t, out, Passed, "HTTP 200")
			if want := (seen{v.proto, "GET", "www.example.test", "/a%20b?c=d", "fairlead-probe/1.2", "1, 2", ""}); *last.Load() != want {
				t.Errorf("the server saw %+v, want %+v", *last.Load(), want)
			}
			if p := out.Phases; (p.TLS > 0) != (v.tls != nil) || p.FirstByte <= 0 || p.Connect+p.TLS+p.FirstByte > 2*out.Latency {
				t.Errorf("phases %+v of %s", p, out.Latency)
			}
			out = probe(ample, &pb.HttpProbe{Method: "POST", Body: "ping", Headers: map[string]string{"User-Agent": "mine"}, BodyContains: "ok", BodyMatches: `^status: ok\s$`})
			expect(t, out, Passed, "HTTP 200")
			if want := (seen{v.proto, "POST", fmt.Sprintf("127.0.0.1:%d", v.port), "/", "mine", "", "ping"}); *last.Load() != want {
				t.Errorf("the server saw %+v, want %+v", *last.Load(), want)
			}
			expect(t, probe(ample, &pb.HttpProbe{Method: "PUT"}), Passed, "HTTP 200")
			expect(t, probe(ample, &pb.HttpProbe{Method: "HEAD"}), Passed, "HTTP 200")
			expect(t, probe(ample, &pb.HttpProbe{Method: "OPTIONS", Path: "/sick"}), Failed, "HTTP 503")
			expect(t, probe(ample, &pb.HttpProbe{Path: "/sick", ExpectedStatusRanges: []string{"500-599"}}), Passed, "HTTP 503")
			expect(t, probe(ample, &pb.HttpProbe{Path: "/early", BodyContains: "ok"}), Passed, "HTTP 200")
			expect(t, probe(ample, &pb.HttpProbe{BodyContains: "not ok"}), Failed, "HTTP 200, the body lacks the expected text")
			expect(t, probe(ample, &pb.HttpProbe{BodyMatches: "^ok"}), Failed, "HTTP 200, the body does not match")
			expect(t, probe(ample, &pb.HttpProbe{Path: "/large"}), Passed, "HTTP 200")
			expect(t, probe(ample, &pb.HttpProbe{Path: "/large", BodyContains: "ok"}), Failed, "HTTP 200, the body lacks the expected text")
			expect(t, probe(scant, &pb.HttpProbe{Path: "/hangs"}), Failed, "timeout after 300ms waiting for the response")
			expect(t, probe(ample, &pb.HttpProbe{Path: "/header"}), Failed, "no valid HTTP response")
		})
	}
}

// A server that speaks less than is asked for.
func TestHTTPVersionNotSpoken(t *testing.T) {
	t.Parallel()
	authority := newCA(t)
	ok := "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	plain := serve(t, func(c net.Conn) { c.Read(make([]byte, 8<<10)); io.WriteString(c, ok) })
	deaf := serveTLS(t, authority.config(t, leaf{}), func(c *tls.Conn) { c.Read(make([]byte, 8<<10)) })
	one := serveTLS(t, authority.config(t, leaf{}, "http/1.1"), nil)
	o := &pb.TlsOptions{CaCertificates: authority.text}
	two, three := pb.HttpVersion_HTTP_VERSION_HTTP2, pb.HttpVersion_HTTP_VERSION_HTTP3
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	silent := uint32(udp.LocalAddr().(*net.UDPAddr).Port)
	wrong := serveHTTP3(t, newCA(t).config(t, leaf{}), http.NotFoundHandler())
	for _, tc := range []struct {
		name   string
		p      *pb.HttpProbe
		reason string
	}{
		{"h2c", &pb.HttpProbe{Version: two, Port: plain}, "no valid HTTP response"},
		{"no ALPN", &pb.HttpProbe{Version: two, Port: deaf, Tls: o}, "the target does not speak HTTP/2"},
		{"other ALPN", &pb.HttpProbe{Version: two, Port: one, Tls: o}, "TLS refused by the target: no application protocol"},
		{"no QUIC", &pb.HttpProbe{Version: three, Port: silent, Tls: o}, "timeout after 300ms in the QUIC handshake"},
		{"no UDP", &pb.HttpProbe{Version: three, Port: closedPort(t), Tls: o}, "connection refused"},
		{"QUIC, unknown authority", &pb.HttpProbe{Version: three, Port: wrong, Tls: o}, "certificate signed by an unknown authority"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			expect(t, mustNew(t, httpSpec(timeFor(tc.reason), tc.p), loopback).Probe(t.Context(), "127.0.0.1"), Failed, tc.reason)
		})
	}
}

// An expression is about the body as a whole, and a text about what has come.
func TestBodyInPieces(t *testing.T) {
	t.Parallel()
	pieces := func(status string, ps ...string) uint32 {
		return serve(t, func(c net.Conn) {
			c.Read(make([]byte, 8<<10))
			io.WriteString(c, "HTTP/1.1 "+status+"\r\nContent-Length: 18\r\n\r\n")
			for _, p := range ps {
				time.Sleep(20 * time.Millisecond)
				io.WriteString(c, p)
			}
			c.Read(make([]byte, 1)) // until the check has seen enough
		})
	}
	whole := pieces("200 OK", "ok", " but de", "graded...")
	half := serve(t, func(c net.Conn) {
		c.Read(make([]byte, 8<<10))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nok")
	})
	stalls := pieces("200 OK", "all ok")
	for _, tc := range []struct {
		name   string
		p      *pb.HttpProbe
		result Result
		reason string
	}{
		{"over a boundary", &pb.HttpProbe{Port: whole, BodyContains: "ok but degraded"}, Passed, "HTTP 200"},
		{"to the end", &pb.HttpProbe{Port: whole, BodyMatches: "^ok$"}, Failed, "HTTP 200, the body does not match"},
		{"both", &pb.HttpProbe{Port: whole, BodyMatches: "degraded", BodyContains: "fine"}, Failed, "HTTP 200, the body lacks the expected text"},
		{"half of it", &pb.HttpProbe{Port: half, BodyContains: "ok"}, Passed, "HTTP 200"},
		{"half of it is not enough", &pb.HttpProbe{Port: half, BodyMatches: "^ok$"}, Failed, "HTTP 200, the body ends early"},
		{"stalls after it", &pb.HttpProbe{Port: stalls, BodyContains: "all ok"}, Passed, "HTTP 200"},
		{"stalls before it", &pb.HttpProbe{Port: stalls, BodyContains: "fine"}, Failed, "timeout after 300ms reading the body"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			expect(t, mustNew(t, httpSpec(timeFor(tc.reason), tc.p), loopback).Probe(t.Context(), "127.0.0.1"), tc.result, tc.reason)
		})
	}
}
