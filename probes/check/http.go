package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// Bounds on what a specification says of a request, and on a response's header.
const (
	maxHeader       = 64 << 10
	maxHeaders      = 32
	maxHeadersSize  = 8 << 10
	maxRequestBody  = 4096
	maxRedirects    = 10
	maxInformations = 5
)

// httpCheck passes when a request on a new connection is answered with an
// expected status, and body where stated, in time.
type httpCheck struct {
	dialer
	version   pb.HttpVersion
	tls       *trust // nil: without TLS
	method    string
	path      string
	host      string
	body      string
	agent     string
	header    http.Header // beside Host and User-Agent
	fields    string      // the same as HTTP/1.1 writes it
	expected  [600]bool
	wants     pattern
	redirects int
	// upgrade is for redirects to https of a check without TLS; where this host
	// cannot verify certificates, upgradeErr says why.
	upgrade    *trust
	upgradeErr error
}

func newHTTP(spec *pb.HealthCheckSpec, probe *pb.HttpProbe, o Options) (Check, error) {
	c := &httpCheck{
		version: probe.GetVersion(), method: cmp.Or(probe.GetMethod(), http.MethodGet), path: cmp.Or(probe.GetPath(), "/"),
		host: probe.GetHost(), body: probe.GetBody(), agent: "fairlead-probe/" + o.Version, header: http.Header{},
		redirects: int(probe.GetMaxRedirects()),
	}
	port := uint32(80)
	if probe.GetTls() != nil {
		port = 443
		t, err := newTrust(probe.GetTls())
		if err != nil {
			return nil, err
		}
		c.tls = t
	}
	c.upgrade = c.tls
	if c.tls == nil && c.redirects > 0 {
		c.upgrade, c.upgradeErr = newTrust(nil)
	}
	var err error
	if c.dialer, err = newDialer(spec, probe.GetPort(), port, o); err != nil {
		return nil, err
	}
	switch c.version {
	case pb.HttpVersion_HTTP_VERSION_UNSPECIFIED, pb.HttpVersion_HTTP_VERSION_HTTP1, pb.HttpVersion_HTTP_VERSION_HTTP2:
	case pb.HttpVersion_HTTP_VERSION_HTTP3:
		if c.tls == nil {
			return nil, fmt.Errorf("HTTP/3 without TLS: want tls, which may be empty")
		}
	default:
		return nil, tooNew(o, "version of HTTP")
	}
	if err := c.request(probe); err != nil {
		return nil, err
	}
	return c, c.response(probe)
}

// request checks what is sent.
func (c *httpCheck) request(probe *pb.HttpProbe) error {
	u, err := url.ParseRequestURI(c.path)
	if err != nil || c.path[0] != '/' || u.Host != "" {
		return fmt.Errorf("path %.80q: want a path as /healthz", c.path)
	}
	if !visible(c.path) {
		return fmt.Errorf("path %.80q: want spaces, # and what is not ASCII written as %%XX", c.path)
	}
	if c.host != "" && !isAuthority(c.host) {
		return fmt.Errorf("host %.80q: want a host as www.example.com", c.host)
	}
	if addr, err := netip.ParseAddr(c.host); err == nil && addr.Is6() {
		c.host = "[" + c.host + "]"
	}
	switch c.method {
	case http.MethodPost, http.MethodPut:
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		if c.body != "" {
			return fmt.Errorf("a body with %s: want POST or PUT", c.method)
		}
	default:
		return fmt.Errorf("method %.20q: want GET, HEAD, POST, PUT or OPTIONS", c.method)
	}
	if len(c.body) > maxRequestBody {
		return fmt.Errorf("a body of %d bytes: want at most %d", len(c.body), maxRequestBody)
	}
	if c.redirects > maxRedirects {
		return fmt.Errorf("%d redirects: want at most %d", c.redirects, maxRedirects)
	}
	return c.headers(probe.GetHeaders())
}

// visible tells whether a path can be sent as it is (RFC 9112 section 3.2).
func visible(path string) bool {
	return !strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '#' })
}

// hopByHop are the fields that belong to the connection (RFC 9110 section 7.6.1)
// or that the check writes itself.
var hopByHop = []string{
	"Host", "Content-Length", "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

func (c *httpCheck) headers(fields map[string]string) error {
	if len(fields) > maxHeaders {
		return fmt.Errorf("%d headers: want at most %d", len(fields), maxHeaders)
	}
	size := 0
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		value, key := fields[name], http.CanonicalHeaderKey(name)
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			return fmt.Errorf("header %.80q: want a name as X-Probe", name)
		case !httpguts.ValidHeaderFieldValue(value):
			return fmt.Errorf("header %s: its value holds a line break or another control character", name)
		case slices.Contains(hopByHop, key):
			return fmt.Errorf("header %s: the check writes it itself", name)
		case key == "User-Agent":
			c.agent = value
			continue
		case c.header[key] != nil:
			return fmt.Errorf("header %s is there twice", key)
		}
		c.header.Set(key, value)
		c.fields += key + ": " + value + "\r\n"
		if size += len(name) + len(value); size > maxHeadersSize {
			return fmt.Errorf("headers of more than %d bytes", maxHeadersSize)
		}
	}
	return nil
}

// response checks what is expected.
func (c *httpCheck) response(probe *pb.HttpProbe) error {
	for _, s := range probe.GetExpectedStatuses() {
		if s < 100 || s > 599 {
			return fmt.Errorf("expected status %d: want 100 to 599", s)
		}
		c.expected[s] = true
	}
	ranges := probe.GetExpectedStatusRanges()
	if len(ranges) == 0 && len(probe.GetExpectedStatuses()) == 0 {
		ranges = []string{"200-399"}
	}
	for _, r := range ranges {
		first, last, _ := strings.Cut(r, "-")
		from, err1 := strconv.ParseUint(first, 10, 16)
		to, err2 := strconv.ParseUint(last, 10, 16)
		if err1 != nil || err2 != nil || from < 100 || to > 599 || from > to {
			return fmt.Errorf("expected status range %.20q: want two of 100 to 599, as 200-299", r)
		}
		for s := from; s <= to; s++ {
			c.expected[s] = true
		}
	}
	var err error
	c.wants, err = newPattern("bodyContains", probe.GetBodyContains(), "bodyMatches", probe.GetBodyMatches())
	if err == nil && !c.wants.empty() && c.method == http.MethodHead {
		err = fmt.Errorf("a response to HEAD has no body (RFC 9110 section 9.3.2): want GET")
	}
	return err
}

// Probe implements Check.
func (c *httpCheck) Probe(ctx context.Context, target string) Outcome {
	a, cancel := c.begin(ctx)
	defer cancel()
	addr, ok := a.locate(target)
	if !ok {
		return a.out
	}
	first := c.first(target, addr)
	r := first
	for left := c.redirects; ; left-- {
		to, ok := c.hop(a, &r)
		if !ok {
			return a.out
		}
		if left == 0 {
			return a.end(Failed, fmt.Sprintf("more than %d redirects", c.redirects))
		}
		if r, ok = c.follow(a, &first, &r, to); !ok {
			return a.out
		}
	}
}

// request is one request of a check.
type request struct {
	tls          *trust // nil: without TLS
	addr         netip.Addr
	port         uint16
	authority    string // as the Host header names it (RFC 9110 section 7.2)
	name         string // as TLS asks for it, unless the check states one
	method, path string
	body         string
	foreign      bool // to another origin, which the check's own headers are not for
}

func (c *httpCheck) first(target string, addr netip.Addr) request {
	r := request{
		tls: c.tls, addr: addr, port: c.port, method: c.method, path: c.path, body: c.body,
		authority: c.host, name: nameFor(c.host, target, addr),
	}
	if r.authority == "" {
		r.authority = authority(r.name, c.port, r.tls != nil)
	}
	return r
}

// authority writes an IPv6 address in brackets and leaves the default port out.
func authority(host string, port uint16, secure bool) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if secure && port == 443 || !secure && port == 80 {
		return host
	}
	return host + ":" + strconv.Itoa(int(port))
}

// hop makes one request on a connection of its own. When the response is a
// redirect that the check follows, it returns it; otherwise ok is false and the
// outcome stands.
func (c *httpCheck) hop(a *attempt, r *request) (to redirect, ok bool) {
	if c.version == pb.HttpVersion_HTTP_VERSION_HTTP3 {
		return c.hop3(a, r)
	}
	conn := a.connect("tcp", r.addr, r.port)
	if conn == nil {
		return redirect{}, false
	}
	defer conn.Close()
	two := c.version == pb.HttpVersion_HTTP_VERSION_HTTP2
	if r.tls == nil {
		if two {
			return c.hop2(a, r, conn)
		}
		return c.hop1(a, r, conn)
	}
	protocol := "http/1.1"
	if two {
		protocol = "h2"
	}
	secured := a.secure(conn, r.tls, r.name, protocol)
	if secured == nil {
		return redirect{}, false
	}
	if !two {
		return c.hop1(a, r, secured)
	}
	if secured.ConnectionState().NegotiatedProtocol != protocol {
		a.end(Failed, "the target does not speak HTTP/2")
		return redirect{}, false
	}
	return c.hop2(a, r, secured)
}

// noResponse is the outcome when no header of a response came.
func (c *httpCheck) noResponse(a *attempt, err error) (redirect, bool) {
	a.fail(err, "waiting for the response", "no valid HTTP response")
	return redirect{}, false
}

// judge takes a response whose header is there.
func (c *httpCheck) judge(a *attempt, resp *http.Response, s *scratch) (redirect, bool) {
	if to := (redirect{resp.StatusCode, resp.Header.Get("Location")}); c.redirects > 0 && to.asks() {
		return to, true
	}
	if code := resp.StatusCode; code >= 100 && code < len(c.expected) && c.expected[code] {
		a.end(Passed, statusText(code))
	} else {
		a.end(Failed, statusText(code))
	}
	if a.out.Result == Passed && !c.wants.empty() {
		c.judgeBody(a, resp, s)
		return redirect{}, false
	}
	// The status decides. The body is read, as far as it comes in time, so that
	// the server can finish what it does.
	buffer := s.room(4 << 10)
	for left := maxText; left > 0; {
		n, err := resp.Body.Read(buffer)
		if left -= n; err != nil {
			break
		}
	}
	return redirect{}, false
}

// judgeBody looks for what the body must hold.
func (c *httpCheck) judgeBody(a *attempt, resp *http.Response, s *scratch) {
	start := time.Now()
	status, text := a.out.Reason, s.room(maxText)[:0]
	for look := (search{pattern: &c.wants, whole: true}); ; {
		n, err := resp.Body.Read(text[len(text):min(maxText, len(text)+4<<10)])
		text = text[:len(text)+n]
		ended := err == io.EOF || len(text) == maxText
		found := look.found(text, ended)
		a.out.Phases.Body = time.Since(start)
		switch {
		case found:
			a.end(Passed, status)
			return
		case ended && !look.held:
			a.end(Failed, status+", the body lacks the expected text")
			return
		case ended:
			a.end(Failed, status+", the body does not match")
			return
		case errors.Is(err, io.ErrUnexpectedEOF) && a.ctx.Err() == nil:
			a.end(Failed, status+", the body ends early")
			return
		case err != nil:
			a.fail(err, "reading the body", status+", the body is not valid")
			return
		}
	}
}

var statusTexts = func() (texts [600]string) {
	for i := range texts {
		texts[i] = "HTTP " + strconv.Itoa(i)
	}
	return texts
}()

func statusText(code int) string {
	if code < 0 || code >= len(statusTexts) {
		return "HTTP status out of range"
	}
	return statusTexts[code]
}
