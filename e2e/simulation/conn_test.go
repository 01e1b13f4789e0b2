package simulation

import (
	"io"
	"net"
	"os"
	"time"
)

// window is how much may be under way in one direction.
const window = 256 << 10

// conn is one end of a connection.
type conn struct {
	n             *network
	in, out       *pipe
	local, remote *host
	timeout       time.Duration // see network.sweep
}

// pipe is one direction. The network's lock guards it.
type pipe struct {
	n        *network
	from, to *host
	chunks   []chunk
	size     int
	last     error // what its reader gets after the last byte
	readErr  error // the reader's end is closed or broken
	writeErr error // the writer's
	stalled  time.Time
	deadline [2]time.Time // of reading and of writing
	// At most one reader and one writer wait.
	readable, writable chan struct{}
}

// chunk is what one Write wrote, and when it arrives.
type chunk struct {
	at   time.Time
	data []byte
}

func newPipe(n *network, from, to *host) *pipe {
	return &pipe{n: n, from: from, to: to, readable: make(chan struct{}, 1), writable: make(chan struct{}, 1)}
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	p := c.in
	for {
		p.n.mu.Lock()
		if p.readErr != nil {
			p.n.mu.Unlock()
			return 0, p.readErr
		}
		now := time.Now()
		until := p.deadline[0]
		if !until.IsZero() && !now.Before(until) {
			p.n.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		}
		if !p.to.paused && p.n.open(p.from, p.to) {
			got := 0
			for len(p.chunks) > 0 && got < len(b) && !p.chunks[0].at.After(now) {
				k := copy(b[got:], p.chunks[0].data)
				got += k
				if p.chunks[0].data = p.chunks[0].data[k:]; len(p.chunks[0].data) == 0 {
					p.chunks[0] = chunk{}
					p.chunks = p.chunks[1:]
				}
			}
			switch {
			case got > 0:
				p.size -= got
				poke(p.writable)
				p.n.mu.Unlock()
				return got, nil
			case len(p.chunks) > 0:
				if at := p.chunks[0].at; until.IsZero() || at.Before(until) {
					until = at
				}
			case p.last != nil:
				err := p.last
				p.n.mu.Unlock()
				return 0, err
			}
		}
		p.n.mu.Unlock()
		wait(p.readable, until)
	}
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) {
	p := c.out
	for {
		p.n.mu.Lock()
		if p.writeErr != nil {
			p.n.mu.Unlock()
			return 0, p.writeErr
		}
		now := time.Now()
		until := p.deadline[1]
		if !until.IsZero() && !now.Before(until) {
			p.n.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		}
		if !p.from.paused && p.size < window {
			p.chunks = append(p.chunks, chunk{now.Add(p.n.delay(p.from, p.to)), append([]byte(nil), b...)})
			p.size += len(b)
			if p.stalled.IsZero() && !p.n.both(p.from, p.to) {
				p.stalled = now
			}
			poke(p.readable)
			p.n.mu.Unlock()
			return len(b), nil
		}
		p.n.mu.Unlock()
		wait(p.writable, until)
	}
}

// wait waits to be poked, or until a time.
func wait(c chan struct{}, until time.Time) {
	if until.IsZero() {
		<-c
		return
	}
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case <-c:
	case <-t.C:
	}
}

// end ends this end of a connection: it has one error from now on, and the other
// end another after all that was sent, as soon as it arrives there. mu is held.
func (c *conn) end(here, there error) {
	delete(c.n.conns, c)
	if c.in.readErr == nil {
		c.in.readErr = here
	}
	if c.out.writeErr == nil {
		c.out.writeErr = here
	}
	if c.out.last == nil {
		c.out.last = there
	}
	poke(c.in.readable)
	poke(c.in.writable)
	poke(c.out.readable)
	poke(c.out.writable)
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	c.end(net.ErrClosed, io.EOF)
	return nil
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return address(c.local.name) }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return address(c.remote.name) }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	c.in.deadline[0] = t
	poke(c.in.readable)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	c.out.deadline[1] = t
	poke(c.out.writable)
	return nil
}
