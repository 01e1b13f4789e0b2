package check

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func grpcSpec(p *pb.GrpcProbe) *pb.HealthCheckSpec {
	return &pb.HealthCheckSpec{
		Interval: durationpb.New(ample), Timeout: durationpb.New(ample),
		Probe: &pb.HealthCheckSpec_Grpc{Grpc: p},
	}
}

func serveGRPC(t *testing.T, register func(*grpc.Server), o ...grpc.ServerOption) uint32 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(o...)
	register(s)
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return portOf(l.Addr())
}

// odd is a health server that answers by the name of the service.
type odd struct {
	grpc_health_v1.UnimplementedHealthServer
	asked chan metadata.MD
}

func (o odd) Check(ctx context.Context, r *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	select {
	case o.asked <- md:
	default:
	}
	switch r.GetService() {
	case "unavailable":
		return nil, status.Error(codes.Unavailable, "secret text of the target")
	case "code":
		return nil, status.Error(codes.Code(4711), "secret text of the target")
	case "hangs":
		<-ctx.Done()
		return nil, ctx.Err()
	case "number":
		return &grpc_health_v1.HealthCheckResponse{Status: 99}, nil
	case "large":
		grpc.SetHeader(ctx, metadata.Pairs("x-large", strings.Repeat("x", 32<<10)))
	}
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
}

func TestGRPC(t *testing.T) {
	t.Parallel()
	authority := newCA(t)
	h := health.NewServer()
	h.SetServingStatus("up", grpc_health_v1.HealthCheckResponse_SERVING)
	h.SetServingStatus("down", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	h.SetServingStatus("new", grpc_health_v1.HealthCheckResponse_UNKNOWN)
	register := func(s *grpc.Server) { grpc_health_v1.RegisterHealthServer(s, h) }
	plain := serveGRPC(t, register)
	secure := serveGRPC(t, register, grpc.Creds(credentials.NewTLS(authority.config(t, leaf{}))))
	without := serveGRPC(t, func(*grpc.Server) {})
	asked := make(chan metadata.MD, 1)
	strange := serveGRPC(t, func(s *grpc.Server) { grpc_health_v1.RegisterHealthServer(s, odd{asked: asked}) })
	strangeTLS := serveGRPC(t, func(s *grpc.Server) { grpc_health_v1.RegisterHealthServer(s, odd{asked: asked}) }, grpc.Creds(credentials.NewTLS(authority.config(t, leaf{}))))
	web := serveHTTP(t, nil, http.NotFoundHandler())
	closes := serve(t, func(c net.Conn) { c.Read(make([]byte, 8<<10)) })
	silent := serve(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	garbage := serve(t, func(c net.Conn) { io.WriteString(c, strings.Repeat("220 mail ESMTP\r\n", 10)); io.Copy(io.Discard, c) })
	one := serveTLS(t, authority.config(t, leaf{}), func(c *tls.Conn) { c.Read(make([]byte, 8<<10)) })
	ours := &pb.TlsOptions{CaCertificates: authority.text}

	for _, tc := range []struct {
		name   string
		p      *pb.GrpcProbe
		result Result
		reason string
	}{
		{"the server", &pb.GrpcProbe{Port: plain}, Passed, "SERVING"},
		{"a service", &pb.GrpcProbe{Port: plain, Service: "up"}, Passed, "SERVING"},
		{"a service that is down", &pb.GrpcProbe{Port: plain, Service: "down"}, Failed, "NOT_SERVING"},
		{"a service that says unknown", &pb.GrpcProbe{Port: plain, Service: "new"}, Failed, "UNKNOWN"},
		{"no such service", &pb.GrpcProbe{Port: plain, Service: "nix"}, Failed, "gRPC status NotFound: the server does not know the service"},
		{"no health service", &pb.GrpcProbe{Port: without}, Failed, "gRPC status Unimplemented: the server has no grpc.health.v1.Health"},
		{"TLS", &pb.GrpcProbe{Port: secure, Tls: ours}, Passed, "SERVING"},
		{"TLS, by authority", &pb.GrpcProbe{Port: secure, Tls: ours, Authority: "www.example.test"}, Passed, "SERVING"},
		{"TLS, another name", &pb.GrpcProbe{Port: secure, Tls: ours, Authority: "api.example.test"}, Failed, "certificate is for another name"},
		{"TLS, unknown authority", &pb.GrpcProbe{Port: secure, Tls: &pb.TlsOptions{}}, Failed, "certificate signed by an unknown authority"},
		{"TLS, no HTTP/2", &pb.GrpcProbe{Port: one, Tls: ours}, Failed, "the target does not speak HTTP/2"},
		{"TLS where there is none", &pb.GrpcProbe{Port: garbage, Tls: ours}, Failed, "the target does not speak TLS"},
		{"unavailable", &pb.GrpcProbe{Port: strange, Service: "unavailable"}, Failed, "gRPC status Unavailable"},
		{"a code out of range", &pb.GrpcProbe{Port: strange, Service: "code"}, Failed, "gRPC status Unknown"},
		{"a status out of range", &pb.GrpcProbe{Port: strange, Service: "number"}, Failed, "an unknown serving status"},
		{"a large header", &pb.GrpcProbe{Port: strange, Service: "large"}, Failed, "no valid gRPC response"},
		{"hangs", &pb.GrpcProbe{Port: strange, Service: "hangs"}, Failed, "timeout after 300ms waiting for the response"},
		{"refused", &pb.GrpcProbe{Port: closedPort(t)}, Failed, "connection refused"},
		{"closes", &pb.GrpcProbe{Port: closes}, Failed, "connection closed without a response"},
		{"silent", &pb.GrpcProbe{Port: silent}, Failed, "timeout after 300ms waiting for the response"},
		{"garbage", &pb.GrpcProbe{Port: garbage}, Failed, "no valid gRPC response"},
		{"a web server", &pb.GrpcProbe{Port: web}, Failed, "no valid gRPC response"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			spec := grpcSpec(tc.p)
			spec.Timeout = durationpb.New(timeFor(tc.reason))
			out := mustNew(t, spec, loopback).Probe(t.Context(), "127.0.0.1")
			expect(t, out, tc.result, tc.reason)
			if tc.result == Passed && (out.Phases.FirstByte <= 0 || (out.Phases.TLS > 0) != (tc.p.Tls != nil)) {
				t.Errorf("phases %+v", out.Phases)
			}
		})
	}

	// The authority and the agent are as said, and nothing else is asked.
	for _, tc := range []struct {
		p         *pb.GrpcProbe
		authority string
	}{
		{&pb.GrpcProbe{Port: strange, Authority: "www.example.test"}, "www.example.test"},
		{&pb.GrpcProbe{Port: strangeTLS, Authority: "www.example.test:8443", Tls: ours}, "www.example.test:8443"},
	} {
		clear := func() {
			select {
			case <-asked:
			default:
			}
		}
		clear()
		expect(t, mustNew(t, grpcSpec(tc.p), loopback).Probe(t.Context(), "127.0.0.1"), Passed, "SERVING")
		md := <-asked
		if got := md.Get(":authority"); len(got) != 1 || got[0] != tc.authority {
			t.Errorf("authority %q, want %q", got, tc.authority)
		}
		if got := md.Get("user-agent"); len(got) != 1 || !strings.HasPrefix(got[0], "fairlead-probe/1.2 ") {
			t.Errorf("user agent %q", got)
		}
	}
}
