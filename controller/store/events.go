package store

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

const (
	// DefaultEvents and MaxEvents are the sizes of a page of events.
	DefaultEvents = 100
	MaxEvents     = 1000
	// maxPageBytes ends a page early: an event may be large.
	maxPageBytes = 2 << 20
	// eventsAtOnce bounds the events that one request reads, hence its answer.
	eventsAtOnce = 50
	// maxSeen and maxSeenBytes bound what is looked at for one page.
	maxSeen      = 2 * MaxEvents
	maxSeenBytes = 4 * maxPageBytes
)

// Results of audit events.
const (
	ResultDone    = "done"
	ResultForced  = "forced"
	ResultRefused = "refused"
)

// EventQuery says which events are listed.
type EventQuery struct {
	// Limit is how many at most; 0 means DefaultEvents.
	Limit int
	// Page is the token that the page before came with, empty for the first.
	Page string
	// Match selects among them; nil: all.
	Match func(*pb.AuditEvent) bool
	// Since tells that none older is of interest. It ends the search; Match has to
	// leave out those that the search comes across all the same.
	Since time.Time
}

// Events lists the audit events, newest first, each with its generation.
func (s *Store) Events(ctx context.Context, limit int, page string) (events []*pb.AuditEvent, next string, err error) {
	return s.FindEvents(ctx, EventQuery{Limit: limit, Page: page})
}

// FindEvents lists audit events, newest first, each with its generation; a refusal
// has the one at which it was refused. It returns at most as many as the limit,
// fewer when they are large or when it had to look at too many, and a token for
// the page after, empty if there are no more. Events that are added meanwhile do
// not disturb the pages.
func (s *Store) FindEvents(ctx context.Context, q EventQuery) (events []*pb.AuditEvent, next string, err error) {
	if q.Limit < 0 {
		return nil, "", fmt.Errorf("store: page of %d events: want 1 to %d", q.Limit, MaxEvents)
	}
	if q.Limit == 0 {
		q.Limit = DefaultEvents
	}
	q.Limit = min(q.Limit, MaxEvents)
	from := s.keys.audits()
	if q.Page != "" {
		from += q.Page + "\x00" // after it
		if _, err := s.keys.parseAudit(s.keys.audits() + q.Page); err != nil {
			return nil, "", fmt.Errorf("store: %w: %q: want the token that the page of events before came with", ErrPageToken, q.Page)
		}
	}
	b := pageBounds{limit: q.Limit}
	older := 0 // in a row
	for {
		batch := eventsAtOnce
		if q.Match == nil {
			batch = min(q.Limit-len(events), batch)
		}
		kvs, more, err := s.auditKeys(ctx, from, batch)
		if err != nil {
			return nil, "", fmt.Errorf("store: read events: %w", err)
		}
		for i, kv := range kvs {
			e, err := s.parseEvent(kv)
			if err != nil {
				return nil, "", err
			}
			matches := q.Match == nil || q.Match(e)
			if matches {
				events = append(events, e)
			}
			// Controllers' clocks differ, so that the order of the times is not quite
			// that of the events.
			if older++; !e.GetTime().AsTime().Before(q.Since.Add(-time.Hour)) {
				older = 0
			}
			if older == eventsAtOnce {
				return events, "", nil
			}
			full := b.add(len(kv.Value), matches)
			if end := i == len(kvs)-1 && !more; !end && full {
				return events, s.keys.position(string(kv.Key)), nil
			}
		}
		if !more {
			return events, "", nil
		}
		from = string(kvs[len(kvs)-1].Key) + "\x00"
	}
}

// pageBounds bounds a page and the work for it.
type pageBounds struct {
	limit                       int
	taken, seen, size, seenSize int
}

// add counts an event; it tells whether the page ends with it.
func (b *pageBounds) add(size int, taken bool) (full bool) {
	b.seen++
	b.seenSize += size
	if taken {
		b.taken++
		b.size += size
	}
	return b.taken == b.limit || b.size > maxPageBytes || b.seen >= maxSeen || b.seenSize > maxSeenBytes
}

// auditKeys reads events from a key on; more tells whether there are others.
func (s *Store) auditKeys(ctx context.Context, from string, limit int, opts ...clientv3.OpOption) (kvs []*mvccpb.KeyValue, more bool, err error) {
	return s.auditKeysUntil(ctx, from, clientv3.GetPrefixRangeEnd(s.keys.audits()), limit, opts...)
}

// auditKeysUntil is auditKeys up to a key.
func (s *Store) auditKeysUntil(ctx context.Context, from, end string, limit int, opts ...clientv3.OpOption) (kvs []*mvccpb.KeyValue, more bool, err error) {
	opts = append(opts, clientv3.WithRange(end), clientv3.WithLimit(int64(limit)))
	var resp *clientv3.GetResponse
	err = s.try(ctx, func(ctx context.Context) (err error) {
		resp, err = s.client.Get(ctx, from, opts...)
		return err
	})
	if err != nil {
		return nil, false, err
	}
	return resp.Kvs, resp.More, nil
}

func (s *Store) parseEvent(kv *mvccpb.KeyValue) (*pb.AuditEvent, error) {
	e := &pb.AuditEvent{}
	key, err := s.keys.parseAudit(string(kv.Key))
	if err == nil {
		err = proto.Unmarshal(kv.Value, e)
	}
	if err != nil {
		return nil, fmt.Errorf("store: event %s: %w", kv.Key, err)
	}
	switch {
	case e.Generation != nil: // restored from a backup; it keeps its generation
	case key.n > 0:
		e.Generation = &pb.Generation{Epoch: key.epoch, Revision: key.revision}
	default:
		e.Generation = &pb.Generation{Epoch: key.epoch, Revision: kv.ModRevision}
	}
	return e, nil
}

// Event returns the event that made a generation, nil if there is none, or no
// longer one.
func (s *Store) Event(ctx context.Context, gen regions.Generation) (*pb.AuditEvent, error) {
	if gen.Revision <= 0 {
		return nil, nil
	}
	// Who made it had read an older revision, and who made later ones has read
	// this one or a later one. So of those before, it is the first; the refusals
	// lie at the revisions of heads, and there is none between the one that it
	// replaced and its own.
	kvs, _, err := s.auditKeys(ctx, s.keys.auditsUntil(gen.Epoch, gen.Revision-1), 1)
	if err != nil {
		return nil, fmt.Errorf("store: read event of generation %v: %w", gen, err)
	}
	if len(kvs) == 0 {
		return nil, nil
	}
	e, err := s.parseEvent(kvs[0])
	if err != nil {
		return nil, err
	}
	if generationOf(e) != gen || e.GetResult() == ResultRefused {
		return nil, nil
	}
	return e, nil
}

func generationOf(e *pb.AuditEvent) regions.Generation {
	return regions.Generation{Epoch: e.GetGeneration().GetEpoch(), Revision: e.GetGeneration().GetRevision()}
}
