package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestUDPAndTCPShareThePort(t *testing.T) {
	addrs := []string{"127.0.0.1:0", "127.0.0.2:0"}
	if hasIPv6() {
		addrs = append(addrs, "[::1]:0")
	}
	s := run(t, Options{Addrs: addrs, Handler: echo})
	if len(s.Addrs()) != len(addrs) {
		t.Fatalf("%v", s.Addrs())
	}
	for _, a := range s.Addrs() {
		u := dial(t, "udp", a)
		if _, err := u.Write(message(1, 12)); err != nil {
			t.Fatal(err)
		}
		if _, err := u.Read(make([]byte, 12)); err != nil {
			t.Fatalf("udp %s: %v", a, err)
		}
		c := dial(t, "tcp", a)
		if _, err := c.Write(frame(message(1, 12))); err != nil {
			t.Fatal(err)
		}
		readFrame(t, c)
	}
}

func TestBindErrors(t *testing.T) {
	u, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, tt := range []struct{ proto, addr string }{{"udp", u.LocalAddr().String()}, {"tcp", l.Addr().String()}} {
		_, err := New(Options{Addrs: []string{"127.0.0.1:0", tt.addr}, Handler: echo, Logger: discard})
		want := fmt.Sprintf("listen %s %s (--dns): address already in use", tt.proto, tt.addr)
		if err == nil || err.Error() != want || !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// Two servers must not share a port without knowing: each would get half of
// the queries.
func TestTwoServersDoNotShareAPort(t *testing.T) {
	s := run(t, Options{Handler: echo, UDPSockets: 2})
	_, err := New(Options{Addrs: []string{s.Addrs()[0].String()}, Handler: echo, Logger: discard, UDPSockets: 2})
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.HasPrefix(err.Error(), "listen udp ") {
		t.Errorf("got %v", err)
	}
}

func TestOptionErrors(t *testing.T) {
	for _, tt := range []struct {
		o    Options
		want []string
	}{
		{Options{}, []string{"--dns: no address", "Handler is missing", "Logger is missing"}},
		{Options{Addrs: []string{"localhost:53"}, Flag: "--listen"}, []string{`--listen "localhost:53": want ADDRESS:PORT, as 192.0.2.1:53`}},
		{Options{Addrs: []string{"127.0.0.1", "127.0.0.1:x", "127.0.0.1:65536"}}, []string{`"127.0.0.1":`, `"127.0.0.1:x":`, `"127.0.0.1:65536":`}},
		{Options{Addrs: []string{"127.0.0.1:5399", "[::ffff:127.0.0.1]:5399"}}, []string{"--dns 127.0.0.1:5399 is there twice"}},
		{Options{Addrs: []string{"127.0.0.1:0"}, MaxConns: -1, Idle: -1}, []string{"MaxConns is -1", "Idle is -1ns"}},
	} {
		if len(tt.o.Addrs) > 0 {
			tt.o.Handler, tt.o.Logger = echo, discard
		}
		_, err := New(tt.o)
		for _, w := range tt.want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%+v: got %v, want %q in it", tt.o.Addrs, err, w)
			}
		}
	}
}

// The query that is being answered when the server stops is answered.
func TestDrain(t *testing.T) {
	for _, proto := range []string{"udp", "tcp"} {
		t.Run(proto, func(t *testing.T) {
			entered, release := make(chan struct{}), make(chan struct{})
			s, err := New(Options{Addrs: []string{"127.0.0.1:0"}, Logger: discard, Drain: patience, Handler: func(dst, q []byte, _ netip.AddrPort, _ netip.Addr, _ bool) []byte {
				entered <- struct{}{}
				<-release
				return append(dst, q...)
			}})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- s.Run(ctx) }()
			idle := dial(t, "tcp", s.Addrs()[0])
			eventually(t, "connected", func() bool { return s.Stats().TCPOpen == 1 })
			c := dial(t, proto, s.Addrs()[0])
			b := message(1, 12)
			if proto == "tcp" {
				b = frame(b)
			}
			if _, err := c.Write(b); err != nil {
				t.Fatal(err)
			}
			<-entered
			cancel()
			closed(t, idle)
			close(release)
			got := make([]byte, len(b))
			if n, err := c.Read(got); err != nil || !bytes.Equal(got[:n], b[:n]) {
				t.Errorf("got % x, %v", got[:n], err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			if _, err := net.Dial("tcp", s.Addrs()[0].String()); err == nil {
				t.Error("still listens")
			}
		})
	}
}

// A peer that takes nothing does not hold the server up.
func TestDrainIsBounded(t *testing.T) {
	big := make([]byte, 60000)
	s, err := New(Options{
		Addrs: []string{"127.0.0.1:0"}, Logger: discard, Drain: 50 * time.Millisecond, WriteTimeout: time.Hour,
		Handler: func(dst, _ []byte, _ netip.AddrPort, _ netip.Addr, _ bool) []byte { return append(dst, big...) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	c := dial(t, "tcp", s.Addrs()[0])
	for range 200 {
		if _, err := c.Write(frame(message(1, 12))); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "stuck in a write", func() bool {
		before := s.Stats().TCPSent
		time.Sleep(20 * time.Millisecond)
		return before > 0 && s.Stats().TCPSent == before
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// One line in the log tells of a panic; a thousand more do not fill the disk.
func TestPanicsAreLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	s := run(t, Options{
		Logger:  slog.New(slog.NewTextHandler(&log, nil)),
		Handler: func(_, _ []byte, _ netip.AddrPort, _ netip.Addr, _ bool) []byte { panic("on purpose") },
	})
	for range 1000 {
		if got := s.handle(nil, message(1, 12), netip.AddrPort{}, netip.Addr{}, false); got != nil {
			t.Fatalf("% x", got)
		}
	}
	if got := strings.Count(log.String(), "on purpose"); got != 1 || s.Stats().Panics != 1000 {
		t.Errorf("%d lines, %+v", got, s.Stats())
	}
}

func TestCloseWithoutRun(t *testing.T) {
	s, err := New(Options{Addrs: []string{"127.0.0.1:0"}, Handler: echo, Logger: discard})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if l, err := net.Listen("tcp", s.Addrs()[0].String()); err != nil {
		t.Error(err)
	} else {
		l.Close()
	}
}
