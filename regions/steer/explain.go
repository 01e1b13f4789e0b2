package steer

import (
	"net/netip"
	"slices"

	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/geo"
)

// Explanation is a selection with everything that led to it.
type Explanation struct {
	Selection Selection
	// Candidates may answer; a query gets up to the policy's maxAnswers of
	// them, dealt by weight.
	Candidates []netip.Addr
	Names      []string
	Geo        geo.Explanation
	Regions    []RegionReason // in the order of the client's ranking
	Summary    string
}

// RegionReason says why a region did or did not answer.
type RegionReason struct {
	Region    uint16
	InService bool
	Selected  bool
	Reason    string
	Endpoints []EndpointReason
}

// EndpointReason is one endpoint's effective state.
type EndpointReason struct {
	Endpoint int
	Effect   regions.Effect
	State    TargetState
	Answers  bool
}

// Explain selects as a query would and says why.
func (v *View) Explain(service int32, f regions.Family, client netip.Addr) Explanation {
	s := &v.Plan.Services[service]
	table := v.tables[s.Policy]
	x := Explanation{Selection: v.Select(service, f, client, 0, nil), Geo: table.Explain(client)}
	switch sel := &x.Selection; {
	case sel.group != nil:
		for _, m := range sel.group.members {
			if s.Names {
				x.Names = append(x.Names, s.Endpoints[m.endpoint].CNAME)
			} else if a := s.Endpoints[m.endpoint].Addr[f]; !slices.Contains(x.Candidates, a) {
				x.Candidates = append(x.Candidates, a)
			}
		}
	case sel.Rung == AllDownFallback && s.Names:
		x.Names = []string{s.FallbackName}
	case sel.Rung == AllDownFallback:
		x.Candidates = slices.Clone(s.Fallback[f])
	}
	r, _ := table.Rank(client)
	order := slices.Clone(table.Rankings()[r].Regions)
	for i := range s.Endpoints {
		if !slices.Contains(order, s.Endpoints[i].Region) {
			order = append(order, s.Endpoints[i].Region)
		}
	}
	w := words{view: v, service: s, sv: v.services.at(service), family: f, sel: &x.Selection}
	for _, region := range order {
		rr := v.explainRegion(service, f, region, &w)
		x.Regions = append(x.Regions, rr)
		w.passed = w.passed || rr.Selected
		w.bypassed = w.bypassed || w.sv.family[f].regions.has(region)
	}
	x.Summary = w.summary(x.Regions)
	return x
}

func (v *View) explainRegion(service int32, f regions.Family, region uint16, w *words) RegionReason {
	s, st := &v.Plan.Services[service], &w.sv.family[f]
	rr := RegionReason{
		Region:    region,
		InService: st.rung == InService && st.regions.has(region),
		Selected:  w.sel.Region == int32(region),
	}
	var n counts
	for i := range s.Endpoints {
		if s.Endpoints[i].Region != region {
			continue
		}
		n.anyFamily++
		if !s.Endpoints[i].Has(f) {
			continue
		}
		er := EndpointReason{Endpoint: i, Effect: v.Effect(service, i, f), State: v.State(s.Endpoints[i].Target[f])}
		er.Answers = rr.Selected && slices.ContainsFunc(w.sel.group.members, func(m member) bool { return int(m.endpoint) == i })
		n.add(er.Effect)
		rr.Endpoints = append(rr.Endpoints, er)
	}
	rr.Reason = w.reason(region, &n)
	return rr
}
