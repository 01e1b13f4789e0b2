// Package limits bounds how much one caller may ask of a controller, so that
// a script gone wild, or one stolen certificate, takes nothing from the
// others. It may import controller/access, which says who calls and what a
// method is; it goes behind access's interceptors. It keeps no data but the
// buckets of the newest callers.
//
// Calls over a limit are refused at once, with the time after which to try
// again. The messages of a stream are delayed instead: an agent sends one for
// every status that turns, and a region that dies with 10,000 targets makes it
// send very many very fast. Ended for that, its stream would be silent in the
// case that counts; delayed, the stream's flow control holds the agent back,
// and what it has not sent goes into fewer messages.
package limits

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/fairlead-dns/fairlead/controller/access"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

// Rate is so many a second on average, and so many at once. The zero value
// stands for the default.
type Rate struct {
	PerSecond float64
	Burst     int
}

// Options say what each caller may do.
type Options struct {
	// Requests are the calls of people that read; default 200/s, 1000 at
	// once.
	Requests Rate
	// Writes are the calls that change something, dry runs too; default 20/s,
	// 200 at once: somebody drains many services in a hurry.
	Writes Rate
	// Streams are those that people open; default 5/s, 50 at once.
	Streams Rate
	// ProgramStreams are those that agents and nameservers open; default 10/s,
	// 100 at once.
	ProgramStreams Rate
	// Messages are what agents and nameservers send on all their streams
	// together; every MessageUnit bytes begun count as one. Default 1000/s,
	// 5000 at once: a full report of 100,000 targets goes through at once. What
	// people send on streams counts as Requests.
	Messages Rate
	// Attempts are the failed ones to prove an identity, by address; default 1/s,
	// 20 at once. Whoever proves one is never held up by others' failures at his
	// address: an expired token in somebody's script locks out nobody else. There
	// is nothing to guess in a token that a lock would have to prevent.
	Attempts Rate
	// OpenStreams are those of a person at one time; default 50. What a controller
	// serves together is bounded too, and nobody may use that up alone.
	OpenStreams int
	// MaxCallers bounds the callers that are remembered, and the addresses of those
	// without a name; default 10,000 of each. The one that was silent longest is
	// forgotten first.
	MaxCallers int

	Registerer prometheus.Registerer // optional
}

// MessageUnit is how many bytes of a stream count as one message.
const MessageUnit = 8 << 10

// limit is one of the limits.
type limit int

const (
	requests limit = iota
	writes
	streams
	programStreams
	messages
	attempts
	limitCount
)

// text is what the limits are called, in the label of the metric and in
// errors, and what they count.
var text = [limitCount]struct{ name, what string }{
	{"requests", "calls"}, {"writes", "changes"}, {"streams", "new streams"},
	{"program_streams", "new streams"}, {"messages", "messages"},
	{"attempts", "failed proofs of identity"},
}

func (l limit) String() string { return text[l].name }

var defaults = [limitCount]Rate{{200, 1000}, {20, 200}, {5, 50}, {10, 100}, {1000, 5000}, {1, 20}}

const (
	defaultMaxCallers  = 10_000
	defaultOpenStreams = 50
	// maxRate is as good as none, and no infinity to reckon with.
	maxRate = 1e9
)

// Limits are the limits of every caller.
type Limits struct {
	rates   [limitCount]Rate
	open    int // streams of a person
	callers callers
	// strangers are those whom nothing names. They are apart: there are as many as
	// there are addresses, and they push nobody out who has a name.
	strangers callers
	limited   [limitCount]prometheus.Counter
}

// New returns limits with every caller's buckets full.
func New(o Options) (*Limits, error) {
	l := &Limits{rates: defaults}
	var errs []error
	for i, r := range []Rate{o.Requests, o.Writes, o.Streams, o.ProgramStreams, o.Messages, o.Attempts} {
		switch {
		case r == Rate{}:
		case !(r.PerSecond > 0 && r.PerSecond <= maxRate) || r.Burst < 1:
			errs = append(errs, fmt.Errorf("limits: %s: %v/s, %d at once: want above 0/s up to %.0f/s, and 1 or more at once", limit(i), r.PerSecond, r.Burst, float64(maxRate)))
		default:
			l.rates[i] = r
		}
	}
	if o.MaxCallers < 0 {
		errs = append(errs, fmt.Errorf("limits: %d callers: want 1 or more, or 0 for %d", o.MaxCallers, defaultMaxCallers))
	}
	if o.OpenStreams < 0 {
		errs = append(errs, fmt.Errorf("limits: %d open streams: want 1 or more, or 0 for %d", o.OpenStreams, defaultOpenStreams))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if l.open = o.OpenStreams; l.open == 0 {
		l.open = defaultOpenStreams
	}
	l.callers.max = o.MaxCallers
	if o.MaxCallers == 0 {
		l.callers.max = defaultMaxCallers
	}
	l.strangers.max = l.callers.max
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "fairlead", Subsystem: "controller", Name: "calls_limited_total",
		Help: "Calls that were refused, and messages on streams that were delayed, because their caller was over a limit.",
	}, []string{"limit"})
	for i := range limitCount {
		l.limited[i] = counter.WithLabelValues(i.String())
	}
	if o.Registerer == nil {
		return l, nil
	}
	return l, o.Registerer.Register(counter)
}

// Identify limits the failures of one who says who calls.
func (l *Limits) Identify(identify access.Identify) access.Identify {
	return func(ctx context.Context) (identity.Identity, error) {
		id, err := identify(ctx)
		if err == nil {
			return id, nil
		}
		if over := l.admit(ctx, attempts); over != nil {
			err = over
		}
		return identity.Identity{}, err
	}
}

// Unary limits unary calls.
func (l *Limits) Unary() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		which := writes
		if role, known := access.Needs(info.FullMethod); known && role == identity.Viewer {
			which = requests
		}
		if err := l.admit(ctx, which); err != nil {
			return nil, err
		}
		return handler(ctx, req)
	}
}

// Stream limits the opening of streams, and what is sent on them.
func (l *Limits) Stream() grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		opened, sent := streams, requests
		if role, known := access.Needs(info.FullMethod); known && !role.Person() {
			opened, sent = programStreams, messages
		}
		if err := l.admit(stream.Context(), opened); err != nil {
			return err
		}
		if opened == streams {
			who := l.caller(stream.Context())
			if !who.enter(l.open) {
				l.limited[opened].Inc()
				return status.Errorf(codes.ResourceExhausted, "%s has %d streams open, as many as one caller may: end some of them", who.key, l.open)
			}
			defer who.leave()
		}
		if info.IsClientStream {
			stream = &paced{ServerStream: stream, bucket: l.bucket(stream.Context(), sent), limited: l.limited[sent]}
		}
		return handler(srv, stream)
	}
}

// admit takes one from the caller's bucket, or refuses.
func (l *Limits) admit(ctx context.Context, which limit) error {
	now := time.Now()
	r := l.bucket(ctx, which).ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait == 0 {
		return nil
	}
	r.CancelAt(now)
	l.limited[which].Inc()
	return l.refusal(key(ctx), which, wait)
}

// refusal says which limit it was and when to try again.
func (l *Limits) refusal(caller string, which limit, wait time.Duration) error {
	r := l.rates[which]
	st := status.Newf(codes.ResourceExhausted, "%s is over the limit %q of %g %s a second (%d at once); nothing was done, try again in %v",
		caller, which, r.PerSecond, text[which].what, r.Burst, max(wait.Round(time.Millisecond), time.Millisecond))
	detailed, err := st.WithDetails(
		&errdetails.RetryInfo{RetryDelay: durationpb.New(wait)},
		&errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{{Subject: caller, Description: "limit " + which.String()}}},
	)
	if err != nil {
		return st.Err()
	}
	return detailed.Err()
}

// bucket is the caller's bucket of a limit.
func (l *Limits) bucket(ctx context.Context, which limit) *rate.Limiter {
	return l.caller(ctx).bucket(which, l.rates[which])
}

func (l *Limits) caller(ctx context.Context) *caller {
	if access.Caller(ctx).TrustDomain == "" {
		return l.strangers.get(key(ctx))
	}
	return l.callers.get(key(ctx))
}

// key is what callers are told apart by: role and name, or the address of one
// whom nothing names; of an IPv6 address the /64, in which a host has as many as
// it likes.
func key(ctx context.Context) string {
	if id := access.Caller(ctx); id.TrustDomain != "" {
		return id.Role.String() + " " + id.Name
	}
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr == nil {
		return "anonymous"
	}
	addr, err := netip.ParseAddrPort(p.Addr.String())
	if err != nil {
		return "anonymous at " + p.Addr.Network()
	}
	host := addr.Addr().Unmap().WithZone("")
	if host.Is4() {
		return "anonymous at " + host.String()
	}
	network, _ := host.Prefix(64)
	return "anonymous at " + network.String()
}
