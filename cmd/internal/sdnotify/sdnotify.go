// Package sdnotify tells a service manager how this process is, as systemd's
// sd_notify(3) does: datagrams to the socket that NOTIFY_SOCKET names. It may
// import the standard library and x/sys; its data are three environment
// variables.
package sdnotify

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// What a manager is told.
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
	Watchdog = "WATCHDOG=1"
)

// Reloading begins a reload; Ready ends it.
func Reloading() string {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return "RELOADING=1"
	}
	return fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000)
}

// Status is one line for people, as systemctl status shows it.
func Status(text string) string {
	return "STATUS=" + strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' {
			return ' '
		}
		return r
	}, text)
}

// Socket is where the manager listens. A nil one listens nowhere.
type Socket struct{ addr *net.UnixAddr }

// FromEnvironment returns the socket of NOTIFY_SOCKET, nil when it is not set.
func FromEnvironment() (*Socket, error) {
	path := os.Getenv("NOTIFY_SOCKET")
	switch {
	case path == "":
		return nil, nil
	case strings.HasPrefix(path, "/"), strings.HasPrefix(path, "@"): // @: abstract, as package net has it
		return &Socket{&net.UnixAddr{Name: path, Net: "unixgram"}}, nil
	}
	return nil, fmt.Errorf("NOTIFY_SOCKET=%.80q: want the path of a socket, or @ and an abstract name", path)
}

// Notify sends assignments, as READY=1, in one datagram. It never blocks for
// long: a manager that does not read is an error.
func (s *Socket) Notify(assignments ...string) error {
	if s == nil {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, s.addr)
	if err != nil {
		return fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	defer conn.Close()
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte(strings.Join(assignments, "\n"))); err != nil {
		return fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	return nil
}

// WatchdogEvery is how often the manager must hear Watchdog from this process;
// 0: not at all. Half of it is a good pace.
func WatchdogEvery() (time.Duration, error) {
	text := os.Getenv("WATCHDOG_USEC")
	if pid := os.Getenv("WATCHDOG_PID"); text == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0, nil
	}
	usec, err := strconv.ParseInt(text, 10, 64)
	if err != nil || usec <= 0 || usec > int64(time.Duration(1<<63-1)/time.Microsecond) {
		return 0, errors.New("WATCHDOG_USEC=" + strconv.Quote(text) + ": want a number of microseconds")
	}
	return time.Duration(usec) * time.Microsecond, nil
}
