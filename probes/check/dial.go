package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// maxRead bounds what is read of one connection, in bytes: a header and a body
// of the largest size, and the certificates of a TLS handshake.
const maxRead = 1 << 20

var errTooMuch = errors.New("the limit on what is read is reached")

// dialer connects to targets. It resolves a name once, checks the addresses and
// connects to one that was checked, so that a name cannot pass the guard with
// one address and be connected to at another.
type dialer struct {
	guard    *Guard
	resolver *net.Resolver
	// family is ip, ip4 or ip6: which addresses of a name are looked for.
	family           string
	port             uint16
	timeout          time.Duration
	source4, source6 netip.Addr
}

// newDialer takes what all protocols share. A port of 0 means the default, where
// there is one.
func newDialer(spec *pb.HealthCheckSpec, port, otherwise uint32, o Options) (dialer, error) {
	if port == 0 {
		port = otherwise
	}
	if port < 1 || port > 65535 {
		return dialer{}, fmt.Errorf("port %d: want 1 to 65535", port)
	}
	d := dialer{
		guard: o.Guard, resolver: net.DefaultResolver, port: uint16(port), timeout: TimingOf(spec).Timeout,
		source4: o.SourceIPv4, source6: o.SourceIPv6,
	}
	switch spec.GetAddressFamily() {
	case pb.AddressFamily_ADDRESS_FAMILY_UNSPECIFIED, pb.AddressFamily_ADDRESS_FAMILY_ANY:
		d.family = "ip"
	case pb.AddressFamily_ADDRESS_FAMILY_IPV4:
		d.family = "ip4"
	case pb.AddressFamily_ADDRESS_FAMILY_IPV6:
		d.family = "ip6"
	default:
		return dialer{}, tooNew(o, "address family")
	}
	return d, nil
}

// attempt is one probe under way. What cannot be done ends in out.
type attempt struct {
	*dialer
	ctx   context.Context // bounded by the timeout
	began time.Time
	out   Outcome
	// from is where a redirect came from that is followed now.
	from netip.Addr
}

func (d *dialer) begin(ctx context.Context) (*attempt, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	return &attempt{dialer: d, ctx: ctx, began: time.Now()}, cancel
}

// end is the outcome.
func (a *attempt) end(result Result, reason string) Outcome {
	if a.from.IsValid() && result != Passed {
		reason = "after a redirect: " + reason
	}
	a.out.Result, a.out.Reason, a.out.Latency = result, reason, time.Since(a.began)
	return a.out
}

// fail is the outcome when an error stood in the way.
func (a *attempt) fail(err error, doing, otherwise string) Outcome {
	return a.end(a.explain(a.ctx, err, doing, otherwise))
}

// locate finds the address of a target and whether it may be probed. If not, the
// outcome says so.
func (a *attempt) locate(target string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(target)
	if err != nil {
		return a.resolve(target)
	}
	if err := a.permits(addr); err != nil {
		a.refuse(err)
		return addr, false
	}
	return unzoned(addr), true
}

func (a *attempt) permits(addr netip.Addr) error {
	if a.from.IsValid() {
		return a.guard.Follow(a.from, addr)
	}
	return a.guard.Check(addr)
}

// refuse is the outcome when an address may not be probed. That a target leads
// to one is a fault of the target.
func (a *attempt) refuse(err error) {
	if a.from.IsValid() {
		a.end(Failed, err.Error())
	} else {
		a.end(Abstained, err.Error())
	}
}

// unzoned takes the zone from an address that has no use for one.
func unzoned(addr netip.Addr) netip.Addr {
	if addr = addr.Unmap(); !addr.IsLinkLocalUnicast() {
		return addr.WithZone("")
	}
	return addr
}

// resolve finds the address of a name. The first that the guard allows is taken;
// the resolver has sorted them (RFC 6724). A name that cannot be resolved is a
// failed check, also when the resolver is at fault: for a client it is the same,
// and where only this vantage's resolver is broken, the quorum outvotes it.
func (a *attempt) resolve(name string) (netip.Addr, bool) {
	start := time.Now()
	addrs, err := a.resolver.LookupNetIP(a.ctx, a.family, name)
	a.out.Phases.Resolve += time.Since(start)
	var dnsErr *net.DNSError
	var filtered *net.AddrError // no address is of the stated family
	switch {
	case errors.As(err, &dnsErr) && dnsErr.IsNotFound, errors.As(err, &filtered):
		a.end(Failed, "no such host")
		return netip.Addr{}, false
	case err != nil && a.ctx.Err() == nil:
		a.end(Failed, "the name cannot be resolved")
		return netip.Addr{}, false
	case err != nil:
		a.fail(a.ctx.Err(), "resolving the name", "")
		return netip.Addr{}, false
	}
	var refused error
	for _, addr := range addrs {
		if err := a.permits(addr); err == nil {
			return unzoned(addr), true
		} else if refused == nil {
			refused = err
		}
	}
	if refused == nil {
		a.end(Failed, "no such host")
		return netip.Addr{}, false
	}
	a.refuse(refused)
	return netip.Addr{}, false
}

// connect opens a connection, tcp or udp, to an address that was located, for
// the time of the check. When it cannot, it is nil and the outcome says why.
func (a *attempt) connect(network string, addr netip.Addr, port uint16) *conn {
	c := a.dial(network, addr, port)
	if c == nil {
		return nil
	}
	return &conn{Conn: c, left: maxRead, stop: a.bound(c)}
}

// bound ends what a connection waits for when the check's time is over, or the
// check is cancelled.
func (a *attempt) bound(c interface{ SetDeadline(time.Time) error }) (stop func() bool) {
	return context.AfterFunc(a.ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
}

// dial is connect, and leaves the connection as it is.
func (a *attempt) dial(network string, addr netip.Addr, port uint16) net.Conn {
	start := time.Now()
	// No keepalive probes: the connection lives no longer than the check.
	d := net.Dialer{KeepAlive: -1}
	if source := a.source(addr); source.IsValid() {
		if d.Control = lateBind; network == "tcp" {
			d.LocalAddr = &net.TCPAddr{IP: source.AsSlice()}
		} else {
			d.LocalAddr = &net.UDPAddr{IP: source.AsSlice()}
		}
	}
	c, err := d.DialContext(a.ctx, network, netip.AddrPortFrom(addr, port).String())
	a.out.Phases.Connect += time.Since(start)
	if err != nil {
		a.unreachable(err, addr)
		return nil
	}
	return c
}

// source is the address that probes of an address come from.
func (d *dialer) source(to netip.Addr) netip.Addr {
	if to.Is4() {
		return d.source4
	}
	return d.source6
}

// unreachable is the outcome when no packet could be sent, or none came through.
func (a *attempt) unreachable(err error, addr netip.Addr) {
	var call *os.SyscallError
	switch {
	case errors.As(err, &call) && call.Syscall == "bind" && errors.Is(call.Err, syscall.EADDRNOTAVAIL):
		a.end(Abstained, "this agent's host lacks its "+family(addr)+" source address")
	case errors.Is(err, syscall.ENETUNREACH) && !routed(addr):
		a.end(Abstained, "this agent has no route to "+family(addr)+" targets")
	default:
		a.fail(err, "connecting", "connection failed")
	}
}

// routed tells whether the host has a route to an address. Connecting a UDP
// socket looks the route up and sends nothing.
func routed(addr netip.Addr) bool {
	conn, err := net.Dial("udp", netip.AddrPortFrom(addr, 9).String())
	if err != nil {
		return !errors.Is(err, syscall.ENETUNREACH)
	}
	conn.Close()
	return true
}

// own tells whether an address is this host's: then a packet to it comes from it.
func own(addr netip.Addr) bool {
	conn, err := net.Dial("udp", netip.AddrPortFrom(addr, 9).String())
	if err != nil {
		return false
	}
	defer conn.Close()
	local, ok := conn.LocalAddr().(*net.UDPAddr)
	return ok && local.AddrPort().Addr().Unmap().WithZone("") == addr.WithZone("")
}

func family(addr netip.Addr) string {
	if addr.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// conn is the connection of a check. It fails when the check's time is over, and
// when the target has sent too much.
type conn struct {
	net.Conn
	left   int // bytes that may be read still
	broken atomic.Pointer[error]
	stop   func() bool
}

// Read reads from the target.
func (c *conn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		c.breaks(errTooMuch)
		return 0, errTooMuch
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	if err != nil {
		c.breaks(err)
	}
	return n, err
}

func (c *conn) breaks(err error) { c.broken.CompareAndSwap(nil, &err) }

// cause is the first error that a read met, for libraries that keep it to
// themselves.
func (c *conn) cause() error {
	if err := c.broken.Load(); err != nil {
		return *err
	}
	return nil
}

// Close closes the connection.
func (c *conn) Close() error {
	c.stop()
	return c.Conn.Close()
}
