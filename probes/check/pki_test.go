package check

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/netip"
	"testing"
	"time"
)

// ca is a certificate authority of a test.
type ca struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	text string // PEM
}

func newCA(t testing.TB) *ca {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(100 * 24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &ca{cert, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

// leaf is what a certificate says, as the test wants it.
type leaf struct {
	names       []string // host names and addresses
	from, until time.Duration
	usage       x509.ExtKeyUsage
}

// issue makes a server's certificate; by default for 127.0.0.1, ::1 and
// www.example.test, from an hour ago until in 30 days.
func (c *ca) issue(t testing.TB, l leaf) tls.Certificate {
	t.Helper()
	if l.names == nil {
		l.names = []string{"127.0.0.1", "::1", "www.example.test"}
	}
	if l.from == 0 {
		l.from = -time.Hour
	}
	if l.until == 0 {
		l.until = 30 * 24 * time.Hour
	}
	if l.usage == 0 {
		l.usage = x509.ExtKeyUsageServerAuth
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(l.from), NotAfter: time.Now().Add(l.until),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{l.usage},
	}
	for _, n := range l.names {
		if a, err := netip.ParseAddr(n); err == nil {
			template.IPAddresses = append(template.IPAddresses, a.AsSlice())
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, key.Public(), c.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// config is a server's.
func (c *ca) config(t testing.TB, l leaf, protocols ...string) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c.issue(t, l)}, NextProtos: protocols}
}

// serveTLS does handshakes, and then what the test says.
func serveTLS(t *testing.T, config *tls.Config, then func(*tls.Conn)) uint32 {
	t.Helper()
	return serve(t, func(c net.Conn) {
		secured := tls.Server(c, config)
		if secured.Handshake() == nil && then != nil {
			then(secured)
		}
		secured.Close()
	})
}
