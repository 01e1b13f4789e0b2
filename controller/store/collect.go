package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

const (
	// keysAtOnce bounds the keys that one request lists.
	keysAtOnce = 5000
	// maxGarbage bounds the objects that one run removes; the rest is left to
	// the next.
	maxGarbage = 200_000
	// maxRemarks bounds how often a run looks again after the head has moved.
	maxRemarks = 1000
)

// Reference names an object that a manifest refers to.
type Reference struct {
	Digest Digest
	Size   uint64 // in bytes
}

// CollectOptions say what one run does.
type CollectOptions struct {
	Retention
	// Controller is who collects, for those who look.
	Controller string
	Now        time.Time
	// References reads a manifest.
	References func(manifest []byte) ([]Reference, error)
	// Trust returns an error if the head is none that anything may be removed
	// for. Optional.
	Trust func(Head) error
	// NotWithin makes the run one that does nothing if another began within
	// so long.
	NotWithin time.Duration
	// Pause lies between two writes, so that writers of heads find the time to
	// put their objects again. By default 250 ms.
	Pause time.Duration
}

// Collected says what a run found and did.
type Collected struct {
	// Skipped: another run began within NotWithin, or there is no head yet.
	Skipped bool
	// Floor is the oldest generation that is kept, Generations how many are.
	Floor       regions.Generation
	Generations int
	// Objects that generations refer to, and their size but for overrides.
	Objects int
	Bytes   uint64
	// Missing objects generations refer to, and are not there.
	Missing int
	// Young objects no generation refers to, but may do so soon.
	Young          int
	RemovedObjects int
	RemovedEvents  int
}

// Collect removes the objects that no generation that is kept refers to, and
// old events. It removes nothing, with an error, while the head or anything
// that a generation needs to be understood is missing or altered. Any number
// of runs and of writers may be under way, also stopped ones that go on later:
//
// Let a run have read the head, at revision H, and what all kept generations
// refer to. Each of its writes compares the head with what it was, and the
// collection key with what this run wrote last, and writes that key. Let a
// later head refer to an object that a write at D removes, and be swapped in at
// S. Not S < D, for the head would not be at H; unless S ≤ H, but then the
// object is among what the run knows to be referred to. Not D < S either: the
// writer read the collection key before it saw that the object is there (Put),
// and Swap compares that key, so it saw the object after D. Nothing is
// assumed about time; the grace period only makes conflicts rare.
//
// The error is ErrCollecting if another run interfered, ErrUnavailable if etcd
// does not answer; what was to be done is left to a later run.
func (s *Store) Collect(ctx context.Context, o CollectOptions) (Collected, error) {
	if err := o.validate(); err != nil {
		return Collected{}, err
	}
	if o.Pause == 0 {
		o.Pause = 250 * time.Millisecond
	}
	r := &collection{Store: s, CollectOptions: o, reach: map[Digest]bool{}, manifests: map[Digest]bool{}}
	err := r.run(ctx)
	r.result.Objects = len(r.reach)
	if err != nil {
		return r.result, fmt.Errorf("store: collect: %w", err)
	}
	return r.result, nil
}

// collection is a run of Collect.
type collection struct {
	*Store
	CollectOptions
	head Head // that reach was made for
	// state is what the collection key holds, at revision.
	state    *pb.Collection
	revision int64

	reach     map[Digest]bool // what may not be removed
	manifests map[Digest]bool // that reach was made from
	newest    regions.Generation

	result Collected
}

func (r *collection) run(ctx context.Context) error {
	ok, err := r.begin(ctx)
	if err != nil || !ok {
		r.result.Skipped = err == nil
		return err
	}
	if err := r.mark(ctx); err != nil {
		return r.orOther(ctx, err)
	}
	r.state.Floor = &pb.Generation{Epoch: r.result.Floor.Epoch, Revision: r.result.Floor.Revision}
	garbage, err := r.garbage(ctx)
	if err != nil {
		return err
	}
	if err := r.sweep(ctx, garbage); err != nil {
		return r.orOther(ctx, err)
	}
	return r.trim(ctx)
}

// orOther returns err, or ErrCollecting if another run is to blame.
func (r *collection) orOther(ctx context.Context, err error) error {
	if !errors.Is(err, ErrMissingObject) {
		return err
	}
	resp, gerr := r.readTxn(ctx, clientv3.OpGet(r.keys.collection(), clientv3.WithKeysOnly()))
	switch {
	case gerr != nil:
		return gerr // it cannot be told
	case first(resp, 0).GetModRevision() != r.revision:
		return ErrCollecting
	}
	return err
}

// begin reads where things stand; ok is false if there is nothing to do.
func (r *collection) begin(ctx context.Context) (ok bool, err error) {
	resp, err := r.readTxn(ctx, clientv3.OpGet(r.keys.head()), clientv3.OpGet(r.keys.collection()),
		clientv3.OpGet(r.keys.audits(), clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(1)))
	if err != nil {
		return false, err
	}
	kv := first(resp, 0)
	if kv == nil {
		if first(resp, 2) != nil {
			return false, ErrHeadLost
		}
		return false, nil
	}
	if r.head, err = parseHead(resp.Header.ClusterId, kv.ModRevision, kv.Value); err != nil {
		return false, err
	}
	if r.Trust != nil {
		if err := r.Trust(r.head); err != nil {
			return false, err
		}
	}
	r.state = &pb.Collection{}
	if kv := first(resp, 1); kv != nil {
		if r.state, err = parseCollection(kv.Value); err != nil {
			return false, err
		}
		r.revision = kv.ModRevision
	}
	// Another controller's clock may be anything; then this is a run too many.
	if t := r.state.GetTime(); t != nil && r.Now.Sub(t.AsTime()).Abs() < r.NotWithin {
		return false, nil
	}
	r.state.Time, r.state.Controller = timestamppb.New(r.Now), r.Controller
	r.state.Run, r.state.Batch = rand.Uint64(), 0
	r.settle(resp.Header.Revision)
	return true, nil
}

// settle advances what is known of the age of revisions.
func (r *collection) settle(revision int64) {
	st, here := r.state, &pb.StoreMark{Revision: revision, Time: timestamppb.New(r.Now)}
	if st.GetSettled().GetRevision() > revision { // etcd has gone back
		st.Settled = nil
	}
	age := r.Now.Sub(st.GetPending().GetTime().AsTime())
	switch {
	case r.Grace == 0:
		st.Settled, st.Pending = here, nil
	case st.GetPending() == nil || st.GetPending().GetRevision() > revision || age < -r.Grace:
		st.Pending = here
	case age >= r.Grace:
		st.Settled, st.Pending = st.GetPending(), here
	}
}

func parseCollection(raw []byte) (*pb.Collection, error) {
	st := &pb.Collection{}
	if err := proto.Unmarshal(raw, st); err != nil {
		return nil, fmt.Errorf("%w: delete it; the next collection makes it anew: %w", ErrMalformedCollection, err)
	}
	return st, nil
}

// Floor returns the oldest generation that is kept. The objects of older ones
// may be gone.
func (s *Store) Floor(ctx context.Context) (regions.Generation, error) {
	resp, err := s.readTxn(ctx, clientv3.OpGet(s.keys.collection()))
	if err != nil {
		return regions.Generation{}, fmt.Errorf("store: read collection key: %w", err)
	}
	kv := first(resp, 0)
	if kv == nil {
		return regions.Generation{}, nil
	}
	st, err := parseCollection(kv.Value)
	if err != nil {
		return regions.Generation{}, fmt.Errorf("store: %w", err)
	}
	return regions.Generation{Epoch: st.GetFloor().GetEpoch(), Revision: st.GetFloor().GetRevision()}, nil
}

// garbage lists the objects to remove.
func (r *collection) garbage(ctx context.Context) ([]Digest, error) {
	var list []Digest
	found := 0
	settled := r.state.GetSettled().GetRevision()
	end := clientv3.GetPrefixRangeEnd(r.keys.objects())
	for from, more := r.keys.objects(), true; more && len(list) < maxGarbage; {
		var resp *clientv3.GetResponse
		err := r.try(ctx, func(ctx context.Context) (err error) {
			resp, err = r.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithKeysOnly(), clientv3.WithLimit(keysAtOnce))
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list objects: %w", err)
		}
		for _, kv := range resp.Kvs {
			d, err := ParseDigest(strings.TrimPrefix(string(kv.Key), r.keys.objects()))
			switch {
			case err != nil: // none of ours
			case r.reach[d]:
				found++
			case kv.ModRevision > settled:
				r.result.Young++
			default:
				list = append(list, d)
			}
		}
		if more = resp.More; more {
			from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
			continue
		}
		r.result.Missing = len(r.reach) - found
	}
	return list, nil
}

// sweep removes garbage, but for what turns out to be needed meanwhile. It
// writes once at least: what is not kept any more is so from the first write
// on.
func (r *collection) sweep(ctx context.Context, garbage []Digest) error {
	for remarks := 0; ; {
		n := min(len(garbage), maxOps-1)
		err := r.write(ctx, garbage[:n])
		switch {
		case err == nil:
			r.result.RemovedObjects += n
			if garbage = garbage[n:]; len(garbage) == 0 {
				return nil
			}
			if !sleep(ctx, jitter(r.Pause)) {
				return classify(ctx, ctx.Err())
			}
			continue
		case !errors.Is(err, ErrConflict) || remarks == maxRemarks:
			return err
		}
		remarks++
		if err := r.remark(ctx); err != nil {
			return err
		}
		garbage = slices.DeleteFunc(garbage, func(d Digest) bool { return r.reach[d] })
	}
}

// write removes objects and notes it in the collection key, provided that the
// head is the one that was read (else ErrConflict), and that nobody else
// collects (else ErrCollecting).
func (r *collection) write(ctx context.Context, garbage []Digest) error {
	r.state.Batch++
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(r.state)
	if err != nil {
		return err
	}
	ops := []clientv3.Op{clientv3.OpPut(r.keys.collection(), string(value))}
	for _, d := range garbage {
		ops = append(ops, clientv3.OpDelete(r.keys.object(d)))
	}
	var resp *clientv3.TxnResponse
	err = r.try(ctx, func(ctx context.Context) (err error) {
		resp, err = r.client.Txn(ctx).If(
			clientv3.Compare(clientv3.ModRevision(r.keys.head()), "=", r.head.Revision),
			// In an etcd that was restored revisions come a second time.
			clientv3.Compare(clientv3.Value(r.keys.head()), "=", string(r.head.raw)),
			clientv3.Compare(clientv3.ModRevision(r.keys.collection()), "=", r.revision),
		).Then(ops...).Else(clientv3.OpGet(r.keys.collection())).Commit()
		return err
	})
	if err != nil {
		return fmt.Errorf("remove %d objects: %w", len(garbage), err)
	}
	if resp.Succeeded {
		r.revision = resp.Header.Revision
		return nil
	}
	kv := first(resp, 0)
	switch {
	case kv != nil && bytes.Equal(kv.Value, value):
		// It was made by a copy of this request whose answer was lost.
		r.revision = kv.ModRevision
		return nil
	case kv.GetModRevision() != r.revision:
		return ErrCollecting
	}
	return ErrConflict
}
