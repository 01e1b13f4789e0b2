package cli

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

const (
	// nameserverTimeout is how long one nameserver has to answer.
	nameserverTimeout = 5 * time.Second
	// nameserverPause is between attempts at one that does not.
	nameserverPause = 200 * time.Millisecond
	// nameserverAttempts is how many there are.
	nameserverAttempts = 2
)

// outcome is how a call to a nameserver went.
type outcome string

const (
	outcomePending    outcome = "" // not yet
	outcomeDone       outcome = "done"
	outcomeRefused    outcome = "refused"
	outcomeNotReached outcome = "not reached"
)

// reply is what came of a call to one nameserver.
type reply[R any] struct {
	nameserver
	outcome outcome
	why     string
	resp    R
	took    time.Duration
}

// ask calls nameservers, all at once. Each is told of by its place; show is called
// with all of them whenever one has answered, by one goroutine at a time.
func ask[R any](ctx context.Context, a *app, to []nameserver, call func(context.Context, pb.BreakGlassServiceClient, ...grpc.CallOption) (R, error), show func([]reply[R])) ([]reply[R], error) {
	s, err := a.settings()
	if err != nil {
		return nil, err
	}
	sec, err := a.secureNameservers(s)
	if err != nil {
		return nil, err
	}
	limit := nameserverTimeout
	if a.flags.Changed("timeout") {
		limit = a.timeout
	}
	out := make([]reply[R], len(to))
	conns := make([]*grpc.ClientConn, len(to))
	defer func() {
		for _, conn := range conns {
			if conn != nil {
				_ = conn.Close()
			}
		}
	}()
	for i, n := range to {
		out[i].nameserver = n
		if n.GRPC == "" {
			out[i].outcome, out[i].why = outcomeNotReached, "its resource has no spec.grpc, so where it listens is not known"
			continue
		}
		if conns[i], err = sec.dialNameserver(n); err != nil {
			return nil, usageError{err}
		}
	}
	var g sync.WaitGroup
	var mu sync.Mutex
	show(out)
	for i, conn := range conns {
		if conn == nil {
			continue
		}
		g.Go(func() {
			r := askOne(ctx, limit, sec, to[i], func(ctx context.Context, opts ...grpc.CallOption) (R, error) {
				return call(ctx, pb.NewBreakGlassServiceClient(conn), opts...)
			})
			mu.Lock()
			defer mu.Unlock()
			out[i] = r
			show(out)
		})
	}
	g.Wait()
	return out, nil
}

// dialNameserver prepares a connection. A nameserver that is known by its name must
// be it, by its certificate; one known by its address alone, any.
func (s security) dialNameserver(n nameserver) (*grpc.ClientConn, error) {
	if err := s.allow(flagNameservers, n.GRPC); err != nil {
		return nil, err
	}
	return s.dial(flagNameservers, n.GRPC, n.identity())
}

// identity is the check that a nameserver is the one that is known by its name; nil:
// its address alone is known.
func (n nameserver) identity() func(identity.Identity) error {
	if n.Name == "" || n.Region == "" {
		return nil
	}
	return identity.Exactly(identity.Nameserver, n.Region, n.Name)
}

// askOne calls one nameserver, again where it was not reached: every call may be
// repeated.
func askOne[R any](ctx context.Context, limit time.Duration, sec security, n nameserver, call func(context.Context, ...grpc.CallOption) (R, error)) (r reply[R]) {
	r.nameserver = n
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for try := 1; ; try++ {
		var p peer.Peer
		resp, err := call(ctx, grpc.Peer(&p))
		r.took = time.Since(began)
		r.identify(&p)
		if err == nil {
			r.resp, r.outcome = resp, outcomeDone
			return r
		}
		r.outcome, r.why = judge(err, sec, p.Addr != nil, limit)
		if r.outcome == outcomeRefused || status.Code(err) != codes.Unavailable || try == nameserverAttempts {
			return r
		}
		select {
		case <-ctx.Done():
			return r
		case <-time.After(nameserverPause):
		}
	}
}

// identify takes from a certificate who answers, where only the address was known.
func (r *reply[R]) identify(p *peer.Peer) {
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if r.Name != "" || !ok || len(info.State.PeerCertificates) == 0 {
		return
	}
	if id, err := identity.FromCertificate(info.State.PeerCertificates[0]); err == nil {
		r.Name, r.Region = id.Name, id.Region
	}
}

// judge says in words how a call to a nameserver failed.
func judge(err error, sec security, reached bool, limit time.Duration) (outcome, string) {
	st := status.Convert(err)
	switch st.Code() {
	case codes.Unavailable:
		why, kind := dialReason(st.Message(), flagNameservers, sec)
		if kind == answered && reached {
			return outcomeRefused, why
		}
		return outcomeNotReached, why
	case codes.DeadlineExceeded:
		if reached {
			return outcomeNotReached, fmt.Sprintf("connected, and no answer in %s: it may have done it", exact(limit))
		}
		return outcomeNotReached, "no connection in " + exact(limit)
	case codes.Canceled:
		return outcomeNotReached, "interrupted"
	case codes.Unimplemented:
		return outcomeRefused, "it is of an older version, and knows no break-glass"
	}
	return outcomeRefused, meanings[st.Code()] + st.Message()
}

// count of the replies by outcome.
func tallyReplies[R any](all []reply[R]) (done, refused, missing []string) {
	for _, r := range all {
		switch r.outcome {
		case outcomeDone:
			done = append(done, r.title())
		case outcomeRefused:
			refused = append(refused, r.title())
		default:
			missing = append(missing, r.title())
		}
	}
	return done, refused, missing
}
