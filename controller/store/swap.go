package store

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

const (
	// MaxEventSize is the largest AuditEvent, in bytes.
	MaxEventSize = 128 << 10
	// MaxResultSize is the largest result of a request, in bytes.
	MaxResultSize = 256 << 10
)

// Swap is a change: a new head for the one that was read.
type Swap struct {
	// Expect is the revision of the head that was read, 0 if there was none.
	Expect int64
	// Restore allows a head where there is none any more. Without it, only
	// the first head of all can be written with an Expect of 0.
	Restore bool
	// Head to write. Swap sets its previous_revision.
	Head *pb.Head
	// Mark is what Put of the head's objects came with.
	Mark Mark
	// Event says who changed what and why. Swap sets its previous_revision,
	// request_id and head.
	Event *pb.AuditEvent
	// RequestID makes the change repeatable: whoever swaps under the same id
	// within a day gets a RepeatedError with Result. Empty: it is not.
	RequestID string
	// Result is what the caller of a repeated request is to be told.
	Result []byte
}

func (w Swap) validate() error {
	var errs []error
	if w.Expect < 0 {
		errs = append(errs, fmt.Errorf("store: swap expects revision %d: want that of the head that was read, or 0 for none", w.Expect))
	}
	if w.Head == nil {
		errs = append(errs, errors.New("store: swap has no head"))
	} else if err := validateHead(w.Head); err != nil {
		errs = append(errs, fmt.Errorf("store: swap: head: %w", err))
	}
	if w.Event == nil {
		errs = append(errs, errors.New("store: swap has no audit event"))
	} else if n := proto.Size(w.Event); n > MaxEventSize {
		errs = append(errs, fmt.Errorf("store: swap: audit event has %d bytes: want at most %d; name fewer subjects", n, MaxEventSize))
	}
	if w.RequestID != "" {
		errs = append(errs, validateRequestID(w.RequestID))
	}
	if len(w.Result) > MaxResultSize {
		errs = append(errs, fmt.Errorf("store: swap: result has %d bytes: want at most %d", len(w.Result), MaxResultSize))
	}
	return errors.Join(errs...)
}

// Swap makes the change and returns the new head's revision. The objects that
// the head names must be in the store.
//
// The error is ErrConflict if the head is not the expected one, a
// *RepeatedError if the request was carried out before, ErrEpoch if the epoch
// would go back, ErrHeadLost if somebody deleted the head, ErrCollected if
// objects were collected since they were put (put them again), ErrMissingObject
// if the manifest or the overrides are not there, ErrUnavailable if etcd does
// not answer. In all these cases this Swap changed nothing and will change
// nothing. Only ErrUnknownOutcome leaves that open.
func (s *Store) Swap(ctx context.Context, w Swap) (int64, error) {
	if err := w.validate(); err != nil {
		return 0, err
	}
	c := &change{Store: s, Swap: w, id: newAttemptID(), key: s.keys.request(w.RequestID)}
	if w.RequestID == "" {
		c.key = s.keys.attempt(c.id)
	}
	for _, b := range [][]byte{w.Head.GetManifest(), w.Head.GetOverrides()} {
		if len(b) > 0 {
			c.objects = append(c.objects, Digest(b))
		}
	}
	rev, err := c.make(ctx)
	if err != nil {
		return 0, fmt.Errorf("store: swap head: %w", err)
	}
	return rev, nil
}

// change is a Swap under way.
type change struct {
	*Store
	Swap
	id      attemptID
	key     string // of the request's record
	objects []Digest
}

// basis is what an attempt builds on.
type basis struct {
	revision int64 // of the store, when it was looked at
	record   int64 // ModRevision of the request's record, 0 if there is none
}

// make attempts the change until its outcome is certain or time is up. The
// outcome of each attempt is settled before the next one, so that an error of
// anything but settling means that nothing was changed.
func (c *change) make(ctx context.Context) (int64, error) {
	all, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		b, rev, err := c.look(all)
		if err != nil || rev != 0 {
			return rev, err
		}
		rev, unanswered, err := c.attempt(all, b)
		if unanswered != nil {
			settled, serr := c.settle(ctx, b, unanswered)
			if !errors.Is(serr, ErrUnavailable) {
				rev, err = settled, serr
			} // else nothing was changed, and err tells why
		}
		if err == nil || !errors.Is(err, ErrUnavailable) || !sleep(all, jitter(pause)) {
			return rev, err
		}
	}
}

// look reads what the change builds on, and finds out whether it may be
// attempted, or was made already, at the revision that it returns.
func (c *change) look(ctx context.Context) (basis, int64, error) {
	resp, err := c.readTxn(ctx, clientv3.OpGet(c.keys.head()), clientv3.OpGet(c.key),
		clientv3.OpGet(c.keys.collection(), clientv3.WithKeysOnly()),
		clientv3.OpGet(c.keys.audits(), clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(1)))
	if err != nil {
		return basis{}, 0, err
	}
	b, rev, err := c.judge(resp)
	if err == nil && rev == 0 && c.Expect == 0 && !c.Restore && first(resp, 3) != nil {
		err = fmt.Errorf("%w: the audit trail tells of earlier ones", ErrHeadLost)
	}
	return b, rev, err
}

// judge is look's second half; the head, the request's record and the
// collection key come first in resp.
func (c *change) judge(resp *clientv3.TxnResponse) (basis, int64, error) {
	b := basis{revision: resp.Header.Revision}
	if kv := first(resp, 1); kv != nil {
		rev, err := c.outcome(kv)
		if err != nil || rev != 0 {
			return b, rev, err
		}
		b.record = kv.ModRevision
	}
	kv := first(resp, 0)
	if found := kv.GetModRevision(); found != c.Expect {
		return b, 0, fmt.Errorf("%w: expected %s, found %s", ErrConflict, revisionName(c.Expect), revisionName(found))
	}
	if found := first(resp, 2).GetModRevision(); found != c.Mark.collection {
		return b, 0, fmt.Errorf("%w, at revision %d", ErrCollected, found)
	}
	if kv == nil {
		return b, 0, nil
	}
	old, err := parseHead(resp.Header.ClusterId, kv.ModRevision, kv.Value)
	if err != nil {
		return b, 0, err
	}
	if c.Swap.Head.GetEpoch() < old.GetEpoch() {
		return b, 0, fmt.Errorf("%w: from %d to %d", ErrEpoch, old.GetEpoch(), c.Swap.Head.GetEpoch())
	}
	return b, 0, nil
}

// outcome reads the record of the change's request: the revision if this
// change was made, an error if another one was, neither if none was.
func (c *change) outcome(kv *mvccpb.KeyValue) (int64, error) {
	r, err := parseRecord(kv.Value)
	switch {
	case err != nil:
		return 0, fmt.Errorf("key %s: %w", c.key, err)
	case r.kind != made:
		return 0, nil
	case r.attempt != c.id:
		return 0, &RepeatedError{Revision: kv.ModRevision, Result: r.result}
	}
	return kv.ModRevision, nil
}

// attempt sends one transaction, again if it is not answered: the first copy
// to arrive spoils the comparisons of the others. If unanswered is not nil, a
// copy without an answer may have arrived or may yet, whatever else is
// returned.
func (c *change) attempt(ctx context.Context, b basis) (rev int64, unanswered, err error) {
	head, event, err := c.values()
	if err != nil {
		return 0, nil, err
	}
	cmps := []clientv3.Cmp{
		clientv3.Compare(clientv3.ModRevision(c.keys.head()), "=", c.Expect),
		clientv3.Compare(clientv3.ModRevision(c.key), "=", b.record),
		clientv3.Compare(clientv3.ModRevision(c.keys.collection()), "=", c.Mark.collection),
	}
	otherwise := []clientv3.Op{
		clientv3.OpGet(c.keys.head()), clientv3.OpGet(c.key), clientv3.OpGet(c.keys.collection(), clientv3.WithKeysOnly()),
	}
	for _, d := range c.objects {
		cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(c.keys.object(d)), ">", 0))
		otherwise = append(otherwise, clientv3.OpGet(c.keys.object(d), clientv3.WithCountOnly()))
	}
	var resp *clientv3.TxnResponse
	err = c.try(ctx, func(one context.Context) error {
		lease, err := c.recordLease(ctx)
		if err != nil {
			return err
		}
		resp, err = c.client.Txn(one).If(cmps...).Then(
			clientv3.OpPut(c.keys.head(), head),
			clientv3.OpPut(c.keys.audit(c.Swap.Head.GetEpoch(), b.revision, c.id), event),
			clientv3.OpPut(c.key, record{made, c.id, c.Result}.marshal(), clientv3.WithLease(lease)),
		).Else(otherwise...).Commit()
		if err != nil && !rejected(err) {
			unanswered = err
		}
		return c.checkLease(lease, err)
	})
	switch {
	case err != nil:
		return 0, unanswered, err
	case resp.Succeeded:
		return resp.Header.Revision, nil, nil
	}
	if _, rev, err := c.judge(resp); err != nil || rev != 0 {
		if rev != 0 || errors.Is(err, ErrConflict) && c.Expect != 0 {
			unanswered = nil // no other copy finds what it expects any more
		}
		return rev, unanswered, err
	}
	for i, d := range c.objects {
		if resp.Responses[3+i].GetResponseRange().GetCount() == 0 {
			return 0, unanswered, fmt.Errorf("%w: %s", ErrMissingObject, d)
		}
	}
	// Another Swap under this request id fenced in between.
	return 0, unanswered, fmt.Errorf("%w: another attempt at the same request interfered", ErrUnavailable)
}

// values returns the head and the event as they are to be stored.
func (c *change) values() (head, event string, err error) {
	h := proto.CloneOf(c.Swap.Head)
	h.PreviousRevision = c.Expect
	e := proto.CloneOf(c.Swap.Event)
	e.PreviousRevision = c.Expect
	e.RequestId = c.RequestID
	e.Generation = nil // set when listed
	e.Head = h
	hb, err1 := proto.MarshalOptions{Deterministic: true}.Marshal(h)
	eb, err2 := proto.MarshalOptions{Deterministic: true}.Marshal(e)
	return string(hb), string(eb), errors.Join(err1, err2)
}

// settle finds out what became of an attempt that had no answer: it fences it
// unless it was made. ErrUnavailable then means that it was not made and
// cannot be made any more.
func (c *change) settle(ctx context.Context, b basis, cause error) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var resp *clientv3.TxnResponse
	err := c.try(ctx, func(one context.Context) error {
		lease, err := c.recordLease(ctx)
		if err != nil {
			return err
		}
		resp, err = c.client.Txn(one).
			If(clientv3.Compare(clientv3.ModRevision(c.key), "=", b.record)).
			Then(clientv3.OpPut(c.key, record{kind: fenced, attempt: c.id}.marshal(), clientv3.WithLease(lease))).
			Else(clientv3.OpGet(c.key)).
			Commit()
		return c.checkLease(lease, err)
	})
	if err != nil {
		// The cause says what happened; err would match ErrUnavailable.
		return 0, fmt.Errorf("%w: %w", ErrUnknownOutcome, cause)
	}
	if resp.Succeeded {
		return 0, fmt.Errorf("%w: %w", ErrUnavailable, cause)
	}
	kv := first(resp, 0)
	if kv == nil {
		// Somebody removed the record; it may have told of the change.
		return 0, fmt.Errorf("%w: %w, and its record is gone", ErrUnknownOutcome, cause)
	}
	rev, err := c.outcome(kv)
	if err != nil || rev != 0 {
		return rev, err
	}
	return 0, fmt.Errorf("%w: %w", ErrUnavailable, cause)
}

// first returns what the i-th operation, a Get of one key, found, or nil.
func first(resp *clientv3.TxnResponse, i int) *mvccpb.KeyValue {
	if kvs := resp.Responses[i].GetResponseRange().GetKvs(); len(kvs) > 0 {
		return kvs[0]
	}
	return nil
}

func revisionName(rev int64) string {
	if rev == 0 {
		return "no head"
	}
	return fmt.Sprintf("revision %d", rev)
}
