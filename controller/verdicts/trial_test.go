package verdicts

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
)

// fataler is a test or a rapid run.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// trial is a tally on its own: streams, opinions and time are a script. Agents
// are named as a1, b1, b2; the letter is their region. So are targets.
type trial struct {
	fataler
	*tally
	j        *Judge
	plan     Plan
	sessions map[string]*session
	opinions map[string]map[string]string // by agent and target: H, U or ?
	silent   map[string]bool
	now      time.Time
	events   []Event
}

// newTrial makes a tally with a plan. Both are words.
func newTrial(t fataler, agents, targets string) *trial {
	o := Options{}
	if err := o.validate(); err != nil {
		t.Fatalf("%v", err)
	}
	m, _ := newMetrics(nil)
	ta := newTally(&o, m)
	tr := &trial{
		fataler: t, tally: ta, now: ta.base,
		j:        &Judge{o: o, m: m, pulse: newPulse(cpuTime), subs: map[chan struct{}]struct{}{}, tally: ta},
		sessions: map[string]*session{}, opinions: map[string]map[string]string{}, silent: map[string]bool{},
		plan: Plan{Guard: regions.Guard{MaxPercent: 50, Window: time.Minute}},
	}
	for _, name := range strings.Fields(agents) {
		tr.plan.Agents = append(tr.plan.Agents, Agent{Name: name, Region: name[:1]})
	}
	for _, id := range strings.Fields(targets) {
		tr.plan.Assignments = append(tr.plan.Assignments, &pb.Assignment{Target: id, Check: &pb.HealthCheckSpec{}})
		tr.plan.Regions = append(tr.plan.Regions, []string{id[:1]})
	}
	tr.replan()
	return tr
}

// replan sets the plan as the next generation.
func (tr *trial) replan() {
	tr.plan.Generation.Epoch = 1
	tr.plan.Generation.Revision++
	p := tr.plan
	p.Assignments, p.Regions = slices.Clone(p.Assignments), slices.Clone(p.Regions) // a plan is not changed once it is given
	tr.tally.plan(&p, tr.now)
	tr.settle()
}

// check changes the health check of all targets.
func (tr *trial) check(c *pb.HealthCheckSpec) {
	for i := range tr.plan.Assignments {
		tr.plan.Assignments[i] = &pb.Assignment{Target: tr.plan.Assignments[i].Target, Check: c}
	}
	tr.replan()
}

func (tr *trial) settle() {
	tr.Helper()
	tr.tally.settle(tr.now)
	tr.tally.assign()
	tr.events = append(tr.events, tr.tally.events...)
	tr.j.publish()
	if got, want := tr.j.State().Digest, healthDigest(tr.j.State()); got != want {
		tr.Fatalf("digest %s, computed anew %s", got, want)
	}
}

// connect opens a stream and says all that the agent holds.
func (tr *trial) connect(agent string) {
	s := sessionOf(&pb.AgentHello{Agent: agent, Region: agent[:1]})
	s.pauses = tr.pauses
	tr.sessions[agent] = s
	tr.hear(event{session: s, opened: true}, tr.now)
	if tr.opinions[agent] == nil {
		tr.opinions[agent] = map[string]string{}
	}
	tr.send(agent, true, tr.opinions[agent])
	tr.settle()
}

// send is one update.
func (tr *trial) send(agent string, full bool, what map[string]string) {
	up := &pb.OpinionUpdate{Full: full}
	for target, word := range what {
		up.Opinions = append(up.Opinions, opinionOf(target, word))
	}
	slices.SortFunc(up.Opinions, func(a, b *pb.Opinion) int { return strings.Compare(a.Target, b.Target) })
	req := &pb.ReportRequest{Message: &pb.ReportRequest_Opinions{Opinions: up}}
	tr.hear(tr.event(tr.sessions[agent], req, tr.now), tr.now)
}

// opinionOf reads H, U or ?, with ~ after it when it wavers and a number of
// transitions.
func opinionOf(target, word string) *pb.Opinion {
	o := &pb.Opinion{Target: target, Reason: "said " + word}
	switch word[0] {
	case 'H':
		o.Status = pb.HealthStatus_HEALTH_STATUS_HEALTHY
	case 'U':
		o.Status = pb.HealthStatus_HEALTH_STATUS_UNHEALTHY
	default:
		o.Status = pb.HealthStatus_HEALTH_STATUS_UNKNOWN
	}
	rest, wavers := strings.CutPrefix(word[1:], "~")
	o.Wavering = wavers
	n, _ := strconv.Atoi(rest)
	o.RecentTransitions = uint32(n)
	return o
}

// says changes opinions of agents: "a1 b1", "t=U u=H"; a target may be a prefix
// with a star.
func (tr *trial) says(agents, what string) {
	tr.Helper()
	for _, agent := range strings.Fields(agents) {
		if tr.sessions[agent] == nil {
			tr.connect(agent)
		}
		words := map[string]string{}
		for _, pair := range strings.Fields(what) {
			pattern, word, ok := strings.Cut(pair, "=")
			if !ok {
				tr.Fatalf("%q says nothing", pair)
			}
			for _, id := range tr.table.index.ids {
				if prefix, star := strings.CutSuffix(pattern, "*"); id == pattern || star && strings.HasPrefix(id, prefix) {
					words[id] = word
					tr.opinions[agent][id] = word
				}
			}
		}
		if !tr.silent[agent] {
			tr.send(agent, false, words)
		}
	}
	tr.settle()
}

// isolated sends a heartbeat that says so.
func (tr *trial) isolated(agent, why string) {
	tr.hear(event{session: tr.sessions[agent], beat: &pb.AgentHeartbeat{Isolated: why}}, tr.now)
	tr.settle()
}

// silence makes agents fall silent, until they speak again.
func (tr *trial) silence(agents string) {
	for _, agent := range strings.Fields(agents) {
		tr.silent[agent] = true
	}
	tr.pass(tr.freshFor)
}

// speaks makes agents heard again, by a new stream.
func (tr *trial) speaks(agents string) {
	for _, agent := range strings.Fields(agents) {
		tr.silent[agent] = false
		tr.connect(agent)
	}
}

// pass lets time pass while agents beat.
func (tr *trial) pass(d time.Duration) {
	tr.Helper()
	for end := tr.now.Add(d); tr.now.Before(end); {
		tr.now = tr.now.Add(min(250*time.Millisecond, end.Sub(tr.now)))
		for agent, s := range tr.sessions {
			if v := tr.vantages[agent]; !tr.silent[agent] && v != nil && v.session == s {
				tr.hear(event{session: s, beat: &pb.AgentHeartbeat{Isolated: v.said}}, tr.now)
			}
		}
		tr.settle()
	}
}

// show prints targets: the verdict's letter, in lower case when the guard holds
// it, with ! where what is confirmed is another.
func (tr *trial) show() string {
	var words []string
	for target := range tr.j.State().All() {
		word := letter(target.Last)
		if target.Guard > 0 {
			word = strings.ToLower(word)
		}
		if target.ConfirmedStanding().Verdict != target.Last {
			word += "!"
		}
		words = append(words, target.ID+"="+word)
	}
	return strings.Join(words, " ")
}

// want checks targets: "a1=H b*=U".
func (tr *trial) want(what string) {
	tr.Helper()
	shown := map[string]string{}
	for _, pair := range strings.Fields(tr.show()) {
		id, word, _ := strings.Cut(pair, "=")
		shown[id] = word
	}
	for _, pair := range strings.Fields(what) {
		pattern, word, _ := strings.Cut(pair, "=")
		found := false
		for id, got := range shown {
			if prefix, star := strings.CutSuffix(pattern, "*"); id == pattern || star && strings.HasPrefix(id, prefix) {
				if found = true; got != word {
					tr.Fatalf("want %s, have %s", what, tr.show())
				}
			}
		}
		if !found {
			tr.Fatalf("no target %s in %s", pattern, tr.show())
		}
	}
}

// told takes the kinds of events since it was asked last.
func (tr *trial) told() string {
	var kinds []string
	for _, e := range tr.events {
		kinds = append(kinds, e.Kind)
	}
	tr.events = nil
	return strings.Join(kinds, " ")
}

func (tr *trial) wantTold(kinds string) {
	tr.Helper()
	events := fmt.Sprintf("%+v", tr.events)
	if got := tr.told(); got != kinds {
		tr.Fatalf("events %q, want %q: %s", got, kinds, events)
	}
}

// release is an operator's.
func (tr *trial) release(latch string, trip uint64) {
	releases := map[string]uint64{latch: trip}
	for name, n := range tr.plan.Releases {
		releases[name] = max(n, releases[name])
	}
	tr.plan.Releases = releases
	tr.replan()
}

// seeded is the verdicts as a nameserver tells them.
func (tr *trial) seeds() SeedTable { return seedsOf(tr.j.State(), tr.now) }

// guardStatus is the status as published.
func (tr *trial) guarding() GuardStatus { return tr.j.State().Guard }

func (tr *trial) verdict(id string) health.Verdict {
	tr.Helper()
	target, ok := tr.j.State().Get(id)
	if !ok {
		tr.Fatalf("no target %s", id)
	}
	return target.Verdict
}

var _ fataler = (*testing.T)(nil)
