// Package follow decides what a nameserver answers from: it follows one
// controller's verdicts and the newest generation of all, and publishes an
// immutable snapshot through a pointer. It may import authdns/feed,
// authdns/snapshot and the pure packages. One goroutine owns all state; plans
// are fetched and compiled beside it, so that verdicts never wait for them.
package follow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-dns/fairlead/authdns/feed"
	"github.com/fairlead-dns/fairlead/authdns/snapshot"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/geo"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
	"github.com/fairlead-dns/fairlead/regions/plan"
	"github.com/fairlead-dns/fairlead/regions/steer"
)

const (
	// beatLimit is the age of a heartbeat beyond which a controller is not
	// followed; heartbeats come every 200 ms.
	beatLimit = time.Second
	// fresherBy is how much fresher another controller's evidence must be to
	// leave one that works.
	fresherBy = time.Second
	// tick bounds how late a controller that fell silent is noticed.
	tick = 100 * time.Millisecond
	// saveHealthAfter bounds how often the verdict table is written.
	saveHealthAfter = time.Second
	// fetchRetry is the pause after a generation that could not be fetched.
	fetchRetry = time.Second
	// maxObjects bounds a generation's size, above what controllers accept.
	maxObjects = 200_000
)

// Serving is what queries are answered from. Immutable.
type Serving struct {
	Head     *pb.Head
	Plan     *plan.Plan
	View     *steer.View
	Rankings *steer.Rankings
	// FromDisk: no controller has confirmed this generation since the start.
	FromDisk bool
}

// Options is what a follower needs.
type Options struct {
	Name, Region, Version string
	Dir                   *snapshot.Dir // nil: nothing is kept on disk
	Geo                   *geo.Database
	Log                   *slog.Logger
	Registerer            prometheus.Registerer
	// Publish is called with everything newly published, from Run or Load.
	Publish func(*Serving)
}

// Follower owns what a nameserver serves.
type Follower struct {
	opts    Options
	subs    []*feed.Subscription
	wake    chan struct{}
	plans   chan fetched
	geo     chan *geo.Database
	serving atomic.Pointer[Serving]

	// asOf is when the verdicts served were last known to hold, Unix
	// nanoseconds; 0: never since the start.
	asOf atomic.Int64
	// What follows belongs to the goroutine of Run.
	verdicts  map[string]health.Verdict
	tree      *plan.Tree
	head      *pb.Head
	following int
	fetching  bool
	retryAt   time.Time
	refusal   string
	unsaved   bool
	savedAt   time.Time
	db        *geo.Database

	disk    *disk
	metrics metrics
}

type metrics struct {
	generation, refused, following prometheus.Gauge
	changes, switches              prometheus.Counter
}

// fetched is the outcome of fetching and compiling a generation.
type fetched struct {
	update   *pb.PlanUpdate
	tree     *plan.Tree
	plan     *plan.Plan
	rankings *steer.Rankings
	db       *geo.Database
	err      error
	retry    bool // the fault may pass
}

// New returns a follower without subscriptions.
func New(o Options) *Follower {
	f := &Follower{
		opts: o, db: o.Geo, following: -1,
		wake: make(chan struct{}, 1), plans: make(chan fetched, 1), geo: make(chan *geo.Database, 1),
		verdicts: map[string]health.Verdict{}, disk: newDisk(o.Dir, o.Log),
		metrics: metrics{
			generation: prometheus.NewGauge(prometheus.GaugeOpts{Name: "fairlead_authdns_generation_revision", Help: "Revision of the generation that is served."}),
			refused:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "fairlead_authdns_generation_refused", Help: "1 while a newer generation cannot be served."}),
			following:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "fairlead_authdns_following", Help: "1 while a controller's verdicts are followed, 0 while answers are frozen."}),
			changes:    prometheus.NewCounter(prometheus.CounterOpts{Name: "fairlead_authdns_verdict_changes_total", Help: "Verdicts that changed what is served."}),
			switches:   prometheus.NewCounter(prometheus.CounterOpts{Name: "fairlead_authdns_controller_changes_total", Help: "Changes of the controller that is followed."}),
		},
	}
	if o.Registerer != nil {
		m := f.metrics
		o.Registerer.MustRegister(m.generation, m.refused, m.following, m.changes, m.switches,
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "fairlead_authdns_health_age_seconds", Help: "Age of the verdicts that are served; -1 when none were ever received."}, func() float64 {
				age, ok := f.HealthAge(time.Now())
				if !ok {
					return -1
				}
				return age.Seconds()
			}))
	}
	return f
}

// Add adds a subscription; before Run.
func (f *Follower) Add(s *feed.Subscription) { f.subs = append(f.subs, s) }

// Wake makes Run look at the subscriptions again. It never blocks.
func (f *Follower) Wake() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Hello returns what a subscription opens with: the generation served and,
// for a controller that has just started, the verdicts.
func (f *Follower) Hello() *pb.NameserverHello {
	now := time.Now()
	h := &pb.NameserverHello{Nameserver: f.opts.Name, Region: f.opts.Region, Version: f.opts.Version}
	s := f.serving.Load()
	if s == nil {
		return h
	}
	h.Generation = &pb.Generation{Epoch: s.Plan.Generation.Epoch, Revision: s.Plan.Generation.Revision}
	h.Installation = s.Head.GetInstallation()
	if age, ok := f.HealthAge(now); ok {
		h.VerdictsAgeMillis = healthpb.Millis(age)
	} else {
		h.VerdictsAgeMillis = healthpb.Millis(healthpb.MaxAge)
	}
	for i := range s.Plan.Targets {
		if st := s.View.State(int32(i)); st.Verdict != regions.Unknown {
			h.Verdicts = append(h.Verdicts, healthpb.TargetHealth(s.Plan.Targets[i].ID, health.Verdict{Quorum: st.Verdict, Last: st.Verdict, Since: st.Since}, now))
		}
	}
	return h
}

// Serving returns what is served, nil before the first generation.
func (f *Follower) Serving() *Serving { return f.serving.Load() }

// HealthAge returns how old the verdicts are that are served; false when
// none was received since the start.
func (f *Follower) HealthAge(now time.Time) (time.Duration, bool) {
	at := f.asOf.Load()
	if at == 0 {
		return 0, false
	}
	return max(0, now.Sub(time.Unix(0, at))), true
}

// SetGeo hands over new geo data; rankings are compiled anew beside the
// answers.
func (f *Follower) SetGeo(db *geo.Database) {
	select {
	case <-f.geo:
	default:
	}
	f.geo <- db
	f.Wake()
}

// Load serves the last good generation from disk. Call before Run.
func (f *Follower) Load() {
	if f.opts.Dir == nil {
		return
	}
	now := time.Now()
	table, err := f.opts.Dir.LoadHealth()
	if err != nil {
		f.opts.Log.Error("verdict table on disk refused; endpoints count as never judged", "err", err)
	}
	// The ages in the table count from when it was saved.
	saved := now
	if t := table.GetSaveTime().AsTime(); t.Before(now) {
		saved = t
	}
	for _, t := range table.GetTargets() {
		f.verdicts[t.GetTarget()] = healthpb.ParseTargetHealth(t, saved)
	}
	gen, refused := f.opts.Dir.Load(func(s *pb.Snapshot) error {
		objects := make(plan.Objects, len(s.GetObjects()))
		for _, data := range s.GetObjects() {
			objects[plan.Sum(data)] = data
		}
		r := f.compile(&pb.PlanUpdate{Generation: s.GetGeneration(), Head: s.GetHead()}, f.db, nil, nil, nil,
			func([]plan.Digest) (plan.Objects, error) { return objects, nil })
		if r.err != nil {
			return r.err
		}
		f.adopt(r, true)
		return nil
	})
	for _, err := range refused {
		f.opts.Log.Error("snapshot on disk refused", "err", err)
	}
	if !gen.IsZero() {
		f.opts.Log.Info("serving from disk", "generation", gen.String(), "verdicts", len(f.verdicts))
	}
}

// Run follows until ctx ends; then it saves the verdict table.
func (f *Follower) Run(ctx context.Context) error {
	t := time.NewTicker(tick)
	defer t.Stop()
	fetchCtx, cancel := context.WithCancel(ctx)
	saved := make(chan struct{})
	go func() { defer close(saved); f.disk.run(fetchCtx) }()
	defer func() {
		f.disk.verdicts(f.verdicts, time.Now())
		cancel()
		if f.fetching {
			<-f.plans
		}
		<-saved
	}()
	for {
		now := time.Now()
		f.step(fetchCtx, now)
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		case <-f.wake:
		case r := <-f.plans:
			f.fetching = false
			f.finish(r)
		}
	}
}

func (f *Follower) step(ctx context.Context, now time.Time) {
	sums := make([]feed.Summary, len(f.subs))
	for i, s := range f.subs {
		sums[i] = s.Summary(now)
	}
	f.chooseController(sums)
	f.takeVerdicts(sums, now)
	f.seekPlan(ctx, sums, now)
	if f.unsaved && now.Sub(f.savedAt) >= saveHealthAfter {
		f.unsaved, f.savedAt = false, now
		f.disk.verdicts(f.verdicts, now)
	}
}

// chooseController follows the usable controller with the freshest evidence,
// and stays with it until it falls silent or another is fresher by far.
func (f *Follower) chooseController(sums []feed.Summary) {
	usable := func(i int) bool { return sums[i].Usable && sums[i].BeatAge < beatLimit }
	best := -1
	for i := range sums {
		if usable(i) && (best < 0 || sums[i].EvidenceAge < sums[best].EvidenceAge) {
			best = i
		}
	}
	if cur := f.following; cur >= 0 && usable(cur) && sums[cur].EvidenceAge < sums[best].EvidenceAge+fresherBy {
		return
	}
	if best == f.following {
		return
	}
	switch {
	case best < 0:
		f.opts.Log.Warn("no controller to follow; answers stay as they are", "last", sums[f.following].Controller)
	case f.following < 0:
		f.opts.Log.Info("following", "controller", sums[best].Controller)
	default:
		f.opts.Log.Warn("following another controller", "controller", sums[best].Controller, "was", sums[f.following].Controller)
	}
	if f.following >= 0 {
		f.metrics.switches.Inc()
		f.subs[f.following].Following(false)
	}
	if f.following = best; best >= 0 {
		f.subs[best].Reset()
		f.subs[best].Following(true)
		f.metrics.following.Set(1)
	} else {
		f.metrics.following.Set(0)
	}
}

// takeVerdicts takes over what the followed controller says. A target that
// it has never judged keeps the verdict known here.
func (f *Follower) takeVerdicts(sums []feed.Summary, now time.Time) {
	if f.following < 0 {
		return
	}
	f.asOf.Store(now.Add(-sums[f.following].EvidenceAge).UnixNano())
	changes := f.subs[f.following].Take()
	if len(changes.Table) == 0 {
		return
	}
	s := f.serving.Load()
	changed := map[int32]steer.TargetState{}
	for id, v := range changes.Table {
		old, had := f.verdicts[id]
		if v.Last == regions.Unknown && had && old.Last != regions.Unknown {
			v.Last, v.Since = old.Last, old.Since
		}
		f.verdicts[id] = v
		if had && old.Last == v.Last {
			continue
		}
		f.unsaved = true
		if s == nil {
			continue
		}
		if i, ok := s.Plan.Target(id); ok {
			changed[i] = steer.TargetState{Verdict: v.Last, Since: v.Since}
		}
	}
	if len(changed) == 0 {
		return
	}
	next := *s
	next.View = s.View.With(changed)
	f.publish(&next)
	f.metrics.changes.Add(float64(len(changed)))
	for i, st := range changed {
		f.opts.Log.Info("verdict", "target", s.Plan.Targets[i].ID, "status", st.Verdict.String(), "held", now.Sub(st.Since).Round(time.Millisecond).String())
	}
}

// seekPlan starts to fetch the newest generation that any controller names,
// if it is newer than what is served (invariant 2: never an older one).
func (f *Follower) seekPlan(ctx context.Context, sums []feed.Summary, now time.Time) {
	if f.fetching {
		return
	}
	select {
	case db := <-f.geo:
		f.db = db
		if s := f.serving.Load(); s != nil {
			f.start(ctx, -1, nil)
			return
		}
	default:
	}
	if now.Before(f.retryAt) {
		return
	}
	served := f.generation()
	best := -1
	var newest regions.Generation
	for i, sum := range sums {
		if sum.Plan == nil {
			continue
		}
		g := generation(sum.Plan)
		if s := f.serving.Load(); s != nil && s.FromDisk && g == served {
			confirmed := *s
			confirmed.FromDisk = false
			f.publish(&confirmed)
		}
		if g.Compare(served) > 0 && g.Compare(newest) > 0 {
			best, newest = i, g
		}
	}
	if best < 0 {
		return
	}
	if f.head != nil && sums[best].Plan.GetHead().GetInstallation() != f.head.GetInstallation() {
		f.refuse(newest, fmt.Errorf("controller %s belongs to installation %q, this nameserver serves %q; if that is meant, empty its snapshot directory",
			sums[best].Controller, sums[best].Plan.GetHead().GetInstallation(), f.head.GetInstallation()))
		f.retryAt = now.Add(fetchRetry)
		return
	}
	f.start(ctx, best, sums[best].Plan)
}

// start fetches and compiles beside the loop; sub < 0 compiles the
// generation served over new geo data.
func (f *Follower) start(ctx context.Context, sub int, update *pb.PlanUpdate) {
	f.fetching = true
	tree, head, serving, db := f.tree, f.head, f.serving.Load(), f.db
	go func() {
		if sub < 0 {
			r := fetched{db: db, plan: serving.Plan, tree: tree}
			r.rankings, r.err = steer.CompileRankings(serving.Plan.Base, db, serving.Rankings)
			f.plans <- r
			return
		}
		f.plans <- f.compile(update, db, tree, head, serving, func(d []plan.Digest) (plan.Objects, error) {
			if len(d) > maxObjects {
				return nil, fmt.Errorf("%d objects, at most %d", len(d), maxObjects)
			}
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			got, err := f.subs[sub].Fetch(ctx, d)
			if err != nil {
				return nil, errFetch{err}
			}
			return got, nil
		})
	}()
}

// errFetch is a fault of the way, not of the generation.
type errFetch struct{ error }

func (e errFetch) Unwrap() error { return e.error }

// compile does all that can fail before anything served is touched.
func (f *Follower) compile(u *pb.PlanUpdate, db *geo.Database, known *plan.Tree, knownHead *pb.Head, serving *Serving, fetch plan.Fetch) fetched {
	r := fetched{update: u, db: db}
	if r.tree, r.err = plan.Read(u.GetHead(), known, knownHead, fetch); r.err != nil {
		r.retry = errors.As(r.err, &errFetch{})
		return r
	}
	var base *plan.Base
	if r.tree.SameConfig && serving != nil {
		base = serving.Plan.Compiled
	} else if base, r.err = plan.Compile(r.tree.Set); r.err != nil {
		return r
	}
	r.plan = base.With(generation(u), r.tree.Overrides)
	var prev *steer.Rankings
	if serving != nil {
		prev = serving.Rankings
	}
	r.rankings, r.err = steer.CompileRankings(r.plan.Base, db, prev)
	return r
}

// finish serves a generation that was fetched, or says why not.
func (f *Follower) finish(r fetched) {
	switch {
	case r.err != nil && r.update == nil:
		f.opts.Log.Error("new geo data refused; the old stay", "err", r.err)
	case r.err != nil:
		f.retryAt = time.Now().Add(fetchRetry)
		f.refuse(generation(r.update), r.err)
	default:
		f.adopt(r, false)
	}
}

func (f *Follower) refuse(g regions.Generation, err error) {
	msg := fmt.Sprintf("generation %v: %v", g, err)
	if msg != f.refusal {
		f.opts.Log.Error("newer generation refused; the last good one stays", "generation", g.String(), "err", err)
		f.acknowledge(msg)
	}
	f.refusal = msg
	f.metrics.refused.Set(1)
}

// adopt swaps what is served. A generation that is not newer is never taken.
func (f *Follower) adopt(r fetched, fromDisk bool) {
	if r.update != nil {
		if g := generation(r.update); g.Compare(f.generation()) <= 0 {
			return
		}
		f.tree, f.head = r.tree, r.update.GetHead()
	}
	states := make([]steer.TargetState, len(r.plan.Targets))
	for i := range states {
		v := f.verdicts[r.plan.Targets[i].ID]
		states[i] = steer.TargetState{Verdict: v.Last, Since: v.Since}
	}
	f.forget(r.plan)
	s := &Serving{Head: f.head, Plan: r.plan, Rankings: r.rankings, View: steer.NewView(r.plan.Plan, r.rankings.Tables, states), FromDisk: fromDisk}
	f.publish(s)
	f.metrics.generation.Set(float64(r.plan.Generation.Revision))
	f.metrics.refused.Set(0)
	f.refusal = ""
	if fromDisk || r.update == nil {
		return
	}
	f.acknowledge("")
	f.opts.Log.Info("serving", "generation", r.plan.Generation.String(), "services", len(r.plan.Services), "overrides", len(r.plan.Overrides))
	f.disk.generation(r)
	f.disk.verdicts(f.verdicts, time.Now())
}

func (f *Follower) publish(s *Serving) {
	f.serving.Store(s)
	f.opts.Publish(s)
}

func (f *Follower) acknowledge(refusal string) {
	for _, s := range f.subs {
		s.Acknowledge(f.generation(), refusal)
	}
}

func (f *Follower) generation() regions.Generation {
	if s := f.serving.Load(); s != nil {
		return s.Plan.Generation
	}
	return regions.Generation{}
}

// forget drops the verdicts on targets that are long out of the plan. Recent
// ones stay: a rollback brings their targets back.
func (f *Follower) forget(p *plan.Plan) {
	if len(f.verdicts) <= 2*len(p.Targets)+1000 {
		return
	}
	for id := range f.verdicts {
		if _, ok := p.Target(id); !ok {
			delete(f.verdicts, id)
		}
	}
}

func generation(u *pb.PlanUpdate) regions.Generation {
	return regions.Generation{Epoch: u.GetGeneration().GetEpoch(), Revision: u.GetGeneration().GetRevision()}
}
