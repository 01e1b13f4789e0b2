package e2e

import (
	"slices"
	"strings"
	"time"
)

// watchFor is for how long answers are watched that must not change: longer
// than a silent agent's opinions count and than a paused controller needs to
// hear all agents again.
const watchFor = 4 * time.Second

// killed and frozen are ways to lose members at once; both return a way to get
// them back.
func (c *cluster) killed(nodes ...*node) (back func()) {
	for _, n := range nodes {
		_ = n.current().cmd.Process.Kill() // all, before waiting for any
	}
	for _, n := range nodes {
		n.kill()
	}
	return func() {
		for _, n := range nodes {
			n.start()
		}
	}
}

func (c *cluster) frozen(nodes ...*node) (back func()) {
	c.t.Helper()
	for _, n := range nodes {
		n.freeze(c.t)
	}
	return func() {
		for _, n := range nodes {
			n.thaw(c.t)
		}
	}
}

// everything is all members.
func (c *cluster) everything() []*node {
	return slices.Concat(c.etcd, c.controllers, c.nameservers, c.agents, c.services)
}

// in is all members in a region.
func (c *cluster) in(region int) []*node {
	return slices.DeleteFunc(c.everything(), func(n *node) bool { return n.region != region })
}

// popular is the controller that most nameservers follow.
func (c *cluster) popular() int {
	votes := make([]int, len(c.controllers))
	for _, ns := range c.nameservers {
		if i := c.followed(ns, time.Now()); i >= 0 {
			votes[i]++
		}
	}
	return slices.Index(votes, slices.Max(votes))
}

// away is a region that a controller is not in.
func (c *cluster) away(controller int) int {
	return (c.controllers[controller].region + 1) % c.regions()
}

// changedOver counts the nameservers that followed a controller at a time and
// do not now.
func (c *cluster) changedOver(controller int, at time.Time) (of, did int) {
	for _, ns := range c.nameservers {
		if c.followed(ns, at) != controller {
			continue
		}
		of++
		if c.followed(ns, time.Now()) != controller {
			did++
		}
	}
	return of, did
}

func killController(c *cluster, f *fault)   { loseController(c, f, c.killed) }
func freezeController(c *cluster, f *fault) { loseController(c, f, c.frozen) }

// loseController loses a controller that is followed and an endpoint at once,
// and gets the controller back while the endpoint is still down.
func loseController(c *cluster, f *fault, lose func(...*node) func()) {
	lost := c.popular()
	region := c.away(lost)
	s := c.sample(region, c.nameservers...)
	here := c.host(region)

	began := time.Now()
	back := lose(c.controllers[lost])
	failed := c.fails(region, true)
	there := s.leave(here)
	f.splits = c.splits(s, region, failed, there)
	eventually(c.t, settleLimit, "nameservers to leave the controller", func() bool { of, did := c.changedOver(lost, began); return did == of })
	of, _ := c.changedOver(lost, began)

	back()
	eventually(c.t, settleLimit, "the controller to be back", func() bool { return c.ready(c.controllers[lost].region, controllerHTTP) })
	time.Sleep(watchFor)
	asked := s.asked()
	s.only(here, there)
	f.saw("%d of %d nameservers changed over; all failed over once and stayed; %d questions, all answered", of, len(c.nameservers), asked)
}

// lagController stops a controller that is followed, drains through another,
// and lets it go on: it has an older generation then than its nameservers. It
// does not notice a short stop, and its nameservers do not leave it; of a long
// one it knows that it has stood still.
func lagController(c *cluster, f *fault) {
	asked := 0
	for _, stop := range []time.Duration{0, 3 * time.Second} {
		lagging := c.popular()
		other := (lagging + 1) % len(c.controllers)
		region := c.away(lagging)
		s, here := c.sample(region, c.nameservers...), c.host(region)
		change := func(verb string) {
			c.run(0, "region", verb, clusterRegions[region].name, "--reason", "a lagging controller", "--wait", "20s", "--controller", c.controller(other))
		}

		thaw := c.frozen(c.controllers[lagging])
		change("drain")
		there := s.leave(here)
		time.Sleep(stop)
		thawed := time.Now()
		thaw()
		eventually(c.t, settleLimit, "the controller to notice that it was stopped", func() bool {
			_, ok := c.controllers[lagging].find(func(r record) bool { return r.at.After(thawed) && strings.Contains(r.msg, "stood still") })
			return ok || stop == 0
		})
		eventually(c.t, settleLimit, "the controller to know of the drain", func() bool {
			return strings.Contains(c.run(0, "override", "list", "--controller", c.controller(lagging)), "a lagging controller")
		})
		time.Sleep(max(stop, watchFor/2))
		c.digs("after it went on", region, there)
		asked += s.asked()
		s.only(here, there)
		change("undrain")
		c.digs("undrained", region, here)
	}
	f.saw("stopped shortly, and for 3 s: all 3 drained once and stayed so; %d questions, all answered", asked)
}

// killRegion kills all that is in the region of the controller that is
// followed most: service, agent, controller, nameserver and etcd member.
func killRegion(c *cluster, f *fault) {
	loseRegion(c, f, func(region int) func() { return c.killed(c.in(region)...) })
}

// loseRegion loses the region of the controller that is followed most.
func loseRegion(c *cluster, f *fault, lose func(region int) (back func())) {
	region := c.controllers[c.popular()].region
	s, here := c.sampleOutside(region)
	began := time.Now()
	back := lose(region)
	there := c.withoutRegion(f, s, region, began)
	back()
	s.until("the region to be back", here)
	c.settled()
	asked := s.asked()
	s.only(here, there, here)
	f.saw("there again once it is back; %d questions, all answered", asked)
}

// freezeRegion stops all that is in a region, without its knowing, and lets it
// go on: its controller and agent believe then what was true before, but its
// service fails.
func freezeRegion(c *cluster, f *fault) {
	region := c.controllers[c.popular()].region
	s, here := c.sampleOutside(region)
	failed := c.fails(region, true)
	thaw := c.frozen(c.in(region)...)
	there := c.withoutRegion(f, s, region, failed)
	thaw()
	for _, n := range []struct{ region, port int }{{region, controllerHTTP}, {region, nameserverHTTP}} {
		eventually(c.t, settleLimit, "the region to be back", func() bool { return c.ready(n.region, n.port) })
	}
	time.Sleep(watchFor)
	asked := s.asked()
	s.only(here, there)
	c.digs("after the region is back", region, there)
	f.saw("no change when it went on; %d questions, all answered", asked)
}

// sampleOutside samples the nameservers that are not in a region, for its
// clients.
func (c *cluster) sampleOutside(region int) (s *sampler, here string) {
	return c.sample(region, c.others(region)...), c.host(region)
}

// withoutRegion checks that all goes on without a region that was lost, writes
// too.
func (c *cluster) withoutRegion(f *fault, s *sampler, region int, failed time.Time) (there string) {
	c.t.Helper()
	here := c.host(region)
	there = s.leave(here)
	f.splits = c.splits(s, region, failed, there)
	for _, o := range s.of {
		for _, client := range clusterRegions[:c.regions()] {
			if got := c.askAt(o.ns.region, steered, client.client); got == here || got == "" {
				c.t.Errorf("%s: dig says %q for a client of %s", o.ns.name, got, client.name)
			}
		}
	}
	time.Sleep(watchFor) // the region's agent counts as silent now
	left := slices.IndexFunc(c.controllers, func(n *node) bool { return n.region != region })
	tries, took := c.writes(left, "region", "drain", clusterRegions[region].name, "--reason", "it is lost")
	c.writes(left, "region", "undrain", clusterRegions[region].name, "--reason", "it is lost")
	f.saw("%s lost: the other 2 nameservers failed over once; a drain was accepted after %v (tries: %d)", clusterRegions[region].name, took.Round(10*time.Millisecond), tries)
	return there
}

// writes runs a command that changes something at a controller until it
// succeeds, and returns how often it was tried and how long that took.
func (c *cluster) writes(controller int, args ...string) (tries int, took time.Duration) {
	c.t.Helper()
	began := time.Now()
	for last := ""; ; {
		code, out, err := runTry(c.tls(admin, append(args, "--controller", c.controller(controller))...)...)
		if tries++; code == 0 && err == nil {
			return tries, time.Since(began)
		}
		if last = out; time.Since(began) > settleLimit {
			c.t.Fatalf("fairlead %s: not within %v:\n%s", strings.Join(args, " "), settleLimit, last)
		}
	}
}

// digs checks with dig what every nameserver answers to a region's clients.
func (c *cluster) digs(when string, region int, want string) {
	c.t.Helper()
	for i := range c.nameservers {
		if got := c.askAt(i, steered, clusterRegions[region].client); got != want {
			c.t.Errorf("%s: ns-%d answers clients of %s %q, want %s", when, i+1, clusterRegions[region].name, got, want)
		}
	}
}

// changeUnderDrain changes the configuration while a region is drained, and
// rolls it back to a generation from before the drain.
func changeUnderDrain(c *cluster, f *fault) {
	const region = 0
	s, here := c.sample(region, c.nameservers...), c.host(region)
	at := func(args ...string) string { return c.run(0, append(args, "--controller", c.controller(1))...) }
	before, _, _ := strings.Cut(at("config", "history", "-o", "name"), "\n")
	at("region", "drain", clusterRegions[region].name, "--reason", "maintenance", "--wait", "20s")
	there := s.leave(here)
	late := func(want string) {
		c.t.Helper()
		for i := range c.nameservers {
			if got := c.askAt(i, "late.example.test", clusterRegions[region].client); got != want {
				c.t.Errorf("ns-%d answers late.example.test %q, want %q", i+1, got, want)
			}
		}
	}
	late("")
	changed := strings.Replace(c.configuration(), "    mail     A ", "    late     A      192.0.2.99\n    mail     A ", 1)
	at("apply", "-f", write(c.t, "changed.yaml", changed), "--wait", "20s")
	late("192.0.2.99")
	c.digs("changed", region, there)
	at("config", "rollback", before, "--reason", "the drain stays", "--wait", "20s")
	late("")
	time.Sleep(watchFor)
	c.digs("rolled back", region, there)
	if out := at("override", "list"); !strings.Contains(out, "maintenance") {
		c.t.Errorf("the drain is not listed:\n%s", out)
	}
	asked := s.asked()
	s.only(here, there)
	f.saw("applied, and rolled back to a generation from before the drain: drained throughout; %d questions, all answered", asked)
}
