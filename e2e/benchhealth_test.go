package e2e

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	// benchWanted asks for the times of failovers, and says of how many: of
	// endpoints and of whole regions, as 50/20.
	benchWanted = "FAIRLEAD_E2E_BENCH_HEALTH"
	// everySecond is the interval of the checks; they fall after two failures, as
	// elsewhere here.
	everySecond = time.Second
	// askEvery is how far apart the questions are to one nameserver.
	askEvery = 2 * time.Millisecond
)

// How long a failover takes, and its parts, with real processes under mutual
// TLS: endpoints that fail and regions that are lost whole and at once, with etcd
// and without. Nothing is asserted of the times.
func TestBenchHealth(t *testing.T) {
	text := os.Getenv(benchWanted)
	if text == "" {
		t.Skipf("SKIPPED, NOTHING WAS MEASURED: it takes a quarter of an hour; make bench-health sets %s=50/20", benchWanted)
	}
	var endpoints, lost int
	if n, err := fmt.Sscanf(text, "%d/%d", &endpoints, &lost); n != 2 || err != nil || endpoints < 1 || lost < 0 {
		t.Fatalf("%s=%q: want the number of endpoints that fail and of regions that are lost, as 50/20", benchWanted, text)
	}
	c := newCluster(t, shape{etcd: 3, controllers: 3, nameservers: 3, interval: everySecond, timeout: timeout})
	c.every = askEvery
	began, from := time.Now(), loads()
	var rows []*timed
	for _, running := range []bool{true, false} {
		etcd := "running"
		if !running {
			c.killed(c.etcd...)
			etcd = "stopped"
		}
		fails, loses := &timed{what: "an endpoint fails", etcd: etcd}, &timed{what: "a whole region is lost", etcd: etcd}
		rows = append(rows, fails, loses)
		c.endpointsFail(fails, endpoints)
		for i := range lost {
			c.regionLost(loses, i%c.regions())
		}
		t.Logf("etcd %s: %d and %d failovers after %v", etcd, len(fails.all), len(loses.all), time.Since(began).Round(time.Second))
	}
	publishTable(t, failoverTable(rows)+fmt.Sprintf("\nLoad average %s at the beginning and %s at the end; %v in all.\n", from, loads(), time.Since(began).Round(time.Second)))
}

// timed are failovers of one kind: how long the parts took until the last
// nameserver answered otherwise.
type timed struct {
	what, etcd string
	all        []split
}

// endpointsFail makes the endpoint of one region after the other fail, by
// answering 503 and by being killed in turn. While one recovers the next one
// fails: what clients near that are answered then does not matter.
func (c *cluster) endpointsFail(x *timed, n int) {
	c.t.Helper()
	c.well()
	for i := range n {
		region := i % c.regions()
		s, here := c.sample(region, c.nameservers...), c.host(region)
		s.until("its own endpoint", here)
		time.Sleep(rand.N(everySecond)) // anywhere between two checks
		failed, service := time.Now(), c.services[region]
		recover := func() { c.fails(region, false) }
		if i%2 == 0 {
			c.fails(region, true)
		} else {
			service.kill()
			recover = service.start
		}
		x.add(c, s, region, failed)
		recover()
	}
	for region := range c.regions() {
		s := c.sample(region, c.nameservers...)
		s.until("its own endpoint", c.host(region))
		s.stop()
	}
}

// regionLost kills all that is in a region at once, and gets it back.
func (c *cluster) regionLost(x *timed, region int) {
	c.t.Helper()
	c.well()
	s, here := c.sampleOutside(region)
	s.until("its own endpoint", here)
	time.Sleep(rand.N(everySecond))
	lost := slices.DeleteFunc(c.in(region), func(n *node) bool { return !n.running() }) // etcd may be stopped
	failed := time.Now()
	back := c.killed(lost...)
	x.add(c, s, region, failed)
	back()
	s = c.sample(region, c.nameservers...)
	s.until("the region to be back", here)
	s.stop()
}

// well waits until nothing is amiss, or without etcd nothing else.
func (c *cluster) well() {
	c.t.Helper()
	if slices.ContainsFunc(c.etcd, (*node).running) {
		c.settled()
	} else {
		eventually(c.t, settleLimit, "controllers and nameservers that are ready without etcd", func() bool {
			return !slices.ContainsFunc(c.controllers, func(n *node) bool { return !c.ready(n.region, controllerHTTP) }) &&
				!slices.ContainsFunc(c.nameservers, func(n *node) bool {
					return !c.ready(n.region, nameserverHTTP) || c.followed(n, time.Now()) < 0
				})
		})
	}
	time.Sleep(fall*everySecond + timeout) // an agent that has just started has an opinion on everything then
}

// add waits until the sampled nameservers have left a region's endpoint, stops,
// and takes apart what that took the last one of them.
func (x *timed) add(c *cluster, s *sampler, region int, failed time.Time) {
	c.t.Helper()
	here := c.host(region)
	var last *sampled
	var at time.Time
	eventually(c.t, settleLimit, "answers other than "+here, func() bool {
		for _, o := range s.of {
			left, ok := o.left(here, failed)
			if !ok {
				return false
			}
			if left.After(at) {
				last, at = o, left
			}
		}
		return true
	})
	s.stop()
	one, err := c.takeApart(last.ns, region, failed, at)
	if err != nil {
		c.t.Errorf("%s, %s: %v", x.what, clusterRegions[region].name, err)
		return
	}
	x.all = append(x.all, one)
}

// left is when a nameserver first answered something else after a time.
func (o *sampled) left(answer string, after time.Time) (time.Time, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.changes {
		if c.answer != answer && c.answer != silence && c.at.After(after) {
			return c.at, true
		}
	}
	return time.Time{}, false
}

// takeApart takes the failover of one nameserver apart. The deciding opinion is
// the one that makes the quorum, here the second of three: what comes before it,
// the wait of two agents for their checks, is detection. All processes are on one
// machine, so their logs have one clock. The parts of one that is led by another
// controller than the one that it followed when it changed its answer would be
// wrong, so that is an error.
func (c *cluster) takeApart(ns *node, region int, failed, answered time.Time) (split, error) {
	turned := func(msg string) func(record) bool {
		return func(r record) bool {
			return r.msg == msg && r.at.After(failed) && r.text("to") == "UNHEALTHY" && strings.Contains(r.text("target"), "@"+c.host(region))
		}
	}
	var opinions []time.Time
	var verdict record
	var followed int
	var told bool
	// What was printed arrives a moment after it was answered by.
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		opinions = opinions[:0]
		for _, n := range c.agents {
			if r, ok := n.find(turned("opinion changed")); ok {
				opinions = append(opinions, r.at)
			}
		}
		if followed = c.followed(ns, answered); followed >= 0 {
			verdict, told = c.controllers[followed].find(turned("verdict changed"))
		}
		quorum := len(c.agents)/2 + 1
		if len(opinions) >= quorum && told {
			slices.SortFunc(opinions, time.Time.Compare)
			deciding := opinions[quorum-1]
			if verdict.at.Before(deciding) || answered.Before(verdict.at) {
				return split{}, fmt.Errorf("opinions at %v, the verdict of %s at %v and the answer of %s at %v are not in order",
					opinions, c.controllers[followed].name, verdict.at, ns.name, answered)
			}
			return split{detect: deciding.Sub(failed), decide: verdict.at.Sub(deciding), publish: answered.Sub(verdict.at)}, nil
		}
		if time.Now().After(end) {
			return split{}, fmt.Errorf("the logs tell of %d opinions, want %d, and of a verdict at the controller %s follows (number %d): %t", len(opinions), quorum, ns.name, followed+1, told)
		}
	}
}

// failoverTable is the table of all.
func failoverTable(rows []*timed) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Failover: three regions, three agents, controllers and nameservers, real processes under mutual TLS on one machine; checks every %v, fall %d; a question to each nameserver every %v. Milliseconds, of the nameserver that is last to answer otherwise; p99 by nearest rank, so of fewer than 100 it is the slowest one.\n\n", everySecond, fall, askEvery)
	all := &timed{what: "any", etcd: "either"}
	for _, x := range rows {
		all.all = append(all.all, x.all...)
	}
	b.WriteString("| fault | etcd | times |")
	parts := []struct {
		name string
		of   func(split) time.Duration
	}{
		{"all", split.all},
		{"detect", func(s split) time.Duration { return s.detect }},
		{"decide", func(s split) time.Duration { return s.decide }},
		{"publish", func(s split) time.Duration { return s.publish }},
		{"decide + publish", func(s split) time.Duration { return s.decide + s.publish }},
	}
	for _, p := range parts {
		fmt.Fprintf(&b, " %s: median | p99 |", p.name)
	}
	b.WriteString("\n|---|---|---:|" + strings.Repeat("---:|", 2*len(parts)) + "\n")
	for _, x := range append(rows, all) {
		if len(x.all) == 0 {
			continue
		}
		fmt.Fprintf(&b, "| %s | %s | %d |", x.what, x.etcd, len(x.all))
		for _, p := range parts {
			var of []time.Duration
			for _, s := range x.all {
				of = append(of, p.of(s))
			}
			slices.SortFunc(of, cmp.Compare)
			fmt.Fprintf(&b, " %s | %s |", tenths(of[(len(of)-1)/2]), tenths(of[(99*len(of)+99)/100-1]))
		}
		b.WriteString("\n")
	}
	b.WriteString(`
- detect: the fault → the deciding opinion at its agent: the one that makes the quorum, the second of three regions'. It is made of two checks of two agents and the wait for them.
- decide: → the verdict at the controller that the nameserver follows, the way there included.
- publish: → the nameserver's first other answer.
`)
	return b.String()
}

func tenths(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/1e6) }

// loads are the machine's load averages.
func loads() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}
