package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// faultTable is filled while faults are injected and written at the end: to
// the test's log, and as a file where $FAIRLEAD_E2E_TABLE names one.
type faultTable struct {
	rows      []*fault
	failovers []split
	began     time.Time
}

// fault is a row of the table.
type fault struct {
	what, expected string
	seen           []string
	splits         []split // one a nameserver
}

// saw notes what was seen.
func (f *fault) saw(format string, args ...any) {
	f.seen = append(f.seen, fmt.Sprintf(format, args...))
}

// fault runs one fault as a subtest, on a cluster with nothing amiss.
func (x *faultTable) fault(t *testing.T, c *cluster, what, expected string, inject func(*cluster, *fault)) {
	t.Helper()
	f := &fault{what: what, expected: expected}
	x.rows = append(x.rows, f)
	ok := t.Run(what, func(t *testing.T) {
		c, asked := c.on(t), time.Now()
		c.restore()
		began := time.Now()
		inject(c, f)
		t.Logf("%s (in %v, and %v to settle before)", strings.Join(f.seen, "; "), time.Since(began).Round(100*time.Millisecond), began.Sub(asked).Round(100*time.Millisecond))
	})
	if !ok {
		f.saw(failedMark)
	}
}

const failedMark = "**FAILED**"

// write writes the table.
func (x *faultTable) write(t *testing.T) {
	var b strings.Builder
	b.WriteString("| fault | expected | seen | detect ms | decide ms | publish ms |\n|---|---|---|---:|---:|---:|\n")
	for _, f := range x.rows {
		if len(f.seen) == 0 {
			continue // not run
		}
		detect, decide, publish := "–", "–", "–"
		if s, ok := slowest(f.splits); ok {
			detect, decide, publish = ms(s.detect), ms(s.decide), ms(s.publish)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", f.what, f.expected, strings.Join(f.seen, "; "), detect, decide, publish)
	}
	b.WriteString("\nThe times are those of the nameserver that was last to answer otherwise.\n\n")
	if n := len(x.failovers); n > 0 {
		fmt.Fprintf(&b, "%d failovers of an endpoint at %d nameservers (interval %v, timeout %v, fall %d; questions every %v):\n\n", n/3, 3, interval, timeout, fall, sampleEvery)
		partsTable(&b, x.failovers)
	}
	fmt.Fprintf(&b, "\n%v in all.\n", time.Since(x.began).Round(time.Second))
	publishTable(t, b.String())
}

// publishTable writes a table to the test's log, and where $FAIRLEAD_E2E_TABLE says.
func publishTable(t *testing.T, text string) {
	t.Log("\n" + text)
	if path := os.Getenv("FAIRLEAD_E2E_TABLE"); path != "" {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// partsTable writes how long the parts of failovers took.
func partsTable(b *strings.Builder, all []split) {
	b.WriteString("| part | from → to | median ms | p99 ms | max ms |\n|---|---|---:|---:|---:|\n")
	for _, part := range []struct {
		name, span string
		of         func(split) time.Duration
	}{
		{"detect", "the fault → the opinion that makes the quorum", func(s split) time.Duration { return s.detect }},
		{"decide", "→ the verdict of the controller that is followed", func(s split) time.Duration { return s.decide }},
		{"publish", "→ the answer", func(s split) time.Duration { return s.publish }},
		{"decide + publish", "", func(s split) time.Duration { return s.decide + s.publish }},
		{"all", "the fault → the answer", split.all},
	} {
		var of []time.Duration
		for _, s := range all {
			of = append(of, part.of(s))
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", part.name, part.span, spread(of))
	}
}

// spread is the median, the 99th percentile and the maximum, as cells of a table.
func spread(of []time.Duration) string {
	if len(of) == 0 {
		return "– | – | –"
	}
	slices.Sort(of)
	return ms(of[len(of)/2]) + " | " + ms(of[(len(of)*99-1)/100]) + " | " + ms(of[len(of)-1])
}

func ms(d time.Duration) string { return fmt.Sprintf("%.0f", float64(d)/1e6) }

// split is how long the parts of a failover took at one nameserver.
type split struct{ detect, decide, publish time.Duration }

func (s split) all() time.Duration { return s.detect + s.decide + s.publish }

func slowest(all []split) (split, bool) {
	if len(all) == 0 {
		return split{}, false
	}
	return slices.MaxFunc(all, func(a, b split) int { return int(a.all() - b.all()) }), true
}

// splits takes a failover apart: the endpoint of a region stopped working at a
// time, and the sampled nameservers answer otherwise since. All processes are
// on one machine, so their logs have one clock.
func (c *cluster) splits(s *sampler, region int, failed time.Time, answer string) []split {
	c.t.Helper()
	turned := func(msg string) func(record) bool {
		return func(r record) bool {
			return r.msg == msg && r.at.After(failed) && r.text("to") == "UNHEALTHY" && strings.Contains(r.text("target"), c.host(region))
		}
	}
	var opinions []time.Time
	for _, n := range c.agents {
		if r, ok := n.find(turned("opinion changed")); ok {
			opinions = append(opinions, r.at)
		}
	}
	var all []split
	for _, o := range s.of {
		at, ok := o.first(answer, failed)
		followed := c.followed(o.ns, at)
		if !ok || followed < 0 {
			c.t.Errorf("%s: %v, following %d", o.ns.name, o.path(), followed)
			continue
		}
		verdict, ok := c.controllers[followed].find(turned("verdict changed"))
		if !ok {
			c.t.Errorf("the log of %s, which %s follows, tells of no verdict", c.controllers[followed].name, o.ns.name)
			continue
		}
		var opinion time.Time
		for _, o := range opinions {
			if o.After(opinion) && !o.After(verdict.at) {
				opinion = o
			}
		}
		if opinion.IsZero() {
			c.t.Errorf("no agent's log tells of an opinion before the verdict of %s", c.controllers[followed].name)
			continue
		}
		all = append(all, split{detect: opinion.Sub(failed), decide: verdict.at.Sub(opinion), publish: at.Sub(verdict.at)})
	}
	return all
}
