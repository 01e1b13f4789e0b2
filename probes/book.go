package probes

import (
	"container/list"
	"sync"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

// book holds the opinions for the streams. Every change gets a revision, and
// the pages are kept in the order of their last change, so that each stream
// finds what it has not sent at a cost of just that, however far behind it is.
type book struct {
	mu       sync.Mutex
	pages    map[string]*list.Element // of *page
	order    *list.List               // by revision, newest last
	revision uint64
	// removed is the revision of the last removal: a stream that is behind it
	// must send everything.
	removed uint64
	readers map[chan struct{}]struct{}
}

type page struct {
	target   string
	opinion  health.Opinion
	revision uint64
}

func newBook() *book {
	return &book{pages: map[string]*list.Element{}, order: list.New(), readers: map[chan struct{}]struct{}{}}
}

// put writes an opinion down. A change of the status wakes the streams; a change
// of the reason alone waits for the next occasion.
func (b *book) put(target string, op health.Opinion) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.pages[target]
	if !ok {
		e = b.order.PushBack(&page{target: target})
		b.pages[target] = e
	}
	p := e.Value.(*page)
	was := p.opinion
	p.opinion = op
	turned := !ok || was.Status != op.Status
	if !turned && was.Reason == op.Reason {
		return
	}
	b.revision++
	p.revision = b.revision
	b.order.MoveToBack(e)
	if turned {
		b.wake()
	}
}

// remove strikes targets out.
func (b *book) remove(targets []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	found := false
	for _, t := range targets {
		if e, ok := b.pages[t]; ok {
			b.order.Remove(e)
			delete(b.pages, t)
			found = true
		}
	}
	if found {
		b.revision++
		b.removed = b.revision
		b.wake()
	}
}

func (b *book) wake() {
	for c := range b.readers {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// read registers a reader, woken when a status changes.
func (b *book) read() (wake chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	b.mu.Lock()
	b.readers[c] = struct{}{}
	b.mu.Unlock()
	return c, func() {
		b.mu.Lock()
		delete(b.readers, c)
		b.mu.Unlock()
	}
}

// since returns the opinions that changed after a revision, and the revision
// that they lead to. full is set when opinions were removed meanwhile: then it
// returns all of them.
func (b *book) since(revision uint64, now time.Time) (opinions []*pb.Opinion, to uint64, full bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	full = revision < b.removed
	for e := b.order.Back(); e != nil; e = e.Prev() {
		p := e.Value.(*page)
		if !full && p.revision <= revision {
			break
		}
		opinions = append(opinions, healthpb.Opinion(p.target, p.opinion, now))
	}
	return opinions, b.revision, full
}

// all returns all opinions.
func (b *book) all(now time.Time) (opinions []*pb.Opinion, to uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	opinions = make([]*pb.Opinion, 0, len(b.pages))
	for e := b.order.Back(); e != nil; e = e.Prev() {
		p := e.Value.(*page)
		opinions = append(opinions, healthpb.Opinion(p.target, p.opinion, now))
	}
	return opinions, b.revision
}

// get finds one opinion.
func (b *book) get(target string) (health.Opinion, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.pages[target]
	if !ok {
		return health.Opinion{}, false
	}
	return e.Value.(*page).opinion, true
}
