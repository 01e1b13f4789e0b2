package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
)

// portAttempts bounds the search for a port that is free for UDP and TCP.
const portAttempts = 32

// bound is the sockets of one group of endpoints.
type bound struct {
	udp []*net.UDPConn
	tcp []*net.TCPListener
}

func (b *bound) close() {
	for _, c := range b.udp {
		c.Close()
	}
	for _, l := range b.tcp {
		l.Close()
	}
}

// bind opens the sockets of one group. Where the port is 0, the system's
// choice for the first UDP socket is taken for all; when it is not free for
// all, another is tried.
func (o *Options) bind(group []endpoint) (*bound, error) {
	for attempt := 1; ; attempt++ {
		b := &bound{}
		err := o.bindOnce(b, group)
		if err == nil {
			return b, nil
		}
		b.close()
		if group[0].addr.Port() != 0 || !errors.Is(err, syscall.EADDRINUSE) || attempt == portAttempts {
			return nil, err
		}
	}
}

func (o *Options) bindOnce(b *bound, group []endpoint) error {
	port := group[0].addr.Port()
	for _, e := range group {
		addr := netip.AddrPortFrom(e.addr.Addr(), port)
		conns, err := o.bindUDP(addr)
		if err != nil {
			if e.optional && (errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL)) {
				continue
			}
			return err
		}
		b.udp = append(b.udp, conns...)
		addr = conns[0].LocalAddr().(*net.UDPAddr).AddrPort()
		port = addr.Port()
		l, err := net.ListenTCP(network("tcp", addr), net.TCPAddrFromAddrPort(addr))
		if err != nil {
			return o.explain("tcp", addr, err)
		}
		b.tcp = append(b.tcp, l)
	}
	return nil
}

// bindUDP opens the UDP sockets of an address.
func (o *Options) bindUDP(addr netip.AddrPort) ([]*net.UDPConn, error) {
	n := o.UDPSockets
	if !canSharePort {
		n = 1
	}
	// A first socket that does not share its port finds out whether somebody
	// else has it; those that share would take queries away from each other
	// without a word.
	first, err := o.bindOneUDP(addr, false)
	if err != nil || n == 1 {
		return []*net.UDPConn{first}, err
	}
	addr = first.LocalAddr().(*net.UDPAddr).AddrPort()
	if err := first.Close(); err != nil {
		return nil, o.explain("udp", addr, err)
	}
	var conns []*net.UDPConn
	for range n {
		c, err := o.bindOneUDP(addr, true)
		if err != nil {
			for _, c := range conns {
				c.Close()
			}
			return nil, err
		}
		conns = append(conns, c)
	}
	return conns, nil
}

func (o *Options) bindOneUDP(addr netip.AddrPort, share bool) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) { err = setUDPOptions(int(fd), addr.Addr().Is4(), share) }); cerr != nil {
			return cerr
		}
		return err
	}}
	c, err := lc.ListenPacket(context.Background(), network("udp", addr), addr.String())
	if err != nil {
		return nil, o.explain("udp", addr, err)
	}
	return c.(*net.UDPConn), nil
}

// network names the family, so that [::] does not take IPv4 as well.
func network(proto string, addr netip.AddrPort) string {
	if addr.Addr().Is4() {
		return proto + "4"
	}
	return proto + "6"
}

// explain says what could not be bound, and which option says so.
func (o *Options) explain(proto string, addr netip.AddrPort, err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		err = sys.Err
	}
	hint := ""
	if errors.Is(err, syscall.EACCES) && addr.Port() < 1024 {
		hint = " (a port below 1024 needs the capability CAP_NET_BIND_SERVICE)"
	}
	return fmt.Errorf("listen %s %s (%s): %w%s", proto, addr, o.Flag, err, hint)
}
