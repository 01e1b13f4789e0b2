package probes

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-dns/fairlead/probes/check"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
)

// sent keeps what a stream is given.
type sent struct {
	stream
	updates []*pb.OpinionUpdate
}

func (s *sent) Send(r *pb.ReportRequest) error {
	s.updates = append(s.updates, r.GetOpinions())
	return nil
}

// The parts of a full update say that they are parts: the first that it is full,
// all but the last that there are more. Those of another say neither.
func TestPartsOfAnUpdate(t *testing.T) {
	b := newBook()
	for i := range 20_000 {
		b.put(&page{target: fmt.Sprintf("web-frontend@2001:db8:1234:5678::%x", i)}, health.Opinion{Status: regions.Healthy, Since: start, ObservedAt: start, Reason: "HTTP 200"})
	}
	many, _ := b.all(start)
	for name, test := range map[string]struct {
		opinions []*pb.Opinion
		full     bool
		parts    int
	}{
		"full":             {many, true, 2},
		"changes":          {many, false, 2},
		"full and small":   {many[:10], true, 1},
		"few changes":      {many[:10], false, 1},
		"full and nothing": {nil, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := &sent{}
			if err := sendOpinions(s, test.opinions, test.full); err != nil {
				t.Fatal(err)
			}
			if len(s.updates) != test.parts {
				t.Errorf("%d messages, want %d", len(s.updates), test.parts)
			}
			total := 0
			for i, u := range s.updates {
				total += len(u.GetOpinions())
				if want := test.full && i == 0; u.GetFull() != want {
					t.Errorf("message %d: full %t", i, u.GetFull())
				}
				if want := test.full && i < len(s.updates)-1; u.GetMore() != want {
					t.Errorf("message %d: more %t", i, u.GetMore())
				}
			}
			if total != len(test.opinions) {
				t.Errorf("%d opinions, want %d", total, len(test.opinions))
			}
		})
	}
}

// Opinions that change one after the other are gathered; one that changes alone
// goes out at once.
func TestChangesAreGathered(t *testing.T) {
	inBubble(t, []string{"c1"}, func(t *testing.T, s *scene, cs []*controller) {
		c := cs[0]
		var targets []string
		for i := range 3000 {
			targets = append(targets, fmt.Sprintf("t%d", i))
		}
		c.assigns(1, targets...)
		sleep(5 * time.Second)
		c.take()
		for _, target := range targets {
			s.world.set(target, down)
		}
		const seconds = 4
		sleep(seconds * time.Second)
		// What has only changed its reason goes out with a heartbeat each second.
		if n, most := len(c.take()), seconds*(int(time.Second/gatherFor)+1)+1; n > most || n < seconds {
			t.Errorf("%d messages in %d seconds, want %d at most", n, seconds, most)
		}
		if got := c.table(); strings.Contains(got, "=H") || strings.Count(got, "=U") != len(targets) {
			t.Error("not all changes arrived")
		}
	})
}

func TestChangesAreSentAtOnceThenGathered(t *testing.T) {
	inBubble(t, []string{"c1"}, func(t *testing.T, s *scene, cs []*controller) {
		c := cs[0]
		c.assigns(1)
		sleep(10*time.Second + time.Millisecond) // no heartbeat is due soon
		c.take()
		pages := map[string]*page{}
		say := func(target string, status regions.Status) {
			if pages[target] == nil {
				pages[target] = &page{target: target}
			}
			s.book.put(pages[target], health.Opinion{Status: status, Since: time.Now(), Reason: check.Passed.String()})
		}
		expect := func(when string, want ...string) {
			t.Helper()
			if got := c.take(); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: %q, want %q", when, got, want)
			}
		}
		say("t", regions.Healthy)
		expect("the first", "t=H")
		say("u", regions.Healthy)
		sleep(gatherFor / 5)
		say("v", regions.Healthy)
		say("t", regions.Unhealthy)
		expect("while they are gathered")
		sleep(gatherFor)
		expect("gathered", "t=U u=H v=H")
		sleep(gatherFor)
		expect("nothing more")
		say("t", regions.Healthy)
		expect("one alone again", "t=H")
	})
}
