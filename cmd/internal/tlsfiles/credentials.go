package tlsfiles

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"

	"google.golang.org/grpc/credentials"

	"github.com/fairlead-dns/fairlead/regions/identity"
)

// Server is the credentials of a gRPC server. A client needs a certificate of
// a CA in the bundle with an identity of the own trust domain. What it may do
// is for the service to decide: the AuthInfo of the peer is a
// credentials.TLSInfo, and identity.FromCertificate of its first peer
// certificate says who calls.
func (f *Files) Server() credentials.TransportCredentials {
	return serverCreds{f, tls.RequireAndVerifyClientCert}
}

// ServerForTokens is Server for a service that also takes people's tokens: a
// client may come without a certificate, and one that it has is verified. The
// service refuses whoever has neither.
func (f *Files) ServerForTokens() credentials.TransportCredentials {
	return serverCreds{f, tls.VerifyClientCertIfGiven}
}

// Client is the credentials of a gRPC client that talks to servers with an
// expected identity, whatever their host name; identity.OneOf and
// identity.Exactly make such expectations. A nil one refuses every server.
func (f *Files) Client(expect func(identity.Identity) error) credentials.TransportCredentials {
	if expect == nil {
		expect = identity.OneOf()
	}
	return clientCreds{f, expect}
}

type serverCreds struct {
	f       *Files
	clients tls.ClientAuthType
}

func (c serverCreds) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := credentials.NewTLS(c.f.serverConfig(c.clients, "h2")).ServerHandshake(raw)
	if err != nil {
		c.f.handshakeFailed("server", raw, err)
	}
	return conn, info, err
}

func (serverCreds) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("tlsfiles: these are the credentials of a server")
}

func (serverCreds) Info() credentials.ProtocolInfo { return protocol }

func (c serverCreds) Clone() credentials.TransportCredentials { return c }

func (serverCreds) OverrideServerName(string) error { return errNames }

type clientCreds struct {
	f      *Files
	expect func(identity.Identity) error
}

func (c clientCreds) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	config := c.f.clientConfig(func(m *material, cs tls.ConnectionState) error {
		return c.f.peer(m, cs.PeerCertificates[0], c.expect)
	})
	conn, info, err := credentials.NewTLS(config).ClientHandshake(ctx, authority, raw)
	if err != nil {
		c.f.handshakeFailed("client", raw, err)
	}
	return conn, info, err
}

func (clientCreds) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("tlsfiles: these are the credentials of a client")
}

func (clientCreds) Info() credentials.ProtocolInfo { return protocol }

func (c clientCreds) Clone() credentials.TransportCredentials { return c }

func (clientCreds) OverrideServerName(string) error { return errNames }

var (
	protocol = credentials.ProtocolInfo{SecurityProtocol: "tls"}
	errNames = errors.New("tlsfiles: the peer is checked by identity, not by name")
)

// handshakeFailed counts, and tells the log of some: the peer is told little,
// and gRPC's servers say nothing.
func (f *Files) handshakeFailed(side string, raw net.Conn, err error) {
	if errors.Is(err, io.EOF) { // one who only looked whether the port is open
		return
	}
	f.metrics.handshakes.WithLabelValues(side).Inc()
	if f.noisy.Allow() {
		f.o.Log.Warn("TLS handshake failed", "use", f.o.Use, "side", side, "peer", raw.RemoteAddr().String(), "err", err)
	}
}
