package verdicts

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

// Each settling takes this many events at most, and no more after that many
// opinions, so that readers see a state also while agents send without a break.
// Few wait in the queue: the rest waits in the streams, where nobody's messages
// come before another's.
const (
	maxBatch         = 256
	maxBatchOpinions = 20_000
	maxQueued        = 16
)

// agentsEvery is how often the list of agents is made anew for Agents.
const agentsEvery = 250 * time.Millisecond

// Judge decides verdicts. Make it with New; Run must run.
type Judge struct {
	pb.UnimplementedAgentServiceServer

	o     Options
	m     *metrics
	pulse *pulse
	// What each agent may still send, and the questions that they are asked.
	throttle  *throttle
	inquiries inquiries

	events  chan event
	stopped chan struct{} // closed when Run returns
	wake    chan struct{} // something is in the inbox

	// The inbox: what SetPlan and Seed leave for Run. The plan is latest-wins.
	mu      sync.Mutex
	plan    *Plan
	seeds   []seedTable
	latched told
	subs    map[chan struct{}]struct{}
	closed  bool

	// Written by Run, read by all.
	state    atomic.Pointer[published]
	agents   atomic.Pointer[[]AgentStatus]
	listed   atomic.Pointer[[]listed]
	tidings  eventRing
	evidence atomic.Int64 // tally.evidence, since pulse.start

	// Owned by Run.
	tally  *tally
	number uint64
	pace   pace
	// overloads of the process that were told of.
	overloads uint64
}

// published is a state and how many pauses it takes into account.
type published struct {
	State
	pauses uint64
}

var _ pb.AgentServiceServer = (*Judge)(nil)

// New makes a judge. It starts nothing.
func New(o Options) (*Judge, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	o.Log = o.Log.With("controller", o.Name)
	j := &Judge{
		o: o, m: m, pulse: newPulse(o.CPU), throttle: newThrottle(), inquiries: inquiries{open: map[uint64]*inquiry{}},
		events: make(chan event, maxQueued), stopped: make(chan struct{}), wake: make(chan struct{}, 1),
		subs: map[chan struct{}]struct{}{}, latched: told{},
		tally: newTally(&o, m),
	}
	j.publish()
	return j, nil
}

// SetPlan gives the judge what to judge, latest-wins. A plan of an older
// generation than the present one changes nothing.
func (j *Judge) SetPlan(p Plan) {
	j.mu.Lock()
	if j.plan == nil || p.Generation.Compare(j.plan.Generation) >= 0 {
		j.plan = &p
	}
	j.mu.Unlock()
	notify(j.wake)
}

// Seed gives the judge what somebody held. Verdicts are adopted for targets
// that have none of the judge's own; the freshest table wins. Latches are merged.
func (j *Judge) Seed(t SeedTable) {
	table := parseSeeds(t, time.Now())
	if len(table.seeds)+len(table.latches) == 0 {
		return
	}
	j.mu.Lock()
	// Latches are told again and again, and take no verdicts' place.
	for _, l := range table.latches {
		j.latched.add(l)
	}
	if len(table.seeds) > 0 && len(j.seeds) < maxTables {
		j.seeds = append(j.seeds, table)
	}
	j.mu.Unlock()
	notify(j.wake)
}

// State is the health state now. It is not ready while a pause of the process
// has not been dealt with.
func (j *Judge) State() *State {
	p := j.state.Load()
	s := p.State
	s.Ready = s.Ready && j.pulse.steady(p.pauses)
	s.EvidenceAge = max(time.Since(j.pulse.start)-time.Duration(j.evidence.Load()), 0)
	return &s
}

// Subscribe returns a channel that is woken (never filled up) whenever there is
// a new state, or agents or readiness have changed.
func (j *Judge) Subscribe() (ch <-chan struct{}, cancel func()) {
	c := make(chan struct{}, 1)
	j.mu.Lock()
	j.subs[c] = struct{}{}
	j.mu.Unlock()
	return c, func() {
		j.mu.Lock()
		delete(j.subs, c)
		j.mu.Unlock()
	}
}

// Run judges until ctx ends. It runs once.
func (j *Judge) Run(ctx context.Context) error {
	j.mu.Lock()
	again := j.closed
	j.closed = true
	j.mu.Unlock()
	if again {
		return errors.New("verdicts: a judge runs only once")
	}
	var beating sync.WaitGroup
	defer beating.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	beating.Go(func() { j.pulse.run(ctx) })
	defer close(j.stopped)

	timer := time.NewTimer(0)
	defer timer.Stop()
	ticker := time.NewTicker(agentsEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-j.pulse.seen:
			j.noteOverloads()
		case <-j.wake:
		case ev := <-j.events:
			j.tally.hear(ev, time.Now())
			j.hearMore(ev.opinions())
		case <-ticker.C:
			j.publishAgents()
			j.m.showAgents(j.tally)
		case <-timer.C:
		}
		now := time.Now()
		if n := j.pulse.pauses.Load(); n != j.tally.pauses {
			j.m.resyncs.Inc()
			j.tally.resync(n, j.pulse.start.Add(time.Duration(j.pulse.lastRan.Load())), now)
		}
		j.takeInbox(now)
		if rest := j.pace.rest(j.tally.gathering(now), now); rest > 0 {
			timer.Reset(rest)
			continue
		}
		j.tally.settle(now)
		j.tally.assign()
		if j.tally.changed || j.tally.noted {
			j.publish()
		}
		settled := time.Now()
		j.pace.settled(settled.Sub(now), settled)
		if !j.tally.evidence.IsZero() {
			j.evidence.Store(int64(j.tally.evidence.Sub(j.pulse.start)))
		}
		if next := j.tally.next(now); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
	}
}

// noteOverloads tells of overloads of the process: nothing else comes of them.
func (j *Judge) noteOverloads() {
	n := j.pulse.overloads.Load()
	if n == j.overloads {
		return
	}
	j.m.overload.Add(float64(n - j.overloads))
	j.overloads = n
	j.o.Log.Warn("the process was overloaded, but did not stand still: nothing is forgotten", "why", "overload", "longer_than", PauseLimit.String())
}

// hearMore takes what else has come, for one settling.
func (j *Judge) hearMore(opinions int) {
	for range maxBatch {
		if opinions >= maxBatchOpinions {
			return
		}
		select {
		case ev := <-j.events:
			j.tally.hear(ev, time.Now())
			opinions += ev.opinions()
		default:
			return
		}
	}
}

// takeInbox takes what SetPlan and Seed have left.
func (j *Judge) takeInbox(now time.Time) {
	j.mu.Lock()
	plan, seeds := j.plan, j.seeds
	j.plan, j.seeds = nil, nil
	var latched told // nil while there are none: Seed goes on writing to the map
	if len(j.latched) > 0 {
		latched, j.latched = j.latched, told{}
	}
	j.mu.Unlock()
	if plan != nil && j.tally.plan(plan, now) {
		j.throttle.targets.Store(int64(len(j.tally.dockets)))
	}
	for _, table := range seeds {
		j.tally.seed(table, now)
	}
	for _, l := range latched {
		j.tally.mergeLatch(l)
	}
}

// publish makes the state that all see.
func (j *Judge) publish() {
	t := j.tally
	if t.changed {
		j.number++
	}
	p := &published{pauses: t.pauses, State: State{
		Version: Version{Incarnation: j.o.Incarnation, Number: j.number}, Generation: t.generation,
		Digest: t.digest, Latches: t.latches.sorted(), Guard: t.guard.status, Ready: t.ready, index: t.table.index,
	}}
	p.AgentsFresh, p.AgentsRegistered = t.agents()
	if old := j.state.Load(); old != nil && !t.changed {
		p.chunks = old.chunks
	} else {
		p.chunks = t.table.share()
	}
	noted := t.noted
	t.changed, t.noted = false, false
	j.state.Store(p)
	for _, e := range t.events {
		j.tidings.add(e)
	}
	t.events = nil
	j.m.show(t)
	if noted || j.agents.Load() == nil {
		j.publishAgents()
	}
	j.mu.Lock()
	for c := range j.subs {
		notify(c)
	}
	j.mu.Unlock()
}

// notify wakes whoever waits, and leaves one wake-up for who does not yet.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// AgentStatus is what is known of an agent, registered or not.
type AgentStatus struct {
	Name, Region string
	Registered   bool
	Connected    bool
	// Fresh agents have a vote; Absent says why this one has none, and Isolated
	// why the opinions of one that is heard do not count.
	Fresh    bool
	Absent   string
	Isolated string
	// Heard is when it last said anything; zero: never.
	Heard time.Time
	// Targets is how many opinions it holds.
	Targets int
	Version string
	// Generation is that of the assignments it works on.
	Generation regions.Generation
	// ClockSkew is its clock minus ours, network delay included. Nothing depends on it.
	ClockSkew time.Duration
}

// Agents lists all agents, by region and name, as they were a moment ago.
func (j *Judge) Agents() []AgentStatus { return *j.agents.Load() }

func (j *Judge) publishAgents() {
	t := j.tally
	list, sessions := make([]AgentStatus, len(t.voters)), make([]listed, len(t.voters))
	for i, v := range t.voters {
		list[i] = AgentStatus{
			Name: v.name, Region: v.region, Registered: v.registered, Connected: v.session != nil,
			Fresh: v.fresh, Absent: v.absent(t.freshFor), Isolated: v.isolated, Heard: v.spoke, Targets: v.targets(),
			Version: v.version, Generation: v.generation, ClockSkew: v.skew,
		}
		sessions[i] = listed{name: v.name, region: v.region, registered: v.registered, session: v.session}
	}
	j.agents.Store(&list)
	j.listed.Store(&sessions)
}
