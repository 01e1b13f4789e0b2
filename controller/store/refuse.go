package store

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// Refuse writes an event that tells of a change that was not made, with the
// result ResultRefused. It lies between the events of the changes before and after
// it: it is written only while the head has the revision under which it lies, and
// only if nobody else has written the same number there. So whoever has read the
// events up to one will find all that come after it behind that one.
func (s *Store) Refuse(ctx context.Context, e *pb.AuditEvent) error {
	if e.GetResult() != ResultRefused {
		return fmt.Errorf("store: refusal: the event's result is %q, want %q", e.GetResult(), ResultRefused)
	}
	if n := proto.Size(e); n > MaxEventSize {
		return fmt.Errorf("store: refusal: audit event has %d bytes: want at most %d; name fewer subjects", n, MaxEventSize)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*s.timeout)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		done, err := s.refuse(ctx, proto.CloneOf(e))
		if err != nil {
			return fmt.Errorf("store: write refusal: %w", err)
		}
		if done {
			return nil
		}
		if !sleep(ctx, jitter(pause)) {
			return fmt.Errorf("store: write refusal: %w, again and again", ErrConflict)
		}
	}
}

// refuse tries once; done is false if somebody else was faster.
func (s *Store) refuse(ctx context.Context, e *pb.AuditEvent) (done bool, err error) {
	h, err := s.Head(ctx)
	if err != nil {
		return false, err
	}
	if h.Revision == 0 {
		return false, errors.New("there is no head yet, so there is nothing to refuse")
	}
	e.PreviousRevision, e.Generation, e.Head = h.Revision, nil, nil
	n := uint32(1)
	last, _, err := s.auditKeys(ctx, s.keys.refusals(h.GetEpoch(), h.Revision), 1, clientv3.WithKeysOnly())
	if err != nil {
		return false, err
	}
	if len(last) > 0 {
		k, err := s.keys.parseAudit(string(last[0].Key))
		if err != nil {
			return false, err
		}
		if k.n > 0 && k.epoch == h.GetEpoch() && k.revision == h.Revision {
			n = k.n + 1
		}
	}
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(e)
	if err != nil {
		return false, err
	}
	key := s.keys.refusal(h.GetEpoch(), h.Revision, n)
	var resp *clientv3.TxnResponse
	err = s.try(ctx, func(ctx context.Context) (err error) {
		resp, err = s.client.Txn(ctx).If(
			clientv3.Compare(clientv3.ModRevision(s.keys.head()), "=", h.Revision),
			clientv3.Compare(clientv3.CreateRevision(key), "=", 0),
		).Then(clientv3.OpPut(key, string(value))).Else(clientv3.OpGet(key)).Commit()
		return err
	})
	if err != nil {
		return false, err
	}
	// Else it was made, perhaps, by a copy of this request whose answer was lost.
	return resp.Succeeded || string(first(resp, 0).GetValue()) == string(value), nil
}
