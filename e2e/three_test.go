package e2e

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Three of everything, under the faults that the design speaks of. The times
// are measured while nothing else runs; then an installation with three
// controllers and one with two have their faults side by side, since both
// mostly wait.
func TestThreeOfEverything(t *testing.T) {
	x, two := &faultTable{began: time.Now()}, &faultTable{}
	defer func() {
		x.rows = append(x.rows, two.rows...)
		x.write(t)
	}()
	begun := &fault{what: "start of agents, then nameservers, controllers, etcd and services", expected: "all find each other"}
	x.rows = append(x.rows, begun)
	c := newCluster(t, shape{etcd: 3, controllers: 3, nameservers: 3, backwards: true})
	begun.saw("all well; the configuration was applied and is served")
	t.Run("failovers", func(t *testing.T) { failovers(c.on(t), x) })

	t.Run("faults", func(t *testing.T) {
		t.Run("three controllers", func(t *testing.T) {
			t.Parallel()
			x.fault(t, c, "kill -9 of a followed controller", "another's verdicts are answered by; nothing changes when it is back", killController)
			x.fault(t, c, "SIGSTOP, SIGCONT of a followed controller", "another's verdicts are answered by; nothing old is applied", freezeController)
			x.fault(t, c, "a lagging controller (stopped, a drain made, continued)", "the drain stays", lagController)
			x.fault(t, c, "configuration changed and rolled back under a drain", "the drain stays", changeUnderDrain)
			x.fault(t, c, "kill -9 of etcd's leader", "drains go on", func(c *cluster, f *fault) { loseEtcd(c, f, true, c.killed) })
			x.fault(t, c, "kill -9 of a follower in etcd", "drains go on", func(c *cluster, f *fault) { loseEtcd(c, f, false, c.killed) })
			x.fault(t, c, "SIGSTOP of etcd's leader", "drains go on", func(c *cluster, f *fault) { loseEtcd(c, f, true, c.frozen) })
			x.fault(t, c, "SIGSTOP of a follower in etcd", "drains go on", func(c *cluster, f *fault) { loseEtcd(c, f, false, c.frozen) })
			x.fault(t, c, "etcd without quorum", "failover goes on; writes fail, saying why; drains work when it is back", loseQuorum)
			x.fault(t, c, "kill -9 of all of a region with a followed controller", "the other nameservers answer without its endpoint", killRegion)
			x.fault(t, c, "SIGSTOP, SIGCONT of all of a region with a followed controller", "the same; nothing old is applied", freezeRegion)
			x.fault(t, c, "kill -9 of all controllers and etcd; a nameserver killed and started", "answers go on, the same from disk", killControlPlane)
			x.fault(t, c, "foreign, expired and others' certificates", "refused, by both sides, saying why; answers go on", wrongCertificates)
		})
		t.Run("two controllers", func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, shape{etcd: 3, controllers: 2, nameservers: 3})
			two.fault(t, c, "of two controllers, kill -9 of a followed one", "the other's verdicts are answered by; nothing changes when it is back", killController)
			two.fault(t, c, "of two controllers, SIGSTOP, SIGCONT of a followed one", "the other's verdicts are answered by; nothing old is applied", freezeController)
			two.fault(t, c, "of two controllers, one lags (stopped, a drain made, continued)", "the drain stays", lagController)
			two.fault(t, c, "with two controllers, kill -9 of all of a region with a followed one", "the other nameservers answer without its endpoint", killRegion)
		})
	})
}

// failovers measures how long the parts of a failover take.
func failovers(c *cluster, x *faultTable) {
	for round := range 10 {
		region := round % len(clusterRegions)
		c.settled()
		s := c.sample(region, c.nameservers...)
		here := s.of[0].last()
		if here != c.host(region) {
			c.t.Fatalf("clients of %s are answered %s", clusterRegions[region].name, here)
		}
		time.Sleep(rand.N(interval)) // anywhere between two checks
		failed := c.fails(region, true)
		there := s.leave(here)
		x.failovers = append(x.failovers, c.splits(s, region, failed, there)...)
		c.fails(region, false)
		s.until("the failback", here)
		s.only(here, there, here)
	}
}

// restore mends what a fault has left.
func (c *cluster) restore() {
	c.t.Helper()
	if c.shape.world != nil {
		c.shape.world.heal()
	}
	for _, n := range c.everything() {
		if n.running() {
			n.thaw(c.t)
		} else {
			n.start()
		}
	}
	for region := range c.regions() {
		eventually(c.t, settleLimit, "a service to recover", func() bool { return c.tryFail(region, false) == nil })
	}
	eventually(c.t, settleLimit, "no drain", func() bool {
		code, out, err := runTry(c.tls(admin, "override", "list", "-o", "name", "--controller", c.allControllers())...)
		if code != 0 || err != nil {
			return false
		}
		if out == "" {
			return true
		}
		for _, r := range clusterRegions[:c.regions()] {
			_, _, _ = runTry(c.tls(admin, "region", "undrain", r.name, "--reason", "restore", "--controller", c.allControllers())...)
		}
		return false
	})
	c.settled()
}
