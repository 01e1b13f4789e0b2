package cli

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles"
	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles/authority"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

const day = 24 * time.Hour

func newCA(t *testing.T, domain string) *authority.CA {
	t.Helper()
	ca, err := authority.New(domain, 365*day, time.Now().Add(-100*day))
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// holder is a certificate with its key, in files, and a bundle of CAs.
type holder struct{ cert, key, ca string }

// issue issues a certificate that was valid for 90 days from begin on, to a
// holder who trusts the given CAs, or else the issuing one.
func issue(t *testing.T, ca *authority.CA, path string, begin time.Time, trusts ...*authority.CA) holder {
	t.Helper()
	id, err := identity.Parse("spiffe://" + ca.TrustDomain() + "/" + path)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(authority.Request{Identity: id, Life: 90 * day}, begin)
	if err != nil {
		t.Fatal(err)
	}
	if len(trusts) == 0 {
		trusts = []*authority.CA{ca}
	}
	var bundle []byte
	for _, c := range trusts {
		cert, _, err := c.PEM()
		if err != nil {
			t.Fatal(err)
		}
		bundle = append(bundle, cert...)
	}
	dir := t.TempDir()
	h := holder{filepath.Join(dir, "me.crt"), filepath.Join(dir, "me.key"), filepath.Join(dir, "ca.crt")}
	for path, data := range map[string][]byte{h.cert: pair.CertificatePEM, h.key: pair.KeyPEM, h.ca: bundle} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func (h holder) flags(args ...string) []string {
	return append(args, "--tls-cert", h.cert, "--tls-key", h.key, "--tls-ca", h.ca)
}

// server is the holder's credentials as a server, at a time.
func (h holder) server(t *testing.T, now time.Time) grpc.ServerOption {
	t.Helper()
	f, err := tlsfiles.Open(tlsfiles.Options{
		CertFile: h.cert, KeyFile: h.key, CAFile: h.ca, Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return grpc.Creds(f.Server())
}

// Both sides know each other by certificate, and what is wrong is told with
// what to do about it.
func TestMutualTLS(t *testing.T) {
	now := time.Now()
	ca, foreign, elsewhere := newCA(t, "fairlead"), newCA(t, "fairlead"), newCA(t, "elsewhere")
	f := &fake{status: well}
	alice := issue(t, ca, "admin/alice", now)
	controller := issue(t, ca, "controller/c1", now)
	good := serve(t, f, controller.server(t, now))
	run(t, "", alice.flags("status", "--controller", good)...).want(t, exitDone, "controller alive")

	early := now.Add(-50 * day) // when the expired ones were not
	for name, c := range map[string]struct {
		server grpc.ServerOption
		client holder
		want   []string
	}{
		"server's certificate expired": {
			issue(t, ca, "controller/c1", now.Add(-99*day)).server(t, now), alice,
			[]string{`the server's certificate (of "CN=c1`, `expired at `, "; it has to be renewed there"},
		},
		"server of an unknown CA": {
			issue(t, foreign, "controller/c1", now, foreign, ca).server(t, now), alice,
			[]string{"certificate signed by unknown authority; want one issued by a CA in " + alice.ca},
		},
		"server of the wrong role": {
			issue(t, ca, "nameserver/eu-west/ns1", now).server(t, now), alice,
			[]string{"it is nameserver ns1 of region eu-west: want the role controller; does --controller name the right port?"},
		},
		"server of another installation": {
			issue(t, elsewhere, "controller/c1", now, elsewhere, ca).server(t, now), issue(t, ca, "admin/alice", now, ca, elsewhere),
			[]string{`is controller c1 of trust domain "elsewhere": want "fairlead"`, "me.crt is of another installation"},
		},
		"own certificate expired": {
			controller.server(t, now), issue(t, ca, "admin/alice", now.Add(-95*day)),
			[]string{"warning: the certificate ", "expired 5d", "our certificate ", " expired"},
		},
		"own certificate of an unknown CA": {
			controller.server(t, now), issue(t, foreign, "admin/alice", now, ca, foreign),
			[]string{"our certificate "},
		},
		"own certificate of another installation": {
			issue(t, ca, "controller/c1", now, ca, elsewhere).server(t, now), issue(t, elsewhere, "admin/alice", now, ca, elsewhere),
			[]string{`is controller c1 of trust domain "fairlead": want "elsewhere"`},
		},
		"own certificate expires soon": {
			issue(t, ca, "controller/c1", early).server(t, now), issue(t, ca, "admin/alice", now.Add(-80*day+time.Hour)),
			[]string{"warning: the certificate ", "expires in 10d"},
		},
		"no TLS there": {
			nil, alice, []string{"it speaks no TLS; --insecure-plaintext does without"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var opts []grpc.ServerOption
			if c.server != nil {
				opts = append(opts, c.server)
			}
			addr := serve(t, f, opts...)
			r := run(t, "", c.client.flags("status", "--controller", addr, "--timeout", "5s")...)
			code := exitFailed
			if strings.Contains(name, "soon") {
				code = exitDone
			}
			r.want(t, code, c.want...)
			for _, noise := range []string{"is a controller running", "transport:", "rpc error", "desc =", "x509:"} {
				if strings.Contains(r.err, noise) {
					t.Errorf("%q in %s", noise, r.err)
				}
			}
		})
	}

	run(t, "", "status", "--controller", good).want(t, exitFailed, good+": it does not speak gRPC without TLS: give --tls-cert, --tls-key and --tls-ca")
	run(t, "", "status", "--controller", good, "--insecure-plaintext").want(t, exitFailed, "it does not speak gRPC without TLS")
	// One that can be talked to is talked to.
	bad := serve(t, f)
	run(t, "", alice.flags("status", "--controller", bad+","+good)...).want(t, exitDone, "controller alive")
	r := run(t, "", alice.flags("status", "--controller", bad+","+deadAddress(t))...)
	r.want(t, exitFailed, "fairlead: "+bad+": it speaks no TLS", "; 127.0.0.1:", "(connection refused) does not answer\n")
}

// Whatever the server says of a certificate, it is told in words, also when
// the alert was lost.
func TestAlerts(t *testing.T) {
	h := issue(t, newCA(t, "fairlead"), "admin/alice", time.Now())
	files, err := openTLS(h.cert, h.key, h.ca, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	sec := security{files: files, cert: "me.crt", ca: "ca.crt", now: time.Now}
	for alert, want := range map[string]string{
		"remote error: tls: expired certificate":                 "it refuses our certificate me.crt as expired: renew it, as with `fairlead pki renew`",
		"remote error: tls: unknown certificate authority":       "it refuses our certificate me.crt, which none of its CAs has issued: is it of this installation?",
		"remote error: tls: bad certificate":                     "it refuses our certificate me.crt: want an identity of its trust domain (`fairlead pki show me.crt`)",
		"remote error: tls: handshake failure":                   "it ends the TLS handshake: handshake failure",
		"write tcp 127.0.0.1:1->127.0.0.1:2: write: broken pipe": "it ends the connection after the handshake: it may not take our certificate me.crt",
		"EOF": "it ends the connection after the handshake: it may not take our certificate me.crt",
		"read tcp 127.0.0.1:1->127.0.0.1:2: connection reset by peer": "it ends the connection after the handshake: it may not take our certificate me.crt",
	} {
		desc := "error reading server preface: " + alert
		if strings.Contains(alert, "pipe") {
			desc = "transport: failed to write client preface: " + alert
		}
		got, kind := dialReason(fmt.Sprintf("connection error: desc = %q", desc), flagController, sec)
		if got != want || kind != insecure {
			t.Errorf("%s: %q, %v; want %q", alert, got, kind, want)
		}
	}
	sec.now = func() time.Time { return time.Now().Add(100 * day) }
	if got, _ := dialReason(`connection error: desc = "error reading server preface: EOF"`, flagController, sec); !strings.HasSuffix(got, "our certificate me.crt is expired") {
		t.Error(got)
	}
}

// A nameserver explains with its own certificate, and a controller does not
// pass for one.
func TestNameserverTLS(t *testing.T) {
	now := time.Now()
	ca := newCA(t, "fairlead")
	alice := issue(t, ca, "viewer/alice", now)
	answer := func(*pb.ExplainRequest) (*pb.ExplainResponse, error) {
		return &pb.ExplainResponse{Source: "nameserver/ns1", Answers: []string{"192.0.2.1"}}, nil
	}
	ns := serve(t, &fake{explain: answer}, issue(t, ca, "nameserver/eu-west/ns1", now).server(t, now))
	controller := serve(t, &fake{explain: answer}, issue(t, ca, "controller/c1", now).server(t, now))
	explain := []string{"explain", "a.test", "--client", "192.0.2.1", "-o", "name"}
	run(t, "", alice.flags(append(explain, "--nameserver", ns)...)...).want(t, exitDone, "192.0.2.1\n")
	run(t, "", alice.flags(append(explain, "--nameserver", controller)...)...).want(t, exitFailed,
		"it is controller c1: want the role nameserver; does --nameserver name the right port?")
}

// An HTTPS server is not taken for a controller.
func TestNotGRPC(t *testing.T) {
	now := time.Now()
	ca := newCA(t, "fairlead")
	h := issue(t, ca, "controller/c1", now)
	f, err := tlsfiles.Open(tlsfiles.Options{CertFile: h.cert, KeyFile: h.key, CAFile: h.ca, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{TLSConfig: f.ServerTLS(), Handler: http.NotFoundHandler(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	go s.ServeTLS(l, "", "")
	defer s.Close()
	run(t, "", issue(t, ca, "admin/alice", now).flags("status", "--controller", l.Addr().String())...).want(t, exitFailed, "404")
}

// Plain text leaves this machine only when it is asked for outright.
func TestPlaintext(t *testing.T) {
	for _, c := range []struct {
		sec  security
		addr string
		want string
	}{
		{security{}, "127.0.0.1:7443", ""},
		{security{}, "[::1]:7443", ""},
		{security{}, "localhost:7443", ""},
		{security{}, "192.0.2.1:7443", "--controller 192.0.2.1:7443: plain text is for loopback only: give --tls-cert, --tls-key and --tls-ca, or a context that has them (--insecure-plaintext"},
		{security{}, "c1.example.net:7443", "plain text is for loopback only"},
		{security{anywhere: true}, "192.0.2.1:7443", ""},
		{security{anywhere: true}, "192.0.2.1", `--controller "192.0.2.1": want HOST:PORT`},
	} {
		err := c.sec.allow(flagController, c.addr)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.addr, err, c.want)
		}
	}
	f := serve(t, &fake{status: well})
	run(t, "", "status", "--controller", f, "--insecure-plaintext").want(t, exitDone)
}

func TestTLSFlags(t *testing.T) {
	h := issue(t, newCA(t, "fairlead"), "admin/alice", time.Now())
	run(t, "", "status", "--tls-cert", h.cert).want(t, exitUsage, "missing --tls-key and --tls-ca: TLS needs --tls-cert, --tls-key and --tls-ca, all three")
	run(t, "", h.flags("status", "--insecure-plaintext")...).want(t, exitUsage, "--insecure-plaintext goes without --tls-cert, --tls-key and --tls-ca")
	run(t, "", "status", "--tls-cert", h.cert, "--tls-key", h.key, "--tls-ca", h.ca+"x").want(t, exitFailed, "--tls-cert, --tls-key, --tls-ca: tls: ", "no such file")
	if err := os.Chmod(h.key, 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, "", h.flags("status")...).want(t, exitFailed, fmt.Sprintf("run chmod 600 %s", h.key))
	t.Setenv("FAIRLEAD_INSECURE_PLAINTEXT", "true")
	run(t, "", "status", "--controller", serve(t, &fake{status: well})).want(t, exitDone)
}
