package transport

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// tcpBuffer holds several pipelined queries.
	tcpBuffer = 4096
	// minMessage is a DNS header.
	minMessage = 12
	maxMessage = 65535
	// maxAcceptPause is how long accepting pauses at most when the system has
	// no file descriptor left.
	maxAcceptPause = time.Second
)

// tcpServer is the connections of all listeners.
type tcpServer struct {
	s         *Server
	listeners []*net.TCPListener
	wg        sync.WaitGroup // connections

	accepted, refused, evicted, timeouts, received, sent atomic.Uint64
	draining                                             atomic.Bool

	mu      sync.Mutex
	conns   map[*tcpConn]struct{}
	clients map[netip.Prefix]int
}

// tcpConn is one connection; one goroutine reads, answers and writes in turn,
// so a peer that does not read its responses is not read from either.
type tcpConn struct {
	t      *tcpServer
	conn   *net.TCPConn
	src    netip.AddrPort
	local  netip.Addr
	client netip.Prefix
	// waiting is since when it waits for a query, in nanoseconds since the
	// start; 0 while it answers.
	waiting atomic.Int64
}

func newTCPServer(s *Server) *tcpServer {
	return &tcpServer{s: s, conns: make(map[*tcpConn]struct{}), clients: make(map[netip.Prefix]int)}
}

// accept takes connections until the context ends.
func (t *tcpServer) accept(ctx context.Context, l *net.TCPListener) error {
	pause := time.Duration(0)
	for {
		conn, err := l.AcceptTCP()
		switch {
		case err == nil:
			pause = 0
			t.start(conn)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("tcp %s: %w", l.Addr(), err)
		default:
			// Out of file descriptors, most likely.
			pause = min(max(2*pause, 5*time.Millisecond), maxAcceptPause)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
}

// start serves a connection if there is room for it.
func (t *tcpServer) start(conn *net.TCPConn) {
	c := &tcpConn{
		t: t, conn: conn,
		src:   conn.RemoteAddr().(*net.TCPAddr).AddrPort(),
		local: conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr(),
	}
	c.client = clientOf(c.src.Addr())
	c.wait()
	if !t.admit(c) {
		t.refused.Add(1)
		conn.Close()
		return
	}
	t.accepted.Add(1)
	t.wg.Go(func() {
		defer func() {
			conn.Close()
			t.leave(c)
		}()
		c.serve()
	})
}

// clientOf is what counts as one client: an IPv6 host has a whole /64.
func clientOf(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits)
	return p
}

// admit enters a connection into the books. When all places are taken, the
// connection that waits longest for a query makes room: an attacker who opens
// connections and is silent only pushes out his own.
func (t *tcpServer) admit(c *tcpConn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.clients[c.client] >= t.s.o.MaxConnsPerClient || t.draining.Load() {
		return false
	}
	if len(t.conns) >= t.s.o.MaxConns {
		var oldest *tcpConn
		var since int64
		for o := range t.conns {
			if w := o.waiting.Load(); w != 0 && (oldest == nil || w < since) {
				oldest, since = o, w
			}
		}
		if oldest == nil {
			return false
		}
		t.evicted.Add(1)
		t.remove(oldest)
		oldest.conn.Close()
	}
	t.conns[c] = struct{}{}
	t.clients[c.client]++
	return true
}

func (t *tcpServer) leave(c *tcpConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.remove(c)
}

// remove takes a connection out of the books, once. mu is held.
func (t *tcpServer) remove(c *tcpConn) {
	if _, ok := t.conns[c]; !ok {
		return
	}
	delete(t.conns, c)
	if t.clients[c.client]--; t.clients[c.client] == 0 {
		delete(t.clients, c.client)
	}
}

func (t *tcpServer) open() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.conns)
}

// idle is how long a connection may take for its next query.
func (t *tcpServer) idle() time.Duration {
	if t.open() > t.s.o.MaxConns*3/4 {
		return t.s.o.IdleBusy
	}
	return t.s.o.Idle
}

// drain ends connections after the response that they are at.
func (t *tcpServer) drain() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.draining.Store(true)
	for c := range t.conns {
		_ = c.conn.SetReadDeadline(t.s.start)
	}
}

func (t *tcpServer) closeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.conns {
		c.conn.Close()
	}
}

// wait notes that it waits; one that does already, as from when it was
// accepted, has waited since then.
func (c *tcpConn) wait() { c.waiting.CompareAndSwap(0, int64(time.Since(c.t.s.start))+1) }

// serve answers queries in the order in which they come (RFC 7766 section 7
// allows others, but there is nothing to wait for).
func (c *tcpConn) serve() {
	r := bufio.NewReaderSize(c.conn, tcpBuffer)
	w := bufio.NewWriterSize(c.conn, tcpBuffer)
	var query, dst []byte
	for {
		c.wait()
		// One deadline for the whole message: sending a byte now and then
		// does not help.
		_ = c.conn.SetReadDeadline(time.Now().Add(c.t.idle()))
		// Only after the deadline is set, or drain could set its own in vain.
		if c.t.draining.Load() {
			return
		}
		var err error
		if query, err = readMessage(r, query); err != nil {
			c.count(err)
			return
		}
		c.waiting.Store(0)
		c.t.received.Add(1)
		if dst == nil {
			dst = make([]byte, tcpBuffer)
		}
		resp := c.t.s.handle(dst[:0], query, c.src, c.local, true)
		if resp == nil || len(resp) > maxMessage {
			_ = w.Flush()
			return
		}
		if err := c.write(r, w, resp); err != nil {
			c.count(err)
			return
		}
		if cap(resp) > cap(dst) {
			dst = resp[:cap(resp)]
		}
	}
}

// write sends a response. Length and message go out together (RFC 7766
// section 8), and with those that follow while whole queries are at hand.
func (c *tcpConn) write(r *bufio.Reader, w *bufio.Writer, resp []byte) error {
	_ = c.conn.SetWriteDeadline(time.Now().Add(c.t.s.o.WriteTimeout))
	var length [2]byte
	binary.BigEndian.PutUint16(length[:], uint16(len(resp)))
	_, _ = w.Write(length[:]) // its error is that of the next call
	if _, err := w.Write(resp); err != nil {
		return err
	}
	c.t.sent.Add(1)
	if hasMessage(r) {
		return nil
	}
	return w.Flush()
}

// count books a connection that ended by a deadline.
func (c *tcpConn) count(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) && !c.t.draining.Load() {
		c.t.timeouts.Add(1)
	}
}

var errTooShort = errors.New("shorter than a DNS header")

// readMessage reads one message into buf, which grows only as the bytes come.
func readMessage(r *bufio.Reader, buf []byte) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return buf, err
	}
	size := int(binary.BigEndian.Uint16(length[:]))
	if size < minMessage {
		return buf, errTooShort
	}
	buf = buf[:0]
	for len(buf) < size {
		have := len(buf)
		next := min(size, max(cap(buf), 2*have, 512))
		if next > cap(buf) {
			buf = append(make([]byte, 0, next), buf...)
		}
		buf = buf[:next]
		if _, err := io.ReadFull(r, buf[have:]); err != nil {
			return buf, err
		}
	}
	return buf, nil
}

// hasMessage tells whether a whole message can be read without waiting.
func hasMessage(r *bufio.Reader) bool {
	if r.Buffered() < 2 {
		return false
	}
	length, err := r.Peek(2)
	return err == nil && r.Buffered() >= 2+int(binary.BigEndian.Uint16(length))
}
