package check

import (
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// In a network of its own the kernel is told whom it lets send echoes: everybody,
// with datagram sockets, and then nobody, when this process has no right to raw
// ones either.
func TestICMPWithoutPrivilege(t *testing.T) {
	const setting = "/proc/sys/net/ipv4/ping_group_range"
	// The thread ends with the test's goroutine, and its network with it.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("NOT TESTED: a network namespace needs root: %v", err)
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Skipf("NOT TESTED: lo is not set up: %v %s", err, out)
	}
	if err := os.WriteFile(setting, []byte("0 2147483647"), 0); err != nil {
		t.Skipf("NOT TESTED: %v", err)
	}
	a, cancel := mustNew(t, icmpSpec(nil), loopback).(*icmpCheck).begin(t.Context())
	defer cancel()
	for _, target := range []string{"127.0.0.1", "::1"} {
		addr, _ := a.locate(target)
		packets, err := a.openICMP(addr)
		if err != nil {
			t.Errorf("%s: %v", target, err)
			continue
		}
		if _, raw := packets.(*net.IPConn); raw {
			t.Errorf("%s: a raw socket where a datagram socket would do", target)
		}
		packets.Close()
		expect(t, mustNew(t, icmpSpec(nil), loopback).Probe(t.Context(), target), Passed, "echo reply")
	}
	if err := os.WriteFile(setting, []byte("1 0"), 0); err != nil {
		t.Errorf("%v", err)
	}
	expect(t, mustNew(t, icmpSpec(nil), loopback).Probe(t.Context(), "127.0.0.1"), Passed, "echo reply") // raw
	if err := dropRaw(); err != nil {
		t.Logf("NOT TESTED without CAP_NET_RAW: %v", err)
		return
	}
	expect(t, mustNew(t, icmpSpec(nil), loopback).Probe(t.Context(), "127.0.0.1"), Abstained,
		"this agent may not send ICMP: want its group in net.ipv4.ping_group_range, or CAP_NET_RAW")
}

// dropRaw takes CAP_NET_RAW from this thread.
func dropRaw() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	data[0].Effective &^= 1 << unix.CAP_NET_RAW
	return unix.Capset(&header, &data[0])
}
