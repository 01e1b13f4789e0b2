package store

import (
	"context"
	"fmt"
	"strings"

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
)

// Events lists audit events, newest first, each with its generation. It
// returns at most limit of them, 0 meaning DefaultEvents, fewer when they are
// large, and a token for the page after, empty if there are no more; the first
// page has an empty token. Events that are added meanwhile do not disturb the
// pages.
func (s *Store) Events(ctx context.Context, limit int, page string) (events []*pb.AuditEvent, next string, err error) {
	if limit < 0 {
		return nil, "", fmt.Errorf("store: page of %d events: want 1 to %d", limit, MaxEvents)
	}
	if limit == 0 {
		limit = DefaultEvents
	}
	limit = min(limit, MaxEvents)
	from := s.keys.audits()
	if page != "" {
		from += page + "\x00" // after it
		if _, err := s.keys.auditEpoch(from); err != nil || !printable(page) {
			return nil, "", fmt.Errorf("store: %w: %q: want the token that the page of events before came with", ErrPageToken, page)
		}
	}
	for size := 0; ; {
		kvs, more, err := s.auditKeys(ctx, from, min(limit-len(events), eventsAtOnce))
		if err != nil {
			return nil, "", fmt.Errorf("store: read events: %w", err)
		}
		for i, kv := range kvs {
			e, err := s.parseEvent(kv)
			if err != nil {
				return nil, "", err
			}
			events = append(events, e)
			size += len(kv.Value)
			if end := i == len(kvs)-1 && !more; !end && (len(events) == limit || size > maxPageBytes) {
				return events, strings.TrimPrefix(string(kv.Key), s.keys.audits()), nil
			}
		}
		if !more {
			return events, "", nil
		}
		from = string(kvs[len(kvs)-1].Key) + "\x00"
	}
}

// auditKeys reads events from a key on; more tells whether there are others.
func (s *Store) auditKeys(ctx context.Context, from string, limit int, opts ...clientv3.OpOption) (kvs []*mvccpb.KeyValue, more bool, err error) {
	opts = append(opts, clientv3.WithRange(clientv3.GetPrefixRangeEnd(s.keys.audits())), clientv3.WithLimit(int64(limit)))
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
	epoch, err := s.keys.auditEpoch(string(kv.Key))
	if err == nil {
		err = proto.Unmarshal(kv.Value, e)
	}
	if err != nil {
		return nil, fmt.Errorf("store: event %s: %w", kv.Key, err)
	}
	// An event that was restored from a backup keeps its generation.
	if e.Generation == nil {
		e.Generation = &pb.Generation{Epoch: epoch, Revision: kv.ModRevision}
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
	// this one or a later one. So of those before, it is the first.
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
	if generationOf(e) != gen {
		return nil, nil
	}
	return e, nil
}

func generationOf(e *pb.AuditEvent) regions.Generation {
	return regions.Generation{Epoch: e.GetGeneration().GetEpoch(), Revision: e.GetGeneration().GetRevision()}
}
