package embedded

import (
	"context"
	"sync"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
)

// gate ends the requests that are under way when the member closes. Without
// it etcd waits for its clients' watches, which never end, until a timeout of
// more than five seconds.
type gate struct {
	ctx    context.Context
	cancel context.CancelFunc
	// requests is held for reading by every unary request that is served.
	requests sync.RWMutex
}

func newGate() *gate {
	g := &gate{}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	return g
}

// shut ends the requests under way and lets no more in. It waits for the unary
// ones: a read that is served when etcd closes its database would crash the
// process.
func (g *gate) shut() {
	g.cancel()
	g.requests.Lock()
	defer g.requests.Unlock()
}

// bind derives a context that also ends when the gate shuts.
func (g *gate) bind(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(g.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// result gives callers cut off by the gate what a stopping etcd says, code
// Unavailable: etcd's client takes Canceled for the end of a watch, and for
// leave to send a write again.
func (g *gate) result(err error) error {
	if err != nil && g.ctx.Err() != nil {
		return rpctypes.ErrGRPCStopped
	}
	return err
}

func (g *gate) unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	g.requests.RLock()
	defer g.requests.RUnlock()
	if g.ctx.Err() != nil {
		return nil, rpctypes.ErrGRPCStopped
	}
	ctx, done := g.bind(ctx)
	defer done()
	resp, err := handler(ctx, req)
	return resp, g.result(err)
}

func (g *gate) stream(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx, done := g.bind(ss.Context())
	defer done()
	return g.result(handler(srv, boundStream{ss, ctx}))
}

type boundStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s boundStream) Context() context.Context { return s.ctx }
