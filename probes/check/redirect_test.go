package check

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// names answers for host names, over real DNS: each query for a name takes the
// next of its addresses, and the last for ever.
type names struct {
	mu    sync.Mutex
	addrs map[string][]string
	asked map[string]int
}

func (n *names) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	name := strings.TrimSuffix(q.Question[0].Name, ".")
	addrs, ok := n.addrs[name]
	if !ok {
		m.Rcode = dns.RcodeNameError
	}
	v4 := q.Question[0].Qtype == dns.TypeA
	for _, a := range addrs {
		addr := netip.MustParseAddr(a)
		if addr.Is4() != v4 {
			continue
		}
		rr := dns.RR(&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: addr.AsSlice()})
		if !v4 {
			rr = &dns.AAAA{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeAAAA, Class: dns.ClassINET}, AAAA: addr.AsSlice()}
		}
		m.Answer = append(m.Answer, rr)
		if strings.HasPrefix(name, "rebinds.") {
			if len(addrs) > 1 {
				n.addrs[name] = addrs[1:]
			}
			break
		}
	}
	n.asked[name]++
	w.WriteMsg(m)
}

// resolver starts a server of the names.
func (n *names) resolver(t *testing.T) *net.Resolver {
	t.Helper()
	n.asked = map[string]int{}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{PacketConn: pc, Handler: n}
	done := make(chan struct{})
	go func() { defer close(done); s.ActivateAndServe() }()
	t.Cleanup(func() { pc.Close(); <-done })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
}

func TestRedirects(t *testing.T) {
	authority := newCA(t)
	type seen struct{ host, method, secret, body string }
	var mu sync.Mutex
	var requests []seen
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		requests = append(requests, seen{r.Host + r.RequestURI, r.Method, r.Header.Get("X-Secret"), string(body)})
		mu.Unlock()
		if to := r.URL.Query().Get("to"); to != "" {
			code := http.StatusFound
			fmt.Sscanf(r.URL.Path, "/%d", &code)
			w.Header().Set("Location", to)
			w.WriteHeader(code)
			return
		}
		if r.URL.Path == "/loop" {
			w.Header().Set("Location", "/loop")
			w.WriteHeader(http.StatusFound)
		}
		if r.URL.Path == "/nowhere" {
			w.WriteHeader(http.StatusFound)
		}
		if r.URL.Path == "/sick" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	plain := serveHTTP(t, nil, h)
	secure := serveHTTP(t, authority.config(t, leaf{names: []string{"127.0.0.1", "www.example.test", "other.example.test"}}), h)
	n := &names{addrs: map[string][]string{"other.example.test": {"127.0.0.1"}, "inside.example.test": {"127.0.0.3"}, "meta.example.test": {"169.254.169.254"}}}
	resolver := n.resolver(t)
	// 127.0.0.1 may be probed, and nothing else of the loopback network.
	o := Options{Version: "1.2", Guard: NewGuard([]netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")})}
	ours := &pb.TlsOptions{CaCertificates: authority.text}

	at := func(scheme, host string, port uint32, path string) string {
		return fmt.Sprintf("%s://%s:%d%s", scheme, host, port, path)
	}
	for _, tc := range []struct {
		name, path string
		p          *pb.HttpProbe
		result     Result
		reason     string
		requests   string // hosts and paths
	}{
		{"none followed", "/?to=/there", &pb.HttpProbe{}, Passed, "HTTP 302", "W/?to=/there"},
		{"relative", "/?to=/there", &pb.HttpProbe{MaxRedirects: 1}, Passed, "HTTP 200", "W/?to=/there W/there"},
		{"without a Location", "/nowhere", &pb.HttpProbe{MaxRedirects: 1}, Passed, "HTTP 302", "W/nowhere"},
		{"300 is an answer", "/300?to=/there", &pb.HttpProbe{MaxRedirects: 1}, Passed, "HTTP 300", "W/300?to=/there"},
		{"to a failure", "/?to=/sick", &pb.HttpProbe{MaxRedirects: 1}, Failed, "after a redirect: HTTP 503", "W/?to=/there W/sick"},
		{"in a circle", "/loop", &pb.HttpProbe{MaxRedirects: 3}, Failed, "after a redirect: more than 3 redirects", "W/loop W/loop W/loop W/loop"},
		// The name of the check stays at the target, though it leads nowhere in DNS.
		{"its own name", "/?to=" + at("http", "www.example.test", plain, "/there"), &pb.HttpProbe{MaxRedirects: 1}, Passed, "HTTP 200", "W/?to W/there"},
		{"to https", "/?to=" + at("https", "www.example.test", secure, "/there"), &pb.HttpProbe{MaxRedirects: 1}, Failed, "after a redirect: certificate signed by an unknown authority", "W/?to"},
		{"to another port", "/?to=" + at("http", "www.example.test", closedPort(t), "/"), &pb.HttpProbe{MaxRedirects: 1}, Failed, "after a redirect: connection refused", "W/?to"},
		{"another name", "/?to=" + at("http", "other.example.test", plain, "/there"), &pb.HttpProbe{MaxRedirects: 1}, Passed, "HTTP 200", "W/?to O/there"},
		{"an address", "/?to=" + at("http", "127.0.0.1", plain, "/there"), &pb.HttpProbe{MaxRedirects: 1}, Passed, "HTTP 200", "W/?to A/there"},
		{"no such name", "/?to=http://nx.example.test/", &pb.HttpProbe{MaxRedirects: 1}, Failed, "after a redirect: no such host", "W/?to"},
		{"downgrade", "/?to=" + at("http", "www.example.test", plain, "/there"), &pb.HttpProbe{MaxRedirects: 1, Port: secure, Tls: ours}, Failed, "after a redirect: from https to http", "S/?to"},
		{"https to https", "/?to=" + at("https", "other.example.test", secure, "/there"), &pb.HttpProbe{MaxRedirects: 1, Port: secure, Tls: ours}, Passed, "HTTP 200", "S/?to o/there"},
		{"the stated name is for the first", "/?to=" + at("https", "127.0.0.1", secure, "/there"), &pb.HttpProbe{MaxRedirects: 1, Port: secure, Tls: &pb.TlsOptions{CaCertificates: authority.text, ServerName: "www.example.test"}}, Passed, "HTTP 200", "S/?to a/there"},
		// What may not be reached.
		{"metadata", "/?to=http://169.254.169.254/latest/meta-data/", &pb.HttpProbe{MaxRedirects: 1}, Failed, "after a redirect: refused: a link-local address; --allow-target allows it", "W/?to"},
		{"metadata by name", "/?to=http://meta.example.test/", &pb.HttpProbe{MaxRedirects: 1}, Failed, "after a redirect: refused: a link-local address; --allow-target allows it", "W/?to"},
		{"loopback by name", "/?to=" + at("http", "inside.example.test", plain, "/"), &pb.HttpProbe{MaxRedirects: 1}, Failed, "after a redirect: refused: a loopback address; --allow-target allows it", "W/?to"},
		{"mapped", "/?to=" + at("http", "[::ffff:127.0.0.3]", plain, "/"), &pb.HttpProbe{MaxRedirects: 1}, Failed, "after a redirect: refused: a loopback address; --allow-target allows it", "W/?to"},
		{"with a zone", "/?to=http://[fe80::1%25lo]/", &pb.HttpProbe{MaxRedirects: 1}, Failed, "after a redirect: no valid URL", "W/?to"},
		{"in decimal", "/?to=http://2130706435/", &pb.HttpProbe{MaxRedirects: 1}, Failed, "after a redirect: no such host", "W/?to"},
		{"a file", "/?to=file:///etc/passwd", &pb.HttpProbe{MaxRedirects: 1}, Failed, "after a redirect: no valid URL", "W/?to"},
		{"gopher", "/?to=gopher://www.example.test/", &pb.HttpProbe{MaxRedirects: 1}, Failed, "after a redirect: neither http nor https", "W/?to"},
		{"no port", "/?to=http://www.example.test:0/", &pb.HttpProbe{MaxRedirects: 1}, Failed, "after a redirect: no valid URL", "W/?to"},
		{"a space", "/?to=/a?b%20c", &pb.HttpProbe{MaxRedirects: 1}, Failed, "after a redirect: no valid URL", "W/?to"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			requests = nil
			if tc.p.Port == 0 {
				tc.p.Port = plain
			}
			tc.p.Host, tc.p.Path = fmt.Sprintf("www.example.test:%d", tc.p.Port), tc.path
			c := mustNew(t, httpSpec(ample, tc.p), o)
			c.(*httpCheck).resolver = resolver
			expect(t, c.Probe(t.Context(), "127.0.0.1"), tc.result, tc.reason)
			short := strings.NewReplacer(
				fmt.Sprintf("www.example.test:%d", plain), "W", fmt.Sprintf("other.example.test:%d", plain), "O", fmt.Sprintf("127.0.0.1:%d", plain), "A",
				fmt.Sprintf("www.example.test:%d", secure), "S", fmt.Sprintf("other.example.test:%d", secure), "o", fmt.Sprintf("127.0.0.1:%d", secure), "a")
			mu.Lock()
			defer mu.Unlock()
			want := strings.Fields(tc.requests)
			if len(requests) != len(want) {
				t.Fatalf("requests %v, want %s", requests, tc.requests)
			}
			for i, r := range requests {
				if got := short.Replace(r.host); !strings.HasPrefix(got, want[i]) && i > 0 {
					t.Errorf("request %d is to %s, want %s", i, got, want[i])
				}
			}
		})
	}

	// What goes along: the method and body where the status says so, the check's
	// headers to its own origin.
	for _, tc := range []struct {
		code   int
		to     string
		method string
		want   seen
	}{
		{301, "/there", "POST", seen{"", "GET", "s", ""}},
		{302, "/there", "PUT", seen{"", "GET", "s", ""}},
		{303, "/there", "HEAD", seen{"", "HEAD", "s", ""}},
		{307, "/there", "POST", seen{"", "POST", "s", "ping"}},
		{308, "/there", "PUT", seen{"", "PUT", "s", "ping"}},
		{302, at("http", "other.example.test", plain, "/there"), "GET", seen{"", "GET", "", ""}},
		{302, at("http", "127.0.0.1", plain, "/there"), "GET", seen{"", "GET", "", ""}},
		{308, at("http", "other.example.test", plain, "/there"), "POST", seen{"", "POST", "", "ping"}},
	} {
		for _, v := range []pb.HttpVersion{pb.HttpVersion_HTTP_VERSION_HTTP1, pb.HttpVersion_HTTP_VERSION_HTTP2} {
			t.Run(fmt.Sprint(tc.code, tc.method, tc.to, v), func(t *testing.T) {
				requests = nil
				p := &pb.HttpProbe{Version: v, Port: plain, Host: fmt.Sprintf("www.example.test:%d", plain), MaxRedirects: 1, Method: tc.method,
					Path: fmt.Sprintf("/%d?to=%s", tc.code, tc.to), Headers: map[string]string{"X-Secret": "s"}}
				if tc.method == "POST" || tc.method == "PUT" {
					p.Body = "ping"
				}
				c := mustNew(t, httpSpec(ample, p), o)
				c.(*httpCheck).resolver = resolver
				expect(t, c.Probe(t.Context(), "127.0.0.1"), Passed, "HTTP 200")
				mu.Lock()
				defer mu.Unlock()
				if len(requests) != 2 {
					t.Fatalf("requests %v", requests)
				}
				requests[1].host = ""
				if requests[1] != tc.want {
					t.Errorf("the second request was %+v, want %+v", requests[1], tc.want)
				}
			})
		}
	}
}

// The check's headers follow it to the same host over TLS.
func TestUpgradeKeepsHeaders(t *testing.T) {
	authority := newCA(t)
	secrets := make(chan string, 1)
	secure := serveHTTP(t, authority.config(t, leaf{}), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { secrets <- r.Header.Get("X-Secret") }))
	plain := serveHTTP(t, nil, http.RedirectHandler(fmt.Sprintf("https://www.example.test:%d/", secure), http.StatusMovedPermanently))
	c := mustNew(t, httpSpec(ample, &pb.HttpProbe{Port: plain, Host: "www.example.test", MaxRedirects: 1, Headers: map[string]string{"X-Secret": "s"}}), loopback)
	trust, err := newTrust(&pb.TlsOptions{CaCertificates: authority.text})
	if err != nil {
		t.Fatal(err)
	}
	c.(*httpCheck).upgrade = trust // for the system's authorities
	expect(t, c.Probe(t.Context(), "127.0.0.1"), Passed, "HTTP 200")
	if got := <-secrets; got != "s" {
		t.Errorf("the secret is %q", got)
	}
}

// A name that changes its address between the look and the connection has one
// look only.
func TestRebinding(t *testing.T) {
	var connections []string
	port := serve(t, func(c net.Conn) { connections = append(connections, c.LocalAddr().String()) })
	n := &names{addrs: map[string][]string{
		"rebinds.example.test": {"127.0.0.1", "169.254.169.254"},
		"mixed.example.test":   {"169.254.169.254", "127.0.0.1", "::1"},
		"six.example.test":     {"::1"},
	}}
	resolver := n.resolver(t)
	probe := func(target string, family pb.AddressFamily) Outcome {
		spec := tcpSpec(ample, port)
		spec.AddressFamily = family
		c := mustNew(t, spec, loopback)
		c.(*tcpCheck).resolver = resolver
		return c.Probe(t.Context(), target)
	}
	four, six := pb.AddressFamily_ADDRESS_FAMILY_IPV4, pb.AddressFamily_ADDRESS_FAMILY_IPV6
	out := probe("rebinds.example.test", four)
	expect(t, out, Passed, "connected")
	n.mu.Lock()
	if n.asked["rebinds.example.test"] != 1 || out.Phases.Resolve <= 0 {
		t.Errorf("asked %v, resolved in %s", n.asked, out.Phases.Resolve)
	}
	n.mu.Unlock()
	expect(t, probe("rebinds.example.test", four), Abstained, "refused: a link-local address; --allow-target allows it")
	expect(t, probe("mixed.example.test", four), Passed, "connected")
	// Only the stated family is probed.
	expect(t, probe("mixed.example.test", six), Failed, "connection refused")
	expect(t, probe("six.example.test", four), Failed, "no such host")
	expect(t, probe("six.example.test", pb.AddressFamily_ADDRESS_FAMILY_ANY), Failed, "connection refused")
	// An address is what it is.
	expect(t, probe("127.0.0.1", six), Passed, "connected")
}
