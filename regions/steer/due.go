package steer

import (
	"slices"
	"time"
)

// NextChange is the earliest moment at which time alone changes how a service
// is answered, as when a hold-down ends or a ramp takes a step; zero when there
// is none.
func (v *View) NextChange() time.Time {
	var next time.Time
	for _, at := range v.due {
		next = earlier(next, at)
	}
	return next
}

// earlier returns the earlier of two moments, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func earliest(page []*serviceView) time.Time {
	var next time.Time
	for _, sv := range page {
		next = earlier(next, sv.next)
	}
	return next
}

func isDue(at, now time.Time) bool { return !at.IsZero() && !at.After(now) }

// dueAt returns the services whose next change has come.
func (v *View) dueAt(now time.Time) (due []int32) {
	for p, at := range v.due {
		if !isDue(at, now) {
			continue
		}
		for i, sv := range v.services[p] {
			if isDue(sv.next, now) {
				due = append(due, int32(p*pageSize+i))
			}
		}
	}
	return due
}

// evaluateAgain evaluates some services anew. The list is sorted in its place.
func (v *View) evaluateAgain(services []int32) {
	slices.Sort(services)
	services = slices.Compact(services)
	e := evaluator{view: v}
	next := make([]*serviceView, len(services))
	for k, i := range services {
		next[k] = e.evaluate(i)
	}
	was := v.services
	v.services = was.with(services, next)
	// A page's minimum is looked for again only where a service that had it has
	// another: a verdict must not cost a walk over its neighbours.
	var due []time.Time
	stale := map[int32]bool{}
	for k, i := range services {
		sv, before, page := next[k], was.at(i).next, i/pageSize
		if before.IsZero() && sv.next.IsZero() {
			continue
		}
		if due == nil {
			due = slices.Clone(v.due)
		}
		if !before.IsZero() && before.Equal(v.due[page]) {
			stale[page] = true
		}
		due[page] = earlier(due[page], sv.next)
	}
	for page := range stale {
		due[page] = earliest(v.services[page])
	}
	if due != nil {
		v.due = due
	}
}
