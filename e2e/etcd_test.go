package e2e

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// member is etcd's leader, or one that is not.
func (c *cluster) member(leader bool) *node {
	c.t.Helper()
	var found *node
	eventually(c.t, settleLimit, "etcd to have a leader", func() bool {
		at := slices.IndexFunc(c.etcd, func(n *node) bool {
			resp, err := c.etcdMetrics.Get("https://" + c.at(n.region, etcdPort) + "/metrics")
			if err != nil {
				return false
			}
			defer resp.Body.Close()
			text, _ := io.ReadAll(resp.Body)
			return bytes.Contains(text, []byte("\netcd_server_is_leader 1\n"))
		})
		if at < 0 {
			return false
		}
		if !leader {
			at = (at + 1) % len(c.etcd)
		}
		found = c.etcd[at]
		return true
	})
	return found
}

// loseEtcd loses one member of etcd; a drain and an undrain must be possible.
func loseEtcd(c *cluster, f *fault, leader bool, lose func(...*node) func()) {
	lost := c.member(leader)
	region := c.away(lost.region)
	s, here := c.sample(region, c.nameservers...), c.host(region)
	back := lose(lost)
	began := time.Now()
	tries, took := c.writes(lost.region, "region", "drain", clusterRegions[region].name, "--reason", "etcd lost a member")
	there := s.leave(here)
	served := time.Since(began)
	c.digs("drained", region, there)
	back()
	c.writes(lost.region, "region", "undrain", clusterRegions[region].name, "--reason", "etcd has three again", "--wait", "20s")
	s.until("the undrain", here)
	c.settled()
	s.only(here, there, here)
	f.saw("a drain was accepted after %v (tries: %d) and answered by everywhere after %v; an undrain too",
		took.Round(10*time.Millisecond), tries, served.Round(10*time.Millisecond))
}

// loseQuorum leaves one member of etcd.
func loseQuorum(c *cluster, f *fault) {
	const down, drained = 0, 2
	s, here := c.sample(down, c.nameservers...), c.host(down)
	back := c.killed(c.member(true), c.member(false))
	failed := c.fails(down, true)
	there := s.leave(here)
	f.splits = c.splits(s, down, failed, there)
	c.digs("without quorum", down, there)

	var slowest atomic.Int64
	var writers sync.WaitGroup
	for _, args := range [][]string{
		{"region", "drain", clusterRegions[drained].name, "--reason", "cannot be"},
		{"apply", "-f", write(c.t, "changed.yaml", strings.ReplaceAll(c.configuration(), "ttl: 5s", "ttl: 6s"))},
	} {
		writers.Go(func() {
			began := time.Now()
			code, out, err := runTry(c.tls(admin, append(args, "--controller", c.controller(1))...)...)
			slowest.Store(max(slowest.Load(), int64(time.Since(began))))
			if code != 1 || err != nil || !strings.Contains(out, "etcd") {
				c.t.Errorf("fairlead %s without a quorum: exit %d, want 1 and a word on etcd (%v):\n%s", args[0], code, err, out)
			}
		})
	}
	writers.Wait()
	eventually(c.t, settleLimit, "status to tell", func() bool {
		return strings.Contains(c.run(0, "status", "--controller", c.controller(1)), "ETCD DOES NOT ANSWER")
	})
	back()
	tries, took := c.writes(1, "region", "drain", clusterRegions[drained].name, "--reason", "etcd is back", "--wait", "20s")
	for i := range c.nameservers {
		if got := c.askAt(i, steered, clusterRegions[drained].client); got == c.host(drained) {
			c.t.Errorf("ns-%d answers %s, which is drained", i+1, got)
		}
	}
	s.only(here, there)
	f.saw("failed over; drain and apply were refused after at most %v, naming etcd; with quorum back a drain was served after %v (tries: %d)",
		time.Duration(slowest.Load()).Round(10*time.Millisecond), took.Round(10*time.Millisecond), tries)
}

// killControlPlane kills all controllers and etcd, with a region drained and
// an endpoint down, and then a nameserver.
func killControlPlane(c *cluster, f *fault) {
	const down, drained = 0, 2
	c.run(0, "region", "drain", clusterRegions[drained].name, "--reason", "maintenance", "--wait", "20s", "--controller", c.controller(0))
	s := c.sample(down, c.nameservers...)
	c.fails(down, true)
	s.leave(c.host(down))
	s.stop()
	left := c.host(1)
	for region := range clusterRegions {
		c.digs("before", region, left)
	}
	time.Sleep(1500 * time.Millisecond) // the verdicts are on disk within a second

	s = c.sample(down, c.nameservers...)
	back := c.killed(slices.Concat(c.etcd, c.controllers)...)
	time.Sleep(watchFor)
	s.only(left)
	asked := s.asked()

	c.nameservers[0].kill()
	began := time.Now()
	c.nameservers[0].start()
	eventually(c.t, settleLimit, "answers from disk", func() bool {
		out, err := digAt(c.host(0), nameserverDNS, "+short", "+subnet="+clusterRegions[down].client, steered)
		return err == nil && strings.TrimSpace(out) == left
	})
	up := time.Since(began)
	for region := range clusterRegions {
		c.digs("from disk", region, left)
	}
	for _, n := range c.nameservers {
		if !c.ready(n.region, nameserverHTTP) {
			c.t.Errorf("%s withdrew because its controllers are away", n.name)
		}
	}
	s = c.sample(down, c.nameservers...)
	back()
	eventually(c.t, settleLimit, "the controllers", func() bool {
		return !slices.ContainsFunc(c.controllers, func(n *node) bool { return !c.ready(n.region, controllerHTTP) })
	})
	time.Sleep(watchFor)
	if got := s.of[0].path(); !slices.Equal(got, []string{left}) {
		c.t.Errorf("when controllers and etcd were back, ns-1 said %v", got)
	}
	c.fails(down, false)
	s.until("the failback", c.host(down))
	s.only(left, c.host(down))
	f.saw("%d questions, all answered as before; %s restarted answers the same from disk after %v, drained and unhealthy kept out; no change when all were back, failback later",
		asked, c.nameservers[0].name, up.Round(10*time.Millisecond))
}
