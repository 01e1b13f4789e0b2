package verdicts

import (
	"slices"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
)

// hear takes one event of a stream.
func (t *tally) hear(ev event, now time.Time) {
	if ev.opened {
		t.open(ev.session, now)
		return
	}
	v := t.vantages[ev.session.hello.GetAgent()]
	if v == nil || v.session != ev.session {
		return // refused, replaced, or from before a pause
	}
	if ev.closed {
		t.close(v)
		return
	}
	switch {
	case ev.update != nil:
		t.m.opinions.Add(float64(len(ev.update.opinions)))
		whole := v.collect(ev.update)
		t.countIgnored(ev.update)
		if whole != nil {
			t.take(v, whole)
			t.countIgnored(whole)
		}
	case ev.beat != nil:
		g := ev.beat.GetGeneration()
		v.generation = regions.Generation{Epoch: g.GetEpoch(), Revision: g.GetRevision()}
		v.skew = ev.skew
		self := ev.beat.GetIsolated()
		if len(self) > MaxReason {
			self = shorten(self, MaxReason)
		}
		v.said = self
		t.believe(v, now)
		v.selfKnown = true
	}
	v.spoke = now
	if v.full {
		t.heard(v, now)
	}
}

// countIgnored counts what an update had to leave out, once.
func (t *tally) countIgnored(up *update) {
	for why, n := range up.ignored {
		t.m.ignored.WithLabelValues(why).Add(float64(n))
	}
	up.ignored = nil
}

// believe takes a vantage's word on whether it is cut off. All ballots change
// with it, so one that changes its mind soon after waits, and is believed when
// it still says so then.
func (t *tally) believe(v *vantage, now time.Time) {
	if (v.said == "") != (v.self == "") {
		if now.Sub(v.selfAt) < selfEvery {
			return
		}
		if v.selfKnown { // the first word that is heard tells of no change
			v.selfAt = now
		}
		if v.registered {
			t.allDirty() // it is no voice beside the others either
		}
	}
	v.self = v.said
}

// doubtful tells whether a vantage's word on itself waits.
func (v *vantage) doubtful() bool { return (v.said == "") != (v.self == "") }

// open admits a session or ends it. The newest stream of a name wins: after a
// broken connection the old one may linger.
func (t *tally) open(s *session, now time.Time) {
	name, region := s.hello.GetAgent(), s.hello.GetRegion()
	v := t.vantages[name]
	switch {
	case s.pauses != t.pauses:
		s.finish(errPaused)
		return
	case v != nil && v.registered && v.region != region:
		t.log.Warn("agent refused", "agent", name, "region", region, "registered_region", v.region)
		s.finish(wrongRegion(name, region, v.region))
		return
	case v == nil && t.guests() >= MaxGuests:
		t.log.Warn("agent refused", "agent", name, "region", region, "guests", MaxGuests)
		s.finish(errGuests)
		return
	case v == nil:
		v = t.admit(name, region)
		t.duties.due = true
		t.sortVoters()
	}
	v.end(errReplaced)
	if v.region != region { // not registered, so it is where it says
		t.forgetOpinions(v)
		v.region = region
		t.sortVoters()
	}
	if v.incarnation != s.hello.GetIncarnation() {
		if v.self != "" && v.registered {
			t.allDirty()
		}
		v.self, v.said = "", "" // it has just started; until a heartbeat it stands by what it said
	}
	v.session, v.opened, v.full, v.parts = s, now, false, nil
	v.incarnation, v.version = s.hello.GetIncarnation(), s.hello.GetVersion()
	if len(v.version) > MaxReason {
		v.version = shorten(v.version, MaxReason)
	}
	v.spoke, t.noted = now, true
	t.log.Info("agent connected", "agent", name, "region", region, "registered", v.registered, "version", v.version)
	if v.duty != nil {
		s.assign(v.duty, t.generation)
	}
}

// close ends a session from the agent's side. What it said holds until it has
// been silent for too long, so that a reconnection moves nothing.
func (t *tally) close(v *vantage) {
	t.log.Info("agent disconnected", "agent", v.name, "region", v.region)
	v.session, v.parts = nil, nil
	t.noted = true
	t.forget(v)
}

// forget drops a vantage that is neither registered nor heard.
func (t *tally) forget(v *vantage) {
	if !v.registered && !v.fresh && v.session == nil {
		t.markOpinions(v)
		t.drop(v)
		t.sortVoters()
	}
}

// heard notes that a vantage's opinions hold. Only a full update makes a
// vantage fresh: when a path that was stuck comes back, what arrives first is
// what was said longest ago, and a heartbeat from then would revive opinions
// that have changed since.
func (t *tally) heard(v *vantage, now time.Time) {
	if !v.fresh && !v.heard.IsZero() && v.heardIn == v.session {
		t.log.Info("agent heard again after a silence: it must report anew", "agent", v.name, "region", v.region)
		v.end(errSilent)
		t.noted = true
		return
	}
	v.heard, v.heardIn = now, v.session
	if !v.fresh {
		t.setFresh(v, true)
	}
}

// evidenceAt is since when too few registered regions are heard to decide: of
// three regions the second to last counts, of two the last, which may decide
// alone. A controller that hears its own region only has old evidence, so
// nameservers leave it for one that hears more.
func (t *tally) evidenceAt() time.Time {
	var last []time.Time // by region: voters are sorted
	region := ""
	for _, v := range t.voters {
		switch {
		case !v.registered:
		case len(last) == 0 || v.region != region:
			region, last = v.region, append(last, v.heard)
		case v.heard.After(last[len(last)-1]):
			last[len(last)-1] = v.heard
		}
	}
	slices.SortFunc(last, func(a, b time.Time) int { return b.Compare(a) })
	switch n := len(last); n {
	case 0:
		return time.Time{}
	case 2:
		return last[0]
	default:
		return last[n/2]
	}
}

// setFresh changes whether a vantage's opinions count. Every target has a
// registered one in its evidence.
func (t *tally) setFresh(v *vantage, fresh bool) {
	if v.fresh == fresh {
		return
	}
	v.fresh, t.noted = fresh, true
	if !fresh && v.registered && !v.heard.IsZero() {
		t.log.Warn("agent silent: its opinions no longer count", "agent", v.name, "region", v.region)
	}
	if v.registered {
		t.allDirty()
	} else {
		t.markOpinions(v)
	}
	t.forget(v)
}

// markOpinions marks the targets on which a vantage has an opinion.
func (t *tally) markOpinions(v *vantage) {
	if v.known == 0 {
		return
	}
	for i := range t.dockets {
		if t.slots.row(i)[v.column].flags&known != 0 {
			t.mark(i)
		}
	}
}

// guests counts the vantages that are not registered.
func (t *tally) guests() int {
	n := 0
	for _, v := range t.voters {
		if !v.registered {
			n++
		}
	}
	return n
}
