package verdicts

import (
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
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
	switch m := ev.req.GetMessage().(type) {
	case *pb.ReportRequest_Opinions:
		t.m.opinions.Add(float64(len(m.Opinions.GetOpinions())))
		for why, n := range v.take(m.Opinions, now, t.markDirty) {
			t.m.ignored.WithLabelValues(why).Add(float64(n))
		}
	case *pb.ReportRequest_Heartbeat:
		g := m.Heartbeat.GetGeneration()
		v.generation = regions.Generation{Epoch: g.GetEpoch(), Revision: g.GetRevision()}
		v.skew = ev.skew
	}
	v.spoke = now
	if v.full {
		t.heard(v, now)
	}
}

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
		v = &vantage{name: name, region: region}
		t.vantages[name] = v
		t.votersChanged()
	}
	v.end(errReplaced)
	if v.region != region { // not registered, so it is where it says
		v.region, v.opinions = region, nil
		t.votersChanged()
	}
	v.session, v.full = s, false
	v.incarnation, v.version = s.hello.GetIncarnation(), s.hello.GetVersion()
	if len(v.version) > MaxReason {
		v.version = shorten(v.version, MaxReason)
	}
	if v.opinions == nil {
		v.opinions = map[string]opinion{}
	}
	v.spoke, t.noted = now, true
	t.log.Info("agent connected", "agent", name, "region", region, "registered", v.registered, "version", v.version)
	s.notify()
}

// close ends a session from the agent's side. What it said holds until it has
// been silent for too long, so that a reconnection moves nothing.
func (t *tally) close(v *vantage) {
	t.log.Info("agent disconnected", "agent", v.name, "region", v.region)
	v.session = nil
	t.noted = true
	t.forget(v)
}

// forget drops a vantage that is neither registered nor heard.
func (t *tally) forget(v *vantage) {
	if !v.registered && !v.fresh && v.session == nil {
		delete(t.vantages, v.name)
		t.votersChanged()
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
	if v.registered {
		t.evidence = now
	}
	if !v.fresh {
		t.setFresh(v, true)
	}
}

// setFresh changes whether a vantage's opinions count. Every target has it in
// its evidence.
func (t *tally) setFresh(v *vantage, fresh bool) {
	if v.fresh == fresh {
		return
	}
	v.fresh, t.noted = fresh, true
	if !fresh && v.registered && !v.heard.IsZero() {
		t.log.Warn("agent silent: its opinions no longer count", "agent", v.name, "region", v.region)
	}
	t.allDirty()
	t.forget(v)
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
