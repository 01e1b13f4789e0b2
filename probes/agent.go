package probes

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead-dns/fairlead/probes/check"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
)

// standstill is how far beyond its timeout a check may end before the fault is
// the agent's: then the process did not run while the target answered.
const standstill = 500 * time.Millisecond

// maxReason bounds an opinion's reason, in bytes; controllers take no more.
const maxReason = 256

// Agent probes and reports. Make it with New; Run must run.
type Agent struct {
	o           Options
	m           *metrics
	incarnation uint64
	build       makeCheck

	book      *book
	follow    *follow
	reporters []*reporter
	results   chan result
	slots     chan struct{} // one for each check that runs

	ran      atomic.Bool
	targets  atomic.Int64
	schedule *schedule // owned by Run
}

// result is the end of one check.
type result struct {
	job     *job
	at      time.Time
	outcome check.Outcome
}

// New makes an agent. It starts nothing.
func New(o Options) (*Agent, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	o.Log = o.Log.With("agent", o.Name)
	checks := check.Options{Guard: check.NewGuard(o.AllowTargets), Version: o.Version}
	a := &Agent{
		o: o, m: m, incarnation: rand.Uint64(),
		build:    func(spec *pb.HealthCheckSpec) (check.Check, error) { return check.New(spec, checks) },
		book:     newBook(),
		follow:   newFollow(o.Log),
		results:  make(chan result, 64),
		slots:    make(chan struct{}, o.MaxConcurrent),
		schedule: newSchedule(rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))),
	}
	for _, c := range o.Controllers {
		a.reporters = append(a.reporters, newReporter(a, c))
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

	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if due, ok := a.schedule.next(); ok {
			timer.Reset(time.Until(due))
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-a.follow.wake:
			a.assign(time.Now())
		case r := <-a.results:
			a.note(r)
		case <-timer.C:
			now := time.Now()
			for j := a.schedule.pop(now); j != nil; j = a.schedule.pop(now) {
				a.turn(ctx, &others, j, now)
			}
		}
	}
}

// assign takes the newest assignments.
func (a *Agent) assign(now time.Time) {
	c := a.schedule.assign(a.follow.take().GetAssignments(), a.build, now)
	a.book.remove(c.removed)
	for _, j := range c.anew {
		a.book.put(j.target, health.Opinion{Since: now, Reason: "the check has changed"})
	}
	a.targets.Store(int64(len(a.schedule.jobs)))
	a.m.targets.Set(float64(len(a.schedule.jobs)))
}

// turn begins a job's check, unless the one before still runs.
func (a *Agent) turn(ctx context.Context, others *sync.WaitGroup, j *job, now time.Time) {
	switch {
	case j.check == nil:
		a.take(j, health.Abstain(j.opinion, now, j.broken))
		return
	case j.running:
		a.m.skipped.Inc()
		if j.overdue(now) {
			a.take(j, health.Abstain(j.opinion, now, "checks are overdue: this agent has too much to do"))
		}
		return
	}
	j.running = true
	probe, address, timeout := j.check, j.address, j.timing.Timeout
	others.Go(func() {
		select {
		case a.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		a.m.running.Inc()
		began := time.Now()
		out := probe.Probe(ctx, address)
		a.m.running.Dec()
		<-a.slots
		if out.Result == check.Failed && time.Since(began) > timeout+standstill {
			out = check.Outcome{Reason: "this agent stood still during the check"}
		}
		select {
		case a.results <- result{job: j, at: time.Now(), outcome: out}:
		case <-ctx.Done():
		}
	})
}

// note takes the result of a check.
func (a *Agent) note(r result) {
	j, out := r.job, r.outcome
	j.running = false
	a.m.checks.WithLabelValues(out.Result.String()).Inc()
	if out.Result != check.Abstained {
		a.m.durations.Observe(out.Latency.Seconds())
	}
	if j.gone {
		return
	}
	if out.Result == check.Abstained {
		a.take(j, health.Abstain(j.opinion, r.at, out.Reason))
		return
	}
	obs := health.Observation{At: r.at, OK: out.Result == check.Passed, Reason: out.Reason, Latency: out.Latency}
	a.take(j, health.Step(j.opinion, obs, j.timing.Thresholds))
}

// take makes an opinion the job's own and gives it to the streams.
func (a *Agent) take(j *job, op health.Opinion) {
	op.Reason = strings.ToValidUTF8(op.Reason[:min(len(op.Reason), maxReason)], "")
	if was := j.opinion.Status; was != op.Status && was != regions.Unknown {
		a.o.Log.Info("opinion changed", "target", j.target, "from", was.String(), "to", op.Status.String(), "why", op.Reason)
	}
	j.opinion = op
	a.book.put(j.target, op)
}

// Ready says why the agent does no useful work yet; nil: it does.
func (a *Agent) Ready() error {
	if a.follow.take() == nil {
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
	Generation  regions.Generation
	Targets     int
	Controllers []ControllerStatus
}

// Status tells what the agent does now.
func (a *Agent) Status() Status {
	s := Status{Generation: a.follow.current(), Targets: int(a.targets.Load())}
	for _, r := range a.reporters {
		s.Controllers = append(s.Controllers, r.status())
	}
	return s
}
