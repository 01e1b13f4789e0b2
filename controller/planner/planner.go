// Package planner turns each generation in the store into a plan that was
// checked, and holds the current one for everything else in the controller. It
// may import controller/catalog, controller/store and the pure packages.
package planner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-dns/fairlead/controller/catalog"
	"github.com/fairlead-dns/fairlead/controller/store"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

// Current is a generation that was read, compiled and checked. Immutable.
type Current struct {
	*catalog.Version
	Plan *plan.Plan
}

// Options is what a planner needs.
type Options struct {
	Store      *store.Store
	Catalog    *catalog.Catalog
	Log        *slog.Logger
	Registerer prometheus.Registerer
	// OnPlan is called, from Run, with every new plan. Optional.
	OnPlan func(*Current)
}

// Planner follows the head.
type Planner struct {
	opts    Options
	current atomic.Pointer[Current]
	refusal atomic.Pointer[string]
	lastOK  atomic.Int64 // Unix nanoseconds of the last answer of the store

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every new plan

	generation prometheus.Gauge
	refused    prometheus.Gauge
	available  prometheus.Gauge
}

// New returns a planner; Run does its work.
func New(o Options) *Planner {
	p := &Planner{
		opts: o, changed: make(chan struct{}),
		generation: prometheus.NewGauge(prometheus.GaugeOpts{Name: "fairlead_controller_generation_revision", Help: "Revision of the generation that is published."}),
		refused:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "fairlead_controller_generation_refused", Help: "1 while the head of the store cannot be published."}),
		available:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "fairlead_controller_store_available", Help: "1 while etcd answers."}),
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(p.generation, p.refused, p.available)
	}
	return p
}

// Current returns the plan that is published, nil before the first.
func (p *Planner) Current() *Current { return p.current.Load() }

// Changed returns a channel that is closed at the next new plan.
func (p *Planner) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

// Refusal says why the head is not published, or is empty.
func (p *Planner) Refusal() string {
	if s := p.refusal.Load(); s != nil {
		return *s
	}
	return ""
}

// StoreAvailable tells whether etcd answered at the last attempt.
func (p *Planner) StoreAvailable() bool { return p.lastOK.Load() != 0 }

// Run follows the head until ctx ends.
func (p *Planner) Run(ctx context.Context) error {
	return p.opts.Store.Watch(ctx, func(h store.Head, err error) {
		if err != nil {
			if p.lastOK.Swap(0) != 0 {
				p.opts.Log.Warn("etcd does not answer; the published generation stays", "err", err)
			}
			p.available.Set(0)
			return
		}
		p.lastOK.Store(time.Now().UnixNano())
		p.available.Set(1)
		if err := p.follow(ctx, h); err != nil && ctx.Err() == nil {
			msg := err.Error()
			p.refusal.Store(&msg)
			p.refused.Set(1)
			p.opts.Log.Error("the head is not published; the last generation stays", "revision", h.Revision, "err", err)
		}
	})
}

func (p *Planner) follow(ctx context.Context, h store.Head) error {
	cur := p.current.Load()
	if h.Revision == 0 {
		if cur != nil {
			return errors.New("the head key is gone; restore it from a backup")
		}
		return nil
	}
	if cur != nil {
		if id := cur.Head.GetInstallation(); h.GetInstallation() != id {
			return fmt.Errorf("the head belongs to installation %q, this is %q", h.GetInstallation(), id)
		}
		if h.GetEpoch() < cur.Generation.Epoch || (h.GetEpoch() == cur.Generation.Epoch && h.Revision < cur.Generation.Revision) {
			return fmt.Errorf("the head (%d.%d) is older than the generation published (%v)", h.GetEpoch(), h.Revision, cur.Generation)
		}
		if cur.Generation.Revision == h.Revision && cur.Generation.Epoch == h.GetEpoch() {
			p.clearRefusal()
			return nil
		}
	}
	v, err := p.opts.Catalog.Load(ctx, h)
	if err != nil {
		return err
	}
	next, err := Compile(v, cur)
	if err != nil {
		return fmt.Errorf("generation %v: %w", v.Generation, err)
	}
	p.clearRefusal()
	p.current.Store(next)
	p.generation.Set(float64(next.Generation.Revision))
	if p.opts.OnPlan != nil {
		p.opts.OnPlan(next)
	}
	p.mu.Lock()
	close(p.changed)
	p.changed = make(chan struct{})
	p.mu.Unlock()
	p.opts.Log.Info("published", "generation", next.Generation.String(), "services", len(next.Plan.Services), "overrides", len(next.Plan.Overrides))
	return nil
}

func (p *Planner) clearRefusal() {
	p.refusal.Store(nil)
	p.refused.Set(0)
}

// Compile compiles a version; the base of prev (which may be nil) is taken
// over when the configuration is the same.
func Compile(v *catalog.Version, prev *Current) (*Current, error) {
	var base *plan.Base
	if prev != nil && prev.Set == v.Set {
		base = prev.Plan.Compiled
	} else {
		var err error
		if base, err = plan.Compile(v.Set); err != nil {
			return nil, err
		}
	}
	return &Current{Version: v, Plan: base.With(v.Generation, v.Overrides)}, nil
}
