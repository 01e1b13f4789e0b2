package limits

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/fairlead-dns/fairlead/regions/identity"
)

// Who fails to say who he is too often at an address, is told to wait; one who
// does not fail there is let in at once, and so is everybody elsewhere.
func TestAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := made(t, Options{})
		alice := identity.Identity{TrustDomain: "fairlead", Role: identity.Operator, Name: "alice", Token: true}
		identify := l.Identify(func(ctx context.Context) (identity.Identity, error) {
			if ctx.Value(good{}) != nil {
				return alice, nil
			}
			return alice, errors.New("no such token")
		})
		at := func(address string) context.Context {
			p, _ := peer.FromContext(from(address))
			return peer.NewContext(context.Background(), p)
		}
		fail := func(address string) codes.Code {
			id, err := identify(at(address))
			if id.Role != identity.None {
				t.Errorf("%v, %v", id, err)
			}
			return status.Code(err)
		}
		for i := range 20 {
			if c := fail("192.0.2.1:1000"); c != codes.Unknown { // the error itself
				t.Fatalf("attempt %d: %v", i, c)
			}
		}
		for range 100 {
			if c := fail("192.0.2.1:2000"); c != codes.ResourceExhausted {
				t.Fatalf("over the limit: %v", c)
			}
		}
		if c := fail("192.0.2.2:1000"); c != codes.Unknown {
			t.Errorf("elsewhere: %v", c)
		}
		if id, err := identify(context.WithValue(at("192.0.2.1:3000"), good{}, true)); err != nil || !id.Equal(alice) {
			t.Errorf("a good one there: %v, %v", id, err)
		}
		time.Sleep(time.Second)
		if c := fail("192.0.2.1:1000"); c != codes.Unknown {
			t.Errorf("a second later: %v", c)
		}
		if c := fail("192.0.2.1:1000"); c != codes.ResourceExhausted {
			t.Errorf("and once more: %v", c)
		}
	})
}

// However many addresses fail to say who they are, nobody who can is forgotten for
// them, and nothing grows.
func TestStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := made(t, Options{MaxCallers: 10})
		wild := as(identity.Viewer, "wild")
		for l.call(wild, watch) == nil {
		}
		identify := l.Identify(func(context.Context) (identity.Identity, error) {
			return identity.Identity{}, errors.New("no such token")
		})
		for i := range 1000 {
			p, _ := peer.FromContext(from(fmt.Sprintf("[2001:db8:0:%x::1]:1000", i)))
			if _, err := identify(peer.NewContext(context.Background(), p)); err == nil {
				t.Fatal("let in")
			}
		}
		if err := l.call(wild, watch); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("over the limit, and forgotten: %v", err)
		}
		if n := l.strangers.order.Len(); n != 10 {
			t.Errorf("%d addresses are remembered", n)
		}
	})
}

type good struct{}

// One person holds so many streams and no more; when one ends there is room.
func TestOpenStreams(t *testing.T) {
	l := made(t, Options{OpenStreams: 3})
	release := make(chan struct{})
	ended := make(chan error)
	open := func(who string) chan struct{} {
		began := make(chan struct{})
		go func() {
			ended <- l.Stream()(nil, &stream{ctx: as(identity.Viewer, who)}, &grpc.StreamServerInfo{FullMethod: watch}, func(any, grpc.ServerStream) error {
				close(began)
				<-release
				return nil
			})
		}()
		return began
	}
	for range 3 {
		<-open("wild")
	}
	open("wild")
	if err := <-ended; status.Code(err) != codes.ResourceExhausted || status.Convert(err).Message() != "viewer wild has 3 streams open, as many as one caller may: end some of them" {
		t.Error(err)
	}
	<-open("calm")
	release <- struct{}{}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	// Whichever of the two it was, each has room for one more at least.
	if err := l.call(as(identity.Viewer, "calm"), watch); err != nil {
		t.Error(err)
	}
	close(release)
	for range 3 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if err := l.call(as(identity.Viewer, "wild"), watch); err != nil {
		t.Error(err)
	}
}
