// Package authority is a certificate authority in memory: it makes the
// certificates that `fairlead pki` writes and that tests use. It reads and
// writes no file; CA certificate, key and time come from the caller. It may
// import regions/identity and the standard library's crypto.
package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/fairlead-dns/fairlead/regions/identity"
)

// backdate is how long before now certificates begin, for clocks that are
// behind.
const backdate = 5 * time.Minute

// CA signs certificates of one trust domain, which its own certificate names
// in a URI (X509-SVID section 4.2). Safe for concurrent use.
type CA struct {
	cert   *x509.Certificate
	key    crypto.Signer
	domain string
}

// New makes a CA with an ECDSA P-256 key.
func New(trustDomain string, life time.Duration, now time.Time) (*CA, error) {
	if err := identity.CheckTrustDomain(trustDomain); err != nil {
		return nil, err
	}
	if life <= 0 {
		return nil, fmt.Errorf("a CA for %v: want more than no time", life)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("key of the CA: %w", err)
	}
	tmpl := &x509.Certificate{
		// The date tells CAs of one trust domain apart while one takes the
		// other's place.
		Subject:               pkix.Name{CommonName: fmt.Sprintf("Fairlead CA %.20s %s", trustDomain, now.UTC().Format(time.DateOnly))},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(life),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
		URIs: []*url.URL{{Scheme: "spiffe", Host: trustDomain}},
	}
	cert, err := sign(tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("certificate of the CA: %w", err)
	}
	return &CA{cert: cert, key: key, domain: trustDomain}, nil
}

// Load makes a CA of its key and its certificate, which is one of those given:
// the file of a CA may hold others beside its own.
func Load(certs []*x509.Certificate, key crypto.Signer) (*CA, error) {
	for _, cert := range certs {
		if pub, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(key.Public()) {
			continue
		}
		if !cert.IsCA {
			return nil, fmt.Errorf("certificate %q is no CA's", cert.Subject)
		}
		if len(cert.URIs) != 1 || cert.URIs[0].Scheme != "spiffe" || cert.URIs[0].Path != "" {
			return nil, fmt.Errorf("certificate %q does not name its trust domain: want the URI spiffe://TRUST-DOMAIN, as pki init writes it", cert.Subject)
		}
		domain := cert.URIs[0].Host
		if err := identity.CheckTrustDomain(domain); err != nil {
			return nil, fmt.Errorf("certificate %q: %w", cert.Subject, err)
		}
		return &CA{cert: cert, key: key, domain: domain}, nil
	}
	return nil, errors.New("the key is that of no certificate here: want the pair that pki init wrote")
}

// TrustDomain is what the CA certifies for.
func (ca *CA) TrustDomain() string { return ca.domain }

// Certificate is the CA's own.
func (ca *CA) Certificate() *x509.Certificate { return ca.cert }

// PEM is the CA's own certificate and its key.
func (ca *CA) PEM() (cert, key []byte, err error) {
	key, err = keyPEM(ca.key)
	return certificatePEM(ca.cert), key, err
}

// Signed tells whether the CA has signed a certificate, valid still or not.
func (ca *CA) Signed(cert *x509.Certificate) bool { return cert.CheckSignatureFrom(ca.cert) == nil }

// Longest is the longest life of a certificate that the CA can sign now.
func (ca *CA) Longest(now time.Time) time.Duration { return ca.cert.NotAfter.Sub(now) }

// sign makes a certificate with a random serial number.
func sign(tmpl, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func certificatePEM(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

func keyPEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
