package cli

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/fairlead-dns/fairlead/regions/identity"
)

// takesTokens serves with a holder's certificate, and wants the token and no
// certificate.
func takesTokens(t *testing.T, h holder, token string) []grpc.ServerOption {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(h.cert, h.key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	bundle, err := os.ReadFile(h.ca)
	if err != nil || !pool.AppendCertsFromPEM(bundle) {
		t.Fatal(err)
	}
	creds := credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool})
	check := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		p, _ := peer.FromContext(ctx)
		md, _ := metadata.FromIncomingContext(ctx)
		if info, ok := p.AuthInfo.(credentials.TLSInfo); !ok || len(info.State.PeerCertificates) > 0 {
			t.Error("a certificate came with the token")
		}
		if got := strings.Join(md.Get("authorization"), ","); got != "Bearer "+token {
			return nil, status.Error(codes.Unauthenticated, "no such token")
		}
		return next(ctx, req)
	}
	return []grpc.ServerOption{grpc.Creds(creds), grpc.UnaryInterceptor(check)}
}

// A token goes to controllers of the installation alone, in place of a certificate.
func TestToken(t *testing.T) {
	now := time.Now()
	token, err := identity.NewToken(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	another, err := identity.NewToken(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "alice.token")
	put := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	ca := newCA(t, "fairlead")
	controller := issue(t, ca, "controller/c1", now)
	f := &fake{status: well}
	addr := serve(t, f, takesTokens(t, controller, token)...)
	args := func(more ...string) []string {
		return append(more, "--token-file", file, "--tls-ca", controller.ca)
	}

	put(token+"\n", 0o600)
	run(t, "", args("status", "--controller", addr)...).want(t, exitDone, "controller alive")
	put(token, 0o640)
	run(t, "", args("status", "--controller", addr)...).want(t, exitFailed, "holds a token", "run chmod 600 "+file)
	put("secret", 0o600)
	if r := run(t, "", args("status", "--controller", addr)...); r.code != exitFailed || !strings.Contains(r.err, file) || strings.Contains(r.err, "secret") {
		t.Errorf("%+v", r)
	}
	put(another, 0o600)
	r := run(t, "", args("status", "--controller", addr)...)
	r.want(t, exitFailed, "fairlead: not authenticated: no such token\n")
	put(token, 0o600)

	// To nobody else.
	impostor := serve(t, f, takesTokens(t, issue(t, ca, "nameserver/eu-west/ns-1", now), token)...)
	run(t, "", args("status", "--controller", impostor)...).want(t, exitFailed, "it is nameserver ns-1 of region eu-west: want the role controller; does --controller name the right port?")
	foreign := serve(t, f, takesTokens(t, issue(t, newCA(t, "fairlead"), "controller/c1", now), token)...)
	run(t, "", args("status", "--controller", foreign)...).want(t, exitFailed, "certificate signed by unknown authority")
	run(t, "", args("status", "--controller", serve(t, f))...).want(t, exitFailed, "it speaks no TLS")
	mutual := serve(t, f, controller.server(t, now))
	run(t, "", args("status", "--controller", mutual)...).want(t, exitFailed, "no tokens")

	// Nameservers take none; beside a token, a certificate is for them.
	run(t, "", args("status", "--direct", "--nameservers", "127.0.0.1:1")...).want(t, exitUsage, "nameservers know no tokens: your certificate says who you are there; give --tls-cert")
	alice := issue(t, ca, "operator/alice", now)
	g := &glass{name: "ns-1", region: "eu-west"}
	ns := serveGlass(t, g, issue(t, ca, "nameserver/eu-west/ns-1", now).server(t, now))
	both := append(args("status", "--controller", addr), "--tls-cert", alice.cert, "--tls-key", alice.key)
	run(t, "", both...).want(t, exitDone, "controller alive")
	run(t, "", append(both, "--direct", "--nameservers", ns)...).want(t, exitDone, "ns-1", "answers")

	// In a context.
	path := filepath.Join(filepath.Dir(file), "config.yaml")
	t.Setenv("FAIRLEAD_CONFIG", path)
	run(t, "", "context", "set", "prod", "--controllers", addr, "--token-file", file).want(t, exitUsage, "tokenFile needs tlsCA")
	run(t, "", "context", "set", "prod", "--controllers", addr, "--token-file", file, "--tls-ca", controller.ca).want(t, exitDone, `context "prod" was made`)
	if text, err := os.ReadFile(path); err != nil || !strings.Contains(string(text), "tokenFile: alice.token\n") {
		t.Errorf("%v\n%s", err, text)
	}
	run(t, "", "status").want(t, exitDone, "controller alive")
	run(t, "", "context", "show").want(t, exitDone, "Token        "+file, "you are who the token says")
}
