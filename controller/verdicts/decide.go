package verdicts

import (
	"time"

	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
)

// tellAfter is how long a vantage must be isolated before there is an event
// about it: the first to see that everything is down is alone for a moment.
const tellAfter = 2 * time.Second

// view is how a vantage stands in one settling.
type view struct {
	absent  string
	awaited bool
	// silent is since when, of one that is absent.
	silent time.Time
}

// judge decides every dirty target anew, and what hangs on it.
func (t *tally) judge(now time.Time) {
	if len(t.dirty) > 0 || t.guard.due {
		t.view(now)
	}
	if len(t.dirty) > 0 {
		for _, i := range t.dirty {
			t.look(i)
		}
		if t.isolate(now) {
			t.allDirty()
		}
		t.decideDirty(now)
	} else if t.guard.due {
		t.rule(nil, new(int), now)
	}
	t.reviewGuard(now)
	t.judgeLatches(now)
}

// view notes how the vantages stand now.
func (t *tally) view(now time.Time) {
	t.views = t.views[:0]
	for _, v := range t.voters {
		w := view{absent: v.absent(t.freshFor), awaited: v.awaited(now, t.seedWait)}
		if w.absent != "" {
			w.silent = v.lastHope()
		}
		t.views = append(t.views, w)
	}
}

// look brings the vantages' sights up to date about one target: how many say
// UNHEALTHY of it, and which of them the other regions contradict.
func (t *tally) look(i int) {
	row, d := t.slots.row(i), &t.dockets[i]
	clear(t.say)
	for _, v := range t.voters {
		if !v.registered || !v.fresh || v.self != "" || !d.seated(v.column) {
			continue
		}
		switch row[v.column].status {
		case regions.Healthy:
			t.say[v.place]++
		case regions.Unhealthy:
			t.say[v.place]--
		}
	}
	lean := 0 // regions that say HEALTHY, less those that say UNHEALTHY
	for _, s := range t.say {
		lean += sign(s)
	}
	for _, v := range t.voters {
		op := &row[v.column]
		var is flags
		if v.registered && v.fresh && op.status != regions.Unknown && d.seated(v.column) {
			is = seenDefinite
			if op.status == regions.Unhealthy {
				is |= seenUnhealthy
				if lean-sign(t.say[v.place]) > 0 {
					is |= seenContradicted
				}
			}
		}
		if was := op.flags & seen; was != is {
			v.sight.Definite += count(is, was, seenDefinite)
			v.sight.Unhealthy += count(is, was, seenUnhealthy)
			v.sight.Contradicted += count(is, was, seenContradicted)
			op.flags = op.flags&^seen | is
		}
	}
}

func sign(n int) int {
	switch {
	case n > 0:
		return 1
	case n < 0:
		return -1
	default:
		return 0
	}
}

// count is what a flag adds where it is set, and takes off where it was.
func count(is, was, flag flags) int {
	n := 0
	if is&flag != 0 {
		n++
	}
	if was&flag != 0 {
		n--
	}
	return n
}

// isolate notes which vantages must be cut off. Their opinions lose their vote
// at once, and have it again at once: only what is said now counts.
func (t *tally) isolate(now time.Time) (changed bool) {
	for _, v := range t.voters {
		why := ""
		switch {
		case !v.registered || !v.fresh:
		case v.self != "":
			why = v.self
		default:
			why = v.sight.Isolated()
		}
		if (why == "") == (v.isolated == "") {
			continue // the numbers in it may be others, which is not worth a word
		}
		v.isolated, changed, t.noted = why, true, true
		if why != "" {
			v.isolatedSince = now
		}
	}
	return changed
}

// tellIsolated tells of vantages that have been isolated for a while, and of
// those that are back.
func (t *tally) tellIsolated(now time.Time) {
	for _, v := range t.voters {
		switch {
		case v.isolated != "" && !v.told && now.Sub(v.isolatedSince) >= tellAfter:
			v.told = true
			t.tell(now, VantageIsolated, v.name, "agent "+v.name+" in "+v.region+" is isolated, and its opinions do not count: "+v.isolated)
		case v.isolated == "" && v.told:
			v.told = false
			text := "agent " + v.name + " in " + v.region + " is no longer isolated: its opinions count again"
			if !v.fresh {
				text = "agent " + v.name + " in " + v.region + " was isolated and is not heard any more"
			}
			t.tell(now, VantageBack, v.name, text)
		}
	}
}

// decide counts the ballot on a target.
func (t *tally) decide(i int, now time.Time) health.Decision {
	row, d := t.slots.row(i), &t.dockets[i]
	voters := t.ballot[:0]
	for k, v := range t.voters {
		op := &row[v.column]
		seat := d.seated(v.column)
		if op.flags&known == 0 && !(v.registered && seat) {
			continue
		}
		voters = append(voters, health.Voter{
			Agent: v.name, Region: v.region, Registered: v.registered, NoSeat: !seat,
			Absent: t.views[k].absent, Awaited: t.views[k].awaited, Isolated: v.isolated,
			Blind: v.isolated != "" && v.self != "",
		})
		voter := &voters[len(voters)-1]
		if voter.QuietSince = t.views[k].silent; v.isolated != "" {
			voter.QuietSince = v.isolatedSince
		}
		switch {
		case op.flags&known != 0:
			voter.Status, voter.Since, voter.Reason = op.status, op.at(t.base), op.text()
			voter.Transitions, voter.Wavering = int(op.transitions), op.flags&wavering != 0
		case voter.Absent == "":
			voter.Absent, voter.Awaited, voter.QuietSince = health.WhyNotYet, true, v.opened
		}
	}
	t.ballot = voters
	return health.Decide(health.Ballot{Voters: voters}, *d.policy, now)
}

// decideDirty decides the dirty targets. What the guard may have to hold comes
// last, all of it together.
func (t *tally) decideDirty(now time.Time) {
	var open []losing
	turned := 0
	for _, i := range t.dirty {
		dk := &t.dockets[i]
		dk.dirty = false
		old := t.table.get(i)
		d := t.decide(i, now)
		if d.Status != regions.Unknown && !dk.decided {
			dk.decided = true
		}
		unconfirmed := old.Loses(d) && !d.Confirms()
		switch {
		case old.Guard > 0 && t.guard.holds(old.Guard) && (unconfirmed || d.Status == regions.Unknown):
			t.conclude(i, health.Hold(old.Verdict, d, old.Guard, now), d, &turned)
		case unconfirmed && old.Guard == 0 && t.guard.on():
			open = append(open, losing{loss{i, lostAt(d.Votes, now)}, d})
		default:
			t.guard.ended(old.Guard, d, now)
			t.conclude(i, health.Update(old.Verdict, d, now), d, &turned)
		}
	}
	t.dirty = t.dirty[:0]
	t.rule(open, &turned, now)
	if turned > maxLogged {
		t.log.Info("more verdicts changed", "changed", turned-maxLogged)
	}
}

// conclude takes what was decided of a target.
func (t *tally) conclude(i int, v health.Verdict, d health.Decision, turned *int) {
	dk, old := &t.dockets[i], t.table.get(i)
	at := d.NextAt
	if lapse := v.Lapses(d); !lapse.IsZero() && (at.IsZero() || lapse.Before(at)) {
		at = lapse
	}
	t.alarms.set(i, at, t.dockets)
	step(&t.damped, &dk.damped, d.Damped > 0)
	step(&t.oneSided, &dk.oneSided, d.OneSided)
	if v.Equal(old.Verdict) {
		return
	}
	t.put(i, v)
	if v.Last == old.Last {
		return
	}
	t.m.changes.WithLabelValues(statusLabel(v.Last)).Inc()
	if *turned++; *turned <= maxLogged {
		t.log.Info("verdict changed", "target", old.ID, "from", old.Last.String(), "to", v.Last.String(), "why", d.Reason())
	}
}

// step keeps a count of what is true.
func step(count *int, was *bool, is bool) {
	switch {
	case is && !*was:
		*count++
	case !is && *was:
		*count--
	}
	*was = is
}

// put replaces a target's verdict.
func (t *tally) put(i int, v health.Verdict) {
	old := t.table.get(i)
	t.table.set(i, &Target{ID: old.ID, Verdict: v})
	t.digest = t.digest.ReplaceVerdict(old.ID, old.Verdict, v)
	t.statuses[old.Last]--
	t.statuses[v.Last]++
	t.changed = true
	d := &t.dockets[i]
	t.guard.note(i, d, &old.Verdict, &v)
	if old.Last != v.Last || old.ConfirmedStanding().Verdict != v.ConfirmedStanding().Verdict {
		for _, g := range d.groups {
			t.latches.mark(g)
		}
	}
}
