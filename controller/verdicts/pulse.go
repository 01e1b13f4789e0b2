package verdicts

import (
	"context"
	"sync/atomic"
	"time"
)

// pulseEvery is how often the pulse beats.
const pulseEvery = 100 * time.Millisecond

// pulse notices that the whole process stood still (SIGSTOP, a frozen virtual
// machine): what is in its socket buffers then is from before, and must not be
// taken for news. It compares monotonic time between two beats, so a clock that
// is set does nothing; a false alarm (an overloaded machine) costs a resync.
type pulse struct {
	start time.Time
	// beat is the last beat, as time since start.
	beat atomic.Int64
	// pauses counts the pauses seen; it is raised before beat is, so that nobody
	// can see a beat after a pause and not the pause.
	pauses atomic.Uint64
	// lastRan is the last beat before the last pause.
	lastRan atomic.Int64
	// paused wakes the judge.
	paused chan struct{}
}

func newPulse() *pulse {
	return &pulse{start: time.Now(), paused: make(chan struct{}, 1)}
}

// run beats until ctx ends.
func (p *pulse) run(ctx context.Context) {
	ticker := time.NewTicker(pulseEvery)
	defer ticker.Stop()
	p.beat.Store(int64(time.Since(p.start)))
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			p.tick(time.Since(p.start))
		}
	}
}

func (p *pulse) tick(now time.Duration) {
	if last := p.beat.Load(); now-time.Duration(last) > PauseLimit {
		p.lastRan.Store(last)
		p.pauses.Add(1)
		select {
		case p.paused <- struct{}{}:
		default:
		}
	}
	p.beat.Store(int64(now))
}

// steady tells whether the process has run without a pause since the judge
// dealt with the given number of them.
func (p *pulse) steady(dealtWith uint64) bool {
	return p.pauses.Load() == dealtWith && time.Since(p.start)-time.Duration(p.beat.Load()) <= PauseLimit
}
