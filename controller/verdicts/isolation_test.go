package verdicts

import (
	"strings"
	"testing"
	"time"

	"github.com/fairlead-dns/fairlead/regions/health"

	"pgregory.net/rapid"
)

func (tr *trial) whyNot(target, agent string) string {
	tr.Helper()
	for _, v := range tr.verdict(target).Votes {
		if v.Agent == agent {
			return v.WhyNot
		}
	}
	return "no vote"
}

func TestIsolatedByItsOwnWord(t *testing.T) {
	tr := newTrial(t, "a1 b1 c1", "a1 a2 b1")
	tr.says("a1 b1 c1", "*=H")
	// Two of three regions say so, but one of them is blind.
	tr.isolated("a1", "no reference and no fellow answers")
	tr.says("a1 b1", "a1=U")
	tr.want("a1=H")
	if got, want := tr.whyNot("a1", "a1"), "isolated: no reference and no fellow answers"; got != want {
		t.Errorf("why not: %q, want %q", got, want)
	}
	if a := tr.j.Agents()[0]; a.Isolated == "" || !a.Fresh {
		t.Errorf("%+v", a)
	}
	tr.wantTold("")
	tr.pass(2 * time.Second)
	tr.wantTold(VantageIsolated)
	// A new stream of the same process is as blind, until a heartbeat says otherwise.
	tr.connect("a1")
	tr.want("a1=H")
	tr.isolated("a1", "")
	tr.want("a1=U")
	tr.wantTold(VantageBack)
	// What it says about itself is bounded.
	tr.pass(selfEvery)
	tr.isolated("a1", strings.Repeat("x", 10*MaxReason))
	if got := tr.whyNot("a1", "a1"); len(got) > MaxReason+len(health.WhyNotIsolated) {
		t.Errorf("%d bytes", len(got))
	}
	// One that is silent is silent.
	tr.pass(3 * time.Second)
	tr.told()
	tr.silence("a1")
	if got := tr.whyNot("a1", "a1"); !strings.HasPrefix(got, "silent") {
		t.Errorf("why not: %q", got)
	}
	tr.wantTold(VantageBack)
}

// A vantage that suddenly sees everything down is alone for a moment when it is
// the first to see what is true: that costs nothing, and there is no event.
func TestTheFirstToSeeIsNotTheLiar(t *testing.T) {
	tr := newTrial(t, "a1 b1 c1", "a1 a2 a3 b1 b2 b3")
	tr.says("a1 b1 c1", "*=H")
	tr.says("a1", "*=U")
	tr.want("*=H")
	tr.pass(time.Second)
	tr.says("b1", "*=U")
	tr.want("*=U")
	tr.pass(time.Minute)
	tr.wantTold("")
}

func TestIsolatedByWhatItSays(t *testing.T) {
	tr := newTrial(t, "a1 a2 b1 b2 c1 c2", "a1 a2 a3 b1 b2 b3")
	tr.says("a1 a2 b1 b2 c1 c2", "*=H")
	tr.says("a1", "*=U")
	tr.pass(3 * time.Second)
	tr.wantTold(VantageIsolated)
	if got := tr.whyNot("b1", "a1"); !strings.Contains(got, "calls 6 of 6 targets UNHEALTHY, and the other regions call 6 of those HEALTHY") {
		t.Errorf("why not: %q", got)
	}
	// It stays one of its region: the other one alone is not more than half.
	tr.says("a2 b1 b2", "a1=U")
	tr.want("a1=H")
	// It sees again.
	tr.says("a1", "b*=H")
	tr.want("a1=U")
	tr.wantTold(VantageBack)
	// Opinions without a vote make nobody a liar: guests, and who is silent.
	tr.silence("a1 a2 b1 b2")
	tr.says("g1", "*=H")
	tr.says("c1 c2", "*=U")
	tr.pass(5 * time.Second)
	tr.wantTold("")
}

// The sights are kept up to date opinion by opinion; counted anew they are the same.
func TestSightsAgainstCountingAnew(t *testing.T) {
	agents := []string{"a1", "a2", "b1", "c1", "g1"}
	targets := []string{"a1", "a2", "b1", "b2", "c1", "x1"}
	rapid.Check(t, func(t *rapid.T) {
		tr := newTrial(t, "a1 a2 b1 c1", strings.Join(targets[:5], " "))
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			agent := rapid.SampledFrom(agents).Draw(t, "agent")
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				tr.silence(agent)
			case 1:
				tr.speaks(agent)
			case 2:
				if tr.sessions[agent] != nil {
					tr.isolated(agent, rapid.SampledFrom([]string{"", "blind"}).Draw(t, "why"))
				}
			case 3: // other targets, and other agents
				n := rapid.IntRange(1, 6).Draw(t, "targets")
				tr.plan.Assignments, tr.plan.Regions = nil, nil
				other := newTrial(t, rapid.SampledFrom([]string{"a1 a2 b1 c1", "a1 b1 g1", "b1 c1"}).Draw(t, "agents"), strings.Join(targets[:n], " "))
				tr.plan.Assignments, tr.plan.Regions, tr.plan.Agents = other.plan.Assignments, other.plan.Regions, other.plan.Agents
				tr.replan()
			default:
				word := rapid.SampledFrom([]string{"H", "U", "U", "?"}).Draw(t, "word")
				tr.says(agent, rapid.SampledFrom(append(targets, "*", "a*")).Draw(t, "target")+"="+word)
			}
			tr.sightsAnew()
		}
	})
}

// sightsAnew counts every vantage's sight from its opinions.
func (tr *trial) sightsAnew() {
	tr.Helper()
	lean := func(i int, own string) int {
		say := map[string]int{}
		for _, v := range tr.voters {
			if op := tr.slots.row(i)[v.column]; v.registered && v.fresh && v.self == "" && v.region != own {
				say[v.region] += map[string]int{"H": 1, "U": -1}[letter(op.status)]
			}
		}
		n := 0
		for _, s := range say {
			n += sign(s)
		}
		return n
	}
	for _, v := range tr.voters {
		var want health.Sight
		for i := range tr.dockets {
			op := tr.slots.row(i)[v.column]
			if !v.registered || !v.fresh || letter(op.status) == "?" {
				continue
			}
			want.Definite++
			if letter(op.status) == "U" {
				want.Unhealthy++
				if lean(i, v.region) > 0 {
					want.Contradicted++
				}
			}
		}
		if v.sight != want {
			tr.Fatalf("%s: %+v, counted anew %+v", v.name, v.sight, want)
		}
		isolated := v.registered && v.fresh && (v.self != "" || want.Isolated() != "")
		if isolated != (v.isolated != "") {
			tr.Fatalf("%s: isolated %q; sight %+v, self %q", v.name, v.isolated, want, v.self)
		}
	}
}

// An agent that changes its mind on whether it is cut off with every heartbeat
// is believed now and then only: every target is judged anew each time.
func TestIsolationInEveryHeartbeat(t *testing.T) {
	tr := newTrial(t, "a1 b1 c1", "a1 b1")
	tr.says("a1 b1 c1", "*=H")
	changes, last := 0, ""
	for n := range 100 { // ten seconds
		tr.now = tr.now.Add(100 * time.Millisecond)
		tr.isolated("a1", []string{"blind", ""}[n%2])
		if v := tr.vantages["a1"]; v.self != last {
			changes, last = changes+1, v.self
		}
	}
	if changes < 2 || changes > 11 {
		t.Errorf("%d changes in ten seconds", changes)
	}
	// What it says last counts in the end, without another heartbeat.
	for _, word := range []string{"blind", "", "blind", ""} {
		tr.isolated("a1", word)
	}
	if v := tr.vantages["a1"]; v.doubtful() {
		next := tr.next(tr.now)
		if next.IsZero() || next.After(v.selfAt.Add(selfEvery)) {
			t.Errorf("it looks again at %s, now is %s", next, tr.now)
		}
	}
	tr.now = tr.now.Add(selfEvery)
	tr.settle()
	if v := tr.vantages["a1"]; v.self != "" || v.isolated != "" {
		t.Errorf("in the end: self %q, isolated %q", v.self, v.isolated)
	}
}
