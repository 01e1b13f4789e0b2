package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
)

// MaxObjectSize is the largest object, in bytes. etcd takes requests of up to
// 1.5 MiB by default.
const MaxObjectSize = 1 << 20

const (
	// maxOps is etcd's default limit of operations in a transaction.
	maxOps = 128
	// maxBatch bounds the bytes of objects that one request writes, unless it
	// is a single one.
	maxBatch = 1 << 20
	// opOverhead is more than what an operation adds to its value.
	opOverhead = 512
	// readOps bounds the objects that one request reads, hence its answer.
	readOps = 4
	// readers bounds the requests that a Get has under way.
	readers = 4
)

// Mark tells since when objects are known to be in the store. Swap takes it:
// if any objects were collected since, it refuses.
type Mark struct {
	// collection is the ModRevision of the collection key, from before it was
	// looked which objects are there.
	collection int64
}

// Put writes those of the objects that are not in the store, and returns the
// digests of all, in order. It may be repeated at will. After an error some of
// them may have been written, which does no harm.
//
// Objects that no head names are collected some time. The mark is for Swap,
// which makes sure that the objects are there still. What the head that it
// replaces refers to need not be put again.
func (s *Store) Put(ctx context.Context, objects [][]byte) ([]Digest, Mark, error) {
	digests := make([]Digest, len(objects))
	contents := make(map[Digest][]byte, len(objects))
	var order []Digest // without duplicates
	for i, data := range objects {
		if len(data) > MaxObjectSize {
			return nil, Mark{}, fmt.Errorf("store: object %d of %d has %d bytes: want at most %d", i+1, len(objects), len(data), MaxObjectSize)
		}
		d := Sum(data)
		digests[i] = d
		if _, ok := contents[d]; !ok {
			contents[d] = data
			order = append(order, d)
		}
	}
	missing, mark, err := s.missing(ctx, order)
	if err != nil {
		return nil, Mark{}, fmt.Errorf("store: look for objects: %w", err)
	}
	for len(missing) > 0 {
		n, size := 0, 0
		var ops []clientv3.Op
		for _, d := range missing {
			size += len(contents[d]) + opOverhead
			if n == maxOps || n > 0 && size > maxBatch {
				break
			}
			ops = append(ops, clientv3.OpPut(s.keys.object(d), string(contents[d])))
			n++
		}
		err := s.try(ctx, func(ctx context.Context) error {
			_, err := s.client.Txn(ctx).Then(ops...).Commit()
			return err
		})
		if err != nil {
			return nil, Mark{}, fmt.Errorf("store: write %d objects: %w", n, err)
		}
		missing = missing[n:]
	}
	return digests, mark, nil
}

// missing returns those of the objects that are not in the store, and a mark
// from before, or as of when, it looked.
func (s *Store) missing(ctx context.Context, digests []Digest) ([]Digest, Mark, error) {
	n := min(len(digests), maxOps-1)
	absent := make([][]Digest, 1+(len(digests)-n+maxOps-1)/maxOps)
	got, err := s.absent(ctx, digests[:n], &absent[0], clientv3.OpGet(s.keys.collection(), clientv3.WithKeysOnly()))
	if err != nil {
		return nil, Mark{}, err
	}
	mark := Mark{first(got, n).GetModRevision()}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	i := 0
	for batch := range slices.Chunk(digests[n:], maxOps) {
		i++
		mine := &absent[i]
		g.Go(func() error {
			_, err := s.absent(ctx, batch, mine)
			return err
		})
	}
	err = g.Wait()
	return slices.Concat(absent...), mark, err
}

// absent finds out which of the objects are absent, and does what more shall be
// done as of the same revision.
func (s *Store) absent(ctx context.Context, batch []Digest, found *[]Digest, more ...clientv3.Op) (*clientv3.TxnResponse, error) {
	ops := make([]clientv3.Op, len(batch))
	for i, d := range batch {
		ops[i] = clientv3.OpGet(s.keys.object(d), clientv3.WithCountOnly())
	}
	resp, err := s.readTxn(ctx, append(ops, more...)...)
	if err != nil {
		return nil, err
	}
	for i, d := range batch {
		if resp.Responses[i].GetResponseRange().GetCount() == 0 {
			*found = append(*found, d)
		}
	}
	return resp, nil
}

// Get reads objects and verifies each against its digest. If one is not there
// the error is ErrMissingObject, and if one does not match it is
// ErrAlteredObject; both name it.
//
// Since objects never change, Get first asks any one member, so it works
// without a quorum too; a member that lags behind or is damaged is given no
// credit: what it lacks, or has altered, is asked for again with a quorum.
func (s *Store) Get(ctx context.Context, digests []Digest) (map[Digest][]byte, error) {
	found := make(map[Digest][]byte, len(digests))
	for _, d := range digests {
		found[d] = nil
	}
	wanted := slices.Collect(maps.Keys(found))
	clear(found)
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for batch := range slices.Chunk(wanted, readOps) {
		g.Go(func() error {
			got, err := s.getBatch(ctx, batch)
			mu.Lock()
			defer mu.Unlock()
			maps.Copy(found, got)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("store: read objects: %w", err)
	}
	return found, nil
}

func (s *Store) getBatch(ctx context.Context, batch []Digest) (map[Digest][]byte, error) {
	found := make(map[Digest][]byte, len(batch))
	var again []Digest
	err := s.read(ctx, batch, true, func(d Digest, kv *mvccpb.KeyValue) error {
		if kv == nil || Sum(kv.Value) != d {
			again = append(again, d)
			return nil
		}
		found[d] = kv.Value
		return nil
	})
	if err != nil || len(again) == 0 {
		return found, err
	}
	return found, s.read(ctx, again, false, func(d Digest, kv *mvccpb.KeyValue) error {
		switch {
		case kv == nil:
			return fmt.Errorf("%w: %s", ErrMissingObject, d)
		case Sum(kv.Value) != d:
			return fmt.Errorf("%w: %s: its %d bytes have digest %s", ErrAlteredObject, d, len(kv.Value), Sum(kv.Value))
		}
		found[d] = kv.Value
		return nil
	})
}

// read calls each with every object of the batch, nil if it is not there.
func (s *Store) read(ctx context.Context, batch []Digest, local bool, each func(Digest, *mvccpb.KeyValue) error) error {
	var opts []clientv3.OpOption
	try := s.try
	if local {
		opts = append(opts, clientv3.WithSerializable())
		try = s.tryAnyMember
	}
	ops := make([]clientv3.Op, len(batch))
	for i, d := range batch {
		ops[i] = clientv3.OpGet(s.keys.object(d), opts...)
	}
	var resp *clientv3.TxnResponse
	err := try(ctx, func(ctx context.Context) (err error) {
		resp, err = s.client.Txn(ctx).Then(ops...).Commit()
		return err
	})
	if err != nil {
		return err
	}
	for i, d := range batch {
		var kv *mvccpb.KeyValue
		if kvs := resp.Responses[i].GetResponseRange().GetKvs(); len(kvs) > 0 {
			kv = kvs[0]
		}
		if err := each(d, kv); err != nil {
			return err
		}
	}
	return nil
}
