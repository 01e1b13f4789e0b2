package transport

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

func TestTCPPipelines(t *testing.T) {
	s := run(t, Options{Handler: echo})
	c := dial(t, "tcp", s.Addrs()[0])
	var msgs [][]byte
	for i := range 300 {
		msgs = append(msgs, message(uint16(i), 12+i*7%3000))
	}
	go func() { _, _ = c.Write(frame(msgs...)) }()
	for i, want := range msgs {
		if got := readFrame(t, c); !bytes.Equal(got, want) {
			t.Fatalf("response %d: % x", i, got[:12])
		}
	}
}

func TestTCPLargestMessage(t *testing.T) {
	s := run(t, Options{Handler: echo})
	c := dial(t, "tcp", s.Addrs()[0])
	want := message(9, 65535)
	go func() { _, _ = c.Write(frame(want, message(1, 12))) }()
	if got := readFrame(t, c); !bytes.Equal(got, want) {
		t.Fatal("the message has changed")
	}
	if got := readFrame(t, c); len(got) != 12 {
		t.Fatalf("%d bytes", len(got))
	}
}

func TestTCPInPieces(t *testing.T) {
	s := run(t, Options{Handler: echo})
	c := dial(t, "tcp", s.Addrs()[0])
	for _, b := range frame(message(3, 20), message(4, 20)) {
		if _, err := c.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []byte{3, 4} {
		if got := readFrame(t, c); got[1] != id {
			t.Fatalf("got %d", got[1])
		}
	}
}

func TestTCPSeesBothEnds(t *testing.T) {
	type seen struct {
		src   netip.AddrPort
		local netip.Addr
		tcp   bool
	}
	got := make(chan seen, 1)
	s := run(t, Options{Addrs: []string{"0.0.0.0:0"}, Handler: func(dst, q []byte, src netip.AddrPort, local netip.Addr, tcp bool) []byte {
		got <- seen{src, local, tcp}
		return append(dst, q...)
	}})
	asked := netip.MustParseAddr("127.0.0.2")
	c := dial(t, "tcp", netip.AddrPortFrom(asked, s.Addrs()[0].Port()))
	if _, err := c.Write(frame(message(1, 12))); err != nil {
		t.Fatal(err)
	}
	readFrame(t, c)
	if g := <-got; g.src != c.LocalAddr().(*net.TCPAddr).AddrPort() || g.local != asked || !g.tcp {
		t.Errorf("%+v", g)
	}
}

// A connection ends on what is no DNS message, on silence of the handler and
// on a panic; the server goes on.
func TestTCPEnds(t *testing.T) {
	s := run(t, Options{Handler: func(dst, q []byte, _ netip.AddrPort, _ netip.Addr, _ bool) []byte {
		switch q[1] {
		case 1:
			return nil
		case 2:
			panic("on purpose")
		}
		return append(dst, q...)
	}})
	for name, b := range map[string][]byte{
		"empty":    {0, 0},
		"short":    frame(make([]byte, 11)),
		"nil":      frame(message(1, 12)),
		"panic":    frame(message(2, 12)),
		"pipeline": frame(message(5, 12), message(1, 12)),
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, "tcp", s.Addrs()[0])
			if _, err := c.Write(b); err != nil {
				t.Fatal(err)
			}
			if name == "pipeline" {
				readFrame(t, c)
			}
			closed(t, c)
		})
	}
	c := dial(t, "tcp", s.Addrs()[0])
	if _, err := c.Write(frame(message(6, 12))); err != nil {
		t.Fatal(err)
	}
	readFrame(t, c)
	if st := s.Stats(); st.Panics != 1 {
		t.Errorf("%+v", st)
	}
}

// Who sends nothing, or a byte now and then, or half a message, is
// disconnected.
func TestTCPSlowSenders(t *testing.T) {
	s := run(t, Options{Handler: echo, Idle: 200 * time.Millisecond})
	silent := dial(t, "tcp", s.Addrs()[0])
	half := dial(t, "tcp", s.Addrs()[0])
	if _, err := half.Write(frame(message(1, 100))[:50]); err != nil {
		t.Fatal(err)
	}
	loris := dial(t, "tcp", s.Addrs()[0])
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for _, b := range frame(message(1, 10000)) {
			if _, err := loris.Write([]byte{b}); err != nil {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	for _, c := range []net.Conn{silent, half, loris} {
		closed(t, c)
	}
	cancel()
	wg.Wait()
	eventually(t, "three timeouts", func() bool { st := s.Stats(); return st.TCPTimeouts == 3 && st.TCPOpen == 0 })
}

// Who asks and does not read is disconnected, and asking more does not make
// the server take more.
func TestTCPSlowReader(t *testing.T) {
	big := make([]byte, 60000)
	s := run(t, Options{WriteTimeout: 200 * time.Millisecond, Handler: func(dst, _ []byte, _ netip.AddrPort, _ netip.Addr, _ bool) []byte {
		return append(dst, big...)
	}})
	c := dial(t, "tcp", s.Addrs()[0])
	_ = c.(*net.TCPConn).SetReadBuffer(4096)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 100000 {
			if _, err := c.Write(frame(message(1, 12))); err != nil {
				return
			}
		}
	})
	eventually(t, "disconnected", func() bool { st := s.Stats(); return st.TCPTimeouts == 1 && st.TCPOpen == 0 })
	c.Close()
	wg.Wait()
	if st := s.Stats(); st.TCPReceived > 1000 {
		t.Errorf("%d queries were read from a peer that reads nothing", st.TCPReceived)
	}
}

func TestTCPLimitPerClient(t *testing.T) {
	s := run(t, Options{Handler: echo, MaxConnsPerClient: 3})
	for range 3 {
		c := dial(t, "tcp", s.Addrs()[0])
		if _, err := c.Write(frame(message(1, 12))); err != nil {
			t.Fatal(err)
		}
		readFrame(t, c)
	}
	closed(t, dial(t, "tcp", s.Addrs()[0]))
	if st := s.Stats(); st.TCPRefused != 1 || st.TCPAccepted != 3 || st.TCPOpen != 3 {
		t.Errorf("%+v", st)
	}
	// Another client is not concerned.
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 5)}}
	c, err := d.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(frame(message(1, 12))); err != nil {
		t.Fatal(err)
	}
	readFrame(t, c)
}

// When every place is taken by the silent, who comes is served all the same.
func TestTCPTheSilentMakeRoom(t *testing.T) {
	s := run(t, Options{Handler: echo, MaxConns: 4, Idle: time.Minute, IdleBusy: time.Minute})
	var silent []net.Conn
	for n := range 4 {
		silent = append(silent, dial(t, "tcp", s.Addrs()[0]))
		eventually(t, "a place taken", func() bool { return s.Stats().TCPOpen == n+1 })
	}
	c := dial(t, "tcp", s.Addrs()[0])
	if _, err := c.Write(frame(message(8, 12))); err != nil {
		t.Fatal(err)
	}
	readFrame(t, c)
	closed(t, silent[0])
	if st := s.Stats(); st.TCPEvicted != 1 || st.TCPOpen != 4 {
		t.Errorf("%+v", st)
	}
}

func TestTCPBusyMeansShorterPatience(t *testing.T) {
	s := run(t, Options{Handler: echo, MaxConns: 4, Idle: time.Minute, IdleBusy: 50 * time.Millisecond})
	for range 3 {
		dial(t, "tcp", s.Addrs()[0])
	}
	eventually(t, "three connections", func() bool { return s.Stats().TCPOpen == 3 })
	closed(t, dial(t, "tcp", s.Addrs()[0]))
	eventually(t, "one timeout", func() bool { st := s.Stats(); return st.TCPTimeouts == 1 && st.TCPOpen == 3 })
}

func TestClientOf(t *testing.T) {
	for a, want := range map[string]string{
		"192.0.2.7":                "192.0.2.7/32",
		"2001:db8:1:2:3:4:5:6":     "2001:db8:1:2::/64",
		"fe80::1%lo":               "fe80::/64",
		"2001:db8:1:2:ffff:4:5:66": "2001:db8:1:2::/64",
	} {
		if got := clientOf(netip.MustParseAddr(a)); got.String() != want {
			t.Errorf("%s: %s, want %s", a, got, want)
		}
	}
}
