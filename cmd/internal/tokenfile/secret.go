package tokenfile

import (
	"bytes"
	"context"
	"fmt"

	"google.golang.org/grpc/credentials"

	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

// Read reads the file of one token, which its bearer has.
func Read(path string) (string, error) {
	data, _, err := tlsfiles.ReadSecret(path, "a token")
	if err != nil {
		return "", err
	}
	token := string(bytes.TrimSpace(data))
	if _, err := identity.TokenDigest(token); err != nil {
		return "", fmt.Errorf("%s holds no token: %w", path, err)
	}
	return token, nil
}

// Bearer sends a token with every call, over TLS only.
func Bearer(token string) credentials.PerRPCCredentials { return bearer(token) }

type bearer string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (bearer) RequireTransportSecurity() bool { return true }

// String keeps the token out of whatever prints the value.
func (bearer) String() string { return "bearer token" }

// GoString is String, for %#v.
func (bearer) GoString() string { return "bearer token" }
