package e2e

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// lost cuts a region off and kills all that is in it: nobody outside hears of
// it, not even the end of a connection.
func (c *cluster) lost(region int) (back func()) {
	c.t.Helper()
	in, out := around(region, everywhere()...)
	c.shape.world.cut(append(in, out...)...)
	again := c.killed(c.in(region)...)
	return func() {
		c.shape.world.heal()
		again()
	}
}

func loseWhole(c *cluster, f *fault) { loseRegion(c, f, c.lost) }

// others are the nameservers that are not in a region.
func (c *cluster) others(region int) []*node {
	return slices.DeleteFunc(slices.Clone(c.nameservers), func(n *node) bool { return n.region == region })
}

// from asks a nameserver from within its region what a client is answered.
func (c *cluster) from(region int, client string) string {
	c.t.Helper()
	out, err := c.shape.world.in(region, "dig", "@"+c.host(region), "-p", fmt.Sprint(nameserverDNS), "+tries=2", "+time=2", "+nocookie", "+short", "+subnet="+client, steered).CombinedOutput()
	if err != nil {
		c.t.Errorf("dig in %s: %v\n%s", clusterRegions[region].name, err, out)
	}
	return strings.TrimSpace(string(out))
}

// cutOff cuts a region off from everything while all in it goes on.
func cutOff(c *cluster, f *fault) {
	region := c.controllers[c.popular()].region
	s, here := c.sampleOutside(region)
	began := time.Now()
	in, out := around(region, everywhere()...)
	c.shape.world.cut(append(in, out...)...)
	there := c.withoutRegion(f, s, region, began)
	for i, r := range clusterRegions[:c.regions()] {
		if got := c.from(region, r.client); got != c.host(i) {
			c.t.Errorf("inside, a client of %s is answered %q, want %s as before", r.name, got, c.host(i))
		}
	}
	c.shape.world.heal()
	s.until("the region to be back", here)
	c.settled()
	asked := s.asked()
	s.only(here, there, here)
	f.saw("inside all answers as before; there again once it is back; %d questions, all answered", asked)
}

func cutFromOthers(c *cluster, f *fault) { partRegion(c, f, true, true) }
func nothingIn(c *cluster, f *fault)     { partRegion(c, f, true, false) }
func nothingOut(c *cluster, f *fault)    { partRegion(c, f, false, true) }

// partRegion cuts paths between a region and the others. Its clients, those of
// the others and we reach everything.
func partRegion(c *cluster, f *fault, cutIn, cutOut bool) {
	region := c.controllers[c.popular()].region
	elsewhere := c.away(region)
	others, here := c.sampleOutside(region)
	own := c.sample(region, c.nameservers[region])
	unconcerned := c.sample(elsewhere, c.nameservers...)

	began := time.Now()
	in, out := around(region, regionNumbers()...)
	if cutIn {
		c.shape.world.cut(in...)
	}
	if cutOut {
		c.shape.world.cut(out...)
	}
	there := others.leave(here)
	f.splits = c.splits(others, region, began, there)
	time.Sleep(watchFor)
	healed := time.Now()
	c.shape.world.heal()
	others.until("the region to be back", here)
	c.settled()
	asked := others.asked() + own.asked() + unconcerned.asked()
	others.only(here, there, here)
	own.stop()
	later := "never"
	if changed, ok := own.of[0].first(there, began); ok {
		// It is back before the others' checks have passed: until then it
		// follows the verdict of the quorum.
		own.only(here, there, here)
		back, _ := own.of[0].first(here, changed)
		later = fmt.Sprintf("only when it was back, for %v, until the others' checks had passed", back.Sub(changed).Round(10*time.Millisecond))
		if changed.Before(healed) {
			c.t.Errorf("%s changed %v before it was back", own.of[0].ns.name, healed.Sub(changed))
		}
	} else {
		own.only(here)
	}
	unconcerned.only(c.host(elsewhere))
	f.saw("%s: the other nameservers failed over once and back, its own %s; %d questions, all answered", clusterRegions[region].name, later, asked)
}

// someLoss makes the paths between a region and the others bad.
func someLoss(c *cluster, f *fault) {
	const lasts, percent = 12 * time.Second, 30
	region := c.controllers[c.popular()].region
	all := map[int]*sampler{}
	for client := range c.regions() {
		all[client] = c.sample(client, c.nameservers...)
	}
	in, out := around(region, regionNumbers()...)
	c.shape.world.lose(percent, append(in, out...)...)
	time.Sleep(lasts)
	c.shape.world.heal()
	all[region].until("the region to be back", c.host(region))
	c.settled()
	asked, most := 0, 0
	for client, s := range all {
		asked += s.asked()
		if client != region {
			s.only(c.host(client))
			continue
		}
		s.stop()
		for _, o := range s.of {
			p := o.path()
			most = max(most, len(p)-1)
			if slices.Contains(p, silence) || slices.ContainsFunc(p, func(a string) bool { return !strings.HasPrefix(a, c.net) }) {
				c.t.Errorf("%s said %v", o.ns.name, p)
			}
		}
	}
	// Each change takes at least two checks.
	if limit := int(lasts/(fall*interval)) + 2; most > limit {
		c.t.Errorf("%d changes in %v, want at most %d", most, lasts, limit)
	}
	f.saw("for %v: clients of %s had at most %d changes, those of other regions none; %d questions, all answered", lasts, clusterRegions[region].name, most, asked)
}

// killAgents kills one agent after the other.
func killAgents(c *cluster, f *fault) {
	all := c.everybody()
	for _, n := range c.agents {
		n.kill()
		time.Sleep(watchFor)
	}
	status := c.run(0, "status", "--controller", c.controller(0))
	if !strings.Contains(status, "not connected") {
		c.t.Errorf("status says nothing of the agents:\n%s", status)
	}
	for _, n := range c.agents {
		n.start()
		time.Sleep(watchFor / 4)
	}
	c.settled()
	f.saw("no answer changed, neither without agents nor when they were back; %d questions, all answered", c.unmoved(all))
}

// told waits until controllers tell of an event of the health plane.
func (c *cluster) told(kind string, after time.Time, controllers ...*node) {
	c.t.Helper()
	for _, n := range controllers {
		eventually(c.t, settleLimit, n.name+" to tell of "+kind, func() bool {
			_, ok := n.find(func(r record) bool { return r.at.After(after) && r.msg == "health event" && r.text("kind") == kind })
			return ok
		})
	}
}

// everybody samples what every nameserver answers to clients of each region.
func (c *cluster) everybody() (all []*sampler) {
	c.t.Helper()
	for client := range c.regions() {
		all = append(all, c.sample(client, c.nameservers...))
	}
	return all
}

// unmoved checks that everybody was answered by the nearest region throughout.
func (c *cluster) unmoved(all []*sampler) (asked int) {
	c.t.Helper()
	for client, s := range all {
		asked += s.asked()
		s.only(c.host(client))
	}
	return asked
}

// blindAgent breaks the path of an agent to all endpoints, and to nothing else.
func blindAgent(c *cluster, f *fault) {
	const region = 1
	all := c.everybody()
	began := time.Now()
	c.shape.world.blindfold(region)
	c.told("vantage-isolated", began, c.controllers...)
	took := time.Since(began)
	time.Sleep(watchFor)
	c.shape.world.heal()
	c.told("vantage-back", began, c.controllers...)
	c.settled()
	f.saw("every controller isolated it, told after %v; no answer changed, and none when it was back; %d questions, all answered", took.Round(100*time.Millisecond), c.unmoved(all))
}

// deafController lets a controller hear its own region's agent only: it is up
// and can decide nothing.
func deafController(c *cluster, f *fault) {
	const region, down = 2, 0
	// All follow it: there is no other for a moment.
	thaw := c.frozen(c.controllers[:region]...)
	eventually(c.t, settleLimit, "all to follow it", func() bool {
		return !slices.ContainsFunc(c.nameservers, func(n *node) bool { return c.followed(n, time.Now()) != region })
	})
	thaw()
	c.settled()
	s, here := c.sample(down, c.nameservers...), c.host(down)
	c.shape.world.deafen(region)
	began := time.Now()
	eventually(c.t, settleLimit, "nobody to follow it", func() bool {
		return !slices.ContainsFunc(c.nameservers, func(n *node) bool { return c.followed(n, time.Now()) == region })
	})
	left := time.Since(began)
	failed := c.fails(down, true)
	there := s.leave(here)
	f.splits = c.splits(s, down, failed, there)
	c.shape.world.heal()
	time.Sleep(watchFor)
	c.fails(down, false)
	s.until("the failback", here)
	asked := s.asked()
	s.only(here, there, here)
	f.saw("all nameservers had left it after %v, and failed over once; nothing old when it was reached again; %d questions, all answered", left.Round(100*time.Millisecond), asked)
}

// blindLastAgent leaves no other vantage that could contradict.
func blindLastAgent(c *cluster, f *fault) {
	const dead, blind = 0, 1
	all := c.everybody()
	c.agents[dead].kill()
	time.Sleep(watchFor)
	began := time.Now()
	c.shape.world.blindfold(blind)
	c.told("guard-held", began, c.controllers...)
	took := time.Since(began)
	time.Sleep(watchFor)
	c.shape.world.heal()
	c.agents[dead].start()
	c.settled()
	asked, moved := 0, 0
	for client, s := range all {
		asked += s.asked()
		s.stop()
		for _, o := range s.of {
			switch here, there := c.host(client), c.host(1-client); {
			case slices.Equal(o.path(), []string{here}):
			case slices.Equal(o.path(), []string{here, there, here}):
				moved |= 1 << client
			default:
				c.t.Errorf("%s said %v", o.ns.name, o.path())
			}
		}
	}
	if moved == 3 {
		c.t.Errorf("clients of both regions were answered otherwise")
	}
	which := "nobody's answers changed"
	if moved != 0 {
		which = "only answers to clients of " + clusterRegions[moved-1].name + " changed, once and back"
	}
	f.saw("the guard held at every controller, told after %v; %s; %d questions, all answered", took.Round(100*time.Millisecond), which, asked)
}

// failAll makes every endpoint fail.
func failAll(c *cluster, f *fault) {
	all := c.everybody()
	for region := range c.regions() {
		c.fails(region, true)
	}
	for i, n := range c.controllers {
		eventually(c.t, settleLimit, "no endpoint that is healthy at "+n.name, func() bool {
			return strings.Count(c.run(0, "status", "--controller", c.controller(i)), "all unhealthy") == c.regions()
		})
	}
	for client, s := range all {
		s.until("as if all were healthy", c.host(client))
	}
	time.Sleep(watchFor / 2)
	for region := range c.regions() {
		c.fails(region, false)
	}
	c.settled()
	asked := 0
	for client, s := range all {
		s.until("the nearest", c.host(client))
		asked += s.asked()
		s.stop()
		for _, o := range s.of {
			if slices.ContainsFunc(o.path(), func(a string) bool { return !strings.HasPrefix(a, c.net) }) {
				c.t.Errorf("%s said %v", o.ns.name, o.path())
			}
		}
	}
	f.saw("the nearest was answered as before, on the way there and back nothing but endpoints; %d questions, all answered", asked)
}

// killControllers kills all controllers; an endpoint dies meanwhile.
func killControllers(c *cluster, f *fault) {
	const down = 0
	s, here := c.sample(down, c.nameservers...), c.host(down)
	back := c.killed(c.controllers...)
	c.fails(down, true)
	time.Sleep(watchFor)
	for _, n := range c.nameservers {
		if !c.ready(n.region, nameserverHTTP) {
			c.t.Errorf("%s withdrew because its controllers are away", n.name)
		}
	}
	s.stop()
	asked := s.asked()
	s.only(here)
	s = c.sample(down, c.nameservers...)
	began := time.Now()
	back()
	there := s.leave(here)
	took := time.Since(began)
	c.fails(down, false)
	s.until("the failback", here)
	asked += s.asked()
	s.only(here, there, here)
	f.saw("nothing changed without them; the failover came %v after their start; %d questions, all answered", took.Round(10*time.Millisecond), asked)
}
