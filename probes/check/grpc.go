package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// Bounds on what a specification says of gRPC, and on a response.
const (
	maxServiceName = 255
	maxReply       = 4 << 10
	grpcHeader     = 16 << 10
	grpcBuffer     = 8 << 10
)

// grpcCheck passes when grpc.health.v1.Health/Check says SERVING.
type grpcCheck struct {
	dialer
	tls       *trust // nil: without TLS
	service   string
	authority string
	agent     string
}

func newGRPC(spec *pb.HealthCheckSpec, probe *pb.GrpcProbe, o Options) (Check, error) {
	c := &grpcCheck{service: probe.GetService(), authority: probe.GetAuthority(), agent: "fairlead-probe/" + o.Version}
	var err error
	if c.dialer, err = newDialer(spec, probe.GetPort(), 0, o); err != nil {
		return nil, err
	}
	if len(c.service) > maxServiceName || strings.ContainsFunc(c.service, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }) {
		return nil, fmt.Errorf("service %.80q: want a name as helloworld.Greeter", c.service)
	}
	if c.authority != "" && !isAuthority(c.authority) {
		return nil, fmt.Errorf("authority %.80q: want a host as www.example.com", c.authority)
	}
	if probe.GetTls() != nil {
		if c.tls, err = newTrust(probe.GetTls()); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Probe implements Check.
func (c *grpcCheck) Probe(ctx context.Context, target string) Outcome {
	a, cancel := c.begin(ctx)
	defer cancel()
	addr, ok := a.locate(target)
	if !ok {
		return a.out
	}
	held := a.connect("tcp", addr, c.port)
	if held == nil {
		return a.out
	}
	defer held.Close()
	conn, creds := net.Conn(held), made{}
	name := nameFor(c.authority, target, addr)
	if c.tls != nil {
		secured := a.secure(held, c.tls, name, "h2")
		if secured == nil {
			return a.out
		}
		if secured.ConnectionState().NegotiatedProtocol != "h2" {
			return a.end(Failed, "the target does not speak HTTP/2")
		}
		conn, creds.protocol = secured, "tls"
	}
	host := c.authority
	if host == "" {
		host = authority(name, c.port, c.tls != nil)
	}
	asked := time.Now()
	state, answered, err := c.ask(a.ctx, conn, creds, host)
	a.out.Phases.FirstByte = time.Since(asked)
	switch {
	case err == nil && state == grpc_health_v1.HealthCheckResponse_SERVING:
		return a.end(Passed, "SERVING")
	case err == nil:
		if _, known := grpc_health_v1.HealthCheckResponse_ServingStatus_name[int32(state)]; !known {
			return a.end(Failed, "an unknown serving status")
		}
		return a.end(Failed, state.String())
	case a.ctx.Err() != nil:
		return a.fail(a.ctx.Err(), "waiting for the response", "")
	case !answered:
		// The client says Unavailable of whatever is wrong with a connection; the
		// connection may know better.
		if cause := held.cause(); cause != nil {
			err = cause
		}
		return a.fail(err, "waiting for the response", "no valid gRPC response")
	}
	switch code := status.Code(err); code {
	case codes.NotFound:
		return a.end(Failed, "gRPC status NotFound: the server does not know the service")
	case codes.Unimplemented:
		return a.end(Failed, "gRPC status Unimplemented: the server has no grpc.health.v1.Health")
	default:
		if code > codes.Unauthenticated {
			code = codes.Unknown
		}
		return a.end(Failed, "gRPC status "+code.String())
	}
}

// ask makes the call on a connection that is there; answered: the target sent a
// status.
func (c *grpcCheck) ask(ctx context.Context, conn net.Conn, creds made, host string) (state grpc_health_v1.HealthCheckResponse_ServingStatus, answered bool, err error) {
	var used atomic.Bool
	client, err := grpc.NewClient("passthrough:///"+host,
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			if used.Swap(true) {
				return nil, errors.New("a check makes one connection")
			}
			return conn, nil
		}),
		grpc.WithTransportCredentials(creds), grpc.WithAuthority(host), grpc.WithUserAgent(c.agent),
		// Nothing but the call: no proxy, no second try, no settings from DNS; and
		// little memory for what the target sends.
		grpc.WithNoProxy(), grpc.WithDisableRetry(), grpc.WithDisableServiceConfig(), grpc.WithDisableHealthCheck(), grpc.WithIdleTimeout(0),
		grpc.WithMaxHeaderListSize(grpcHeader), grpc.WithStaticStreamWindowSize(64<<10), grpc.WithStaticConnWindowSize(64<<10),
		grpc.WithReadBufferSize(grpcBuffer), grpc.WithWriteBufferSize(grpcBuffer),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReply)))
	if err != nil {
		return 0, false, err
	}
	defer client.Close()
	defer conn.Close() // first, so that no farewell waits for the target
	var header, trailer metadata.MD
	resp, err := grpc_health_v1.NewHealthClient(client).Check(ctx,
		&grpc_health_v1.HealthCheckRequest{Service: c.service}, grpc.Header(&header), grpc.Trailer(&trailer))
	return resp.GetStatus(), len(header)+len(trailer) > 0, err
}

// made are the credentials of a connection that was secured before, or was not
// to be.
type made struct{ protocol string }

func (m made) ClientHandshake(_ context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return conn, nil, nil
}

func (m made) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("a check serves nobody")
}

func (m made) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: m.protocol}
}

func (m made) Clone() credentials.TransportCredentials { return m }
func (m made) OverrideServerName(string) error         { return nil }
