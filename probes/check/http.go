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
	dialer   dialer
	port     uint16
	path     string
	host     string
	statuses []uint32
	agent    string
}

func newHTTP(spec *pb.HttpProbe, o Options) (Check, error) {
	c := &httpCheck{
		dialer: dialer{o.Guard, net.DefaultResolver},
		path:   spec.GetPath(), host: spec.GetHost(), statuses: spec.GetExpectedStatuses(),
		agent: "fairlead-probe/" + o.Version,
	}
	port := spec.GetPort()
	if port == 0 {
		port = 80
	}
	if err := checkPort(port); err != nil {
		return nil, err
	}
	c.port = uint16(port)
	if c.path == "" {
		c.path = "/"
	}
	if u, err := url.ParseRequestURI(c.path); err != nil || !strings.HasPrefix(c.path, "/") || u.Host != "" {
		return nil, fmt.Errorf("path %.80q: want a path as /healthz", c.path)
	}
	for _, s := range c.statuses {
		if s < 100 || s > 599 {
			return nil, fmt.Errorf("expected status %d: want 100 to 599", s)
		}
	}
	return c, nil
}

func (c *httpCheck) Probe(ctx context.Context, target string) Outcome {
	start := time.Now()
	conn, addr, out := c.dialer.connect(ctx, target, c.port)
	if conn == nil {
		if out.Reason == "" {
			out.Reason = "connection failed"
		}
		return out
	}
	defer conn.Close()
	sent := time.Now()
	resp, err := c.get(ctx, conn, addr, target)
	out.Latency = time.Since(start)
	if err != nil {
		if out.Result, out.Reason = explain(ctx, err, "waiting for the response", start); out.Reason == "" {
			out.Reason = "no valid HTTP response"
		}
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
	authority := target
	if addr.Is6() && strings.Contains(target, ":") {
		authority = "[" + addr.WithZone("").String() + "]"
	}
	if c.port != 80 { // RFC 9110 section 7.2: the default port is left out
		authority += ":" + strconv.Itoa(int(c.port))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+authority+c.path, nil)
	if err != nil {
		return nil, err
	}
	if c.host != "" {
		req.Host = c.host
	}
	req.Header.Set("User-Agent", c.agent)
	return transport.RoundTrip(req)
}
