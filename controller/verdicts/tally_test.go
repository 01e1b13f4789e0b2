package verdicts

import (
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
)

func healthDigest(s *State) health.Digest {
	d := health.Digest(0).ReplaceLatches(nil, s.Latches)
	for t := range s.All() {
		d = d.AddVerdict(t.ID, t.Verdict)
	}
	return d
}

// model is a judge that keeps what everybody said last and counts everything
// anew each time.
type model struct {
	agents   []Agent
	said     map[string]map[string]regions.Status // by agent and target; nil: not connected
	full     map[string]bool
	region   map[string]string
	heard    map[string]time.Time
	targets  []string
	last     map[string]regions.Status
	freshFor time.Duration
	awaited  func(agent string, now time.Time) bool
}

func (m *model) quorum(target string, now time.Time) regions.Status {
	var b health.Ballot
	for _, a := range m.agents {
		v := health.Voter{Agent: a.Name, Region: a.Region, Registered: true, Absent: "silent", Awaited: m.awaited(a.Name, now)}
		if m.full[a.Name] && m.region[a.Name] == a.Region && now.Sub(m.heard[a.Name]) < m.freshFor {
			v.Absent, v.Status = "", m.said[a.Name][target]
		}
		b.Voters = append(b.Voters, v)
	}
	return health.Decide(b, health.Policy{}, now).Status
}

func (m *model) settle(now time.Time) {
	for _, t := range m.targets {
		if q := m.quorum(t, now); q != regions.Unknown {
			m.last[t] = q
		}
	}
}

// The tally decides only what may have changed; the model decides everything,
// always. They agree after any history of streams, opinions, silences and plans.
func TestTallyAgainstModel(t *testing.T) {
	names := []string{"a1", "a2", "b1", "c1", "d1"}
	letters := []string{"H", "U", "?"}
	rapid.Check(t, func(t *rapid.T) {
		o := Options{}
		if err := o.validate(); err != nil {
			t.Fatal(err)
		}
		m, _ := newMetrics(nil)
		ta := newTally(&o, m)
		j := &Judge{o: o, m: m, pulse: newPulse(cpuTime), subs: map[chan struct{}]struct{}{}, tally: ta}
		j.publish()
		mo := &model{
			said: map[string]map[string]regions.Status{}, full: map[string]bool{}, region: map[string]string{},
			heard: map[string]time.Time{}, last: map[string]regions.Status{}, freshFor: o.FreshFor,
			awaited: func(agent string, now time.Time) bool { return ta.vantages[agent].awaited(now, o.SeedWait) },
		}
		sessions := map[string]*session{}
		now := time.Now()
		revision := int64(0)
		genTargets := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"t", "u", "v", "w"}), 0, 4, rapid.ID[string])
		seen := j.State() // by a subscriber, who keeps a table by differences
		table := map[string]*Target{}

		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			name := rapid.SampledFrom(names).Draw(t, "agent")
			s := sessions[name]
			live := s != nil && len(s.end) == 0
			switch rapid.SampledFrom([]string{"plan", "hello", "close", "full", "some", "some", "beat", "time"}).Draw(t, "step") {
			case "plan":
				revision++
				mo.targets = genTargets.Draw(t, "targets")
				mo.agents = nil
				for _, n := range names {
					if rapid.IntRange(0, 4).Draw(t, "registered") > 0 {
						mo.agents = append(mo.agents, Agent{Name: n, Region: rapid.SampledFrom([]string{n[:1], n[:1], n[:1], "z"}).Draw(t, "region")})
					}
				}
				p := planOf(revision, mo.agents, mo.targets...)
				ta.plan(&p, now)
				for target := range mo.last {
					if !slices.Contains(mo.targets, target) {
						delete(mo.last, target)
					}
				}
				for _, a := range mo.agents { // registered elsewhere: must report anew
					if r, ok := mo.region[a.Name]; ok && r != a.Region {
						delete(mo.region, a.Name)
						mo.full[a.Name] = false
					}
				}
			case "hello":
				s = sessionOf(&pb.AgentHello{Agent: name, Region: name[:1]})
				ta.hear(event{session: s, opened: true}, now)
				if len(s.end) > 0 {
					continue
				}
				sessions[name] = s
				if now.Sub(mo.heard[name]) >= mo.freshFor {
					mo.full[name] = false
				}
				mo.region[name] = name[:1]
			case "close":
				if live {
					ta.hear(event{session: s, closed: true}, now)
					delete(sessions, name)
				}
			case "full", "some", "beat":
				if !live {
					continue
				}
				req := &pb.ReportRequest{Message: &pb.ReportRequest_Heartbeat{Heartbeat: &pb.AgentHeartbeat{}}}
				if kind := rapid.SampledFrom([]string{"full", "some", "beat"}).Draw(t, "kind"); kind != "beat" {
					text := kind
					if kind == "some" {
						text = ""
					}
					for _, target := range genTargets.Draw(t, "said") {
						text += fmt.Sprintf(" %s=%s", target, rapid.SampledFrom(letters).Draw(t, "letter"))
					}
					req = opinions(text)
				}
				ta.hear(ta.event(s, req, now), now)
				if len(s.end) > 0 { // silent for too long: it must report anew
					mo.full[name] = false
					delete(sessions, name)
					break
				}
				mo.hear(name, ta.vantages[name].full, req, now)
			case "time":
				now = now.Add(time.Duration(rapid.IntRange(1, 4000).Draw(t, "ms")) * time.Millisecond)
			}
			ta.settle(now)
			mo.settle(now)
			j.publish()
			state := j.State()
			diff := state.Since(seen)
			for _, c := range diff.Changed {
				table[c.ID] = c
			}
			for _, id := range diff.Removed {
				delete(table, id)
			}
			seen = state
			mo.compare(t, state, table, now)
		}
	})
}

// hear is what a message means to the model.
func (m *model) hear(name string, full bool, req *pb.ReportRequest, now time.Time) {
	if up := req.GetOpinions(); up != nil {
		if up.GetFull() || m.said[name] == nil {
			m.said[name] = map[string]regions.Status{}
		}
		for _, o := range up.GetOpinions() {
			m.said[name][o.GetTarget()] = regions.Status(o.GetStatus() - 1)
		}
		if up.GetFull() {
			m.full[name] = true
		}
	}
	if full {
		m.heard[name] = now
	}
}

func (m *model) compare(t *rapid.T, s *State, table map[string]*Target, now time.Time) {
	if s.Len() != len(m.targets) || len(table) != len(m.targets) {
		t.Fatalf("%d targets, %d by differences, want %d", s.Len(), len(table), len(m.targets))
	}
	for _, id := range m.targets {
		got, ok := s.Get(id)
		if !ok || got.Quorum != m.quorum(id, now) || got.Last != m.last[id] {
			t.Fatalf("%s: %+v; the model says %s/%s", id, got, m.quorum(id, now), m.last[id])
		}
		if table[id] != got {
			t.Fatalf("%s by differences: %+v, want %+v", id, table[id], got)
		}
	}
	if want := healthDigest(s); s.Digest != want {
		t.Fatalf("digest %s, want %s", s.Digest, want)
	}
}

// A state that somebody holds does not change, and a change copies one chunk.
func TestStatesAreImmutable(t *testing.T) {
	var ids []string
	for i := range 3 * chunkSize {
		ids = append(ids, fmt.Sprintf("t%04d", i))
	}
	tb := newTable(ids, nil)
	old := &State{index: tb.index, chunks: tb.share()}
	v := health.Verdict{Last: regions.Healthy}
	tb.set(chunkSize+1, &Target{ID: ids[chunkSize+1], Verdict: v})
	tb.set(chunkSize+2, &Target{ID: ids[chunkSize+2], Verdict: v})
	now := &State{index: tb.index, chunks: tb.share()}
	if got, _ := old.Get(ids[chunkSize+1]); got.Last != regions.Unknown {
		t.Error("a state that was handed out has changed")
	}
	if d := now.Since(old); len(d.Changed) != 2 || d.Changed[0].ID != ids[chunkSize+1] {
		t.Errorf("the difference is %+v", d)
	}
	if now.chunks[0] != old.chunks[0] || now.chunks[1] == old.chunks[1] || now.chunks[2] != old.chunks[2] {
		t.Error("chunks that did not change were copied, or one that did was not")
	}
	if got := collect(now.All()); !slices.Equal(got, ids) {
		t.Error("All is out of order")
	}
}

func collect(seq iter.Seq[*Target]) (ids []string) {
	for t := range seq {
		ids = append(ids, t.ID)
	}
	return ids
}

func benchTally(b *testing.B, targets, agents int) (*Judge, []*session) {
	b.Helper()
	o := Options{}
	if err := o.validate(); err != nil {
		b.Fatal(err)
	}
	m, _ := newMetrics(nil)
	ta := newTally(&o, m)
	p := Plan{Generation: regions.Generation{Epoch: 1, Revision: 1}}
	up := &pb.OpinionUpdate{Full: true}
	for i := range targets {
		id := fmt.Sprintf("web@10.%d.%d.%d", i>>16, i>>8&255, i&255)
		p.Assignments = append(p.Assignments, &pb.Assignment{Target: id})
		up.Opinions = append(up.Opinions, &pb.Opinion{Target: id, Status: 2, Reason: "HTTP 200"})
	}
	var sessions []*session
	now := time.Now()
	for i := range agents {
		a := Agent{Name: fmt.Sprintf("agent-%d", i), Region: fmt.Sprintf("region-%d", i)}
		p.Agents = append(p.Agents, a)
		s := sessionOf(&pb.AgentHello{Agent: a.Name, Region: a.Region})
		sessions = append(sessions, s)
	}
	ta.plan(&p, now)
	for _, s := range sessions {
		ta.hear(event{session: s, opened: true}, now)
		ta.hear(ta.event(s, &pb.ReportRequest{Message: &pb.ReportRequest_Opinions{Opinions: up}}, now), now)
	}
	ta.settle(now)
	j := &Judge{o: o, m: m, pulse: newPulse(cpuTime), subs: map[chan struct{}]struct{}{}, tally: ta}
	j.publish()
	return j, sessions
}

// One opinion of one agent on one of 100,000 targets, up to the published state.
func BenchmarkOneOpinion(b *testing.B) {
	j, sessions := benchTally(b, 100_000, 5)
	now := time.Now()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		req := opinions("web@10.0.1.2=" + []string{"U", "H"}[i%2])
		for _, s := range sessions[:3] {
			j.tally.hear(j.tally.event(s, req, now), now)
		}
		j.tally.settle(now)
		j.publish()
	}
}

// An agent falls silent: all of 100,000 targets are decided anew.
func BenchmarkAgentSilent(b *testing.B) {
	j, _ := benchTally(b, 100_000, 5)
	now := time.Now()
	v := j.tally.voters[0]
	for i := 0; b.Loop(); i++ {
		j.tally.setFresh(v, i%2 == 1)
		j.tally.settle(now)
		j.publish()
	}
}
