package check

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func TestMain(m *testing.M) {
	if os.Getenv(benchServer) != "" {
		serveBenchmark()
		return
	}
	goleak.VerifyTestMain(m)
}

var loopback = Options{Version: "1.2", Guard: NewGuard([]netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")})}

// Checks that are to end by themselves have much time, as a machine may be busy;
// those that are to run out of it have little.
const (
	ample = 8 * time.Second
	scant = 300 * time.Millisecond
)

// timeFor is the timeout of a check that is expected to end for a reason.
func timeFor(reason string) time.Duration {
	if strings.HasPrefix(reason, "timeout after") {
		return scant
	}
	return ample
}

// discard is the log of servers that are meant to meet errors.
var discard = log.New(io.Discard, "", 0)

func httpSpec(timeout time.Duration, p *pb.HttpProbe) *pb.HealthCheckSpec {
	return &pb.HealthCheckSpec{Timeout: durationpb.New(timeout), Probe: &pb.HealthCheckSpec_Http{Http: p}}
}

func tcpSpec(timeout time.Duration, port uint32) *pb.HealthCheckSpec {
	return &pb.HealthCheckSpec{Timeout: durationpb.New(timeout), Probe: &pb.HealthCheckSpec_Tcp{Tcp: &pb.TcpProbe{Port: port}}}
}

func mustNew(t testing.TB, spec *pb.HealthCheckSpec, o Options) Check {
	t.Helper()
	c, err := New(spec, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func expect(t *testing.T, out Outcome, result Result, reason string) {
	t.Helper()
	if out.Result != result || out.Reason != reason {
		t.Errorf("%s %q, want %s %q", out.Result, out.Reason, result, reason)
	}
}

func portOf(a net.Addr) uint32 { return uint32(a.(*net.TCPAddr).Port) }

// serve answers each connection with a function, until the test ends.
func serve(t *testing.T, answer func(net.Conn)) uint32 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			answer(conn)
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return portOf(l.Addr())
}

// closedPort is a port that nobody listens on.
func closedPort(t *testing.T) uint32 {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return portOf(l.Addr())
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	var requests atomic.Pointer[http.Request]
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Store(r)
		var code int
		if _, err := fmt.Sscanf(r.URL.Path, "/status/%d", &code); err == nil {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(code)
			return
		}
		switch r.URL.Path {
		case "/large":
			for range 1000 {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		case "/endless":
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case "/slow":
			<-r.Context().Done()
		case "/header":
			w.Header().Set("X-Large", strings.Repeat("x", 2*maxHeader))
		}
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	port := portOf(server.Listener.Addr())

	for _, tc := range []struct {
		path     string
		statuses []uint32
		timeout  time.Duration
		result   Result
		reason   string
	}{
		{"", nil, ample, Passed, "HTTP 200"},
		{"/status/204", nil, ample, Passed, "HTTP 204"},
		{"/status/302", nil, ample, Passed, "HTTP 302"},
		{"/status/399", nil, ample, Passed, "HTTP 399"},
		{"/status/400", nil, ample, Failed, "HTTP 400"},
		{"/status/503", nil, ample, Failed, "HTTP 503"},
		{"/status/503", []uint32{200, 503}, ample, Passed, "HTTP 503"},
		{"/status/204", []uint32{200}, ample, Failed, "HTTP 204"},
		{"/large", nil, ample, Passed, "HTTP 200"},
		{"/endless", nil, scant, Passed, "HTTP 200"},
		{"/slow", nil, scant, Failed, "timeout after 300ms waiting for the response"},
		{"/header", nil, ample, Failed, "no valid HTTP response"},
	} {
		t.Run(tc.path+fmt.Sprint(tc.statuses), func(t *testing.T) {
			c := mustNew(t, httpSpec(tc.timeout, &pb.HttpProbe{Port: port, Path: tc.path, ExpectedStatuses: tc.statuses}), loopback)
			before := connections.Load()
			expect(t, c.Probe(t.Context(), "127.0.0.1"), tc.result, tc.reason)
			if n := connections.Load() - before; n != 1 {
				t.Errorf("%d connections, want one and no redirect followed", n)
			}
		})
	}

	c := mustNew(t, httpSpec(ample, &pb.HttpProbe{Port: port, Path: "/x?y=1&z=%20"}), loopback)
	out := c.Probe(t.Context(), "127.0.0.1")
	r := requests.Load()
	if want := fmt.Sprintf("127.0.0.1:%d", port); r.Host != want || r.URL.RawQuery != "y=1&z=%20" || r.Method != "GET" ||
		r.UserAgent() != "fairlead-probe/1.2" || !r.Close {
		t.Errorf("the request was %s %s, Host %s, agent %s, close %t", r.Method, r.URL, r.Host, r.UserAgent(), r.Close)
	}
	if out.Latency <= 0 || out.Phases.Connect <= 0 || out.Phases.FirstByte <= 0 || out.Phases.Connect+out.Phases.FirstByte > out.Latency*2 {
		t.Errorf("phases %+v of %s", out.Phases, out.Latency)
	}
	mustNew(t, httpSpec(ample, &pb.HttpProbe{Port: port, Host: "www.example.test"}), loopback).Probe(t.Context(), "127.0.0.1")
	if got := requests.Load().Host; got != "www.example.test" {
		t.Errorf("Host is %q", got)
	}
}

func TestAuthority(t *testing.T) {
	for _, tc := range []struct {
		target string
		port   uint16
		want   string
	}{
		{"192.0.2.1", 80, "192.0.2.1"},
		{"192.0.2.1", 8080, "192.0.2.1:8080"},
		{"::ffff:192.0.2.1", 80, "192.0.2.1"},
		{"2001:db8:0::1", 80, "[2001:db8::1]"},
		{"2001:db8::1", 8080, "[2001:db8::1]:8080"},
		{"fe80::1%eth0", 80, "[fe80::1]"},
		{"www.example.test", 80, "www.example.test"},
		{"www.example.test", 443, "www.example.test:443"},
	} {
		addr, _ := netip.ParseAddr(tc.target)
		c := &httpCheck{dialer: dialer{port: tc.port}}
		if got := c.first(tc.target, addr.Unmap()).authority; got != tc.want {
			t.Errorf("%s port %d: %s, want %s", tc.target, tc.port, got, tc.want)
		}
	}
}

func TestNamesAreResolvedAndGuarded(t *testing.T) {
	port := serve(t, func(net.Conn) {})
	spec := tcpSpec(ample, port)
	only4 := Options{Guard: NewGuard([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})}
	expect(t, mustNew(t, spec, only4).Probe(t.Context(), "localhost"), Passed, "connected")
	out := mustNew(t, spec, Options{Guard: NewGuard(nil)}).Probe(t.Context(), "localhost")
	if out.Result != Abstained || !strings.Contains(out.Reason, "loopback") {
		t.Errorf("localhost, not allowed: %s %q", out.Result, out.Reason)
	}
}

// A resolver that is asked over a real socket and answers what the test says.
func TestResolverAnswers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		rcode byte
		reply bool
		want  string
	}{
		{"no such name", 3, true, "no such host"},
		{"server failure", 2, true, "the name cannot be resolved"},
		{"no answer", 0, false, "timeout after 300ms resolving the name"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pc, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				buf := make([]byte, 1500)
				for {
					n, from, err := pc.ReadFrom(buf)
					if err != nil {
						return
					}
					if tc.reply { // the query itself, turned into a response (RFC 1035 section 4.1.1)
						buf[2], buf[3] = buf[2]|0x80, 0x80|tc.rcode
						pc.WriteTo(buf[:n], from)
					}
				}
			}()
			defer func() { pc.Close(); <-done }()
			d := dialer{family: "ip", port: 1, timeout: 300 * time.Millisecond, resolver: &net.Resolver{
				PreferGo: true,
				Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
					conn, err := (&net.Dialer{}).DialContext(ctx, "udp", pc.LocalAddr().String())
					if err == nil {
						// The standard resolver waits on in the background.
						t.Cleanup(func() { conn.Close() })
					}
					return conn, err
				},
			}}
			a, cancel := d.begin(t.Context())
			defer cancel()
			if _, ok := a.locate("www.example.test."); ok {
				t.Fatal("located")
			}
			expect(t, a.out, Failed, tc.want)
		})
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	read := func(c net.Conn) { http.ReadRequest(bufio.NewReader(c)) }
	closes := serve(t, read)
	resets := serve(t, func(c net.Conn) { read(c); c.(*net.TCPConn).SetLinger(0) })
	garbage := serve(t, func(c net.Conn) { read(c); io.WriteString(c, "SSH-2.0-OpenSSH\r\n\r\n") })
	half := serve(t, func(c net.Conn) { read(c); io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nx") })
	for _, tc := range []struct {
		name   string
		port   uint32
		result Result
		reason string
	}{
		{"refused", closedPort(t), Failed, "connection refused"},
		{"closed", closes, Failed, "connection closed without a response"},
		{"reset", resets, Failed, "connection reset"},
		{"garbage", garbage, Failed, "no valid HTTP response"},
		{"half a body", half, Passed, "HTTP 200"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := mustNew(t, httpSpec(ample, &pb.HttpProbe{Port: tc.port}), loopback)
			expect(t, c.Probe(t.Context(), "127.0.0.1"), tc.result, tc.reason)
		})
	}
	t.Run("tcp", func(t *testing.T) {
		expect(t, mustNew(t, tcpSpec(ample, closes), loopback).Probe(t.Context(), "127.0.0.1"), Passed, "connected")
		expect(t, mustNew(t, tcpSpec(ample, closedPort(t)), loopback).Probe(t.Context(), "127.0.0.1"), Failed, "connection refused")
		expect(t, mustNew(t, tcpSpec(ample, closes), loopback).Probe(t.Context(), "::ffff:127.0.0.1"), Passed, "connected")
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		expect(t, mustNew(t, tcpSpec(ample, closes), loopback).Probe(ctx, "127.0.0.1"), Abstained, "check cancelled")
	})
}

// A full accept queue lets no further connection in: the SYN is dropped.
func TestConnectTimeout(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := shrinkBacklog(t, l.(*net.TCPListener))
	for range 8 {
		if c, err := net.DialTimeout("tcp", l.Addr().String(), 50*time.Millisecond); err == nil {
			defer c.Close()
		}
	}
	c := mustNew(t, tcpSpec(150*time.Millisecond, port), loopback)
	expect(t, c.Probe(t.Context(), "127.0.0.1"), Failed, "timeout after 150ms connecting")
}

func TestSpecifications(t *testing.T) {
	for _, tc := range []struct {
		name string
		spec *pb.HealthCheckSpec
		want string
	}{
		{"no protocol", &pb.HealthCheckSpec{}, "this agent (version 1.2) does not know the check's protocol"},
		{"nothing", nil, "does not know the check's protocol"},
		{"no port", tcpSpec(time.Second, 0), "port 0: want 1 to 65535"},
		{"large port", httpSpec(time.Second, &pb.HttpProbe{Port: 65536}), "port 65536: want 1 to 65535"},
		{"path", httpSpec(time.Second, &pb.HttpProbe{Path: "healthz"}), `path "healthz": want a path as /healthz`},
		{"URL as path", httpSpec(time.Second, &pb.HttpProbe{Path: "http://evil.test/"}), "want a path"},
		{"host", httpSpec(time.Second, &pb.HttpProbe{Host: "a\r\nX: y"}), "want a host"},
		{"status", httpSpec(time.Second, &pb.HttpProbe{ExpectedStatuses: []uint32{99}}), "expected status 99: want 100 to 599"},
		{"range", httpSpec(time.Second, &pb.HttpProbe{ExpectedStatusRanges: []string{"2xx"}}), `expected status range "2xx": want two of 100 to 599, as 200-299`},
		{"range backwards", httpSpec(time.Second, &pb.HttpProbe{ExpectedStatusRanges: []string{"299-200"}}), `want two of 100 to 599, as 200-299`},
		{"one status as a range", httpSpec(time.Second, &pb.HttpProbe{ExpectedStatusRanges: []string{"200"}}), `want two of 100 to 599, as 200-299`},
		{"path with a space", httpSpec(time.Second, &pb.HttpProbe{Path: "/a b"}), `path "/a b": want spaces, # and what is not ASCII written as %XX`},
		{"path with a line", httpSpec(time.Second, &pb.HttpProbe{Path: "/a\r\nX: y"}), "want a path"},
		{"path with a fragment", httpSpec(time.Second, &pb.HttpProbe{Path: "/a#b"}), "written as %XX"},
		{"method", httpSpec(time.Second, &pb.HttpProbe{Method: "get"}), `method "get": want GET, HEAD, POST, PUT or OPTIONS`},
		{"body with GET", httpSpec(time.Second, &pb.HttpProbe{Body: "x"}), "a body with GET: want POST or PUT"},
		{"large body", httpSpec(time.Second, &pb.HttpProbe{Method: "PUT", Body: strings.Repeat("x", 4097)}), "a body of 4097 bytes: want at most 4096"},
		{"redirects", httpSpec(time.Second, &pb.HttpProbe{MaxRedirects: 11}), "11 redirects: want at most 10"},
		{"header name", httpSpec(time.Second, &pb.HttpProbe{Headers: map[string]string{"X Y": "z"}}), `header "X Y": want a name as X-Probe`},
		{"header value", httpSpec(time.Second, &pb.HttpProbe{Headers: map[string]string{"X": "y\r\nZ: 1"}}), "header X: its value holds a line break"},
		{"header of ours", httpSpec(time.Second, &pb.HttpProbe{Headers: map[string]string{"transfer-encoding": "chunked"}}), "header transfer-encoding: the check writes it itself"},
		{"header twice", httpSpec(time.Second, &pb.HttpProbe{Headers: map[string]string{"X-Y": "1", "x-y": "2"}}), "is there twice"},
		{"headers", httpSpec(time.Second, &pb.HttpProbe{Headers: many(33)}), "33 headers: want at most 32"},
		{"large headers", httpSpec(time.Second, &pb.HttpProbe{Headers: map[string]string{"X": strings.Repeat("y", 9000)}}), "headers of more than 8192 bytes"},
		{"body of HEAD", httpSpec(time.Second, &pb.HttpProbe{Method: "HEAD", BodyContains: "x"}), "want GET"},
		{"expression", httpSpec(time.Second, &pb.HttpProbe{BodyMatches: "(a"}), "bodyMatches: error parsing regexp: missing closing ): `(a`; want an RE2 expression"},
		{"lookahead", httpSpec(time.Second, &pb.HttpProbe{BodyMatches: "(?!a)"}), "want an RE2 expression"},
		{"large expression", httpSpec(time.Second, &pb.HttpProbe{BodyMatches: "((a{100}){10}){10}"}), "bodyMatches: "},
		{"long expression", httpSpec(time.Second, &pb.HttpProbe{BodyMatches: strings.Repeat("a", 1025)}), "bodyMatches of 1025 bytes: want at most 1024"},
		{"long text", httpSpec(time.Second, &pb.HttpProbe{BodyContains: strings.Repeat("a", 4097)}), "bodyContains of 4097 bytes: want at most 4096"},
		{"HTTP/3 in plain text", httpSpec(time.Second, &pb.HttpProbe{Version: pb.HttpVersion_HTTP_VERSION_HTTP3}), "HTTP/3 without TLS: want tls, which may be empty"},
		{"HTTP/4", httpSpec(time.Second, &pb.HttpProbe{Version: 4}), "this agent (version 1.2) does not know the check's version of HTTP: update it"},
		{"address family", &pb.HealthCheckSpec{AddressFamily: 9, Probe: &pb.HealthCheckSpec_Icmp{}}, "does not know the check's address family"},
		{"TLS", httpSpec(time.Second, &pb.HttpProbe{Tls: &pb.TlsOptions{CaCertificates: "x"}}), "CA certificates: want PEM"},
		{"send", tcpProbe(time.Second, &pb.TcpProbe{Port: 1, Send: strings.Repeat("x", 4097)}), "4097 bytes to send: want at most 4096"},
		{"expect", tcpProbe(time.Second, &pb.TcpProbe{Port: 1, ExpectMatches: "["}), "expectMatches: error parsing regexp"},
		{"TCP, TLS", tcpProbe(time.Second, &pb.TcpProbe{Port: 1, Tls: &pb.TlsOptions{ServerName: "a b"}}), `server name "a b"`},
		{"gRPC port", grpcSpec(&pb.GrpcProbe{}), "port 0: want 1 to 65535"},
		{"gRPC service", grpcSpec(&pb.GrpcProbe{Port: 1, Service: "a\n"}), `service "a\n": want a name as helloworld.Greeter`},
		{"gRPC authority", grpcSpec(&pb.GrpcProbe{Port: 1, Authority: "http://x"}), `authority "http://x": want a host as www.example.com`},
		{"DNS name", dnsSpec(&pb.DnsProbe{}), `query name "": want a domain name as www.example.com`},
		{"DNS long name", dnsSpec(&pb.DnsProbe{Name: strings.Repeat("a", 64)}), "want a domain name"},
		{"DNS type", dnsSpec(&pb.DnsProbe{Name: "a", Type: "AXFR"}), `query type "AXFR": want a type of data, as A or TXT`},
		{"DNS unknown type", dnsSpec(&pb.DnsProbe{Name: "a", Type: "B"}), `query type "B": want a type of data, as A or TXT`},
		{"DNS RCODE", dnsSpec(&pb.DnsProbe{Name: "a", ExpectedRcode: "NIX"}), `expected RCODE "NIX": want one as NOERROR or NXDOMAIN`},
		{"DNS large RCODE", dnsSpec(&pb.DnsProbe{Name: "a", ExpectedRcode: "BADVERS"}), "expected RCODE"},
		{"DNS answer", dnsSpec(&pb.DnsProbe{Name: "a", ExpectedAnswers: []string{"www"}}), `expected answer "www": want the data of one A record: bad A A: "www"`},
		{"DNS two answers", dnsSpec(&pb.DnsProbe{Name: "a", ExpectedAnswers: []string{"192.0.2.1\na. A 192.0.2.2"}}), "it holds a line break"},
		{"DNS no answer", dnsSpec(&pb.DnsProbe{Name: "a", ExpectedAnswers: []string{""}}), "want the data of one A record"},
		{"DNS answers", dnsSpec(&pb.DnsProbe{Name: "a", ExpectedAnswers: make([]string, 33)}), "33 expected answers: want at most 32"},
		{"DNS transport", dnsSpec(&pb.DnsProbe{Name: "a", Transport: 7}), "does not know the check's DNS transport"},
		{"ICMP", icmpSpec(&pb.IcmpProbe{PayloadSize: 1401}), "payload of 1401 bytes: want at most 1400"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := New(tc.spec, loopback); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
	if _, err := New(httpSpec(0, &pb.HttpProbe{}), loopback); err != nil {
		t.Errorf("all defaults: %v", err)
	}
}

func many(n int) map[string]string {
	m := map[string]string{}
	for i := range n {
		m[fmt.Sprint("X-", i)] = "y"
	}
	return m
}

func TestTiming(t *testing.T) {
	got := TimingOf(&pb.HealthCheckSpec{})
	if got.Interval != 10*time.Second || got.Timeout != 2*time.Second || got.Confirm != 0 || got.Thresholds.Rise != 2 || got.Thresholds.Fall != 3 {
		t.Errorf("defaults: %+v", got)
	}
	got = TimingOf(&pb.HealthCheckSpec{Interval: durationpb.New(time.Millisecond), Timeout: durationpb.New(time.Hour), Rise: 1 << 31, Fall: 1})
	if got.Interval != minInterval || got.Timeout != minInterval || got.Thresholds.Rise != maxThreshold || got.Thresholds.Fall != 1 {
		t.Errorf("bounds: %+v", got)
	}
	for _, tc := range []struct{ stated, want time.Duration }{
		{time.Second, time.Second}, {0, 0}, {-time.Second, 0}, {time.Millisecond, minInterval}, {time.Minute, 10 * time.Second},
	} {
		if got := TimingOf(&pb.HealthCheckSpec{ConfirmInterval: durationpb.New(tc.stated)}).Confirm; got != tc.want {
			t.Errorf("confirm interval %s: %s, want %s", tc.stated, got, tc.want)
		}
	}
}
