package probes

import (
	"container/heap"
	"net/netip"
	"strings"
	"time"
)

// burst is how much of a rate's checks may begin at once after a quiet time.
const burst = 100 * time.Millisecond

// stage is a budget, in the order in which a check passes them.
type stage uint8

// The budgets. Rates come after what waits for other checks, so that no check
// saves up its permission to begin.
const (
	addressConcurrency stage = iota
	addressRate
	totalConcurrency
	totalRate
	stages
)

func (s stage) String() string {
	return [...]string{"address-concurrency", "address-rate", "concurrency", "rate"}[s]
}

// budget admits checks: so many at once and so many a second, for each address
// and over all. What it cannot admit yet waits for its turn, first come, first
// served, so that no target starves and none is dropped. A target has at most
// one check here, so there is never more waiting than there are targets.
//
// An address is what an assignment states: two names of one host, or a name and
// its address, count apart.
//
// The agent's goroutine owns it.
type budget struct {
	concurrent, rate int // for each address
	total            gate
	free             int // how many more may run
	places           map[string]*place

	later later        // those that wait for a moment
	queue fifo[*job]   // those that wait until another one ends
	ready fifo[*place] // places with a queue of which one may go on

	waiting int
	held    func(stage) // told of each check that is held back
}

// place is one address, and the checks of its targets.
type place struct {
	address string
	jobs    int
	running int // checks that its own budget has admitted
	rate    gate
	queue   fifo[*job]
}

func newBudget(o *Options, held func(stage)) *budget {
	return &budget{
		concurrent: o.MaxConcurrentPerAddress, rate: o.MaxRatePerAddress,
		total: newGate(o.MaxRate), free: o.MaxConcurrent, places: map[string]*place{}, held: held,
	}
}

// enter takes a job in that may ask for checks.
func (b *budget) enter(j *job) {
	key := strings.TrimSuffix(strings.ToLower(j.address), ".")
	if addr, err := netip.ParseAddr(key); err == nil {
		key = addr.Unmap().String()
	}
	p := b.places[key]
	if p == nil {
		p = &place{address: key, rate: newGate(b.rate)}
		b.places[key] = p
	}
	p.jobs++
	j.place = p
}

// leave lets a job go, which is gone from the schedule. If it waits, it is passed
// over when its turn comes.
func (b *budget) leave(j *job) {
	if j.state == waiting {
		b.waiting--
	}
	j.place.jobs--
	b.forget(j.place)
}

// forget drops a place that nothing refers to.
func (b *budget) forget(p *place) {
	if p.jobs == 0 && p.running == 0 && b.places[p.address] == p {
		delete(b.places, p.address)
	}
}

// ask wants a check of an idle job. It tells whether the check may begin now;
// otherwise the job waits, and due hands it out.
func (b *budget) ask(j *job, now time.Time) bool {
	p := j.place
	if p.running >= b.concurrent || p.queue.len() > 0 {
		p.queue.push(j)
		return b.wait(j, addressConcurrency, time.Time{})
	}
	p.running++
	return b.pass(j, addressRate, now)
}

// pass takes a job through the budgets from one on.
func (b *budget) pass(j *job, from stage, now time.Time) bool {
	if from <= addressRate {
		if t := j.place.rate.reserve(now); t.After(now) {
			return b.wait(j, addressRate, t)
		}
	}
	if from <= totalConcurrency {
		if b.free == 0 || b.queue.len() > 0 {
			b.queue.push(j)
			return b.wait(j, totalConcurrency, time.Time{})
		}
		b.free--
	}
	if from <= totalRate {
		if t := b.total.reserve(now); t.After(now) {
			return b.wait(j, totalRate, t)
		}
	}
	if j.state == waiting {
		b.waiting--
	}
	j.state = running
	return true
}

// wait makes a job wait at a budget, until a moment where there is one.
func (b *budget) wait(j *job, at stage, until time.Time) bool {
	if j.state != waiting {
		b.waiting++
	}
	j.state, j.heldBy = waiting, at
	if !until.IsZero() {
		heap.Push(&b.later, moment{until, j})
	}
	b.held(at)
	return false
}

// done takes back what the check of a running job held.
func (b *budget) done(j *job) {
	b.free++
	j.state = idle
	b.release(j.place)
}

func (b *budget) release(p *place) {
	p.running--
	if p.queue.len() > 0 {
		b.ready.push(p)
	}
	b.forget(p)
}

// next is when due must be called at the latest, if nothing is done until then;
// ok is false when nothing waits for a moment.
func (b *budget) next() (at time.Time, ok bool) {
	if len(b.later) == 0 {
		return time.Time{}, false
	}
	return b.later[0].at, true
}

// due returns a job that has waited and whose check may begin now; nil: none.
// After done it is to be called until there is none.
func (b *budget) due(now time.Time) *job {
	for {
		switch {
		case b.free > 0 && b.queue.len() > 0:
			j := b.queue.pop()
			if j.gone {
				b.release(j.place)
				continue
			}
			b.free--
			if b.pass(j, totalRate, now) {
				return j
			}
		case b.ready.len() > 0:
			if j := b.resume(b.ready.pop(), now); j != nil {
				return j
			}
		case len(b.later) > 0 && !b.later[0].at.After(now):
			j := heap.Pop(&b.later).(moment).job
			switch {
			case !j.gone:
				if b.pass(j, j.heldBy+1, now) {
					return j
				}
			case j.heldBy == totalRate:
				b.free++
				fallthrough
			default:
				b.release(j.place)
			}
		default:
			return nil
		}
	}
}

// resume lets the queue of a place go on, and returns a job of it that may begin.
func (b *budget) resume(p *place, now time.Time) *job {
	for p.running < b.concurrent && p.queue.len() > 0 {
		j := p.queue.pop()
		if j.gone {
			continue
		}
		p.running++
		if b.pass(j, addressRate, now) {
			if p.queue.len() > 0 {
				b.ready.push(p)
			}
			return j
		}
	}
	return nil
}

// gate spaces what passes it evenly, with a small burst after a quiet time
// (the generic cell rate algorithm).
type gate struct {
	every time.Duration
	next  time.Time // when the next one is due, were there no burst
}

func newGate(perSecond int) gate { return gate{every: time.Second / time.Duration(perSecond)} }

// reserve takes the next place and says from when on it may be used.
func (g *gate) reserve(now time.Time) time.Time {
	if g.next.Before(now) {
		g.next = now
	}
	at := g.next.Add(-burst)
	g.next = g.next.Add(g.every)
	if at.Before(now) {
		return now
	}
	return at
}

// moment is when a job that waits may go on.
type moment struct {
	at  time.Time
	job *job
}

// later is a heap of moments.
type later []moment

func (l later) Len() int           { return len(l) }
func (l later) Less(a, b int) bool { return l[a].at.Before(l[b].at) }
func (l later) Swap(a, b int)      { l[a], l[b] = l[b], l[a] }
func (l *later) Push(x any)        { *l = append(*l, x.(moment)) }

func (l *later) Pop() any {
	old := *l
	m := old[len(old)-1]
	old[len(old)-1] = moment{}
	*l = old[:len(old)-1]
	return m
}

// fifo is a queue.
type fifo[T any] struct {
	items []T
	first int
}

func (f *fifo[T]) len() int { return len(f.items) - f.first }

func (f *fifo[T]) push(x T) {
	if f.first > len(f.items)/2 {
		n := copy(f.items, f.items[f.first:])
		clear(f.items[n:])
		f.items, f.first = f.items[:n], 0
	}
	f.items = append(f.items, x)
}

func (f *fifo[T]) pop() T {
	x := f.items[f.first]
	var none T
	f.items[f.first] = none
	f.first++
	if f.first == len(f.items) {
		f.items, f.first = f.items[:0], 0
	}
	return x
}
