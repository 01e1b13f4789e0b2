package follow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"time"

	"github.com/fairlead-dns/fairlead/authdns/feed"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/geo"
	"github.com/fairlead-dns/fairlead/regions/plan"
	"github.com/fairlead-dns/fairlead/regions/steer"
)

const (
	// A generation that could not be had from a controller is asked for there
	// again after a pause that doubles between these.
	retryMin = time.Second
	retryMax = 30 * time.Second
	// fetchLimit bounds the time that one fetch takes.
	fetchLimit = time.Minute
	// maxObjects bounds a generation's size, above what controllers accept.
	maxObjects = 200_000
)

// source is a controller as the follower sees it.
type source struct {
	sub *feed.Subscription
	// untrusted: what it offers cannot be of this installation's history, so its
	// verdicts are not followed either.
	untrusted bool
	// refusal is why what it offers is not served; it is told so.
	refusal string
	// differs is since when its verdicts are others than the followed one's.
	differs time.Time
	// The generation that could last not be had from it.
	failed   regions.Generation
	failures int
	retryAt  time.Time
}

// reviewOffers looks at what each controller offers.
func (f *Follower) reviewOffers(sums []feed.Summary) {
	served := f.generation()
	for i, sum := range sums {
		src := &f.sources[i]
		if sum.Plan == nil { // not connected, or it has nothing
			src.untrusted, src.failed, src.failures = false, regions.Generation{}, 0
			f.accept(i)
			continue
		}
		err := f.offered(sum.Plan)
		src.untrusted = err != nil
		g := generation(sum.Plan)
		switch {
		case err != nil:
			f.refuse(i, g, err)
		case g.Compare(served) <= 0:
			f.accept(i)
			if s := f.serving.Load(); s != nil && s.FromDisk && g == served {
				confirmed := *s
				confirmed.FromDisk = false
				f.publish(&confirmed)
			}
		}
	}
	f.metrics.refused.Set(0)
	for i := range f.sources {
		if f.sources[i].refusal != "" {
			f.metrics.refused.Set(1)
		}
	}
}

// offered returns an error when a generation cannot be of the history of the
// one that is served.
func (f *Follower) offered(u *pb.PlanUpdate) error {
	g, h := generation(u), u.GetHead()
	if g.IsZero() || g.Epoch != h.GetEpoch() {
		return fmt.Errorf("its head is of epoch %d", h.GetEpoch())
	}
	s := f.serving.Load()
	switch {
	case s == nil:
		return nil
	case h.GetInstallation() != s.Head.GetInstallation():
		return fmt.Errorf("the controller belongs to installation %q, this nameserver serves %q; if that is meant, empty its snapshot directory",
			h.GetInstallation(), s.Head.GetInstallation())
	case g == s.Plan.Generation && (!bytes.Equal(h.GetManifest(), s.Head.GetManifest()) || !bytes.Equal(h.GetOverrides(), s.Head.GetOverrides())):
		return errors.New("it has other contents than the same generation that is served: the store was restored without a new epoch")
	}
	return nil
}

// seekPlan starts to fetch the newest generation that any controller offers,
// if it is newer than what is served (invariant 2: never an older one). Where
// one cannot be had, it goes to the next controller, or the next older one.
func (f *Follower) seekPlan(ctx context.Context, sums []feed.Summary, now time.Time) {
	if f.fetching {
		return
	}
	if db := f.newGeo.Swap(nil); db != nil {
		if s := f.serving.Load(); s != nil {
			f.begin(ctx, job{source: -1, db: db, serving: s})
			return
		}
		f.db = db
	}
	best, newest := -1, f.generation()
	for i, sum := range sums {
		src := &f.sources[i]
		if sum.Plan == nil || src.untrusted {
			continue
		}
		g := generation(sum.Plan)
		if src.failed != g {
			src.failed, src.failures = g, 0
		}
		if src.failures > 0 && now.Before(src.retryAt) {
			continue
		}
		if g.Compare(newest) > 0 {
			best, newest = i, g
		}
	}
	if best < 0 {
		return
	}
	sub := f.sources[best].sub
	f.begin(ctx, job{
		source: best, update: sums[best].Plan, db: f.db, tree: f.tree, serving: f.serving.Load(),
		fetch: func(d []plan.Digest) (plan.Objects, error) {
			if len(d) > maxObjects {
				return nil, fmt.Errorf("%d objects, at most %d", len(d), maxObjects)
			}
			ctx, cancel := context.WithTimeout(ctx, fetchLimit)
			defer cancel()
			return sub.Fetch(ctx, d)
		},
	})
}

// job is a generation to be fetched and compiled; without an update, the one
// served is to be compiled over new geo data.
type job struct {
	source  int // which controller it is from
	update  *pb.PlanUpdate
	db      *geo.Database
	tree    *plan.Tree // known
	serving *Serving   // known
	fetch   plan.Fetch
}

// fetched is the outcome of a job.
type fetched struct {
	job
	tree     *plan.Tree
	plan     *plan.Plan
	rankings *steer.Rankings
	err      error
}

// begin does a job beside the loop; there is one at a time.
func (f *Follower) begin(ctx context.Context, j job) {
	f.fetching = true
	go func() { f.plans <- f.compile(ctx, j) }()
}

// compile does what can fail before anything served is touched. Whatever a
// generation holds, it must not end this process (invariants 3 and 16).
func (f *Follower) compile(ctx context.Context, j job) (r fetched) {
	r.job = j
	defer func() {
		if p := recover(); p != nil {
			r.err = fmt.Errorf("compiling it panics: %v\n%s", p, debug.Stack())
		}
	}()
	var prev *steer.Rankings
	if j.serving != nil {
		prev = j.serving.Rankings
	}
	if j.update == nil {
		r.tree, r.plan = j.tree, j.serving.Plan
		r.rankings, r.err = steer.CompileRankings(r.plan.Base, j.db, prev)
		return r
	}
	if r.err = f.offered(j.update); r.err != nil {
		return r
	}
	var knownHead *pb.Head
	if j.serving != nil {
		knownHead = j.serving.Head
	}
	if r.tree, r.err = plan.Read(j.update.GetHead(), j.tree, knownHead, j.fetch); r.err != nil {
		return r
	}
	var base *plan.Base
	if r.tree.SameConfig && j.serving != nil {
		base = j.serving.Plan.Compiled
	} else if base, r.err = plan.Compile(r.tree.Set); r.err != nil {
		return r
	}
	if r.err = ctx.Err(); r.err != nil { // the rest may take a second
		return r
	}
	r.plan = base.With(generation(j.update), r.tree.OverrideSet())
	r.rankings, r.err = steer.CompileRankings(r.plan.Base, j.db, prev)
	return r
}

// finish serves what a job made, or says why not.
func (f *Follower) finish(r fetched, now time.Time) {
	if r.update == nil {
		f.finishGeo(r)
		return
	}
	if r.err == nil {
		r.err = f.adopt(r, false)
	}
	if r.err == nil {
		g := r.plan.Generation
		f.sources[r.source].refusal = ""
		for i := range f.sources {
			f.sources[i].sub.Acknowledge(g, f.sources[i].refusal)
		}
		f.opts.Log.Info("serving", "generation", g.String(), "services", len(r.plan.Services), "overrides", len(r.plan.Overrides))
		f.disk.generation(r)
		f.saveVerdicts(now)
		return
	}
	g, src := generation(r.update), &f.sources[r.source]
	if src.failed != g {
		src.failed, src.failures = g, 0
	}
	src.retryAt = now.Add(min(retryMin<<min(src.failures, 10), retryMax))
	src.failures++
	f.refuse(r.source, g, r.err)
}

func (f *Follower) finishGeo(r fetched) {
	if r.err != nil {
		f.opts.Log.Error("new geo data refused; the old stay", "err", r.err)
		return
	}
	f.db = r.db
	next := *f.serving.Load()
	next.Rankings, next.View = r.rankings, next.View.WithTables(r.rankings.Tables)
	f.publish(&next)
	f.opts.Log.Info("new geo data", "digest", r.db.Digest())
}

// refuse notes why what a controller offers is not served, and tells it.
func (f *Follower) refuse(i int, g regions.Generation, err error) {
	msg := fmt.Sprintf("generation %v: %v", g, err)
	src := &f.sources[i]
	if msg == src.refusal {
		return
	}
	src.refusal = msg
	f.opts.Log.Error("generation not served; the last good one stays", "generation", g.String(), "err", err)
	src.sub.Acknowledge(f.generation(), msg)
}

// accept undoes refuse.
func (f *Follower) accept(i int) {
	if src := &f.sources[i]; src.refusal != "" {
		src.refusal = ""
		src.sub.Acknowledge(f.generation(), "")
	}
}

// adopt swaps what is served. A generation that is not newer is never taken.
func (f *Follower) adopt(r fetched, fromDisk bool) (err error) {
	if g := r.plan.Generation; g.Compare(f.generation()) <= 0 {
		return fmt.Errorf("it is not newer than %v, which is served", f.generation())
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("evaluating it panics: %v\n%s", p, debug.Stack())
		}
	}()
	states := make([]steer.TargetState, len(r.plan.Targets))
	var unknown []string
	for i := range states {
		v, known := f.verdicts[r.plan.Targets[i].ID]
		if !known {
			unknown = append(unknown, r.plan.Targets[i].ID)
		}
		states[i] = plan.TargetState(r.plan.Base, v)
	}
	now := time.Now()
	state := f.healthState(r.plan.Safety.Ages, now)
	known := f.latchesUnder(r.plan)
	said := f.opts.BreakGlass.Standing(now, r.plan.BreakGlassEnds)
	view := steer.NewView(steer.Inputs{
		Plan: r.plan.Plan, BreakGlass: said, Tables: r.rankings.Tables, States: states, Latches: known.list(), Now: now, FailOpen: state == regions.FailOpen,
	})
	f.tree = r.tree
	if !maps.Equal(known, f.latches) {
		f.latches, f.unsaved = known, true
		f.shareLatches()
	}
	f.publish(&Serving{Head: r.update.GetHead(), Plan: r.plan, Rankings: r.rankings, View: view, FromDisk: fromDisk, Health: state, Overrides: r.tree.Overrides, BreakGlass: said})
	f.opts.BreakGlass.Cite(r.plan.BreakGlassEnds)
	f.metrics.generation.Set(float64(r.plan.Generation.Revision))
	f.metrics.epoch.Set(float64(r.plan.Generation.Epoch))
	f.forget(r.plan, 0)
	// What was forgotten, and is a target again, whoever has it tells again.
	for i := range f.sources {
		f.sources[i].sub.Mark(unknown)
	}
	return nil
}
