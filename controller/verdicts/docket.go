package verdicts

import (
	"container/heap"
	"slices"
	"time"

	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

// docket is what is known of a target beside its verdict and its opinions.
type docket struct {
	// policy is how its ballots are counted; wanted is how many vantages probe it,
	// 0: all. seats are the columns of those that do, ascending; nil: all.
	policy *health.Policy
	wanted int
	seats  []int
	// places are the regions that it stands in, as indexes of the guard's names;
	// groups are the latch groups that hang on it.
	places []int
	groups []int

	// decided by the quorum of this process, since the last pause. origin is what
	// it was decided from: what somebody told, or what stood at the pause, as it
	// was at seeded; nil: from nothing.
	decided bool
	origin  *health.Verdict
	seeded  time.Time

	dirty            bool
	damped, oneSided bool
	// nextAt is when it must be decided anew, alarm its place among the alarms,
	// counted from 1; 0: none.
	nextAt time.Time
	alarm  int
}

// seated tells whether the vantage with that column has a seat.
func (d *docket) seated(column int) bool {
	return d.seats == nil || slices.Contains(d.seats, column)
}

// place takes over what the plan says of each target.
func (t *tally) place(list []planned) {
	policies := map[any]*health.Policy{}
	t.guard.names, t.guard.byName = t.guard.names[:0], map[string]int{}
	for i := range list {
		d, check := &t.dockets[i], list[i].assignment.GetCheck()
		p := policies[check]
		if p == nil {
			counted := healthpb.Policy(check)
			p = &counted
			policies[check] = p
		}
		if d.policy == nil || *d.policy != *p {
			t.mark(i)
		}
		d.policy, d.wanted = p, int(check.GetVantages())
		d.places = d.places[:0]
		for _, name := range list[i].regions {
			if p := t.guard.index(name); !slices.Contains(d.places, p) {
				d.places = append(d.places, p)
			}
		}
	}
	t.recount()
}

func (t *tally) mark(i int) {
	if d := &t.dockets[i]; !d.dirty {
		d.dirty = true
		t.dirty = append(t.dirty, i)
	}
}

func (t *tally) allDirty() {
	t.dirty = t.dirty[:0]
	for i := range t.dockets {
		t.dockets[i].dirty = true
		t.dirty = append(t.dirty, i)
	}
}

// alarms are the targets that must be decided anew at a time, the first one
// first: each at most once, however often its time changes.
type alarms struct{ heap []int }

func (a *alarms) clear() { a.heap = a.heap[:0] }

// set changes when a target must be decided anew; zero: no more.
func (a *alarms) set(i int, at time.Time, dockets []docket) {
	d := &dockets[i]
	if d.nextAt.Equal(at) {
		return
	}
	order := &alarmOrder{a, dockets}
	d.nextAt = at
	switch {
	case at.IsZero():
		heap.Remove(order, d.alarm-1)
	case d.alarm > 0:
		heap.Fix(order, d.alarm-1)
	default:
		heap.Push(order, i)
	}
}

// due takes out a target whose time has come.
func (a *alarms) due(now time.Time, dockets []docket) (i int, ok bool) {
	if at := a.first(dockets); at.IsZero() || at.After(now) {
		return 0, false
	}
	i = heap.Pop(&alarmOrder{a, dockets}).(int)
	dockets[i].nextAt = time.Time{}
	return i, true
}

// first is the earliest time; zero: there is none.
func (a *alarms) first(dockets []docket) time.Time {
	if len(a.heap) == 0 {
		return time.Time{}
	}
	return dockets[a.heap[0]].nextAt
}

// alarmOrder implements heap.Interface.
type alarmOrder struct {
	*alarms
	dockets []docket
}

func (o *alarmOrder) Len() int { return len(o.heap) }
func (o *alarmOrder) Less(i, j int) bool {
	return o.dockets[o.heap[i]].nextAt.Before(o.dockets[o.heap[j]].nextAt)
}
func (o *alarmOrder) Swap(i, j int) {
	o.heap[i], o.heap[j] = o.heap[j], o.heap[i]
	o.dockets[o.heap[i]].alarm, o.dockets[o.heap[j]].alarm = i+1, j+1
}
func (o *alarmOrder) Push(x any) {
	o.heap = append(o.heap, x.(int))
	o.dockets[x.(int)].alarm = len(o.heap)
}
func (o *alarmOrder) Pop() any {
	i := o.heap[len(o.heap)-1]
	o.heap = o.heap[:len(o.heap)-1]
	o.dockets[i].alarm = 0
	return i
}
