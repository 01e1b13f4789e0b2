package probes

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead-dns/fairlead/probes/check"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
)

// maxReason bounds an opinion's reason, in bytes; controllers take no more.
const maxReason = 256

// Agent probes and reports. Make it with New; Run must run.
type Agent struct {
	o           Options
	m           *metrics
	incarnation uint64

	book      *book
	follow    *follow
	history   *history
	isolation *isolation
	reporters []*reporter

	ran     atomic.Bool
	targets atomic.Int64

	// Owned by Run.
	schedule *schedule
	budget   *budget
	workers  workers
}

// New makes an agent. It starts nothing.
func New(o Options) (*Agent, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	now := time.Now()
	history := newHistory(now, o.HistoryBytes)
	m, err := newMetrics(o.Registerer, history)
	if err != nil {
		return nil, err
	}
	o.Log = o.Log.With("agent", o.Name)
	a := &Agent{
		o: o, m: m, incarnation: o.random(ofIncarnation).Uint64(),
		book: newBook(), follow: newFollow(o.Log), history: history,
		isolation: newIsolation(&o, m),
		schedule:  newSchedule(o.Name, now, o.random(ofSchedule)),
		budget:    newBudget(&o, func(s stage) { m.delayed[s].Inc() }),
		workers:   workers{log: o.Log, m: m, results: make(chan result, min(o.MaxConcurrent, 1024))},
	}
	for i, c := range o.Controllers {
		a.reporters = append(a.reporters, newReporter(a, c, o.random(ofReporters+i)))
	}
	return a, nil
}

// Run probes and reports until ctx ends. It runs once.
func (a *Agent) Run(ctx context.Context) error {
	if a.ran.Swap(true) {
		return errors.New("probes: an agent runs only once")
	}
	for _, r := range a.reporters {
		if err := r.prepare(); err != nil {
			for _, r := range a.reporters {
				if r.conn != nil {
					r.conn.Close()
				}
			}
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	var others sync.WaitGroup
	defer others.Wait()
	defer cancel()
	for _, r := range a.reporters {
		others.Go(func() { r.run(ctx) })
	}
	others.Go(func() { a.isolation.run(ctx, a.follow.peers) })
	a.work(ctx, &others)
	return nil
}

// work runs the schedule until ctx ends.
func (a *Agent) work(ctx context.Context, others *sync.WaitGroup) {
	tidy := time.NewTicker(time.Second)
	defer tidy.Stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		now := time.Now()
		a.begin(ctx, others, now)
		if due, ok := a.next(); ok {
			timer.Reset(due.Sub(now))
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			return
		case <-a.follow.wake:
			a.assign(time.Now())
		case r := <-a.workers.results:
			a.note(r)
			for range len(a.workers.results) {
				a.note(<-a.workers.results)
			}
		case now := <-tidy.C:
			a.follow.expire(now)
			a.workers.trim(now)
		case <-timer.C:
		}
	}
}

// next is when there is something to begin; ok is false when there is nothing.
func (a *Agent) next() (at time.Time, ok bool) {
	at, ok = a.schedule.next()
	if later, waits := a.budget.next(); waits && (!ok || later.Before(at)) {
		return later, true
	}
	return at, ok
}

// begin begins the checks that are due, those that have waited first.
func (a *Agent) begin(ctx context.Context, others *sync.WaitGroup, now time.Time) {
	for j := a.budget.due(now); j != nil; j = a.budget.due(now) {
		a.start(ctx, others, j)
	}
	for j, due := a.schedule.pop(now); j != nil; j, due = a.schedule.pop(now) {
		switch {
		case j.plan.check == nil:
			a.take(j, health.Abstain(j.opinion, now, j.plan.broken))
		case j.state != idle:
			a.m.skipped.Inc()
			if j.overdue(now) {
				a.take(j, health.Abstain(j.opinion, now, overdue(j)))
			}
		default:
			j.wanted = due
			if a.budget.ask(j, now) {
				a.start(ctx, others, j)
			}
		}
	}
	a.m.waiting.Set(float64(a.budget.waiting))
}

func (a *Agent) start(ctx context.Context, others *sync.WaitGroup, j *job) {
	a.m.running.Inc()
	a.workers.do(ctx, others, task{job: j, check: j.plan.check, address: j.address, timeout: j.plan.timing.Timeout})
}

// overdue says why a job has gone without a check for too long.
func overdue(j *job) string {
	why := "this agent has too much to do"
	if j.state == waiting && j.heldBy <= addressRate {
		why = "too many are wanted of this address"
	}
	return "checks are overdue: " + why
}

// assign takes the assignments.
func (a *Agent) assign(now time.Time) {
	lists, _ := a.follow.take()
	c := a.schedule.assign(lists, a.o.NewCheck, now)
	removed := make([]*page, 0, len(c.removed))
	for _, j := range c.removed {
		removed = append(removed, j.page)
		a.history.close(j.trail, false)
		a.budget.leave(j)
	}
	for _, j := range c.added {
		j.trail = a.history.open(j.target)
		a.budget.enter(j)
	}
	replaced := make([][2]*page, 0, len(c.replaced))
	for _, r := range c.replaced {
		replaced = append(replaced, [2]*page{r.old.page, r.anew.page})
		a.history.close(r.old.trail, true)
		r.anew.trail = a.history.open(r.anew.target)
		a.budget.enter(r.anew)
		a.budget.leave(r.old)
	}
	a.book.change(removed, replaced, health.Opinion{Since: now, Reason: "the check has changed"})
	a.targets.Store(int64(len(a.schedule.jobs)))
	a.m.targets.Set(float64(len(a.schedule.jobs)))
}

// note takes the result of a check.
func (a *Agent) note(r result) {
	j, out := r.job, r.outcome
	a.budget.done(j)
	a.workers.rest(r.worker)
	a.m.running.Dec()
	a.m.checks[out.Result].Inc()
	a.m.starts.Observe(r.began.Sub(j.wanted).Seconds())
	if out.Result != check.Abstained {
		a.m.durations.Observe(out.Latency.Seconds())
	}
	if j.gone {
		return
	}
	out.Reason = short(out.Reason)
	a.history.add(j.trail, r.at, out)
	was := j.opinion
	if out.Result == check.Abstained {
		a.take(j, health.Abstain(was, r.at, out.Reason))
	} else {
		obs := health.Observation{At: r.at, OK: out.Result == check.Passed, Reason: out.Reason, Latency: out.Latency}
		a.take(j, health.Step(was, obs, j.plan.timing.Thresholds))
	}
	a.schedule.confirm(j, was, r.began, time.Now())
}

// take makes an opinion the job's own and gives it to the streams.
func (a *Agent) take(j *job, op health.Opinion) {
	if was := j.opinion.Status; was != op.Status && was != regions.Unknown {
		a.o.Log.Info("opinion changed", "target", j.target, "from", was.String(), "to", op.Status.String(), "why", op.Reason)
	}
	a.book.put(j.page, op)
}

// short makes a reason one that controllers take.
func short(reason string) string {
	return strings.ToValidUTF8(reason[:min(len(reason), maxReason)], "")
}

// Ready says why the agent does no useful work yet; nil: it does.
func (a *Agent) Ready() error {
	if _, ok := a.follow.take(); !ok {
		return errors.New("no controller has sent assignments yet")
	}
	return nil
}

// Health says what is wrong now; nil: it reports to at least one controller.
func (a *Agent) Health() error {
	var errs []error
	for _, s := range a.Status().Controllers {
		if s.Connected {
			return nil
		}
		errs = append(errs, s.err())
	}
	return errors.Join(errs...)
}

// Status is what an agent does now.
type Status struct {
	// Generation is that of the assignments it works on; zero: none yet.
	Generation regions.Generation
	Targets    int
	// Isolated is why the agent holds itself to be cut off, and since when; empty:
	// it does not.
	Isolated      string
	IsolatedSince time.Time
	// HistoryBytes is what recorded observations take, HistoryAge how far they
	// reach back.
	HistoryBytes int
	HistoryAge   time.Duration
	Controllers  []ControllerStatus
}

// Status tells what the agent does now.
func (a *Agent) Status() Status {
	s := Status{
		Generation: a.follow.current(), Targets: int(a.targets.Load()),
		HistoryBytes: a.history.bytes(), HistoryAge: a.history.oldest(time.Now()),
	}
	if why, since := a.isolation.why(); why != "" {
		s.Isolated, s.IsolatedSince = why, since
	}
	for _, r := range a.reporters {
		s.Controllers = append(s.Controllers, r.status())
	}
	return s
}
