package check

import (
	"net"
	"syscall"
	"testing"
)

// shrinkBacklog makes a listener's accept queue as short as it can be.
func shrinkBacklog(t *testing.T, l *net.TCPListener) uint32 {
	t.Helper()
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 0) }); err != nil {
		t.Fatal(err)
	}
	return portOf(l.Addr())
}
