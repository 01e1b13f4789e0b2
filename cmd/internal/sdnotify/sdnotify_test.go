package sdnotify

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// manager is the socket of a service manager.
func manager(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func read(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestNotify(t *testing.T) {
	for name, path := range map[string]string{
		"path":     filepath.Join(t.TempDir(), "notify"),
		"abstract": "@fairlead-test-" + strconv.Itoa(os.Getpid()),
	} {
		t.Run(name, func(t *testing.T) {
			c := manager(t, path)
			t.Setenv("NOTIFY_SOCKET", path)
			s, err := FromEnvironment()
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Notify(Ready, Status("listening\nand well")); err != nil {
				t.Fatal(err)
			}
			if got := read(t, c); got != "READY=1\nSTATUS=listening and well" {
				t.Errorf("%q", got)
			}
			if err := s.Notify(Reloading()); err != nil {
				t.Fatal(err)
			}
			if got := read(t, c); !regexp.MustCompile(`^RELOADING=1\nMONOTONIC_USEC=[1-9]\d+$`).MatchString(got) {
				t.Errorf("%q", got)
			}
			c.Close()
			if err := s.Notify(Stopping); err == nil {
				t.Error("nobody listens, and that is no error")
			}
		})
	}
}

// Without a manager nothing happens; a wrong variable is an error.
func TestNoManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if s, err := FromEnvironment(); s != nil || err != nil || s.Notify(Ready) != nil {
		t.Errorf("%v, %v", s, err)
	}
	t.Setenv("NOTIFY_SOCKET", "vsock:2:1")
	if s, err := FromEnvironment(); s != nil || err == nil {
		t.Errorf("%v, %v", s, err)
	}
}

func TestWatchdogEvery(t *testing.T) {
	for _, c := range []struct {
		usec, pid string
		want      time.Duration
		wrong     bool
	}{
		{usec: ""},
		{usec: "20000000", want: 20 * time.Second},
		{usec: "20000000", pid: strconv.Itoa(os.Getpid()), want: 20 * time.Second},
		{usec: "20000000", pid: "1"},
		{usec: "soon", wrong: true}, {usec: "0", wrong: true}, {usec: "-5", wrong: true}, {usec: "9223372036854775807", wrong: true},
	} {
		t.Setenv("WATCHDOG_USEC", c.usec)
		t.Setenv("WATCHDOG_PID", c.pid)
		if got, err := WatchdogEvery(); got != c.want || (err != nil) != c.wrong {
			t.Errorf("%+v: %v, %v", c, got, err)
		}
	}
}
