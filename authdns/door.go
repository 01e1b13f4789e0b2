package authdns

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// What one connection may ask of the gRPC server. A nameserver answers DNS
// first: whatever comes here is small and seldom.
const (
	maxStreams = 100
	maxMessage = 64 << 10 // bytes
	maxHeaders = 16 << 10 // bytes; a token and a trace fit many times
	// minPing is how seldom a client may ask whether the server is there.
	minPing = 2 * time.Second
	// handshakeTimeout ends a connection that does not get to its first call.
	handshakeTimeout = 10 * time.Second
)

// connections are how long one lives: a caller whose certificate has expired
// since does not go on for ever, and one that is gone is noticed.
var connections = keepalive.ServerParameters{
	Time: 10 * time.Second, Timeout: 5 * time.Second,
	MaxConnectionIdle: 5 * time.Minute, MaxConnectionAge: 30 * time.Minute, MaxConnectionAgeGrace: time.Minute,
}

// server makes the gRPC server.
func (o *Options) server() *grpc.Server {
	identify := o.Identify
	if identify == nil {
		identify = anyone
	}
	opts := []grpc.ServerOption{
		grpc.InTapHandle(atDoor(identify)),
		grpc.ChainUnaryInterceptor(unary(identify), (&pace{}).unary),
		grpc.ChainStreamInterceptor(streams),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.KeepaliveParams(connections),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
	}
	if o.Credentials != nil {
		opts = append(opts, grpc.Creds(o.Credentials))
	}
	return grpc.NewServer(opts...)
}
