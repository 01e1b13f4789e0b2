package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fairlead-dns/fairlead/controller/store"
)

var errLost = status.Error(codes.Unavailable, "error reading from server: connection reset by peer")

// Every way in which the transaction that swaps the head can fail, having been
// carried out and not. The caller is told the truth, and the change is made
// exactly once or not at all.
func TestSwapFaults(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		// times that the fault strikes; 0: always
		times int
		fault func(ctx context.Context, txn *etcdserverpb.TxnRequest, send func() error) error
		made  bool
		err   error
		// RequestTimeout, where the fault uses it up
		patience time.Duration
	}{
		"answer lost": {
			times: 1, made: true,
			fault: func(_ context.Context, _ *etcdserverpb.TxnRequest, send func() error) error { send(); return errLost },
		},
		"answer lost, as a timeout of the server's": {
			times: 1, made: true,
			fault: func(_ context.Context, _ *etcdserverpb.TxnRequest, send func() error) error {
				send()
				return status.Error(codes.DeadlineExceeded, "context deadline exceeded")
			},
		},
		"answer lost, silently": {
			times: 1, made: true,
			patience: 2 * time.Second,
			fault: func(ctx context.Context, _ *etcdserverpb.TxnRequest, send func() error) error {
				send()
				<-ctx.Done()
				return status.FromContextError(ctx.Err()).Err()
			},
		},
		"request lost": {
			times: 1, made: true, // by the second attempt
			fault: func(context.Context, *etcdserverpb.TxnRequest, func() error) error { return errLost },
		},
		"request lost for good": {
			made: false, err: store.ErrUnavailable, patience: time.Second,
			fault: func(context.Context, *etcdserverpb.TxnRequest, func() error) error { return errLost },
		},
		"a leader election": {
			times: 2, made: true,
			fault: func(context.Context, *etcdserverpb.TxnRequest, func() error) error {
				return status.Error(codes.Unknown, "raft proposal dropped")
			},
		},
		"delivered twice": {
			times: 1, made: true,
			fault: func(_ context.Context, _ *etcdserverpb.TxnRequest, send func() error) error { send(); return send() },
		},
		"refused": {
			made: false, err: store.ErrFull,
			fault: func(context.Context, *etcdserverpb.TxnRequest, func() error) error {
				return status.Error(codes.ResourceExhausted, "etcdserver: mvcc: database space exceeded")
			},
		},
	} {
		for _, id := range []string{"r", ""} {
			t.Run(name+"/id="+id, func(t *testing.T) {
				t.Parallel()
				server := startServer(t)
				strikes := 0
				c := faulty(t, server.Endpoints(), func(ctx context.Context, txn *etcdserverpb.TxnRequest, send func() error) error {
					if writes(txn, headKey) && (tc.times == 0 || strikes < tc.times) {
						strikes++
						return tc.fault(ctx, txn, send)
					}
					return send()
				})
				s := open(t, store.Options{Client: c})
				m := manifest(t, s, "m")
				rev, err := open(t, store.Options{Client: c, RequestTimeout: tc.patience}).Swap(t.Context(), swap(0, m, id))
				if tc.err == nil {
					check(t, err)
				} else {
					wantErr(t, err, tc.err)
				}
				if strikes == 0 {
					t.Error("the fault did not strike")
				}
				h := mustHead(t, s)
				if h.Revision != rev || (rev != 0) != tc.made {
					t.Errorf("Swap said revision %d, %v; the head is at %d", rev, err, h.Revision)
				}
				if n := len(allEvents(t, s)); (n == 1) != tc.made || n > 1 {
					t.Errorf("%d events", n)
				}
				if id == "" {
					return
				}
				// Whatever it was, the same request can be made again.
				again := swap(h.Revision, manifest(t, s, "m"), id)
				other := open(t, store.Options{Client: dial(t, store.DialOptions{Endpoints: server.Endpoints()})})
				_, err = other.Swap(t.Context(), again)
				var repeated *store.RepeatedError
				if tc.made != errors.As(err, &repeated) || !tc.made && err != nil {
					t.Errorf("the same again: %v", err)
				}
			})
		}
	}
}

// Attempts that are delivered after they were given up, at the worst moments,
// change nothing any more.
func TestSwapDeliveredLate(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	plain := dial(t, store.DialOptions{Endpoints: server.Endpoints()})
	var held []*etcdserverpb.TxnRequest
	deliver := func() {
		for _, txn := range held {
			resp, err := etcdserverpb.NewKVClient(plain.ActiveConnection()).Txn(t.Context(), txn)
			if err != nil || resp.Succeeded {
				t.Errorf("the late attempt: succeeded %v, %v", resp.GetSucceeded(), err)
			}
		}
	}
	lossy := true
	c := faulty(t, server.Endpoints(), func(ctx context.Context, txn *etcdserverpb.TxnRequest, send func() error) error {
		if lossy && writes(txn, headKey) {
			held = append(held, txn)
			return errLost
		}
		return send()
	})
	s := open(t, store.Options{Client: c})
	w := swap(0, manifest(t, s, "m"), "r")
	for range 2 {
		_, err := open(t, store.Options{Client: c, RequestTimeout: time.Second}).Swap(t.Context(), w)
		wantErr(t, err, store.ErrUnavailable)
		deliver() // the head is as they expect, but they are fenced
		if h := mustHead(t, s); h.Revision != 0 || len(held) == 0 {
			t.Errorf("%d late attempts; head is at %d", len(held), h.Revision)
		}
	}
	lossy = false
	rev := mustSwap(t, s, w)
	deliver()
	if h := mustHead(t, s); h.Revision != rev {
		t.Errorf("head is at %d, want %d", h.Revision, rev)
	}
	if n := len(allEvents(t, s)); n != 1 {
		t.Errorf("%d events", n)
	}
}

// A refusal is final, also if a copy of what was refused is under way still.
func TestSwapRefusedButUnderWay(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	plain := dial(t, store.DialOptions{Endpoints: server.Endpoints()})
	var held *etcdserverpb.TxnRequest
	c := faulty(t, server.Endpoints(), func(_ context.Context, txn *etcdserverpb.TxnRequest, send func() error) error {
		if writes(txn, headKey) && held == nil {
			held = txn
			if _, err := plain.Delete(t.Context(), objectKey(store.Sum([]byte("m")))); err != nil {
				t.Error(err)
			}
			return errLost
		}
		return send()
	})
	s := open(t, store.Options{Client: c})
	_, err := s.Swap(t.Context(), swap(0, manifest(t, s, "m"), "r"))
	wantErr(t, err, store.ErrMissingObject)

	m := manifest(t, s, "m") // now it is there
	resp, err := etcdserverpb.NewKVClient(plain.ActiveConnection()).Txn(t.Context(), held)
	if err != nil || resp.Succeeded {
		t.Errorf("the copy under way: succeeded %v, %v", resp.GetSucceeded(), err)
	}
	mustSwap(t, s, swap(0, m, "r"))
}

// If etcd goes away together with the answer, nobody can know.
func TestSwapUnknownOutcome(t *testing.T) {
	t.Parallel()
	for name, made := range map[string]bool{"made": true, "not made": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var gone bool
			c := faulty(t, startServer(t).Endpoints(), func(_ context.Context, txn *etcdserverpb.TxnRequest, send func() error) error {
				if writes(txn, headKey) {
					if made {
						send()
					}
					gone = true
				}
				if gone {
					return errLost
				}
				return send()
			})
			s := open(t, store.Options{Client: c})
			m := manifest(t, s, "m")
			_, err := open(t, store.Options{Client: c, RequestTimeout: time.Second}).Swap(t.Context(), swap(0, m, "r"))
			wantErr(t, err, store.ErrUnknownOutcome)

			gone = false
			rev, result, found, err := s.Request(t.Context(), "r")
			if found != made || err != nil || made && (rev != mustHead(t, s).Revision || string(result) != "result of r") {
				t.Errorf("request: %d %q %v %v", rev, result, found, err)
			}
		})
	}
}

// A caller who gives up in the middle is not told that nothing happened.
func TestSwapCancelledMidway(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	c := faulty(t, server.Endpoints(), func(ctx context.Context, txn *etcdserverpb.TxnRequest, send func() error) error {
		if !writes(txn, headKey) {
			return send()
		}
		send()
		cancel()
		return status.FromContextError(ctx.Err()).Err()
	})
	s := open(t, store.Options{Client: c})
	_, err := s.Swap(ctx, swap(0, manifest(t, s, "m"), "r"))
	wantErr(t, err, store.ErrUnknownOutcome)
	if _, _, found, err := s.Request(t.Context(), "r"); !found || err != nil {
		t.Errorf("request: %v, %v", found, err)
	}
}

// Two controllers carry out one request at once: one change is made.
func TestSwapRequestTwiceAtOnce(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	other := open(t, store.Options{Client: dial(t, store.DialOptions{Endpoints: server.Endpoints()})})
	m := manifest(t, other, "m")
	var rev int64
	c := faulty(t, server.Endpoints(), func(ctx context.Context, txn *etcdserverpb.TxnRequest, send func() error) error {
		if writes(txn, headKey) && rev == 0 {
			rev = mustSwap(t, other, swap(0, m, "r"))
		}
		return send()
	})
	s := open(t, store.Options{Client: c})
	_, err := s.Swap(t.Context(), swap(0, m, "r"))
	var repeated *store.RepeatedError
	if !errors.As(err, &repeated) || repeated.Revision != rev {
		t.Errorf("the slower one: %v, want that of %d", err, rev)
	}
}

// A lease that etcd forgot, as after a restore, is replaced.
func TestSwapLeaseGone(t *testing.T) {
	t.Parallel()
	s, c := newStore(t)
	m := manifest(t, s, "m")
	rev := mustSwap(t, s, swap(0, m, "a"))
	leases, err := c.Leases(t.Context())
	if err != nil || len(leases.Leases) != 1 {
		t.Fatalf("leases: %v, %v", leases, err)
	}
	if _, err := c.Revoke(t.Context(), leases.Leases[0].ID); err != nil {
		t.Fatal(err)
	}
	mustSwap(t, s, swap(rev, m, "b"))
}

// What somebody wrote by hand is reported, not overwritten.
func TestMalformed(t *testing.T) {
	t.Parallel()
	s, c := newStore(t)
	m := manifest(t, s, "m")
	rev := mustSwap(t, s, swap(0, m, "a"))
	for _, junk := range []string{"", "junk", "\x12\x03abc"} {
		put, err := c.Put(t.Context(), headKey, junk)
		if err != nil {
			t.Fatal(err)
		}
		rev = put.Header.Revision
		h, err := s.Head(t.Context())
		wantErr(t, err, store.ErrMalformedHead)
		if h.Revision != rev || h.Head != nil {
			t.Errorf("head %v at %d", h.Head, h.Revision)
		}
		_, err = s.Swap(t.Context(), swap(rev, m, "b"))
		wantErr(t, err, store.ErrMalformedHead)
	}
	if _, err := c.Put(t.Context(), store.DefaultPrefix+"requests/b", "junk"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Swap(t.Context(), swap(rev, m, "b")); err == nil {
		t.Error("Swap took up a malformed request record")
	}
	if _, _, _, err := s.Request(t.Context(), "b"); err == nil {
		t.Error("Request read a malformed record")
	}
	if h, _ := s.Head(t.Context()); h.Revision != rev {
		t.Errorf("head moved to %d", h.Revision)
	}
}
