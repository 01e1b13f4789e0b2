package identity

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// FromCertificate returns the identity of a certificate. It looks at no
// signature and no date: the caller has verified the chain.
func FromCertificate(cert *x509.Certificate) (Identity, error) {
	switch {
	case cert == nil:
		return Identity{}, errors.New("identity: no certificate")
	case cert.IsCA: // X509-SVID section 4.1
		return Identity{}, fmt.Errorf("certificate %.80q is a CA's: want one of a program or a person", cert.Subject)
	case len(cert.URIs) != 1: // X509-SVID section 2
		return Identity{}, fmt.Errorf("certificate %.80q has %d URIs among its alternative names: want one, as spiffe://fairlead/controller/NAME", cert.Subject, len(cert.URIs))
	}
	return Parse(cert.URIs[0].String())
}

// State is how a certificate stands in time.
type State uint8

// The states.
const (
	Fresh State = iota
	Warn
	Expired
	Early // its time has not begun: a clock is wrong, its own or the issuer's
)

func (s State) String() string { return [...]string{"fresh", "warn", "expired", "early"}[s] }

// maxWarning is how long before the end warnings begin at the most.
const maxWarning = 14 * 24 * time.Hour

// Expiry tells how a certificate stands in time, and how long it remains
// valid (negative: has not been). Warnings begin with the last third of its
// life or 14 days before the end, whichever is less.
func Expiry(cert *x509.Certificate, now time.Time) (State, time.Duration) {
	return Standing(cert.NotBefore, cert.NotAfter, now)
}

// Standing is Expiry for what is valid from one time until another, as a token
// is.
func Standing(from, until, now time.Time) (State, time.Duration) {
	remaining := until.Sub(now)
	warning := min(until.Sub(from)/3, maxWarning)
	switch {
	case remaining < 0: // RFC 5280 section 4.1.2.5: through notAfter, inclusive
		return Expired, remaining
	case now.Before(from):
		return Early, remaining
	case remaining <= warning:
		return Warn, remaining
	}
	return Fresh, remaining
}
