package simulation

import (
	"fmt"
	"strings"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
)

// memory is how long what an agent could see may still move a verdict: two
// checks with their timeouts, what a link held back until its connection ended
// (5 s), and the freshness of opinions (3 s), with some room. Where recoveries are
// damped their hold comes on top.
const (
	memory   = 12 * time.Second
	mostHold = 4 * time.Second
)

// causes is what each agent could have said of each target, and when last. A
// verdict that turns must have had a cause in that; whatever the faults were.
type causes struct {
	s   *sim
	all [][]sight // by agent and target
}

// sight is what an agent can say of a target now, as bits, and when it could last
// say what it cannot say now.
type sight struct {
	now  uint8
	last [3]time.Time
}

func bit(s regions.Status) uint8 { return 1 << s }

const either = 1<<regions.Healthy | 1<<regions.Unhealthy

func newCauses(s *sim) causes {
	c := causes{s: s, all: make([][]sight, len(s.agents))}
	for i := range c.all {
		c.all[i] = make([]sight, len(s.world.targets))
	}
	return c
}

// update looks at the world after it has changed. s.mu is held.
func (c *causes) update(now time.Time) {
	for i, a := range c.s.agents {
		paused := c.s.isPaused(a.host)
		for j, t := range c.s.world.targets {
			g := &c.all[i][j]
			next := c.sees(a, c.s.endpoints[t.address])
			if paused {
				next |= g.now // what it will say on waking
			}
			for _, st := range [...]regions.Status{regions.Healthy, regions.Unhealthy} {
				if g.now&^next&bit(st) != 0 {
					g.last[st] = now
				}
			}
			g.now = next
		}
	}
}

func (c *causes) sees(a *agent, e *endpoint) uint8 {
	if !a.running.Load() {
		return 0
	}
	up := e.up && c.s.net.talk(a.host, e.host)
	switch {
	case a.lie == atRandom:
		return either
	case a.lie == allUp || a.lie == inverted && !up || a.lie == honest && up:
		return bit(regions.Healthy)
	default:
		return bit(regions.Unhealthy)
	}
}

// could tells whether an agent could have said a status within the memory.
func (c *causes) could(agent, target int, st regions.Status, now time.Time) bool {
	g := &c.all[agent][target]
	if g.now&bit(st) != 0 {
		return true
	}
	within := memory
	switch shape := c.s.world.shape; {
	case st == regions.Unhealthy && shape.DefaultDamping:
		within += health.DefaultMaxHold
	case st == regions.Unhealthy && shape.Damped:
		within += mostHold
	}
	return !g.last[st].IsZero() && now.Sub(g.last[st]) <= within
}

// regions is how many regions could have said a status: those where more than
// half of the agents could, or where one has the seat that could.
func (c *causes) regions(target int, st regions.Status, now time.Time) (n int, who string) {
	var names []string
	for _, r := range c.s.world.regions {
		yes, all := 0, 0
		for i, a := range c.s.agents {
			if a.region == r {
				all++
				if c.could(i, target, st, now) {
					yes++
				}
			}
		}
		if 2*yes > all || yes > 0 && c.s.world.shape.Few {
			names = append(names, r)
		}
	}
	return len(names), fmt.Sprintf("[%s]", strings.Join(names, " "))
}

// majority is how many regions make a verdict that is confirmed.
func (c *causes) majority() int { return len(c.s.world.regions)/2 + 1 }

// needed is how many make any verdict: of two regions one decides alone while the
// other one is silent.
func (c *causes) needed() int {
	if len(c.s.world.regions) == 2 {
		return 1
	}
	return c.majority()
}

// holders is when each status of each target was last held by any controller.
type holders struct {
	count [][3]int
	last  [][3]time.Time
}

func newHolders(targets int) holders {
	return holders{make([][3]int, targets), make([][3]time.Time, targets)}
}

func (h *holders) change(target int, from, to regions.Status, now time.Time) {
	if from != regions.Unknown {
		h.count[target][from]--
		h.last[target][from] = now
	}
	if to != regions.Unknown {
		h.count[target][to]++
	}
}

// recently tells whether any controller holds a status, or did a moment ago.
func (h *holders) recently(target int, st regions.Status, now time.Time) bool {
	at := h.last[target][st]
	return h.count[target][st] > 0 || !at.IsZero() && now.Sub(at) <= memory
}
