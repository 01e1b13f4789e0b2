package store

import (
	"context"
	"fmt"
	"sort"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// trim removes old events. No writer needs them, and none writes where they
// are; only a restore does, which writes the collection key too.
func (r *collection) trim(ctx context.Context) error {
	floor := r.result.Floor
	// The event of the floor, or the first before it; those after it are not
	// kept for their generations.
	kvs, _, err := r.auditKeys(ctx, r.keys.auditsUntil(floor.Epoch, floor.Revision-1), 1, clientv3.WithKeysOnly())
	if err != nil || len(kvs) == 0 {
		return err
	}
	from := string(kvs[0].Key) + "\x00"
	var newer *clientv3.GetResponse
	err = r.try(ctx, func(ctx context.Context) (err error) {
		newer, err = r.client.Get(ctx, r.keys.audits(), clientv3.WithRange(from), clientv3.WithCountOnly())
		return err
	})
	if err != nil {
		return fmt.Errorf("count events: %w", err)
	}
	// within are those that are kept if they are young enough; beyond begin
	// those that are too many.
	var within []string
	beyond := from
	for room := max(0, r.Retention.Events-int(newer.Count)); len(within) < room; {
		kvs, more, err := r.auditKeys(ctx, beyond, min(room-len(within), keysAtOnce), clientv3.WithKeysOnly())
		if err != nil {
			return fmt.Errorf("list events: %w", err)
		}
		for _, kv := range kvs {
			within = append(within, string(kv.Key))
		}
		if len(kvs) > 0 {
			beyond = within[len(within)-1] + "\x00"
		}
		if !more {
			break
		}
	}
	var failed error
	old := sort.Search(len(within), func(i int) bool {
		if failed != nil {
			return true
		}
		var is bool
		is, failed = r.old(ctx, within[i])
		return is
	})
	if failed != nil {
		return failed
	}
	if old < len(within) {
		beyond = within[old]
	}
	return r.removeEvents(ctx, beyond)
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

// removeEvents removes the events from a key on.
func (r *collection) removeEvents(ctx context.Context, from string) error {
	for {
		kvs, more, err := r.auditKeys(ctx, from, keysAtOnce, clientv3.WithKeysOnly())
		if err != nil {
			return fmt.Errorf("list events: %w", err)
		}
		if len(kvs) == 0 {
			return nil
		}
		var resp *clientv3.TxnResponse
		end := string(kvs[len(kvs)-1].Key) + "\x00"
		err = r.try(ctx, func(ctx context.Context) (err error) {
			resp, err = r.client.Txn(ctx).
				If(clientv3.Compare(clientv3.ModRevision(r.keys.collection()), "=", r.revision)).
				Then(clientv3.OpDelete(string(kvs[0].Key), clientv3.WithRange(end))).
				Commit()
			return err
		})
		if err != nil {
			return fmt.Errorf("remove %d events: %w", len(kvs), err)
		}
		if !resp.Succeeded {
			return ErrCollecting
		}
		r.result.RemovedEvents += len(kvs)
		if from = end; !more || !sleep(ctx, jitter(r.Pause)) {
			return classify(ctx, ctx.Err())
		}
	}
}
