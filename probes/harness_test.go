package probes

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/fairlead-dns/fairlead/probes/check"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func TestMain(m *testing.M) {
	if protocol := os.Getenv(benchServer); protocol != "" {
		serve(protocol)
		return
	}
	goleak.VerifyTestMain(m)
}

// controller is a real AgentService that writes down what it is told.
type controller struct {
	pb.UnimplementedAgentServiceServer
	name   string
	server *grpc.Server

	mu         sync.Mutex
	listener   *bufconn.Listener
	hellos     []*pb.AgentHello
	opinions   map[string]*pb.Opinion
	updates    []string // "full t=H u=U" in the order of arrival
	beats      int
	isolated   string // as the last heartbeat said
	generation *pb.Generation
	assign     *pb.Assignments
	push       chan struct{}
	refuse     error
	queries    []*pb.HistoryQuery // to be asked
	replies    []*pb.HistoryReply
}

func newController(name string) *controller {
	c := &controller{name: name, opinions: map[string]*pb.Opinion{}, push: make(chan struct{}, 1)}
	c.start()
	return c
}

func (c *controller) start() {
	c.mu.Lock()
	c.listener = bufconn.Listen(1 << 20)
	c.mu.Unlock()
	c.server = grpc.NewServer()
	pb.RegisterAgentServiceServer(c.server, c)
	go c.server.Serve(c.listener)
}

func (c *controller) dial(ctx context.Context) (net.Conn, error) {
	c.mu.Lock()
	l := c.listener
	c.mu.Unlock()
	return l.DialContext(ctx)
}

func (c *controller) Report(s grpc.BidiStreamingServer[pb.ReportRequest, pb.ReportResponse]) error {
	c.mu.Lock()
	refuse := c.refuse
	c.mu.Unlock()
	if refuse != nil {
		return refuse
	}
	ended := make(chan error, 1)
	go func() {
		for {
			m, err := s.Recv()
			if err != nil {
				ended <- err
				return
			}
			c.note(m)
		}
	}()
	c.wake()
	for {
		select {
		case err := <-ended:
			return err
		case <-c.push:
			c.mu.Lock()
			a, queries := c.assign, c.queries
			c.queries = nil
			c.mu.Unlock()
			for _, q := range queries {
				if err := s.Send(&pb.ReportResponse{Message: &pb.ReportResponse_History{History: q}}); err != nil {
					return err
				}
			}
			if a != nil {
				if err := s.Send(&pb.ReportResponse{Message: &pb.ReportResponse_Assignments{Assignments: a}}); err != nil {
					return err
				}
			}
		}
	}
}

func (c *controller) wake() {
	select {
	case c.push <- struct{}{}:
	default:
	}
}

func (c *controller) note(m *pb.ReportRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch m := m.GetMessage().(type) {
	case *pb.ReportRequest_Hello:
		c.hellos = append(c.hellos, m.Hello)
	case *pb.ReportRequest_Heartbeat:
		c.beats++
		c.generation, c.isolated = m.Heartbeat.GetGeneration(), m.Heartbeat.GetIsolated()
	case *pb.ReportRequest_Opinions:
		if m.Opinions.GetFull() {
			clear(c.opinions)
		}
		for _, o := range m.Opinions.GetOpinions() {
			c.opinions[o.GetTarget()] = o
		}
		c.updates = append(c.updates, describe(m.Opinions))
	case *pb.ReportRequest_History:
		c.replies = append(c.replies, m.History)
	}
}

func describe(u *pb.OpinionUpdate) string {
	words := []string{}
	for _, o := range u.GetOpinions() {
		words = append(words, o.GetTarget()+"="+letter(o.GetStatus()))
	}
	slices.Sort(words)
	if u.GetFull() {
		words = slices.Insert(words, 0, "full")
	}
	return strings.Join(words, " ")
}

func letter(s pb.HealthStatus) string { return [...]string{"!", "?", "H", "U"}[s] }

// table is what the controller knows now, as "t=H u=U".
func (c *controller) table() string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return describe(&pb.OpinionUpdate{Opinions: slices.Collect(maps.Values(c.opinions))})
}

func (c *controller) opinion(target string) *pb.Opinion {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opinions[target]
}

// with looks at, or changes, what the controller has.
func (c *controller) with(f func()) {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// take returns the updates since the last call.
func (c *controller) take() []string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.updates
	c.updates = nil
	return u
}

// assigns sends assignments of a revision: "t" under the default check, every
// second, or "t/300ms" at another interval, "t/10s/200ms" with rapid confirm, or
// "t:81" with another port.
func (c *controller) assigns(revision int64, targets ...string) {
	c.sends(assignments(revision, targets...))
}

func (c *controller) sends(a *pb.Assignments) {
	c.mu.Lock()
	c.assign = a
	c.mu.Unlock()
	c.wake()
	synctest.Wait()
}

// asks sends a query for observations.
func (c *controller) asks(q *pb.HistoryQuery) {
	c.mu.Lock()
	c.queries = append(c.queries, q)
	c.mu.Unlock()
	c.wake()
	synctest.Wait()
}

func assignments(revision int64, targets ...string) *pb.Assignments {
	a := &pb.Assignments{Generation: &pb.Generation{Epoch: 1, Revision: revision}}
	for _, t := range targets {
		t, interval, _ := strings.Cut(t, "/")
		interval, confirm, _ := strings.Cut(interval, "/")
		t, port, _ := strings.Cut(t, ":")
		spec := &pb.HealthCheckSpec{Rise: 2, Fall: 3, Interval: durationpb.New(time.Second), Timeout: durationpb.New(500 * time.Millisecond)}
		if d, err := time.ParseDuration(interval); err == nil {
			spec.Interval = durationpb.New(d)
		}
		if d, err := time.ParseDuration(confirm); err == nil {
			spec.ConfirmInterval = durationpb.New(d)
		}
		probe := &pb.TcpProbe{Port: 80}
		fmt.Sscan(port, &probe.Port)
		spec.Probe = &pb.HealthCheckSpec_Tcp{Tcp: probe}
		a.Assignments = append(a.Assignments, &pb.Assignment{Target: t, Address: t, Check: spec})
	}
	return a
}

// world is what scripted checks see: it stands for the targets.
type world struct {
	mu      sync.Mutex
	say     map[string]check.Outcome
	takes   time.Duration
	began   map[string][]time.Time
	running int
	most    int
}

func newWorld() *world {
	return &world{say: map[string]check.Outcome{}, began: map[string][]time.Time{}}
}

var (
	up   = check.Outcome{Result: check.Passed, Reason: "connected"}
	down = check.Outcome{Result: check.Failed, Reason: "connection refused"}
)

func (w *world) set(target string, o check.Outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.say[target] = o
}

func (w *world) setTakes(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.takes = d
}

// checks are the moments at which checks of a target began.
func (w *world) checks(target string) []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.began[target])
}

func (w *world) Probe(ctx context.Context, target string) check.Outcome {
	w.mu.Lock()
	w.began[target] = append(w.began[target], time.Now())
	w.running++
	w.most = max(w.most, w.running)
	takes := w.takes
	w.mu.Unlock()
	if takes > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(takes):
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running--
	if o, ok := w.say[target]; ok {
		return o
	}
	return up
}

// scene is an agent with controllers in a bubble.
type scene struct {
	*Agent
	world *world
	stop  func()
}

// inBubble runs a test with an agent that reports to the named controllers.
func inBubble(t *testing.T, names []string, test func(t *testing.T, s *scene, cs []*controller)) {
	t.Helper()
	inBubbleWith(t, names, func(*Options) {}, test)
}

// inBubbleWith does so with other options.
func inBubbleWith(t *testing.T, names []string, with func(*Options), test func(t *testing.T, s *scene, cs []*controller)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		byName := map[string]*controller{}
		var cs []*controller
		for _, n := range names {
			c := newController(n)
			cs = append(cs, c)
			byName["passthrough:"+n] = c
		}
		o := Options{Name: "probe-1", Region: "eu", Version: "1.2", Credentials: insecure.NewCredentials()}
		for _, n := range names {
			o.Controllers = append(o.Controllers, "passthrough:"+n)
		}
		o.DialOptions = []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return byName["passthrough:"+addr].dial(ctx)
		})}
		w := newWorld()
		o.NewCheck = func(*pb.HealthCheckSpec) (check.Check, error) { return w, nil }
		with(&o)
		a, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- a.Run(ctx) }()
		synctest.Wait()
		stopped := false
		stop := func() {
			if !stopped {
				stopped = true
				cancel()
				if err := <-ran; err != nil {
					t.Errorf("Run: %v", err)
				}
			}
		}
		test(t, &scene{Agent: a, world: w, stop: stop}, cs)
		stop()
		for _, c := range cs {
			c.server.Stop()
		}
	})
}

func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
