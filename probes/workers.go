package probes

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/fairlead-dns/fairlead/probes/check"
)

// standstill is how far beyond its timeout a check may end before the fault is
// the agent's: then the process did not run while the target answered.
const standstill = 500 * time.Millisecond

// workersKept is for how long a worker is kept that nothing needs.
const workersKept = 10 * time.Second

// task is one check to do.
type task struct {
	job     *job
	check   check.Check
	address string
	timeout time.Duration
}

// result is the end of one check.
type result struct {
	worker    *worker
	job       *job
	began, at time.Time
	outcome   check.Outcome
}

// worker does one check after the other.
type worker struct {
	tasks chan task
	log   *slog.Logger
	m     *metrics
}

// workers are goroutines that do checks. Few of them do most of the work: the one
// that has rested the shortest is taken, whose stack has grown already and is
// warm. Their number is that of the checks that run at once, at most.
//
// The agent's goroutine owns it.
type workers struct {
	log     *slog.Logger
	m       *metrics
	results chan result
	resting []*worker
	// spare is how many have rested all the time since trimmed.
	spare   int
	trimmed time.Time
}

// do hands a check to a worker.
func (w *workers) do(ctx context.Context, all *sync.WaitGroup, t task) {
	n := len(w.resting)
	if n == 0 {
		one := &worker{tasks: make(chan task, 1), log: w.log, m: w.m}
		all.Go(func() { one.run(ctx, w.results) })
		one.tasks <- t
		return
	}
	one := w.resting[n-1]
	w.resting[n-1] = nil
	w.resting = w.resting[:n-1]
	w.spare = min(w.spare, n-1)
	one.tasks <- t
}

// rest takes a worker back that has done its check.
func (w *workers) rest(one *worker) { w.resting = append(w.resting, one) }

// trim lets the workers go that nothing has needed for a while.
func (w *workers) trim(now time.Time) {
	if now.Sub(w.trimmed) < workersKept {
		return
	}
	for n := range w.spare {
		close(w.resting[n].tasks)
	}
	kept := copy(w.resting, w.resting[w.spare:])
	clear(w.resting[kept:])
	w.resting = w.resting[:kept]
	w.spare, w.trimmed = kept, now
}

// run does checks until there are none any more.
func (w *worker) run(ctx context.Context, results chan<- result) {
	for {
		select {
		case <-ctx.Done():
			return
		case t, ok := <-w.tasks:
			if !ok {
				return
			}
			began := time.Now()
			out := w.probe(ctx, t)
			at := time.Now()
			if out.Result == check.Failed && at.Sub(began) > t.timeout+standstill {
				out = check.Outcome{Reason: "this agent stood still during the check"}
			}
			select {
			case results <- result{worker: w, job: t.job, began: began, at: at, outcome: out}:
			case <-ctx.Done():
				return
			}
		}
	}
}

// probe does one check. A check that panics has met a defect of this program, by
// what one target answered: it says nothing of that target, and ends neither the
// checks of all the others nor the reports on them. Where it happened is logged
// once for each target, since it comes again with the next check.
func (w *worker) probe(ctx context.Context, t task) (out check.Outcome) {
	defer func() {
		why := recover()
		if why == nil {
			return
		}
		out = check.Outcome{Reason: "the check failed inside this agent"}
		w.m.panics.Inc()
		if !t.job.panicked {
			t.job.panicked = true
			w.log.Error("a check failed inside this agent", "target", t.job.target, "panic", fmt.Sprint(why), "stack", string(debug.Stack()))
		}
	}()
	return t.check.Probe(ctx, t.address)
}
