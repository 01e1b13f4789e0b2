package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/fairlead-dns/fairlead/controller/catalog"
	"github.com/fairlead-dns/fairlead/controller/planner"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

// All verdicts first, in as many messages as it takes, then what changes; every
// message's digest is right.
func TestSubscribe(t *testing.T) {
	s := start(t, false)
	const n = 2*maxBatch + 500
	s.judges(1, n)
	a := s.agent()
	a.says(true, up, 0, n)
	eventually(t, "ready", func() bool { return s.judge.State().Ready })

	ns := s.subscribe(&pb.NameserverHello{Nameserver: "ns-1", Region: "r"})
	ns.until(func() bool { return ns.beat != nil })
	if len(ns.table) != n || ns.count(regions.Healthy) != n || ns.fulls != 1 || ns.deltas != 2 {
		t.Fatalf("%d targets, %d healthy, %d full updates and %d more; want %d, all healthy, 1 and 2", len(ns.table), ns.count(regions.Healthy), ns.fulls, ns.deltas, n)
	}
	if !ns.beat.GetReady() || ns.beat.GetAgentsFresh() != 1 || ns.beat.GetAgentsRegistered() != 1 {
		t.Errorf("heartbeat: %v", ns.beat)
	}
	a.says(false, down, 0, 3)
	ns.until(func() bool { return ns.count(regions.Unhealthy) == 3 })
	if ns.fulls != 1 {
		t.Errorf("%d full updates", ns.fulls)
	}
	// A change of more than one message, then fewer targets.
	a.says(false, down, 0, n)
	ns.until(func() bool { return ns.count(regions.Unhealthy) == n })
	s.judges(2, 10)
	ns.until(func() bool { return len(ns.table) == 10 })
	if ns.fulls != 1 {
		t.Errorf("%d full updates", ns.fulls)
	}
	ns.beat = nil
	ns.until(func() bool { return ns.beat != nil })
}

// Whoever asks for all gets all, but not as often as he likes.
func TestResync(t *testing.T) {
	s := start(t, false)
	s.judges(1, 5)
	s.agent().says(true, up, 0, 5)
	ns := s.subscribe(&pb.NameserverHello{Nameserver: "ns-1"})
	ns.until(func() bool { return ns.count(regions.Healthy) == 5 })
	ns.fulls = 0
	for beats := 0; beats < 10; {
		ns.send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Resync{Resync: &pb.HealthResync{}}})
		if ns.read().GetHeartbeat() != nil {
			beats++
		}
	}
	if ns.fulls == 0 || ns.fulls > 7 {
		t.Errorf("%d full updates in the time of 10 heartbeats", ns.fulls)
	}
	if ns.count(regions.Healthy) != 5 {
		t.Errorf("table: %v", ns.table)
	}
}

// One that takes nothing delays nobody, and gets the latest state when it reads
// on, not all states between.
func TestSlowSubscriber(t *testing.T) {
	s := start(t, false)
	const n = 3000
	s.judges(1, n)
	a := s.agent()
	a.says(true, up, 0, n)
	eventually(t, "ready", func() bool { return s.judge.State().Ready })
	slow := s.subscribe(&pb.NameserverHello{Nameserver: "slow"})
	quick := s.subscribe(&pb.NameserverHello{Nameserver: "quick"})
	quick.until(func() bool { return quick.beat != nil })
	const rounds = 12
	for i := range rounds {
		status, want := down, regions.Unhealthy
		if i%2 == 1 {
			status, want = up, regions.Healthy
		}
		a.says(false, status, 0, n)
		quick.until(func() bool { return quick.count(want) == n })
	}
	// What lies in the buffers between, and then the current state.
	final := s.judge.State()
	slow.until(func() bool { return slow.beat != nil && slow.beat.GetVersion().GetNumber() >= final.Version.Number })
	if slow.digest != final.Digest {
		t.Errorf("digest %v, want %v", slow.digest, final.Digest)
	}
	if slow.deltas >= quick.deltas/2 {
		t.Errorf("the slow one got %d updates, the quick one %d: states were queued", slow.deltas, quick.deltas)
	}
}

// What nameservers know seeds a judge that has just started, unless they serve
// another installation.
func TestSeed(t *testing.T) {
	s := start(t, true)
	s.configure("a.example.test")
	verdict := []*pb.TargetHealth{{Target: target(0), Verdict: down, HeldMillis: 5000}}
	s.judges(1000, 2)
	s.subscribe(&pb.NameserverHello{Nameserver: "foreign", Installation: "other", Generation: &pb.Generation{Epoch: 1, Revision: 1},
		Verdicts: []*pb.TargetHealth{{Target: target(1), Verdict: down}}})
	s.subscribe(&pb.NameserverHello{Nameserver: "ns-1", Installation: s.planner.Current().Head.GetInstallation(), Verdicts: verdict, VerdictsAgeMillis: 100})
	eventually(t, "the seed", func() bool {
		v, ok := s.judge.State().Get(target(0))
		return ok && v.Last == regions.Unhealthy && time.Since(v.Since) > 5*time.Second
	})
	if v, _ := s.judge.State().Get(target(1)); v.Last != regions.Unknown {
		t.Errorf("a foreign verdict was taken: %v", v)
	}
}

// configure publishes a configuration of one service.
func (s *station) configure(service string) *planner.Current {
	s.t.Helper()
	set, err := setOf(service)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.publish(set)
}

// publish publishes a configuration.
func (s *station) publish(set *config.Set) *planner.Current {
	s.t.Helper()
	out, err := s.catalog.Change(s.t.Context(), catalog.Request{Action: "apply"}, func(*catalog.Version) (catalog.Edit, error) {
		return catalog.Edit{Set: set}, nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if !s.planner.Reached(s.t.Context(), out.Generation) {
		s.t.Fatal("not published")
	}
	return s.planner.Current()
}

func TestFetchObjects(t *testing.T) {
	s := start(t, true)
	client := pb.NewFeedServiceClient(s.conn)
	fetch := func(digests ...[]byte) (map[string]int, error) {
		st, err := client.FetchObjects(t.Context(), &pb.FetchObjectsRequest{Digests: digests})
		if err != nil {
			return nil, err
		}
		got := map[string]int{}
		for {
			m, err := st.Recv()
			if errors.Is(err, io.EOF) {
				return got, nil
			}
			if err != nil {
				return nil, err
			}
			if d := plan.Sum(m.GetData()); string(d[:]) != string(m.GetDigest()) {
				t.Errorf("object %x has other contents", m.GetDigest())
			}
			got[string(m.GetDigest())]++
		}
	}
	want := func(code codes.Code, digests ...[]byte) {
		t.Helper()
		if _, err := fetch(digests...); status.Code(err) != code {
			t.Errorf("%d digests: %v, want %v", len(digests), err, code)
		}
	}
	want(codes.Unavailable, make([]byte, 32))
	first := s.configure("a.example.test")
	var all [][]byte
	for d := range first.Objects {
		all = append(all, slices.Clone(d[:]))
	}
	if got, err := fetch(all...); err != nil || len(got) != len(all) {
		t.Errorf("%d of %d objects, %v", len(got), len(all), err)
	}
	want(codes.NotFound, all[0], make([]byte, 32))
	want(codes.InvalidArgument, make([]byte, 31))
	want(codes.InvalidArgument, make([][]byte, maxDigests+1)...)
	// Whoever is still fetching the generation before gets it.
	s.configure("b.example.test")
	if got, err := fetch(all...); err != nil || len(got) != len(all) {
		t.Errorf("of the generation before: %d of %d objects, %v", len(got), len(all), err)
	}
	for i := range keptGenerations {
		s.configure(fmt.Sprintf("c%d.example.test", i))
	}
	want(codes.NotFound, all...)
}

// keptGenerations is more than the planner keeps.
const keptGenerations = 5

func TestWait(t *testing.T) {
	s := start(t, true)
	gen := func(revision int64) *pb.Generation { return &pb.Generation{Epoch: 1, Revision: revision} }
	ack := func(n *subscription, revision int64) {
		n.send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Acknowledgement{Acknowledgement: &pb.PlanAcknowledgement{Generation: gen(revision)}}})
	}
	wait := func(timeout time.Duration) *pb.Convergence {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		return s.Wait(ctx, regions.Generation{Epoch: 1, Revision: 10}, []string{"ns-1", "ns-3"})
	}
	a := s.subscribe(&pb.NameserverHello{Nameserver: "ns-1", Generation: gen(9)})
	b := s.subscribe(&pb.NameserverHello{Nameserver: "ns-2", Generation: gen(9)})
	eventually(t, "both", func() bool { return len(s.Nameservers()) == 2 })
	ack(a, 11)
	eventually(t, "one of three", func() bool {
		c := wait(time.Millisecond)
		return slices.Equal(c.GetServing(), []string{"ns-1"}) && slices.Equal(c.GetMissing(), []string{"ns-2", "ns-3"})
	})
	done := make(chan *pb.Convergence)
	go func() { done <- wait(time.Minute) }()
	ack(b, 10)
	// One that comes with the generation counts too, without acknowledging it.
	s.subscribe(&pb.NameserverHello{Nameserver: "ns-3", Generation: gen(12)})
	if c := <-done; len(c.GetServing()) != 3 || len(c.GetMissing()) != 0 {
		t.Errorf("converged: %v", c)
	}
	// One that left and is not registered is not waited for.
	b.cancel()
	eventually(t, "ns-2 to leave", func() bool { return !s.Nameservers()[1].Connected })
	if c := wait(time.Minute); !slices.Equal(c.GetServing(), []string{"ns-1", "ns-3"}) {
		t.Errorf("converged: %v", c)
	}
}

// A second stream of a name replaces the first in the status; what the first
// says or that it ends changes nothing there, and both are fed.
func TestSecondStreamOfAName(t *testing.T) {
	s := start(t, false)
	s.judges(1, 5)
	old := s.subscribe(&pb.NameserverHello{Nameserver: "ns-1", Generation: &pb.Generation{Epoch: 1, Revision: 1}})
	old.until(func() bool { return old.beat != nil })
	newer := s.subscribe(&pb.NameserverHello{Nameserver: "ns-1", Generation: &pb.Generation{Epoch: 1, Revision: 2}})
	newer.until(func() bool { return newer.beat != nil })
	shown := func() Nameserver {
		all := s.Nameservers()
		if len(all) != 1 {
			t.Fatalf("%d nameservers", len(all))
		}
		return all[0]
	}
	old.send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Acknowledgement{Acknowledgement: &pb.PlanAcknowledgement{Generation: &pb.Generation{Epoch: 1, Revision: 99}}}})
	newer.send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Following{Following: &pb.Following{Following: true}}})
	eventually(t, "the newer one's word", func() bool { return shown().Following })
	s.agent().says(true, down, 0, 5)
	old.until(func() bool { return old.count(regions.Unhealthy) == 5 })
	newer.until(func() bool { return newer.count(regions.Unhealthy) == 5 })
	old.cancel()
	for range 10 {
		if n := shown(); !n.Connected || n.Generation.Revision != 2 || !n.Following {
			t.Fatalf("after the old stream ended: %+v", n)
		}
		newer.beat = nil
		newer.until(func() bool { return newer.beat != nil })
	}
	newer.cancel()
	eventually(t, "the end", func() bool { return !shown().Connected && !shown().Following })
}

// A dead stream that joined last and leaves does not take the living one with
// it: what that says next counts again.
func TestLivingStreamOutlastsADeadOne(t *testing.T) {
	s := start(t, false)
	s.judges(1, 1)
	alive := s.subscribe(&pb.NameserverHello{Nameserver: "ns-1"})
	alive.until(func() bool { return alive.beat != nil })
	dead := s.subscribe(&pb.NameserverHello{Nameserver: "ns-1"})
	dead.until(func() bool { return dead.beat != nil })
	dead.cancel()
	eventually(t, "the dead one's end", func() bool { all := s.Nameservers(); return len(all) == 1 && !all[0].Connected })
	alive.send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Following{Following: &pb.Following{Following: true}}})
	eventually(t, "the living one", func() bool { n := s.Nameservers()[0]; return n.Connected && n.Following })
	alive.send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Acknowledgement{Acknowledgement: &pb.PlanAcknowledgement{Generation: &pb.Generation{Epoch: 1, Revision: 3}}}})
	eventually(t, "its acknowledgement", func() bool { return s.Nameservers()[0].Generation.Revision == 3 })
}

func TestBadSubscribers(t *testing.T) {
	s := start(t, false)
	for name, test := range map[string]struct {
		first *pb.SubscribeRequest
		code  codes.Code
		words string
	}{
		"no hello":  {&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Resync{}}, codes.InvalidArgument, "must be a hello"},
		"no name":   {&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Hello{Hello: &pb.NameserverHello{}}}, codes.InvalidArgument, "name"},
		"long name": {&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Hello{Hello: &pb.NameserverHello{Nameserver: strings.Repeat("n", 64)}}}, codes.InvalidArgument, "64 bytes"},
		"nothing":   {&pb.SubscribeRequest{}, codes.InvalidArgument, "must be a hello"},
	} {
		t.Run(name, func(t *testing.T) {
			st, err := pb.NewFeedServiceClient(s.conn).Subscribe(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := st.Send(test.first); err != nil {
				t.Fatal(err)
			}
			if _, err := st.Recv(); status.Code(err) != test.code || !strings.Contains(err.Error(), test.words) {
				t.Errorf("error is %v", err)
			}
		})
	}
	twice := s.subscribe(&pb.NameserverHello{Nameserver: "ns-1"})
	twice.send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Hello{Hello: &pb.NameserverHello{Nameserver: "ns-2"}}})
	for {
		if _, err := twice.stream.Recv(); err != nil {
			if status.Code(err) != codes.InvalidArgument {
				t.Errorf("a second hello: %v", err)
			}
			break
		}
	}
	// One that closes its side is let go without an error.
	closed := s.subscribe(&pb.NameserverHello{Nameserver: "ns-1"})
	if err := closed.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := closed.stream.Recv(); err != nil {
			if !errors.Is(err, io.EOF) {
				t.Errorf("closed: %v", err)
			}
			break
		}
	}
	// A refusal that is too long, or cut in the middle of a rune, can be shown.
	long := s.subscribe(&pb.NameserverHello{Nameserver: "ns-1"})
	long.send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Acknowledgement{Acknowledgement: &pb.PlanAcknowledgement{Refusal: "x" + strings.Repeat("é", maxText)}}})
	eventually(t, "the refusal", func() bool { r := s.Nameservers()[0].Refusal; return r != "" && len(r) <= maxText })
	if _, err := proto.Marshal(&pb.NameserverStatus{Refusal: s.Nameservers()[0].Refusal}); err != nil {
		t.Error(err)
	}
}

// The streams end when the feed does, before the server is stopped.
func TestEndsStreams(t *testing.T) {
	s := start(t, false)
	ns := s.subscribe(&pb.NameserverHello{Nameserver: "ns-1"})
	ns.until(func() bool { return ns.beat != nil })
	s.stop()
	for {
		if _, err := ns.stream.Recv(); err != nil {
			if status.Code(err) != codes.Unavailable {
				t.Errorf("ended with %v", err)
			}
			return
		}
	}
}

// The memory of nameservers is bounded; those that are connected stay.
func TestForgetsNameservers(t *testing.T) {
	s := start(t, false)
	now := time.Now()
	for i := range maxSubscribers {
		s.subs[fmt.Sprint(i)] = &subscriber{name: fmt.Sprint(i), connected: i != 7, heardAt: now}
	}
	if _, err := s.join(&pb.NameserverHello{Nameserver: "one"}); err != nil || s.subs["7"] != nil {
		t.Errorf("not the one that left made room: %v", err)
	}
	if _, err := s.join(&pb.NameserverHello{Nameserver: "two"}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one too many: %v", err)
	}
}
