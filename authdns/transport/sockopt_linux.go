package transport

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// canSharePort: the kernel spreads queries over the sockets of one address.
const canSharePort = true

func setUDPOptions(fd int, v4, share bool) error {
	if share {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return fmt.Errorf("SO_REUSEPORT: %w", err)
		}
	}
	// Path MTU messages are ignored: anybody can forge one to have responses
	// sent in fragments, which are easier to spoof (RFC 9715 section 3.1). Old
	// kernels lack the option for IPv6.
	if v4 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_OMIT)
	} else {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_OMIT)
	}
	return nil
}
