package verdicts

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
)

const (
	// maxHeldShown bounds the held targets that the status names.
	maxHeldShown = 100
	// easeFor is how long no held target may have become HEALTHY before others can
	// pass because the step is within the limits without it: when a path is mended,
	// what was held comes back over the time of a check's interval, and some target
	// is the last.
	easeFor = 10 * time.Second
)

// guard is what the mass-withdrawal guard knows. Whether a hold goes on is a
// function of the losses that there are now and of when vantages saw them first,
// which their opinions tell; so a controller that has just started and was told
// what is held goes on alike.
type guard struct {
	policy   regions.Guard
	released uint64
	// trip is the highest one that is known.
	trip uint64

	// held are the targets whose verdict is held.
	held   map[int]struct{}
	since  time.Time
	reason string
	// names are the regions that targets stand in; healthy is how many of each are
	// HEALTHY.
	names   []string
	byName  map[string]int
	healthy []int
	// turned are the targets that turned UNHEALTHY, by when; unsorted: not quite.
	turned   []loss
	unsorted bool
	// due: losses or holds have changed since the last review, which made status.
	due    bool
	status GuardStatus
	// What became of held targets in this settling, and when one was HEALTHY again.
	confirmed, recovered int
	eased                time.Time
	// alarmed is when an alarm was raised where it holds nothing.
	alarmed time.Time

	stamps []uint32 // by target: counted in the step of that number
	stamp  uint32
}

// loss is a target that is lost, and since when. An open one is not confirmed,
// and the guard decides whether its verdict is held.
type loss struct {
	target int
	at     time.Time
}

// losing is a loss that would turn a verdict now.
type losing struct {
	loss
	decision health.Decision
}

// on tells whether losses that are not confirmed are looked at; holds, whether
// those under a trip are held.
func (g *guard) on() bool { return g.policy.MaxPercent > 0 }
func (g *guard) holds(trip uint64) bool {
	return g.on() && !g.policy.AlarmOnly && trip > g.released
}

// index is the number of a region that targets stand in.
func (g *guard) index(name string) int {
	i, ok := g.byName[name]
	if !ok {
		i = len(g.names)
		g.names = append(g.names, name)
		g.byName[name] = i
	}
	return i
}

// clear forgets which targets there are.
func (g *guard) clear() {
	clear(g.held)
	g.turned, g.stamps = g.turned[:0], nil
}

// setGuard takes the guard's policy and release.
func (t *tally) setGuard(p regions.Guard, now time.Time) {
	g := &t.guard
	released := t.released(regions.GuardLatch)
	if p == g.policy && released == g.released {
		return
	}
	was := g.released
	g.policy, g.released = p, released
	g.trip = max(g.trip, released)
	n := 0
	for i := range g.held {
		t.mark(i)
		if t.table.get(i).Guard <= released {
			n++
		}
	}
	if released > was && n > 0 {
		t.tell(now, GuardReleased, regions.GuardLatch, fmt.Sprintf("an operator released trip %d of the mass-withdrawal guard: %d targets follow the quorum again", released, n))
	}
	g.due, t.noted = true, true
}

// recount makes the counts by target anew.
func (t *tally) recount() {
	g := &t.guard
	g.healthy = append(g.healthy[:0], make([]int, len(g.names))...)
	g.stamps, g.stamp = make([]uint32, len(t.dockets)), 0
	g.turned = g.turned[:0]
	clear(g.held)
	for i := range t.dockets {
		g.note(i, &t.dockets[i], &health.Verdict{}, &t.table.get(i).Verdict)
	}
	g.unsorted, g.due = true, true
}

// note keeps the counts when a verdict changes.
func (g *guard) note(i int, d *docket, old, v *health.Verdict) {
	if old.Guard > 0 || v.Guard > 0 {
		g.due = true
		g.trip = max(g.trip, v.Guard)
	}
	if v.Guard > 0 {
		g.held[i] = struct{}{}
	} else {
		delete(g.held, i)
	}
	if old.Last == v.Last {
		return
	}
	g.due = true
	for _, p := range d.places {
		if p >= len(g.healthy) {
			continue // the counts are to be made anew
		}
		if old.Last == regions.Healthy {
			g.healthy[p]--
		}
		if v.Last == regions.Healthy {
			g.healthy[p]++
		}
	}
	if v.Last == regions.Unhealthy {
		if n := len(g.turned); n > 0 && v.Since.Before(g.turned[n-1].at) {
			g.unsorted = true
		}
		g.turned = append(g.turned, loss{i, v.Since})
	}
}

// lostAt is when anybody first saw that a target is lost, of those who say so.
func lostAt(votes []health.Vote, now time.Time) time.Time {
	at := now
	for k := range votes {
		if v := &votes[k]; v.CountedAs == regions.Unhealthy && v.Since.Before(at) {
			at = v.Since
		}
	}
	return at
}

// ended counts what becomes of a target that is not held any more.
func (g *guard) ended(trip uint64, d health.Decision, now time.Time) {
	switch {
	case trip == 0:
	case d.Status == regions.Healthy:
		g.recovered++
		g.eased = now
	case d.Confirms():
		g.confirmed++
	}
}

// sort sorts what turned, and forgets what has turned back when there is much of it.
func (g *guard) sort(table *table) {
	if len(g.turned) > 2*len(g.stamps)+64 {
		g.turned = slices.DeleteFunc(g.turned, func(l loss) bool { return table.get(l.target).Last != regions.Unhealthy })
		g.nextStep()
		for k := len(g.turned) - 1; k >= 0; k-- { // of one target the newest stays
			if i := g.turned[k].target; g.stamps[i] == g.stamp {
				g.turned[k].target = -1
			} else {
				g.stamps[i] = g.stamp
			}
		}
		g.turned = slices.DeleteFunc(g.turned, func(l loss) bool { return l.target < 0 })
	}
	if g.unsorted {
		slices.SortStableFunc(g.turned, func(a, b loss) int { return a.at.Compare(b.at) })
		g.unsorted = false
	}
}

// nextStep begins to count each target once.
func (g *guard) nextStep() {
	if g.stamp++; g.stamp == 0 { // once in 4 billion
		clear(g.stamps)
		g.stamp = 1
	}
}

// rule holds or passes the losses that are not confirmed: those that would turn
// a verdict now, and those that are held. A hold goes on while the step that it
// is part of trips.
func (t *tally) rule(now []losing, turned *int, at time.Time) {
	g := &t.guard
	if len(now) == 0 && (!g.due || len(g.held) == 0) {
		return
	}
	open, decisions := make([]loss, 0, len(now)+len(g.held)), make(map[int]health.Decision, len(now))
	for _, l := range now {
		open = append(open, l.loss)
		decisions[l.target] = l.decision
	}
	var vague []int
	for i := range g.held {
		if v := t.table.get(i); v.Quorum == regions.Unhealthy {
			open = append(open, loss{i, lostAt(v.Votes, at)})
		} else {
			vague = append(vague, i)
		}
	}
	for _, s := range t.steps(open, vague) {
		if s.ruling.Trips && !g.policy.AlarmOnly {
			t.holdStep(&s, decisions, turned, at)
		} else {
			t.passStep(&s, decisions, turned, at)
		}
	}
}

// holdStep holds what would turn a verdict now.
func (t *tally) holdStep(s *lossStep, decisions map[int]health.Decision, turned *int, at time.Time) {
	g := &t.guard
	trip, first := g.next()
	for _, l := range s.open {
		if d, now := decisions[l.target]; now {
			t.conclude(l.target, health.Hold(t.table.get(l.target).Verdict, d, trip, at), d, turned)
		}
	}
	g.reason = s.reason(g)
	if first {
		g.since = at
		t.tell(at, GuardHeld, regions.GuardLatch, fmt.Sprintf("trip %d: %s. %s", trip, g.reason, whatToDo(trip)))
	}
}

// passStep lets losses pass, also those that are held, unless others were HEALTHY
// again only just now.
func (t *tally) passStep(s *lossStep, decisions map[int]health.Decision, turned *int, at time.Time) {
	g := &t.guard
	passed, freed := 0, 0
	for _, l := range s.open {
		old := t.table.get(l.target)
		d, now := decisions[l.target]
		switch {
		case now:
			passed++
		case at.Sub(g.eased) < easeFor:
			continue
		default:
			d = t.decide(l.target, at)
			freed++
		}
		t.conclude(l.target, health.Update(old.Verdict, d, at), d, turned)
	}
	switch {
	case s.ruling.Trips && passed > 0: // the guard is to raise an alarm only
		if at.Sub(g.alarmed) >= g.policy.Window {
			t.tell(at, GuardPassed, regions.GuardLatch, s.reason(g)+"; the guard is to raise an alarm only, so they count")
		}
		g.alarmed = at
	case freed > 0 && s.ruling.Whole != "":
		t.tell(at, GuardPassed, regions.GuardLatch, fmt.Sprintf("%s; a region that is dead must fail over, so %d that were held count", s.reason(g), freed))
	case freed > 0:
		t.tell(at, GuardPassed, regions.GuardLatch, fmt.Sprintf("%s; that is within the limits, so %d that were held count", s.reason(g), freed))
	case passed > 0 && s.touched:
		t.tell(at, GuardPassed, regions.GuardLatch, s.reason(g)+"; a region that is dead must fail over, so they count")
	}
}

// next is the trip to hold under: one that stands goes on.
func (g *guard) next() (trip uint64, first bool) {
	if len(g.held) > 0 && g.trip > g.released {
		return g.trip, false
	}
	g.trip = max(g.trip, g.released) + 1
	return g.trip, true
}

// whatToDo is what an operator can do about a hold.
func whatToDo(trip uint64) string {
	return fmt.Sprintf("Their verdicts stay HEALTHY until a second region confirms the loss or they are HEALTHY again; "+
		"if they are lost indeed, release guard trip %d, or drain the region; an agent in another region makes this decide itself", trip)
}

// reviewGuard tells what became of what was held, and makes the status.
func (t *tally) reviewGuard(now time.Time) {
	g := &t.guard
	if !g.due {
		return
	}
	g.due = len(g.held) > 0 && now.Sub(g.eased) < easeFor
	switch {
	case g.confirmed > 0:
		t.tell(now, GuardPassed, regions.GuardLatch, fmt.Sprintf("%d losses that the guard held were confirmed; %d are still held", g.confirmed, len(g.held)))
	case g.recovered > 0 && len(g.held) == 0:
		t.tell(now, GuardReleased, regions.GuardLatch, "what the guard held is HEALTHY again; nothing is held any more")
	}
	g.confirmed, g.recovered = 0, 0
	if len(g.held) == 0 {
		// So that the next trip has the same number at a controller that knows
		// nothing of this one.
		g.trip, g.since, g.eased, g.reason = g.released, time.Time{}, time.Time{}, ""
	} else if g.since.IsZero() {
		g.since, g.reason = now, "held before this controller began to judge"
	}
	if s := t.guardStatus(); !s.equal(g.status) {
		g.status, t.changed = s, true
	}
}

// nextReview is when the review must be done again though nothing happens; zero: never.
func (g *guard) nextReview() time.Time {
	if !g.due || len(g.held) == 0 {
		return time.Time{}
	}
	return g.eased.Add(easeFor)
}

func (s GuardStatus) equal(o GuardStatus) bool {
	return s.Trip == o.Trip && s.Held == o.Held && s.Reason == o.Reason && s.Since.Equal(o.Since) && slices.Equal(s.Targets, o.Targets)
}

// guardStatus is what is held now.
func (t *tally) guardStatus() GuardStatus {
	g := &t.guard
	if len(g.held) == 0 {
		return GuardStatus{}
	}
	s := GuardStatus{Held: len(g.held), Since: g.since, Reason: g.reason}
	for i := range g.held {
		v := t.table.get(i)
		s.Trip = max(s.Trip, v.Guard)
		s.Targets = append(s.Targets, v.ID)
	}
	slices.SortFunc(s.Targets, cmp.Compare[string])
	s.Targets = s.Targets[:min(len(s.Targets), maxHeldShown)]
	s.Reason += ". " + whatToDo(s.Trip)
	return s
}
