package verdicts

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// pulseEvery is how often the pulse beats.
const pulseEvery = 100 * time.Millisecond

// pulse notices that the whole process stood still (SIGSTOP, a frozen virtual
// machine): what is in its socket buffers then is from before, and must not be
// taken for news. It compares monotonic time between two beats, so a clock that
// is set does nothing.
//
// A machine that is overloaded leaves gaps between beats as well, and to hear all
// agents anew would make it worse. A process that stands still has no processor;
// so it stood still for no longer than the part of the gap that its time on
// processors does not fill, even if it had all of them for the rest:
//
//	the gap             of it, not filled   what it was
//	------------------  ------------------  --------------------------------------
//	up to PauseLimit    -                   nothing
//	longer              up to PauseLimit    overload: nothing is forgotten
//	longer              longer              a pause, or too little is known to tell
type pulse struct {
	start time.Time
	cpu   func() time.Duration // Options.CPU

	mu    sync.Mutex    // orders beats
	used  time.Duration // of cpu, at the last beat
	procs int           // the most processors that it could use at once
	// beating while run runs.
	beating atomic.Bool
	// beat is the last one, as time since start.
	beat atomic.Int64

	// pauses and overloads count those seen. They are raised before beat is, so
	// that nobody can see a beat after a pause and not the pause.
	pauses, overloads atomic.Uint64
	// lastRan is the last beat before the last pause.
	lastRan atomic.Int64
	// seen wakes the judge after a pause or an overload.
	seen chan struct{}
}

func newPulse(cpu func() time.Duration) *pulse {
	return &pulse{start: time.Now(), cpu: cpu, seen: make(chan struct{}, 1)}
}

// run beats until ctx ends.
func (p *pulse) run(ctx context.Context) {
	ticker := time.NewTicker(pulseEvery)
	defer ticker.Stop()
	p.begin()
	defer p.beating.Store(false)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			p.alive()
		}
	}
}

// begin is the first beat: what was before is no gap.
func (p *pulse) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used, p.procs = p.cpu(), runtime.GOMAXPROCS(0)
	p.beat.Store(int64(time.Since(p.start)))
	p.beating.Store(true)
}

// alive is a beat. Whoever asks how the process is gives one too: it runs, and
// must see at once that it did not.
func (p *pulse) alive() {
	if time.Since(p.start)-time.Duration(p.beat.Load()) < pulseEvery/2 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.beating.Load() {
		return
	}
	now, used, last := time.Since(p.start), p.cpu(), time.Duration(p.beat.Load())
	if gap := now - last; gap > PauseLimit {
		p.procs = max(p.procs, runtime.GOMAXPROCS(0))
		if still := gap - (used-p.used)/time.Duration(p.procs); still > PauseLimit {
			p.lastRan.Store(int64(last))
			p.pauses.Add(1)
		} else {
			p.overloads.Add(1)
		}
		notify(p.seen)
	}
	p.used = used
	p.beat.Store(int64(now))
}

// steady tells whether the process has run without a pause since the judge
// dealt with the given number of them.
func (p *pulse) steady(dealtWith uint64) bool {
	p.alive()
	return p.beating.Load() && p.pauses.Load() == dealtWith
}
