package probes

import (
	"container/heap"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead-dns/fairlead/probes/check"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/health"
)

// firstSpread is how far apart the first checks of new targets begin at most.
const firstSpread = 100 * time.Millisecond

// overdueAfter is how many intervals a target may go without a check before the
// agent stops vouching for it.
const overdueAfter = 3

// schedule says when which target is checked. The agent's goroutine owns it.
type schedule struct {
	jobs  map[string]*job
	queue queue
	rand  *rand.Rand
}

// job is one target.
type job struct {
	target, address string
	spec            *pb.HealthCheckSpec
	timing          check.Timing
	// check is nil when the specification cannot be carried out; broken says why.
	check  check.Check
	broken string

	opinion health.Opinion
	since   time.Time // when the job began

	due     time.Time
	at      int  // in the queue
	first   bool // no check has begun yet
	running bool
	gone    bool // from the schedule: a result that comes in still is ignored
}

func newSchedule(r *rand.Rand) *schedule { return &schedule{jobs: map[string]*job{}, rand: r} }

// makeCheck makes the check of a specification.
type makeCheck func(*pb.HealthCheckSpec) (check.Check, error)

// change is what became of the opinions when assignments were taken: targets
// that are gone, and jobs that begin anew.
type change struct {
	removed []string
	anew    []*job
}

// assign makes the assignments, and only them, the schedule.
//
//	target   probe, address   timing    then
//	-------  ---------------  --------  ------------------------------------------
//	new      -                -         checked at once, with a little spread
//	known    same             same      nothing
//	known    same             other     keeps its opinion; the new timing from the next check on
//	known    other            -         begins anew: what was seen was another thing
//	gone     -                -         dropped, with its opinion
func (s *schedule) assign(assignments []*pb.Assignment, build makeCheck, now time.Time) change {
	var c change
	assigned := make(map[string]bool, len(assignments))
	for _, a := range assignments {
		target := a.GetTarget()
		if target == "" || assigned[target] {
			continue
		}
		assigned[target] = true
		old := s.jobs[target]
		switch {
		case old == nil:
			s.add(a, build, now)
		case old.address != a.GetAddress() || !sameProbe(old.spec, a.GetCheck()):
			s.drop(old)
			c.anew = append(c.anew, s.add(a, build, now))
		case !proto.Equal(old.spec, a.GetCheck()):
			s.retime(old, a.GetCheck(), build, now)
		}
	}
	for target, j := range s.jobs {
		if !assigned[target] {
			s.drop(j)
			c.removed = append(c.removed, target)
		}
	}
	return c
}

// sameProbe tells whether two specifications differ in their timing only.
func sameProbe(a, b *pb.HealthCheckSpec) bool {
	return proto.Equal(
		&pb.HealthCheckSpec{Probe: a.GetProbe()},
		&pb.HealthCheckSpec{Probe: b.GetProbe()})
}

func (s *schedule) add(a *pb.Assignment, build makeCheck, now time.Time) *job {
	j := &job{target: a.GetTarget(), address: a.GetAddress(), first: true, since: now}
	j.specify(a.GetCheck(), build)
	j.due = now.Add(s.upTo(min(j.timing.Interval/10, firstSpread)))
	s.jobs[j.target] = j
	heap.Push(&s.queue, j)
	return j
}

// specify takes a specification.
func (j *job) specify(spec *pb.HealthCheckSpec, build makeCheck) {
	j.spec, j.timing, j.broken = spec, check.TimingOf(spec), ""
	var err error
	if j.check, err = build(spec); err != nil {
		j.check, j.broken = nil, err.Error()
	}
}

// retime gives a job a new timing. The next check is not put off beyond the new
// interval.
func (s *schedule) retime(j *job, spec *pb.HealthCheckSpec, build makeCheck, now time.Time) {
	j.specify(spec, build)
	if latest := now.Add(j.timing.Interval); j.due.After(latest) {
		j.due = latest
		heap.Fix(&s.queue, j.at)
	}
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

// pop returns a job that is due, and sets when it is due again; nil: none is.
//
// The second check comes half to one interval after the first, which spreads
// targets that were assigned together; from then on the phase is kept, also
// across a standstill of the process, so that it does not do everything at once
// when it wakes up.
func (s *schedule) pop(now time.Time) *job {
	if len(s.queue) == 0 || s.queue[0].due.After(now) {
		return nil
	}
	j := s.queue[0]
	interval := j.timing.Interval
	if j.first {
		j.first = false
		j.due = now.Add(interval/2 + s.upTo(interval/2))
	} else {
		j.due = j.due.Add(interval * (1 + now.Sub(j.due)/interval))
	}
	heap.Fix(&s.queue, j.at)
	return j
}

// overdue tells whether a job has gone without a check for so long that its
// opinion is no longer vouched for.
func (j *job) overdue(now time.Time) bool {
	last := j.opinion.ObservedAt
	if last.IsZero() {
		last = j.since
	}
	return now.Sub(last) > overdueAfter*j.timing.Interval+j.timing.Timeout
}

func (s *schedule) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(s.rand.Int64N(int64(d)))
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
