package probes

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// All of it over real sockets: a controller, an agent and an endpoint that
// fails and comes back.
func TestOverSockets(t *testing.T) {
	var code atomic.Int32
	code.Store(200)
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(int(code.Load()))
	}))
	defer endpoint.Close()
	port := uint32(endpoint.Listener.Addr().(*net.TCPAddr).Port)

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &controller{name: "c1", opinions: map[string]*pb.Opinion{}, push: make(chan struct{}, 1)}
	c.assign = &pb.Assignments{Generation: &pb.Generation{Epoch: 1, Revision: 1}}
	for _, host := range []string{"127.0.0.1", "127.0.0.2"} {
		c.assign.Assignments = append(c.assign.Assignments, &pb.Assignment{
			Target: "web@" + host, Address: host,
			Check: &pb.HealthCheckSpec{
				Interval: durationpb.New(100 * time.Millisecond), Timeout: durationpb.New(100 * time.Millisecond), Rise: 2, Fall: 2,
				Probe: &pb.HealthCheckSpec_Http{Http: &pb.HttpProbe{Port: port}},
			},
		})
	}
	server := grpc.NewServer()
	pb.RegisterAgentServiceServer(server, c)
	served := make(chan struct{})
	go func() { defer close(served); server.Serve(l) }()
	defer func() { server.Stop(); <-served }()

	agent, err := New(Options{
		Name: "probe-1", Region: "eu", Controllers: []string{l.Addr().String()}, Credentials: insecure.NewCredentials(),
		AllowTargets: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- agent.Run(ctx) }()
	defer func() { cancel(); <-ran }()

	await := func(target, want, reason string) {
		t.Helper()
		got := ""
		for range 1000 {
			c.mu.Lock()
			o := c.opinions["web@"+target]
			got = fmt.Sprintf("%s %s", letter(o.GetStatus()), o.GetReason())
			c.mu.Unlock()
			if got == want+" "+reason {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("%s: the controller is told %q, want %q", target, got, want+" "+reason)
	}
	await("127.0.0.1", "H", "HTTP 200")
	await("127.0.0.2", "?", "refused: a loopback address; --allow-target allows it")
	code.Store(503)
	await("127.0.0.1", "U", "HTTP 503")
	code.Store(200)
	await("127.0.0.1", "H", "HTTP 200")
	if err := agent.Run(ctx); err == nil {
		t.Error("an agent ran twice")
	}
}
