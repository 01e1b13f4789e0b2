package store

import (
	"context"
	"fmt"
	"slices"
	"sort"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// trim removes old events. No writer needs them, and none writes where they
// are; only a restore does, which writes the collection key too.
func (r *collection) trim(ctx context.Context) error {
	list, err := r.listEvents(ctx)
	if err != nil {
		return err
	}
	var failed error
	old := sort.Search(len(list.within), func(i int) bool {
		if failed != nil {
			return true
		}
		var is bool
		is, failed = r.old(ctx, list.within[i])
		return is
	})
	if failed != nil {
		return failed
	}
	if old < len(list.within) {
		list.beyond = list.within[old]
	}
	for keys := range slices.Chunk(list.surplus, maxOps) {
		ops := make([]clientv3.Op, len(keys))
		for i, k := range keys {
			ops[i] = clientv3.OpDelete(k)
		}
		if ok, err := r.removeEvents(ctx, len(keys), ops...); err != nil || !ok {
			return err
		}
	}
	return r.removeFrom(ctx, list.beyond)
}

// eventList is what is there of events to be removed.
type eventList struct {
	// surplus are refusals that are too many.
	surplus []string
	// within are the events before the floor that are kept if they are young
	// enough; beyond begin those that are too many.
	within []string
	beyond string
}

func (r *collection) listEvents(ctx context.Context) (l eventList, err error) {
	end := clientv3.GetPrefixRangeEnd(r.keys.audits())
	// The event of the floor, or the first before it; those after it are not
	// kept for their generations.
	floor, _, err := r.auditKeys(ctx, r.keys.auditsUntil(r.result.Floor.Epoch, r.result.Floor.Revision-1), 1, clientv3.WithKeysOnly())
	if err != nil {
		return l, fmt.Errorf("find the floor's event: %w", err)
	}
	from := end
	if len(floor) > 0 {
		from = string(floor[0].Key) + "\x00"
	}
	l.beyond = end
	changes, refusals := 0, 0
	for next, more := r.keys.audits(), true; more; {
		var kvs []*mvccpb.KeyValue
		if kvs, more, err = r.auditKeys(ctx, next, keysAtOnce, clientv3.WithKeysOnly()); err != nil {
			return l, fmt.Errorf("list events: %w", err)
		}
		for _, kv := range kvs {
			key := string(kv.Key)
			next = key + "\x00"
			k, err := r.keys.parseAudit(key)
			switch {
			case err != nil: // none of ours
				continue
			case k.n > 0:
				refusals++
			default:
				changes++
			}
			switch {
			case k.n > 0 && refusals > r.Retention.Refusals:
				if len(l.surplus) < maxGarbage {
					l.surplus = append(l.surplus, key)
				}
			case key < from:
			case k.n == 0 && changes > r.Retention.Events:
				l.beyond = key
				return l, nil
			default:
				l.within = append(l.within, key)
			}
		}
	}
	return l, nil
}

// old tells whether an event is older than events are kept. One that another
// run removed meanwhile was.
func (r *collection) old(ctx context.Context, key string) (bool, error) {
	resp, err := r.readTxn(ctx, clientv3.OpGet(key))
	if err != nil {
		return false, fmt.Errorf("read event: %w", err)
	}
	kv := first(resp, 0)
	if kv == nil {
		return true, nil
	}
	e := &pb.AuditEvent{}
	if err := proto.Unmarshal(kv.Value, e); err != nil {
		return false, fmt.Errorf("event %s: %w", key, err)
	}
	return r.Now.Sub(e.GetTime().AsTime()) >= r.EventPeriod, nil
}

// removeFrom removes the events from a key on.
func (r *collection) removeFrom(ctx context.Context, from string) error {
	for {
		kvs, more, err := r.auditKeys(ctx, from, keysAtOnce, clientv3.WithKeysOnly())
		if err != nil {
			return fmt.Errorf("list events: %w", err)
		}
		if len(kvs) == 0 {
			return nil
		}
		end := string(kvs[len(kvs)-1].Key) + "\x00"
		ok, err := r.removeEvents(ctx, len(kvs), clientv3.OpDelete(string(kvs[0].Key), clientv3.WithRange(end)))
		if from = end; err != nil || !more || !ok {
			return err
		}
	}
}

// removeEvents removes n events, provided that nobody else collects, and pauses;
// ok is false when the time is up.
func (r *collection) removeEvents(ctx context.Context, n int, ops ...clientv3.Op) (ok bool, err error) {
	var resp *clientv3.TxnResponse
	err = r.try(ctx, func(ctx context.Context) (err error) {
		resp, err = r.client.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(r.keys.collection()), "=", r.revision)).
			Then(ops...).
			Commit()
		return err
	})
	if err != nil {
		return false, fmt.Errorf("remove %d events: %w", n, err)
	}
	if !resp.Succeeded {
		return false, ErrCollecting
	}
	r.result.RemovedEvents += n
	return sleep(ctx, jitter(r.Pause)), classify(ctx, ctx.Err())
}
