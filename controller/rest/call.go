package rest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
)

// callKey is the metadata key that ties a call on the in-process connection
// to the HTTP request that it is made for. Clients cannot set it: no header
// becomes metadata but Authorization and X-Forwarded-*.
const callKey = "fairlead-rest-call"

// calls are the HTTP requests under way, with who sent them.
type calls struct {
	mu    sync.Mutex
	last  uint64
	peers map[uint64]*peer.Peer
}

type callID struct{}

// begin notes a request; its context names it.
func (c *calls) begin(ctx context.Context, p *peer.Peer) (context.Context, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.peers == nil {
		c.peers = map[uint64]*peer.Peer{}
	}
	c.last++
	id := c.last
	c.peers[id] = p
	return context.WithValue(ctx, callID{}, id), func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.peers, id)
	}
}

// annotate names the request in the metadata of its call.
func (c *calls) annotate(ctx context.Context, _ *http.Request) metadata.MD {
	id, _ := ctx.Value(callID{}).(uint64)
	return metadata.Pairs(callKey, strconv.FormatUint(id, 10))
}

// incoming is a call's context with the HTTP client as its peer.
func (c *calls) incoming(ctx context.Context) (context.Context, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	var p *peer.Peer
	if v := md.Get(callKey); len(v) == 1 {
		if id, err := strconv.ParseUint(v[0], 10, 64); err == nil {
			c.mu.Lock()
			p = c.peers[id]
			c.mu.Unlock()
		}
	}
	if p == nil {
		return nil, status.Error(codes.Canceled, "the HTTP request is over")
	}
	md.Delete(callKey)
	return metadata.NewIncomingContext(peer.NewContext(ctx, p), md), nil
}

// identify says who sent a request.
func (s *Server) identify(r *http.Request) (*peer.Peer, error) {
	p := &peer.Peer{Addr: address(r.RemoteAddr)}
	if s.opts.Identify == nil {
		return p, nil
	}
	var err error
	if p.AuthInfo, err = s.opts.Identify(r); err == nil {
		return p, nil
	}
	if _, ok := status.FromError(err); !ok {
		err = status.Error(codes.Unauthenticated, err.Error())
	}
	return nil, err
}

func address(remote string) net.Addr {
	if ap, err := netip.ParseAddrPort(remote); err == nil {
		return net.TCPAddrFromAddrPort(ap)
	}
	return textAddr(remote)
}

// textAddr is the address of a client that came over no TCP.
type textAddr string

func (textAddr) Network() string  { return "http" }
func (a textAddr) String() string { return string(a) }

// newServer makes the in-process server; its streams end with ctx.
func (s *Server) newServer(ctx context.Context) (*grpc.Server, *bufconn.Listener) {
	unary := []grpc.UnaryServerInterceptor{
		func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			ctx, err := s.calls.incoming(ctx)
			if err != nil {
				return nil, err
			}
			return next(ctx, req)
		},
	}
	stream := []grpc.StreamServerInterceptor{
		func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			in, err := s.calls.incoming(ss.Context())
			if err != nil {
				return err
			}
			in, cancel := context.WithCancelCause(in)
			defer cancel(nil)
			defer context.AfterFunc(ctx, func() { cancel(errStops) })()
			old := time.AfterFunc(maxStreamAge, func() { cancel(errOld) })
			defer old.Stop()
			err = next(srv, &serverStream{ss, in})
			if cause := context.Cause(in); errors.Is(cause, errStops) || errors.Is(cause, errOld) {
				return cause
			}
			return err
		},
	}
	server := grpc.NewServer(
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.ChainUnaryInterceptor(append(unary, s.opts.Unary...)...),
		grpc.ChainStreamInterceptor(append(stream, s.opts.Stream...)...),
	)
	s.opts.Register(server)
	return server, bufconn.Listen(256 << 10)
}

// maxStreamAge ends a stream, as the age of a gRPC connection does: whoever has
// lost his right to it meanwhile does not go on for ever.
var maxStreamAge = 30 * time.Minute

var (
	errStops = status.Error(codes.Unavailable, "the controller stops")
	errOld   = status.Error(codes.Unavailable, "the stream is as old as one may be: open a new one")
)

type serverStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *serverStream) Context() context.Context { return s.ctx }

func dial(l *bufconn.Listener) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///rest",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
	)
}

// connection is the in-process connection while Run runs. It implements
// grpc.ClientConnInterface.
type connection struct{ s *Server }

func (c connection) current() (*grpc.ClientConn, error) {
	if conn := c.s.link.Load(); conn != nil {
		return conn, nil
	}
	return nil, status.Error(codes.Unavailable, "the controller is starting or stopping; nothing was done")
}

// Invoke implements grpc.ClientConnInterface.
func (c connection) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	conn, err := c.current()
	if err != nil {
		return err
	}
	return conn.Invoke(ctx, method, args, reply, opts...)
}

// NewStream implements grpc.ClientConnInterface.
func (c connection) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	conn, err := c.current()
	if err != nil {
		return nil, err
	}
	return conn.NewStream(ctx, desc, method, opts...)
}
