package authdns

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
)

// answers asks the nameserver a question over its own first socket, and
// returns nil once there is a response, whatever it says: a process that hangs
// gives none. RFC 1035 section 4.1: header, and the question ". NS IN".
func answers(ctx context.Context, addrs []netip.AddrPort) error {
	if len(addrs) == 0 {
		return nil
	}
	to := addrs[0]
	if to.Addr().IsUnspecified() {
		loopback := netip.IPv6Loopback()
		if to.Addr().Is4() {
			loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		to = netip.AddrPortFrom(loopback, to.Port())
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", to.String())
	if err != nil {
		return fmt.Errorf("%s: %w", to, err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	query := binary.BigEndian.AppendUint16(nil, uint16(rand.Uint32()))
	query = append(query, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1)
	if _, err := conn.Write(query); err != nil {
		return fmt.Errorf("%s: %w", to, err)
	}
	response := make([]byte, 4096)
	for {
		n, err := conn.Read(response)
		if err != nil {
			return fmt.Errorf("%s does not answer DNS: %w", to, err)
		}
		if n >= 12 && bytes.Equal(response[:2], query[:2]) {
			return nil
		}
	}
}
