package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"

	"github.com/fairlead-dns/fairlead/regions/identity"
)

// serverConfig is the configuration of one handshake. crypto/tls verifies the
// client's chain by itself, and so tells the client in an alert whether its
// certificate has expired or its CA is unknown. One that is given is verified
// also where clients may have none.
func (f *Files) serverConfig(clients tls.ClientAuthType, protos ...string) *tls.Config {
	m := f.current.Load()
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{m.pair},
		ClientAuth:             clients,
		ClientCAs:              m.cas,
		NextProtos:             protos,
		SessionTicketsDisabled: true,
		Time:                   f.o.Now,
		VerifyConnection: func(cs tls.ConnectionState) error {
			if clients == tls.VerifyClientCertIfGiven && len(cs.PeerCertificates) == 0 && !cs.DidResume {
				return nil
			}
			if len(cs.VerifiedChains) == 0 || cs.DidResume {
				return errors.New("the client's certificate was not verified")
			}
			return f.peer(m, cs.PeerCertificates[0], func(identity.Identity) error { return nil })
		},
	}
}

// ServerTLS is for HTTP servers; each handshake uses the files of the moment.
// Clients need a certificate with an identity of the own trust domain; what it
// may do is for the handler to decide, by identity.FromCertificate.
func (f *Files) ServerTLS() *tls.Config { return f.httpTLS(tls.RequireAndVerifyClientCert) }

// OperationsTLS is ServerTLS for an endpoint that also serves callers without
// a certificate, as scrapers and health checks are. A certificate that is
// given is verified; a handler that needs one must look for it.
func (f *Files) OperationsTLS() *tls.Config { return f.httpTLS(tls.VerifyClientCertIfGiven) }

func (f *Files) httpTLS(clients tls.ClientAuthType) *tls.Config {
	c := f.serverConfig(clients, "h2", "http/1.1")
	c.Certificates = nil
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return f.serverConfig(clients, "h2", "http/1.1"), nil
	}
	return c
}

// clientConfig is a configuration whose handshakes use the files of the
// moment. The check of the server is here and not in crypto/tls, which can
// neither leave out the host name alone nor change its CAs.
func (f *Files) clientConfig(check func(m *material, cs tls.ConnectionState) error) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			// Whatever CAs the server names: a refusal says more than no
			// certificate does.
			return &f.current.Load().pair, nil
		},
		InsecureSkipVerify:     true, // VerifyConnection verifies, on every connection
		SessionTicketsDisabled: true,
		Time:                   f.o.Now,
		VerifyConnection: func(cs tls.ConnectionState) error {
			m := f.current.Load()
			if err := f.verifyServer(m, cs); err != nil {
				return err
			}
			return check(m, cs)
		},
	}
}

// ClientTLS is for clients of servers that are not Fairlead's, etcd first:
// the chain ends in a CA of the bundle and the certificate holds the host name
// that was dialled. crypto/tls does not tell which IP address was dialled; the
// certificate must then hold one of addresses, those of the endpoints that are
// not names.
func (f *Files) ClientTLS(addresses ...netip.Addr) *tls.Config {
	return f.clientConfig(func(_ *material, cs tls.ConnectionState) error {
		leaf := cs.PeerCertificates[0]
		if cs.ServerName != "" {
			return leaf.VerifyHostname(cs.ServerName)
		}
		for _, a := range addresses {
			if leaf.VerifyHostname(a.Unmap().WithZone("").String()) == nil {
				return nil
			}
		}
		return fmt.Errorf("the certificate of %q holds none of the addresses %v of the endpoints: want one among its alternative names", leaf.Subject, addresses)
	})
}

// verifyServer verifies a server's chain, now.
func (f *Files) verifyServer(m *material, cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("the server has no certificate")
	}
	opts := x509.VerifyOptions{
		Roots: m.cas, Intermediates: x509.NewCertPool(), CurrentTime: f.o.Now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, c := range cs.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	leaf := cs.PeerCertificates[0]
	if _, err := leaf.Verify(opts); err != nil {
		return fmt.Errorf("the server's certificate (of %.80q, issued by %.80q): %w", leaf.Subject, leaf.Issuer,
			&tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: explainTime(leaf, f.o.Now(), err)})
	}
	return nil
}

// peer checks the identity of a peer whose chain was verified.
func (f *Files) peer(m *material, leaf *x509.Certificate, expect func(identity.Identity) error) error {
	if f.o.Plain {
		return errPlain
	}
	id, err := identity.FromCertificate(leaf)
	if err != nil {
		return fmt.Errorf("the peer: %w", err)
	}
	if id.TrustDomain != m.id.TrustDomain {
		return fmt.Errorf("the peer is %s of trust domain %q: want %q", id, id.TrustDomain, m.id.TrustDomain)
	}
	if err := expect(id); err != nil {
		return fmt.Errorf("the peer is not who was expected: %w", err)
	}
	return nil
}
