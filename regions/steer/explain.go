package steer

import (
	"net/netip"
	"slices"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/geo"
)

// Explanation is a selection with everything that led to it.
type Explanation struct {
	Selection Selection
	// Rung is the selection's in words, with (fail-open) where that made it.
	Rung string
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
	// State is all that is known of its target, Counts the verdict that counts
	// here and Voice whose that is.
	State  TargetState
	Counts regions.Standing
	Voice  Voice
	// Wavers: evidence speaks against the verdict.
	Wavers bool
	// Detail says in words why the effective state is what it is.
	Detail  string
	Answers bool
}

// Explain selects as a query would and says why, as of now, which is not before
// the view's own moment.
func (v *View) Explain(service int32, f regions.Family, client netip.Addr, now time.Time) Explanation {
	s := &v.Plan.Services[service]
	table := v.tables[s.Policy]
	x := Explanation{Selection: v.Select(service, f, client, 0, nil), Geo: table.Explain(client)}
	x.Rung = x.Selection.Rung.String()
	if v.failOpen {
		x.Rung += " (fail-open)"
	}
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
	ranking := table.Rankings()[r].Regions
	order := slices.Clone(ranking)
	for i := range s.Endpoints {
		if !slices.Contains(order, s.Endpoints[i].Region) {
			order = append(order, s.Endpoints[i].Region)
		}
	}
	w := v.wordsFor(service, f, ranking, client, now)
	w.sel = &x.Selection
	for _, region := range order {
		rr := w.region(region)
		x.Regions = append(x.Regions, rr)
		w.passed = w.passed || rr.Selected
		w.bypassed = w.bypassed || w.open.has(region)
	}
	x.Summary = w.summary(x.Regions)
	return x
}

// Endpoint explains one endpoint in a family, as it is for clients of whose
// region nothing else is seen.
func (v *View) Endpoint(service int32, endpoint int, f regions.Family, now time.Time) EndpointReason {
	w := words{view: v, index: service, service: &v.Plan.Services[service], family: f, client: nobody, now: now}
	return w.endpoint(endpoint)
}

// wordsFor gathers what a selection is put into words with.
func (v *View) wordsFor(service int32, f regions.Family, ranking []uint16, client netip.Addr, now time.Time) *words {
	s := &v.Plan.Services[service]
	w := &words{view: v, index: service, service: s, family: f, client: nobody, now: now, sv: v.services.at(service)}
	if own := w.sv.of(ranking); own != w.sv {
		w.sv, w.client = own, int32(ranking[0])
	}
	st := &w.sv.family[f]
	w.open = st.regions
	if w.sv.ramps != nil {
		w.bucket = bucketOf(w.sv.ramps.seed, client)
		w.open = *st.open(w.sv.ramps.family[f], w.bucket, &regionSet{})
	}
	// How ready each region is, as the view has it.
	e := evaluator{view: v}
	e.candidates(service, w.client, &[2]regionSet{})
	e.weigh(service, e.family[f])
	w.ready = &e.ready
	return w
}
