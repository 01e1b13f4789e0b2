package probes

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fairlead-dns/fairlead/probes/check"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// There are as many workers as checks run at once, and no longer than needed.
func TestWorkersComeAndGo(t *testing.T) {
	inBubble(t, []string{"c1"}, func(t *testing.T, s *scene, cs []*controller) {
		s.world.setTakes(900 * time.Millisecond)
		var targets []string
		for i := range 50 {
			targets = append(targets, fmt.Sprintf("t%d", i))
		}
		cs[0].assigns(1, targets...)
		sleep(5 * time.Second)
		if most := s.world.most; most < 30 {
			t.Fatalf("%d checks at once", most)
		}
		cs[0].assigns(2, targets[:2]...)
		sleep(3 * workersKept)
		if n := len(s.workers.resting); n > 2 {
			t.Errorf("%d workers rest, and 2 are needed", n)
		}
		for _, target := range targets[:2] {
			if n := len(s.world.checks(target)); n < 25 {
				t.Errorf("%s was checked %d times", target, n)
			}
		}
	})
}

// panicking is a check with a defect that one target's answer brings out.
type panicking struct{ *world }

func (p panicking) Probe(ctx context.Context, target string) check.Outcome {
	out := p.world.Probe(ctx, target)
	if out.Reason == "panic" {
		var none []int
		none[3]++
	}
	return out
}

// A check that panics says nothing of its target; all others go on.
func TestPanickingCheck(t *testing.T) {
	var log strings.Builder
	w := newWorld()
	options := func(o *Options) {
		o.NewCheck = func(*pb.HealthCheckSpec) (check.Check, error) { return panicking{w}, nil }
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
	}
	inBubbleWith(t, []string{"c1"}, options, func(t *testing.T, s *scene, cs []*controller) {
		c := cs[0]
		w.set("t", check.Outcome{Reason: "panic"})
		w.set("u", check.Outcome{Reason: "panic"})
		c.assigns(1, "t", "u", "v")
		sleep(5 * time.Second)
		if got := c.table(); got != "t=? u=? v=H" {
			t.Errorf("table %s", got)
		}
		if got := c.opinion("t").GetReason(); got != "the check failed inside this agent" {
			t.Errorf("reason %q", got)
		}
		checks := len(w.checks("t")) + len(w.checks("u"))
		if got := testutil.ToFloat64(s.m.panics); checks < 8 || got != float64(checks) {
			t.Errorf("%d checks panicked, %v are counted", checks, got)
		}
		// It answers otherwise: the same check goes on. A view that it had is withdrawn.
		w.set("t", up)
		sleep(3 * time.Second)
		if got := c.table(); got != "t=H u=? v=H" {
			t.Errorf("table %s", got)
		}
		w.set("t", check.Outcome{Reason: "panic"})
		sleep(2 * time.Second)
		if got := c.table(); got != "t=? u=? v=H" {
			t.Errorf("table %s", got)
		}
		s.stop()
		for _, target := range []string{"t", "u"} {
			if n := strings.Count(log.String(), "inside this agent\" agent=probe-1 target="+target+" "); n != 1 {
				t.Errorf("the panics of %s are logged %d times", target, n)
			}
		}
		if !strings.Contains(log.String(), "index out of range [3]") || !strings.Contains(log.String(), "workers_test.go") {
			t.Errorf("log:\n%s", &log)
		}
	})
}
