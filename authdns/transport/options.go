package transport

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"time"
)

// Handler makes the response to one message, in dst's array if it is large
// enough; nil sends nothing, and over TCP ends the connection. query is the
// handler's for the time of the call. local is the address that the message
// was sent to. Handlers run concurrently.
type Handler func(dst, query []byte, src netip.AddrPort, local netip.Addr, tcp bool) []byte

// Options for a Server. Zero values mean the default.
type Options struct {
	// Addrs to listen on, as 192.0.2.1:53, [2001:db8::1]:53, or :53 for every
	// address of both families. Port 0 takes a free one, the same for UDP and
	// TCP. Required.
	Addrs []string
	// Flag is the option that Addrs came from, for messages. Default --dns.
	Flag string
	// Handler is required.
	Handler Handler
	// Logger is required.
	Logger *slog.Logger

	// UDPSockets per address, where the system can share a port (Linux).
	// Default: one a processor.
	UDPSockets int

	// MaxConns is how many TCP connections there are at most; default 1024.
	// When there are more, those that wait longest for a query make room.
	MaxConns int
	// MaxConnsPerClient limits one IPv4 address or IPv6 /64; default 64.
	MaxConnsPerClient int
	// Idle is how long a TCP connection may take to send the next query as a
	// whole; default 10s (RFC 7766 section 6.2.3).
	Idle time.Duration
	// IdleBusy replaces Idle when three quarters of MaxConns are open; default 2s.
	IdleBusy time.Duration
	// WriteTimeout is how long a peer may take to accept a response; default 5s.
	WriteTimeout time.Duration
	// Drain is how long Run waits for responses under way; default 1s.
	Drain time.Duration
}

func (o *Options) validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.Flag == "" {
		o.Flag = "--dns"
	}
	if len(o.Addrs) == 0 {
		wrong("%s: no address to listen on", o.Flag)
	}
	if o.Handler == nil {
		wrong("Handler is missing")
	}
	if o.Logger == nil {
		wrong("Logger is missing")
	}
	for _, v := range []struct {
		name    string
		value   *int
		initial int
	}{
		{"UDPSockets", &o.UDPSockets, runtime.GOMAXPROCS(0)},
		{"MaxConns", &o.MaxConns, 1024},
		{"MaxConnsPerClient", &o.MaxConnsPerClient, 64},
	} {
		if *v.value == 0 {
			*v.value = v.initial
		}
		if *v.value < 0 {
			wrong("%s is %d: want at least 1", v.name, *v.value)
		}
	}
	for _, v := range []struct {
		name    string
		value   *time.Duration
		initial time.Duration
	}{
		{"Idle", &o.Idle, 10 * time.Second},
		{"IdleBusy", &o.IdleBusy, 2 * time.Second},
		{"WriteTimeout", &o.WriteTimeout, 5 * time.Second},
		{"Drain", &o.Drain, time.Second},
	} {
		if *v.value == 0 {
			*v.value = v.initial
		}
		if *v.value < 0 {
			wrong("%s is %v: want more than 0", v.name, *v.value)
		}
	}
	o.IdleBusy = min(o.IdleBusy, o.Idle)
	return errors.Join(errs...)
}

// endpoint is one address to bind.
type endpoint struct {
	addr netip.AddrPort
	// optional endpoints are left out on a machine without their family.
	optional bool
}

// endpoints reads one value of Addrs. Each family has its own socket, so that
// peers never appear as IPv4-mapped addresses.
func (o *Options) endpoints(s string) ([]endpoint, error) {
	wrong := fmt.Errorf("%s %q: want ADDRESS:PORT, as 192.0.2.1:53 or [2001:db8::1]:53, or :PORT for every address", o.Flag, s)
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return nil, wrong
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, wrong
	}
	if host == "" {
		return []endpoint{
			{addr: netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(p))},
			{addr: netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(p)), optional: true},
		}, nil
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return nil, wrong
	}
	return []endpoint{{addr: netip.AddrPortFrom(addr.Unmap(), uint16(p))}}, nil
}

// groups reads all addresses; the endpoints of a group share their port.
func (o *Options) groups() ([][]endpoint, error) {
	var errs []error
	var groups [][]endpoint
	var seen []netip.AddrPort
	for _, s := range o.Addrs {
		g, err := o.endpoints(s)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, e := range g {
			if e.addr.Port() != 0 && slices.Contains(seen, e.addr) {
				errs = append(errs, fmt.Errorf("%s %s is there twice", o.Flag, e.addr))
			}
			seen = append(seen, e.addr)
		}
		groups = append(groups, g)
	}
	return groups, errors.Join(errs...)
}
