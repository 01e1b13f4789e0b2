package store

import (
	"context"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

const (
	// DefaultEvents and MaxEvents are the sizes of a page of events.
	DefaultEvents = 100
	MaxEvents     = 500
)

// Events lists audit events, newest first, each with its generation. It
// returns at most limit of them, 0 meaning DefaultEvents, and a token for the
// page after, empty if there are no more; the first page has an empty token.
// Events that are added meanwhile do not disturb the pages.
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
			return nil, "", fmt.Errorf("store: %q is no page token: want one that a page of events came with", page)
		}
	}
	var resp *clientv3.GetResponse
	err = s.try(ctx, func(ctx context.Context) (err error) {
		resp, err = s.client.Get(ctx, from,
			clientv3.WithRange(clientv3.GetPrefixRangeEnd(s.keys.audits())), clientv3.WithLimit(int64(limit)))
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("store: read events: %w", err)
	}
	for _, kv := range resp.Kvs {
		e := &pb.AuditEvent{}
		epoch, err := s.keys.auditEpoch(string(kv.Key))
		if err == nil {
			err = proto.Unmarshal(kv.Value, e)
		}
		if err != nil {
			return nil, "", fmt.Errorf("store: event %s: %w", kv.Key, err)
		}
		// An event that was restored from a backup keeps its generation.
		if e.Generation == nil {
			e.Generation = &pb.Generation{Epoch: epoch, Revision: kv.ModRevision}
		}
		events = append(events, e)
	}
	if resp.More {
		next = strings.TrimPrefix(string(resp.Kvs[len(resp.Kvs)-1].Key), s.keys.audits())
	}
	return events, next, nil
}
