package tlsfiles

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/credentials"

	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles/authority"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

var wantController = identity.OneOf(identity.Controller)

func TestHandshake(t *testing.T) {
	k := newClock()
	ca, foreign, elsewhere := newCA(t, "fairlead", k.now()), newCA(t, "fairlead", k.now()), newCA(t, "elsewhere", k.now())
	bundle := caPEM(t, ca)
	files := func(ca *authority.CA, path string, life time.Duration, bundle []byte) *Files {
		return open(t, k.options(place(t, issue(t, ca, path, life, k.now()), bundle)))
	}
	server := files(ca, "controller/c1", 90*day, bundle)
	agent := files(ca, "agent/eu/a1", 90*day, bundle)
	for name, c := range map[string]struct {
		server, client *Files
		expect         func(identity.Identity) error
		say            string // one of these, by |; empty: it works
	}{
		"agent to controller":      {server, agent, wantController, ""},
		"viewer to controller":     {server, files(ca, "viewer/v", 90*day, bundle), wantController, ""},
		"exactly that nameserver":  {files(ca, "nameserver/eu/ns1", 90*day, bundle), server, identity.Exactly(identity.Nameserver, "eu", "ns1"), ""},
		"both bundles hold both":   {files(ca, "controller/c1", 90*day, caPEM(t, ca, foreign)), files(foreign, "agent/eu/a1", 90*day, caPEM(t, foreign, ca)), wantController, ""},
		"wrong role of the server": {agent, server, wantController, "it is agent a1 of region eu: want the role controller"},
		"another nameserver":       {files(ca, "nameserver/eu/ns1", 90*day, bundle), server, identity.Exactly(identity.Nameserver, "eu", "ns2"), "want nameserver ns2"},
		"nothing expected":         {server, agent, nil, "not who was expected"},
		"a person serves":          {files(ca, "admin/root", 90*day, bundle), agent, identity.OneOf(identity.Admin), "incompatible key usage"},
		"unknown CA of the client": {server, files(foreign, "agent/eu/a1", 90*day, caPEM(t, ca, foreign)), wantController, "remote error: tls: unknown certificate authority|broken pipe|connection reset"},
		"unknown CA of the server": {files(foreign, "controller/c1", 90*day, caPEM(t, ca, foreign)), agent, wantController, "certificate signed by unknown authority"},
		"server of another domain": {files(elsewhere, "controller/c1", 90*day, caPEM(t, ca, elsewhere)), files(ca, "agent/eu/a1", 90*day, caPEM(t, ca, elsewhere)), wantController, "is controller c1 of trust domain"},
	} {
		t.Run(name, func(t *testing.T) {
			addr := serve(t, c.server.Server())
			state, err := call(t, addr, c.client.Client(c.expect))
			check(t, err, c.say)
			if err == nil && (state.Version != tls.VersionTLS13 || state.NegotiatedProtocol != "h2" || state.DidResume) {
				t.Errorf("%+v", state)
			}
		})
	}
}

// check looks for one of the alternatives in an error.
func check(t *testing.T, err error, say string) {
	t.Helper()
	if (err == nil) != (say == "") {
		t.Fatalf("%v: want %q", err, say)
	}
	for s := range strings.SplitSeq(say, "|") {
		if err == nil || strings.Contains(err.Error(), s) {
			return
		}
	}
	t.Errorf("%v: want %q", err, say)
}

// refusedAlert is what a client may see of a server that refuses it.
func refusedAlert(alert string) string {
	return "remote error: tls: " + alert + "|broken pipe|connection reset|EOF"
}

func TestExpiredPeersAreRefused(t *testing.T) {
	k := newClock()
	ca := newCA(t, "fairlead", k.now())
	long := func(path string) *Files {
		return open(t, k.options(place(t, issue(t, ca, path, 90*day, k.now()), caPEM(t, ca))))
	}
	short := func(path string) *Files {
		return open(t, k.options(place(t, issue(t, ca, path, day, k.now()), caPEM(t, ca))))
	}
	controller, agent := long("controller/c1"), long("agent/eu/a1")
	fading, fadingAgent := short("controller/c1"), short("agent/eu/a1")
	good, bad := serve(t, controller.Server()), serve(t, fading.Server())
	kept := dial(t, bad, agent.Client(wantController))
	defer kept.Close()
	if _, err := callOn(kept); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*Files{agent, fadingAgent} {
		for _, addr := range []string{good, bad} {
			if _, err := call(t, addr, f.Client(wantController)); err != nil {
				t.Fatalf("before: %v", err)
			}
		}
	}
	k.advance(2 * day)
	_, err := call(t, good, fadingAgent.Client(wantController))
	check(t, err, refusedAlert("expired certificate"))
	_, err = call(t, bad, agent.Client(wantController))
	check(t, err, "expired at")
	_, err = call(t, good, agent.Client(wantController))
	check(t, err, "")
	// What is connected goes on.
	_, err = callOn(kept)
	check(t, err, "")
}

// Clients that are not ours, or not as ours are.
func TestServerRefusesOtherClients(t *testing.T) {
	now := time.Now()
	ca, elsewhere := newCA(t, "fairlead", now), newCA(t, "elsewhere", now)
	bundle := caPEM(t, ca, elsewhere)
	ours := open(t, place(t, issue(t, ca, "agent/eu/a1", day, now), bundle))
	theirs := open(t, place(t, issue(t, elsewhere, "agent/eu/a1", day, now), bundle))
	for name, c := range map[string]struct {
		from  *Files
		spoil func(*tls.Config)
		log   string // in the server's log
	}{
		"as ours":        {ours, func(c *tls.Config) {}, ""},
		"another domain": {theirs, func(c *tls.Config) {}, "agent a1 of region eu of trust domain"},
		"TLS 1.2":        {ours, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }, "unsupported versions"},
		"no certificate": {ours, func(c *tls.Config) { c.GetClientCertificate = nil }, "didn't provide a certificate"},
		"no ALPN":        {ours, func(c *tls.Config) { c.NextProtos = nil }, "missing selected ALPN"},
		"HTTP/1.1 only":  {ours, func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }, "missing selected ALPN"},
	} {
		t.Run(name, func(t *testing.T) {
			j, reg := &journal{}, prometheus.NewRegistry()
			o := place(t, issue(t, ca, "controller/c1", day, now), bundle)
			o.Log, o.Registerer = j.log(), reg
			addr := serve(t, open(t, o).Server())
			config := c.from.clientConfig(func(*material, tls.ConnectionState) error { return nil })
			config.NextProtos = []string{"h2"}
			c.spoil(config)
			conn, err := tls.Dial("tcp", addr, config)
			if err == nil {
				// In TLS 1.3 the client learns by its first read whether it may.
				conn.SetReadDeadline(time.Now().Add(patience))
				_, err = conn.Read(make([]byte, 9)) // the HTTP/2 settings
				conn.Close()
			}
			if (err == nil) != (c.log == "") {
				t.Fatalf("%v: want %q", err, c.log)
			}
			failed := 0.0
			if c.log != "" {
				failed = 1
				until(t, "the log says "+c.log, func() bool { return j.count(c.log) == 1 })
			}
			if got := value(t, reg, "fairlead_tls_handshakes_failed_total", "side=server"); got != failed {
				t.Errorf("%v failed: want %v", got, failed)
			}
		})
	}
}

// A client that would resume finds no ticket, and is verified anew.
func TestNoResumption(t *testing.T) {
	now := time.Now()
	old, next := newCA(t, "fairlead", now), newCA(t, "fairlead", now)
	serverOptions := place(t, issue(t, next, "controller/c1", day, now), caPEM(t, old, next))
	server := open(t, serverOptions)
	agent := open(t, place(t, issue(t, old, "agent/eu/a1", day, now), caPEM(t, old, next)))
	l, err := tls.Listen("tcp", "127.0.0.1:0", server.ServerTLS())
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("hello"))
			conn.Close()
		}
	}()
	defer func() { l.Close(); <-served }()
	config := agent.clientConfig(func(*material, tls.ConnectionState) error { return nil })
	config.SessionTicketsDisabled = false
	config.ClientSessionCache = tls.NewLRUClientSessionCache(10)
	config.ServerName = "controller"
	try := func() (resumed bool, err error) {
		conn, err := tls.Dial("tcp", l.Addr().String(), config)
		if err != nil {
			return false, err
		}
		defer conn.Close()
		_, err = io.ReadAll(conn)
		return conn.ConnectionState().DidResume, err
	}
	for range 2 {
		if resumed, err := try(); err != nil || resumed {
			t.Fatalf("resumed %v, %v", resumed, err)
		}
	}
	write(t, serverOptions.CAFile, caPEM(t, next), 0o644)
	if err := server.Reload(); err != nil {
		t.Fatal(err)
	}
	_, err = try()
	check(t, err, refusedAlert("unknown certificate authority"))
}

// For HTTP and etcd: host names are checked, the own certificate needs no
// identity, the server's neither.
func TestClientTLS(t *testing.T) {
	now := time.Now()
	ca, foreign := newCA(t, "fairlead", now), newCA(t, "fairlead", now)
	etcd := func(ca *authority.CA, hosts ...string) string {
		p := issue(t, ca, "etcd/e1", day, now, hosts...)
		f := open(t, place(t, p, caPEM(t, ca, foreign)))
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			id, err := identity.FromCertificate(r.TLS.PeerCertificates[0])
			if err == nil {
				_, err = io.WriteString(w, id.String())
			}
			if err != nil {
				t.Error(err)
			}
		}))
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.TLS = f.ServerTLS()
		s.StartTLS()
		t.Cleanup(s.Close)
		_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
		return port
	}
	byAddress, byName, strange := etcd(ca, "127.0.0.1"), etcd(ca, "localhost"), etcd(foreign, "127.0.0.1")
	o := place(t, issue(t, ca, "controller/c1", day, now), caPEM(t, ca))
	o.Plain = true
	f := open(t, o)
	if f.Identity().Role != identity.None {
		t.Error("an identity under Plain")
	}
	here, there := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.1")
	for name, c := range map[string]struct {
		url       string
		addresses []netip.Addr
		say       string
	}{
		"address":             {"https://127.0.0.1:" + byAddress, []netip.Addr{there, here}, ""},
		"mapped address":      {"https://127.0.0.1:" + byAddress, []netip.Addr{netip.MustParseAddr("::ffff:127.0.0.1")}, ""},
		"name":                {"https://localhost:" + byName, nil, ""},
		"another address":     {"https://127.0.0.1:" + byAddress, []netip.Addr{there}, "holds none of the addresses [192.0.2.1]"},
		"no address expected": {"https://127.0.0.1:" + byAddress, nil, "holds none of the addresses"},
		"another name":        {"https://localhost:" + byAddress, []netip.Addr{here}, "to match localhost"},
		"name for an address": {"https://127.0.0.1:" + byName, []netip.Addr{here}, "holds none of the addresses"},
		"unknown CA":          {"https://127.0.0.1:" + strange, []netip.Addr{here}, "unknown authority"},
	} {
		t.Run(name, func(t *testing.T) {
			tr := &http.Transport{TLSClientConfig: f.ClientTLS(c.addresses...), ForceAttemptHTTP2: true}
			defer tr.CloseIdleConnections()
			res, err := (&http.Client{Transport: tr, Timeout: patience}).Get(c.url)
			check(t, err, c.say)
			if err != nil {
				return
			}
			body, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if string(body) != "controller c1" || res.ProtoMajor != 2 {
				t.Errorf("%s, %s", body, res.Proto)
			}
		})
	}
	// gRPC's own use of the configuration, which is etcd's client's.
	if _, err := call(t, "127.0.0.1:"+byAddress, credentials.NewTLS(f.ClientTLS(here))); err == nil || !strings.Contains(err.Error(), "415") && !strings.Contains(err.Error(), "Unimplemented") && !strings.Contains(err.Error(), "content-type") {
		t.Errorf("%v: want an answer in HTTP", err)
	}
	// Without an identity nothing of Fairlead's own works.
	server := open(t, place(t, issue(t, ca, "controller/c2", day, now), caPEM(t, ca)))
	_, err := call(t, serve(t, server.Server()), f.Client(wantController))
	check(t, err, "opened without an identity")
}
