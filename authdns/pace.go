package authdns

import (
	"context"
	"sync"

	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fairlead-dns/fairlead/regions/identity"
)

// What one person may ask of a nameserver, whose work is answers.
const (
	callRate  = 20 // a second
	callBurst = 100
	// maxPaced is how many callers are remembered; with more, all begin anew.
	maxPaced = 1000
)

// pace bounds the calls of each caller.
type pace struct {
	mu      sync.Mutex
	callers map[string]*rate.Limiter
}

func (p *pace) of(id identity.Identity) *rate.Limiter {
	key := id.Role.String() + " " + id.Name
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.callers[key]
	if l == nil {
		if p.callers == nil || len(p.callers) >= maxPaced {
			p.callers = map[string]*rate.Limiter{}
		}
		l = rate.NewLimiter(callRate, callBurst)
		p.callers[key] = l
	}
	return l
}

// unary refuses what is too much; it goes behind the access check.
func (p *pace) unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if id := caller(ctx); !p.of(id).Allow() {
		return nil, status.Errorf(codes.ResourceExhausted, "%s is over the limit of %d calls a second (%d at once) at a nameserver; nothing was done, try again in a second", id, callRate, callBurst)
	}
	return handler(ctx, req)
}
