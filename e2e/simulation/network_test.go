package simulation

import (
	"context"
	"net"
	"sync"
	"syscall"
	"time"
)

// network is every host and every connection, and what is wrong between them.
type network struct {
	mu    sync.Mutex
	hosts map[string]*host
	cuts  map[cut]int                 // how many faults cut it
	slow  map[[2]string]time.Duration // between regions
	conns map[*conn]struct{}          // both ends
	// reach is closed and replaced when something has changed.
	reach chan struct{}
}

// cut is a direction: from one place to another.
type cut struct{ from, to place }

// place is a region or a host, by name.
type place string

const anywhere place = "*"

// host is where one process runs, or an endpoint.
type host struct {
	name, region string
	paused, dark bool
	listener     *listener
}

const (
	// dialAgain is when a connection that cannot be opened is tried again.
	dialAgain = 500 * time.Millisecond
	// A connection ends when data of its dialing or its accepting end were not
	// acknowledged for so long (TCP_USER_TIMEOUT, which gRPC sets to the timeout
	// of its keepalive).
	dialedTimeout   = 3 * time.Second
	acceptedTimeout = 5 * time.Second
)

func newNetwork() *network {
	return &network{hosts: map[string]*host{}, cuts: map[cut]int{}, slow: map[[2]string]time.Duration{}, conns: map[*conn]struct{}{}, reach: make(chan struct{})}
}

func (n *network) add(name, region string) *host {
	h := &host{name: name, region: region}
	n.hosts[name] = h
	return h
}

// open tells whether packets get from one host to another. mu is held.
func (n *network) open(from, to *host) bool {
	if from == to {
		return true
	}
	if from.dark || to.dark {
		return false
	}
	for c := range n.cuts {
		if c.from.holds(from, to) && c.to.holds(to, from) {
			return false
		}
	}
	return true
}

// holds tells whether a host is in a place, seen from another. A region's own
// network is not cut with the region.
func (p place) holds(h, other *host) bool {
	return p == anywhere || string(p) == h.name || string(p) == h.region && h.region != other.region
}

// both tells whether two hosts can talk. mu is held.
func (n *network) both(a, b *host) bool { return n.open(a, b) && n.open(b, a) }

// talk is both, for callers without the lock.
func (n *network) talk(a, b *host) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.both(a, b)
}

// delay is how long packets take. mu is held.
func (n *network) delay(from, to *host) time.Duration {
	return n.slow[[2]string{from.region, to.region}]
}

// change changes what is wrong, and wakes everybody whom that may concern.
func (n *network) change(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	close(n.reach)
	n.reach = make(chan struct{})
	for c := range n.conns {
		poke(c.in.readable)
		poke(c.out.writable)
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// sweep ends the connections whose data are not acknowledged for too long.
func (n *network) sweep(now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		p := c.out
		if n.both(p.from, p.to) {
			p.stalled = time.Time{}
			continue
		}
		if p.stalled.IsZero() {
			if p.size == 0 {
				continue
			}
			p.stalled = now
		}
		if now.Sub(p.stalled) > c.timeout {
			c.end(syscall.ETIMEDOUT, syscall.ECONNRESET)
		}
	}
}

// dial opens a connection as a process on a host does.
func (n *network) dial(ctx context.Context, from *host, to string) (net.Conn, error) {
	for {
		n.mu.Lock()
		h := n.hosts[to]
		if !from.paused && n.both(from, h) {
			wait := n.delay(from, h) + n.delay(h, from)
			l := h.listener
			if l == nil {
				n.mu.Unlock()
				return nil, syscall.ECONNREFUSED
			}
			a, b := n.pair(from, h)
			select {
			case l.backlog <- b:
			default:
				a.end(syscall.ECONNREFUSED, syscall.ECONNREFUSED)
			}
			n.mu.Unlock()
			if wait > 0 {
				time.Sleep(wait)
			}
			return a, nil
		}
		n.mu.Unlock()
		t := time.NewTimer(dialAgain)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		case <-t.C:
		}
	}
}

// pair makes the two ends of a connection. mu is held.
func (n *network) pair(from, to *host) (dialed, accepted *conn) {
	there, back := newPipe(n, from, to), newPipe(n, to, from)
	dialed = &conn{n: n, in: back, out: there, local: from, remote: to, timeout: dialedTimeout}
	accepted = &conn{n: n, in: there, out: back, local: to, remote: from, timeout: acceptedTimeout}
	n.conns[dialed], n.conns[accepted] = struct{}{}, struct{}{}
	return dialed, accepted
}

// listener is a process's.
type listener struct {
	n       *network
	at      *host
	backlog chan *conn
	closed  chan struct{}
	once    sync.Once
}

func (n *network) listen(at *host) *listener {
	l := &listener{n: n, at: at, backlog: make(chan *conn, 64), closed: make(chan struct{})}
	n.mu.Lock()
	at.listener = l
	n.mu.Unlock()
	return l
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.once.Do(func() {
		l.n.mu.Lock()
		defer l.n.mu.Unlock()
		if l.at.listener == l {
			l.at.listener = nil
		}
		close(l.closed)
		for {
			select {
			case c := <-l.backlog:
				c.end(net.ErrClosed, syscall.ECONNRESET)
			default:
				return
			}
		}
	})
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return address(l.at.name) }

// address is a host's.
type address string

func (address) Network() string  { return "memory" }
func (a address) String() string { return string(a) }
