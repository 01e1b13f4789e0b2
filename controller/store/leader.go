package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

const (
	// termTTL is for how long a leader that is gone is waited for.
	termTTL = 10 * time.Second
	// campaignPause lies between two campaigns.
	campaignPause = time.Second
)

// ErrNotLeader: the term is over, so the write was not made.
var ErrNotLeader = errors.New("another controller leads")

// Term is a time in which this process leads. Nothing that matters may depend
// on who leads: the verdicts and their way to the nameservers do not.
type Term struct {
	store *Store
	key   string
	// created is the leader key's create revision: it tells this term from all
	// others, whatever the clocks and leases say.
	created int64
}

// Lead campaigns for an errand under the candidate's name and runs lead for
// every term that is won, until ctx ends. The context of lead ends with the
// term; what it writes, it must write through the Term.
//
// A campaign may return as won although the lease was revoked meanwhile, and
// with it the key (etcd's concurrency package does not look again). So the key
// is read once more before the term begins, the term ends with its session, and
// every write compares the key's create revision.
func (s *Store) Lead(ctx context.Context, errand, candidate string, lead func(ctx context.Context, term *Term)) error {
	for ctx.Err() == nil {
		if err := s.campaign(ctx, errand, candidate, lead); err != nil && ctx.Err() == nil {
			s.log.Debug("not leading", "errand", errand, "err", err)
		}
		sleep(ctx, jitter(campaignPause))
	}
	return nil
}

func (s *Store) campaign(ctx context.Context, errand, candidate string, lead func(ctx context.Context, term *Term)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// The session's own context is not this one: at the end the lease is
	// revoked, so that another leads at once.
	session, err := concurrency.NewSession(s.client, concurrency.WithTTL(int(termTTL/time.Second)), concurrency.WithContext(ctx))
	if err != nil {
		return classify(ctx, err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		session.Orphan()
		_, _ = s.client.Revoke(ctx, session.Lease())
	}()
	go func() {
		select {
		case <-session.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	election := concurrency.NewElection(session, s.keys.errand(errand))
	if err := election.Campaign(clientv3.WithRequireLeader(ctx), candidate); err != nil {
		return classify(ctx, err)
	}
	term := &Term{store: s, key: election.Key(), created: election.Rev()}
	if err := term.check(ctx); err != nil {
		return err
	}
	s.log.Info("leading", "errand", errand)
	defer s.log.Info("no longer leading", "errand", errand)
	lead(ctx, term)
	return nil
}

// check reads the leader key again.
func (t *Term) check(ctx context.Context) error {
	var resp *clientv3.GetResponse
	err := t.store.try(ctx, func(ctx context.Context) (err error) {
		resp, err = t.store.client.Get(ctx, t.key)
		return err
	})
	switch {
	case err != nil:
		return err
	case len(resp.Kvs) == 0 || resp.Kvs[0].CreateRevision != t.created:
		return ErrNotLeader
	}
	return nil
}

// write makes writes that only the leader may make. They must be idempotent:
// one whose answer was lost is made again.
func (t *Term) write(ctx context.Context, ops ...clientv3.Op) error {
	var resp *clientv3.TxnResponse
	err := t.store.try(ctx, func(ctx context.Context) (err error) {
		resp, err = t.store.client.Txn(ctx).
			If(clientv3.Compare(clientv3.CreateRevision(t.key), "=", t.created)).
			Then(ops...).Commit()
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("store: write as leader: %w", err)
	case !resp.Succeeded:
		return ErrNotLeader
	}
	return nil
}
