package probes

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead-dns/fairlead/probes/check"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// wanted is what any controller wants, in the order of targets.
func (f *follow) wanted() string {
	lists, _ := f.take()
	var all []string
	for _, l := range lists {
		for _, a := range l {
			all = append(all, a.target)
		}
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), " ")
}

func TestFollow(t *testing.T) {
	f := newFollow(slog.New(slog.DiscardHandler))
	streams := map[string]*list{}
	send := func(from string, a *pb.Assignments) {
		t.Helper()
		var err error
		if streams[from], err = f.offer(a, from, streams[from]); err != nil {
			t.Fatal(err)
		}
	}
	unchanged := func(revision int64) *pb.Assignments {
		return &pb.Assignments{Generation: &pb.Generation{Epoch: 1, Revision: revision}, Unchanged: true}
	}
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	for i, step := range []struct {
		do   func()
		want string
	}{
		{func() { send("c1", assignments(3, "a", "b")) }, "a b"},
		// Who has the seats is a matter on which controllers may differ for a while.
		{func() { send("c2", assignments(3, "b", "c")) }, "a b c"},
		{func() { send("c2", assignments(3, "b", "d")) }, "a b d"},
		{func() { send("c3", assignments(2, "old")) }, "a b d"},
		{func() { send("c1", unchanged(3)) }, "a b d"},
		// The first with a newer generation is alone with it.
		{func() { send("c1", unchanged(4)) }, "a b"},
		{func() { send("c2", assignments(3, "x")) }, "a b"},
		{func() { send("c3", unchanged(4)) }, "a b old"},
		{func() { send("c2", unchanged(4)) }, "a b old x"},
		{func() { send("c3", assignments(4)) }, "a b x"},
		// A controller that is gone counts for a while, and again when it is back.
		{func() { f.lost("c2", at(0)); f.expire(at(59)) }, "a b x"},
		{func() { f.alive("c2"); f.expire(at(61)) }, "a b x"},
		{func() { f.lost("c2", at(100)); f.lost("c2", at(150)); f.expire(at(159)) }, "a b x"},
		{func() { f.expire(at(160)) }, "a b"},
		{func() { send("c2", assignments(4, "x")) }, "a b x"},
		// The list of the one that went last stays.
		{func() { f.lost("c1", at(201)); f.lost("c2", at(202)); f.lost("c3", at(200)); f.expire(at(1000)) }, "x"},
		{func() { f.alive("c1"); f.expire(at(2000)) }, "x"},
		{func() { send("c1", unchanged(4)) }, "a b x"},
		{func() { f.expire(at(2000)) }, "a b"},
	} {
		step.do()
		if got := f.wanted(); got != step.want {
			t.Fatalf("step %d: %q is wanted, want %q", i, got, step.want)
		}
	}
	if g := f.current().String(); g != "1.4" {
		t.Errorf("generation %s", g)
	}
}

func TestRefusedAssignments(t *testing.T) {
	f := newFollow(slog.New(slog.DiscardHandler))
	many := &pb.Assignments{Generation: &pb.Generation{Epoch: 1, Revision: 1}, Assignments: make([]*pb.Assignment, MaxTargets+1)}
	peers := &pb.Assignments{Generation: &pb.Generation{Epoch: 1, Revision: 1}, Fellows: make([]string, maxPeers+1)}
	for want, a := range map[string]*pb.Assignments{
		"without a generation":           {Assignments: assignments(1, "a").Assignments},
		"200001 assignments":             many,
		"1001 references or fellow":      peers,
		"nothing was taken before on th": {Generation: &pb.Generation{Epoch: 1, Revision: 1}, Unchanged: true},
	} {
		if l, err := f.offer(a, "c1", nil); err == nil || !strings.Contains(err.Error(), want) || l != nil {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if _, ok := f.take(); ok {
		t.Error("something was taken")
	}
}

// What several controllers, and one after the other generation, say alike is kept
// once.
func TestEqualAssignmentsAreSharedAndChecksMadeOnce(t *testing.T) {
	f := newFollow(slog.New(slog.DiscardHandler))
	message := func(revision int64, targets int) *pb.Assignments {
		var ids []string
		for i := range targets {
			ids = append(ids, fmt.Sprintf("web@192.0.2.%03d", i))
		}
		a := assignments(revision, ids...)
		for _, one := range a.Assignments {
			_, one.Address, _ = strings.Cut(one.Target, "@")
		}
		return proto.CloneOf(a)
	}
	for i, from := range []string{"c1", "c2", "c3"} {
		if _, err := f.offer(message(1, 100-i/2), from, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.offer(message(2, 100), "c1", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := f.offer(message(2, 99), "c2", nil); err != nil {
		t.Fatal(err)
	}
	lists, _ := f.take()
	for i, a := range lists[1] {
		b := lists[0][i]
		if a.spec != lists[0][0].spec || unsafe.StringData(a.target) != unsafe.StringData(b.target) || !inside(a.address, a.target) {
			t.Fatalf("%s is kept twice", a.target)
		}
	}
	made := 0
	s := scheduleFor("probe-1")
	s.assign(lists, func(spec *pb.HealthCheckSpec) (check.Check, error) {
		made++
		return noCheck(spec)
	}, start)
	if made != 1 || len(s.jobs) != 100 {
		t.Errorf("%d checks were made for %d targets, want 1", made, len(s.jobs))
	}
}

// inside tells whether a string lies in the memory of another one.
func inside(part, whole string) bool {
	p, w := uintptr(unsafe.Pointer(unsafe.StringData(part))), uintptr(unsafe.Pointer(unsafe.StringData(whole)))
	return p >= w && p < w+uintptr(len(whole))
}

// However many services and controllers name a target under one check, it is
// checked once, and its opinion is sent once.
func TestOneCheckServesAll(t *testing.T) {
	inBubble(t, []string{"c1", "c2"}, func(t *testing.T, s *scene, cs []*controller) {
		a := assignments(1, "t", "t", "t")
		cs[0].sends(a)
		cs[1].sends(proto.CloneOf(a))
		sleep(10 * time.Second)
		if n := len(s.world.checks("t")); n < 9 || n > 11 || s.Status().Targets != 1 {
			t.Errorf("%d checks in 10s", n)
		}
		// Another check of the same address is another target.
		cs[0].assignsAt(2, "web@t", "tcp@t")
		cs[1].sends(&pb.Assignments{Generation: &pb.Generation{Epoch: 1, Revision: 2}, Unchanged: true})
		sleep(time.Second)
		before := len(s.world.checks("t"))
		sleep(10 * time.Second)
		if n := len(s.world.checks("t")) - before; n < 28 || n > 32 {
			t.Errorf("%d checks in 10s, want 30: of web@t, of tcp@t and of t, which the other controller still wants", n)
		}
		if got := cs[0].table(); got != "t=H tcp@t=H web@t=H" {
			t.Errorf("table %s", got)
		}
		cs[1].assigns(2)
		sleep(time.Second)
		if got := cs[1].table(); got != "tcp@t=H web@t=H" {
			t.Errorf("table %s", got)
		}
	})
}

func TestControllerThatIsGoneIsForgotten(t *testing.T) {
	inBubble(t, []string{"c1", "c2"}, func(t *testing.T, s *scene, cs []*controller) {
		cs[0].assigns(1, "t")
		cs[1].assigns(1, "u")
		sleep(2 * time.Second)
		cs[1].server.Stop()
		sleep(50 * time.Second)
		if got := cs[0].table(); got != "t=H u=H" {
			t.Errorf("within a minute: %s", got)
		}
		sleep(15 * time.Second)
		if got := cs[0].table(); got != "t=H" {
			t.Errorf("after a minute: %s", got)
		}
		cs[0].server.Stop()
		sleep(2 * time.Minute)
		if s.Status().Targets != 1 {
			t.Error("without controllers nothing is probed any more")
		}
	})
}

func TestWaveringIsSentAtOnce(t *testing.T) {
	inBubble(t, []string{"c1"}, func(t *testing.T, s *scene, cs []*controller) {
		cs[0].assigns(1, "t/10s")
		sleep(21 * time.Second)
		cs[0].take()
		s.world.set("t", down)
		n := len(s.world.checks("t"))
		for len(s.world.checks("t")) == n {
			sleep(time.Millisecond)
		}
		if o := cs[0].opinion("t"); letter(o.GetStatus()) != "H" || !o.GetWavering() {
			t.Errorf("after the first failure: %v", o)
		}
		s.world.set("t", up)
		sleep(11 * time.Second)
		if o := cs[0].opinion("t"); o.GetWavering() {
			t.Errorf("after a success: %v", o)
		}
		refresh := func(u string) bool { return strings.HasPrefix(u, "full") }
		if got := slices.DeleteFunc(cs[0].take(), refresh); len(got) != 2 {
			t.Errorf("updates %q, want two", got)
		}
	})
}
