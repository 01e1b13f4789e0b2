package verdicts

import "time"

const (
	// restFactor is how much longer the judge hears than it settles while it gathers,
	// and restMost how long at most.
	restFactor = 3
	restMost   = 500 * time.Millisecond
)

// pace spaces settlings while agents report all their opinions, as they do after a
// start or a pause. Every one of them that is heard changes every ballot, so that
// a settling costs what all targets cost; one after each message would take most
// of the time, and make everybody wait who is yet to be heard. A settling that
// cost little delays nothing.
type pace struct {
	// next is when there may be another settling while the judge gathers.
	next time.Time
}

// settled notes that a settling took that long, up to now.
func (p *pace) settled(took time.Duration, now time.Time) {
	p.next = now.Add(min(restFactor*took, restMost))
}

// rest is how long to hear before the next settling. Outside of a gathering it is
// never more than nothing.
func (p *pace) rest(gathering bool, now time.Time) time.Duration {
	if !gathering {
		return 0
	}
	return max(p.next.Sub(now), 0)
}

// gathering tells whether opinions are about to come that change everything: the
// judge has only just begun to listen, maybe anew after a pause, and some agent is
// still to be heard; or one has only just connected and is yet to tell all.
func (t *tally) gathering(now time.Time) bool {
	starting := t.planned && now.Sub(t.waitFrom) < t.seedWait
	for _, v := range t.voters {
		if starting && v.awaited(now, t.seedWait) ||
			v.registered && v.session != nil && !v.full && now.Sub(v.opened) < t.seedWait {
			return true
		}
	}
	return false
}
