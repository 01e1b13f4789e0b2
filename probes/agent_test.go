package probes

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/fairlead-dns/fairlead/probes/check"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func TestOpinionsGoToEveryController(t *testing.T) {
	inBubble(t, []string{"c1", "c2"}, func(t *testing.T, s *scene, cs []*controller) {
		if err := s.Ready(); err == nil {
			t.Error("ready without assignments")
		}
		s.world.set("u", down)
		cs[0].assigns(1, "t", "u")
		sleep(firstSpread)
		for _, c := range cs {
			// One success is enough to begin with, one failure is not.
			if got := c.table(); got != "t=H u=?" {
				t.Errorf("%s: after the first checks: %s", c.name, got)
			}
			c.with(func() {
				if h := c.hellos[0]; len(c.hellos) != 1 || h.GetAgent() != "probe-1" || h.GetRegion() != "eu" || h.GetIncarnation() == 0 {
					t.Errorf("%s: hellos %v", c.name, c.hellos)
				}
			})
		}
		sleep(2 * time.Second)
		for _, c := range cs {
			if got := c.table(); got != "t=H u=U" {
				t.Errorf("%s: after the third checks: %s", c.name, got)
			}
		}
		if err := errors.Join(s.Ready(), s.Health()); err != nil {
			t.Errorf("not ready: %v", err)
		}
		if st := s.Status(); st.Generation.String() != "1.1" || st.Targets != 2 || !st.Controllers[1].Connected {
			t.Errorf("status %+v", st)
		}
		// What does not change is not sent again, but for heartbeats.
		for _, c := range cs {
			c.take()
			c.with(func() { c.beats = 0 })
		}
		sleep(10 * time.Second)
		for _, c := range cs {
			if got := c.take(); len(got) != 0 {
				t.Errorf("%s: updates without change: %q", c.name, got)
			}
			c.with(func() {
				if c.beats != 40 {
					t.Errorf("%s: %d heartbeats in 10s, want 40", c.name, c.beats)
				}
				if g := c.generation; g.GetEpoch() != 1 || g.GetRevision() != 1 {
					t.Errorf("%s: heartbeats name generation %v", c.name, g)
				}
			})
		}
		// A change is sent at once: within the check that made it.
		s.world.set("t", down)
		sleep(3 * time.Second)
		if got := cs[0].take(); !slices.Contains(got, "t=U") {
			t.Errorf("updates %q", got)
		}
		o := cs[1].opinion("t")
		if o.GetReason() != "connection refused" || o.GetRecentTransitions() != 1 {
			t.Errorf("opinion %v", o)
		}
		// A refresh carries everything.
		sleep(refreshEvery)
		if got := cs[0].take(); !slices.Contains(got, "full t=U u=U") {
			t.Errorf("no refresh within %s: %q", refreshEvery, got)
		}
	})
}

func TestChangedReasonWaitsForTheNextOccasion(t *testing.T) {
	inBubble(t, []string{"c1"}, func(t *testing.T, s *scene, cs []*controller) {
		cs[0].assigns(1, "t")
		sleep(5 * time.Second)
		cs[0].take()
		s.world.set("t", check.Outcome{Result: check.Passed, Reason: "HTTP 204"})
		sleep(2100 * time.Millisecond)
		if got := cs[0].take(); len(got) != 1 || cs[0].opinion("t").GetReason() != "HTTP 204" {
			t.Errorf("updates %q, reason %q", got, cs[0].opinion("t").GetReason())
		}
	})
}

func TestNewestGenerationIsFollowed(t *testing.T) {
	inBubble(t, []string{"ahead", "behind"}, func(t *testing.T, s *scene, cs []*controller) {
		ahead, behind := cs[0], cs[1]
		behind.assigns(4, "old")
		sleep(time.Second)
		ahead.assigns(7, "t")
		sleep(time.Second)
		behind.assigns(5, "old", "older")
		sleep(time.Second)
		if got := behind.table(); got != "t=H" {
			t.Errorf("the one behind is told %s", got)
		}
		if got := s.Status().Generation.String(); got != "1.7" {
			t.Errorf("generation %s", got)
		}
		behind.assigns(0)
		behind.assigns(8, "t", "new")
		sleep(time.Second)
		if got := ahead.table(); got != "new=H t=H" {
			t.Errorf("the other is told %s", got)
		}
		// Both gone: probing goes on, and what was found meanwhile is reported later.
		ahead.server.Stop()
		behind.server.Stop()
		sleep(time.Second)
		if err := s.Health(); err == nil || !strings.Contains(err.Error(), "controller passthrough:ahead") {
			t.Errorf("health with no controller: %v", err)
		}
		before := len(s.world.checks("t"))
		s.world.set("t", down)
		sleep(10 * time.Second)
		if n := len(s.world.checks("t")) - before; n < 9 || n > 11 { // the jitter decides
			t.Errorf("%d checks in 10s, want 10", n)
		}
		ahead.with(func() { ahead.assign = nil }) // restarted, it has no plan yet
		ahead.start()
		sleep(3 * time.Second)
		if got := ahead.table(); got != "new=H t=U" {
			t.Errorf("the restarted controller is told %s", got)
		}
		ahead.with(func() {
			if n := len(ahead.hellos); n != 2 {
				t.Errorf("%d hellos, want 2", n)
			}
		})
		o := ahead.opinion("t")
		if held := time.Duration(o.GetHeldMillis()) * time.Millisecond; held < 5*time.Second {
			t.Errorf("the opinion is said to be held for %s", held)
		}
	})
}

func TestAssignmentsChange(t *testing.T) {
	inBubble(t, []string{"c1"}, func(t *testing.T, s *scene, cs []*controller) {
		c := cs[0]
		c.assigns(1, "t", "u", "v")
		sleep(2 * time.Second)
		c.take()
		// Another timing keeps the opinion; another probe begins anew; what is gone
		// is withdrawn at once.
		s.world.set("u", down)
		c.assigns(2, "t/300ms", "u:81")
		sleep(firstSpread)
		if got := c.take(); len(got) == 0 || got[0] != "full t=H u=?" {
			t.Errorf("updates %q", got)
		}
		if got := c.table(); got != "t=H u=?" {
			t.Errorf("table %s", got)
		}
		before := len(s.world.checks("t"))
		sleep(3 * time.Second)
		if n := len(s.world.checks("t")) - before; n < 9 || n > 11 {
			t.Errorf("%d checks at 300ms in 3s, want 10", n)
		}
		if got := c.table(); got != "t=H u=U" {
			t.Errorf("table %s", got)
		}
		gone := len(s.world.checks("v"))
		c.assigns(3)
		sleep(5 * time.Second)
		if n := len(s.world.checks("v")); n != gone {
			t.Error("a target that is gone is still checked")
		}
		if got := c.table(); got != "" || s.Status().Targets != 0 {
			t.Errorf("table %s", got)
		}
	})
}

// A check that is under way when its target goes, or changes, says nothing
// about what comes after.
func TestResultOfADroppedCheckIsIgnored(t *testing.T) {
	inBubble(t, []string{"c1"}, func(t *testing.T, s *scene, cs []*controller) {
		s.world.setTakes(firstSpread + firstSpread/2)
		cs[0].assigns(1, "t", "u")
		sleep(firstSpread)
		cs[0].assigns(2, "u:81")
		sleep(firstSpread + firstSpread/2) // the first checks have ended, the one of u:81 runs
		if got := cs[0].table(); got != "u=?" || len(s.world.checks("u")) != 2 {
			t.Errorf("table %s after %d checks", got, len(s.world.checks("u")))
		}
		sleep(time.Second)
		if got := cs[0].table(); got != "u=H" {
			t.Errorf("table %s", got)
		}
	})
}

func TestAbstention(t *testing.T) {
	unknown := func(o *Options) {
		known := o.NewCheck
		o.NewCheck = func(spec *pb.HealthCheckSpec) (check.Check, error) {
			if spec.GetTcp().GetPort() == 99 {
				return nil, errors.New("this agent does not know the check's protocol")
			}
			return known(spec)
		}
	}
	inBubbleWith(t, []string{"c1"}, unknown, func(t *testing.T, s *scene, cs []*controller) {
		c := cs[0]
		s.world.set("t", check.Outcome{Result: check.Abstained, Reason: "refused: 127.0.0.1 is a loopback address"})
		c.assigns(1, "t", "u", "broken:99")
		sleep(5 * time.Second)
		if got := c.table(); got != "broken=? t=? u=H" {
			t.Errorf("table %s", got)
		}
		if got := c.opinion("broken").GetReason(); !strings.Contains(got, "does not know") {
			t.Errorf("reason %q", got)
		}
		// It had a view and can no longer check: the view is withdrawn.
		s.world.set("u", check.Outcome{Result: check.Abstained, Reason: "no file descriptor " + strings.Repeat("é", maxReason)})
		sleep(time.Second)
		o := c.opinion("u")
		if letter(o.GetStatus()) != "?" || len(o.GetReason()) > maxReason {
			t.Errorf("opinion %v", o)
		}
	})
}

func TestChecksAreBoundedAndNeverOverlap(t *testing.T) {
	few := func(o *Options) { o.MaxConcurrent = 2 }
	inBubbleWith(t, []string{"c1"}, few, func(t *testing.T, s *scene, cs []*controller) {
		s.world.setTakes(400 * time.Millisecond)
		cs[0].assigns(1, "a", "b", "c", "d", "e", "f", "g", "h")
		sleep(30 * time.Second)
		if s.world.most != 2 {
			t.Errorf("%d checks at once, want 2", s.world.most)
		}
		for _, target := range []string{"a", "h"} {
			if n := len(s.world.checks(target)); n < 5 {
				t.Errorf("%s was checked %d times: starved", target, n)
			}
		}
	})
}

func TestOverdueChecksAreNotVouchedFor(t *testing.T) {
	inBubble(t, []string{"c1"}, func(t *testing.T, s *scene, cs []*controller) {
		cs[0].assigns(1, "t")
		sleep(2 * time.Second)
		s.world.setTakes(time.Minute) // a check that hangs beyond its timeout
		sleep(2500 * time.Millisecond)
		if got := cs[0].table(); got != "t=H" {
			t.Errorf("too early: %s", got)
		}
		sleep(3 * time.Second)
		if o := cs[0].opinion("t"); letter(o.GetStatus()) != "?" || !strings.Contains(o.GetReason(), "overdue") {
			t.Errorf("opinion %v", o)
		}
	})
}

// A check that "failed" long after its timeout did so because the agent stood
// still, and is no evidence.
func TestStandstillIsNoEvidence(t *testing.T) {
	inBubble(t, []string{"c1"}, func(t *testing.T, s *scene, cs []*controller) {
		cs[0].assigns(1, "t")
		sleep(2 * time.Second)
		s.world.set("t", check.Outcome{Result: check.Failed, Reason: "timeout after 500ms"})
		s.world.setTakes(1500 * time.Millisecond)
		sleep(20 * time.Second)
		if o := cs[0].opinion("t"); letter(o.GetStatus()) != "?" || !strings.Contains(o.GetReason(), "stood still") {
			t.Errorf("opinion %v", o)
		}
	})
}

func TestRefusedStream(t *testing.T) {
	inBubble(t, []string{"c1", "c2"}, func(t *testing.T, s *scene, cs []*controller) {
		refusal := status.Error(codes.PermissionDenied, `agent "probe-1" is registered in "us"`)
		cs[0].with(func() { cs[0].refuse = refusal })
		cs[0].server.Stop()
		sleep(time.Second)
		cs[0].start()
		cs[1].assigns(1, "t")
		sleep(5 * time.Second)
		st := s.Status().Controllers
		if st[0].Connected || st[0].LastError == nil || !strings.Contains(st[0].LastError.Error(), `registered in "us"`) || !st[1].Connected {
			t.Errorf("controllers %+v", st)
		}
		if got := cs[1].table(); got != "t=H" {
			t.Errorf("the other controller is told %s", got)
		}
		cs[0].with(func() { cs[0].refuse = nil })
		sleep(2 * time.Second)
		if got := cs[0].table(); got != "t=H" {
			t.Errorf("let in again, it is told %s", got)
		}
	})
}

func TestLargeTablesAreSentInParts(t *testing.T) {
	inBubble(t, []string{"c1"}, func(t *testing.T, s *scene, cs []*controller) {
		c := cs[0]
		var targets []string
		for i := range 3000 {
			targets = append(targets, fmt.Sprintf("%s%d/10m", strings.Repeat("x", 400), i))
		}
		c.assigns(1, targets...)
		sleep(time.Second)
		c.take()
		c.server.Stop()
		sleep(time.Second)
		c.start()
		sleep(2 * time.Second)
		updates := c.take()
		if len(updates) < 2 || !strings.HasPrefix(updates[0], "full ") || strings.HasPrefix(updates[1], "full ") {
			t.Errorf("%d updates", len(updates))
		}
		sleep(refreshEvery)
		for _, u := range c.take() {
			if strings.HasPrefix(u, "full") {
				t.Error("a refresh in parts withdraws")
			}
		}
		c.with(func() {
			if len(c.opinions) != len(targets) {
				t.Errorf("%d opinions arrived, want %d", len(c.opinions), len(targets))
			}
		})
	})
}

func TestOptions(t *testing.T) {
	_, err := New(Options{Name: "Probe_1", Controllers: []string{"a:1", "a:1", ""}, MaxConcurrent: -1, MaxRatePerAddress: 1 << 30, HistoryBytes: 5,
		SourceIPv4: netip.MustParseAddr("::1"), SourceIPv6: netip.MustParseAddr("fe80::1%eth0")})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{`name "Probe_1"`, `region ""`, "controllers[1]", "controllers[2]", "no credentials", "at most -1 concurrent", "checks of an address a second: want 1 to 1000000", "5 bytes",
		"source address ::1: want an IPv4", "source address fe80::1%eth0: want an IPv6"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	o := Options{Name: "a", Region: "b", Controllers: []string{"a:1"}, Credentials: insecure.NewCredentials()}
	if err := o.validate(); err != nil || o.MaxConcurrent != 1000 || o.MaxRate != 10_000 || o.MaxConcurrentPerAddress != 8 ||
		o.MaxRatePerAddress != 50 || o.HistoryBytes != 64<<20 {
		t.Errorf("%v, defaults %+v", err, o)
	}
	// What it connects to sees the stated source address.
	o = Options{Name: "a", Region: "b", Controllers: []string{"a:1"}, Credentials: insecure.NewCredentials(), SourceIPv4: netip.MustParseAddr("127.0.0.9")}
	if err := o.validate(); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := o.Dial(t.Context(), netip.MustParseAddrPort(l.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	if got := conn.LocalAddr().(*net.TCPAddr).IP.String(); got != "127.0.0.9" {
		t.Errorf("it comes from %s", got)
	}
	conn.Close()
	registry := prometheus.NewRegistry()
	o = Options{Name: "a", Region: "b", Controllers: []string{"127.0.0.1:1"}, Credentials: insecure.NewCredentials(), Registerer: registry}
	if _, err := New(o); err != nil {
		t.Fatal(err)
	}
	if _, err := New(o); err == nil {
		t.Error("two agents share a registry")
	}
}
