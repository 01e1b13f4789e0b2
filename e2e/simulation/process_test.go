package simulation

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	nsfeed "github.com/fairlead-dns/fairlead/authdns/feed"
	"github.com/fairlead-dns/fairlead/authdns/follow"
	"github.com/fairlead-dns/fairlead/controller/feed"
	"github.com/fairlead-dns/fairlead/controller/planner"
	"github.com/fairlead-dns/fairlead/controller/verdicts"
	"github.com/fairlead-dns/fairlead/probes"
	"github.com/fairlead-dns/fairlead/probes/check"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/proto/snapshot"
	"github.com/fairlead-dns/fairlead/regions"
)

// process is what all processes have.
type process struct {
	s       *sim
	host    *host
	running atomic.Bool
	started time.Time
	cancel  context.CancelFunc
	ended   sync.WaitGroup
}

func (p *process) begin() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	p.started, p.cancel = time.Now(), cancel
	p.running.Store(true)
	return ctx
}

func (p *process) end() {
	p.cancel()
	p.ended.Wait()
	p.running.Store(false)
}

// dialer connects from a host by gRPC address.
func (s *sim) dialer(from *host) grpc.DialOption {
	return grpc.WithContextDialer(func(ctx context.Context, to string) (net.Conn, error) {
		return s.net.dial(ctx, from, to)
	})
}

// grpcAddress is a host's gRPC address.
func grpcAddress(host string) string { return "passthrough:///" + host }

// agent is a probe agent, and what is wrong with it.
type agent struct {
	process
	region string
	at     netip.AddrPort
	skew   time.Duration // s.mu guards it
	lie    lie           // likewise
}

func (a *agent) start() {
	ctx := a.begin()
	var names []string
	for _, c := range a.s.controllers {
		names = append(names, grpcAddress(c.host.name))
	}
	p, err := probes.New(probes.Options{
		Name: a.host.name, Region: a.region, Version: "simulated", Controllers: names, Credentials: insecure.NewCredentials(),
		DialOptions:  []grpc.DialOption{a.s.dialer(a.host), grpc.WithStreamInterceptor(a.s.reports(a))},
		NewCheck:     func(*pb.HealthCheckSpec) (check.Check, error) { return (*view)(a), nil },
		Dial:         a.dial,
		HistoryBytes: 1 << 16,
	})
	must(err)
	a.ended.Go(func() { must(p.Run(ctx)) })
}

// dial connects to the reference or to a fellow agent.
func (a *agent) dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	at, refused := a.s.reference, false
	for _, b := range a.s.agents {
		if b.at == to {
			at, refused = b.host, !b.running.Load()
		}
	}
	for !a.s.net.talk(a.host, at) || a.s.isPaused(a.host) {
		if !sleep(ctx, dialAgain) {
			return nil, ctx.Err()
		}
	}
	if refused {
		return nil, syscall.ECONNREFUSED
	}
	here, there := net.Pipe()
	there.Close()
	return here, nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// view is an agent's check of targets.
type view agent

// Probe implements check.Check.
func (v *view) Probe(ctx context.Context, address string) check.Outcome {
	began := time.Now()
	for v.s.isPaused(v.host) {
		if !sleep(ctx, 50*time.Millisecond) {
			return check.Outcome{Reason: "stopped"}
		}
	}
	if time.Since(began) > timeout {
		return check.Outcome{Result: check.Failed, Reason: "timeout"} // as seen on waking
	}
	up, reached := v.s.look((*agent)(v), address)
	out := check.Outcome{Result: check.Passed, Latency: time.Millisecond}
	switch {
	case !reached:
		if !sleep(ctx, timeout) {
			return check.Outcome{Reason: "stopped"}
		}
		out = check.Outcome{Result: check.Failed, Reason: "timeout", Latency: timeout}
	case !up:
		out = check.Outcome{Result: check.Failed, Reason: "connection refused", Latency: time.Millisecond}
	}
	return v.s.lied((*agent)(v), address, out)
}

// controller is a judge with its feed.
type controller struct {
	process
	judge  *verdicts.Judge
	server *grpc.Server
	plans  *plans // learnt generations outlive a restart, as etcd's do
	// learning guards judge while it starts.
	learning sync.Mutex
	saw      observed
}

func (c *controller) start() {
	c.learning.Lock()
	defer c.learning.Unlock()
	ctx := c.begin()
	var err error
	c.judge, err = verdicts.New(verdicts.Options{Name: c.host.name})
	must(err)
	f := feed.New(feed.Options{Planner: c.plans, Judge: c.judge, Log: slog.New(slog.DiscardHandler)})
	c.server = grpc.NewServer(
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 2 * time.Second, PermitWithoutStream: true}),
	)
	pb.RegisterAgentServiceServer(c.server, c.judge)
	pb.RegisterFeedServiceServer(c.server, f)
	l := c.s.net.listen(c.host)
	if cur := c.plans.Current(); cur != nil {
		c.judge.SetPlan(c.s.judged(cur))
	}
	c.s.forgetController(c)
	changed, cancel := c.judge.Subscribe()
	c.ended.Go(func() { must(c.judge.Run(ctx)) })
	c.ended.Go(func() { must(f.Run(ctx)) })
	c.ended.Go(func() { must(c.server.Serve(l)) })
	judge := c.judge
	c.ended.Go(func() {
		defer cancel()
		for {
			c.s.judgeSays(c, judge.State())
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	})
}

// stop ends it as a crash does: nobody is told anything but by the network.
func (c *controller) stop() {
	c.server.Stop()
	c.end()
}

// learn tells it of a generation.
func (c *controller) learn(cur *planner.Current) {
	c.learning.Lock()
	defer c.learning.Unlock()
	if c.plans.set(cur) && c.running.Load() {
		c.judge.SetPlan(c.s.judged(cur))
	}
}

// plans implements feed.Plans.
type plans struct {
	mu      sync.Mutex
	recent  []*planner.Current
	changed chan struct{}
}

func newPlans() *plans { return &plans{changed: make(chan struct{})} }

func (p *plans) set(cur *planner.Current) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.recent) > 0 && cur.Generation.Compare(p.recent[0].Generation) <= 0 {
		return false
	}
	p.recent = append([]*planner.Current{cur}, p.recent[:min(len(p.recent), 2)]...)
	close(p.changed)
	p.changed = make(chan struct{})
	return true
}

// Current implements feed.Plans.
func (p *plans) Current() *planner.Current {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.recent) == 0 {
		return nil
	}
	return p.recent[0]
}

// Recent implements feed.Plans.
func (p *plans) Recent() []*planner.Current {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.recent
}

// Changed implements feed.Plans.
func (p *plans) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

// Saw implements feed.Plans.
func (*plans) Saw(string, regions.Generation, string) {}

// Lost implements feed.Plans.
func (*plans) Lost(string) {}

// nameserver is a follower with its subscriptions.
type nameserver struct {
	process
	dir      string
	region   string
	follower *follow.Follower
	conns    []*grpc.ClientConn
	saw      observed
	// good is since when each controller could be followed.
	good map[*controller]time.Time
}

func (n *nameserver) start() {
	ctx := n.begin()
	dir, err := snapshot.Open(n.dir)
	must(err)
	n.s.forgetNameserver(n)
	log := slog.New(slog.DiscardHandler)
	n.follower = follow.New(follow.Options{
		Name: n.host.name, Region: n.region, Version: "simulated", Dir: dir, Log: log,
		Publish: func(v *follow.Serving) { n.s.published(n, v) },
	})
	n.conns, n.good = nil, map[*controller]time.Time{}
	f := n.follower
	var subs []*nsfeed.Subscription
	for _, c := range n.s.subscribed(n) {
		conn, err := grpc.NewClient(grpcAddress(c.host.name),
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
				MinConnectTimeout: 2 * time.Second,
			}),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second, PermitWithoutStream: true}),
			n.s.dialer(n.host), grpc.WithStreamInterceptor(n.s.feeds(n)))
		must(err)
		n.conns = append(n.conns, conn)
		sub := nsfeed.New(nsfeed.Options{Controller: c.host.name, Conn: conn, Log: log, Hello: f.Hello, Wake: f.Wake, Report: f.Report})
		subs = append(subs, sub)
		f.Add(sub)
	}
	f.Load()
	n.ended.Go(func() { must(f.Run(ctx)) })
	for _, sub := range subs {
		n.ended.Go(func() { must(sub.Run(ctx)) })
	}
}

func (n *nameserver) stop() {
	n.end()
	for _, c := range n.conns {
		c.Close()
	}
}

// crash ends it with the files that were there before.
func (n *nameserver) crash() {
	kept := n.dir + ".kept"
	must(os.RemoveAll(kept))
	must(os.CopyFS(kept, os.DirFS(n.dir)))
	n.stop()
	must(os.RemoveAll(n.dir))
	must(os.Rename(kept, n.dir))
}
