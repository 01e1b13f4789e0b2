package tlsfiles

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/fairlead-dns/fairlead/regions/identity"
)

// Where tokens are taken, a client comes without a certificate; one that it has
// is verified as ever. Where they are not, nobody does.
func TestClientsWithoutCertificate(t *testing.T) {
	k := newClock()
	ca, foreign := newCA(t, "fairlead", k.now()), newCA(t, "fairlead", k.now())
	files := func(path string, life time.Duration) *Files {
		return open(t, k.options(place(t, issue(t, ca, path, life, k.now()), caPEM(t, ca))))
	}
	server, agent, fading := files("controller/c1", 90*day), files("agent/eu/a1", 90*day), files("agent/eu/a2", day)
	stranger := open(t, k.options(place(t, issue(t, foreign, "agent/eu/a1", 90*day, k.now()), caPEM(t, ca, foreign))))
	taking, refusing := serve(t, server.ServerForTokens()), serve(t, server.Server())
	without := func(cas []byte, expect func(identity.Identity) error) string {
		o := place(t, issue(t, ca, "viewer/v", day, k.now()), cas)
		creds, err := WithoutCertificate(o.CAFile, expect, k.now)
		if err != nil {
			t.Fatal(err)
		}
		_, err = call(t, taking, creds)
		if err == nil {
			_, refused := call(t, refusing, creds)
			check(t, refused, refusedAlert("certificate required"))
			return ""
		}
		return err.Error()
	}
	if say := without(caPEM(t, ca), wantController); say != "" {
		t.Error(say)
	}
	for _, c := range []struct {
		cas    []byte
		expect func(identity.Identity) error
		say    string
	}{
		{caPEM(t, foreign), wantController, "signed by unknown authority"},
		{caPEM(t, ca), identity.OneOf(identity.Nameserver), "it is controller c1: want the role nameserver"},
	} {
		o := place(t, issue(t, ca, "viewer/v", day, k.now()), c.cas)
		creds, err := WithoutCertificate(o.CAFile, c.expect, k.now)
		if err != nil {
			t.Fatal(err)
		}
		_, err = call(t, taking, creds)
		check(t, err, c.say)
	}
	_, err := call(t, taking, agent.Client(wantController))
	check(t, err, "")
	_, err = call(t, taking, stranger.Client(wantController))
	check(t, err, refusedAlert("unknown certificate authority"))
	k.advance(2 * day)
	_, err = call(t, taking, fading.Client(wantController))
	check(t, err, refusedAlert("expired certificate"))
	o := place(t, issue(t, ca, "viewer/v", day, k.now()), caPEM(t, ca))
	if _, err := WithoutCertificate(o.CertFile, wantController, k.now); err == nil {
		t.Error("a bundle of no CA")
	}
	if _, err := WithoutCertificate("nowhere", wantController, k.now); err == nil {
		t.Error("no bundle")
	}
}

// A connection outlives its client's certificate by its age at most, and calls
// on it do not: whoever is expired is told so.
func TestCallerOfAnOldConnection(t *testing.T) {
	k := newClock()
	ca := newCA(t, "fairlead", k.now())
	server := open(t, k.options(place(t, issue(t, ca, "controller/c1", 90*day, k.now()), caPEM(t, ca))))
	client := open(t, k.options(place(t, issue(t, ca, "operator/alice", day, k.now()), caPEM(t, ca))))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.Creds(server.Server()), grpc.UnaryInterceptor(
		func(ctx context.Context, _ any, _ *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
			id, err := server.Caller(ctx)
			if err != nil {
				return nil, status.Error(codes.Unauthenticated, err.Error())
			}
			if id.String() != "operator alice" {
				t.Errorf("the caller is %s", id)
			}
			return &healthpb.HealthCheckResponse{}, nil
		}))
	healthpb.RegisterHealthServer(s, healthpb.UnimplementedHealthServer{})
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	defer func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	kept := dial(t, l.Addr().String(), client.Client(wantController))
	defer kept.Close()
	if _, err := callOn(kept); err != nil {
		t.Fatal(err)
	}
	k.advance(2 * day)
	_, err = callOn(kept)
	if status.Code(err) != codes.Unauthenticated {
		t.Error(err)
	}
	check(t, err, "the caller's certificate expired at "+client.Certificate().NotAfter.UTC().Format(time.RFC3339))
}

// Who comes from nowhere, or without TLS, is nobody.
func TestNoCaller(t *testing.T) {
	ca := newCA(t, "fairlead", time.Now())
	f := open(t, place(t, issue(t, ca, "controller/c1", day, time.Now()), caPEM(t, ca)))
	if id, err := f.Caller(t.Context()); err == nil || id.Role != identity.None {
		t.Errorf("%v, %v", id, err)
	}
}
