// Package planner turns each generation in the store into a plan that was
// checked, and holds the current one for everything else in the controller. It
// may import controller/catalog, controller/store and the pure packages.
package planner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/fairlead-dns/fairlead/controller/catalog"
	"github.com/fairlead-dns/fairlead/controller/store"
	"github.com/fairlead-dns/fairlead/proto/snapshot"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

const (
	// A head that could not be published is looked at again after a pause that
	// doubles between these.
	retryMin = 250 * time.Millisecond
	retryMax = 5 * time.Second
	// keepRecent is how many generations nameservers may still be fetching.
	keepRecent = 3
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
	// Dir keeps the last verified generations, to start from without etcd; nil:
	// none are kept.
	Dir *snapshot.Dir
	// OnPlan is called with every new plan, one after the other. Optional.
	OnPlan func(*Current)
}

// Planner follows the head.
type Planner struct {
	opts      Options
	current   atomic.Pointer[Current]
	recent    atomic.Pointer[[]*Current] // newest first
	refusal   atomic.Pointer[string]
	available atomic.Bool // as answers knows
	away      atomic.Pointer[Away]
	confirmed atomic.Pointer[time.Time] // see Confirmed
	verified  atomic.Bool               // the head was found to be what is published, and not since to be another
	look      chan struct{}             // look at the store now
	unsaved   chan *Current             // the newest generation that is to be kept on disk
	loading   bool                      // what is adopted comes from disk

	adopting sync.Mutex // held while a version becomes the current one

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every new plan
	// watched and read tell whether etcd answers who watches the head, and
	// who reads what is under it.
	watched, read bool

	metrics struct{ generation, epoch, refused, available prometheus.Gauge }
}

// New returns a planner; Run does its work.
func New(o Options) *Planner {
	p := &Planner{opts: o, changed: make(chan struct{}), look: make(chan struct{}, 1), unsaved: make(chan *Current, 1)}
	p.recent.Store(&[]*Current{})
	m := &p.metrics
	m.generation = prometheus.NewGauge(prometheus.GaugeOpts{Name: "fairlead_controller_generation_revision", Help: "Revision of the generation that is published."})
	m.epoch = prometheus.NewGauge(prometheus.GaugeOpts{Name: "fairlead_controller_generation_epoch", Help: "Epoch of the generation that is published; a restore begins a new one."})
	m.refused = prometheus.NewGauge(prometheus.GaugeOpts{Name: "fairlead_controller_generation_refused", Help: "1 while the head of the store cannot be published."})
	m.available = prometheus.NewGauge(prometheus.GaugeOpts{Name: "fairlead_controller_store_available", Help: "1 while etcd answers."})
	if o.Registerer != nil {
		o.Registerer.MustRegister(m.generation, m.epoch, m.refused, m.available)
	}
	o.Catalog.OnChange(p.take)
	return p
}

// Current returns the plan that is published, nil before the first.
func (p *Planner) Current() *Current { return p.current.Load() }

// Recent returns the plan that is published and a few before it, newest
// first: nameservers may still be fetching them.
func (p *Planner) Recent() []*Current { return *p.recent.Load() }

// Changed returns a channel that is closed at the next new plan.
func (p *Planner) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

// Reached returns when a generation or a newer one is published, or with
// false when ctx ends.
func (p *Planner) Reached(ctx context.Context, gen regions.Generation) bool {
	for {
		changed := p.Changed()
		if cur := p.current.Load(); cur != nil && cur.Generation.Compare(gen) >= 0 {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// Refusal says why the head is not published, or is empty.
func (p *Planner) Refusal() string {
	if s := p.refusal.Load(); s != nil {
		return *s
	}
	return ""
}

// StoreAvailable tells whether etcd answers; Watch finds out within seconds.
func (p *Planner) StoreAvailable() bool { return p.available.Load() }

// Saw notes which generation a nameserver serves. One that is ahead of what is
// published makes Run look at the store: either another controller was faster,
// or the store has gone back.
func (p *Planner) Saw(nameserver string, gen regions.Generation, installation string) {
	p.opts.Catalog.Saw(nameserver, gen, installation)
	cur := p.current.Load()
	if !gen.IsZero() && (cur == nil || cur.Head.GetInstallation() == installation && cur.Generation.Compare(gen) < 0) {
		p.lookNow()
	}
}

// Lost notes that a nameserver is no longer connected.
func (p *Planner) Lost(nameserver string) {
	p.opts.Catalog.Lost(nameserver)
	if p.Refusal() != "" {
		p.lookNow()
	}
}

func (p *Planner) lookNow() {
	select {
	case p.look <- struct{}{}:
	default:
	}
}

// sight is a head as Watch found it.
type sight struct {
	head store.Head
	err  error
}

// Run follows the head until ctx ends.
func (p *Planner) Run(ctx context.Context) error {
	seen := make(chan sight, 1)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return p.opts.Store.Watch(ctx, func(h store.Head, err error) {
			p.answers(&p.watched, err) // run may be waiting for etcd
			select {
			case <-seen: // nobody needs the one before
			default:
			}
			seen <- sight{h, err}
		})
	})
	g.Go(func() error { p.run(ctx, seen); return nil })
	g.Go(func() error { p.keepOnDisk(ctx); return nil })
	return g.Wait()
}

// run publishes what is seen. Watch tells of a head once; one that could not
// be published is tried again here.
func (p *Planner) run(ctx context.Context, seen <-chan sight) {
	pause := retryMin
	retry := time.NewTimer(0)
	retry.Stop()
	defer retry.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case s := <-seen:
			if s.err != nil { // Watch tells when that has passed
				p.answers(&p.read, s.err)
				p.note(s.err)
				continue
			}
			pause = retryMin
			err = p.publish(ctx, s.head)
		case <-p.look:
			err = p.publishCurrent(ctx)
		case <-retry.C:
			err = p.publishCurrent(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		p.answers(&p.read, err)
		if p.note(err) {
			retry.Stop()
			pause = retryMin
			continue
		}
		retry.Reset(pause/2 + rand.N(pause/2))
		pause = min(2*pause, retryMax)
	}
}

// answers notes whether etcd answers one of those who ask it, and tells if it
// answers all now. It is away as soon as one finds it so; that another has just
// had an answer does not bring it back, for the one would not say so again.
func (p *Planner) answers(who *bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*who = !isAway(err)
	now := p.watched && p.read
	if now {
		p.away.Store(nil)
		p.metrics.available.Set(1)
	} else {
		p.metrics.available.Set(0)
		if isAway(err) && p.away.Load() == nil {
			p.away.Store(&Away{Since: time.Now(), Err: err})
		}
	}
	if was := p.available.Swap(now); was && !now {
		p.confirm(p.opts.Store.HeadRead())
		p.opts.Log.Warn("etcd does not answer; the published generation stays", "err", err)
	}
}

func isAway(err error) bool {
	return errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrDenied)
}

// note notes what came of looking at the head; it returns whether all is well.
func (p *Planner) note(err error) bool {
	if isAway(err) {
		return false
	}
	if err == nil {
		if p.refusal.Swap(nil) != nil {
			p.opts.Log.Info("the head is published again")
		}
		p.metrics.refused.Set(0)
		return true
	}
	msg := err.Error()
	if was := p.refusal.Swap(&msg); was == nil || *was != msg {
		if p.verified.Load() {
			p.confirm(p.Confirmed())
			p.verified.Store(false)
		}
		p.opts.Log.Error("the head is not published; the last generation stays", "err", err)
	}
	p.metrics.refused.Set(1)
	return false
}

// publish publishes the version under a head.
func (p *Planner) publish(ctx context.Context, h store.Head) error {
	v, err := p.opts.Catalog.Load(ctx, h)
	if errors.Is(err, catalog.ErrLineage) {
		return p.publishCurrent(ctx) // this head may have been overtaken
	}
	if err != nil {
		return err
	}
	return p.adopt(v)
}

// publishCurrent publishes the version under the head that is there now.
func (p *Planner) publishCurrent(ctx context.Context) error {
	v, err := p.opts.Catalog.Read(ctx)
	if err != nil {
		return err
	}
	return p.adopt(v)
}

// take publishes what this controller has changed, as part of the change and
// without waiting for the watch. If it cannot be published, Run, which comes
// upon the same, tells why and tries again.
func (p *Planner) take(v *catalog.Version) { _ = p.adopt(v) }

// adopt compiles a version and makes it the current one, unless it is older
// than what is: a head that was read before a change, and comes after it,
// changes nothing.
func (p *Planner) adopt(v *catalog.Version) error {
	p.adopting.Lock()
	defer p.adopting.Unlock()
	cur := p.current.Load()
	if v.Generation.IsZero() {
		return nil
	}
	if cur != nil && v.Generation.Compare(cur.Generation) <= 0 {
		p.verify(v.Generation == cur.Generation)
		return nil
	}
	next, err := Compile(v, cur)
	if err != nil {
		return fmt.Errorf("generation %v: %w", v.Generation, err)
	}
	p.current.Store(next)
	p.verify(true)
	recent := append([]*Current{next}, p.Recent()...)
	recent = recent[:min(keepRecent, len(recent))]
	p.recent.Store(&recent)
	p.metrics.generation.Set(float64(next.Generation.Revision))
	p.metrics.epoch.Set(float64(next.Generation.Epoch))
	p.tellIgnored(cur, next)
	if p.opts.OnPlan != nil {
		p.opts.OnPlan(next)
	}
	p.mu.Lock()
	close(p.changed)
	p.changed = make(chan struct{})
	p.mu.Unlock()
	if v.Tree != nil && p.opts.Dir != nil && !p.loading {
		select {
		case <-p.unsaved: // the newest is enough
		default:
		}
		p.unsaved <- next
	}
	p.opts.Log.Info("published", "generation", next.Generation.String(), "services", len(next.Plan.Services), "overrides", len(next.Plan.Overrides))
	return nil
}

// Compile compiles a version; the base of prev (which may be nil) is taken
// over when the configuration is the same.
func Compile(v *catalog.Version, prev *Current) (_ *Current, err error) {
	// What another version of this program wrote must not end this one
	// (invariant 16).
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("compiling it panics: %v\n%s", r, debug.Stack())
		}
	}()
	var base *plan.Base
	if prev != nil && prev.Set == v.Set {
		base = prev.Plan.Compiled
	} else if base, err = v.Compile(); err != nil {
		return nil, err
	}
	return &Current{Version: v, Plan: base.With(v.Generation, v.OverrideSet())}, nil
}
