package check

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// Bounds on an echo request, and on what is read while waiting for the reply.
const (
	maxPayload     = 1400
	defaultPayload = 32
	maxPackets     = 20000
	icmpHeader     = 8
	maxIPHeader    = 60 // which a raw socket of IPv4 reads and takes away
)

// icmpCheck passes when an echo request is answered in time.
type icmpCheck struct {
	dialer
	payload int
}

func newICMP(spec *pb.HealthCheckSpec, probe *pb.IcmpProbe, o Options) (Check, error) {
	d, err := newDialer(spec, 0, 1, o) // ICMP has no ports
	if err != nil {
		return nil, err
	}
	if probe.GetPayloadSize() > maxPayload {
		return nil, fmt.Errorf("payload of %d bytes: want at most %d", probe.GetPayloadSize(), maxPayload)
	}
	c := &icmpCheck{d, int(probe.GetPayloadSize())}
	if c.payload == 0 {
		c.payload = defaultPayload
	}
	return c, nil
}

// Probe implements Check.
func (c *icmpCheck) Probe(ctx context.Context, target string) Outcome {
	a, cancel := c.begin(ctx)
	defer cancel()
	addr, ok := a.locate(target)
	if !ok {
		return a.out
	}
	packets, err := a.openICMP(addr)
	if denied(err) {
		return a.end(Abstained, "this agent may not send ICMP: want its group in net.ipv4.ping_group_range, or CAP_NET_RAW")
	}
	if err != nil {
		a.unreachable(err, addr)
		return a.out
	}
	defer packets.Close()
	defer a.bound(packets)()
	raw, isRaw := packets.(*net.IPConn)
	e := newEcho(c.payload, addr.Is6(), isRaw)
	request, err := e.request()
	if err != nil {
		return a.fail(err, "", "no echo request can be made")
	}
	sent := time.Now()
	if isRaw {
		_, err = raw.Write(request)
	} else {
		_, err = packets.WriteTo(request, &net.UDPAddr{IP: addr.AsSlice(), Zone: addr.Zone()})
	}
	if err != nil {
		a.unreachable(err, addr)
		return a.out
	}
	buffer := make([]byte, maxIPHeader+icmpHeader+c.payload+1)
	for range maxPackets {
		n, from, err := packets.ReadFrom(buffer)
		a.out.Phases.FirstByte = time.Since(sent)
		if err != nil {
			return a.fail(err, "waiting for the echo reply", "no echo reply")
		}
		if addrOf(from) == addr.WithZone("") && e.answeredBy(buffer[:n]) {
			return a.end(Passed, "echo reply")
		}
	}
	return a.end(Failed, "no echo reply")
}

// openICMP opens a datagram socket for echoes where the kernel lets this process
// (net.ipv4.ping_group_range, which counts for IPv6 too), else a raw one, which
// needs CAP_NET_RAW. The raw one is connected: it hears the target alone.
func (a *attempt) openICMP(to netip.Addr) (net.PacketConn, error) {
	datagrams, protocol, any := "udp4", "ip4:1", netip.IPv4Unspecified()
	if to.Is6() {
		datagrams, protocol, any = "udp6", "ip6:58", netip.IPv6Unspecified()
	}
	source := a.source(to)
	local := any
	if source.IsValid() {
		local = source
	}
	packets, err := icmp.ListenPacket(datagrams, local.String())
	if err == nil {
		return packets, nil
	}
	if !denied(err) {
		return nil, err
	}
	var d net.Dialer
	if source.IsValid() {
		d.LocalAddr = &net.IPAddr{IP: source.AsSlice()}
	}
	raw, err := d.DialContext(a.ctx, protocol, to.String())
	if err != nil {
		return nil, err
	}
	return raw.(*net.IPConn), nil
}

// denied tells whether the kernel does not let this process have a socket.
func denied(err error) bool {
	return errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EPROTONOSUPPORT) || errors.Is(err, syscall.ESOCKTNOSUPPORT)
}

func addrOf(from net.Addr) netip.Addr {
	var addr netip.Addr
	switch from := from.(type) {
	case *net.UDPAddr:
		addr, _ = netip.AddrFromSlice(from.IP)
	case *net.IPAddr:
		addr, _ = netip.AddrFromSlice(from.IP)
	}
	return addr.Unmap()
}

// echo is an echo request (RFC 792, RFC 4443 section 4.1).
type echo struct {
	v6, raw bool
	id, seq uint16
	data    []byte
}

func newEcho(size int, v6, raw bool) *echo {
	e := &echo{v6: v6, raw: raw, id: uint16(rand.Uint32()), seq: uint16(rand.Uint32()), data: make([]byte, size)}
	for i := range e.data {
		e.data[i] = byte(i)
	}
	// What no other echo holds, as far as there is room.
	token := binary.BigEndian.AppendUint64(nil, rand.Uint64())
	copy(e.data, token)
	return e
}

// request is the packet; the kernel sets the checksum of IPv6.
func (e *echo) request() ([]byte, error) {
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: int(e.id), Seq: int(e.seq), Data: e.data}}
	if e.v6 {
		m.Type = ipv6.ICMPTypeEchoRequest
	}
	return m.Marshal(nil)
}

// answeredBy tells whether a packet is the reply. A raw socket hears all ICMP of
// the host, and a datagram socket sets the id itself.
func (e *echo) answeredBy(packet []byte) bool {
	reply := byte(ipv4.ICMPTypeEchoReply)
	if e.v6 {
		reply = 129 // RFC 4443 section 4.2
	}
	return len(packet) == icmpHeader+len(e.data) && packet[0] == reply && packet[1] == 0 &&
		(!e.raw || binary.BigEndian.Uint16(packet[4:]) == e.id) &&
		binary.BigEndian.Uint16(packet[6:]) == e.seq && string(packet[icmpHeader:]) == string(e.data)
}
