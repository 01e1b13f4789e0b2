// Package checkpoint keeps a copy of the verdicts in etcd, in the background:
// one elected controller writes it, and a controller that starts where no
// nameserver can tell it the last verdicts takes them from there. Nothing waits
// for it, and without it everything goes on; the verdicts' way to the
// nameservers neither knows of it nor of who is elected.
//
// It imports controller/store and the generated proto code. Its data come from
// the judge, through Options.
package checkpoint

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-dns/fairlead/controller/store"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

const (
	// Every is how often the leader looks whether the verdicts have changed, and
	// so how old a checkpoint is by which a controller starts.
	Every = 10 * time.Second
	// Refresh is how often it writes although nothing has changed, so that the
	// age tells that it works.
	Refresh = 5 * time.Minute
	// A controller that starts asks again between these pauses while etcd is away.
	retryMin = time.Second
	retryMax = 15 * time.Second
	// readFor is for how long it goes on asking: after that its own verdicts
	// are better.
	readFor = 5 * time.Minute
)

// Options is what a checkpointer needs.
type Options struct {
	Store *store.Store
	// Name of the controller.
	Name string
	// Table returns the verdicts and latches, with a digest that differs when
	// they do; nil while there is nothing worth keeping.
	Table func(now time.Time) (table *pb.HealthTable, digest uint64)
	// Seed takes a table that is so old.
	Seed func(table *pb.HealthTable, age time.Duration)
	// Every is by default the constant of that name.
	Every      time.Duration
	Log        *slog.Logger
	Registerer prometheus.Registerer // optional
}

// Checkpointer reads the checkpoint once and writes it while it is elected.
type Checkpointer struct {
	opts                      Options
	leading, written, targets prometheus.Gauge
	failures                  prometheus.Counter
}

// New returns a checkpointer; Run does its work.
func New(o Options) *Checkpointer {
	if o.Every == 0 {
		o.Every = Every
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "fairlead_controller_" + name, Help: help})
	}
	c := &Checkpointer{
		opts:     o,
		leading:  gauge("checkpoint_leader", "1 while this controller is the one that writes the health checkpoint."),
		written:  gauge("checkpoint_last_success_timestamp_seconds", "When this controller last wrote the health checkpoint."),
		targets:  gauge("checkpoint_targets", "Targets in the health checkpoint that this controller wrote last."),
		failures: prometheus.NewCounter(prometheus.CounterOpts{Name: "fairlead_controller_checkpoint_failures_total", Help: "Health checkpoints that could not be written."}),
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(c.leading, c.written, c.targets, c.failures)
	}
	return c
}

// Run reads and writes until ctx ends.
func (c *Checkpointer) Run(ctx context.Context) error {
	done := make(chan struct{})
	go func() { defer close(done); c.read(ctx) }()
	defer func() { <-done }()
	return c.opts.Store.Lead(ctx, "checkpoint", c.opts.Name, c.lead)
}

// read seeds from the checkpoint, once.
func (c *Checkpointer) read(ctx context.Context) {
	began := time.Now()
	for pause := retryMin; ; pause = min(2*pause, retryMax) {
		cp, table, err := c.opts.Store.Checkpoint(ctx)
		switch {
		case ctx.Err() != nil || err == nil && cp == nil:
			return
		case err == nil:
			// The clocks of two controllers may differ. A checkpoint is never taken
			// for younger than the leader writes them, so that what a nameserver
			// answers by now wins.
			c.opts.Seed(table, max(time.Since(cp.GetTime().AsTime()), c.opts.Every))
			return
		case errors.Is(err, store.ErrCheckpoint):
			c.opts.Log.Warn("no start from the health checkpoint", "err", err)
			return
		case time.Since(began) > readFor:
			return
		}
		t := time.NewTimer(pause/2 + rand.N(pause/2))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// lead writes for as long as the term lasts.
func (c *Checkpointer) lead(ctx context.Context, term *store.Term) {
	c.leading.Set(1)
	defer c.leading.Set(0)
	var digest uint64
	var wroteAt time.Time
	t := time.NewTicker(c.opts.Every)
	defer t.Stop()
	for {
		now := time.Now()
		table, d := c.opts.Table(now)
		if table != nil && (wroteAt.IsZero() || d != digest || now.Sub(wroteAt) >= Refresh) {
			err := term.PutCheckpoint(ctx, c.opts.Name, table, now)
			switch {
			case err == nil:
				digest, wroteAt = d, now
				c.written.Set(float64(now.Unix()))
				c.targets.Set(float64(len(table.GetTargets())))
			case errors.Is(err, store.ErrNotLeader) || ctx.Err() != nil:
				return
			default:
				c.failures.Inc()
				c.opts.Log.Debug("health checkpoint not written", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
