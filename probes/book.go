package probes

import (
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
	newest   *page // by revision; its older ones hang on it
	oldest   *page
	pages    int
	revision uint64
	// removed is the revision of the last removal: a stream that is behind it
	// must send everything.
	removed uint64
	readers map[chan struct{}]struct{}
}

// page is one target's opinion. Only the agent's goroutine writes to it, under
// the book's lock, so that it may read without.
type page struct {
	target  string
	opinion health.Opinion

	revision     uint64 // 0: not in the book
	older, newer *page
}

func newBook() *book { return &book{readers: map[chan struct{}]struct{}{}} }

// put writes an opinion down. A change of the status, or of whether it wavers,
// wakes the streams; a change of the reason alone waits for the next occasion.
func (b *book) put(p *page, op health.Opinion) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.write(p, op)
}

func (b *book) write(p *page, op health.Opinion) {
	was := p.opinion
	p.opinion = op
	turned := p.revision == 0 || was.Status != op.Status || was.Wavering() != op.Wavering()
	if !turned && was.Reason == op.Reason {
		return
	}
	b.unlink(p)
	b.revision++
	p.revision = b.revision
	if p.older = b.newest; p.older != nil {
		p.older.newer = p
	} else {
		b.oldest = p
	}
	b.newest = p
	b.pages++
	if turned {
		b.wake()
	}
}

// unlink takes a page out, if it is in the book.
func (b *book) unlink(p *page) {
	if p.revision == 0 {
		return
	}
	if p.newer != nil {
		p.newer.older = p.older
	} else {
		b.newest = p.older
	}
	if p.older != nil {
		p.older.newer = p.newer
	} else {
		b.oldest = p.newer
	}
	p.revision, p.older, p.newer = 0, nil, nil
	b.pages--
}

// change strikes pages out, and others of which each gives way to one of the same
// target with an opinion. Readers see all of it or nothing.
func (b *book) change(removed []*page, replaced [][2]*page, op health.Opinion) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.pages
	for _, p := range removed {
		b.unlink(p)
	}
	if b.pages != before {
		b.revision++
		b.removed = b.revision
		b.wake()
	}
	for _, r := range replaced {
		b.unlink(r[0])
		b.write(r[1], op)
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

// read registers a reader, woken when a status changes or begins to waver.
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
	for p := b.newest; p != nil; p = p.older {
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
	opinions = make([]*pb.Opinion, 0, b.pages)
	for p := b.newest; p != nil; p = p.older {
		opinions = append(opinions, healthpb.Opinion(p.target, p.opinion, now))
	}
	return opinions, b.revision
}
