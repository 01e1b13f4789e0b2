package simulation

import (
	"fmt"
	"slices"
	"testing/synctest"
	"time"

	"github.com/fairlead-dns/fairlead/controller/planner"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/health"
)

// lookEvery is how often the world is looked at between events.
const lookEvery = 500 * time.Millisecond

// begin starts everybody but the last controller, which joins late.
func (s *sim) begin(controllers, nameservers int) {
	for i := range controllers {
		s.addController(i)
	}
	for i := range nameservers {
		s.addNameserver(i)
	}
	s.publish(nil, nil)
	for _, c := range s.controllers[:len(s.controllers)-1] {
		s.startController(c)
	}
	for _, a := range s.agents {
		s.startAgent(a)
	}
	for _, n := range s.nameservers {
		s.startNameserver(n)
	}
	s.seen()
}

// play runs a schedule to its end.
func (s *sim) play(sched *schedule) {
	s.begin(sched.controllers, sched.nameservers)
	defer s.stop()
	s.converge(settling)
	s.failOver(sched.probe)
	s.pass(s.began.Add(settling))
	s.began = time.Now().Add(-settling)
	for _, e := range sched.events {
		s.pass(s.began.Add(e.at))
		if s.wrong.any() {
			return
		}
		s.note("-- %s", e.text)
		e.do(s)
		s.seen()
		synctest.Wait()
		s.check()
	}
	s.pass(s.began.Add(sched.quiet))
	if s.wrong.any() {
		return
	}
	s.healed()
	most := recovery
	if s.lost { // what its vantages said last stands for a while
		most += health.StandsFor
	}
	s.converge(most)
}

// failOver kills one endpoint while nothing else is wrong, and lets it come back:
// two checks and a little later everybody must know.
func (s *sim) failOver(target int) {
	if target < 0 || s.wrong.any() {
		return
	}
	for _, up := range []bool{false, true} {
		s.note("-- %s, all else being well: up %v", s.world.targets[target].id, up)
		s.setUp(up, s.world.targets[target].address)
		s.seen()
		s.converge(2*interval + timeout + 700*time.Millisecond)
	}
}

// release releases every latch that any nameserver knows.
func (s *sim) release() {
	trips := map[string]uint64{}
	for _, n := range s.nameservers {
		if n.running.Load() {
			for _, l := range parseLatches(n) {
				trips[l.Name()] = max(trips[l.Name()], l.Trip)
			}
		}
	}
	s.publish(func(o *pb.OverrideSet) {
		for name, trip := range trips {
			o.Releases = slices.DeleteFunc(o.Releases, func(r *pb.LatchRelease) bool { return r.GetLatch() == name })
			o.Releases = append(o.Releases, &pb.LatchRelease{Latch: name, Trip: trip, Author: "sim", Reason: "a drill"})
		}
		slices.SortFunc(o.Releases, func(a, b *pb.LatchRelease) int { return compare(a.GetLatch(), b.GetLatch()) })
	}, nil)
}

// pass lets time pass and looks at the world meanwhile.
func (s *sim) pass(until time.Time) {
	for {
		left := time.Until(until)
		if left <= 0 {
			return
		}
		time.Sleep(min(left, lookEvery))
		synctest.Wait()
		s.net.sweep(time.Now())
		s.check()
		if s.wrong.any() {
			return
		}
	}
}

// seen looks anew at what agents can see.
func (s *sim) seen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.causes.update(time.Now())
}

// stop ends every process.
func (s *sim) stop() {
	s.later.Wait()
	s.net.change(func() {
		for _, h := range s.net.hosts {
			h.paused = false
		}
	})
	for _, n := range s.nameservers {
		s.stopNameserver(n, false)
	}
	for _, a := range s.agents {
		s.stopAgent(a)
	}
	for _, c := range s.controllers {
		s.stopController(c)
	}
	s.net.mu.Lock()
	for c := range s.net.conns {
		c.end(errEnded, errEnded)
	}
	s.net.mu.Unlock()
}

// A process that is stopped while it is paused is not paused any more, and none
// starts in a region that is lost.

func (s *sim) startAgent(a *agent) {
	if !a.running.Load() && !a.host.dark {
		a.start()
	}
}

func (s *sim) stopAgent(a *agent) {
	if a.running.Load() {
		s.pause(&a.process, false)
		a.end()
	}
}

func (s *sim) startController(c *controller) {
	if !c.running.Load() && !c.host.dark {
		c.start()
	}
}

func (s *sim) stopController(c *controller) {
	if c.running.Load() {
		s.pause(&c.process, false)
		c.stop()
		s.forgetController(c)
	}
}

func (s *sim) startNameserver(n *nameserver) {
	if !n.running.Load() && !n.host.dark {
		n.start()
	}
}

func (s *sim) stopNameserver(n *nameserver, crash bool) {
	if !n.running.Load() {
		return
	}
	s.pause(&n.process, false)
	if crash {
		n.crash()
	} else {
		n.stop()
	}
	if s.broken.stopped != nil {
		s.broken.stopped(n)
	}
}

func (s *sim) cut(by int, cuts ...cut) {
	s.net.change(func() {
		for _, c := range cuts {
			if s.net.cuts[c] += by; s.net.cuts[c] <= 0 {
				delete(s.net.cuts, c)
			}
		}
	})
}

func (s *sim) slow(from, to string, by time.Duration) {
	s.net.change(func() { s.net.slow[[2]string{from, to}] = by })
}

func (s *sim) pause(p *process, on bool) {
	s.net.change(func() { p.host.paused = on && p.running.Load() })
}

func (s *sim) lie(a *agent, l lie) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.lie = l
}

func (s *sim) skew(a *agent, by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.skew = by
}

// in are the endpoints of a region.
func (s *sim) in(region string) (addresses []string) {
	for _, t := range s.world.targets {
		if t.region == region {
			addresses = append(addresses, t.address)
		}
	}
	return addresses
}

func (s *sim) setUp(up bool, addresses ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range addresses {
		s.endpoints[a].up = up
	}
}

// lose loses a region with all that is in it.
func (s *sim) lose(region string) {
	s.mu.Lock()
	s.lost = true // what its agents said last, controllers may remember differently
	s.mu.Unlock()
	s.net.change(func() {
		for _, h := range s.net.hosts {
			if h.region == region {
				h.dark = true
			}
		}
	})
	for _, n := range s.nameservers {
		if n.region == region {
			s.stopNameserver(n, true)
		}
	}
	for _, a := range s.agents {
		if a.region == region {
			s.stopAgent(a)
		}
	}
	for _, c := range s.controllers {
		if c.host.region == region {
			s.stopController(c)
		}
	}
}

// publish makes a new generation, of which each controller learns after its lag.
func (s *sim) publish(change func(*pb.OverrideSet), lags []time.Duration) {
	s.mu.Lock()
	o := &pb.OverrideSet{}
	if n := len(s.history); n > 0 {
		o = s.history[n-1].OverrideSet()
		o = &pb.OverrideSet{Overrides: slices.Clone(o.GetOverrides()), Releases: slices.Clone(o.GetReleases())}
	}
	if change != nil {
		change(o)
	}
	cur := s.world.generation(int64(len(s.history)+1), o)
	s.history = append(s.history, cur)
	history := slices.Clone(s.history)
	s.mu.Unlock()
	for i, c := range s.controllers {
		learnt := cur
		if s.broken.learnt != nil {
			learnt = s.broken.learnt(c, cur, history)
		}
		if i >= len(lags) || lags[i] <= 0 {
			c.learn(learnt)
			continue
		}
		s.later.Go(func() {
			time.Sleep(lags[i])
			c.learn(learnt)
		})
	}
}

func (s *sim) drain(id, region string, lags []time.Duration) {
	s.mu.Lock()
	d := &drained{override: drain(id, region, time.Now()), seen: map[*nameserver]bool{}}
	s.drains[id] = d
	s.mu.Unlock()
	s.publish(func(o *pb.OverrideSet) {
		o.Overrides = append(o.Overrides, d.override)
		slices.SortFunc(o.Overrides, func(a, b *pb.Override) int { return compare(a.GetId(), b.GetId()) })
	}, lags)
}

func (s *sim) undrain(id string, lags []time.Duration) {
	s.mu.Lock()
	s.drains[id].ended = true
	s.mu.Unlock()
	s.publish(func(o *pb.OverrideSet) {
		o.Overrides = slices.DeleteFunc(o.Overrides, func(o *pb.Override) bool { return o.GetId() == id })
	}, lags)
}

// healed ends every fault: what is not lost for good works again, and everybody
// has learnt of the newest generation.
func (s *sim) healed() {
	s.note("-- all faults have healed")
	s.net.change(func() {
		clear(s.net.cuts)
		clear(s.net.slow)
		for _, h := range s.net.hosts {
			h.paused = false
		}
	})
	s.later.Wait()
	for _, a := range s.agents {
		s.lie(a, honest)
		s.skew(a, 0)
		s.startAgent(a)
	}
	for _, c := range s.controllers {
		s.startController(c)
	}
	for _, n := range s.nameservers {
		s.startNameserver(n)
	}
	s.seen()
}

func (s *sim) newest() *planner.Current { return s.history[len(s.history)-1] }

// converge waits until everybody holds the truth, and says what is missing when
// that takes too long.
func (s *sim) converge(most time.Duration) {
	until := time.Now().Add(most)
	why := ""
	for time.Now().Before(until) {
		time.Sleep(lookEvery / 2)
		synctest.Wait()
		s.net.sweep(time.Now())
		s.check()
		if s.wrong.any() {
			return
		}
		if why = s.missing(); why == "" {
			s.note("-- everybody holds the truth")
			return
		}
	}
	s.say("not recovered after %s: %s", most, why)
}

var errEnded = fmt.Errorf("the simulation has ended")
