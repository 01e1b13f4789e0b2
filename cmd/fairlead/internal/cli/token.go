package cli

import (
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles"
	"github.com/fairlead-dns/fairlead/cmd/internal/tokenfile"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

// bearer is a token for the controllers, and the CAs that they must be signed by.
type bearer struct {
	token  credentials.PerRPCCredentials
	caFile string
	now    func() time.Time
}

// readBearer reads the token that the settings name.
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
	return &bearer{token: tokenfile.Bearer(token), caFile: s.ca, now: now}, nil
}

// credentials verify the server and give no certificate.
func (b *bearer) credentials(expect func(identity.Identity) error) (credentials.TransportCredentials, error) {
	return tlsfiles.WithoutCertificate(b.caFile, expect, b.now)
}
