package controller

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/fairlead-dns/fairlead/controller/access"
)

// What one connection may ask of the gRPC server; what one caller may, is
// package limits'.
const (
	// maxMessage bounds a request: an apply of a large configuration.
	maxMessage = 64 << 20
	maxHeaders = 16 << 10 // bytes; a token and a trace fit many times
	maxStreams = 1000
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

// server makes the gRPC server. identify stands before the interceptors too:
// who may not call gets no message read.
func (o *Options) server(identify access.Identify, unary []grpc.UnaryServerInterceptor, stream []grpc.StreamServerInterceptor) *grpc.Server {
	opts := []grpc.ServerOption{
		grpc.InTapHandle(access.Tap(identify)),
		grpc.ChainUnaryInterceptor(unary...),
		grpc.ChainStreamInterceptor(stream...),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.ConnectionTimeout(handshakeTimeout),
		// Windows of a stated size, not grown by probing, which answers every lone
		// message, as a heartbeat is, with a ping.
		grpc.StaticStreamWindowSize(1 << 20), grpc.StaticConnWindowSize(4 << 20),
		grpc.KeepaliveParams(connections),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
	}
	if o.Credentials != nil {
		opts = append(opts, grpc.Creds(o.Credentials))
	}
	return grpc.NewServer(opts...)
}
