package verdicts

import (
	"slices"

	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
)

// lossStep is open losses that came about within the window of each other, beside
// what had turned UNHEALTHY within the window before, and what the guard says of
// all that together.
type lossStep struct {
	open   []loss
	losses health.Losses
	ruling health.Ruling
	// touched: an open loss is in the region that is lost as a whole.
	touched bool
}

// steps sorts open losses into steps, and asks the guard about each. The vague
// are held, and nobody can tell now: they count as lost in every step.
func (t *tally) steps(open []loss, vague []int) []lossStep {
	g := &t.guard
	slices.SortFunc(open, func(a, b loss) int { return a.at.Compare(b.at) })
	g.sort(t.table)
	gone := make([]int, len(g.names)) // open losses by region: HEALTHY still, and not for long
	for _, l := range open {
		t.addPlaces(gone, l.target)
	}
	for _, i := range vague {
		t.addPlaces(gone, i)
	}
	var out []lossStep
	for start := 0; start < len(open); {
		end := start + 1
		for end < len(open) && open[end].at.Sub(open[end-1].at) <= g.policy.Window {
			end++
		}
		out = append(out, t.step(open[start:end], vague, len(open), gone))
		start = end
	}
	return out
}

func (t *tally) addPlaces(to []int, target int) {
	for _, p := range t.dockets[target].places {
		to[p]++
	}
}

// step counts one step. There are so many open losses in all, and gone of them and
// of the vague in each region.
func (t *tally) step(open []loss, vague []int, all int, gone []int) lossStep {
	g := &t.guard
	s := lossStep{open: open, losses: health.Losses{Targets: len(t.dockets), Left: t.statuses[regions.Healthy] - all - len(vague)}}
	lost := make([]int, len(g.names))
	g.nextStep()
	count := func(i int) {
		if g.stamps[i] == g.stamp {
			return
		}
		g.stamps[i] = g.stamp
		s.losses.Lost++
		t.addPlaces(lost, i)
	}
	for _, i := range vague {
		count(i)
	}
	for _, l := range open {
		count(l.target)
	}
	// What turned was seen lost no later than it turned.
	from, to := open[0].at.Add(-g.policy.Window), open[len(open)-1].at
	for k := len(g.turned) - 1; k >= 0 && !g.turned[k].at.Before(from); k-- {
		v := t.table.get(g.turned[k].target)
		if v.Last != regions.Unhealthy || g.stamps[g.turned[k].target] == g.stamp {
			continue
		}
		if at := lostAt(v.Votes, v.Since); !at.Before(from) && !at.After(to) {
			count(g.turned[k].target)
		}
	}
	for p, n := range lost {
		if n > 0 {
			s.losses.Regions = append(s.losses.Regions, health.RegionLosses{Region: g.names[p], Left: g.healthy[p] - gone[p], Lost: n})
		}
	}
	s.ruling = health.Guard(g.policy, s.losses)
	if p, ok := g.byName[s.ruling.Whole]; ok {
		s.touched = slices.ContainsFunc(open, func(l loss) bool { return slices.Contains(t.dockets[l.target].places, p) })
	}
	return s
}

func (s *lossStep) reason(g *guard) string { return s.ruling.Reason(g.policy, s.losses) }
