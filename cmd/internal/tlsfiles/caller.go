package tlsfiles

import (
	"context"
	"errors"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/fairlead-dns/fairlead/regions/identity"
)

// Caller is who calls over a connection that Server's credentials accepted.
func Caller(ctx context.Context) (identity.Identity, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return identity.Identity{}, errors.New("the call comes from nowhere")
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return identity.Identity{}, errors.New("the caller has shown no certificate: want one of this installation, as `fairlead pki issue` makes")
	}
	return identity.FromCertificate(info.State.PeerCertificates[0])
}
