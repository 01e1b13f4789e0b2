package verdicts

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/seats"
)

// maxLogged bounds the verdict changes that are logged one by one in one settling.
const maxLogged = 20

// tally is all that the judge knows. Run's goroutine owns it; `now` is an
// argument throughout, and nothing in it waits.
type tally struct {
	freshFor, seedWait time.Duration
	log                *slog.Logger
	m                  *metrics
	// base is what opinions count time from.
	base time.Time

	planned    bool
	generation regions.Generation
	releases   map[string]uint64
	vantages   map[string]*vantage
	voters     []*vantage // all vantages, by region and name
	roster     []seats.Agent
	views      []view // by index of voters: how each stands in this settling

	// What the targets were made of (Plan.Assignments, Plan.Regions), once listed.
	listed      bool
	assignments []*pb.Assignment
	standIn     [][]string

	// By target: the verdicts, what is known beside them, and the opinions.
	table   *table
	dockets []docket
	slots   slots
	pending map[string]seed
	say     []int          // room for look
	ballot  []health.Voter // room for decide

	digest   health.Digest
	statuses [3]int // targets by last verdict
	damped   int    // targets with a vote that is damped
	oneSided int    // targets on which one of two regions decides alone

	// dirty are the targets to judge again in this settling.
	dirty  []int
	alarms alarms
	// changed is set when there is something to publish: in the table, or only
	// about agents and readiness.
	changed, noted bool
	events         []Event

	guard   guard
	latches latches
	duties  duties

	ready    bool
	waitFrom time.Time // of the first plan, or of the last pause
	evidence time.Time // see evidenceAt
	pauses   uint64    // how many pauses of the process were dealt with
}

func newTally(o *Options, m *metrics) *tally {
	return &tally{
		freshFor: o.FreshFor, seedWait: o.SeedWait, log: o.Log, m: m, base: time.Now(),
		vantages: map[string]*vantage{}, table: newTable(nil, nil), pending: map[string]seed{},
		guard: guard{held: map[int]struct{}{}}, latches: newLatches(),
	}
}

// plan takes a plan, or not when it is older than the present one.
func (t *tally) plan(p *Plan, now time.Time) (taken bool) {
	if t.planned && p.Generation.Compare(t.generation) < 0 {
		t.log.Warn("older plan not taken", "generation", p.Generation.String(), "have", t.generation.String())
		return false
	}
	if !t.planned {
		t.planned, t.waitFrom = true, now
		t.changed = true
	}
	t.generation, t.noted, t.releases = p.Generation, true, p.Releases
	t.registerAgents(p.Agents, now)
	t.setTargets(p, now)
	t.setGuard(p.Guard, now)
	t.setLatches(p, now)
	t.reseat(now)
	t.duties.due = true
	return true
}

// released is the trip of a latch that is released with all before it.
func (t *tally) released(latch string) uint64 { return t.releases[latch] }

// registerAgents makes the given agents, and only them, registered.
func (t *tally) registerAgents(agents []Agent, now time.Time) {
	registered := make(map[string]Agent, len(agents))
	for _, a := range agents {
		registered[a.Name] = a
	}
	same := true
	for name, a := range registered {
		v := t.vantages[name]
		if v != nil && v.registered && v.region == a.Region {
			v.agent = a
			continue
		}
		same = false
		if v != nil && v.region != a.Region {
			v.end(wrongRegion(name, v.region, a.Region))
			t.drop(v)
			v = nil
		}
		if v == nil {
			v = t.admit(name, a.Region)
		}
		v.registered, v.agent, v.awaitedFrom = true, a, now
	}
	for name, v := range t.vantages {
		if _, ok := registered[name]; !ok && v.registered {
			same = false
			v.registered, v.agent, v.isolated, v.gone = false, Agent{}, "", false
			t.forget(v)
		}
	}
	if !same {
		t.votersChanged()
	}
}

// admit makes a vantage.
func (t *tally) admit(name, region string) *vantage {
	v := &vantage{name: name, region: region, column: t.slots.column()}
	t.vantages[name] = v
	return v
}

// drop forgets a vantage and all that it said.
func (t *tally) drop(v *vantage) {
	delete(t.vantages, v.name)
	t.slots.release(v.column)
}

// votersChanged sorts the voters anew after others are registered; every ballot
// has changed.
func (t *tally) votersChanged() {
	t.sortVoters()
	for _, v := range t.voters {
		v.sight = health.Sight{}
	}
	t.slots.forgetSights()
	t.duties.due = true
	t.allDirty()
}

// sortVoters sorts the voters anew. Guests that come and go change no ballot but
// those that show what they say.
func (t *tally) sortVoters() {
	t.voters = t.voters[:0]
	for _, v := range t.vantages {
		t.voters = append(t.voters, v)
	}
	slices.SortFunc(t.voters, func(a, b *vantage) int {
		return cmp.Or(cmp.Compare(a.region, b.region), cmp.Compare(a.name, b.name))
	})
	t.roster = t.roster[:0]
	place := -1
	for k, v := range t.voters {
		if k == 0 || v.region != t.voters[k-1].region {
			place++
		}
		v.place = place
		if v.registered {
			t.roster = append(t.roster, seats.Agent{Name: v.name, Region: v.region})
		}
	}
	t.say = make([]int, place+1)
	t.noted = true
}

// setTargets makes the given targets, and only them, those that are judged.
func (t *tally) setTargets(p *Plan, now time.Time) {
	// A drain makes another generation of the same configuration, and must not
	// cost what the configuration costs.
	if t.listed && one(p.Assignments, t.assignments) && one(p.Regions, t.standIn) {
		return
	}
	t.listed, t.assignments, t.standIn = true, p.Assignments, p.Regions
	list := make([]planned, 0, len(p.Assignments))
	for i, a := range p.Assignments {
		if a.GetTarget() == "" {
			continue
		}
		item := planned{assignment: a}
		if i < len(p.Regions) {
			item.regions = p.Regions[i]
		}
		list = append(list, item)
	}
	slices.SortStableFunc(list, func(a, b planned) int { return cmp.Compare(a.assignment.GetTarget(), b.assignment.GetTarget()) })
	list = slices.CompactFunc(list, func(a, b planned) bool { return a.assignment.GetTarget() == b.assignment.GetTarget() })
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = list[i].assignment.GetTarget()
	}
	if !slices.Equal(ids, t.table.index.ids) {
		t.retarget(ids, now)
	}
	t.duties.assign(list)
	t.place(list)
}

// one tells whether two slices are one.
func one[T any](a, b []T) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// planned is a target as the plan has it.
type planned struct {
	assignment *pb.Assignment
	regions    []string
}

// retarget makes new tables for other targets, with what is known of those that
// stay.
func (t *tally) retarget(ids []string, now time.Time) {
	old, dockets := t.table, t.dockets
	t.table = newTable(ids, old)
	t.dockets = make([]docket, len(ids))
	t.dirty = t.dirty[:0]
	t.alarms.clear()
	t.guard.clear()
	t.digest, t.statuses, t.damped, t.oneSided = t.latches.digest(), [3]int{}, 0, 0
	t.changed = true
	for i, id := range ids {
		d := &t.dockets[i]
		if j, ok := old.index.at[id]; ok {
			d.decided, d.origin, d.seeded = dockets[j].decided, dockets[j].origin, dockets[j].seeded
		}
	}
	t.moveOpinions(old.index)
	for i, id := range ids {
		v := t.table.get(i).Verdict
		t.digest = t.digest.AddVerdict(id, v)
		t.statuses[v.Last]++
		if s, ok := t.pending[id]; ok {
			t.adopt(i, s, now)
			delete(t.pending, id)
		}
	}
}

// settle does what time and the events since the last settling ask for.
func (t *tally) settle(now time.Time) {
	t.expire(now)
	for i, ok := t.alarms.due(now, t.dockets); ok; i, ok = t.alarms.due(now, t.dockets) {
		t.mark(i)
	}
	t.judge(now)
	t.evidence = t.evidenceAt()
	t.tellIsolated(now)
	if !t.ready && t.isReady(now) {
		t.ready, t.noted = true, true
		clear(t.pending)
		clear(t.latches.unplaced)
		t.log.Info("ready to judge", "targets", len(t.dockets), "never_judged", t.statuses[regions.Unknown],
			"generation", t.generation.String())
	}
}

// expire takes the vote from vantages that have been silent for too long, and
// their seats from those that have been for longer.
func (t *tally) expire(now time.Time) {
	reseat := false
	for _, v := range slices.Clone(t.voters) { // setFresh may drop a guest
		if v.fresh && now.Sub(v.heard) >= t.freshFor {
			t.setFresh(v, false)
		}
		if v.doubtful() {
			t.believe(v, now)
		}
		if !v.registered {
			continue
		}
		if gone := !v.fresh && now.Sub(v.lastHope()) >= seatFor; gone != v.gone {
			v.gone, reseat = gone, true
		}
		if awaited := v.awaited(now, t.seedWait); awaited != v.wasAwaited {
			v.wasAwaited = awaited
			t.allDirty()
		}
	}
	if reseat {
		t.reseat(now)
	}
}

// next is when time alone will change something; zero: never.
func (t *tally) next(now time.Time) time.Time {
	var next time.Time
	earlier := func(at time.Time) {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	for _, v := range t.voters {
		switch {
		case v.fresh:
			earlier(v.heard.Add(t.freshFor))
		case v.registered && !v.gone:
			earlier(v.lastHope().Add(seatFor))
		}
		if v.doubtful() {
			earlier(v.selfAt.Add(selfEvery))
		}
		if v.wasAwaited {
			earlier(v.awaitedFrom.Add(t.seedWait))
		}
		if v.isolated != "" && !v.told {
			earlier(v.isolatedSince.Add(tellAfter))
		}
	}
	for _, at := range [...]time.Time{t.alarms.first(t.dockets), t.guard.nextReview()} {
		if !at.IsZero() {
			earlier(at)
		}
	}
	if t.planned && (!t.ready || len(t.latches.dirty) > 0) {
		if at := t.waitFrom.Add(t.seedWait); at.After(now) {
			earlier(at)
		}
	}
	return next
}

// regions are the registered regions; true where an agent is fresh and has
// sent all its opinions.
func (t *tally) regions() map[string]bool {
	heard := map[string]bool{}
	for _, v := range t.voters {
		if v.registered {
			heard[v.region] = heard[v.region] || v.fresh && v.full
		}
	}
	return heard
}

// isReady tells whether nameservers may follow this judge:
//
//	regions heard in full   every target has a verdict   then
//	---------------------   --------------------------   ------------------
//	more than half          yes                          ready at once
//	more than half          no                           ready after SeedWait
//	one or more             -                            ready after SeedWait
//	none                    -                            not ready
//	(none registered)       -                            ready after SeedWait
//
// A verdict is the quorum's or seeded. Targets without one are never-judged to
// those who follow, who keep what they have.
func (t *tally) isReady(now time.Time) bool {
	if !t.planned {
		return false
	}
	all := t.regions()
	heard := 0
	for _, ok := range all {
		if ok {
			heard++
		}
	}
	if len(all) > 0 && 2*heard > len(all) && t.statuses[regions.Unknown] == 0 {
		return true
	}
	return (heard > 0 || len(all) == 0) && now.Sub(t.waitFrom) >= t.seedWait
}

// resync forgets what was heard before a pause of the process: every session
// ends, no vantage is fresh, and verdicts stand until agents were heard again,
// open to what a nameserver has seen since (lastRan is when the pause began).
func (t *tally) resync(pauses uint64, lastRan, now time.Time) {
	t.pauses = pauses
	t.log.Warn("the process stood still: hearing all agents anew", "why", "pause", "for", now.Sub(lastRan).Round(time.Millisecond).String())
	t.slots.clear()
	for _, v := range slices.Clone(t.voters) {
		v.end(errPaused)
		v.heard, v.awaitedFrom = time.Time{}, now
		v.self, v.said, v.selfAt, v.selfKnown = "", "", time.Time{}, false
		v.known, v.elsewhere, v.sight = 0, nil, health.Sight{}
		t.setFresh(v, false)
	}
	for i := range t.dockets {
		if d := &t.dockets[i]; d.decided {
			stood := t.table.get(i).Verdict
			stood.Quorum, stood.Wavering, stood.Votes = regions.Unknown, false, nil
			d.decided, d.origin, d.seeded = false, &stood, lastRan
		}
	}
	t.ready, t.noted, t.waitFrom = false, true, now
	t.allDirty()
}

// agents counts the registered vantages.
func (t *tally) agents() (fresh, registered int) {
	for _, v := range t.voters {
		if v.registered {
			registered++
			if v.fresh {
				fresh++
			}
		}
	}
	return fresh, registered
}

// tell notes an event, for whoever watches and for the log.
func (t *tally) tell(now time.Time, kind, subject, text string) {
	t.events = append(t.events, Event{Time: now, Kind: kind, Subject: subject, Text: text})
	t.noted = true
	level := slog.LevelInfo
	if kind == VantageIsolated || kind == GuardHeld || kind == LatchTripped || kind == GuardPassed {
		level = slog.LevelWarn
	}
	t.log.Log(context.Background(), level, "health event", "kind", kind, "subject", subject, "text", text)
}
