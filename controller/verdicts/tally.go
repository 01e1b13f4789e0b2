package verdicts

import (
	"cmp"
	"log/slog"
	"slices"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
)

// maxLogged bounds the verdict changes that are logged one by one in one settling.
const maxLogged = 20

// tally is all that the judge knows. Run's goroutine owns it; `now` is an
// argument throughout, and nothing in it waits.
type tally struct {
	freshFor, seedWait time.Duration
	log                *slog.Logger
	m                  *metrics

	planned    bool
	generation regions.Generation
	vantages   map[string]*vantage
	voters     []*vantage // all vantages, by region and name

	table   *table
	decided []bool      // by the quorum of this process, since the last pause
	seeded  []time.Time // when what was seeded held
	pending map[string]seed

	digest   health.Digest
	statuses [3]int // targets by last verdict

	// dirty are the targets to judge again in this settling.
	dirty   []int
	isDirty []bool
	// changed is set when there is something to publish: in the table, or only
	// about agents and readiness.
	changed, noted bool

	ready    bool
	waitFrom time.Time // of the first plan, or of the last pause
	evidence time.Time // when a registered agent was last heard
	pauses   uint64    // how many pauses of the process were dealt with
}

func newTally(o *Options, m *metrics) *tally {
	return &tally{
		freshFor: o.FreshFor, seedWait: o.SeedWait, log: o.Log, m: m,
		vantages: map[string]*vantage{}, table: newTable(nil, nil), pending: map[string]seed{},
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
	t.generation, t.noted = p.Generation, true
	t.registerAgents(p.Agents)
	t.setTargets(p.Assignments)
	return true
}

// registerAgents makes the given agents, and only them, registered.
func (t *tally) registerAgents(agents []Agent) {
	registered := make(map[string]string, len(agents))
	for _, a := range agents {
		registered[a.Name] = a.Region
	}
	same := true
	for name, region := range registered {
		v := t.vantages[name]
		if v != nil && v.registered && v.region == region {
			continue
		}
		same = false
		if v != nil && v.region != region {
			v.end(wrongRegion(name, v.region, region))
			v = nil
		}
		if v == nil {
			v = &vantage{name: name, region: region}
			t.vantages[name] = v
		}
		v.registered = true
	}
	for name, v := range t.vantages {
		if _, ok := registered[name]; !ok && v.registered {
			same = false
			v.registered = false
			if v.session == nil {
				delete(t.vantages, name)
			}
		}
	}
	if !same {
		t.votersChanged()
	}
}

// votersChanged sorts the voters anew; every ballot has changed.
func (t *tally) votersChanged() {
	t.voters = t.voters[:0]
	for _, v := range t.vantages {
		t.voters = append(t.voters, v)
	}
	slices.SortFunc(t.voters, func(a, b *vantage) int {
		return cmp.Or(cmp.Compare(a.region, b.region), cmp.Compare(a.name, b.name))
	})
	t.noted = true
	t.allDirty()
}

// setTargets makes the given targets, and only them, those that are judged.
func (t *tally) setTargets(assignments []*pb.Assignment) {
	ids := make([]string, 0, len(assignments))
	for _, a := range assignments {
		if a.GetTarget() != "" {
			ids = append(ids, a.GetTarget())
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if slices.Equal(ids, t.table.index.ids) {
		return
	}
	old, decided, seeded := t.table, t.decided, t.seeded
	t.table = newTable(ids, old)
	t.decided, t.seeded = make([]bool, len(ids)), make([]time.Time, len(ids))
	t.dirty, t.isDirty = t.dirty[:0], make([]bool, len(ids))
	t.digest, t.statuses = 0, [3]int{}
	t.changed = true
	for i, id := range ids {
		if j, ok := old.index.at[id]; ok {
			t.decided[i], t.seeded[i] = decided[j], seeded[j]
		}
		last := t.table.get(i).Last
		t.digest = t.digest.Add(id, last)
		t.statuses[last]++
	}
	for i, id := range ids {
		if s, ok := t.pending[id]; ok {
			t.adopt(i, s)
			delete(t.pending, id)
		}
	}
	t.allDirty()
}

func (t *tally) markDirty(target string) {
	if i, ok := t.table.index.at[target]; ok && !t.isDirty[i] {
		t.isDirty[i] = true
		t.dirty = append(t.dirty, i)
	}
}

func (t *tally) allDirty() {
	t.dirty = t.dirty[:0]
	for i := range t.isDirty {
		t.isDirty[i] = true
		t.dirty = append(t.dirty, i)
	}
}

// settle does what time and the events since the last settling ask for.
func (t *tally) settle(now time.Time) {
	t.expire(now)
	t.judge(now)
	if !t.ready && t.isReady(now) {
		t.ready, t.noted = true, true
		clear(t.pending)
		t.log.Info("ready to judge", "targets", len(t.isDirty), "never_judged", t.statuses[regions.Unknown],
			"generation", t.generation.String())
	}
}

// expire takes the vote from vantages that have been silent for too long.
func (t *tally) expire(now time.Time) {
	for _, v := range slices.Clone(t.voters) { // setFresh may drop a guest
		if v.fresh && now.Sub(v.heard) >= t.freshFor {
			t.setFresh(v, false)
		}
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
		if v.fresh {
			earlier(v.heard.Add(t.freshFor))
		}
	}
	if t.planned && !t.ready {
		if at := t.waitFrom.Add(t.seedWait); at.After(now) {
			earlier(at)
		}
	}
	return next
}

// judge decides every dirty target anew.
func (t *tally) judge(now time.Time) {
	if len(t.dirty) == 0 {
		return
	}
	absent := make([]string, len(t.voters))
	for k, v := range t.voters {
		absent[k] = v.absent(t.freshFor)
	}
	voters := make([]health.Voter, 0, len(t.voters))
	turned := 0
	for _, i := range t.dirty {
		t.isDirty[i] = false
		old := t.table.get(i)
		voters = voters[:0]
		for k, v := range t.voters {
			if voter, ok := v.voter(old.ID, absent[k]); ok {
				voters = append(voters, voter)
			}
		}
		d := health.Decide(health.Ballot{Voters: voters})
		if d.Status != regions.Unknown {
			t.decided[i] = true
		}
		verdict := health.Update(old.Verdict, d, now)
		if verdict.Equal(old.Verdict) {
			continue
		}
		t.put(i, verdict)
		if verdict.Last != old.Last {
			t.m.changes.WithLabelValues(statusLabel(verdict.Last)).Inc()
			if turned++; turned <= maxLogged {
				t.log.Info("verdict changed", "target", old.ID, "from", old.Last.String(), "to", verdict.Last.String(), "why", d.Reason())
			}
		}
	}
	t.dirty = t.dirty[:0]
	if turned > maxLogged {
		t.log.Info("more verdicts changed", "changed", turned-maxLogged)
	}
}

// put replaces a target's verdict.
func (t *tally) put(i int, v health.Verdict) {
	old := t.table.get(i)
	t.table.set(i, &Target{ID: old.ID, Verdict: v})
	t.digest = t.digest.Replace(old.ID, old.Last, v.Last)
	t.statuses[old.Last]--
	t.statuses[v.Last]++
	t.changed = true
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
	t.log.Warn("the process stood still: hearing all agents anew", "for", now.Sub(lastRan).Round(time.Millisecond).String())
	for _, v := range slices.Clone(t.voters) {
		v.end(errPaused)
		v.heard, v.opinions = time.Time{}, nil
		t.setFresh(v, false)
	}
	for i := range t.decided {
		if t.decided[i] {
			t.decided[i], t.seeded[i] = false, lastRan
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
