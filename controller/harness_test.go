package controller_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/fairlead-dns/fairlead/controller"
	"github.com/fairlead-dns/fairlead/controller/store"
	"github.com/fairlead-dns/fairlead/controller/store/embedded"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/geo"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const headKey = store.DefaultPrefix + "head"

// etcd starts one member that can be stopped and restarted.
func etcd(t testing.TB) *embedded.Cluster {
	t.Helper()
	c, err := embedded.StartCluster(t.Context(), embedded.ClusterOptions{Members: 1, TickMs: 10, ElectionMs: 100})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// raw is a client for acting behind the controllers' backs.
func raw(t testing.TB, c *embedded.Cluster) *clientv3.Client {
	t.Helper()
	cl, err := store.Dial(store.DialOptions{Endpoints: c.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cl.Close() })
	return cl
}

// running is a controller that runs, and its clients.
type running struct {
	*controller.Server
	t    testing.TB
	conn *grpc.ClientConn
	reg  *prometheus.Registry
	stop func() error

	pb.CatalogServiceClient
	pb.RegionServiceClient
	pb.ZoneServiceClient
	pb.OverrideServiceClient
	pb.InsightServiceClient
}

// run starts a controller on an etcd; edit changes its options.
func run(t testing.TB, name string, c *embedded.Cluster, edit ...func(*controller.Options)) *running {
	t.Helper()
	client, err := store.Dial(store.DialOptions{Endpoints: c.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.New(store.Options{Client: client, RequestTimeout: time.Second, ReadInterval: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	db, err := geo.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, reg: prometheus.NewPedanticRegistry()}
	o := controller.Options{
		Name: name, Version: "test", Store: st, Listener: l, Geo: db,
		Log: slog.New(slog.DiscardHandler), Registerer: r.reg,
	}
	for _, e := range edit {
		e(&o)
	}
	r.Server, err = controller.New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.conn, err = grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stopped := false
	r.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return errors.Join(<-ended, client.Close())
	}
	t.Cleanup(func() {
		if err := errors.Join(r.stop(), r.conn.Close()); err != nil {
			t.Error(err)
		}
	})
	r.CatalogServiceClient = pb.NewCatalogServiceClient(r.conn)
	r.RegionServiceClient = pb.NewRegionServiceClient(r.conn)
	r.ZoneServiceClient = pb.NewZoneServiceClient(r.conn)
	r.OverrideServiceClient = pb.NewOverrideServiceClient(r.conn)
	r.InsightServiceClient = pb.NewInsightServiceClient(r.conn)
	return r
}

const base = `
apiVersion: fairlead/v1
kind: Region
metadata: {name: eu-west}
spec: {latitude: 53.35, longitude: -6.26, availabilityZones: [eu-west-a]}
---
apiVersion: fairlead/v1
kind: Region
metadata: {name: us-east}
spec: {latitude: 38.95, longitude: -77.45}
---
apiVersion: fairlead/v1
kind: Agent
metadata: {name: probe-eu}
spec: {region: eu-west}
---
apiVersion: fairlead/v1
kind: HealthCheck
metadata: {name: web}
spec: {http: {port: 8080, path: /healthz}}
---
apiVersion: fairlead/v1
kind: SteeringPolicy
metadata: {name: nearest}
spec: {mode: active-active, defaultOrder: [us-east, eu-west]}
---
apiVersion: fairlead/v1
kind: Zone
metadata: {name: example.test}
spec: {nameservers: [ns1.example.test], records: "ns1 A 192.0.2.53"}
---
` + www

const www = `apiVersion: fairlead/v1
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
`

// service is the text of a service of one endpoint.
func service(name, address string) string {
	return fmt.Sprintf(`
apiVersion: fairlead/v1
kind: Service
metadata: {name: %s}
spec: {zone: example.test, policy: nearest, endpoints: [{name: e, region: eu-west, addresses: [%s]}]}
`, name, address)
}

func resources(t testing.TB, text string) []*pb.Resource {
	t.Helper()
	docs, err := config.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var all []*pb.Resource
	for _, d := range docs {
		all = append(all, d.Resource)
	}
	return all
}

// apply applies resources and expects that to succeed.
func (r *running) apply(text string) *pb.ApplyResponse {
	r.t.Helper()
	resp, err := r.Apply(r.t.Context(), &pb.ApplyRequest{Resources: resources(r.t, text)})
	if err != nil {
		r.t.Fatal(err)
	}
	return resp
}

func (r *running) list(kind string) *pb.ListResourcesResponse {
	r.t.Helper()
	resp, err := r.ListResources(r.t.Context(), &pb.ListResourcesRequest{Kind: kind})
	if err != nil {
		r.t.Fatal(err)
	}
	return resp
}

func (r *running) names(kind string) string {
	r.t.Helper()
	var names []string
	for _, res := range r.list(kind).GetResources() {
		names = append(names, config.Name(res))
	}
	return strings.Join(names, " ")
}

// eventually waits for what must come about, however slow the machine is.
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

// wantCode checks an error's code and that its text holds all words.
func wantCode(t testing.TB, err error, code codes.Code, words ...string) {
	t.Helper()
	if status.Code(err) != code {
		t.Fatalf("error is %v, want code %v", err, code)
	}
	for _, w := range words {
		if !strings.Contains(status.Convert(err).Message(), w) {
			t.Errorf("error is %q, want %q in it", status.Convert(err).Message(), w)
		}
	}
}

// violations are the fields of a BadRequest.
func violations(t testing.TB, err error) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, d := range status.Convert(err).Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			for _, v := range bad.GetFieldViolations() {
				out[v.GetField()] = v.GetDescription()
			}
		}
	}
	return out
}

func gen(g *pb.Generation) regions.Generation {
	return regions.Generation{Epoch: g.GetEpoch(), Revision: g.GetRevision()}
}

// nameserver is a subscription such as a nameserver has.
type nameserver struct {
	t      testing.TB
	stream grpc.BidiStreamingClient[pb.SubscribeRequest, pb.SubscribeResponse]
	client pb.FeedServiceClient
	close  func()
}

func (r *running) subscribe(hello *pb.NameserverHello) *nameserver {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r.t.Cleanup(cancel)
	n := &nameserver{t: r.t, client: pb.NewFeedServiceClient(r.conn), close: cancel}
	var err error
	if n.stream, err = n.client.Subscribe(ctx); err != nil {
		r.t.Fatal(err)
	}
	n.send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Hello{Hello: hello}})
	return n
}

func (n *nameserver) send(m *pb.SubscribeRequest) {
	n.t.Helper()
	if err := n.stream.Send(m); err != nil {
		n.t.Fatal(err)
	}
}

func (n *nameserver) acknowledge(g *pb.Generation, refusal string) {
	n.t.Helper()
	n.send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Acknowledgement{
		Acknowledgement: &pb.PlanAcknowledgement{Generation: g, Refusal: refusal}}})
}

// next reads on to the first message that pick takes.
func (n *nameserver) next(what string, pick func(*pb.SubscribeResponse) bool) *pb.SubscribeResponse {
	n.t.Helper()
	for {
		m, err := n.stream.Recv()
		if err != nil {
			n.t.Fatalf("waiting for %s: %v", what, err)
		}
		if pick(m) {
			return m
		}
	}
}

// plan reads on to a generation that is at least g, and reads its tree.
func (n *nameserver) plan(g *pb.Generation) (*pb.PlanUpdate, *plan.Tree) {
	n.t.Helper()
	u := n.next("a plan", func(m *pb.SubscribeResponse) bool {
		return m.GetPlan() != nil && gen(m.GetPlan().GetGeneration()).Compare(gen(g)) >= 0
	}).GetPlan()
	tree, err := plan.Read(u.GetHead(), nil, nil, n.fetch)
	if err != nil {
		n.t.Fatal(err)
	}
	return u, tree
}

func (n *nameserver) fetch(digests []plan.Digest) (plan.Objects, error) {
	req := &pb.FetchObjectsRequest{}
	for _, d := range digests {
		req.Digests = append(req.Digests, d[:])
	}
	st, err := n.client.FetchObjects(context.Background(), req)
	if err != nil {
		return nil, err
	}
	got := plan.Objects{}
	for range digests {
		m, err := st.Recv()
		if err != nil {
			return nil, err
		}
		got[plan.Digest(m.GetDigest())] = m.GetData()
	}
	_, err = st.Recv() // the end
	if err.Error() == "EOF" {
		err = nil
	}
	return got, err
}

// reports has the agent of base say that one endpoint is healthy and the other,
// in its own region, is not. The stream ends with ctx.
func (r *running) reports(ctx context.Context) {
	r.t.Helper()
	agent, err := pb.NewAgentServiceClient(r.conn).Report(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, m := range []*pb.ReportRequest{
		{Message: &pb.ReportRequest_Hello{Hello: &pb.AgentHello{Agent: "probe-eu", Region: "eu-west", Version: "1"}}},
		{Message: &pb.ReportRequest_Opinions{Opinions: &pb.OpinionUpdate{Full: true, Opinions: []*pb.Opinion{
			{Target: "web@192.0.2.10", Status: pb.HealthStatus_HEALTH_STATUS_UNHEALTHY, Reason: "connection refused"},
			{Target: "web@192.0.2.20", Status: pb.HealthStatus_HEALTH_STATUS_HEALTHY},
		}}}},
	} {
		if err := agent.Send(m); err != nil {
			r.t.Fatal(err)
		}
	}
}
