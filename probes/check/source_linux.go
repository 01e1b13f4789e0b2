package check

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// lateBind lets the kernel choose the port of a stated source address when the
// connection's other end is known. Otherwise no two connections could share one,
// and a few thousand checks a second would use up all ports.
func lateBind(_, _ string, raw syscall.RawConn) error {
	var err error
	if e := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	}); e != nil {
		return e
	}
	return err
}
