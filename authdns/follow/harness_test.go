package follow

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/fairlead-dns/fairlead/authdns/breakglass"
	"github.com/fairlead-dns/fairlead/authdns/feed"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/proto/snapshot"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/geo"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// generationOf is a generation of services with one endpoint each, a1 to an,
// as a controller offers it.
type generationOf struct {
	update  *pb.PlanUpdate
	objects plan.Objects
}

const installation = "here"

func makeGeneration(t testing.TB, epoch uint64, revision int64, services int) generationOf {
	t.Helper()
	return makeGenerationWith(t, epoch, revision, services, "")
}

// makeGenerationWith makes a generation with more resources, as YAML.
func makeGenerationWith(t testing.TB, epoch uint64, revision int64, services int, more string, releases ...*pb.LatchRelease) generationOf {
	t.Helper()
	return makeGenerationUnder(t, epoch, revision, services, more, &pb.OverrideSet{Releases: releases})
}

// makeGenerationUnder makes a generation with more resources and with overrides.
func makeGenerationUnder(t testing.TB, epoch uint64, revision int64, services int, more string, overrides *pb.OverrideSet) generationOf {
	t.Helper()
	text := `
apiVersion: fairlead/v1
kind: Region
metadata: {name: r}
spec: {latitude: 50, longitude: 8}
---
apiVersion: fairlead/v1
kind: HealthCheck
metadata: {name: web}
spec: {http: {port: 8080}}
---
apiVersion: fairlead/v1
kind: SteeringPolicy
metadata: {name: nearest}
spec: {mode: active-active}
---
apiVersion: fairlead/v1
kind: Zone
metadata: {name: example.test}
spec: {nameservers: [ns1.example.test], records: "ns1 A 192.0.2.53"}
`
	for i := 1; i <= services; i++ {
		text += fmt.Sprintf(`---
apiVersion: fairlead/v1
kind: Service
metadata: {name: a%d.example.test}
spec: {zone: example.test, policy: nearest, healthCheck: web, endpoints: [{name: e, region: r, addresses: [192.0.2.%d]}]}
`, i, i)
	}
	docs, err := config.Parse("test.yaml", []byte(text+more))
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
	head.Epoch, head.Installation = epoch, installation
	return generationOf{&pb.PlanUpdate{Generation: &pb.Generation{Epoch: epoch, Revision: revision}, Head: head}, tree.Objects}
}

func (g generationOf) with(f func(*pb.PlanUpdate)) generationOf {
	g.update = proto.CloneOf(g.update)
	f(g.update)
	return g
}

// controller is a scripted controller behind a real gRPC server.
type controller struct {
	pb.UnimplementedFeedServiceServer
	name     string
	listener *bufconn.Listener
	server   *grpc.Server

	mu       sync.Mutex
	now      script
	changed  chan struct{}
	streams  int // open
	hellos   []*pb.NameserverHello
	acks     []*pb.PlanAcknowledgement
	follow   bool
	report   *pb.Following
	resyncs  int
	fetches  int
	restarts uint64
}

// script is what the controller says.
type script struct {
	generation  generationOf
	verdicts    map[string]regions.Status
	number      uint64
	ready       bool
	silent      bool // no heartbeats
	spoil       bool // the next delta carries a wrong digest
	hang        bool // fetches hang
	fail        bool // fetches fail
	cut         bool // streams end
	evidenceAge time.Duration
	latches     []regions.Latch
	restored    bool // what is healthy was unhealthy before
}

func newController(name string) *controller {
	c := &controller{name: name, changed: make(chan struct{})}
	c.now.verdicts = map[string]regions.Status{}
	return c
}

// set changes what the controller says.
func (c *controller) set(f func(*script)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was, latched := maps.Clone(c.now.verdicts), c.now.latches
	f(&c.now)
	if !maps.Equal(was, c.now.verdicts) || !slices.Equal(latched, c.now.latches) {
		c.now.number++
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// says sets verdicts: "1=H 2=U 3=?".
func (c *controller) says(words string) {
	c.set(func(s *script) {
		was := s.verdicts
		s.verdicts = map[string]regions.Status{}
		maps.Copy(s.verdicts, was)
		for _, w := range strings.Fields(words) {
			n, letter, _ := strings.Cut(w, "=")
			s.verdicts["web@192.0.2."+n] = map[string]regions.Status{"H": regions.Healthy, "U": regions.Unhealthy, "?": regions.Unknown}[letter]
		}
	})
}

func (c *controller) offers(g generationOf) { c.set(func(s *script) { s.generation = g }) }

func (c *controller) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listener = bufconn.Listen(1 << 20)
	c.server = grpc.NewServer()
	pb.RegisterFeedServiceServer(c.server, c)
	go c.server.Serve(c.listener)
	c.restarts++
}

func (c *controller) dial(ctx context.Context) (net.Conn, error) {
	c.mu.Lock()
	l := c.listener
	c.mu.Unlock()
	return l.DialContext(ctx)
}

func (c *controller) stop() { c.server.Stop() }

// health is a verdict on the wire.
func (s *script) health(id string) *pb.TargetHealth {
	t := &pb.TargetHealth{Target: id, Verdict: statusOf(s.verdicts[id]), HeldMillis: 1000}
	t.Restored = s.restored && s.verdicts[id] == regions.Healthy
	return t
}

// digest is over all that the controller says.
func (s *script) digest() uint64 {
	d := health.Digest(0).ReplaceLatches(nil, s.latches)
	for id := range s.verdicts {
		d = d.AddVerdict(id, healthpb.ParseTargetHealth(s.health(id), time.Now()))
	}
	return uint64(d)
}

var clientAnywhere = netip.MustParseAddr("192.0.2.200")

func statusOf(s regions.Status) pb.HealthStatus {
	return map[regions.Status]pb.HealthStatus{
		regions.Healthy: pb.HealthStatus_HEALTH_STATUS_HEALTHY, regions.Unhealthy: pb.HealthStatus_HEALTH_STATUS_UNHEALTHY,
		regions.Unknown: pb.HealthStatus_HEALTH_STATUS_UNKNOWN,
	}[s]
}

func (c *controller) Subscribe(stream grpc.BidiStreamingServer[pb.SubscribeRequest, pb.SubscribeResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if first.GetHello() == nil {
		return status.Error(codes.InvalidArgument, "no hello")
	}
	resync := make(chan struct{}, 1)
	c.mu.Lock()
	c.hellos = append(c.hellos, first.GetHello())
	c.streams++
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.streams--
		c.mu.Unlock()
	}()
	go func() {
		for {
			m, err := stream.Recv()
			if err != nil {
				return
			}
			c.mu.Lock()
			switch m := m.GetMessage().(type) {
			case *pb.SubscribeRequest_Acknowledgement:
				c.acks = append(c.acks, m.Acknowledgement)
			case *pb.SubscribeRequest_Following:
				c.follow, c.report = m.Following.GetFollowing(), m.Following
			case *pb.SubscribeRequest_Resync:
				c.resyncs++
				resync <- struct{}{}
			}
			c.mu.Unlock()
		}
	}()
	return c.push(stream, resync)
}

func (c *controller) push(stream grpc.BidiStreamingServer[pb.SubscribeRequest, pb.SubscribeResponse], resync <-chan struct{}) error {
	beat := time.NewTicker(200 * time.Millisecond)
	defer beat.Stop()
	var sent script
	for all := true; ; {
		c.mu.Lock()
		now, changed, incarnation := c.now, c.changed, c.restarts
		c.now.spoil = false
		c.mu.Unlock()
		if now.cut {
			return status.Error(codes.Unavailable, "cut")
		}
		var out []*pb.SubscribeResponse
		if u := now.generation.update; u != nil && u != sent.generation.update {
			out = append(out, &pb.SubscribeResponse{Message: &pb.SubscribeResponse_Plan{Plan: u}})
		}
		version := &pb.HealthVersion{Incarnation: incarnation, Number: now.number}
		digest := now.digest()
		if all || now.number != sent.number {
			u := &pb.HealthUpdate{Version: version, Full: all, Digest: digest}
			if now.spoil {
				u.Digest++
			}
			for _, id := range slices.Sorted(maps.Keys(now.verdicts)) {
				if all || now.verdicts[id] != sent.verdicts[id] {
					u.Targets = append(u.Targets, now.health(id))
				}
			}
			for id := range sent.verdicts {
				if _, ok := now.verdicts[id]; !ok && !all {
					u.Removed = append(u.Removed, id)
				}
			}
			if all || !slices.Equal(now.latches, sent.latches) {
				u.Latches = healthpb.Latches(now.latches, time.Now())
			}
			out = append(out, &pb.SubscribeResponse{Message: &pb.SubscribeResponse_Health{Health: u}})
		}
		if !now.silent {
			out = append(out, &pb.SubscribeResponse{Message: &pb.SubscribeResponse_Heartbeat{Heartbeat: &pb.Heartbeat{
				Version: version, Digest: digest, Ready: now.ready, EvidenceAgeMillis: uint64(now.evidenceAge.Milliseconds()),
			}}})
		}
		for _, m := range out {
			if err := stream.Send(m); err != nil {
				return err
			}
		}
		sent, all = now, false
		select {
		case <-stream.Context().Done():
			return nil
		case <-changed:
		case <-beat.C:
		case <-resync:
			all = true
		}
	}
}

func (c *controller) FetchObjects(req *pb.FetchObjectsRequest, stream grpc.ServerStreamingServer[pb.FetchObjectsResponse]) error {
	c.mu.Lock()
	now := c.now
	c.fetches++
	c.mu.Unlock()
	if now.fail {
		return status.Error(codes.Unavailable, "no objects today")
	}
	if now.hang {
		<-stream.Context().Done()
		return nil
	}
	for _, d := range req.GetDigests() {
		data, ok := now.generation.objects[[sha256.Size]byte(d)]
		if !ok {
			return status.Errorf(codes.NotFound, "object %x", d)
		}
		if err := stream.Send(&pb.FetchObjectsResponse{Digest: d, Data: data}); err != nil {
			return err
		}
	}
	return nil
}

// seen returns what the controller was told.
func (c *controller) seen(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// lastAck is the newest acknowledgement: "1.5" or "1.5 refused: why".
func (c *controller) lastAck() (text string) {
	c.seen(func() {
		if len(c.acks) == 0 {
			return
		}
		a := c.acks[len(c.acks)-1]
		text = regions.Generation{Epoch: a.GetGeneration().GetEpoch(), Revision: a.GetGeneration().GetRevision()}.String()
		if a.GetRefusal() != "" {
			text += " refused: " + a.GetRefusal()
		}
	})
	return text
}

// scene is a follower in a synctest bubble, and its controllers.
type scene struct {
	*Follower
	t     *testing.T
	reg   *prometheus.Registry
	dir   string
	cs    []*controller
	subs  []*feed.Subscription
	conns []*grpc.ClientConn
	stop  func()

	mu        sync.Mutex
	published []*Serving
}

// begin makes a follower for controllers; run starts it.
func begin(t *testing.T, dir string, cs ...*controller) *scene {
	t.Helper()
	db, err := geo.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{t: t, reg: prometheus.NewPedanticRegistry(), dir: dir, cs: cs}
	var d *snapshot.Dir
	if dir != "" {
		if d, err = snapshot.Open(dir); err != nil {
			t.Fatal(err)
		}
	}
	s.Follower = New(Options{
		Name: "ns-1", Region: "r", Version: "test", Dir: d, Geo: db, Log: slog.New(slog.DiscardHandler), Registerer: s.reg,
		BreakGlass: breakglass.New(breakglass.Options{Dir: d, Log: slog.New(slog.DiscardHandler), Changed: func() { s.Wake() }}),
		Publish: func(v *Serving) {
			if s.Serving() == v {
				t.Error("it is said to be served before anything answers by it")
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.published = append(s.published, v)
		},
	})
	s.opts.BreakGlass.Load(time.Now())
	for _, c := range cs {
		conn, err := grpc.NewClient("passthrough:"+c.name,
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, MaxDelay: time.Second}}),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.dial(ctx) }))
		if err != nil {
			t.Fatal(err)
		}
		s.conns = append(s.conns, conn)
		sub := feed.New(feed.Options{Controller: c.name, Conn: conn, Log: slog.New(slog.DiscardHandler), Hello: s.Hello, Wake: s.Wake, Report: s.Report})
		s.subs = append(s.subs, sub)
		s.Add(sub)
	}
	return s
}

func (s *scene) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx); err != nil {
			s.t.Error(err)
		}
	})
	wg.Go(func() {
		if err := s.opts.BreakGlass.Run(ctx); err != nil {
			s.t.Error(err)
		}
	})
	for _, sub := range s.subs {
		wg.Go(func() {
			if err := sub.Run(ctx); err != nil {
				s.t.Error(err)
			}
		})
	}
	s.stop = func() {
		cancel()
		wg.Wait()
		for _, c := range s.conns {
			c.Close()
		}
		synctest.Wait()
	}
}

// play runs a test in a bubble, with controllers that run; the follower runs
// too unless the test starts it itself.
func play(t *testing.T, controllers int, test func(t *testing.T, s *scene, cs []*controller)) {
	t.Helper()
	if _, err := geo.Builtin(); err != nil { // outside of the bubble
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "snapshots")
	synctest.Test(t, func(t *testing.T) {
		var cs []*controller
		for i := range controllers {
			c := newController(fmt.Sprintf("c%d", i+1))
			c.start()
			cs = append(cs, c)
		}
		s := begin(t, dir, cs...)
		s.run()
		t.Cleanup(func() {
			s.stop()
			for _, c := range cs {
				c.stop()
			}
		})
		pass(time.Second)
		test(t, s, cs)
	})
}

// pass lets time pass.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// want checks the generation served and the verdicts in it: "1.5 1=H 2=?".
func (s *scene) want(want string) {
	s.t.Helper()
	got := "-"
	if v := s.Serving(); v != nil {
		got = v.Plan.Generation.String()
		for i := range v.Plan.Targets {
			_, n, _ := strings.Cut(v.Plan.Targets[i].ID, "192.0.2.")
			got += fmt.Sprintf(" %s=%c", n, "?HU"[v.View.State(int32(i)).Verdict])
		}
	}
	if got != want {
		s.t.Errorf("serving %q, want %q", got, want)
	}
}

// followed checks who is followed, as they were told.
func (s *scene) followed(want ...bool) {
	s.t.Helper()
	for i, c := range s.cs {
		c.seen(func() {
			if c.follow != want[i] {
				s.t.Errorf("%s: following is %v, want %v", c.name, c.follow, want[i])
			}
		})
	}
}
