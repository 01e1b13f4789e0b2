package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

// Options say how a Store works.
type Options struct {
	// Client is the connection to etcd, as from Dial. The caller closes it.
	Client *clientv3.Client
	// Prefix of all keys; by default DefaultPrefix.
	Prefix string
	// Log by default discards.
	Log *slog.Logger
	// RequestTimeout bounds the wait for each request to etcd; by default 5 s.
	// Settling an uncertain outcome may take as long again.
	RequestTimeout time.Duration
	// ReadInterval is how often Watch reads the head without being told to,
	// and so finds out that etcd is away; by default 1 s.
	ReadInterval time.Duration
}

func (o Options) validate() error {
	var errs []error
	if o.Client == nil {
		errs = append(errs, errors.New("store: no client: want one from Dial"))
	}
	if o.Prefix != "" {
		errs = append(errs, validatePrefix(o.Prefix))
	}
	if o.RequestTimeout < 0 {
		errs = append(errs, fmt.Errorf("store: request timeout %v is negative", o.RequestTimeout))
	}
	if o.ReadInterval < 0 {
		errs = append(errs, fmt.Errorf("store: read interval %v is negative", o.ReadInterval))
	}
	return errors.Join(errs...)
}

// Store is the way to the consistent state. Its methods may be called
// concurrently.
type Store struct {
	client       *clientv3.Client
	keys         keys
	log          *slog.Logger
	timeout      time.Duration
	readInterval time.Duration

	// lease is for request records; whoever holds the one token in leaseTurn
	// may use it.
	leaseTurn chan struct{}
	lease     lease

	headRead atomic.Pointer[time.Time] // when a head was read last
}

// New makes a Store. It starts nothing and waits for nothing.
func New(o Options) (*Store, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &Store{
		client:       o.Client,
		keys:         keys{o.Prefix},
		log:          o.Log,
		timeout:      o.RequestTimeout,
		readInterval: o.ReadInterval,
		leaseTurn:    make(chan struct{}, 1),
	}
	if s.keys.prefix == "" {
		s.keys.prefix = DefaultPrefix
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.timeout == 0 {
		s.timeout = 5 * time.Second
	}
	if s.readInterval == 0 {
		s.readInterval = time.Second
	}
	return s, nil
}

// Head is the head key: its value and where it stands.
type Head struct {
	// Head is nil if there is no head; its getters work nevertheless.
	*pb.Head
	// Revision is the head's ModRevision, 0 if there is none.
	Revision int64
	// Cluster is the id of the etcd cluster that answered. A revision means
	// nothing in another cluster.
	Cluster uint64
	// raw is the value, to notice a change that left the revision alone.
	raw []byte
}

// Generation returns the generation that the head stands for, the zero one if
// there is no head.
func (h Head) Generation() regions.Generation {
	return regions.Generation{Epoch: h.GetEpoch(), Revision: h.Revision}
}

func (h Head) equal(o Head) bool {
	return h.Revision == o.Revision && h.Cluster == o.Cluster && bytes.Equal(h.raw, o.raw)
}

// Head reads the head, linearizably: it is at least as new as every change
// that was acknowledged before the call. If the value is no head, the error is
// ErrMalformedHead and the Head has the revision only.
func (s *Store) Head(ctx context.Context) (Head, error) {
	var resp *clientv3.GetResponse
	err := s.try(ctx, func(ctx context.Context) (err error) {
		resp, err = s.client.Get(ctx, s.keys.head())
		return err
	})
	if err != nil {
		return Head{}, fmt.Errorf("store: read head: %w", err)
	}
	now := time.Now()
	s.headRead.Store(&now)
	if len(resp.Kvs) == 0 {
		return Head{Cluster: resp.Header.ClusterId}, nil
	}
	return parseHead(resp.Header.ClusterId, resp.Kvs[0].ModRevision, resp.Kvs[0].Value)
}

// HeadRead is when the head was read last, by whomever and whatever it was; the
// zero time: never.
func (s *Store) HeadRead() time.Time {
	if at := s.headRead.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

func parseHead(cluster uint64, revision int64, raw []byte) (Head, error) {
	h := Head{Revision: revision, Cluster: cluster, raw: raw}
	m := &pb.Head{}
	err := proto.Unmarshal(raw, m)
	if err == nil {
		err = validateHead(m)
	}
	if err != nil {
		return h, fmt.Errorf("store: revision %d: %w: %w", revision, ErrMalformedHead, err)
	}
	h.Head = m
	return h, nil
}

func validateHead(h *pb.Head) error {
	if _, err := DigestOf(h.GetManifest()); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	if len(h.GetOverrides()) == 0 {
		return nil // no override was ever made
	}
	if _, err := DigestOf(h.GetOverrides()); err != nil {
		return fmt.Errorf("overrides: %w", err)
	}
	return nil
}

// Between attempts lies a pause that doubles.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = 500 * time.Millisecond
)

// firstPatience is how long the answer of a member is waited for at first. One
// that is frozen does not say so: whoever asks it has to lose patience, and to
// ask another. Most requests take a few round trips, 0.7 s between continents.
const firstPatience = time.Second

// try runs fn, which must be idempotent, until it succeeds, fails for a reason
// that time does not mend, or RequestTimeout is over. The context that fn gets
// makes members without a leader refuse at once instead of waiting for one.
func (s *Store) try(ctx context.Context, fn func(context.Context) error) error {
	return s.tryAnyMember(ctx, func(ctx context.Context) error { return fn(clientv3.WithRequireLeader(ctx)) })
}

// tryAnyMember is try for what a member without a leader can do.
//
// Of the default timeout, attempts that are not answered get 1, 1.5 and 2.5 s:
// when a leader freezes, a follower that forwards to it does not answer, then
// the leader does not, and then another does. The last one has as long as it
// takes to move 4 MiB of objects.
func (s *Store) tryAnyMember(ctx context.Context, fn func(context.Context) error) error {
	all, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	end, _ := all.Deadline()
	patience := min(firstPatience, time.Until(end)/2)
	var said error // by etcd, which tells more than that time is up
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		wait := time.Until(end)
		if wait > patience*3/2 { // else little would be left for another
			wait = patience
		}
		one, cancel := context.WithTimeout(all, wait)
		err := classify(one, fn(one))
		if one.Err() != nil {
			patience += patience / 2
		}
		cancel()
		if err == nil {
			return nil
		}
		if said == nil || !errors.Is(err, context.DeadlineExceeded) {
			said = err
		}
		closed := s.client.Ctx().Err() != nil
		if ctx.Err() == nil && !closed && errors.Is(err, ErrUnavailable) && sleep(all, jitter(pause)) {
			continue
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			return context.Cause(ctx)
		}
		return said
	}
}

// readTxn carries out reads as of one revision; ctx and errors are those of try.
func (s *Store) readTxn(ctx context.Context, ops ...clientv3.Op) (*clientv3.TxnResponse, error) {
	var resp *clientv3.TxnResponse
	err := s.try(ctx, func(ctx context.Context) (err error) {
		resp, err = s.client.Txn(ctx).Then(ops...).Commit()
		return err
	})
	return resp, err
}

// sleep waits, and returns false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// jitter spreads d by a quarter both ways, so that many do not act as one.
func jitter(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2+1)
}
