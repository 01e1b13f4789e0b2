package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/fairlead-dns/fairlead/controller/catalog"
	"github.com/fairlead-dns/fairlead/controller/planner"
	"github.com/fairlead-dns/fairlead/controller/store"
	"github.com/fairlead-dns/fairlead/controller/store/embedded"
	"github.com/fairlead-dns/fairlead/controller/verdicts"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// station is a feed with a real judge and planner behind a gRPC server.
type station struct {
	*Server
	t       testing.TB
	judge   *verdicts.Judge
	planner *planner.Planner
	catalog *catalog.Catalog
	conn    *grpc.ClientConn
	stop    func()
}

// start starts a station; with etcd it publishes what is in there, without it
// it has no generation.
func start(t testing.TB, withEtcd bool) *station {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s := &station{t: t}
	var st *store.Store
	if withEtcd {
		e, err := embedded.Start(t.Context(), embedded.Options{UnsafeNoFsync: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close() })
		client, err := store.Dial(store.DialOptions{Endpoints: e.Endpoints()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		if st, err = store.New(store.Options{Client: client}); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if s.judge, err = verdicts.New(verdicts.Options{Name: "c1", SeedWait: 10 * time.Millisecond, FreshFor: time.Hour}); err != nil {
		t.Fatal(err)
	}
	s.catalog = catalog.New(st, log)
	s.planner = planner.New(planner.Options{Store: st, Catalog: s.catalog, Log: log})
	s.Server = New(Options{Planner: s.planner, Judge: s.judge, Log: log})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	pb.RegisterFeedServiceServer(g, s.Server)
	pb.RegisterAgentServiceServer(g, s.judge)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 4)
	parts := []func() error{
		func() error { return g.Serve(l) },
		func() error { return s.judge.Run(ctx) },
		func() error { return s.Run(ctx) },
	}
	if withEtcd {
		parts = append(parts, func() error { return s.planner.Run(ctx) })
	}
	for _, p := range parts {
		go func() { ended <- p() }()
	}
	s.stop = func() {
		cancel()
		g.GracefulStop()
		for range parts {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		parts = nil
	}
	if s.conn, err = grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.conn.Close(); s.stop() })
	return s
}

func target(i int) string { return fmt.Sprintf("web@192.0.%d.%d", i/200, i%200) }

// judges gives the judge one agent in one region and n targets.
func (s *station) judges(revision int64, n int) {
	p := verdicts.Plan{Generation: regions.Generation{Epoch: 1, Revision: revision}, Agents: []verdicts.Agent{{Name: "a", Region: "r"}}}
	for i := range n {
		p.Assignments = append(p.Assignments, &pb.Assignment{Target: target(i)})
	}
	s.judge.SetPlan(p)
}

// agent is the registered agent's stream.
type agent struct {
	s      *station
	stream grpc.BidiStreamingClient[pb.ReportRequest, pb.ReportResponse]
}

func (s *station) agent() *agent {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s.t.Cleanup(cancel)
	st, err := pb.NewAgentServiceClient(s.conn).Report(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	a := &agent{s, st}
	a.send(&pb.ReportRequest{Message: &pb.ReportRequest_Hello{Hello: &pb.AgentHello{Agent: "a", Region: "r"}}})
	return a
}

func (a *agent) send(m *pb.ReportRequest) {
	a.s.t.Helper()
	if err := a.stream.Send(m); err != nil {
		a.s.t.Fatal(err)
	}
}

// says tells the status of some targets.
func (a *agent) says(full bool, status pb.HealthStatus, from, to int) {
	a.s.t.Helper()
	u := &pb.OpinionUpdate{Full: full}
	for i := from; i < to; i++ {
		u.Opinions = append(u.Opinions, &pb.Opinion{Target: target(i), Status: status})
	}
	a.send(&pb.ReportRequest{Message: &pb.ReportRequest_Opinions{Opinions: u}})
}

const (
	up   = pb.HealthStatus_HEALTH_STATUS_HEALTHY
	down = pb.HealthStatus_HEALTH_STATUS_UNHEALTHY
)

// subscription is a nameserver that mirrors the table and checks every digest.
type subscription struct {
	t      testing.TB
	stream grpc.BidiStreamingClient[pb.SubscribeRequest, pb.SubscribeResponse]
	cancel func()

	table   map[string]health.Verdict
	latches []regions.Latch
	digest  health.Digest
	fulls   int // full updates that began
	deltas  int
	beat    *pb.Heartbeat
}

func (s *station) subscribe(hello *pb.NameserverHello) *subscription {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s.t.Cleanup(cancel)
	st, err := pb.NewFeedServiceClient(s.conn).Subscribe(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	n := &subscription{t: s.t, stream: st, cancel: cancel}
	n.send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Hello{Hello: hello}})
	return n
}

func (n *subscription) send(m *pb.SubscribeRequest) {
	n.t.Helper()
	if err := n.stream.Send(m); err != nil && !errors.Is(err, io.EOF) {
		n.t.Fatal(err)
	}
}

// read takes one message.
func (n *subscription) read() *pb.SubscribeResponse {
	n.t.Helper()
	m, err := n.stream.Recv()
	if err != nil {
		n.t.Fatal(err)
	}
	switch {
	case m.GetHeartbeat() != nil:
		n.beat = m.GetHeartbeat()
		if n.beat.GetDigest() != uint64(n.digest) {
			n.t.Errorf("heartbeat's digest %x, the table's is %x", n.beat.GetDigest(), uint64(n.digest))
		}
	case m.GetHealth() != nil:
		u := m.GetHealth()
		if u.GetFull() {
			n.table, n.latches, n.digest = map[string]health.Verdict{}, nil, 0
			n.fulls++
		} else {
			n.deltas++
		}
		if u.GetLatches() != nil {
			is := healthpb.ParseLatches(u.GetLatches(), time.Now())
			n.digest = n.digest.ReplaceLatches(n.latches, is)
			n.latches = is
		}
		for _, h := range u.GetTargets() {
			if old, had := n.table[h.GetTarget()]; had {
				n.digest = n.digest.RemoveVerdict(h.GetTarget(), old)
			}
			v := healthpb.ParseTargetHealth(h, time.Now())
			n.table[h.GetTarget()] = v
			n.digest = n.digest.AddVerdict(h.GetTarget(), v)
		}
		for _, id := range u.GetRemoved() {
			n.digest = n.digest.RemoveVerdict(id, n.table[id])
			delete(n.table, id)
		}
		if u.GetDigest() != uint64(n.digest) {
			n.t.Errorf("update's digest %x, the table's is %x", u.GetDigest(), uint64(n.digest))
		}
		if len(u.GetTargets()) > maxBatch {
			n.t.Errorf("a message of %d targets", len(u.GetTargets()))
		}
	}
	return m
}

// until reads on until ok.
func (n *subscription) until(ok func() bool) {
	n.t.Helper()
	for !ok() {
		n.read()
	}
}

func (n *subscription) count(st regions.Status) int {
	c := 0
	for _, v := range n.table {
		if v.Last == st {
			c++
		}
	}
	return c
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 3000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("in vain waited for: %s", what)
}
