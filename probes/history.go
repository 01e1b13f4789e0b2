package probes

import (
	"sync"
	"time"
	"unsafe"

	"github.com/fairlead-dns/fairlead/probes/check"
)

// history holds what the checks of each target saw, as much of it as fits into a
// bound for all of them. Observations lie in chunks that are taken from one store;
// when that is used up, the chunk that was full first makes room, whichever target
// it belongs to. So all targets reach back equally far, those that are checked
// every minute as those that are checked every second.
//
// Chunks refer to each other by number and not by address, which leaves nothing
// for the garbage collector to look at, and reasons are kept once.
type history struct {
	began time.Time

	mu     sync.Mutex
	trails map[string]*trail
	owners []*trail // by number; nil: free
	unused []int32  // numbers of owners that are free

	slabs     [][]chunk
	chunks    int32 // handed out ever
	most      int32
	fullFirst int32 // chunks that take no more, in that order: a list by chunk.newer
	fullLast  int32

	outcomes []outcome
	index    map[what]uint16
	spare    []uint16 // outcomes that are free
}

const (
	perChunk  = 32
	perSlab   = 64
	none      = int32(-1)
	chunkSize = int(unsafe.Sizeof(chunk{}))
	// maxOutcomes bounds the outcomes that are told apart; what comes beyond them
	// keeps its result and loses its reason.
	maxOutcomes = 4096
)

// chunk is a run of one target's observations, oldest first.
type chunk struct {
	observations [perChunk]observation
	owner        int32
	next         int32 // of the same owner
	newer        int32 // that was full after this one
	n            uint8
	full         bool
}

// observation is what one check saw, in 12 bytes.
type observation struct {
	atLow   uint32 // milliseconds after the history began, 48 bits
	atHigh  uint16
	outcome uint16
	latency uint32 // microseconds
}

func (o observation) at() time.Duration {
	return time.Duration(uint64(o.atHigh)<<32|uint64(o.atLow)) * time.Millisecond
}

// what is a result with its reason.
type what struct {
	result check.Result
	reason string
}

type outcome struct {
	what
	uses int
}

// trail is one target's part of the history.
type trail struct {
	target      string
	number      int32
	first, last int32  // chunks
	dropped     uint64 // observations that made room
	gone        bool   // nothing is added any more
}

func newHistory(began time.Time, bytes int) *history {
	h := &history{
		began: began, trails: map[string]*trail{}, index: map[what]uint16{},
		most: int32(min(bytes/chunkSize, 1<<30)), fullFirst: none, fullLast: none,
	}
	for r := range check.Failed + 1 {
		h.outcomes = append(h.outcomes, outcome{what{r, ""}, 1}) // by result, never free
	}
	return h
}

// open returns the trail of a target, to add to. One that was closed goes on.
func (h *history) open(target string) *trail {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.trails[target]
	if t == nil {
		t = &trail{target: target, first: none, last: none}
		if n := len(h.unused); n > 0 {
			t.number, h.unused = h.unused[n-1], h.unused[:n-1]
			h.owners[t.number] = t
		} else {
			t.number, h.owners = int32(len(h.owners)), append(h.owners, t)
		}
		h.trails[target] = t
	}
	t.gone = false
	return t
}

// close says that nothing is added to a trail for now. What it holds stays until
// it has to make room. With forget it is no longer found: it was of another check.
func (h *history) close(t *trail, forget bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t.gone = true
	if forget {
		delete(h.trails, t.target)
	}
	if t.last == none {
		h.drop(t)
	} else if c := h.at(t.last); !c.full {
		h.fill(t.last, c)
	}
}

// drop forgets a trail that is gone and holds nothing.
func (h *history) drop(t *trail) {
	if h.trails[t.target] == t {
		delete(h.trails, t.target)
	}
	h.owners[t.number] = nil
	h.unused = append(h.unused, t.number)
}

// add records a check that ended at a moment.
func (h *history) add(t *trail, at time.Time, out check.Outcome) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.last == none || h.at(t.last).full {
		n := h.take()
		if n == none {
			return // every chunk is another target's only one
		}
		c := h.at(n)
		*c = chunk{owner: t.number, next: none, newer: none}
		if t.last == none {
			t.first = n
		} else {
			h.at(t.last).next = n
		}
		t.last = n
	}
	c := h.at(t.last)
	since := uint64(max(at.Sub(h.began), 0) / time.Millisecond)
	c.observations[c.n] = observation{
		atLow: uint32(since), atHigh: uint16(since >> 32), outcome: h.use(what{out.Result, out.Reason}),
		latency: uint32(min(max(out.Latency, 0)/time.Microsecond, 1<<32-1)),
	}
	if c.n++; c.n == perChunk {
		h.fill(t.last, c)
	}
}

func (h *history) at(n int32) *chunk { return &h.slabs[n/perSlab][n%perSlab] }

// fill says that a chunk takes no more.
func (h *history) fill(n int32, c *chunk) {
	c.full = true
	if h.fullLast == none {
		h.fullFirst = n
	} else {
		h.at(h.fullLast).newer = n
	}
	h.fullLast = n
}

// take returns a chunk to write to; none: there is none.
func (h *history) take() int32 {
	switch {
	case h.chunks < h.most:
		if int(h.chunks) == len(h.slabs)*perSlab {
			h.slabs = append(h.slabs, make([]chunk, min(perSlab, h.most-h.chunks)))
		}
		h.chunks++
		return h.chunks - 1
	case h.fullFirst != none:
		return h.recycle()
	default:
		return none
	}
}

// recycle takes the chunk away that was full first, which is the oldest of its owner.
func (h *history) recycle() int32 {
	n := h.fullFirst
	c := h.at(n)
	if h.fullFirst = c.newer; h.fullFirst == none {
		h.fullLast = none
	}
	for _, o := range c.observations[:c.n] {
		h.unuse(o.outcome)
	}
	t := h.owners[c.owner]
	t.dropped += uint64(c.n)
	if t.first = c.next; t.first == none {
		t.last = none
		if t.gone {
			h.drop(t)
		}
	}
	return n
}

// use returns the number of an outcome.
func (h *history) use(w what) uint16 {
	n, ok := h.index[w]
	switch {
	case ok:
	case len(h.spare) > 0:
		n, h.spare = h.spare[len(h.spare)-1], h.spare[:len(h.spare)-1]
		h.outcomes[n] = outcome{what: w}
		h.index[w] = n
	case len(h.outcomes) < maxOutcomes:
		n = uint16(len(h.outcomes))
		h.outcomes = append(h.outcomes, outcome{what: w})
		h.index[w] = n
	default:
		return uint16(w.result)
	}
	h.outcomes[n].uses++
	return n
}

func (h *history) unuse(n uint16) {
	o := &h.outcomes[n]
	if int(n) <= int(check.Failed) {
		return
	}
	if o.uses--; o.uses == 0 {
		delete(h.index, o.what)
		*o = outcome{}
		h.spare = append(h.spare, n)
	}
}

// seen is an observation as it is read.
type seen struct {
	what
	age, latency time.Duration
}

// read appends up to limit of a target's observations to a slice, oldest first,
// from the one with a number on and none older than oldest (0: any), and returns
// the number to go on with. more is false when that was the last.
func (h *history) read(into []seen, target string, from uint64, oldest time.Duration, limit int, now time.Time) (_ []seen, next uint64, more bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.trails[target]
	if t == nil {
		return into, from, false
	}
	number := t.dropped
	elapsed := now.Sub(h.began)
	for n := t.first; n != none; {
		c := h.at(n)
		if number+uint64(c.n) <= from {
			number, n = number+uint64(c.n), c.next
			continue
		}
		for i, o := range c.observations[:c.n] {
			age := max(elapsed-o.at(), 0)
			if number+uint64(i) < from || oldest > 0 && age > oldest {
				continue
			}
			if limit--; limit < 0 {
				return into, number + uint64(i), true
			}
			into = append(into, seen{h.outcomes[o.outcome].what, age, time.Duration(o.latency) * time.Microsecond})
		}
		number, n = number+uint64(c.n), c.next
	}
	return into, number, false
}

// bytes is the memory that observations take.
func (h *history) bytes() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return min(len(h.slabs)*perSlab, int(h.most)) * chunkSize
}

// oldest is the age of the oldest observation.
func (h *history) oldest(now time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	age := time.Duration(0)
	for _, t := range h.trails {
		if t.first != none {
			age = max(age, now.Sub(h.began)-h.at(t.first).observations[0].at())
		}
	}
	return age
}
