package probes

import (
	"container/heap"
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead-dns/fairlead/probes/check"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
)

// firstSpread is how far apart the first checks of new targets begin at most.
const firstSpread = time.Second

// jitter is the part of an interval by which a check may come later than its
// phase, so that nothing else at the target that is periodic meets each of them.
const jitter = 40

// overdueAfter is how many intervals a target may go without a check before the
// agent stops vouching for it.
const overdueAfter = 3

// schedule says when which target is checked. The agent's goroutine owns it.
//
// A target is checked when the time since 1970 modulo the interval is its phase,
// a hash of agent and target. So each agent spreads its targets evenly over the
// interval, the agents come to a target at moments that have nothing to do with
// each other, and a restart of either changes neither. The time is that of the
// clock when the agent began and goes on evenly from there: a clock that is set
// moves no check.
type schedule struct {
	jobs  map[string]*job
	queue queue
	plans map[*pb.HealthCheckSpec]*plan

	agent string
	start time.Time
	wall  int64 // Unix time at start, in nanoseconds
	rand  *rand.Rand
}

// plan is what is done with the targets of one health check.
type plan struct {
	spec   *pb.HealthCheckSpec
	timing check.Timing
	// check is nil when the specification cannot be carried out; broken says why.
	check  check.Check
	broken string
}

// state is what a job's check does.
type state uint8

// The states: no check is due, or it waits for a budget, or it runs.
const (
	idle state = iota
	waiting
	running
)

// job is one target.
type job struct {
	*page   // its opinion
	address string
	plan    *plan
	place   *place
	trail   *trail
	phase   uint64 // of the interval, as a fraction of 2^64
	since   time.Time
	due     time.Time
	wanted  time.Time // when the check that waits or runs was due
	at      int       // in the queue
	state   state
	heldBy  stage // while waiting
	gone    bool  // from the schedule: a result that comes in still is ignored

	panicked bool // a check of it; owned by the worker that runs one, of which there is one at most
}

func newSchedule(agent string, start time.Time, r *rand.Rand) *schedule {
	return &schedule{
		jobs: map[string]*job{}, plans: map[*pb.HealthCheckSpec]*plan{},
		agent: agent, start: start, wall: start.UnixNano(), rand: r,
	}
}

// makeCheck makes the check of a specification.
type makeCheck func(*pb.HealthCheckSpec) (check.Check, error)

// change is what became of the jobs when assignments were taken: those that are
// gone for good, those that are new, and those that were given up for a job of
// the same target that begins anew.
type change struct {
	removed, added []*job
	replaced       []replacement
}

type replacement struct{ old, anew *job }

// assign makes the assignments, and only them, the schedule. What several lists
// name is one job, as the first list has it.
//
//	target   probe, address   timing    then
//	-------  ---------------  --------  ------------------------------------------
//	new      -                -         checked soon, at a random moment
//	known    same             same      nothing
//	known    same             other     keeps its opinion; the new timing from the next check on
//	known    other            -         begins anew: what was seen was another thing
//	gone     -                -         dropped, with its opinion
func (s *schedule) assign(lists [][]assigned, build makeCheck, now time.Time) change {
	var c change
	named := make(map[string]bool, len(s.jobs))
	plans := make(map[*pb.HealthCheckSpec]*plan, len(s.plans))
	for _, list := range lists {
		for _, a := range list {
			if a.target == "" || named[a.target] {
				continue
			}
			named[a.target] = true
			p := plans[a.spec]
			if p == nil {
				if p = s.plans[a.spec]; p == nil {
					p = newPlan(a.spec, build)
				}
				plans[a.spec] = p
			}
			old := s.jobs[a.target]
			switch {
			case old == nil:
				c.added = append(c.added, s.add(a, p, now))
			case old.address != a.address || !sameProbe(old.plan, p):
				s.drop(old)
				c.replaced = append(c.replaced, replacement{old, s.add(a, p, now)})
			case old.plan != p:
				s.retime(old, p, now)
			}
		}
	}
	for target, j := range s.jobs {
		if !named[target] {
			s.drop(j)
			c.removed = append(c.removed, j)
		}
	}
	s.plans = plans
	return c
}

func newPlan(spec *pb.HealthCheckSpec, build makeCheck) *plan {
	p := &plan{spec: spec, timing: check.TimingOf(spec)}
	var err error
	if p.check, err = build(spec); err != nil {
		p.check, p.broken = nil, short(err.Error())
	}
	return p
}

// sameProbe tells whether two plans look at the same thing, and differ at most in
// when they do and in what the controllers make of it.
func sameProbe(a, b *plan) bool {
	return a == b || proto.Equal(whatIsProbed(a.spec), whatIsProbed(b.spec))
}

func whatIsProbed(spec *pb.HealthCheckSpec) *pb.HealthCheckSpec {
	return &pb.HealthCheckSpec{Probe: spec.GetProbe(), AddressFamily: spec.GetAddressFamily()}
}

func (s *schedule) add(a assigned, p *plan, now time.Time) *job {
	sum := sha256.Sum256([]byte(s.agent + "\x00" + a.target))
	j := &job{
		page: &page{target: a.target}, address: a.address, plan: p, since: now,
		phase: binary.BigEndian.Uint64(sum[:]),
	}
	if j.due = s.after(j, now); p.timing.Interval > firstSpread {
		j.due = now.Add(part(bits.RotateLeft64(j.phase, 32), firstSpread))
	} else if latest := now.Add(firstSpread); j.due.After(latest) {
		j.due = latest
	}
	s.jobs[j.target] = j
	heap.Push(&s.queue, j)
	return j
}

// retime gives a job a new timing.
func (s *schedule) retime(j *job, p *plan, now time.Time) {
	was := j.plan.timing.Interval
	if j.plan = p; was != p.timing.Interval {
		s.put(j, s.after(j, now))
	}
}

// put sets when a job is due.
func (s *schedule) put(j *job, due time.Time) {
	j.due = due
	heap.Fix(&s.queue, j.at)
}

func (s *schedule) drop(j *job) {
	heap.Remove(&s.queue, j.at)
	j.gone = true
	delete(s.jobs, j.target)
}

// next is when the next job is due; ok is false when there is none.
func (s *schedule) next() (due time.Time, ok bool) {
	if len(s.queue) == 0 {
		return time.Time{}, false
	}
	return s.queue[0].due, true
}

// pop returns a job that is due, with the moment when it was, and sets when it is
// due again; nil: none is. What was missed while the process stood still is not
// made up for.
func (s *schedule) pop(now time.Time) (*job, time.Time) {
	if len(s.queue) == 0 || s.queue[0].due.After(now) {
		return nil, time.Time{}
	}
	j := s.queue[0]
	due := j.due
	s.put(j, s.after(j, now))
	return j, due
}

// after is the next time that is a job's phase, and a little later.
func (s *schedule) after(j *job, now time.Time) time.Time {
	interval := j.plan.timing.Interval
	phase := int64(part(j.phase, interval))
	rounds := (s.wall+int64(now.Sub(s.start))-phase)/int64(interval) + 1
	at := rounds*int64(interval) + phase
	return s.start.Add(time.Duration(at-s.wall) + time.Duration(s.rand.Int64N(int64(interval/jitter))))
}

// part is a fraction of 2^64 of a duration.
func part(fraction uint64, d time.Duration) time.Duration {
	hi, _ := bits.Mul64(fraction, uint64(d))
	return time.Duration(hi)
}

// confirm brings the next check forward after the first failure of a healthy
// target, and puts it back in its phase when that is over. The check before began
// at a moment, and what was held of the target then was another opinion.
func (s *schedule) confirm(j *job, was health.Opinion, began, now time.Time) {
	switch rapid := j.plan.timing.Confirm; {
	case rapid == 0:
	case doubted(j.opinion):
		if at := latest(began.Add(rapid), now); at.Before(j.due) {
			s.put(j, at)
		}
	case doubted(was):
		s.put(j, s.after(j, now))
	}
}

// doubted tells whether the last checks of a healthy target failed.
func doubted(op health.Opinion) bool { return op.Status == regions.Healthy && op.Failures > 0 }

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// overdue tells whether a job has gone without a check for so long that its
// opinion is no longer vouched for.
func (j *job) overdue(now time.Time) bool {
	last := j.opinion.ObservedAt
	if last.IsZero() {
		last = j.since
	}
	return now.Sub(last) > overdueAfter*j.plan.timing.Interval+j.plan.timing.Timeout
}

// queue is a heap of jobs by due time.
type queue []*job

func (q queue) Len() int           { return len(q) }
func (q queue) Less(a, b int) bool { return q[a].due.Before(q[b].due) }
func (q queue) Swap(a, b int) {
	q[a], q[b] = q[b], q[a]
	q[a].at, q[b].at = a, b
}

func (q *queue) Push(x any) {
	j := x.(*job)
	j.at = len(*q)
	*q = append(*q, j)
}

func (q *queue) Pop() any {
	old := *q
	j := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return j
}
