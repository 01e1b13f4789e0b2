package program

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

// TLS is the options on certificates that every program has.
type TLS struct {
	Cert, Key, CA string
	// Insecure leaves TLS out of gRPC. `fairlead dev` does, on loopback.
	Insecure bool
	// InsecureHTTP leaves it out of the HTTP endpoint for operations alone.
	InsecureHTTP bool
}

// Flags adds the flags.
func (t *TLS) Flags(f *pflag.FlagSet) {
	f.StringVar(&t.Cert, "tls-cert", "", "the `FILE` of this program's certificate, PEM, as fairlead pki issue makes it; read again when it changes")
	f.StringVar(&t.Key, "tls-key", "", "the `FILE` of its key, PEM, readable by its owner only")
	f.StringVar(&t.CA, "tls-ca", "", "the `FILE` of the CA certificates that peers must be signed by, PEM")
	f.BoolVar(&t.Insecure, "insecure-plaintext", false, "leave TLS out: anybody who reaches the ports may do everything")
	f.BoolVar(&t.InsecureHTTP, "insecure-http", false, "serve --http as plain HTTP, for scrapers that cannot do TLS")
}

// Check says what is wrong with the flags.
func (t *TLS) Check() error {
	given := t.Cert != "" || t.Key != "" || t.CA != ""
	switch {
	case t.Insecure && given:
		return errors.New("--insecure-plaintext goes without --tls-cert, --tls-key and --tls-ca")
	case !t.Insecure && (t.Cert == "" || t.Key == "" || t.CA == ""):
		return fmt.Errorf("missing %s: `fairlead pki issue` makes the files", missing([]string{"--tls-cert", "--tls-key", "--tls-ca"}, t.Cert, t.Key, t.CA))
	}
	return nil
}

// missing names the flags that have no value.
func missing(flags []string, values ...string) string {
	var out []string
	for i, v := range values {
		if v == "" {
			out = append(out, flags[i])
		}
	}
	if len(out) < 2 {
		return strings.Join(out, "")
	}
	return strings.Join(out[:len(out)-1], ", ") + " and " + out[len(out)-1]
}

// Open opens the files; expect is what this program's own certificate must
// say. It returns nil when TLS is left out.
func (t *TLS) Open(expect func(identity.Identity) error, log *slog.Logger, reg prometheus.Registerer) (*tlsfiles.Files, error) {
	if t.Insecure {
		return nil, nil
	}
	files, err := tlsfiles.Open(tlsfiles.Options{
		CertFile: t.Cert, KeyFile: t.Key, CAFile: t.CA, Use: "program", Expect: expect, Log: log, Registerer: reg,
	})
	if err != nil {
		return nil, fmt.Errorf("--tls-cert, --tls-key, --tls-ca: %w", err)
	}
	return files, nil
}

// ServerCredentials are those of a gRPC server; nil without TLS.
func ServerCredentials(f *tlsfiles.Files) credentials.TransportCredentials {
	if f == nil {
		return nil
	}
	return f.Server()
}

// ToControllers are the credentials of connections to controllers.
func ToControllers(f *tlsfiles.Files) credentials.TransportCredentials {
	if f == nil {
		return insecure.NewCredentials()
	}
	return f.Client(identity.OneOf(identity.Controller))
}

// HTTP is the TLS configuration of the HTTP endpoint; nil: plain HTTP.
func (t *TLS) HTTP(f *tlsfiles.Files) *tls.Config {
	if f == nil || t.InsecureHTTP {
		return nil
	}
	return f.OperationsTLS()
}

// Identify says who calls, from the connection's certificate; nil without TLS.
func Identify(f *tlsfiles.Files) func(context.Context) (identity.Identity, error) {
	if f == nil {
		return nil
	}
	return f.Caller
}
