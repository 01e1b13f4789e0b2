package pki

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"

	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

// patience is what a test waits for something that must happen.
const patience = 10 * time.Second

// open opens what a command has issued.
func (s *shop) open(t *testing.T, prefix, bundle string) *tlsfiles.Files {
	t.Helper()
	f, err := tlsfiles.Open(tlsfiles.Options{
		CertFile: s.at(prefix + ".crt"), KeyFile: s.at(prefix + ".key"), CAFile: s.at(bundle),
		Poll: 10 * time.Millisecond, Now: func() time.Time { return s.now }, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// running polls the files until the test ends.
func running(t *testing.T, f *tlsfiles.Files) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// whoami serves one thing: a health check that fails with the caller's identity
// when that is no agent.
func whoami(t *testing.T, f *tlsfiles.Files) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.Creds(f.Server()), grpc.UnaryInterceptor(
		func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			p, _ := peer.FromContext(ctx)
			id, err := identity.FromCertificate(p.AuthInfo.(credentials.TLSInfo).State.PeerCertificates[0])
			if err == nil {
				err = identity.Exactly(identity.Agent, "eu", "a1")(id)
			}
			if err != nil {
				return nil, fmt.Errorf("refused: %w", err)
			}
			return next(ctx, req)
		}))
	healthpb.RegisterHealthServer(s, health.NewServer())
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// call makes a call over a new connection and returns the server's serial number.
func call(t *testing.T, addr string, f *tlsfiles.Files) (string, error) {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(f.Client(identity.OneOf(identity.Controller))))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var p peer.Peer
	if _, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.Peer(&p)); err != nil {
		return "", err
	}
	return p.AuthInfo.(credentials.TLSInfo).State.PeerCertificates[0].SerialNumber.Text(16), nil
}

func TestWhatIsIssuedConnects(t *testing.T) {
	s := newShop(t)
	for _, args := range []string{
		"controller c1", "agent a1 --region eu", "agent a2 --region us", "operator al", "nameserver ns1 --region eu",
	} {
		s.run(t, append([]string{"issue", "--dir", "@/pki"}, strings.Fields(args)...)...)
	}
	s.run(t, "init", "--dir", "@/other")
	s.run(t, "issue", "agent", "a1", "--region", "eu", "--dir", "@/other")
	// It would trust the server, and the server does not know its CA.
	pki, _ := os.ReadFile(s.at("pki/ca.crt"))
	other, _ := os.ReadFile(s.at("other/ca.crt"))
	if err := os.WriteFile(s.at("both.crt"), append(pki, other...), 0o644); err != nil {
		t.Fatal(err)
	}
	addr := whoami(t, s.open(t, "pki/controller-c1", "pki/ca.crt"))
	wrong := whoami(t, s.open(t, "pki/nameserver-ns1", "pki/ca.crt"))
	for _, c := range []struct{ addr, prefix, bundle, say string }{
		{addr, "pki/agent-a1", "pki/ca.crt", ""},
		{addr, "pki/agent-a2", "pki/ca.crt", "it is agent a2 of region us: want agent a1 of region eu"},
		{addr, "pki/operator-al", "pki/ca.crt", "it is operator al"},
		{addr, "other/agent-a1", "both.crt", "Unavailable"},
		{wrong, "pki/agent-a1", "pki/ca.crt", "it is nameserver ns1 of region eu: want the role controller"},
	} {
		_, err := call(t, c.addr, s.open(t, c.prefix, c.bundle))
		if (err == nil) != (c.say == "") || err != nil && !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v: want %q", c.prefix, err, c.say)
		}
	}
}

// renew while the programs run: they connect before, after, and at every
// moment between.
func TestRenewWhileRunning(t *testing.T) {
	s := newShop(t)
	s.run(t, "issue", "controller", "c1", "--dir", "@/pki")
	s.run(t, "issue", "agent", "a1", "--region", "eu", "--dir", "@/pki")
	controller, agent := s.open(t, "pki/controller-c1", "pki/ca.crt"), s.open(t, "pki/agent-a1", "pki/ca.crt")
	running(t, controller)
	running(t, agent)
	addr := whoami(t, controller)
	for range 5 {
		before, err := call(t, addr, agent)
		if err != nil {
			t.Fatal(err)
		}
		s.run(t, "renew", "--dir", "@/pki", "@/pki/controller-c1.crt", "@/pki/agent-a1.crt")
		for end := time.Now().Add(patience); ; {
			serial, err := call(t, addr, agent)
			if err != nil {
				t.Fatal(err)
			}
			if serial != before {
				break
			}
			if time.Now().After(end) {
				t.Fatal("the new certificate never came into use")
			}
		}
	}
}
