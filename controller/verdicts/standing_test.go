package verdicts

import (
	"testing"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
)

// A region whose vantages cannot tell keeps its own standing while its agents may
// be restarting, and then stands as the verdict does; by time alone.
func TestRegionsStandingLapses(t *testing.T) {
	for name, falls := range map[string]func(*trial){
		"silent":      func(tr *trial) { tr.silence("a1") },
		"cannot tell": func(tr *trial) { tr.says("a1", "*=?") },
		"blind":       func(tr *trial) { tr.isolated("a1", "no reference answers") },
		"restarted, and has no opinion yet": func(tr *trial) {
			tr.opinions["a1"] = nil
			tr.connect("a1")
		},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTrial(t, "a1 b1 c1", "a1 b1")
			tr.says("a1 b1 c1", "*=H")
			tr.says("a1", "a1=U")
			tr.pass(time.Minute) // as long as it says so, it stands
			stands := func(when string, want regions.Status) {
				t.Helper()
				v := tr.verdict("a1")
				if got := v.In("a").Verdict; got != want || v.Last != regions.Healthy {
					t.Errorf("%s: a stands for %s and the verdict is %s", when, got, v.Last)
				}
			}
			stands("heard", regions.Unhealthy)
			from := tr.now
			falls(tr)
			tr.pass(from.Add(health.StandsFor - time.Second).Sub(tr.now))
			stands("for a while", regions.Unhealthy)
			tr.pass(time.Second)
			stands("later", regions.Healthy)
			if got := tr.verdict("a1").Regions; len(got) > 0 {
				t.Errorf("it has standings of its own: %v", got)
			}
			tr.silent["a1"] = false
			tr.connect("a1")
			tr.pass(2 * selfEvery)
			tr.isolated("a1", "")
			tr.says("a1", "a1=U")
			stands("heard again", regions.Unhealthy)
		})
	}
}

// A process that has just started does not stand by what the one before it said of
// itself, though nothing else has changed.
func TestRestartedAgentIsNotBlind(t *testing.T) {
	tr := newTrial(t, "a1 b1 c1", "t")
	tr.says("a1 b1 c1", "t=H")
	tr.isolated("a1", "no reference answers")
	if got := tr.j.Agents()[0].Isolated; got == "" {
		t.Fatal("not isolated")
	}
	s := sessionOf(&pb.AgentHello{Agent: "a1", Region: "a", Incarnation: 2})
	tr.sessions["a1"] = s
	tr.hear(event{session: s, opened: true}, tr.now)
	tr.settle()
	if got, why := tr.j.Agents()[0].Isolated, tr.whyNot("t", "a1"); got != "" || why != "" {
		t.Errorf("isolated as %q, its vote does not count as %q", got, why)
	}
}
