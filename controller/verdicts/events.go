package verdicts

import (
	"sync"
	"time"
)

// maxEvents bounds the events that are kept.
const maxEvents = 1024

// The kinds of events.
const (
	VantageIsolated = "vantage-isolated"
	VantageBack     = "vantage-back"
	GuardHeld       = "guard-held"
	GuardReleased   = "guard-released"
	GuardPassed     = "guard-passed"
	LatchTripped    = "latch-tripped"
	LatchReleased   = "latch-released"
)

// Event is something about the health plane that a person should know.
type Event struct {
	// Number counts up from 1 in one process.
	Number uint64
	Time   time.Time
	// Kind is one of the above; Subject is the agent, target or latch.
	Kind, Subject string
	// Text says it in one sentence.
	Text string
}

// eventRing keeps the newest events.
type eventRing struct {
	mu   sync.Mutex
	last uint64
	ring []Event // of number n at n % maxEvents
}

func (r *eventRing) add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	e.Number = r.last
	if len(r.ring) < maxEvents {
		r.ring = append(r.ring, e)
		return
	}
	r.ring[(r.last-1)%maxEvents] = e
}

func (r *eventRing) after(n uint64) []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	oldest := r.last - uint64(len(r.ring))
	var out []Event
	for i := max(n, oldest); i < r.last; i++ {
		out = append(out, r.ring[i%maxEvents])
	}
	return out
}

// Events returns what happened after the event of that number, oldest first; 0:
// all that is kept, which is the newest maxEvents. Whoever subscribes is woken
// when there are more.
func (j *Judge) Events(after uint64) []Event { return j.tidings.after(after) }
