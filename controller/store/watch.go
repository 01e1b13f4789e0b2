package store

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Watch calls fn with the head when it is first read, whenever it is found
// changed, and whenever etcd stops or resumes answering; it runs until ctx
// ends and then returns nil. With an error (ErrUnavailable, ErrMalformedHead,
// ErrDenied, …) comes the last good head. A head with revision 0 and no error
// says that there is none, or no longer one.
//
// An etcd watch is no more than a hint to read the head (invariant 13): upon
// every hint, and at every ReadInterval, the head is read and compared. So
// events that are lost, compacted, repeated or that come while fn runs cost no
// more than time, and fn always gets the latest state, never a queue of them.
//
// The read tells too whether etcd is away: one that has had no answer after
// readWithin, from whatever member, says so. It is one small key, read from
// memory once a second by each controller; what it costs etcd is a heartbeat
// that its leader sends to confirm that it leads, one for all reads that wait
// at the time. etcd serves ten thousand of these a second.
func (s *Store) Watch(ctx context.Context, fn func(Head, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	h := &hints{Store: s, hint: make(chan struct{}, 1)}
	var wg sync.WaitGroup
	wg.Go(func() { h.run(ctx) })
	wg.Go(func() { s.scout(ctx, h.renew) })
	defer wg.Wait()
	defer cancel()

	var (
		last   Head  // the last good one that fn saw
		broken error // what fn saw last; nil: last itself
		bad    Head  // with broken: the head that is no good
		first  = true
		hinted bool // the head is read upon a hint
	)
	for {
		head, err := s.headWithin(ctx, readWithin)
		if ctx.Err() != nil {
			return nil
		}
		wait := s.readInterval
		switch {
		case err == nil:
			if first || broken != nil || !head.equal(last) {
				if !first && broken == nil && !hinted {
					h.renew() // it may hang, at a member that is frozen
				}
				last, broken, first = head, nil, false
				fn(head, nil)
			}
		default:
			if broken == nil || !errors.Is(kindOf(err), kindOf(broken)) || !head.equal(bad) {
				broken, bad, first = err, head, false
				s.log.Warn("head cannot be read", "error", err)
				fn(last, err)
			}
			wait = min(wait, time.Second)
		}
		t := time.NewTimer(jitter(wait))
		hinted = false
		select {
		case <-t.C:
		case <-h.hint:
			hinted = true
			t.Stop()
		case <-ctx.Done():
			t.Stop()
			return nil
		}
	}
}

// readWithin bounds a read of Watch's. It is two attempts.
const readWithin = 2 * firstPatience

func (s *Store) headWithin(ctx context.Context, d time.Duration) (Head, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return s.Head(ctx)
}

// kindOf tells errors apart that fn is told of separately.
func kindOf(err error) error {
	for _, kind := range []error{ErrUnavailable, ErrDenied, ErrMalformedHead} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return nil
}

// hints watches the head key and turns whatever happens to the watch into a
// hint.
type hints struct {
	*Store
	hint chan struct{}
	// end ends the watch that there is; the next one is made at once, at a
	// member that answers.
	end atomic.Pointer[context.CancelFunc]
}

// renew makes the watch anew.
func (h *hints) renew() {
	if end := h.end.Load(); end != nil {
		(*end)()
	}
}

func (h *hints) run(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		one, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
		h.end.Store(&cancel)
		// The client's own watcher would put a new watch on a stream that
		// another one waits at in vain.
		watcher := clientv3.NewWatcher(h.client)
		// The watch is made after the head was last read: hence the hint upon
		// its creation.
		for resp := range watcher.Watch(one, h.keys.head(), clientv3.WithCreatedNotify()) {
			if resp.Err() == nil {
				pause = firstPause
			} else {
				h.log.Debug("watch of the head ended", "error", resp.Err())
			}
			select {
			case h.hint <- struct{}{}:
			default: // there is one
			}
		}
		cancel()
		watcher.Close() // what it says is no news
		if sleep(ctx, jitter(pause)) {
			pause = min(2*pause, 3*time.Second)
		}
	}
}
