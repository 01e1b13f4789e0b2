package authdns

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/geo"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const sample = `
apiVersion: fairlead/v1
kind: Region
metadata: {name: eu-west}
spec: {latitude: 53.35, longitude: -6.26}
---
apiVersion: fairlead/v1
kind: Region
metadata: {name: us-east}
spec: {latitude: 38.95, longitude: -77.45}
---
apiVersion: fairlead/v1
kind: HealthCheck
metadata: {name: web}
spec: {http: {port: 8080}}
---
apiVersion: fairlead/v1
kind: SteeringPolicy
metadata: {name: nearest}
spec: {mode: active-active, defaultOrder: [eu-west, us-east]}
---
apiVersion: fairlead/v1
kind: Zone
metadata: {name: example.test}
spec: {nameservers: [ns1.example.test], records: "ns1 A 192.0.2.53"}
---
apiVersion: fairlead/v1
kind: Service
metadata: {name: www.example.test}
spec:
  zone: example.test
  ttl: 30s
  policy: nearest
  healthCheck: web
  endpoints:
    - {name: eu-1, region: eu-west, addresses: [192.0.2.10]}
    - {name: us-1, region: us-east, addresses: [192.0.2.20]}
---
apiVersion: fairlead/v1
kind: Service
metadata: {name: strict.example.test}
spec:
  zone: example.test
  policy: nearest
  healthCheck: web
  unknown: unhealthy
  allDown: serve-fallback
  fallback: [192.0.2.99]
  endpoints: [{name: eu-1, region: eu-west, addresses: [192.0.2.30]}]
`

const (
	up   = pb.HealthStatus_HEALTH_STATUS_HEALTHY
	down = pb.HealthStatus_HEALTH_STATUS_UNHEALTHY
)

// controller feeds what it is given over a real socket.
type controller struct {
	pb.UnimplementedFeedServiceServer
	addr string
	stop func()

	mu      sync.Mutex
	update  *pb.PlanUpdate
	objects plan.Objects
	targets []*pb.TargetHealth
	number  uint64
	ready   bool
	told    *pb.BreakGlassTable // by the nameserver
	query   *pb.UsageQuery      // to be asked
	report  *pb.UsageReport
}

func startController(t *testing.T) *controller {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &controller{addr: l.Addr().String()}
	s := grpc.NewServer()
	pb.RegisterFeedServiceServer(s, c)
	ended := make(chan error)
	go func() { ended <- s.Serve(l) }()
	c.stop = sync.OnceFunc(func() {
		s.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(c.stop)
	return c
}

// publish makes a generation of the sample.
func (c *controller) publish(t *testing.T) {
	t.Helper()
	c.publishWith(t, 5, nil)
}

// publishWith makes one with overrides.
func (c *controller) publishWith(t *testing.T, revision int64, overrides *pb.OverrideSet) {
	t.Helper()
	docs, err := config.Parse("sample.yaml", []byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	var resources []*pb.Resource
	for _, d := range docs {
		resources = append(resources, d.Resource)
	}
	set, err := config.NewSet(resources)
	if err != nil {
		t.Fatal(err)
	}
	tree, head, err := plan.Write(set, overrides, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	head.Epoch, head.Installation = 1, "here"
	c.mu.Lock()
	defer c.mu.Unlock()
	c.update, c.objects = &pb.PlanUpdate{Generation: &pb.Generation{Epoch: 1, Revision: revision}, Head: head}, tree.Objects
}

// eventually waits for something to hold.
func (c *controller) eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 3000 {
		if holds() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("never: %s", what)
}

// table is what the nameserver last said of its break-glass records.
func (c *controller) table() *pb.BreakGlassTable {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.told
}

// standing are the ids of those that stand.
func (c *controller) standing() string {
	var ids []string
	for _, r := range c.table().GetRecords() {
		if r.GetEnded() == "" {
			ids = append(ids, r.GetId())
		}
	}
	return strings.Join(ids, " ")
}

// ask asks the nameserver what it answered.
func (c *controller) ask(t *testing.T, scope *pb.OverrideScope) *pb.UsageReport {
	t.Helper()
	c.mu.Lock()
	id := c.report.GetId() + 1
	c.query = &pb.UsageQuery{Id: id, Scope: scope}
	c.mu.Unlock()
	var r *pb.UsageReport
	c.eventually(t, "a usage report", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		r = c.report
		return r.GetId() == id
	})
	return r
}

// hear takes what the nameserver says on a stream.
func (c *controller) hear(stream grpc.BidiStreamingServer[pb.SubscribeRequest, pb.SubscribeResponse]) {
	for {
		m, err := stream.Recv()
		if err != nil {
			return
		}
		c.mu.Lock()
		for _, t := range []*pb.BreakGlassTable{m.GetHello().GetBreakGlass(), m.GetFollowing().GetBreakGlass()} {
			if t != nil {
				c.told = t
			}
		}
		if r := m.GetUsage(); r != nil {
			c.report = r
		}
		c.mu.Unlock()
	}
}

// judge makes the controller ready, with verdicts by the last part of the address.
func (c *controller) judge(verdicts map[string]pb.HealthStatus) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.number++
	c.ready, c.targets = true, nil
	for n, v := range verdicts {
		c.targets = append(c.targets, &pb.TargetHealth{Target: "web@192.0.2." + n, Verdict: v, HeldMillis: 5000})
	}
}

func (c *controller) Subscribe(stream grpc.BidiStreamingServer[pb.SubscribeRequest, pb.SubscribeResponse]) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	go c.hear(stream)
	var sent *pb.PlanUpdate
	for {
		c.mu.Lock()
		update, targets, ready, version := c.update, c.targets, c.ready, &pb.HealthVersion{Incarnation: 1, Number: c.number}
		query := c.query
		c.query = nil
		c.mu.Unlock()
		if update != sent {
			if err := stream.Send(&pb.SubscribeResponse{Message: &pb.SubscribeResponse_Plan{Plan: update}}); err != nil {
				return err
			}
			sent = update
		}
		if query != nil {
			if err := stream.Send(&pb.SubscribeResponse{Message: &pb.SubscribeResponse_UsageQuery{UsageQuery: query}}); err != nil {
				return err
			}
		}
		var digest health.Digest
		for _, t := range targets {
			v, _ := healthpb.ParseStatus(t.GetVerdict())
			digest = digest.Add(t.GetTarget(), v)
		}
		for _, m := range []*pb.SubscribeResponse{
			{Message: &pb.SubscribeResponse_Health{Health: &pb.HealthUpdate{Version: version, Full: true, Targets: targets, Digest: uint64(digest)}}},
			{Message: &pb.SubscribeResponse_Heartbeat{Heartbeat: &pb.Heartbeat{Version: version, Digest: uint64(digest), Ready: ready}}},
		} {
			if err := stream.Send(m); err != nil {
				return err
			}
		}
		select {
		case <-stream.Context().Done():
			return nil
		case <-tick.C:
		}
	}
}

func (c *controller) FetchObjects(req *pb.FetchObjectsRequest, stream grpc.ServerStreamingServer[pb.FetchObjectsResponse]) error {
	c.mu.Lock()
	objects := c.objects
	c.mu.Unlock()
	for _, d := range req.GetDigests() {
		data, ok := objects[plan.Digest(d)]
		if !ok {
			return status.Error(codes.NotFound, "no such object")
		}
		if err := stream.Send(&pb.FetchObjectsResponse{Digest: d, Data: data}); err != nil {
			return err
		}
	}
	return nil
}

// server is a nameserver that runs.
type server struct {
	*Server
	t    *testing.T
	addr string
	reg  *prometheus.Registry
	grpc *grpc.ClientConn
	stop func()
}

func options(t *testing.T, dir string, controllers ...string) Options {
	t.Helper()
	db, err := geo.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Name: "ns-1", Region: "eu-west", Version: "test", DNS: []string{"127.0.0.1:0"}, SnapshotDir: dir,
		Geo: db, Log: slog.New(slog.DiscardHandler),
	}
	for _, addr := range controllers {
		conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		o.Controllers = append(o.Controllers, Controller{Addr: addr, Conn: conn})
	}
	return o
}

func run(t *testing.T, o Options) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, reg: prometheus.NewPedanticRegistry()}
	o.Listener, o.Registerer = l, s.reg
	if s.Server, err = New(o); err != nil {
		t.Fatal(err)
	}
	s.addr = s.Addrs()[0].String()
	if s.grpc, err = grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-ended, s.grpc.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

// ask asks over UDP and TCP, which must agree.
func (s *server) ask(name string, qtype uint16) *dns.Msg {
	s.t.Helper()
	var first *dns.Msg
	for _, proto := range []string{"udp", "tcp"} {
		resp := s.askOver(proto, name, qtype)
		if first != nil && (resp.Rcode != first.Rcode || !slices.Equal(addresses(resp), addresses(first))) {
			s.t.Errorf("over UDP %v, over TCP %v", first, resp)
		}
		first = resp
	}
	return first
}

func (s *server) askOver(proto, name string, qtype uint16) *dns.Msg {
	s.t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	m.SetEdns0(1232, false)
	c := dns.Client{Net: proto, Timeout: 10 * time.Second}
	resp, _, err := c.Exchange(m, s.addr)
	if err != nil {
		s.t.Fatalf("%s over %s: %v", name, proto, err)
	}
	return resp
}

func addresses(m *dns.Msg) []string {
	var all []string
	for _, rr := range m.Answer {
		if a, ok := rr.(*dns.A); ok {
			all = append(all, a.A.String())
		}
	}
	slices.Sort(all)
	return all
}

func (s *server) want(name, want string) {
	s.t.Helper()
	if got := strings.Join(addresses(s.ask(name, dns.TypeA)), " "); got != want {
		s.t.Errorf("%s: %q, want %q", name, got, want)
	}
}

func (s *server) eventually(name, want string) {
	s.t.Helper()
	for range 3000 {
		if strings.Join(addresses(s.askOver("udp", name, dns.TypeA)), " ") == want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.want(name, want)
}

func TestLife(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "snapshots")
	c := startController(t)
	s := run(t, options(t, dir, c.addr))
	// Nothing to answer from yet.
	resp := s.ask("www.example.test.", dns.TypeA)
	if resp.Rcode != dns.RcodeServerFailure {
		t.Errorf("without a generation: %v", resp)
	}
	opt := resp.IsEdns0()
	if opt == nil || !slices.ContainsFunc(opt.Option, func(o dns.EDNS0) bool {
		e, ok := o.(*dns.EDNS0_EDE)
		return ok && e.InfoCode == dns.ExtendedErrorCodeNotReady
	}) {
		t.Errorf("no extended error says that it is not ready: %v", resp)
	}
	if s.Ready() == nil {
		t.Error("ready without a generation")
	}
	insight := pb.NewInsightServiceClient(s.grpc)
	explain := &pb.ExplainRequest{Name: "www.example.test", Client: "193.0.6.139"}
	if _, err := insight.Explain(t.Context(), explain); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("explain without a generation: %v", err)
	}
	// A generation, and nothing was judged: the services say what that means.
	c.publish(t)
	s.eventually("www.example.test.", "192.0.2.10")
	s.want("strict.example.test.", "192.0.2.99")
	if err := s.Ready(); err != nil {
		t.Error(err)
	}
	c.judge(map[string]pb.HealthStatus{"10": down, "20": up, "30": up})
	s.eventually("www.example.test.", "192.0.2.20")
	s.want("strict.example.test.", "192.0.2.30")
	x, err := insight.Explain(t.Context(), explain)
	if err != nil || x.GetSource() != "nameserver/ns-1" || !slices.Equal(x.GetAnswers(), []string{"192.0.2.20"}) {
		t.Errorf("explain: %v, %v", x, err)
	}
	for _, bad := range []struct {
		req  *pb.ExplainRequest
		code codes.Code
	}{
		{&pb.ExplainRequest{Name: "ns1.example.test", Client: "193.0.6.139"}, codes.NotFound},
		{&pb.ExplainRequest{Name: "www.example.test", Client: "nobody"}, codes.InvalidArgument},
	} {
		if _, err := insight.Explain(t.Context(), bad.req); status.Code(err) != bad.code {
			t.Errorf("explain %v: %v", bad.req, err)
		}
	}
	if resp := s.ask("no.example.test.", dns.TypeA); resp.Rcode != dns.RcodeNameError {
		t.Errorf("a name that is not there: %v", resp)
	}
	// Every controller is gone: nothing changes, after a restart neither.
	c.stop()
	s.want("www.example.test.", "192.0.2.20")
	s.stop()
	s = run(t, options(t, dir, c.addr))
	s.want("www.example.test.", "192.0.2.20")
	s.want("strict.example.test.", "192.0.2.30")
	if err := s.Ready(); err != nil {
		t.Error(err)
	}
	// Without the verdict table it still answers, by what was never judged.
	s.stop()
	if err := os.Remove(filepath.Join(dir, "health.table")); err != nil {
		t.Fatal(err)
	}
	s = run(t, options(t, dir, c.addr))
	s.want("www.example.test.", "192.0.2.10")
	s.want("strict.example.test.", "192.0.2.99")
}

func TestMetrics(t *testing.T) {
	c := startController(t)
	c.publish(t)
	s := run(t, options(t, "", c.addr))
	s.eventually("www.example.test.", "192.0.2.10")
	s.want("www.example.test.", "192.0.2.10")
	s.ask("www.example.test.", dns.TypeNAPTR)
	problems, err := testutil.GatherAndLint(s.reg)
	if err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
	for _, name := range []string{
		"fairlead_dns_requests_total", "fairlead_dns_responses_total", "fairlead_dns_request_duration_seconds",
		"fairlead_dns_dropped_total", "fairlead_dns_truncated_total", "fairlead_dns_tcp_connections", "fairlead_dns_tcp_accepted_total",
		"fairlead_authdns_generation_revision", "fairlead_authdns_generation_refused", "fairlead_authdns_following",
		"fairlead_authdns_break_glass_records", "fairlead_authdns_break_glass_trouble", "fairlead_authdns_health_age_seconds", "fairlead_authdns_verdict_changes_total", "fairlead_authdns_controller_changes_total",
	} {
		if n, err := testutil.GatherAndCount(s.reg, name); err != nil || n == 0 {
			t.Errorf("%s: %d series, %v", name, n, err)
		}
	}
	all, err := s.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := map[string]float64{}
	for _, f := range all {
		for _, m := range f.GetMetric() {
			key := f.GetName()
			for _, l := range m.GetLabel() {
				key += " " + l.GetValue()
			}
			counted[key] = m.GetCounter().GetValue()
		}
	}
	for _, key := range []string{
		"fairlead_dns_requests_total udp A", "fairlead_dns_requests_total tcp A", "fairlead_dns_requests_total udp other",
		"fairlead_dns_responses_total NOERROR", "fairlead_dns_tcp_accepted_total",
	} {
		if counted[key] == 0 {
			t.Errorf("%s is 0", key)
		}
	}
}

// What fails half-way leaves nothing open.
func TestNewFails(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	o := options(t, t.TempDir(), "127.0.0.1:1")
	first, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	free := first.Addrs()[0].String()
	first.Close()
	o = options(t, t.TempDir(), "127.0.0.1:1")
	o.DNS = []string{free, taken.LocalAddr().String()}
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), taken.LocalAddr().String()) {
		t.Fatalf("with an address that is taken: %v", err)
	}
	o.DNS = []string{free}
	again, err := New(o)
	if err != nil {
		t.Fatalf("the address is still bound: %v", err)
	}
	again.Close()

	o.SnapshotDir = "/dev/null/x"
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), "--snapshot-dir") {
		t.Errorf("with a directory that cannot be: %v", err)
	}
	if _, err := New(Options{}); err == nil || !strings.Contains(err.Error(), "--name") || !strings.Contains(err.Error(), "--controllers") {
		t.Errorf("without options: %v", err)
	}
}

// One that is stopped before it began ends in good order.
func TestStoppedAtOnce(t *testing.T) {
	c := startController(t)
	for range 5 {
		run(t, options(t, "", c.addr)).stop()
	}
}
