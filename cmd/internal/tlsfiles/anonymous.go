package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/fairlead-dns/fairlead/regions/identity"
)

// WithoutCertificate is the credentials of a gRPC client that has no
// certificate of its own, as one that brings a token. The server is checked as
// Files.Client does, but for its trust domain, of which the client has none to
// hold it against: the bundle decides. It is read once: this is for tools.
func WithoutCertificate(caFile string, expect func(identity.Identity) error, now func() time.Time) (credentials.TransportCredentials, error) {
	cas, err := ReadCertificates(caFile)
	if err != nil {
		return nil, err
	}
	m := &material{cas: x509.NewCertPool()}
	for i, ca := range cas {
		if !ca.IsCA {
			return nil, fmt.Errorf("%s: certificate %d, %q, is no CA's: want those of CAs only", caFile, i+1, ca.Subject)
		}
		m.cas.AddCert(ca)
	}
	f := &Files{o: Options{Now: now}}
	config := &tls.Config{
		MinVersion:             tls.VersionTLS13,
		InsecureSkipVerify:     true, // VerifyConnection verifies
		SessionTicketsDisabled: true,
		Time:                   now,
		VerifyConnection: func(cs tls.ConnectionState) error {
			if err := f.verifyServer(m, cs); err != nil {
				return err
			}
			id, err := identity.FromCertificate(cs.PeerCertificates[0])
			if err == nil {
				err = expect(id)
			}
			if err != nil {
				return fmt.Errorf("the peer is not who was expected: %w", err)
			}
			return nil
		},
	}
	return anonymousCreds{credentials.NewTLS(config)}, nil
}

// anonymousCreds checks the peer by identity and not by name.
type anonymousCreds struct {
	credentials.TransportCredentials
}

func (anonymousCreds) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("tlsfiles: these are the credentials of a client")
}

func (c anonymousCreds) Clone() credentials.TransportCredentials { return c }

func (anonymousCreds) OverrideServerName(string) error { return errNames }
