package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
)

// Options say how a member runs. The zero value is right for `fairlead dev`
// without persistence.
type Options struct {
	// Dir holds the data. Empty: a temporary directory, removed at Close.
	Dir string
	// Name of the member; by default "fairlead".
	Name string
	// Listen is the loopback address for clients; by default 127.0.0.1 with a
	// port that the system picks.
	Listen netip.AddrPort
	// TickMs is the heartbeat interval in milliseconds, ElectionMs the
	// election timeout. By default 10 and 100: a lone member elects itself, so
	// waiting longer only delays its start.
	TickMs, ElectionMs uint
	// UnsafeNoFsync trades durability for speed. For tests.
	UnsafeNoFsync bool
	// Log receives etcd's errors, and its warnings at debug level. Nil: none.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.Name == "" {
		o.Name = "fairlead"
	}
	if !o.Listen.IsValid() {
		o.Listen = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
	}
	if o.TickMs == 0 {
		o.TickMs = 10
	}
	if o.ElectionMs == 0 {
		o.ElectionMs = 10 * o.TickMs
	}
	return o
}

func (o Options) validate() error {
	var errs []error
	if strings.ContainsAny(o.Name, "=,") {
		errs = append(errs, fmt.Errorf("embedded etcd: name %q holds = or ,: want a plain name", o.Name))
	}
	// There is no TLS here: nobody but this machine may reach it.
	if o.Listen.IsValid() && !o.Listen.Addr().IsLoopback() {
		errs = append(errs, fmt.Errorf("embedded etcd: listen %v is no loopback address: want one of 127.0.0.0/8 or ::1", o.Listen))
	}
	d := o.withDefaults()
	if d.ElectionMs < 5*d.TickMs || d.ElectionMs > 50_000 {
		errs = append(errs, fmt.Errorf("embedded etcd: election timeout %d ms with ticks of %d ms: want 5 ticks at least, 50000 ms at most", d.ElectionMs, d.TickMs))
	}
	return errors.Join(errs...)
}
