package transport

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

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const (
	// udpBuffer takes any datagram whole.
	udpBuffer = 65535
	// udpResponse is room for a response; a handler that needs more allocates.
	udpResponse = 4096
	// udpQueue is how much the kernel may hold for a socket, if it allows.
	udpQueue = 1 << 20
)

// udpSocket is one socket; one goroutine reads, answers and writes.
type udpSocket struct {
	s     *Server
	conn  *net.UDPConn
	local netip.Addr
	// sources maps control messages as they come in to where they were sent;
	// nil for a socket that is bound to one address. Owned by serve.
	sources map[string]source

	// Counters are each socket's own: sockets share nothing while they serve.
	received, sent, errors atomic.Uint64
}

// source is an address of ours that queries come to.
type source struct {
	local netip.Addr
	// control makes a response leave from that address.
	control []byte
}

// maxSources bounds the addresses that are remembered.
const maxSources = 256

func newUDPSocket(s *Server, c *net.UDPConn) (*udpSocket, error) {
	u := &udpSocket{s: s, conn: c, local: c.LocalAddr().(*net.UDPAddr).AddrPort().Addr()}
	// Best effort: the system's limit may be lower.
	_ = c.SetReadBuffer(udpQueue)
	if !u.local.IsUnspecified() {
		return u, nil
	}
	// A resolver takes a response only from the address that it asked, so on a
	// machine with several the kernel has to say which that was.
	var err error
	if u.local.Is4() {
		err = ipv4.NewPacketConn(c).SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true)
	} else {
		err = ipv6.NewPacketConn(c).SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true)
	}
	if err != nil {
		return u, fmt.Errorf("listen udp %s (%s): cannot learn where queries are sent to; name the addresses: %w", c.LocalAddr(), s.o.Flag, err)
	}
	u.sources = make(map[string]source)
	return u, nil
}

// serve answers until the context ends.
func (u *udpSocket) serve(ctx context.Context) error {
	buf := make([]byte, udpBuffer)
	dst := make([]byte, udpResponse)
	var oob []byte
	if u.sources != nil {
		oob = make([]byte, 256)
	}
	for ctx.Err() == nil {
		n, oobn, flags, src, err := u.conn.ReadMsgUDPAddrPort(buf, oob)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("udp %s: %w", u.conn.LocalAddr(), err)
			}
			// Out of memory and the like: a nameserver does not give up, but
			// neither does it spin.
			u.errors.Add(1)
			select {
			case <-ctx.Done():
			case <-time.After(time.Millisecond):
			}
			continue
		}
		u.received.Add(1)
		// Nobody can be answered at port 0.
		if flags&(syscall.MSG_TRUNC|syscall.MSG_CTRUNC) != 0 || src.Port() == 0 {
			u.errors.Add(1)
			continue
		}
		u.answer(dst, buf[:n], oob[:oobn], src)
	}
	return nil
}

func (u *udpSocket) answer(dst, query, oob []byte, src netip.AddrPort) {
	from := source{local: u.local}
	if u.sources != nil {
		from = u.source(oob)
	}
	resp := u.s.handle(dst[:0], query, src, from.local, false)
	if resp == nil {
		return
	}
	if _, _, err := u.conn.WriteMsgUDPAddrPort(resp, from.control, src); err != nil {
		u.errors.Add(1)
		return
	}
	u.sent.Add(1)
}

// source reads the control message of a query. Equal queries have equal ones,
// so each is parsed once.
func (u *udpSocket) source(oob []byte) source {
	if from, ok := u.sources[string(oob)]; ok {
		return from
	}
	from := source{local: u.local}
	if u.local.Is4() {
		var m ipv4.ControlMessage
		if m.Parse(oob) == nil {
			if a, ok := netip.AddrFromSlice(m.Dst.To4()); ok && !a.IsMulticast() {
				from.local = a
				from.control = (&ipv4.ControlMessage{Src: m.Dst}).Marshal()
			}
		}
	} else {
		var m ipv6.ControlMessage
		if m.Parse(oob) == nil {
			if a, ok := netip.AddrFromSlice(m.Dst); ok && !a.IsMulticast() {
				from.local = a
				out := ipv6.ControlMessage{Src: m.Dst}
				if a.IsLinkLocalUnicast() {
					// Such an address means nothing without its interface.
					out.IfIndex = m.IfIndex
				}
				from.control = out.Marshal()
			}
		}
	}
	if len(u.sources) < maxSources {
		u.sources[string(oob)] = from
	}
	return from
}
