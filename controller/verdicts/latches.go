package verdicts

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
)

const (
	// maxUnplaced bounds the latches kept for groups that no plan holds yet.
	maxUnplaced = 10_000
	// maxAhead is how far a trip may be above what is known here. Each trip needs
	// a release of the one before, and releases are in the plan; so whoever tells
	// of one further above has made it up, and no operator could release it.
	maxAhead = 1000
)

// toldLatch is one trip of one latch. Trips that somebody told of are kept apart
// until there is something to measure them by, so that one that cannot be hides
// none that is.
type toldLatch struct {
	health.LatchKey
	trip uint64
}

// told is what somebody told, until the plan is there.
type told map[toldLatch]regions.Latch

func (m told) add(latch regions.Latch) {
	key := toldLatch{health.KeyOf(latch), latch.Trip}
	if old, had := m[key]; had {
		m[key] = health.MergeLatch(old, latch)
	} else if len(m) < maxUnplaced {
		m[key] = latch
	}
}

// latches are the regions of services that wait for a person.
type latches struct {
	groups []latchGroup
	byKey  map[health.LatchKey]int
	// standing are those that stand. unplaced are those that were told of groups
	// that the plan does not hold, while the judge is not ready: there may be none
	// yet. Afterwards what the plan does not hold has no latch, and gets none that
	// is older than its policy when it holds it again.
	standing map[health.LatchKey]regions.Latch
	unplaced told
	// list is standing in order, as published; nil: to be made anew.
	list  []regions.Latch
	dirty []int
}

// latchGroup is a group with its targets by index, -1 without one.
type latchGroup struct {
	LatchGroup
	key     health.LatchKey
	targets [][2]int
	dirty   bool
}

func newLatches() latches {
	return latches{
		byKey: map[health.LatchKey]int{}, standing: map[health.LatchKey]regions.Latch{},
		unplaced: told{}, list: []regions.Latch{},
	}
}

func (l *latches) mark(g int) {
	if !l.groups[g].dirty {
		l.groups[g].dirty = true
		l.dirty = append(l.dirty, g)
	}
}

// digest is the digest of the latches that stand.
func (l *latches) digest() health.Digest {
	return health.Digest(0).ReplaceLatches(nil, slices.Collect(maps.Values(l.standing)))
}

// sorted are the latches that stand, in order. Not to be written to.
func (l *latches) sorted() []regions.Latch {
	if l.list == nil {
		l.list = slices.AppendSeq(make([]regions.Latch, 0, len(l.standing)), maps.Values(l.standing))
		health.SortLatches(l.list)
	}
	return l.list
}

// setLatches takes the groups and releases of a plan.
func (t *tally) setLatches(p *Plan, now time.Time) {
	l := &t.latches
	for i := range t.dockets {
		t.dockets[i].groups = nil
	}
	l.groups, l.dirty = make([]latchGroup, 0, len(p.Latches)), nil
	clear(l.byKey)
	for _, spec := range p.Latches {
		key := health.LatchKey{Service: spec.Service, Region: spec.Region}
		if _, twice := l.byKey[key]; twice {
			continue
		}
		g := latchGroup{LatchGroup: spec, key: key}
		n := len(l.groups)
		for _, e := range spec.Targets {
			at := [2]int{-1, -1}
			for f, id := range e {
				if i, ok := t.table.index.at[id]; ok {
					at[f] = i
					if d := &t.dockets[i]; !slices.Contains(d.groups, n) {
						d.groups = append(d.groups, n)
					}
				}
			}
			g.targets = append(g.targets, at)
		}
		l.groups = append(l.groups, g)
		l.byKey[key] = n
		l.mark(n)
	}
	for key, latch := range l.standing {
		_, ours := l.byKey[key]
		switch released := t.released(latch.Name()); {
		case !ours: // nothing waits there any more
			t.unlatch(key)
		case latch.Trip <= released:
			t.unlatch(key)
			t.tell(now, LatchReleased, latch.Name(), fmt.Sprintf("an operator released trip %d: region %s of %s may serve again", latch.Trip, key.Region, key.Service))
		}
	}
	for key, latch := range l.unplaced {
		if _, ours := l.byKey[key.LatchKey]; ours {
			delete(l.unplaced, key)
			t.mergeLatch(latch)
		}
	}
}

// mergeLatch takes what somebody knows of a latch.
func (t *tally) mergeLatch(latch regions.Latch) {
	l, key := &t.latches, health.KeyOf(latch)
	if _, ours := l.byKey[key]; !ours {
		if !t.ready {
			l.unplaced.add(latch)
		}
		return
	}
	released := t.released(latch.Name())
	if latch.Trip <= released {
		return
	}
	old, stands := l.standing[key]
	if believed := max(old.Trip, released); latch.Trip > health.MaxTrip || latch.Trip-min(believed, latch.Trip) > maxAhead {
		t.m.refused.Inc()
		t.log.Warn("latch refused: somebody tells of a trip that cannot be; the nameservers that do must be started without their state",
			"latch", latch.Name(), "trip", latch.Trip, "known", believed)
		return
	}
	if stands {
		latch = health.MergeLatch(old, latch)
	}
	if !stands || latch.Trip != old.Trip || old.Since.Sub(latch.Since) > sinceTolerance {
		t.latch(latch)
	}
}

// latch makes a latch stand.
func (t *tally) latch(latch regions.Latch) {
	key := health.KeyOf(latch)
	t.unlatch(key)
	t.latches.standing[key] = latch
	t.digest = t.digest.AddLatch(latch)
}

// unlatch makes a latch stand no more.
func (t *tally) unlatch(key health.LatchKey) {
	if old, stands := t.latches.standing[key]; stands {
		t.digest = t.digest.RemoveLatch(old)
		delete(t.latches.standing, key)
	}
	t.latches.list = nil
	t.changed = true
}

// judgeLatches trips the latches of regions that are out of service. That is
// read off the verdicts that stand, not off their changes: a controller that has
// just started trips alike, and one that is released while its region is out
// still trips anew. One that has only just started waits with that: what it
// judges from nothing may be another verdict once somebody tells what was before,
// and a latch does not forget.
func (t *tally) judgeLatches(now time.Time) {
	l := &t.latches
	if !t.planned || now.Sub(t.waitFrom) < t.seedWait {
		return
	}
	for _, n := range l.dirty {
		g := &l.groups[n]
		g.dirty = false
		out, left, endpoints := t.outOfService(g)
		if !out {
			continue
		}
		name := regions.FailbackLatch(g.Service, g.Region)
		old := l.standing[g.key]
		old.Service, old.Region = g.Service, g.Region
		latch := health.Trip(old, t.released(name), now)
		if latch.Trip == old.Trip || latch.Trip <= t.released(name) {
			continue // it stands, or all that can be are released
		}
		t.latch(latch)
		t.tell(now, LatchTripped, name, fmt.Sprintf("region %s of %s is out of service with %d of %d endpoints healthy, and waits for a release of trip %d",
			g.Region, g.Service, left, endpoints, latch.Trip))
	}
	l.dirty = l.dirty[:0]
}

// outOfService tells whether a region is out by verdicts alone. Where A and AAAA
// choose one region together an endpoint is up while one of its families is;
// where they choose by themselves the region is out as soon as it is for one of
// the families that it has.
func (t *tally) outOfService(g *latchGroup) (out bool, left, endpoints int) {
	down := func(i int) bool {
		v := &t.table.get(i).Verdict
		if g.Confirmed {
			return v.ConfirmedStanding().Verdict == regions.Unhealthy
		}
		return v.Last == regions.Unhealthy
	}
	var all, lost [2]int
	for _, e := range g.targets {
		up := 0
		for f, i := range e {
			if i < 0 {
				continue
			}
			all[f]++
			if down(i) {
				lost[f]++
			} else {
				up++
			}
		}
		if e[0] < 0 && e[1] < 0 {
			continue
		}
		if endpoints++; up > 0 {
			left++
		}
	}
	if !g.Independent {
		return health.OutOfService(endpoints, endpoints-left, g.MinHealthyPercent), left, endpoints
	}
	for f := range all {
		if health.OutOfService(all[f], lost[f], g.MinHealthyPercent) {
			return true, all[f] - lost[f], all[f]
		}
	}
	return false, left, endpoints
}
