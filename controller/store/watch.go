package store

import (
	"context"
	"errors"
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
func (s *Store) Watch(ctx context.Context, fn func(Head, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	hint := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.hints(ctx, hint)
	}()
	defer func() { cancel(); <-done }()

	var (
		last   Head  // the last good one that fn saw
		broken error // what fn saw last; nil: last itself
		bad    Head  // with broken: the head that is no good
		first  = true
	)
	for {
		head, err := s.Head(ctx)
		if ctx.Err() != nil {
			return nil
		}
		wait := s.readInterval
		switch {
		case err == nil:
			if first || broken != nil || !head.equal(last) {
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
		select {
		case <-t.C:
		case <-hint:
			t.Stop()
		case <-ctx.Done():
			t.Stop()
			return nil
		}
	}
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
// hint, until ctx ends.
func (s *Store) hints(ctx context.Context, hint chan<- struct{}) {
	pause := firstPause
	for ctx.Err() == nil {
		one, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
		// The watch is made after the head was last read: hence the hint upon
		// its creation.
		for resp := range s.client.Watch(one, s.keys.head(), clientv3.WithCreatedNotify()) {
			if resp.Err() == nil {
				pause = firstPause
			} else {
				s.log.Debug("watch of the head ended", "error", resp.Err())
			}
			select {
			case hint <- struct{}{}:
			default: // there is one
			}
		}
		cancel()
		if sleep(ctx, jitter(pause)) {
			pause = min(2*pause, 3*time.Second)
		}
	}
}
