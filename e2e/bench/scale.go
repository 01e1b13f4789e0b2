package main

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// scaleRegions are those of the agents; flipEvery is how far apart targets change.
const (
	scaleRegions = 5
	flipEvery    = 20 * time.Millisecond
)

// scaled is what was measured of a controller with many agents.
type scaled struct {
	targets          int
	resync           time.Duration
	resyncCPU        time.Duration
	memory, resident float64 // of the opinions, of all
	changeCPU        time.Duration
	opinions         int // that changed
	idle             time.Duration
}

// scaleOfController measures what opinions cost: all of them anew, and the same
// number of changes among fewer and more targets.
func scaleOfController(o *options) error {
	var all []*scaled
	for _, n := range o.scaleOf {
		s, err := scale(o, n)
		if err != nil {
			return err
		}
		all = append(all, s)
	}
	var t strings.Builder
	fmt.Fprintf(&t, "Scale of a controller: %d agents in %d regions over gRPC with TLS; all opinions anew (every agent connects and reports everything), then %d targets that change one after the other, each by a message of every agent. The memory is all that judging takes: opinions, verdicts with their votes, streams.\n\n", o.scaleAgents, scaleRegions, o.flips)
	t.WriteString(head("targets", "#opinions", "#resync ms", "#CPU µs an opinion", "#memory B an opinion", "#resident MB", "#idle CPU µs/s", "#opinions changed", "#CPU µs an opinion changed"))
	for _, s := range all {
		n := float64(s.targets * o.scaleAgents)
		t.WriteString(row(fmt.Sprint(s.targets), fmt.Sprintf("%.0f", n), millis(s.resync), fmt.Sprintf("%.2f", float64(s.resyncCPU)/1e3/n),
			fmt.Sprintf("%.0f", s.memory/n), mega(s.resident), micros(s.idle, 1), fmt.Sprint(s.opinions), micros(s.changeCPU, float64(s.opinions))))
	}
	fmt.Fprintln(o.out, t.String())
	return packageBench(o, "The judge alone, without gRPC", "./controller/verdicts", "Controller50x10000", o.benchtime)
}

func scale(o *options, targets int) (out *scaled, err error) {
	s := &setup{Agents: o.scaleAgents, Regions: scaleRegions, Endpoints: targets}
	if !o.plaintext {
		if s.Pair, err = newPair(); err != nil {
			return nil, err
		}
	}
	of := *o
	of.endpoints = targets
	c, err := startController(o, s)
	if err != nil {
		return nil, err
	}
	defer c.stop()
	agents, err := startAgents(&of, c, s)
	if err != nil {
		return nil, err
	}
	defer stopAgents(agents)
	time.Sleep(time.Second) // all are connected, and have their assignments
	out = &scaled{targets: targets}
	before, err := c.use(question{Collect: true})
	if err != nil {
		return nil, err
	}
	o.say("%d agents report %d targets each", o.scaleAgents, targets)
	all := say(true, healthy, upTo(targets)...)
	began := time.Now()
	together(agents, func(a *agent) { a.says(all) })
	after, err := c.settled(0)
	if err != nil {
		return nil, err
	}
	out.resync, out.resyncCPU = after.At.Sub(began), after.CPU-before.CPU
	if out.idle, err = c.watch(o.idle); err != nil {
		return nil, err
	}
	if after, err = c.use(question{Collect: true}); err != nil {
		return nil, err
	}
	out.memory, out.resident = after.Memory-c.Memory, after.Resident

	before, began = after, time.Now()
	for i := range o.flips {
		m := say(false, unhealthy, i*(targets/o.flips))
		together(agents, func(a *agent) { a.says(m) })
		time.Sleep(flipEvery)
		out.opinions += len(agents)
	}
	if after, err = c.settled(o.flips); err != nil {
		return nil, err
	}
	out.changeCPU = after.CPU - before.CPU - time.Duration(float64(out.idle)*time.Since(began).Seconds())
	o.say("%d targets: resync %s ms, %s µs a changed opinion", targets, millis(out.resync), micros(out.changeCPU, float64(out.opinions)))
	return out, nil
}

// together does something with all agents at once.
func together(agents []*agent, do func(*agent)) {
	var all sync.WaitGroup
	for _, a := range agents {
		all.Go(func() { do(a) })
	}
	all.Wait()
}
