package verdicts

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// What one agent may send. An agent sends four heartbeats a second, what changed
// as it changes, and everything when it connects and twice a minute; all its
// targets may change at once, and some agents send each change by itself. What is
// allowed is far above that, and still so little that the judge has time for all
// others.
const (
	messageRate       = 100  // a second
	messageBurst      = 2000 // and two for each target
	opinionsPerTarget = 5    // a second
	opinionsBurst     = 2 * MaxOpinions
	// minTargets is what is allowed for when the plan holds fewer: an agent may
	// follow another controller's newer one.
	minTargets = 1000
	// retryFlooder is how long an agent that floods is asked to wait.
	retryFlooder = 5 * time.Second
	// keepAllowance is how long an agent's is kept when nothing is heard of it: in
	// that time it is full again. maxAllowances bounds them.
	keepAllowance = time.Minute
	maxAllowances = 4096
)

// throttle holds what agents may still send, by name: a new stream is no way
// around it.
type throttle struct {
	targets atomic.Int64

	mu sync.Mutex
	by map[string]*allowance
}

// allowance is what one agent may still send.
type allowance struct {
	throttle           *throttle
	messages, opinions *rate.Limiter

	mu      sync.Mutex
	targets int64 // what the limits were made for
	used    time.Time
}

func newThrottle() *throttle { return &throttle{by: map[string]*allowance{}} }

// of is the allowance of an agent, whose name was authorized.
func (t *throttle) of(agent string, now time.Time) *allowance {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.by[agent]
	if a == nil {
		if len(t.by) >= maxAllowances {
			t.sweep(now)
		}
		a = &allowance{throttle: t, messages: rate.NewLimiter(0, 0), opinions: rate.NewLimiter(0, 0), used: now, targets: -1}
		if len(t.by) < maxAllowances {
			t.by[agent] = a
		}
	}
	return a
}

// sweep drops those that are full anyhow.
func (t *throttle) sweep(now time.Time) {
	for name, a := range t.by {
		a.mu.Lock()
		if now.Sub(a.used) > keepAllowance {
			delete(t.by, name)
		}
		a.mu.Unlock()
	}
}

// take takes messages and opinions off the allowance, or says why not.
func (a *allowance) take(now time.Time, messages, opinions int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.used = now
	if targets := max(a.throttle.targets.Load(), minTargets); targets != a.targets {
		first := a.targets < 0
		a.targets = targets
		a.messages.SetLimitAt(now, messageRate)
		a.opinions.SetLimitAt(now, rate.Limit(opinionsPerTarget*targets))
		a.messages.SetBurstAt(now, messageBurst+2*int(targets))
		a.opinions.SetBurstAt(now, opinionsBurst+2*int(targets))
		if first { // full: a limiter that was made empty would fill up first
			a.messages = rate.NewLimiter(a.messages.Limit(), a.messages.Burst())
			a.opinions = rate.NewLimiter(a.opinions.Limit(), a.opinions.Burst())
		}
	}
	switch {
	case !a.messages.AllowN(now, messages):
		return flooded(fmt.Sprintf("more than %d messages a second for too long", messageRate))
	case !a.opinions.AllowN(now, opinions):
		return flooded(fmt.Sprintf("more than %.0f opinions a second for too long", float64(a.opinions.Limit())))
	default:
		return nil
	}
}

func flooded(what string) error {
	s := status.New(codes.ResourceExhausted, what+": send what changed, and heartbeats every 250ms")
	if with, err := s.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(retryFlooder)}); err == nil {
		s = with
	}
	return s.Err()
}
