package api

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fairlead-dns/fairlead/controller/catalog"
	"github.com/fairlead-dns/fairlead/controller/planner"
	"github.com/fairlead-dns/fairlead/controller/verdicts"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

// watched is what a watcher looks at, with a real judge.
type watched struct {
	t       *testing.T
	judge   *verdicts.Judge
	stopped chan struct{}

	mu      sync.Mutex // guards what the watcher reads
	cur     *planner.Current
	change  chan struct{}
	present []*pb.MemberChange
	glass   []*pb.BreakGlassStatus

	read   chan *pb.WatchResponse // what the reader has taken
	ended  chan error
	cancel context.CancelFunc
}

const watchedYAML = `
apiVersion: fairlead/v1
kind: Region
metadata: {name: eu}
spec: {latitude: 53.35, longitude: -6.26}
---
apiVersion: fairlead/v1
kind: HealthCheck
metadata: {name: web}
spec: {http: {port: 8080, path: /healthz}}
---
apiVersion: fairlead/v1
kind: SteeringPolicy
metadata: {name: nearest}
spec: {mode: active-active, defaultOrder: [eu]}
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
  policy: nearest
  healthCheck: web
  endpoints:
    - {name: eu-1, region: eu, addresses: [192.0.2.1]}
    - {name: eu-2, region: eu, addresses: [192.0.2.2]}
---
apiVersion: fairlead/v1
kind: Service
metadata: {name: api.example.test}
spec: {zone: example.test, policy: nearest, healthCheck: web, endpoints: [{name: e, region: eu, addresses: [192.0.2.1]}]}
`

// version compiles a generation of a configuration.
func version(t *testing.T, revision int64, prev *planner.Current, text string, overrides ...*pb.Override) *planner.Current {
	t.Helper()
	tree := &plan.Tree{Overrides: overrides}
	if prev != nil && text == "" {
		tree.Set = prev.Set
	} else {
		docs, err := config.Parse("test.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var all []*pb.Resource
		for _, d := range docs {
			all = append(all, d.Resource)
		}
		if tree.Set, err = config.NewSet(all); err != nil {
			t.Fatal(err)
		}
	}
	cur, err := planner.Compile(&catalog.Version{Generation: regions.Generation{Epoch: 1, Revision: revision}, Tree: tree}, prev)
	if err != nil {
		t.Fatal(err)
	}
	return cur
}

// inWatch runs a test in a bubble, with a judge that runs.
func inWatch(t *testing.T, test func(t *testing.T, w *watched)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		j, err := verdicts.New(verdicts.Options{Name: "c1", Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- j.Run(ctx) }()
		w := &watched{t: t, judge: j, change: make(chan struct{}), stopped: make(chan struct{}), cancel: func() {}}
		test(t, w)
		w.cancel()
		if w.ended != nil {
			<-w.ended
		}
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
}

// publish publishes a generation.
func (w *watched) publish(cur *planner.Current) {
	w.judge.SetPlan(verdicts.Plan{Generation: cur.Generation, Assignments: cur.Plan.Compiled.Assignments})
	w.mu.Lock()
	w.cur = cur
	close(w.change)
	w.change = make(chan struct{})
	w.mu.Unlock()
	synctest.Wait()
}

func (w *watched) current() *planner.Current {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cur
}

func (w *watched) changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.change
}

func (w *watched) members(*planner.Current, time.Time) []*pb.MemberChange {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.present
}

func (w *watched) breakGlass() []*pb.BreakGlassStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.glass
}

// holds says which break-glass records there are now.
func (w *watched) holds(list ...*pb.BreakGlassStatus) {
	w.mu.Lock()
	w.glass = list
	w.mu.Unlock()
	time.Sleep(2 * watchMembers)
}

// are says which members there are now.
func (w *watched) are(members ...*pb.MemberChange) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.present = members
}

// verdict makes the judge adopt a verdict on a target that has none.
func (w *watched) verdict(target string, s pb.HealthStatus) {
	w.judge.Seed(verdicts.SeedTable{From: "test", Verdicts: []*pb.TargetHealth{{Target: target, Verdict: s}}})
	time.Sleep(2 * watchPause)
	synctest.Wait()
}

// watch starts a watcher whose reader takes as many messages as the channel
// holds, and then one for each that is read.
func (w *watched) watch(initial bool, room int) {
	ctx, cancel := context.WithCancel(w.t.Context())
	w.cancel, w.ended, w.read = cancel, make(chan error, 1), make(chan *pb.WatchResponse, room)
	one := &watcher{
		current: w.current, changed: w.changed, judge: w.judge, members: w.members, breakGlass: w.breakGlass, stopped: w.stopped,
		send: func(m *pb.WatchResponse) error {
			select {
			case w.read <- m:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
	}
	go func() { w.ended <- one.run(ctx, initial) }()
	synctest.Wait()
}

// want reads what has come and compares it, a line a message.
func (w *watched) want(lines ...string) {
	w.t.Helper()
	synctest.Wait()
	var got []string
	for len(w.read) > 0 {
		got = append(got, line(<-w.read))
		synctest.Wait()
	}
	if !slices.Equal(got, lines) {
		w.t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(lines, "\n  "))
	}
}

// line is a message in short.
func line(m *pb.WatchResponse) string {
	short := func(s pb.HealthStatus) string {
		return strings.ToLower(strings.TrimPrefix(s.String(), "HEALTH_STATUS_"))
	}
	switch c := m.GetChange().(type) {
	case *pb.WatchResponse_Generation:
		g := c.Generation
		out := fmt.Sprintf("generation %d after %d", g.GetGeneration().GetRevision(), g.GetPrevious().GetRevision())
		if g.GetConfigurationChanged() {
			out += " config"
		}
		for _, o := range g.GetOverridesAdded() {
			out += " +" + o.GetId()
		}
		for _, o := range g.GetOverridesRemoved() {
			out += " -" + o.GetId()
		}
		return out
	case *pb.WatchResponse_Verdict:
		return fmt.Sprintf("%s %s, was %s: %s", c.Verdict.GetNow().GetTarget(), short(c.Verdict.GetNow().GetVerdict()), short(c.Verdict.GetBefore()), strings.Join(c.Verdict.GetEndpoints(), " "))
	case *pb.WatchResponse_Member:
		if a := c.Member.GetAgent(); a != nil {
			return fmt.Sprintf("agent %s connected=%t", a.GetAgent(), a.GetConnected())
		}
		n := c.Member.GetNameserver()
		return fmt.Sprintf("nameserver %s connected=%t generation=%d%s", n.GetNameserver(), n.GetConnected(), n.GetGeneration().GetRevision(), n.GetRefusal())
	case *pb.WatchResponse_Heartbeat:
		return "heartbeat"
	case *pb.WatchResponse_Health:
		return fmt.Sprintf("%s %s: %s", c.Health.GetKind(), c.Health.GetSubject(), c.Health.GetText())
	}
	return "nothing"
}

func agentMember(name string, connected bool, heard uint64) *pb.MemberChange {
	return &pb.MemberChange{Agent: &pb.AgentStatus{Agent: name, Registered: true, Connected: connected, HeardMillis: heard}}
}

func nameserverMember(revision int64, refusal string) *pb.MemberChange {
	return &pb.MemberChange{Nameserver: &pb.NameserverStatus{
		Nameserver: "ns1", Connected: true, Generation: &pb.Generation{Epoch: 1, Revision: revision}, Refusal: refusal,
	}}
}

func TestWatch(t *testing.T) {
	inWatch(t, func(t *testing.T, w *watched) {
		drain := &pb.Override{Id: "d1", Action: pb.OverrideAction_OVERRIDE_ACTION_DRAIN, Scope: &pb.OverrideScope{Region: "eu"}}
		w.watch(false, 100)
		w.want()
		first := version(t, 5, nil, watchedYAML)
		w.publish(first)
		time.Sleep(watchPause)
		w.want("generation 5 after 0 config") // new targets are no news
		w.verdict("web@192.0.2.1", pb.HealthStatus_HEALTH_STATUS_HEALTHY)
		w.want("web@192.0.2.1 healthy, was unknown: api.example.test/e www.example.test/eu-1")
		second := version(t, 6, first, "", drain)
		w.publish(second)
		time.Sleep(watchPause)
		w.want("generation 6 after 5 +d1")
		w.publish(version(t, 7, second, strings.Replace(watchedYAML, "latitude: 53.35", "latitude: 53.3", 1)))
		time.Sleep(watchPause)
		w.want("generation 7 after 6 config -d1")

		// Members are looked at once a second; ages alone are no news.
		w.are(agentMember("a1", true, 5), nameserverMember(6, ""))
		time.Sleep(watchMembers)
		w.want("agent a1 connected=true", "nameserver ns1 connected=true generation=6")
		w.are(agentMember("a1", true, 99), nameserverMember(7, ""))
		time.Sleep(watchMembers)
		w.want("nameserver ns1 connected=true generation=7")
		w.are(agentMember("a1", false, 99), nameserverMember(7, "too large"))
		time.Sleep(watchMembers)
		w.want("agent a1 connected=false", "nameserver ns1 connected=true generation=7too large")
		w.are()
		time.Sleep(watchMembers)
		w.want("agent a1 connected=false", "nameserver ns1 connected=false generation=0")

		// Silence has an end.
		time.Sleep(watchHeartbeat)
		w.want("heartbeat")
		time.Sleep(watchHeartbeat)
		w.want("heartbeat")
		close(w.stopped)
		err := <-w.ended
		if status.Code(err) != codes.Unavailable {
			t.Errorf("at the end: %v", err)
		}
		w.ended = nil
	})
}

func TestWatchInitial(t *testing.T) {
	inWatch(t, func(t *testing.T, w *watched) {
		drain := &pb.Override{Id: "d1", Action: pb.OverrideAction_OVERRIDE_ACTION_DRAIN, Scope: &pb.OverrideScope{Region: "eu"}}
		w.publish(version(t, 5, nil, watchedYAML, drain))
		w.verdict("web@192.0.2.2", pb.HealthStatus_HEALTH_STATUS_UNHEALTHY)
		w.are(agentMember("a1", true, 5), nameserverMember(5, ""))
		w.watch(true, 100)
		w.want("generation 5 after 0 config +d1",
			"web@192.0.2.1 unknown, was unspecified: api.example.test/e www.example.test/eu-1",
			"web@192.0.2.2 unhealthy, was unspecified: www.example.test/eu-2",
			"agent a1 connected=true", "nameserver ns1 connected=true generation=5", "heartbeat")
		time.Sleep(watchHeartbeat - watchMembers)
		w.want()
	})
	// With nothing there is nothing to tell.
	inWatch(t, func(t *testing.T, w *watched) {
		w.watch(true, 100)
		w.want("heartbeat")
	})
}

// A reader that takes nothing for a while holds nobody up, and then skips what
// was in between.
func TestWatchSlowReader(t *testing.T) {
	inWatch(t, func(t *testing.T, w *watched) {
		cur := version(t, 1, nil, watchedYAML)
		w.publish(cur)
		w.watch(false, 1)
		for i := int64(2); i <= 50; i++ {
			cur = version(t, i, cur, "", &pb.Override{Id: fmt.Sprintf("d%d", i), Action: pb.OverrideAction_OVERRIDE_ACTION_DRAIN, Scope: &pb.OverrideScope{Region: "eu"}})
			w.publish(cur)
			time.Sleep(watchPause)
			w.are(nameserverMember(i, ""))
		}
		time.Sleep(time.Minute)
		// One was taken, one is on its way, and then comes the newest; each
		// says what it follows.
		told, members := int64(1), 0
		for n := 0; ; n++ {
			time.Sleep(watchMembers)
			synctest.Wait()
			if len(w.read) == 0 {
				break
			}
			m := <-w.read
			if g := m.GetGeneration(); g != nil {
				if g.GetPrevious().GetRevision() != told {
					t.Errorf("%s: want after %d", line(m), told)
				}
				told = g.GetGeneration().GetRevision()
			} else {
				members++
			}
			if n > 3 {
				t.Fatalf("another message: %s", line(m))
			}
		}
		if told != 50 || members != 1 {
			t.Errorf("generation %d was told last, and %d members", told, members)
		}
	})
}

// A target that stands for many endpoints names some.
func TestWatchManyEndpoints(t *testing.T) {
	var b strings.Builder
	b.WriteString(watchedYAML)
	for i := range 2 * maxWatchEndpoints {
		fmt.Fprintf(&b, "---\napiVersion: fairlead/v1\nkind: Service\nmetadata: {name: s%d.example.test}\nspec: {zone: example.test, policy: nearest, healthCheck: web, endpoints: [{name: e, region: eu, addresses: [192.0.2.1]}]}\n", i)
	}
	cur := version(t, 1, nil, b.String())
	if n := len(endpointsOf(cur, "web@192.0.2.1")); n != maxWatchEndpoints {
		t.Errorf("%d endpoints", n)
	}
	if names := endpointsOf(cur, "web@192.0.2.99"); names != nil || endpointsOf(nil, "x") != nil {
		t.Errorf("%q", names)
	}
}

// The watchers of one controller are bounded.
func TestWatchersAreBounded(t *testing.T) {
	s := New(Options{})
	s.watchers.Store(maxWatchers)
	if err := s.Watch(&pb.WatchRequest{}, nil); status.Code(err) != codes.ResourceExhausted || s.watchers.Load() != maxWatchers {
		t.Errorf("%v, %d", err, s.watchers.Load())
	}
}
