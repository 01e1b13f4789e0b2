package transport

import (
	"bytes"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

func TestUDPAnswers(t *testing.T) {
	addrs := []string{"127.0.0.1:0"}
	if hasIPv6() {
		addrs = append(addrs, "[::1]:0")
	}
	for _, addr := range addrs {
		t.Run(addr, func(t *testing.T) {
			type seen struct {
				src   netip.AddrPort
				local netip.Addr
				tcp   bool
			}
			got := make(chan seen, 1)
			s := run(t, Options{Addrs: []string{addr}, Handler: func(dst, q []byte, src netip.AddrPort, local netip.Addr, tcp bool) []byte {
				got <- seen{src, local, tcp}
				return append(dst, q...)
			}})
			c := dial(t, "udp", s.Addrs()[0])
			want := message(7, 100)
			if _, err := c.Write(want); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 512)
			n, err := c.Read(buf)
			if err != nil || !bytes.Equal(buf[:n], want) {
				t.Fatalf("got % x, %v", buf[:n], err)
			}
			g := <-got
			if g.src != c.LocalAddr().(*net.UDPAddr).AddrPort() || g.local != s.Addrs()[0].Addr() || g.tcp {
				t.Errorf("the handler saw %+v", g)
			}
		})
	}
}

// A resolver takes a response only from the address that it asked. A
// connected socket is as strict.
func TestUDPWildcardAnswersFromTheAddressAsked(t *testing.T) {
	locals := make(chan netip.Addr, 1)
	s := run(t, Options{Addrs: []string{":0"}, Handler: func(dst, q []byte, _ netip.AddrPort, local netip.Addr, _ bool) []byte {
		locals <- local
		return append(dst, q...)
	}})
	hosts := []string{"127.0.0.2", "127.0.0.1", "127.9.9.9"}
	if hasIPv6() {
		hosts = append(hosts, "::1")
		if len(s.Addrs()) != 2 || s.Addrs()[0].Port() != s.Addrs()[1].Port() {
			t.Fatalf("addresses: %v", s.Addrs())
		}
	}
	for range 2 { // the second time from memory
		for _, host := range hosts {
			addr := netip.MustParseAddr(host)
			c := dial(t, "udp", netip.AddrPortFrom(addr, s.Addrs()[0].Port()))
			if _, err := c.Write(message(1, 12)); err != nil {
				t.Fatal(err)
			}
			if n, err := c.Read(make([]byte, 512)); err != nil || n != 12 {
				t.Fatalf("%s: %d bytes, %v", host, n, err)
			}
			if got := <-locals; got != addr {
				t.Errorf("asked at %s, the handler saw %s", addr, got)
			}
		}
	}
}

func TestUDPSocketsShareTheLoad(t *testing.T) {
	s := run(t, Options{Handler: echo, UDPSockets: 4})
	if canSharePort && len(s.udp) != 4 {
		t.Fatalf("%d sockets", len(s.udp))
	}
	var wg sync.WaitGroup
	for i := range 64 {
		c := dial(t, "udp", s.Addrs()[0])
		wg.Go(func() {
			buf := make([]byte, 512)
			for j := range 20 {
				want := message(uint16(i*100+j), 40)
				if _, err := c.Write(want); err != nil {
					t.Error(err)
					return
				}
				if n, err := c.Read(buf); err != nil || !bytes.Equal(buf[:n], want) {
					t.Errorf("got % x, %v", buf[:n], err)
					return
				}
			}
		})
	}
	wg.Wait()
	if st := s.Stats(); st.UDPReceived != 64*20 || st.UDPErrors != 0 {
		t.Errorf("%+v", st)
	}
	if canSharePort {
		busy := 0
		for _, u := range s.udp {
			if u.received.Load() > 0 {
				busy++
			}
		}
		if busy < 2 {
			t.Errorf("%d of 4 sockets had queries", busy)
		}
	}
}

func TestUDPSilence(t *testing.T) {
	s := run(t, Options{Handler: func(dst, q []byte, _ netip.AddrPort, _ netip.Addr, _ bool) []byte {
		switch q[1] {
		case 1:
			return nil
		case 2:
			panic("on purpose")
		}
		return append(dst, q...)
	}})
	c := dial(t, "udp", s.Addrs()[0])
	for id := range uint16(4) {
		if _, err := c.Write(message(id, 12)); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 512)
	for _, want := range []byte{0, 3} {
		if _, err := c.Read(buf); err != nil || buf[1] != want {
			t.Fatalf("got %d, %v; want %d", buf[1], err, want)
		}
	}
	eventually(t, "counted", func() bool {
		st := s.Stats()
		return st.UDPReceived == 4 && st.UDPSent == 2 && st.Panics == 1
	})
}

func TestUDPLargestDatagrams(t *testing.T) {
	s := run(t, Options{Handler: echo})
	c := dial(t, "udp", s.Addrs()[0])
	want := message(5, 65507)
	if _, err := c.Write(want); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 70000)
	if n, err := c.Read(buf); err != nil || !bytes.Equal(buf[:n], want) {
		t.Fatalf("%d bytes, %v", n, err)
	}
}

func TestUDPSteadyStateAllocatesNothing(t *testing.T) {
	s, err := New(Options{Addrs: []string{"0.0.0.0:0"}, Handler: echo, Logger: discard, UDPSockets: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := dial(t, "udp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.3"), s.Addrs()[0].Port()))
	u := s.udp[0]
	buf, dst, oob := make([]byte, 512), make([]byte, 512), make([]byte, 256)
	_ = u.conn.SetReadDeadline(time.Now().Add(patience))
	query := message(1, 40)
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := c.Write(query); err != nil {
			t.Fatal(err)
		}
		n, oobn, _, src, err := u.conn.ReadMsgUDPAddrPort(buf, oob)
		if err != nil {
			t.Fatal(err)
		}
		u.answer(dst, buf[:n], oob[:oobn], src)
		if _, err := c.Read(buf); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations for each query", allocs)
	}
}
