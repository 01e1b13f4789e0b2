package authdns

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"github.com/fairlead-dns/fairlead/regions/identity"
)

// The nameserver's part of the door; the table of all of it is at the head of
// controller/door_test.go. What is served here is called by every role over real
// TLS in cmd/internal/program: TestMatrix, and every limit of a connection is
// exceeded there: TestConnectionLimits.

// What is in no row of the matrix is denied, to admins and without TLS too, unary
// or stream; and so is everybody whom the connection does not prove.
func TestDeniedByDefault(t *testing.T) {
	as := func(role identity.Role) func(context.Context) (identity.Identity, error) {
		return func(context.Context) (identity.Identity, error) {
			return identity.Identity{TrustDomain: "fairlead", Role: role, Name: "x"}, nil
		}
	}
	nobody := func(context.Context) (identity.Identity, error) {
		return identity.Identity{}, errors.New("no certificate")
	}
	reached := func(context.Context, any) (any, error) { return "reached", nil }
	for _, method := range []string{"/fairlead.v1.InsightService/GetStatus", "/fairlead.v9.New/Explain", ""} {
		for _, identify := range []func(context.Context) (identity.Identity, error){as(identity.Admin), anyone} {
			got, err := unary(identify)(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: method}, reached)
			if status.Code(err) != codes.PermissionDenied || got != nil {
				t.Errorf("%s: %v, %v", method, got, err)
			}
		}
	}
	if err := streams(nil, nil, &grpc.StreamServerInfo{FullMethod: "/x"}, nil); status.Code(err) != codes.PermissionDenied {
		t.Error(err)
	}
	for method, least := range least {
		if !least.Person() {
			t.Errorf("%s is for %s: programs call no nameserver", method, least)
		}
		for _, role := range append(identity.Roles(), identity.None) {
			_, err := unary(as(role))(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: method}, reached)
			_, early := atDoor(as(role))(t.Context(), &tap.Info{FullMethodName: method})
			if allowed := role.AtLeast(least); allowed != (err == nil) || allowed != (early == nil) {
				t.Errorf("%s calls %s: %v, %v", role, method, err, early)
			}
		}
		if _, err := unary(nobody)(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: method}, reached); status.Code(err) != codes.Unauthenticated {
			t.Errorf("nobody calls %s: %v", method, err)
		}
	}
}

// One who asks too much is refused, and nobody else; however many ask, few are
// remembered.
func TestCallersArePaced(t *testing.T) {
	p := &pace{}
	call := func(name string) error {
		ctx := context.WithValue(t.Context(), callerKey{}, identity.Identity{TrustDomain: "fairlead", Role: identity.Viewer, Name: name})
		_, err := p.unary(ctx, nil, nil, func(context.Context, any) (any, error) { return nil, nil })
		return err
	}
	var err error
	for i := 0; i < 100*callBurst && err == nil; i++ {
		err = call("wild")
	}
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "viewer wild is over the limit") {
		t.Error(err)
	}
	for i := range 3 * maxPaced {
		if err := call(strings.Repeat("x", i%63+1) + strings.Repeat("y", i/63)); err != nil {
			t.Fatal(err)
		}
		if n := len(p.callers); n > maxPaced {
			t.Fatalf("%d are remembered", n)
		}
	}
}

// A connection ends at its age, and one whose client is gone without; answers
// know of neither.
func TestConnectionsEnd(t *testing.T) {
	before := connections
	defer func() { connections = before }()
	connections = keepalive.ServerParameters{Time: time.Second, Timeout: 200 * time.Millisecond}
	c := startController(t)
	c.publish(t)
	s := run(t, options(t, "", c.addr))
	s.eventually("www.example.test.", "192.0.2.10")
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", s.grpc.Target()[strings.LastIndex(s.grpc.Target(), "/")+1:])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(http2.NewFramer(conn, conn).WriteSettings(), conn.SetReadDeadline(time.Now().Add(time.Minute))); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	if _, err := io.Copy(io.Discard, dial()); err != nil {
		t.Errorf("one that answers no ping: %v", err)
	}
	s.want("www.example.test.", "192.0.2.10")

	connections = keepalive.ServerParameters{MaxConnectionAge: 300 * time.Millisecond, MaxConnectionAgeGrace: 100 * time.Millisecond}
	s.stop()
	s = run(t, options(t, "", c.addr))
	fr := http2.NewFramer(io.Discard, dial())
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			t.Fatalf("no word that it ends: %v", err)
		}
		if _, ok := f.(*http2.GoAwayFrame); ok {
			break
		}
	}
}
