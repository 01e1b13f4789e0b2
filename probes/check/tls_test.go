package check

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func tlsProbe(port uint32, o *pb.TlsOptions) *pb.HealthCheckSpec {
	return &pb.HealthCheckSpec{
		Interval: durationpb.New(ample), Timeout: durationpb.New(ample),
		Probe: &pb.HealthCheckSpec_Tls{Tls: &pb.TlsProbe{Port: port, Tls: o}},
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ours, theirs := newCA(t), newCA(t)
	const month = 30 * 24 * time.Hour
	trusted := func(o *pb.TlsOptions) *pb.TlsOptions { o.CaCertificates = ours.text; return o }
	for _, tc := range []struct {
		name   string
		server *tls.Config
		o      *pb.TlsOptions
		result Result
		reason string
	}{
		{"by address", ours.config(t, leaf{}), trusted(&pb.TlsOptions{}), Passed, "TLS 1.3"},
		{"by name", ours.config(t, leaf{}), trusted(&pb.TlsOptions{ServerName: "www.example.test"}), Passed, "TLS 1.3"},
		{"by name with a dot", ours.config(t, leaf{}), trusted(&pb.TlsOptions{ServerName: "WWW.example.test."}), Passed, "TLS 1.3"},
		{"two authorities", ours.config(t, leaf{}), &pb.TlsOptions{CaCertificates: theirs.text + ours.text}, Passed, "TLS 1.3"},
		{"wrong name", ours.config(t, leaf{}), trusted(&pb.TlsOptions{ServerName: "api.example.test"}), Failed, "certificate is for another name"},
		{"address not in it", ours.config(t, leaf{names: []string{"www.example.test"}}), trusted(&pb.TlsOptions{}), Failed, "certificate is for another name"},
		{"unknown authority", theirs.config(t, leaf{}), trusted(&pb.TlsOptions{}), Failed, "certificate signed by an unknown authority"},
		{"the system's authorities", ours.config(t, leaf{}), nil, Failed, "certificate signed by an unknown authority"},
		{"expired", ours.config(t, leaf{from: -month, until: -time.Hour}), trusted(&pb.TlsOptions{}), Failed, "certificate has expired"},
		{"early", ours.config(t, leaf{from: time.Hour}), trusted(&pb.TlsOptions{}), Failed, "certificate is not valid yet"},
		{"for clients", ours.config(t, leaf{usage: x509.ExtKeyUsageClientAuth}), trusted(&pb.TlsOptions{}), Failed, "certificate is not valid"},
		{"expires soon", ours.config(t, leaf{until: 6 * 24 * time.Hour}), trusted(&pb.TlsOptions{MinValidity: durationpb.New(7 * 24 * time.Hour)}), Failed, "certificate expires in less than 168h0m0s"},
		{"expires later", ours.config(t, leaf{until: 8 * 24 * time.Hour}), trusted(&pb.TlsOptions{MinValidity: durationpb.New(7 * 24 * time.Hour)}), Passed, "TLS 1.3"},
		{"not verified", theirs.config(t, leaf{names: []string{"other.test"}, from: -month, until: -time.Hour}), trusted(&pb.TlsOptions{InsecureSkipVerify: true}), Passed, "TLS 1.3"},
		{"not verified, expires soon", theirs.config(t, leaf{until: time.Hour}), &pb.TlsOptions{InsecureSkipVerify: true, MinValidity: durationpb.New(2 * time.Hour)}, Failed, "certificate expires in less than 2h0m0s"},
		{"TLS 1.2", &tls.Config{Certificates: ours.config(t, leaf{}).Certificates, MaxVersion: tls.VersionTLS12}, trusted(&pb.TlsOptions{}), Passed, "TLS 1.2"},
		{"TLS 1.1", &tls.Config{Certificates: ours.config(t, leaf{}).Certificates, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, trusted(&pb.TlsOptions{}), Failed, "TLS refused by the target: protocol version not supported"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			port := serveTLS(t, tc.server, nil)
			out := mustNew(t, tlsProbe(port, tc.o), loopback).Probe(t.Context(), "127.0.0.1")
			expect(t, out, tc.result, tc.reason)
			if out.Phases.Connect <= 0 || out.Phases.TLS <= 0 || out.Latency < out.Phases.TLS {
				t.Errorf("phases %+v of %s", out.Phases, out.Latency)
			}
		})
	}
}

// What is asked for: a name is, an address is not (RFC 6066 section 3).
func TestServerNameIndication(t *testing.T) {
	authority := newCA(t)
	asked := make(chan string, 1)
	config := authority.config(t, leaf{names: []string{"127.0.0.1", "localhost", "www.example.test", "other.example.test"}})
	config.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) { asked <- h.ServerName; return nil, nil }
	port := serveTLS(t, config, func(c *tls.Conn) {
		c.Read(make([]byte, 1<<10))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	for _, tc := range []struct{ stated, host, target, want string }{
		{"", "", "127.0.0.1", ""},
		{"", "", "localhost", "localhost"},
		{"", "www.example.test", "127.0.0.1", "www.example.test"},
		{"", "www.example.test:8443", "localhost", "www.example.test"},
		{"other.example.test", "www.example.test", "127.0.0.1", "other.example.test"},
	} {
		o := &pb.TlsOptions{ServerName: tc.stated, CaCertificates: authority.text}
		spec := httpSpec(ample, &pb.HttpProbe{Port: port, Host: tc.host, Tls: o})
		spec.AddressFamily = pb.AddressFamily_ADDRESS_FAMILY_IPV4
		expect(t, mustNew(t, spec, loopback).Probe(t.Context(), tc.target), Passed, "HTTP 200")
		select {
		case got := <-asked:
			if got != tc.want {
				t.Errorf("%+v: asked for %q", tc, got)
			}
		default:
			t.Errorf("%+v: nothing asked", tc)
		}
	}
}

func TestNoHandshake(t *testing.T) {
	t.Parallel()
	authority := newCA(t)
	closes := serve(t, func(c net.Conn) { c.Read(make([]byte, 8<<10)) })
	plain := serve(t, func(c net.Conn) { io.WriteString(c, "220 mail.example.test ESMTP\r\n"); c.Read(make([]byte, 1<<10)) })
	hangs := serve(t, func(c net.Conn) {
		c.Read(make([]byte, 1<<10))
		time.Sleep(2 * scant)
	})
	nothingInCommon := serveTLS(t, authority.config(t, leaf{}, "acme-tls/1"), nil)
	for _, tc := range []struct {
		name   string
		spec   *pb.HealthCheckSpec
		reason string
	}{
		{"closes", tlsProbe(closes, nil), "connection closed without a response"},
		{"plain text", tlsProbe(plain, nil), "the target does not speak TLS"},
		{"refuses", tlsProbe(closedPort(t), nil), "connection refused"},
		{"hangs", func() *pb.HealthCheckSpec {
			s := tlsProbe(hangs, nil)
			s.Timeout = durationpb.New(scant)
			return s
		}(), "timeout after 300ms in the TLS handshake"},
		{"no protocol in common", httpSpec(ample, &pb.HttpProbe{Port: nothingInCommon, Tls: &pb.TlsOptions{CaCertificates: authority.text}}),
			"TLS refused by the target: no application protocol"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			expect(t, mustNew(t, tc.spec, loopback).Probe(t.Context(), "127.0.0.1"), Failed, tc.reason)
		})
	}
}

func TestTLSOptions(t *testing.T) {
	authority := newCA(t)
	key := string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte("x")}))
	broken := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}))
	for _, tc := range []struct {
		name string
		o    *pb.TlsOptions
		want string
	}{
		{"server name", &pb.TlsOptions{ServerName: "https://www.example.test"}, `server name "https://www.example.test": want a host name as www.example.com`},
		{"no PEM", &pb.TlsOptions{CaCertificates: "/etc/ssl/ca.pem"}, "CA certificates: want PEM, from -----BEGIN CERTIFICATE-----"},
		{"a key", &pb.TlsOptions{CaCertificates: authority.text + key}, `CA certificates hold a "EC PRIVATE KEY": want certificates only`},
		{"damaged", &pb.TlsOptions{CaCertificates: authority.text + broken}, "CA certificate 2: x509: malformed certificate"},
		{"cut short", &pb.TlsOptions{CaCertificates: authority.text[:len(authority.text)-30]}, "CA certificates: want PEM"},
		{"large", &pb.TlsOptions{CaCertificates: strings.Repeat(authority.text, 1000)}, "want at most 262144"},
		{"negative validity", &pb.TlsOptions{MinValidity: durationpb.New(-time.Hour)}, "minimum validity -1h0m0s: want 0s to 87600h0m0s"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := New(tlsProbe(443, tc.o), loopback); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
	if _, err := New(tlsProbe(0, nil), loopback); err != nil {
		t.Errorf("all defaults: %v", err)
	}
}

func TestIsAuthority(t *testing.T) {
	for s, want := range map[string]bool{
		"www.example.test": true, "www.example.test:8443": true, "192.0.2.1": true, "192.0.2.1:80": true, "2001:db8::1": true,
		"[2001:db8::1]": true, "[2001:db8::1]:80": true, "_a.b": true, "localhost": true,
		"": false, "http://x": false, "www.example.test:": false, "www.example.test:0": false, "www.example.test:65536": false, "a b": false,
		"a/b": false, "a@b": false, "[a]": false, "[192.0.2.1]": false, "[2001:db8::1": false, "2001:db8::1]": false, "fe80::1%eth0": false,
		"[fe80::1%25eth0]": false, "a..b": false, ".": false, "a\r\nb": false, "é.test": false,
	} {
		if got := isAuthority(s); got != want {
			t.Errorf("%q: %t", s, got)
		}
	}
}

// A host without CA certificates would find every certificate at fault: it says
// so instead, unless the check has its own.
func TestHostWithoutAuthorities(t *testing.T) {
	const child = "FAIRLEAD_NO_AUTHORITIES"
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestHostWithoutAuthorities$")
		cmd.Env = append(os.Environ(), child+"=1", "SSL_CERT_FILE=/nonexistent", "SSL_CERT_DIR=/nonexistent")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	for _, spec := range []*pb.HealthCheckSpec{tlsProbe(443, nil), httpSpec(ample, &pb.HttpProbe{Tls: &pb.TlsOptions{}})} {
		if _, err := New(spec, loopback); err == nil || !strings.Contains(err.Error(), "this agent's host has no CA certificates: install them, or state the check's own") {
			t.Errorf("error %v", err)
		}
	}
	for _, o := range []*pb.TlsOptions{{InsecureSkipVerify: true}, {CaCertificates: newCA(t).text}} {
		mustNew(t, tlsProbe(443, o), loopback)
	}
	// A redirect to https is where it shows in a check without TLS.
	port := serveHTTP(t, nil, http.RedirectHandler("https://127.0.0.1/", http.StatusFound))
	c := mustNew(t, httpSpec(ample, &pb.HttpProbe{Port: port, MaxRedirects: 1}), loopback)
	expect(t, c.Probe(t.Context(), "127.0.0.1"), Abstained,
		"after a redirect: this agent's host has no CA certificates: install them, or state the check's own")
}
