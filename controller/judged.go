package controller

import (
	"slices"

	"github.com/fairlead-dns/fairlead/controller/planner"
	"github.com/fairlead-dns/fairlead/controller/verdicts"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
)

// JudgedBy is what a judge needs to know of a generation: the agents that are
// registered, what each target stands for, and what may wait for a release. It is
// exported for those who run judges without a controller, as simulations do.
func JudgedBy(c *planner.Current) verdicts.Plan {
	p := verdicts.Plan{
		Generation: c.Generation, Assignments: c.Plan.Compiled.Assignments,
		Guard: c.Plan.Safety.Guard, Releases: c.Plan.Releases,
		Regions: standsIn(c.Plan.Base), Latches: latchGroups(c.Plan.Base),
	}
	for _, r := range c.Set.ByKind(config.KindAgent) {
		a := r.GetAgent()
		p.Agents = append(p.Agents, verdicts.Agent{
			Name: a.GetMetadata().GetName(), Region: a.GetSpec().GetRegion(),
			References: a.GetSpec().GetReferences(), Address: a.GetSpec().GetAddress(),
		})
	}
	return p
}

// judged keeps what a generation's configuration makes of JudgedBy: a drain
// changes the overrides only, and must not cost what the configuration costs.
type judged struct {
	base *regions.Base
	plan verdicts.Plan
}

// by is JudgedBy. Calls come one after the other.
func (j *judged) by(c *planner.Current) verdicts.Plan {
	if j.base == nil || j.base != c.Plan.Base {
		j.base, j.plan = c.Plan.Base, JudgedBy(c)
	}
	p := j.plan
	p.Generation, p.Releases = c.Generation, c.Plan.Releases
	return p
}

// standsIn is the regions that each target stands in as an endpoint, by target.
func standsIn(b *regions.Base) [][]string {
	in := make([][]string, len(b.Targets))
	for s := range b.Services {
		for e := range b.Services[s].Endpoints {
			ep := &b.Services[s].Endpoints[e]
			name := b.Regions[ep.Region].Name
			for _, t := range ep.Target {
				if t >= 0 && !slices.Contains(in[t], name) {
					in[t] = append(in[t], name)
				}
			}
		}
	}
	return in
}

// latchGroups are the regions of services with manual failback. A service without
// a health check has none: nothing makes its regions go out of service.
func latchGroups(b *regions.Base) []verdicts.LatchGroup {
	var groups []verdicts.LatchGroup
	for i := range b.Services {
		s := &b.Services[i]
		if !s.Failback.Manual || !s.Checked {
			continue
		}
		policy := &b.Policies[s.Policy]
		first := len(groups)
		for e := range s.Endpoints {
			ep := &s.Endpoints[e]
			name := b.Regions[ep.Region].Name
			n := slices.IndexFunc(groups[first:], func(g verdicts.LatchGroup) bool { return g.Region == name })
			if n < 0 {
				n = len(groups) - first
				groups = append(groups, verdicts.LatchGroup{
					Service: s.Name, Region: name, MinHealthyPercent: policy.MinHealthyPercent,
					Confirmed: policy.ActivePassive, Independent: s.Independent,
				})
			}
			var ids [2]string
			for f, t := range ep.Target {
				if t >= 0 {
					ids[f] = b.Targets[t].ID
				}
			}
			if g := &groups[first+n]; ids != [2]string{} {
				g.Targets = append(g.Targets, ids)
			}
		}
	}
	return groups
}
