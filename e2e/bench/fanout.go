package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
)

// fanned is what was measured of a fan-out.
type fanned struct {
	// Of each change: the first, the median and the last nameserver.
	first, middle, last times
	// cpu is the controller's in all that it took.
	cpu, took time.Duration
}

// bench is an installation that is measured.
type bench struct {
	o           *options
	setup       *setup
	controller  *controller
	agents      []*agent
	nameservers *nameserverProcess
	idle        time.Duration
	// started is how long the nameservers took to serve; brokenAtStart counts the
	// agents' streams that the controller ended meanwhile.
	started       time.Duration
	brokenAtStart int64
}

// fanout measures how soon nameservers answer by another verdict, and what each
// of them costs the controller.
func fanout(o *options) (err error) {
	s := &setup{Agents: o.agents, Regions: o.agents, Endpoints: o.endpoints}
	if !o.plaintext {
		if s.Pair, err = newPair(); err != nil {
			return err
		}
	}
	b := &bench{o: o, setup: s}
	if b.controller, err = startController(o, s); err != nil {
		return err
	}
	defer b.controller.stop()
	if b.agents, err = startAgents(o, b.controller, s); err != nil {
		return err
	}
	defer stopAgents(b.agents)
	all := say(true, healthy, upTo(o.endpoints)...)
	for _, a := range b.agents {
		a.says(all)
	}
	if _, err = b.controller.settled(0); err != nil {
		return err
	}
	alone, err := b.controller.watch(o.idle)
	if err != nil {
		return err
	}
	before, err := b.controller.use(question{Collect: true})
	if err != nil {
		return err
	}
	o.say("%d agents, %d endpoints; starting %d nameservers", o.agents, o.endpoints, o.subscribers)
	began := time.Now()
	if b.nameservers, err = startNameservers(o, b.controller, s, o.subscribers); err != nil {
		return err
	}
	defer b.nameservers.stop()
	b.started, b.brokenAtStart = time.Since(began), broken(b.agents)
	o.say("all serve after %v", b.started.Round(time.Second))
	time.Sleep(o.idle)
	if b.idle, err = b.controller.watch(o.idle); err != nil {
		return err
	}
	after, err := b.controller.use(question{Collect: true})
	if err != nil {
		return err
	}
	one, err := b.profiled("one", o.changes, 1)
	if err != nil {
		return err
	}
	many, err := b.profiled("many", o.masses, o.mass)
	if err != nil {
		return err
	}
	b.print(one, many, before, after, alone)
	return nil
}

// profiled makes changes, with a profile of both processes where one is wanted.
func (b *bench) profiled(name string, times, of int) (*fanned, error) {
	dir := b.o.profiles
	if dir == "" {
		return b.change(times, of)
	}
	path, none := filepath.Join(dir, name+"-controller.pprof"), ""
	if _, err := b.controller.use(question{Profile: &path}); err != nil {
		return nil, err
	}
	path = filepath.Join(dir, name+"-nameservers.pprof")
	if _, err := b.nameservers.tell(order{Profile: &path}); err != nil {
		return nil, err
	}
	f, err := b.change(times, of)
	if err != nil {
		return nil, err
	}
	_, err = b.nameservers.tell(order{Profile: &none})
	_, failed := b.controller.use(question{Profile: &none})
	return f, errors.Join(err, failed)
}

// change turns verdicts, so many at once, so many times. The agents say so one
// after the other, with pauses in between; the one that makes the quorum is timed.
func (b *bench) change(changes, of int) (*fanned, error) {
	f := &fanned{}
	before, err := b.controller.use(question{})
	if err != nil {
		return nil, err
	}
	began := time.Now()
	deciding := len(b.agents) / 2
	var targets []int // that fell last; the next change raises them again
	for i := range changes {
		want, says := regions.Healthy, healthy
		if i%2 == 0 {
			want, says = regions.Unhealthy, unhealthy
			targets = rand.Perm(b.o.endpoints)[:of]
		}
		m := say(false, says, targets...)
		for k, a := range b.agents {
			if k != deciding {
				a.says(m)
			} else if err := b.decide(f, a, m, want, targets); err != nil {
				return nil, err
			}
			// What is not timed, the evidence, shall have reached everybody.
			if _, err := b.nameservers.tell(order{Quiet: b.o.pause}); err != nil {
				return nil, err
			}
		}
		if n := max(changes/4, 1); (i+1)%n == 0 {
			b.o.say("%d of %d changes of %d: the last nameserver after %s ms (median), %s ms (most)", i+1, changes, of, millis(f.last.median()), millis(f.last.most()))
		}
	}
	f.took = time.Since(began)
	after, err := b.controller.use(question{})
	if err != nil {
		return nil, err
	}
	f.cpu = after.CPU - before.CPU
	return f, nil
}

func (b *bench) decide(f *fanned, a *agent, m *saying, want regions.Status, targets []int) error {
	took, err := b.nameservers.await(want, targets, func() { a.says(m) })
	if err != nil {
		return err
	}
	f.first = append(f.first, took.quantile(1))
	f.middle = append(f.middle, took.median())
	f.last = append(f.last, took.most())
	return nil
}

func (b *bench) print(one, many *fanned, before, after usage, alone time.Duration) {
	o, n := b.o, float64(b.o.subscribers)
	security := "mutual TLS"
	if o.plaintext {
		security = "plain text"
	}
	var t strings.Builder
	fmt.Fprintf(&t, "Decide and publish: %d nameservers subscribed, in one process, the controller and the agents in others, %s on loopback; %d endpoints, opinions by %d agents, one in a region. Milliseconds from sending the deciding opinion until a nameserver has a view with the verdict; p99 by nearest rank.\n\n", o.subscribers, security, o.endpoints, o.agents)
	t.WriteString(head("change", "#times", "#last nameserver: median", "#p99", "#most", "#median nameserver: median", "#p99", "#first nameserver: median", "#p99"))
	for _, k := range []struct {
		what string
		f    *fanned
	}{{"one verdict", one}, {fmt.Sprintf("%d verdicts at once", o.mass), many}} {
		f := k.f
		t.WriteString(row(k.what, fmt.Sprint(len(f.last)), millis(f.last.median()), millis(f.last.quantile(99)), millis(f.last.most()),
			millis(f.middle.median()), millis(f.middle.quantile(99)), millis(f.first.median()), millis(f.first.quantile(99))))
	}
	// What a push of one target takes is too little beside the heartbeats to be told
	// from them, so both are shown.
	busy := time.Duration(float64(one.cpu) / one.took.Seconds())
	rate := float64(len(one.last)*o.agents) / one.took.Seconds()
	masses := float64(len(many.last)*o.agents) * n
	fmt.Fprintf(&t, "\nWhat a subscriber costs the controller:\n\n%s", head("cost", "#of a subscriber", "#of all"))
	t.WriteString(row("nothing changes (heartbeats): CPU µs/s", micros(b.idle-alone, n), micros(b.idle-alone, 1)))
	t.WriteString(row(fmt.Sprintf("one target after another (%.1f pushes/s), heartbeats included: CPU µs/s", rate), micros(busy-alone, n), micros(busy-alone, 1)))
	t.WriteString(row(fmt.Sprintf("%d targets change: CPU µs a push, heartbeats included", o.mass), micros(many.cpu, masses), micros(many.cpu, masses/n)))
	t.WriteString(row("memory in use, kB", fmt.Sprintf("%.1f", (after.Memory-before.Memory)/1e3/n), fmt.Sprintf("%.1f", (after.Memory-before.Memory)/1e3)))
	fmt.Fprintf(&t, "\nA verdict that changes is pushed %d times, since each opinion makes it waver or turn. Without subscribers the controller has %s MB in use and takes %s µs/s; with them %s MB (resident: %s MB).\n",
		o.agents, mega(before.Memory), micros(alone, 1), mega(after.Memory), mega(after.Resident))
	fmt.Fprintf(&t, "All nameservers served after %v, most of which is compiling their plans. The controller ended %d streams of agents meanwhile and %d afterwards.\n",
		b.started.Round(time.Second), b.brokenAtStart, broken(b.agents)-b.brokenAtStart)
	fmt.Fprintln(o.out, t.String())
}
