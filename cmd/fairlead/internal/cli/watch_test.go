package cli

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

const (
	unspecified = pb.HealthStatus_HEALTH_STATUS_UNSPECIFIED
	unknown     = pb.HealthStatus_HEALTH_STATUS_UNKNOWN
	healthy     = pb.HealthStatus_HEALTH_STATUS_HEALTHY
	unhealthy   = pb.HealthStatus_HEALTH_STATUS_UNHEALTHY
)

func watchGeneration(now, before int64, added ...*pb.Override) *pb.WatchResponse {
	g := &pb.GenerationChange{Generation: gen(now), OverridesAdded: added, ConfigurationChanged: len(added) == 0}
	if before > 0 {
		g.Previous = gen(before)
	}
	return &pb.WatchResponse{Time: timestamppb.New(noon), Change: &pb.WatchResponse_Generation{Generation: g}}
}

func watchVerdict(target string, before, now, quorum pb.HealthStatus, held time.Duration, endpoints ...string) *pb.WatchResponse {
	return &pb.WatchResponse{Time: timestamppb.New(noon), Change: &pb.WatchResponse_Verdict{Verdict: &pb.VerdictChange{
		Before: before, Endpoints: endpoints,
		Now: &pb.TargetHealth{Target: target, Verdict: now, Quorum: quorum, HeldMillis: uint64(held.Milliseconds()), Votes: []*pb.Vote{
			{Agent: "probe-ap", Region: "ap", Status: unknown, WhyNot: "not connected"},
			{Agent: "probe-eu", Region: "eu", Status: quorum, Reason: "saw it", Counted: true, HeldMillis: 10},
		}},
	}}}
}

func watchMember(m *pb.MemberChange) *pb.WatchResponse {
	return &pb.WatchResponse{Time: timestamppb.New(noon), Change: &pb.WatchResponse_Member{Member: m}}
}

func watchAgent(name string, connected bool) *pb.WatchResponse {
	return watchMember(&pb.MemberChange{Agent: &pb.AgentStatus{Agent: name, Region: "eu-west", Registered: true, Connected: connected}})
}

var heartbeat = &pb.WatchResponse{Time: timestamppb.New(noon), Change: &pb.WatchResponse_Heartbeat{Heartbeat: &pb.WatchHeartbeat{}}}

func watchedChanges() []*pb.WatchResponse {
	return []*pb.WatchResponse{
		watchGeneration(41, 0),
		watchGeneration(42, 41),
		watchGeneration(43, 42, sampleOverrides()...),
		{Time: timestamppb.New(noon), Change: &pb.WatchResponse_Generation{Generation: &pb.GenerationChange{Generation: gen(44), Previous: gen(43), OverridesRemoved: sampleOverrides()[:1]}}},
		watchVerdict("web@192.0.2.10", unspecified, healthy, healthy, 192*time.Second, "www.example.test/eu-1"),
		watchVerdict("web@192.0.2.9", unspecified, unknown, unknown, 0),
		watchVerdict("web@192.0.2.10", healthy, unhealthy, unhealthy, 0, "a.test/eu-1", "b.test/eu-1", "c.test/eu-1", "d.test/eu-1", "e.test/eu-1"),
		watchVerdict("web@192.0.2.10", unhealthy, unhealthy, unknown, time.Minute, "www.example.test/eu-1"),
		watchVerdict("web@192.0.2.10", unhealthy, unhealthy, unhealthy, time.Minute, "www.example.test/eu-1"),
		watchAgent("probe-eu", false),
		watchMember(&pb.MemberChange{Agent: &pb.AgentStatus{Agent: "guest", Connected: true}}),
		watchMember(&pb.MemberChange{Nameserver: &pb.NameserverStatus{Nameserver: "ns-1", Region: "eu-west", Registered: true, Connected: true, Generation: gen(44), Following: true}}),
		watchMember(&pb.MemberChange{Nameserver: &pb.NameserverStatus{Nameserver: "ns-2", Registered: true, Connected: true, Refusal: "too\nlarge"}}),
		watchMember(&pb.MemberChange{Nameserver: &pb.NameserverStatus{Nameserver: "ns-3", Registered: true, Generation: gen(44)}}),
		watchMember(&pb.MemberChange{Agent: &pb.AgentStatus{Agent: "probe-us", Region: "us-east", Registered: true, Connected: true, Isolated: "none of 2 references can be reached"}}),
		watchMember(&pb.MemberChange{Nameserver: &pb.NameserverStatus{Nameserver: "ns-4", Registered: true, Connected: true, Generation: gen(44), HealthState: "frozen", HealthAgeMillis: 12_000}}),
		watchEvent("vantage-isolated", "probe-us", "agent probe-us in us-east is isolated, and its opinions do not count: none of 2 references can be reached"),
		watchEvent("vantage-back", "probe-us", "agent probe-us in us-east is no longer isolated: its opinions count again"),
		watchEvent("guard-held", "guard", "trip 3: 40 of 60 targets are lost within 1m. Their verdicts stay HEALTHY"),
		watchEvent("guard-passed", "guard", "20 of 60 targets are lost; a region that is dead must fail over, so they count"),
		watchEvent("guard-released", "guard", "an operator released trip 3 of the mass-withdrawal guard: 40 targets follow the quorum again"),
		watchEvent("latch-tripped", "failback/www.example.test/eu-west", "region eu-west of www.example.test is out of service with 0 of 2 endpoints healthy, and waits for a release of trip 2"),
		watchEvent("latch-released", "failback/www.example.test/eu-west", "an operator released trip 2: region eu-west of www.example.test may serve again"),
		watchEvent("of-a-newer-version", "x", "two\nlines"),
		watchHeld(), watchUnconfirmed(), watchDamped(),
		heartbeat,
	}
}

func watchEvent(kind, subject, text string) *pb.WatchResponse {
	return &pb.WatchResponse{Time: timestamppb.New(noon), Change: &pb.WatchResponse_Health{Health: &pb.HealthEvent{Kind: kind, Subject: subject, Text: text}}}
}

// watchHeld is a verdict that the guard holds, watchUnconfirmed one that one of two
// regions passed alone, watchDamped one on a target that flaps.
func watchHeld() *pb.WatchResponse {
	r := watchVerdict("web@192.0.2.11", healthy, healthy, unhealthy, time.Minute, "www.example.test/eu-2")
	r.GetVerdict().GetNow().GuardTrip = 3
	return r
}

func watchUnconfirmed() *pb.WatchResponse {
	r := watchVerdict("web@192.0.2.12", healthy, unhealthy, unhealthy, 0, "www.example.test/eu-3")
	r.GetVerdict().GetNow().Confirmed = &pb.Standing{Verdict: healthy, HeldMillis: 60_000}
	return r
}

func watchDamped() *pb.WatchResponse {
	r := watchVerdict("web@192.0.2.13", unhealthy, unhealthy, unhealthy, time.Minute, "www.example.test/eu-4")
	r.GetVerdict().GetNow().Votes = []*pb.Vote{
		{Agent: "probe-eu", Region: "eu", Status: healthy, CountedAs: unhealthy, RecentTransitions: 6, Reason: "HTTP 200", Counted: true, HeldMillis: 4000},
		{Agent: "probe-us", Region: "us", Status: unhealthy, CountedAs: unhealthy, Wavering: true, Reason: "HTTP 200", Counted: true, HeldMillis: 9000},
	}
	return r
}

func TestPrintWatched(t *testing.T) {
	for name, p := range map[string]*printer{"watch": {}, "watch-wide": {wide: true}, "watch-colour": {colour: true}} {
		printed(t, name, p, func(p *printer) {
			for _, r := range watchedChanges() {
				printWatched(p, r)
			}
		})
	}
}

// lockedBuffer is written by a command and read by a test.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// watching is a watch that runs.
type watching struct {
	t        *testing.T
	out, err lockedBuffer
	stop     context.CancelFunc
	code     chan int
}

func startWatch(t *testing.T, args ...string) *watching {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &watching{t: t, stop: cancel, code: make(chan int, 1)}
	go func() {
		w.code <- Run(ctx, append([]string{"watch"}, args...), Streams{In: strings.NewReader(""), Out: &w.out, Err: &w.err})
	}()
	t.Cleanup(cancel)
	return w
}

// shows waits for a text.
func (w *watching) shows(text string) {
	w.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(w.out.String()+w.err.String(), text); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("%q is missing from\n%s\nstderr:\n%s", text, w.out.String(), w.err.String())
		}
	}
}

// ends interrupts the watch, which is no failure.
func (w *watching) ends() {
	w.t.Helper()
	w.stop()
	if code := <-w.code; code != exitDone {
		w.t.Errorf("exit code %d\n%s", code, w.err.String())
	}
}

// script is a controller that tells a watcher some things and then stays.
func script(initial *bool, say ...*pb.WatchResponse) *fake {
	return &fake{watch: func(r *pb.WatchRequest, s pb.InsightService_WatchServer) error {
		*initial = r.GetInitial()
		for _, m := range say {
			if err := s.Send(m); err != nil {
				return err
			}
		}
		<-s.Context().Done()
		return nil
	}}
}

func TestWatch(t *testing.T) {
	var initial bool
	addr := serve(t, script(&initial, watchedChanges()...))
	w := startWatch(t, "--initial", "--controller", addr)
	w.shows("eu-4 is still UNHEALTHY")
	w.ends()
	if !initial || w.err.String() != "" {
		t.Errorf("initial %t, stderr %q", initial, w.err.String())
	}
	w = startWatch(t, "-o", "json", "--controller", addr)
	w.shows("eu-4")
	w.ends()
	lines := strings.Split(strings.TrimSpace(w.out.String()), "\n")
	if initial || len(lines) != len(watchedChanges())-1 {
		t.Errorf("initial %t, %d lines:\n%s", initial, len(lines), w.out.String())
	}
	for _, line := range lines {
		if !strings.HasPrefix(line, `{"time":"2026-11-23T12:00:00Z","`) || !strings.HasSuffix(line, "}") {
			t.Errorf("no JSON on %q", line)
		}
	}
}

// When a controller goes, the next is followed, and what changed meanwhile is
// told; what was known, or is older than the gap, is not.
func TestWatchGoesOn(t *testing.T) {
	t.Parallel()
	var initial, initial2 bool
	first, stop := serveUntil(t, script(&initial, watchGeneration(5, 4), watchVerdict("web@1", unknown, healthy, healthy, 0, "known.test/e"), watchAgent("a1", true)))
	second := serve(t, script(&initial2,
		watchGeneration(5, 0),
		watchVerdict("web@1", unspecified, unhealthy, unhealthy, time.Hour, "known.test/e"),
		watchVerdict("web@2", unspecified, unhealthy, unhealthy, time.Hour, "old.test/e"),
		watchVerdict("web@3", unspecified, unhealthy, unhealthy, 0, "young.test/e"),
		watchAgent("a1", true), watchAgent("a2", true),
		heartbeat,
		watchAgent("a3", true),
		watchGeneration(6, 5),
	))
	w := startWatch(t, "--controller", deadAddress(t)+","+first+","+second)
	w.shows("agent a1 of region eu-west is connected\n")
	before := len(w.out.String())
	stop()
	w.shows("generation 1.6")
	w.ends()
	if initial || !initial2 {
		t.Errorf("initial at first %t, then %t", initial, initial2)
	}
	want := `2026-11-23T12:00:00Z  known.test/e is UNHEALTHY, before HEALTHY; web@1: 1 UNHEALTHY of 2 (probe-eu: saw it)
2026-11-23T12:00:00Z  young.test/e is UNHEALTHY for 0ms; web@3: 1 UNHEALTHY of 2 (probe-eu: saw it)
2026-11-23T12:00:00Z  agent a3 of region eu-west is connected
2026-11-23T12:00:00Z  generation 1.6: the configuration changed
`
	if got := w.out.String()[before:]; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	for _, text := range []string{"fairlead: " + first + ": ", "; going on to " + second + "\n", "fairlead: " + second + " is followed now\n"} {
		if !strings.Contains(w.err.String(), text) {
			t.Errorf("%q is missing from %s", text, w.err.String())
		}
	}
}

// A single controller that restarts is followed again, and its absence is said
// once.
func TestWatchReturns(t *testing.T) {
	var mu sync.Mutex
	streams := 0
	addr := serve(t, &fake{watch: func(_ *pb.WatchRequest, s pb.InsightService_WatchServer) error {
		mu.Lock()
		streams++
		n := streams
		mu.Unlock()
		switch n {
		case 1:
			_ = s.Send(watchAgent("a1", true))
			return status.Error(codes.Unavailable, "the controller is stopping")
		case 2, 3:
			return status.Error(codes.Unavailable, "it starts")
		}
		_ = s.Send(watchAgent("a2", true))
		_ = s.Send(heartbeat)
		_ = s.Send(watchAgent("a3", true))
		<-s.Context().Done()
		return nil
	}})
	c, err := dial(flagController, []string{addr}, security{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	var out, errs lockedBuffer
	w := &watcher{
		app:   &app{Streams: Streams{Out: &out, Err: &errs, Now: time.Now}, timeout: 5 * time.Second},
		conns: c.conns, output: formatTable, seen: newSeen(), maxSilence: 5 * time.Second, pause: 5 * time.Millisecond,
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.run(ctx, false) }()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(out.String(), "a3") && time.Now().Before(deadline); {
		time.Sleep(2 * time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	want := "fairlead: " + addr + ": the controller is stopping; going on to it again\n" +
		"fairlead: " + addr + ": it starts; trying on\nfairlead: " + addr + " is followed now\n"
	if errs.String() != want {
		t.Errorf("got\n%swant\n%s", errs.String(), want)
	}
	if strings.Contains(out.String(), "a2") || !strings.Contains(out.String(), "a3") {
		t.Errorf("%s", out.String())
	}
}

// One that says nothing, not even that nothing happens, is left.
func TestWatchSilent(t *testing.T) {
	block := make(chan struct{})
	silent := serve(t, &fake{watch: func(*pb.WatchRequest, pb.InsightService_WatchServer) error { <-block; return nil }})
	t.Cleanup(func() { close(block) })
	run(t, "", "watch", "--controller", silent, "--timeout", "30ms").want(t, exitFailed, "fairlead: "+silent+": it has gone silent\n")
	var initial bool
	good := serve(t, script(&initial, watchAgent("a1", true)))
	w := startWatch(t, "--controller", silent+","+good, "--timeout", "30ms")
	w.shows("agent a1")
	w.ends()
}

func TestWatchRefused(t *testing.T) {
	for code, want := range map[codes.Code]string{
		codes.PermissionDenied: "fairlead: not allowed: no\n",
		codes.Unimplemented:    " does not know this call; is it of an older version?",
	} {
		addr := serve(t, &fake{watch: func(*pb.WatchRequest, pb.InsightService_WatchServer) error { return status.Error(code, "no") }})
		run(t, "", "watch", "--controller", addr).want(t, exitFailed, want)
	}
	run(t, "", "watch", "--controller", deadAddress(t)).want(t, exitFailed, "is a controller running there?")
	run(t, "", "watch", "-o", "yaml").want(t, exitUsage, "-o yaml: want table, wide or json")
	// An older one is passed over.
	var initial bool
	w := startWatch(t, "--controller", serve(t, &fake{})+","+serve(t, script(&initial, watchAgent("a1", true))))
	w.shows("agent a1")
	w.ends()
}

// failing is an output that is gone, as a pipe to head is.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestWatchOutputGone(t *testing.T) {
	var initial bool
	addr := serve(t, script(&initial, watchAgent("a1", true)))
	var errs lockedBuffer
	code := Run(t.Context(), []string{"watch", "--controller", addr}, Streams{In: strings.NewReader(""), Out: failing{}, Err: &errs})
	if code != exitFailed || !strings.Contains(errs.String(), "broken pipe") {
		t.Errorf("%d, %s", code, errs.String())
	}
}
