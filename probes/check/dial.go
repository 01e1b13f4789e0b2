package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// dialer connects to targets. It resolves a name once, checks the addresses and
// connects to one that was checked, so that a name cannot pass the guard with
// one address and be connected to at another.
type dialer struct {
	guard    *Guard
	resolver *net.Resolver
	port     uint16
	timeout  time.Duration
}

// newDialer takes what all protocols share.
func newDialer(spec *pb.HealthCheckSpec, port uint32, o Options) (dialer, error) {
	if port < 1 || port > 65535 {
		return dialer{}, fmt.Errorf("port %d: want 1 to 65535", port)
	}
	return dialer{guard: o.Guard, resolver: net.DefaultResolver, port: uint16(port), timeout: TimingOf(spec).Timeout}, nil
}

// connect connects to a target. When it cannot, conn is nil and the outcome says
// why; then the rest of the check is not done.
func (d *dialer) connect(ctx context.Context, target string) (conn net.Conn, addr netip.Addr, out Outcome) {
	start := time.Now()
	addr, err := netip.ParseAddr(target)
	if err != nil {
		if addr, out = d.resolve(ctx, target); out.Reason != "" {
			out.Latency = time.Since(start)
			return nil, addr, out
		}
		out.Phases.Resolve = time.Since(start)
	}
	addr = addr.Unmap()
	if err := d.guard.Check(addr); err != nil {
		out.Result, out.Reason = Abstained, err.Error()
		return nil, addr, out
	}
	connecting := time.Now()
	// No keepalive probes: the connection lives no longer than the check.
	conn, err = (&net.Dialer{KeepAlive: -1}).DialContext(ctx, "tcp", netip.AddrPortFrom(addr, d.port).String())
	out.Phases.Connect = time.Since(connecting)
	out.Latency = time.Since(start)
	if err != nil {
		out.Result, out.Reason = d.explain(ctx, err, "connecting", "connection failed")
		if errors.Is(err, syscall.ENETUNREACH) && !routed(addr) {
			out.Result, out.Reason = Abstained, "this agent has no route to "+family(addr)+" targets"
		}
		return nil, addr, out
	}
	return conn, addr, out
}

// resolve finds the address of a name. The first that the guard allows is taken;
// the resolver has sorted them (RFC 6724). A name that cannot be resolved is a
// failed check, also when the resolver is at fault: for a client it is the same,
// and where only this vantage's resolver is broken, the quorum outvotes it.
func (d *dialer) resolve(ctx context.Context, name string) (netip.Addr, Outcome) {
	addrs, err := d.resolver.LookupNetIP(ctx, "ip", name)
	var dnsErr *net.DNSError
	switch {
	case errors.As(err, &dnsErr) && dnsErr.IsNotFound:
		return netip.Addr{}, Outcome{Result: Failed, Reason: "no such host"}
	case err != nil && ctx.Err() == nil:
		return netip.Addr{}, Outcome{Result: Failed, Reason: "the name cannot be resolved"}
	case err != nil:
		result, reason := d.explain(ctx, ctx.Err(), "resolving the name", "")
		return netip.Addr{}, Outcome{Result: result, Reason: reason}
	}
	var refusal error
	for _, addr := range addrs {
		if err := d.guard.Check(addr); err == nil {
			return addr, Outcome{}
		} else if refusal == nil {
			refusal = err
		}
	}
	if refusal == nil {
		return netip.Addr{}, Outcome{Result: Failed, Reason: "no such host"}
	}
	return netip.Addr{}, Outcome{Result: Abstained, Reason: refusal.Error()}
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

func family(addr netip.Addr) string {
	if addr.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// What the target did, in words, and what only the agent's host did.
var (
	evidence = []struct {
		err  error
		text string
	}{
		{syscall.ECONNREFUSED, "connection refused"},
		{syscall.ECONNRESET, "connection reset"},
		{syscall.ECONNABORTED, "connection aborted"},
		{syscall.EPIPE, "connection reset"},
		{syscall.EHOSTUNREACH, "no route to host"},
		{syscall.ENETUNREACH, "network unreachable"},
		{syscall.ETIMEDOUT, "connection timed out"},
		{io.ErrUnexpectedEOF, "connection closed without a response"},
		{io.EOF, "connection closed without a response"},
	}
	ownFaults = []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.EADDRNOTAVAIL, syscall.EACCES, syscall.EPERM, syscall.EAFNOSUPPORT,
	}
)

// explain puts an error into stable words: no address, no port, no timing.
func (d *dialer) explain(ctx context.Context, err error, doing, otherwise string) (Result, string) {
	for _, own := range ownFaults {
		if errors.Is(err, own) {
			return Abstained, "this agent cannot check: " + own.Error()
		}
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return Abstained, "check cancelled"
	}
	if ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return Failed, "timeout after " + d.timeout.String() + " " + doing
	}
	for _, e := range evidence {
		if errors.Is(err, e.err) {
			return Failed, e.text
		}
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return Failed, errno.Error()
	}
	return Failed, otherwise
}
