package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// Bounds on what is read from a target.
const (
	maxHeader = 64 << 10
	maxBody   = 64 << 10
)

// httpCheck passes when a GET on a new connection answers with an expected
// status in time. Redirects are not followed: a redirect is an answer.
type httpCheck struct {
	dialer
	path     string
	host     string
	statuses []uint32
	agent    string
}

func newHTTP(spec *pb.HealthCheckSpec, probe *pb.HttpProbe, o Options) (Check, error) {
	port := probe.GetPort()
	if port == 0 {
		port = 80
	}
	d, err := newDialer(spec, port, o)
	if err != nil {
		return nil, err
	}
	c := &httpCheck{
		dialer: d, path: probe.GetPath(), host: probe.GetHost(), statuses: probe.GetExpectedStatuses(),
		agent: "fairlead-probe/" + o.Version,
	}
	if c.path == "" {
		c.path = "/"
	}
	if u, err := url.ParseRequestURI(c.path); err != nil || c.path[0] != '/' || u.Host != "" {
		return nil, fmt.Errorf("path %.80q: want a path as /healthz", c.path)
	}
	if strings.ContainsFunc(c.host, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '/' }) {
		return nil, fmt.Errorf("host %.80q: want a host as www.example.com", c.host)
	}
	for _, s := range c.statuses {
		if s < 100 || s > 599 {
			return nil, fmt.Errorf("expected status %d: want 100 to 599", s)
		}
	}
	return c, nil
}

// Probe implements Check.
func (c *httpCheck) Probe(ctx context.Context, target string) Outcome {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	start := time.Now()
	conn, addr, out := c.connect(ctx, target)
	if conn == nil {
		return out
	}
	defer conn.Close()
	sent := time.Now()
	resp, err := c.get(ctx, conn, addr, target)
	out.Latency = time.Since(start)
	if err != nil {
		out.Result, out.Reason = c.explain(ctx, err, "waiting for the response", "no valid HTTP response")
		return out
	}
	out.Phases.FirstByte = time.Since(sent)
	// The status decides. The body is read, as far as it comes in time, so that
	// the server can finish what it does.
	_, _ = io.CopyN(io.Discard, resp.Body, maxBody)
	resp.Body.Close()
	out.Result, out.Reason = Failed, "HTTP "+strconv.Itoa(resp.StatusCode)
	if c.expected(resp.StatusCode) {
		out.Result = Passed
	}
	return out
}

func (c *httpCheck) expected(code int) bool {
	if len(c.statuses) == 0 {
		return code >= 200 && code <= 399
	}
	return slices.Contains(c.statuses, uint32(code))
}

// get sends the request on the connection and reads the response's header.
func (c *httpCheck) get(ctx context.Context, conn net.Conn, addr netip.Addr, target string) (*http.Response, error) {
	used := false
	transport := &http.Transport{
		// Exactly one connection, the one that was checked; no proxy, no reuse.
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			if used {
				return nil, errors.New("a check makes one connection")
			}
			used = true
			return conn, nil
		},
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
	}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.authority(addr, target)+c.path, nil)
	if err != nil {
		return nil, err
	}
	if c.host != "" {
		req.Host = c.host
	}
	req.Header.Set("User-Agent", c.agent)
	return transport.RoundTrip(req)
}

// authority is the target as a Host header names it (RFC 9110 section 7.2): an
// IPv6 address in brackets, and the default port left out.
func (c *httpCheck) authority(addr netip.Addr, target string) string {
	if _, err := netip.ParseAddr(target); err == nil {
		target = addr.WithZone("").String()
		if addr.Is6() {
			target = "[" + target + "]"
		}
	}
	if c.port != 80 {
		target += ":" + strconv.Itoa(int(c.port))
	}
	return target
}
