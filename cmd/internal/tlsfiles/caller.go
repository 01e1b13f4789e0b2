package tlsfiles

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/fairlead-dns/fairlead/regions/identity"
)

// Caller is who calls over a connection that Server's credentials accepted. The
// connection may be older than its client's certificate is good: who calls with
// an expired one, is refused.
func (f *Files) Caller(ctx context.Context) (identity.Identity, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return identity.Identity{}, errors.New("the call comes from nowhere")
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return identity.Identity{}, errors.New("the caller has shown no certificate: want one of this installation, as `fairlead pki issue` makes")
	}
	leaf := info.State.PeerCertificates[0]
	if state, _ := identity.Expiry(leaf, f.o.Now()); state == identity.Expired {
		return identity.Identity{}, fmt.Errorf("the caller's certificate expired at %s: renew it, as with `fairlead pki renew`", leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return identity.FromCertificate(leaf)
}
