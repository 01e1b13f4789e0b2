package e2e

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// expireWhileRunning gives a nameserver a certificate that expires in a moment.
func expireWhileRunning(c *cluster, f *fault) {
	const i, down = 2, 0
	const remains = 12 * time.Second
	ns := c.nameservers[i]
	renew := func() {
		c.issueOne(c.pki, "nameserver", ns.name, "--region", clusterRegions[i].name, "--host", c.host(i), "--force")
	}
	c.t.Cleanup(renew)
	began := time.Now()
	saying := func(what string) time.Time {
		c.t.Helper()
		var at time.Time
		eventually(c.t, settleLimit, ns.name+" to say: "+what, func() bool {
			r, ok := ns.find(func(r record) bool { return r.at.After(began) && strings.HasPrefix(r.msg, what) })
			at = r.at
			return ok
		})
		return at
	}
	expireIn(c.t, c.pki, ns.name, remains)
	until := began.Add(remains)
	warned := saying("certificate expires soon")
	expired := saying("certificate has expired")
	if !warned.Before(until) {
		c.t.Errorf("warned at %v, of what had expired at %v", warned, until)
	}

	// Whoever is connected stays so; nobody gets in anew.
	others, here := c.sample(down, slices.Delete(slices.Clone(c.nameservers), i, i+1)...), c.host(down)
	own := c.sample(down, ns)
	c.killed(c.controllers...)()
	saying("no controller to follow")
	c.fails(down, true)
	there := others.leave(here)
	time.Sleep(watchFor / 2)
	if at := c.followed(ns, time.Now()); at >= 0 {
		c.t.Errorf("%s follows %s in spite of its certificate", ns.name, c.controllers[at].name)
	}
	if p := own.of[0].path(); !slices.Equal(p, []string{here}) {
		c.t.Errorf("%s said %v, want %s throughout", ns.name, p, here)
	}
	if out := c.run(0, "status", "-o", "name", "--controller", c.controller(0)); !strings.Contains(out, "nameservers/"+ns.name) {
		c.t.Errorf("status does not name %s:\n%s", ns.name, out)
	}
	renew()
	renewed := time.Now()
	own.until("the new certificate", there)
	back := time.Since(renewed)
	c.fails(down, false)
	others.until("the failback", here)
	own.until("the failback", here)
	asked := own.asked() + others.asked()
	own.only(here, there, here)
	others.only(here, there, here)
	f.saw("warned of %v before and told of %v after it; no controller let it in then, answers stayed as they were; it failed over %v after a new one was written; %d questions, all answered",
		until.Sub(warned).Round(100*time.Millisecond), expired.Sub(until).Round(100*time.Millisecond), back.Round(100*time.Millisecond), asked)
}

// expireOthers gives a controller and an agent certificates that expire in a
// moment, and makes them connect anew after it.
func expireOthers(c *cluster, f *fault) {
	const i, down = 2, 0
	const remains = 8 * time.Second
	controller, agent := c.controllers[i], c.agents[i]
	renew := func() {
		c.issueOne(c.pki, "controller", controller.name, "--host", c.host(i), "--force")
		c.issueOne(c.pki, "agent", agent.name, "--region", clusterRegions[i].name, "--host", c.host(i), "--force")
	}
	c.t.Cleanup(renew)
	s, here := c.sample(down, c.nameservers...), c.host(down)
	began := time.Now()
	for _, n := range []*node{controller, agent} {
		expireIn(c.t, c.pki, n.name, remains)
	}
	for _, n := range []*node{controller, agent} {
		eventually(c.t, settleLimit, n.name+" to tell that its certificate has expired", func() bool {
			_, ok := n.find(func(r record) bool {
				return r.at.After(began) && strings.HasPrefix(r.msg, "certificate has expired") && r.text("use") != "etcd"
			})
			return ok
		})
	}
	// All connections out of their region break, and none of theirs comes back.
	in, out := around(i, regionNumbers()...)
	c.shape.world.cut(append(in, out...)...)
	time.Sleep(watchFor)
	c.shape.world.heal()
	for j := range c.controllers {
		if j == i {
			continue
		}
		eventually(c.t, settleLimit, "the agent to be missed", func() bool {
			_, out, _ := runTry(c.tls(admin, "status", "-o", "name", "--controller", c.controller(j))...)
			return strings.Contains(out, "agents/"+agent.name)
		})
	}
	c.fails(down, true)
	there := s.leave(here)
	for _, ns := range c.nameservers[:i] {
		if at := c.followed(ns, time.Now()); at < 0 || at == i {
			c.t.Errorf("%s follows controller %d", ns.name, at+1)
		}
	}
	c.fails(down, false)
	s.until("the failback", here)
	renew()
	renewed := time.Now()
	c.settled()
	took := time.Since(renewed)
	asked := s.asked()
	s.only(here, there, here)
	f.saw("the others' controllers let neither in; a failover went on without them; well again %v after new ones were written; %d questions, all answered", took.Round(100*time.Millisecond), asked)
}

// flap makes an endpoint fail and recover again and again, under a check that
// damps.
func flap(c *cluster, f *fault) {
	const region, flips, recoveries, hold = 0, 8, 2, 15 * time.Second
	apply := func(text string) {
		c.t.Helper()
		c.run(0, "apply", "-f", write(c.t, "damped.yaml", text), "--wait", "20s", "--controller", c.controller(0))
	}
	plain := c.configuration()
	undo := func() { apply(plain) }
	c.t.Cleanup(undo)
	// A check of its own name: to its agents the endpoint has no past.
	apply(strings.NewReplacer("damping: {off: true}", fmt.Sprintf("damping: {recoveries: %d, hold: %v, maxHold: %v}", recoveries, hold, hold),
		"{name: web}", "{name: damped}", "healthCheck: web", "healthCheck: damped").Replace(plain))
	c.settled()
	s, here := c.sample(region, c.nameservers...), c.host(region)
	elsewhere := c.away(region)
	others := c.sample(elsewhere, c.nameservers...)
	for range flips {
		c.fails(region, true)
		time.Sleep((fall + 1) * interval)
		c.fails(region, false)
		time.Sleep((fall + 1) * interval)
	}
	ended := time.Now()
	s.until("the end of the hold", here)
	held := time.Since(ended)
	most := 0
	s.stop()
	for _, o := range s.of {
		p := o.path()
		most = max(most, len(p)-1)
		// Away for each recovery that is free and once more, and back for each.
		if limit := 2*recoveries + 2; len(p)-1 > limit || slices.Contains(p, silence) {
			c.t.Errorf("%s said %v: want at most %d changes", o.ns.name, p, limit)
		}
	}
	asked := s.asked() + others.asked()
	others.only(c.host(elsewhere))
	f.saw("%d failures and recoveries in %v: at most %d changes at a nameserver; back %v after the last; %d questions, all answered",
		flips, 2*flips*(fall+1)*interval, most, held.Round(100*time.Millisecond), asked)
}

// passive is the name of a service with one region for everybody, and primary
// that region.
const passive, primary = "pay.example.test", 1

// loseOfTwo loses the primary region of two.
func loseOfTwo(c *cluster, f *fault) {
	const left = 0
	active, stays := c.sample(primary, c.nameservers[left]), c.sampleOf(passive, left, c.nameservers[left])
	here, there := c.host(primary), c.host(left)
	began := time.Now()
	back := c.lost(primary)
	if got := active.leave(here); got != there {
		c.t.Errorf("answers %s, want %s", got, there)
	}
	f.splits = c.splits(active, primary, began, there)
	time.Sleep(2 * watchFor)
	if said := c.run(0, "explain", passive, "--client", "193.0.6.1", "--controller", c.controller(left)); !strings.Contains(said, "not confirmed") {
		c.t.Errorf("explain does not say that the loss is not confirmed:\n%s", said)
	}
	back()
	active.until("the region to be back", here)
	c.settled()
	asked := active.asked() + stays.asked()
	active.only(here, there, here)
	stays.only(here)
	f.saw("active-active failed over once and back; active-passive stayed, and explain says why; %d questions, all answered", asked)
}

// partTwo cuts two regions off from each other.
func partTwo(c *cluster, f *fault) {
	var own, other, stay []*sampler
	for region := range c.regions() {
		ns := c.nameservers[region]
		own = append(own, c.sample(region, ns))
		other = append(other, c.sample(1-region, ns))
		stay = append(stay, c.sampleOf(passive, 0, ns))
	}
	c.shape.world.cut(path{0, 1}, path{1, 0})
	for region, s := range other {
		if got := s.leave(c.host(1 - region)); got != c.host(region) {
			c.t.Errorf("ns-%d answers clients of the other region %s, want %s", region+1, got, c.host(region))
		}
	}
	time.Sleep(2 * watchFor)
	c.shape.world.heal()
	for region, s := range other {
		s.until("the other region to be back", c.host(1-region))
	}
	c.settled()
	asked := 0
	for region := range c.regions() {
		asked += own[region].asked() + other[region].asked() + stay[region].asked()
		own[region].only(c.host(region))
		other[region].only(c.host(1-region), c.host(region), c.host(1-region))
		stay[region].only(c.host(primary))
	}
	f.saw("each side answered with what it sees, once and back; the primary stayed on both; %d questions, all answered", asked)
}

// loseWithWitness adds an agent in a third place, and loses the primary.
func loseWithWitness(c *cluster, f *fault) {
	const left, third = 0, 2
	c.witness = third
	agent := c.agentNode(third)
	c.agents = append(slices.Clone(c.agents), agent)
	c.t.Cleanup(func() {
		if agent.running() {
			agent.kill()
		}
		name := clusterRegions[third].name
		run(c.t, 0, c.tls(admin, "delete", "agent", "probe-"+name, "--reason", "the witness goes", "--controller", c.controller(left))...)
		run(c.t, 0, c.tls(admin, "delete", "region", name, "--reason", "the witness goes", "--controller", c.controller(left))...)
	})
	agent.start()
	c.run(0, "apply", "-f", write(c.t, "witness.yaml", c.configuration()), "--wait", "20s", "--controller", c.controller(left))
	c.settled()

	active, moves := c.sample(primary, c.nameservers[left]), c.sampleOf(passive, left, c.nameservers[left])
	here, there := c.host(primary), c.host(left)
	began := time.Now()
	back := c.lost(primary)
	for _, s := range []*sampler{active, moves} {
		if got := s.leave(here); got != there {
			c.t.Errorf("answers %s, want %s", got, there)
		}
	}
	f.splits = c.splits(moves, primary, began, there)
	time.Sleep(watchFor)
	back()
	for _, s := range []*sampler{active, moves} {
		s.until("the region to be back", here)
	}
	c.settled()
	asked := active.asked() + moves.asked()
	active.only(here, there, here)
	moves.only(here, there, here)
	f.saw("active-passive and active-active failed over once and back; %d questions, all answered", asked)
}
