// Package follow decides what a nameserver answers from: it follows one
// controller's verdicts and the newest generation of all, and publishes an
// immutable snapshot through a pointer. It may import authdns/feed, authdns/breakglass,
// proto/snapshot and the pure packages. One goroutine owns all state; plans
// are fetched and compiled beside it, so that verdicts never wait for them.
package follow

import (
	"context"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-dns/fairlead/authdns/breakglass"
	"github.com/fairlead-dns/fairlead/authdns/feed"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/proto/snapshot"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/geo"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
	"github.com/fairlead-dns/fairlead/regions/plan"
	"github.com/fairlead-dns/fairlead/regions/steer"
)

// tick bounds how late a controller that fell silent is noticed.
const tick = 100 * time.Millisecond

// Serving is what queries are answered from. Immutable.
type Serving struct {
	Head     *pb.Head
	Plan     *plan.Plan
	View     *steer.View
	Rankings *steer.Rankings
	// FromDisk: no controller has confirmed this generation since the start.
	FromDisk bool
	// Health is what the age of the verdicts makes them.
	Health regions.HealthState
	// Overrides are those of the generation as the control plane wrote them.
	Overrides []*pb.Override
	// BreakGlass are those that were said to this nameserver, and that the view has.
	BreakGlass []regions.Override
}

// Options is what a follower needs.
type Options struct {
	Name, Region, Version string
	Dir                   *snapshot.Dir // nil: nothing is kept on disk
	Geo                   *geo.Database
	Log                   *slog.Logger
	Registerer            prometheus.Registerer
	// BreakGlass is what was said to this nameserver; its Changed wakes the
	// follower. Nil: nothing can be.
	BreakGlass *breakglass.Records
	// Publish is called with everything newly published, from Run or Load.
	Publish func(*Serving)
}

// Follower owns what a nameserver serves.
type Follower struct {
	opts    Options
	wake    chan struct{}
	plans   chan fetched
	newGeo  atomic.Pointer[geo.Database] // to be taken up by Run
	serving atomic.Pointer[Serving]

	// asOf is when the verdicts served were last known to hold, as time since
	// start (monotonic, so that a clock that is set does nothing).
	start time.Time
	asOf  atomic.Int64
	// known are the latches, for Hello; diverging counts the targets on which
	// controllers differ.
	known     atomic.Pointer[[]regions.Latch]
	diverging atomic.Int64

	// What follows belongs to the goroutine of Run.
	sources   []source
	following int // index of the source whose verdicts are followed, or -1
	verdicts  map[string]health.Verdict
	latches   latches
	// latchesSaved tells that the table on disk holds latches.
	latchesSaved bool
	tree         *plan.Tree
	db           *geo.Database
	fetching     bool
	unsaved      bool // the verdicts differ from those on disk
	savedAt      time.Time
	// comparedAt is when the controllers' tables were compared.
	comparedAt time.Time

	disk    *disk
	metrics metrics
}

// never is asOf before any verdict was known.
const never = math.MinInt64

type metrics struct {
	generation, epoch, refused, following prometheus.Gauge
	frozen, failOpen, latches, diverging  prometheus.Gauge
	changes, taken, switches              prometheus.Counter
}

// New returns a follower without subscriptions.
func New(o Options) *Follower {
	if o.BreakGlass == nil {
		o.BreakGlass = breakglass.New(breakglass.Options{Log: o.Log})
	}
	f := &Follower{
		opts: o, db: o.Geo, following: -1, start: time.Now(),
		wake: make(chan struct{}, 1), plans: make(chan fetched, 1),
		verdicts: map[string]health.Verdict{}, latches: latches{}, disk: newDisk(o.Dir, o.Log),
		metrics: metrics{
			generation: prometheus.NewGauge(prometheus.GaugeOpts{Name: "fairlead_authdns_generation_revision", Help: "Revision of the generation that is served."}),
			epoch:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "fairlead_authdns_generation_epoch", Help: "Epoch of the generation that is served; a restore begins a new one."}),
			refused:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "fairlead_authdns_generation_refused", Help: "1 while a controller offers a generation that cannot be served."}),
			following:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "fairlead_authdns_following", Help: "1 while a controller's verdicts are followed, 0 while answers are frozen."}),
			frozen:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "fairlead_authdns_health_frozen", Help: "1 while the verdicts are older than frozenAfter: answers stay, and say that they are stale."}),
			failOpen:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "fairlead_authdns_health_fail_open", Help: "1 while the verdicts are older than failOpenAfter, and every one counts as healthy."}),
			latches:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "fairlead_authdns_latches", Help: "Regions of services that wait for a person."}),
			diverging:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "fairlead_authdns_health_diverging_targets", Help: "Targets on which another controller has differed from the followed one for several seconds."}),
			changes:    prometheus.NewCounter(prometheus.CounterOpts{Name: "fairlead_authdns_verdict_changes_total", Help: "Verdicts that changed what is served."}),
			taken:      prometheus.NewCounter(prometheus.CounterOpts{Name: "fairlead_authdns_verdicts_taken_total", Help: "Verdicts that were looked at as a controller told them, changed or not."}),
			switches:   prometheus.NewCounter(prometheus.CounterOpts{Name: "fairlead_authdns_controller_changes_total", Help: "Changes of the controller that is followed."}),
		},
	}
	f.asOf.Store(never)
	if o.Registerer != nil {
		m := f.metrics
		o.Registerer.MustRegister(m.generation, m.epoch, m.refused, m.following, m.frozen, m.failOpen, m.latches, m.diverging, m.changes, m.taken, m.switches,
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
func (f *Follower) Add(s *feed.Subscription) { f.sources = append(f.sources, source{sub: s}) }

// Wake makes Run look at the subscriptions again. It never blocks.
func (f *Follower) Wake() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Hello returns what a subscription opens with: the generation served and,
// for a controller that has just started, the verdicts as of their age.
func (f *Follower) Hello() *pb.NameserverHello {
	now := time.Now()
	h := &pb.NameserverHello{Nameserver: f.opts.Name, Region: f.opts.Region, Version: f.opts.Version}
	h.BreakGlass, _ = f.opts.BreakGlass.Table(now)
	s := f.serving.Load()
	if s == nil {
		return h
	}
	h.Generation = &pb.Generation{Epoch: s.Plan.Generation.Epoch, Revision: s.Plan.Generation.Revision}
	h.Installation = s.Head.GetInstallation()
	if known := f.known.Load(); known != nil {
		h.Latches = healthpb.Latches(*known, now)
	}
	age, ok := f.HealthAge(now)
	if !ok {
		return h
	}
	h.VerdictsAgeMillis = healthpb.Millis(age)
	for i := range s.Plan.Targets {
		if v := verdictOf(s.Plan.Base, s.View.State(int32(i))); !v.IsZero() {
			h.Verdicts = append(h.Verdicts, healthpb.TargetHealth(s.Plan.Targets[i].ID, v, now.Add(-age)))
		}
	}
	return h
}

// Serving returns what is served, nil before the first generation.
func (f *Follower) Serving() *Serving { return f.serving.Load() }

// HealthAge returns how old the verdicts are that are served, counted on from
// their age on disk; false when there are none.
func (f *Follower) HealthAge(now time.Time) (time.Duration, bool) {
	at := f.asOf.Load()
	if at == never {
		return 0, false
	}
	return max(0, now.Sub(f.start)-time.Duration(at)), true
}

func (f *Follower) setHealthAge(now time.Time, age time.Duration) {
	f.asOf.Store(int64(now.Sub(f.start) - age))
}

// SetGeo hands over new geo data; rankings are compiled anew beside the
// answers.
func (f *Follower) SetGeo(db *geo.Database) {
	f.newGeo.Store(db)
	f.Wake()
}

// Load serves the last good generation from disk. Call before Run.
func (f *Follower) Load() {
	if f.opts.Dir == nil {
		return
	}
	f.loadVerdicts(time.Now())
	gen, refused := f.opts.Dir.Load(func(s *pb.Snapshot) error {
		objects := make(plan.Objects, len(s.GetObjects()))
		for _, data := range s.GetObjects() {
			objects[plan.Sum(data)] = data
		}
		r := f.compile(context.Background(), job{
			update: &pb.PlanUpdate{Generation: s.GetGeneration(), Head: s.GetHead()}, db: f.db,
			fetch: func([]plan.Digest) (plan.Objects, error) { return objects, nil },
		})
		if r.err != nil {
			return r.err
		}
		return f.adopt(r, true)
	})
	for _, err := range refused {
		f.opts.Log.Error("snapshot on disk refused", "err", err)
	}
	if gen != nil {
		f.opts.Log.Info("serving from disk", "generation", f.generation().String(), "verdicts", len(f.verdicts))
	}
}

func (f *Follower) loadVerdicts(now time.Time) {
	t, err := f.opts.Dir.LoadHealth()
	if err != nil {
		f.opts.Log.Error("verdict table on disk refused; endpoints count as never judged", "err", err)
		return
	}
	f.latches.merge(nil, healthpb.ParseLatches(t.GetLatches(), now))
	f.latchesSaved = len(f.latches) > 0
	f.shareLatches()
	if len(t.GetTargets()) == 0 {
		return
	}
	age := healthpb.MaxAge
	if t.GetSaveTime() != nil {
		age = min(max(now.Sub(t.GetSaveTime().AsTime()), 0), age)
	}
	f.setHealthAge(now, age)
	for _, m := range t.GetTargets() {
		f.verdicts[m.GetTarget()] = healthpb.ParseTargetHealth(m, now.Add(-age))
	}
}

// Run follows until ctx ends; then it saves the verdict table.
func (f *Follower) Run(ctx context.Context) error {
	t := time.NewTicker(tick)
	defer t.Stop()
	// The disk goes on until the last table is handed over.
	diskCtx, stopDisk := context.WithCancel(context.WithoutCancel(ctx))
	saved := make(chan struct{})
	go func() { defer close(saved); f.disk.run(diskCtx) }()
	defer func() {
		f.saveVerdicts(time.Now())
		stopDisk()
		if f.fetching {
			<-f.plans
		}
		<-saved
	}()
	for {
		f.step(ctx, time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		case <-f.wake:
		case r := <-f.plans:
			f.fetching = false
			f.finish(r, time.Now())
		}
	}
}

func (f *Follower) step(ctx context.Context, now time.Time) {
	sums := make([]feed.Summary, len(f.sources))
	for i := range f.sources {
		sums[i] = f.sources[i].sub.Summary(now)
	}
	f.reviewOffers(sums)
	f.chooseController(sums)
	f.takeLatches(now)
	f.takeBreakGlass(now)
	f.takeVerdicts(sums, now)
	f.advance(now)
	f.compare(sums, now)
	f.seekPlan(ctx, sums, now)
	if age := now.Sub(f.savedAt); f.unsaved && age >= saveHealthAfter || f.following >= 0 && age >= saveHealthEvery {
		f.saveVerdicts(now)
	}
}

// publish has answers made by s before it says that they are.
func (f *Follower) publish(s *Serving) {
	f.opts.Publish(s)
	f.serving.Store(s)
}

func (f *Follower) generation() regions.Generation {
	if s := f.serving.Load(); s != nil {
		return s.Plan.Generation
	}
	return regions.Generation{}
}

func generation(u *pb.PlanUpdate) regions.Generation {
	return regions.Generation{Epoch: u.GetGeneration().GetEpoch(), Revision: u.GetGeneration().GetRevision()}
}
