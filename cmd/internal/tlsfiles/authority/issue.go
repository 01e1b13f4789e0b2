package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/fairlead-dns/fairlead/regions/identity"
)

// Request is a certificate to be issued.
type Request struct {
	Identity identity.Identity
	// Hosts are DNS names and IP addresses, for those who check host names as
	// etcd and browsers do. Fairlead's own connections check the identity.
	Hosts []string
	Life  time.Duration
}

// Pair is a certificate and its key.
type Pair struct {
	Certificate            *x509.Certificate
	CertificatePEM, KeyPEM []byte
}

// Issue makes a key and a certificate for it. Programs serve and call;
// people only call, so that no person's certificate can pose as a server.
func (ca *CA) Issue(r Request, now time.Time) (Pair, error) {
	tmpl, err := ca.template(r, now)
	if err != nil {
		return Pair{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("key of %s: %w", r.Identity, err)
	}
	p := Pair{}
	if p.Certificate, err = sign(tmpl, ca.cert, key.Public(), ca.key); err != nil {
		return Pair{}, fmt.Errorf("certificate of %s: %w", r.Identity, err)
	}
	p.CertificatePEM = certificatePEM(p.Certificate)
	p.KeyPEM, err = keyPEM(key)
	return p, err
}

// Validate says everything that is wrong with a request whatever the CA, in one
// error.
func (r Request) Validate() error {
	_, _, err := hosts(r.Hosts)
	errs := []error{r.Identity.Validate(), err}
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch role := r.Identity.Role; {
	case role == identity.Etcd && len(r.Hosts) == 0:
		wrong("etcd %s has no hosts: want the names and addresses that its clients and peers dial", r.Identity.Name)
	case role.Person() && len(r.Hosts) > 0:
		wrong("%s %s has hosts: want none, people serve nothing", role, r.Identity.Name)
	}
	return errors.Join(errs...)
}

func (ca *CA) template(r Request, now time.Time) (*x509.Certificate, error) {
	errs := []error{r.Validate()}
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if r.Identity.TrustDomain != ca.domain {
		wrong("trust domain %q: want %q, for which the CA signs", r.Identity.TrustDomain, ca.domain)
	}
	dns, ips, _ := hosts(r.Hosts)
	end := now.Add(r.Life)
	switch left := ca.Longest(now); {
	case left <= 0:
		wrong("the CA %q expired on %s: make a new one with pki init", ca.cert.Subject.CommonName, date(ca.cert.NotAfter))
	case now.Before(ca.cert.NotBefore):
		wrong("the CA %q is valid from %s only: is the clock right?", ca.cert.Subject.CommonName, date(ca.cert.NotBefore))
	case r.Life <= 0:
		wrong("a certificate for %v: want more than no time", r.Life)
	case end.After(ca.cert.NotAfter):
		wrong("the certificate would end on %s and the CA %q ends on %s: want %d days at most, or a new CA with pki init",
			date(end), ca.cert.Subject.CommonName, date(ca.cert.NotAfter), int(left/(24*time.Hour)))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	uri, err := url.Parse(r.Identity.URI())
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	begin := now.Add(-backdate)
	if begin.Before(ca.cert.NotBefore) {
		begin = ca.cert.NotBefore
	}
	usage := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if !r.Identity.Role.Person() {
		usage = append(usage, x509.ExtKeyUsageServerAuth)
	}
	return &x509.Certificate{
		Subject:               pkix.Name{CommonName: r.Identity.Name},
		NotBefore:             begin,
		NotAfter:              end,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           usage,
		BasicConstraintsValid: true,
		URIs:                  []*url.URL{uri},
		DNSNames:              dns,
		IPAddresses:           ips,
	}, nil
}

// RequestFor is the request that a certificate was issued for.
func RequestFor(cert *x509.Certificate) (Request, error) {
	id, err := identity.FromCertificate(cert)
	if err != nil {
		return Request{}, err
	}
	r := Request{Identity: id, Life: cert.NotAfter.Sub(cert.NotBefore) - backdate}
	r.Hosts = append(r.Hosts, cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		r.Hosts = append(r.Hosts, ip.String())
	}
	return r, nil
}

// CheckHosts says which of a request's hosts are none.
func CheckHosts(list []string) error {
	_, _, err := hosts(list)
	return err
}

// hosts sorts names and addresses out.
func hosts(list []string) (dns []string, ips []net.IP, err error) {
	var errs []error
	for _, h := range list {
		if addr, err := netip.ParseAddr(h); err == nil && addr.Zone() == "" {
			ips = append(ips, net.IP(addr.Unmap().AsSlice()))
			continue
		}
		name := strings.ToLower(strings.TrimSuffix(h, "."))
		if !isHost(name) {
			errs = append(errs, fmt.Errorf("host %.80q: want a DNS name or an IP address, without a port", h))
			continue
		}
		dns = append(dns, name)
	}
	return dns, ips, errors.Join(errs...)
}

// isHost takes the names that x509 verification takes; a wildcard is the
// whole first label (RFC 6125 section 6.4.3).
func isHost(name string) bool {
	rest, wildcard := strings.CutPrefix(name, "*.")
	if wildcard && !strings.Contains(rest, ".") || rest == "" || len(name) > 253 {
		return false
	}
	digits := true // a name whose last label is a number is a mistyped address
	for label := range strings.SplitSeq(rest, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		digits = true
		for i := range len(label) {
			switch c := label[i]; {
			case '0' <= c && c <= '9':
			case 'a' <= c && c <= 'z', c == '-':
				digits = false
			default:
				return false
			}
		}
	}
	return !digits
}

func date(t time.Time) string { return t.UTC().Format(time.DateOnly) }
