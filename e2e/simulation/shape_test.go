package simulation

import (
	"testing"

	plane "github.com/fairlead-dns/fairlead/controller"
)

func TestShapes(t *testing.T) {
	for _, n := range []int{2, 3, 5} {
		c := shape{Regions: n, Agents: 2, Damped: true, Confirm: true}.compile()
		if len(c.base.Assignments) != 2*n || len(c.agents) != 2*n {
			t.Errorf("%d regions: %d targets, %d agents", n, len(c.base.Assignments), len(c.agents))
		}
		p := plane.JudgedBy(c.generation(1, nil))
		if len(p.Latches) != n || len(p.Regions[0]) != 1 || len(p.Latches[0].Targets) != 2 {
			t.Errorf("judged by %+v", p)
		}
	}
}
