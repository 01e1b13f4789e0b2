package tlsfiles

import (
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/fairlead-dns/fairlead/regions/identity"
)

// material is what the three files hold, found good together. Immutable.
type material struct {
	pair tls.Certificate
	leaf *x509.Certificate
	id   identity.Identity
	cas  *x509.CertPool
	// issuer is the CA of the bundle that the leaf's chain ends in.
	issuer *x509.Certificate
	// untimely says why the chain is not valid now, though it was or will be.
	untimely error
	digest   [sha256.Size]byte
}

// contents are the files as read.
type contents struct {
	cert, key, ca []byte
	stamps        stamps
}

// stamps tell whether files have changed.
type stamps [3]os.FileInfo

func (s stamps) equal(t stamps) bool {
	for i, a := range s {
		b := t[i]
		if a == nil || b == nil || !os.SameFile(a, b) || a.Size() != b.Size() || !a.ModTime().Equal(b.ModTime()) || a.Mode() != b.Mode() {
			return false
		}
	}
	return true
}

// settled tells whether every file was last written a while ago. One that was
// written just now may be written again within the granularity of its time.
func (s stamps) settled(now time.Time) bool {
	return !slices.ContainsFunc(s[:], func(i os.FileInfo) bool { return i == nil || now.Sub(i.ModTime()) < 2*time.Second })
}

func (o *Options) paths() [3]string { return [3]string{o.CertFile, o.KeyFile, o.CAFile} }

// stat looks at the files without reading them.
func (o *Options) stat() (s stamps) {
	for i, path := range o.paths() {
		s[i], _ = os.Stat(path)
	}
	return s
}

// read reads the three files.
func (o *Options) read() (raw contents, err error) {
	var errs []error
	for i, to := range []*[]byte{&raw.cert, &raw.key, &raw.ca} {
		var err error
		secret := ""
		if i == 1 {
			secret = aKey
		}
		*to, raw.stamps[i], err = readFile(o.paths()[i], secret)
		errs = append(errs, err)
	}
	return raw, errors.Join(errs...)
}

func (c *contents) digest() [sha256.Size]byte {
	h := sha256.New()
	for _, data := range [][]byte{c.cert, c.key, c.ca} {
		sum := sha256.Sum256(data)
		h.Write(sum[:])
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// load makes material of the files' contents, or says all that is wrong with
// them. Time alone makes nothing wrong here.
func (o *Options) load(raw contents, now time.Time) (*material, error) {
	certs, certErr := parseCertificates(o.CertFile, raw.cert, o.CertFile == o.KeyFile)
	key, keyErr := parseKey(o.KeyFile, raw.key)
	cas, caErr := parseCertificates(o.CAFile, raw.ca, false)
	if err := errors.Join(certErr, keyErr, caErr); err != nil {
		return nil, err
	}
	m := &material{leaf: certs[0], cas: x509.NewCertPool(), digest: raw.digest()}
	var errs []error
	if pub, ok := m.leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(key.Public()) {
		errs = append(errs, fmt.Errorf("the key in %s is not that of the certificate in %s: want the two that were issued together", o.KeyFile, o.CertFile))
	}
	for i, ca := range cas {
		if !ca.IsCA {
			errs = append(errs, fmt.Errorf("%s: certificate %d, %q, is no CA's: want those of CAs only", o.CAFile, i+1, ca.Subject))
		}
		m.cas.AddCert(ca)
	}
	if err := m.chain(certs[1:], now); err != nil {
		errs = append(errs, fmt.Errorf("%s: no CA in %s vouches for %q: %w", o.CertFile, o.CAFile, m.leaf.Subject, err))
	}
	if !o.Plain {
		id, err := identity.FromCertificate(m.leaf)
		if err == nil && o.Expect != nil {
			err = o.Expect(id)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", o.CertFile, err))
		}
		m.id = id
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	m.pair = tls.Certificate{PrivateKey: key, Leaf: m.leaf}
	for _, c := range certs {
		m.pair.Certificate = append(m.pair.Certificate, c.Raw)
	}
	return m, nil
}

// chain verifies the own certificate, at now and, where only the time is
// wrong, at times of its own life.
func (m *material) chain(intermediates []*x509.Certificate, now time.Time) error {
	opts := x509.VerifyOptions{
		Roots: m.cas, Intermediates: x509.NewCertPool(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	for _, c := range intermediates {
		opts.Intermediates.AddCert(c)
	}
	var first error
	life := m.leaf.NotAfter.Sub(m.leaf.NotBefore)
	for _, at := range []time.Time{now, m.leaf.NotBefore, m.leaf.NotBefore.Add(life / 2), m.leaf.NotAfter} {
		opts.CurrentTime = at
		chains, err := m.leaf.Verify(opts)
		if err == nil {
			m.issuer = chains[0][len(chains[0])-1]
			m.untimely = first
			return nil
		}
		if first == nil {
			first = explainTime(m.leaf, now, err)
		}
	}
	return first
}

// explainTime says in dates what x509 says in the time of now, which would
// make a new message at each attempt.
func explainTime(leaf *x509.Certificate, now time.Time, err error) error {
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &invalid) || invalid.Reason != x509.Expired {
		return err
	}
	cert := invalid.Cert
	if cert == nil {
		cert = leaf
	}
	if now.Before(cert.NotBefore) {
		return fmt.Errorf("certificate %q is valid only from %s: is a clock wrong?", cert.Subject, cert.NotBefore.UTC().Format(time.RFC3339))
	}
	return fmt.Errorf("certificate %q expired at %s", cert.Subject, cert.NotAfter.UTC().Format(time.RFC3339))
}
