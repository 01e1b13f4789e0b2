package limits

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/fairlead-dns/fairlead/controller/access"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

// served is a server behind access and limits, as a controller is.
type served struct {
	pb.UnimplementedInsightServiceServer
	pb.UnimplementedAgentServiceServer
	heard atomic.Int64
}

func (s *served) GetStatus(context.Context, *pb.GetStatusRequest) (*pb.GetStatusResponse, error) {
	return &pb.GetStatusResponse{}, nil
}

func (s *served) Report(st grpc.BidiStreamingServer[pb.ReportRequest, pb.ReportResponse]) error {
	for {
		if _, err := st.Recv(); err != nil {
			return nil
		}
		s.heard.Add(1)
	}
}

// identify takes the caller's word, in place of its certificate.
func identify(ctx context.Context) (identity.Identity, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	if uri := md.Get("identity"); len(uri) == 1 {
		return identity.Parse(uri[0])
	}
	return identity.Identity{}, errors.New("nobody")
}

// One caller floods over a connection that everybody shares: with calls, which
// are refused, and with messages, which are delayed. Nobody else is refused
// anything.
func TestFlood(t *testing.T) {
	l := made(t, Options{Requests: Rate{PerSecond: 50, Burst: 100}, Messages: Rate{PerSecond: 100, Burst: 100}})
	server := grpc.NewServer(
		grpc.ChainUnaryInterceptor(access.Unary(identify), l.Unary()),
		grpc.ChainStreamInterceptor(access.Stream(identify), l.Stream()),
	)
	s := &served{}
	pb.RegisterInsightServiceServer(server, s)
	pb.RegisterAgentServiceServer(server, s)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	defer func() {
		server.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	conn, err := grpc.NewClient("passthrough:///"+listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	caller := func(uri string) context.Context {
		return metadata.AppendToOutgoingContext(t.Context(), "identity", "spiffe://fairlead/"+uri)
	}

	flooding, stop := context.WithCancel(caller("agent/eu-west/wild"))
	report, err := pb.NewAgentServiceClient(conn).Report(flooding)
	if err != nil {
		t.Fatal(err)
	}
	flood := make(chan int)
	go func() {
		n := 0
		for report.Send(opinions(100)) == nil {
			n++
		}
		flood <- n
	}()
	client := pb.NewInsightServiceClient(conn)
	refused := 0
	for range 1000 {
		if _, err := client.GetStatus(caller("viewer/wild"), &pb.GetStatusRequest{}); status.Code(err) == codes.ResourceExhausted {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
		if refused > 0 && refused <= 90 {
			if _, err := client.GetStatus(caller("viewer/alice"), &pb.GetStatusRequest{}); err != nil {
				t.Fatalf("refused because of somebody else: %v", err)
			}
		}
	}
	if refused == 0 {
		t.Error("a thousand calls at once: none refused")
	}
	other, err := pb.NewAgentServiceClient(conn).Report(caller("agent/eu-west/probe"))
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if err := other.Send(opinions(100)); err != nil {
			t.Fatal(err)
		}
	}
	if err := other.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the other agent's stream: %v", err)
	}
	stop()
	t.Logf("the flood: %d messages sent, %d heard of both agents, %d calls refused", <-flood, s.heard.Load(), refused)
}
