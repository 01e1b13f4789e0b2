package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// requestTTL is how long the outcome of a request is kept at least.
	requestTTL = 24 * time.Hour
	// leaseShare is how long records share one lease, so that a lease is not
	// one more write for every change.
	leaseShare = time.Hour
)

// attemptID tells one Swap from another that carries the same request id.
type attemptID [16]byte

func newAttemptID() attemptID {
	var id attemptID
	rand.Read(id[:]) // never fails
	return id
}

func (id attemptID) String() string { return hex.EncodeToString(id[:]) }

// A record is the value of a request's key: the outcome of the attempt to
// carry it out. The record of a change that was made is written with the head,
// so that the two have one revision.
type record struct {
	kind    byte
	attempt attemptID
	result  []byte
}

const (
	// made: the change was made.
	made = 'm'
	// fenced: the change was not made by the attempt, nor will be. A later
	// attempt may take the request up again.
	fenced = 'f'
)

func (r record) marshal() string {
	return string(r.kind) + string(r.attempt[:]) + string(r.result)
}

func parseRecord(b []byte) (record, error) {
	var r record
	if len(b) < 1+len(r.attempt) || b[0] != made && b[0] != fenced {
		return r, errors.New("malformed request record")
	}
	r.kind = b[0]
	r.attempt = attemptID(b[1:])
	r.result = b[1+len(r.attempt):]
	return r, nil
}

// Request tells whether the request with this id was carried out within the
// last day, and if so, the head revision that it made and the result that it
// stored.
func (s *Store) Request(ctx context.Context, id string) (revision int64, result []byte, found bool, err error) {
	if err := validateRequestID(id); err != nil {
		return 0, nil, false, err
	}
	var resp *clientv3.GetResponse
	err = s.try(ctx, func(ctx context.Context) (err error) {
		resp, err = s.client.Get(ctx, s.keys.request(id))
		return err
	})
	if err != nil {
		return 0, nil, false, fmt.Errorf("store: read request %q: %w", id, err)
	}
	if len(resp.Kvs) == 0 {
		return 0, nil, false, nil
	}
	r, err := parseRecord(resp.Kvs[0].Value)
	if err != nil {
		return 0, nil, false, fmt.Errorf("store: request %q: %w", id, err)
	}
	if r.kind != made {
		return 0, nil, false, nil
	}
	return resp.Kvs[0].ModRevision, r.result, true, nil
}

// lease is one that records can be put under until it has been shared enough.
type lease struct {
	id    clientv3.LeaseID
	until time.Time
}

// recordLease returns a lease that lasts for requestTTL at least.
func (s *Store) recordLease(ctx context.Context) (clientv3.LeaseID, error) {
	select {
	case s.leaseTurn <- struct{}{}:
	case <-ctx.Done():
		return 0, classify(ctx, ctx.Err())
	}
	defer func() { <-s.leaseTurn }()
	if time.Now().Before(s.lease.until) {
		return s.lease.id, nil
	}
	asked := time.Now()
	err := s.try(ctx, func(ctx context.Context) error {
		// A grant whose answer is lost leaves a lease without keys behind,
		// which etcd drops after its time.
		resp, err := s.client.Grant(ctx, int64((requestTTL+leaseShare)/time.Second))
		if err == nil {
			s.lease = lease{id: resp.ID, until: asked.Add(leaseShare)}
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("lease for request records: %w", err)
	}
	return s.lease.id, nil
}

// checkLease forgets the lease if err, of a write with it, says that etcd no
// longer knows it: etcd was restored, or expired it early. The next attempt
// gets another one.
func (s *Store) checkLease(id clientv3.LeaseID, err error) error {
	if !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return err
	}
	s.leaseTurn <- struct{}{} // held no longer than a grant takes
	defer func() { <-s.leaseTurn }()
	if s.lease.id == id {
		s.lease = lease{}
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
