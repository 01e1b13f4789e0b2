package transport

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var discard = slog.New(slog.DiscardHandler)

// patience is what a test waits for something that must happen.
const patience = 10 * time.Second

// hasIPv6 tells whether the machine has an IPv6 loopback; containers often
// have none, and what is tested there is IPv4 alone.
var hasIPv6 = sync.OnceValue(func() bool {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false
	}
	l.Close()
	return true
})

// echo answers every message with itself.
func echo(dst, query []byte, _ netip.AddrPort, _ netip.Addr, _ bool) []byte {
	return append(dst, query...)
}

// run serves until the test ends, and checks that Run ends cleanly.
func run(t *testing.T, o Options) *Server {
	t.Helper()
	if o.Logger == nil {
		o.Logger = discard
	}
	if o.Addrs == nil {
		o.Addrs = []string{"127.0.0.1:0"}
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s
}

// message makes a message of a size whose first bytes tell it apart.
func message(id uint16, size int) []byte {
	m := make([]byte, size)
	binary.BigEndian.PutUint16(m, id)
	return m
}

func frame(msgs ...[]byte) []byte {
	var out []byte
	for _, m := range msgs {
		out = binary.BigEndian.AppendUint16(out, uint16(len(m)))
		out = append(out, m...)
	}
	return out
}

func dial(t *testing.T, proto string, addr netip.AddrPort) net.Conn {
	t.Helper()
	c, err := net.Dial(proto, addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

func readFrame(t *testing.T, r io.Reader) []byte {
	t.Helper()
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		t.Fatalf("read length: %v", err)
	}
	m := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(r, m); err != nil {
		t.Fatalf("read message: %v", err)
	}
	return m
}

// closed waits until the peer has closed the connection.
func closed(t *testing.T, c net.Conn) {
	t.Helper()
	var b [1]byte
	_, err := bufio.NewReader(c).Read(b[:])
	var nerr net.Error
	if err == nil || (errors.As(err, &nerr) && nerr.Timeout()) {
		t.Fatalf("the connection is still open: %v", err)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not reached: %s", what)
		}
	}
}
