package check

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// Bounds on what a specification says of TLS.
const (
	maxCAs         = 256 << 10
	maxMinValidity = 10 * 365 * 24 * time.Hour
)

// tlsCheck passes when a handshake is done and the certificate is good.
type tlsCheck struct {
	dialer
	tls *trust
}

func newTLS(spec *pb.HealthCheckSpec, probe *pb.TlsProbe, o Options) (Check, error) {
	d, err := newDialer(spec, probe.GetPort(), 443, o)
	if err != nil {
		return nil, err
	}
	t, err := newTrust(probe.GetTls())
	if err != nil {
		return nil, err
	}
	return &tlsCheck{d, t}, nil
}

// Probe implements Check.
func (c *tlsCheck) Probe(ctx context.Context, target string) Outcome {
	a, cancel := c.begin(ctx)
	defer cancel()
	addr, ok := a.locate(target)
	if !ok {
		return a.out
	}
	conn := a.connect("tcp", addr, c.port)
	if conn == nil {
		return a.out
	}
	defer conn.Close()
	secured := a.secure(conn, c.tls, nameFor("", target, addr))
	if secured == nil {
		return a.out
	}
	return a.end(Passed, tls.VersionName(secured.ConnectionState().Version))
}

// trust is how a check speaks TLS and whom it trusts.
type trust struct {
	serverName  string // stated, or ""
	roots       *x509.CertPool
	minValidity time.Duration
	insecure    bool
}

// systemTrusts tells whether the host has any CA certificates. A host without
// them would find every certificate at fault.
var systemTrusts = sync.OnceValue(func() bool {
	pool, err := x509.SystemCertPool()
	return err == nil && !pool.Equal(x509.NewCertPool())
})

func newTrust(o *pb.TlsOptions) (*trust, error) {
	t := &trust{
		serverName:  strings.TrimSuffix(o.GetServerName(), "."),
		minValidity: o.GetMinValidity().AsDuration(),
		insecure:    o.GetInsecureSkipVerify(),
	}
	if t.serverName != "" && !hostname(t.serverName) {
		return nil, fmt.Errorf("server name %.80q: want a host name as www.example.com", o.GetServerName())
	}
	if t.minValidity < 0 || t.minValidity > maxMinValidity {
		return nil, fmt.Errorf("minimum validity %s: want 0s to %s", t.minValidity, maxMinValidity)
	}
	if o.GetCaCertificates() != "" {
		var err error
		if t.roots, err = parseCAs([]byte(o.GetCaCertificates())); err != nil {
			return nil, err
		}
	} else if !t.insecure && !systemTrusts() {
		return nil, errors.New("this agent's host has no CA certificates: install them, or state the check's own")
	}
	return t, nil
}

// parseCAs reads certificates in PEM.
func parseCAs(text []byte) (*x509.CertPool, error) {
	if len(text) > maxCAs {
		return nil, fmt.Errorf("CA certificates of %d bytes: want at most %d", len(text), maxCAs)
	}
	pool, n := x509.NewCertPool(), 0
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("CA certificates hold a %.40q: want certificates only", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("CA certificate %d: %w", n+1, err)
		}
		pool.AddCert(c)
		n++
	}
	if n == 0 || len(bytes.TrimSpace(text)) != 0 {
		return nil, errors.New("CA certificates: want PEM, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----")
	}
	return pool, nil
}

// nameFor is the name that is asked for and verified where none is stated: that
// of a host, which may have a port, or else the target. An address is verified
// and not sent (RFC 6066 section 3).
func nameFor(host, target string, addr netip.Addr) string {
	if host != "" {
		return hostOnly(host)
	}
	if _, err := netip.ParseAddr(target); err == nil {
		return addr.WithZone("").String()
	}
	return strings.TrimSuffix(target, ".")
}

// hostOnly takes the port and the brackets of an IPv6 address away.
func hostOnly(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.Trim(host, "[]")
}

// config is what a handshake with a target of that name needs. Sessions are not
// kept: each check is a full handshake.
func (t *trust) config(name string, protocols ...string) *tls.Config {
	if t.serverName != "" {
		name = t.serverName
	}
	return &tls.Config{
		ServerName: name, RootCAs: t.roots, NextProtos: protocols,
		InsecureSkipVerify: t.insecure, VerifyConnection: t.verify,
	}
}

// shortValidity is why a good certificate is not good enough.
type shortValidity time.Duration

func (s shortValidity) Error() string {
	return "certificate expires in less than " + time.Duration(s).String()
}

// verify looks at what the standard library does not.
func (t *trust) verify(s tls.ConnectionState) error {
	if t.minValidity > 0 && len(s.PeerCertificates) > 0 && time.Until(s.PeerCertificates[0].NotAfter) < t.minValidity {
		return shortValidity(t.minValidity)
	}
	return nil
}

// secure does the TLS handshake on a connection. When it fails, it is nil and the
// outcome says why.
func (a *attempt) secure(c net.Conn, t *trust, name string, protocols ...string) *tls.Conn {
	start := time.Now()
	secured := tls.Client(c, t.config(name, protocols...))
	err := secured.Handshake() // the connection ends with the context
	a.out.Phases.TLS += time.Since(start)
	if err != nil {
		a.fail(err, "in the TLS handshake", "TLS handshake failed")
		return nil
	}
	return secured
}

// isAuthority tells whether a text is a host with or without a port, as the Host
// header has it (RFC 9110 section 7.2).
func isAuthority(s string) bool {
	if host, text, err := net.SplitHostPort(s); err == nil {
		if port, err := strconv.ParseUint(text, 10, 16); err != nil || port == 0 {
			return false
		}
		return hostname(host)
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		addr, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		return err == nil && addr.Is6() && addr.Zone() == "" && strings.HasSuffix(s, "]")
	}
	return hostname(s)
}

// hostname tells whether a text may be a host name or an address, without port.
func hostname(s string) bool {
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.Zone() == ""
	}
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
		}) {
			return false
		}
	}
	return true
}
