package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// FirstPosition comes before every event.
const FirstPosition = "ffffffffffffffff/7fffffffffffffff"

var (
	// ErrPosition: it is none that an event came with.
	ErrPosition = errors.New("no position of an event")
	// ErrTrimmed: what is to be read was removed, as events are after a time.
	ErrTrimmed = errors.New("events were removed before they were read")
)

// maxAhead bounds the events of which a Tail knows that they are there.
const maxAhead = 5000

// Tail reads events in the order in which they were made. The keys of events are
// in that order, the newest first: Swap and Refuse see to it that none comes to
// lie behind one that is there. So what is newer than the last one that was read
// is all that has not been read, however long that was ago; compaction does not
// matter. The events come without the heads. Not for concurrent use.
type Tail struct {
	s        *Store
	position string
	// ahead are keys of events to read, newest first.
	ahead []string
}

// Positioned is an event and where to go on after it.
type Positioned struct {
	*pb.AuditEvent
	Position string
}

// Tail begins after a position, with the next event that is written if it is
// empty. The error is ErrPosition if it is none, and ErrTrimmed if it may be that
// events after it were removed.
func (s *Store) Tail(ctx context.Context, after string) (*Tail, error) {
	from := s.keys.audits() + after
	if after != "" {
		if _, err := s.keys.parseAudit(from); err != nil {
			return nil, fmt.Errorf("store: %w: %q: want one that an event was streamed with, or %s", ErrPosition, after, FirstPosition)
		}
	}
	t := &Tail{s: s, position: after}
	if after == FirstPosition {
		return t, nil
	}
	kvs, _, err := s.auditKeys(ctx, from, 1, clientv3.WithKeysOnly())
	switch {
	case err != nil:
		return nil, fmt.Errorf("store: find event: %w", err)
	case after == "" && len(kvs) == 0:
		t.position = FirstPosition
	case after == "":
		t.position = s.keys.position(string(kvs[0].Key))
	case len(kvs) == 0:
		// Events are removed from the oldest on.
		return nil, fmt.Errorf("store: %w: none is as old as %s any more; begin with %s, which is the first that is kept", ErrTrimmed, after, FirstPosition)
	}
	return t, nil
}

// Position is that of the last event that Next returned.
func (t *Tail) Position() string { return t.position }

// Next reads the next events, oldest first; none if there are none yet.
func (t *Tail) Next(ctx context.Context) ([]Positioned, error) {
	if len(t.ahead) == 0 {
		if err := t.look(ctx); err != nil {
			return nil, fmt.Errorf("store: find events: %w", err)
		}
	}
	keys := t.ahead[max(0, len(t.ahead)-eventsAtOnce):]
	if len(keys) == 0 {
		return nil, nil
	}
	kvs, _, err := t.s.auditKeys(ctx, keys[0], len(keys))
	if err != nil {
		return nil, fmt.Errorf("store: read events: %w", err)
	}
	events := make([]Positioned, 0, len(keys))
	for i, kv := range slices.Backward(kvs) {
		if i >= len(keys) || string(kv.Key) != keys[i] {
			return nil, fmt.Errorf("store: %w: one of those after %s", ErrTrimmed, t.position)
		}
		e, err := t.s.parseEvent(kv)
		if err != nil {
			return nil, err
		}
		e.Head = nil
		events = append(events, Positioned{e, t.s.keys.position(keys[i])})
	}
	if len(events) < len(keys) {
		return nil, fmt.Errorf("store: %w: one of those after %s", ErrTrimmed, t.position)
	}
	t.ahead = t.ahead[:len(t.ahead)-len(keys)]
	t.position = events[len(events)-1].Position
	return events, nil
}

// look finds out which events have come, the oldest of them if they are very many.
func (t *Tail) look(ctx context.Context) error {
	end := t.s.keys.audits() + t.position
	var keys []string
	for from, more := t.s.keys.audits(), true; more; {
		kvs, any, err := t.s.auditKeysUntil(ctx, from, end, maxAhead, clientv3.WithKeysOnly())
		if err != nil {
			return err
		}
		for _, kv := range kvs {
			keys = append(keys, string(kv.Key))
		}
		keys = keys[max(0, len(keys)-maxAhead):]
		if more = any; more {
			from = string(kvs[len(kvs)-1].Key) + "\x00"
		}
	}
	t.ahead = keys
	return nil
}
