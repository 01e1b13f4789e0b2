package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles"
	"github.com/fairlead-dns/fairlead/cmd/internal/tokenfile"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

// bearer is a token for the controllers, and the CAs that they must be signed by.
type bearer struct {
	token credentials.PerRPCCredentials
	cas   *x509.CertPool
	now   func() time.Time
}

// readBearer reads the token that the settings name, and the CAs that the
// controllers must be signed by.
func readBearer(s *settings, now func() time.Time) (*bearer, error) {
	switch {
	case s.insecure:
		return nil, usagef("--token-file goes without --insecure-plaintext: whoever is on the way could use the token")
	case s.ca == "":
		return nil, usagef("missing --tls-ca: a token is sent over TLS alone, to controllers that it is known of")
	}
	token, err := tokenfile.Read(s.token)
	if err != nil {
		return nil, err
	}
	cas, err := tlsfiles.ReadCertificates(s.ca)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, c := range cas {
		pool.AddCert(c)
	}
	return &bearer{token: tokenfile.Bearer(token), cas: pool, now: now}, nil
}

// credentials verify the server and give no certificate.
func (b *bearer) credentials(expect func(identity.Identity) error) credentials.TransportCredentials {
	return credentials.NewTLS(&tls.Config{
		MinVersion:             tls.VersionTLS13,
		InsecureSkipVerify:     true, // VerifyConnection verifies: all but the host name, in whose place stands the identity
		SessionTicketsDisabled: true,
		Time:                   b.now,
		VerifyConnection: func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) == 0 {
				return errors.New("the server has no certificate")
			}
			opts := x509.VerifyOptions{Roots: b.cas, Intermediates: x509.NewCertPool(), CurrentTime: b.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
			for _, c := range cs.PeerCertificates[1:] {
				opts.Intermediates.AddCert(c)
			}
			leaf := cs.PeerCertificates[0]
			if _, err := leaf.Verify(opts); err != nil {
				return fmt.Errorf("the server's certificate (of %.80q, issued by %.80q): %w", leaf.Subject, leaf.Issuer, err)
			}
			id, err := identity.FromCertificate(leaf)
			if err != nil {
				return fmt.Errorf("the peer: %w", err)
			}
			if err := expect(id); err != nil {
				return fmt.Errorf("the peer is not who was expected: %w", err)
			}
			return nil
		},
	})
}
