package program

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/fairlead-dns/fairlead/cmd/internal/sdnotify"
)

// statusEvery is how often the service manager may hear of a new status.
const statusEvery = time.Second

// serve runs a program and tells the service manager how it is; SIGHUP reloads.
// What the manager makes of it never stops the program.
func serve(ctx context.Context, log *slog.Logger, run func(context.Context, *slog.Logger, func(Started)) error) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	n := &notifier{log: log, hup: hup, started: make(chan Started, 1)}
	var err error
	if n.socket, err = sdnotify.FromEnvironment(); err != nil {
		log.Error("the service manager is told nothing", "err", err)
	}
	if n.watchdog, err = sdnotify.WatchdogEvery(); err != nil {
		log.Error("the service manager's watchdog gets nothing", "err", err)
	}
	nctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); n.run(nctx) }()
	err = run(ctx, log, func(s Started) { n.started <- s })
	cancel()
	<-done
	return err
}

// notifier speaks to the service manager.
type notifier struct {
	log      *slog.Logger
	socket   *sdnotify.Socket
	watchdog time.Duration // 0: nobody watches
	hup      <-chan os.Signal
	started  chan Started
	failed   bool // to tell it anything; said once
}

func (n *notifier) tell(assignments ...string) {
	err := n.socket.Notify(assignments...)
	if err != nil && !n.failed {
		n.log.Warn("the service manager cannot be told; does the unit's RestrictAddressFamilies= lack AF_UNIX?", "err", err)
	}
	n.failed = err != nil
}

func (n *notifier) run(ctx context.Context) {
	var s Started
	for s.Ready == nil {
		select {
		case <-ctx.Done():
			n.tell(sdnotify.Stopping)
			return
		case <-n.hup: // everything is about to be read
		case s = <-n.started:
		}
	}
	// It listens, and so it is started: a program that is not ready waits for
	// others, which may be waiting for it.
	status := statusOf(s)
	n.tell(sdnotify.Ready, sdnotify.Status(status))
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	var alive <-chan time.Time
	if n.watchdog > 0 {
		t := time.NewTicker(n.watchdog / 2)
		defer t.Stop()
		alive = t.C
		n.pulse(ctx, s)
	}
	for {
		select {
		case <-ctx.Done():
			n.tell(sdnotify.Stopping, sdnotify.Status("stopping"))
			return
		case <-n.hup:
			n.tell(sdnotify.Reloading())
			n.reload(s)
			n.tell(sdnotify.Ready)
		case <-alive:
			n.pulse(ctx, s)
		case <-tick.C:
			if now := statusOf(s); now != status {
				status = now
				n.tell(sdnotify.Status(status))
			}
		}
	}
}

// statusOf is what systemctl status shows.
func statusOf(s Started) string {
	if err := s.Ready(); err != nil {
		return "not ready: " + err.Error()
	}
	return "ready"
}

// reload is SIGHUP. What cannot be read stays as it was.
func (n *notifier) reload(s Started) {
	var err error
	if s.Reload != nil {
		err = s.Reload()
	}
	if err != nil {
		n.log.Error("reload: some files were refused; what was read before stays in use", "err", err)
		return
	}
	n.log.Info("reload: certificates, tokens and geo data were read again")
}

// pulse tells the manager's watchdog that the program is alive, if it is.
func (n *notifier) pulse(ctx context.Context, s Started) {
	if s.Alive != nil {
		ctx, cancel := context.WithTimeout(ctx, n.watchdog/4)
		defer cancel()
		if err := s.Alive(ctx); err != nil {
			if !errors.Is(err, context.Canceled) {
				n.log.Error("not alive; the service manager's watchdog is not told otherwise", "err", err)
			}
			return
		}
	}
	n.tell(sdnotify.Watchdog)
}
