package steer

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

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
	sv := v.services[service]
	table := v.tables[s.Policy]
	x := Explanation{Selection: v.Select(service, f, client, 0, nil), Geo: table.Explain(client)}
	switch sel := &x.Selection; {
	case sel.group != nil:
		for _, i := range sel.group.endpoints {
			if s.Names {
				x.Names = append(x.Names, s.Endpoints[i].CNAME)
			} else {
				x.Candidates = append(x.Candidates, s.Endpoints[i].Addr[f])
			}
		}
	case sel.Rung == AllDownFallback:
		x.Candidates = s.Fallback[f]
		if s.Names {
			x.Names = []string{s.FallbackName}
		}
	}
	r, _ := table.Rank(client)
	order := slices.Clone(table.Rankings()[r].Regions)
	for i := range s.Endpoints {
		if !slices.Contains(order, s.Endpoints[i].Region) {
			order = append(order, s.Endpoints[i].Region)
		}
	}
	for _, region := range order {
		x.Regions = append(x.Regions, v.explainRegion(service, f, region, &x.Selection))
	}
	x.Summary = v.summarise(service, f, sv, &x)
	return x
}

func (v *View) explainRegion(service int32, f regions.Family, region uint16, sel *Selection) RegionReason {
	s := &v.Plan.Services[service]
	sv := v.services[service]
	rr := RegionReason{
		Region:    region,
		InService: sv.family[f].rung == InService && sv.family[f].regions.has(region),
		Selected:  sel.Region == int32(region),
	}
	var healthy, drained, forced, total int
	for i := range s.Endpoints {
		if s.Endpoints[i].Region != region || !s.Endpoints[i].Has(f) {
			continue
		}
		er := EndpointReason{Endpoint: i, Effect: v.Effect(service, i, f), State: v.State(s.Endpoints[i].Target[f])}
		er.Answers = rr.Selected && sel.group != nil && slices.Contains(sel.group.endpoints, uint16(i))
		total++
		switch {
		case er.Effect.ForcedDown:
			forced++
		case er.Effect.Drained:
			drained++
		case er.Effect.Healthy:
			healthy++
		}
		rr.Endpoints = append(rr.Endpoints, er)
	}
	counts := fmt.Sprintf("%d of %d endpoints serve", healthy, total)
	if drained > 0 {
		counts += fmt.Sprintf(", %d drained", drained)
	}
	if forced > 0 {
		counts += fmt.Sprintf(", %d forced down", forced)
	}
	switch {
	case total == 0:
		rr.Reason = "the service has no " + familyNoun(s, f) + " here"
	case rr.Selected && sel.Preferred != sel.Region:
		rr.Reason = counts + "; the first region here with a healthy " + f.String() + " address"
	case rr.Selected:
		rr.Reason = counts + "; first of the ranking on rung " + sel.Rung.String()
	case sv.family[f].regions.has(region):
		rr.Reason = counts + "; farther down the ranking"
	case drained == total:
		rr.Reason = "drained"
	case healthy == 0:
		rr.Reason = "out of service: " + counts
	default:
		rr.Reason = fmt.Sprintf("out of service: %s, the policy wants %d %%", counts, v.Plan.Policies[s.Policy].MinHealthyPercent)
	}
	return rr
}

func familyNoun(s *regions.Service, f regions.Family) string {
	if s.Names {
		return "endpoint"
	}
	return f.String() + " address"
}

func (v *View) summarise(service int32, f regions.Family, sv *serviceView, x *Explanation) string {
	s := &v.Plan.Services[service]
	sel := &x.Selection
	name := func(r int32) string { return v.Plan.Regions[r].Name }
	switch sel.Rung {
	case None:
		if sel.Preferred >= 0 {
			return fmt.Sprintf("NODATA: the answer comes from %s, where the service has no %s", name(sel.Preferred), familyNoun(s, f))
		}
		if sv.configured[f].empty() {
			return "NODATA: the service has no " + familyNoun(s, f)
		}
		return "NODATA: every endpoint is forced down"
	case AllDownFallback:
		return "No endpoint is healthy: the service's fallback answers"
	}
	var b strings.Builder
	switch sel.Rung {
	case InService:
		fmt.Fprintf(&b, "%s answers", name(sel.Region))
	case HealthyAnywhere:
		fmt.Fprintf(&b, "No region has its share of healthy endpoints; what is healthy in %s answers", name(sel.Region))
	case DrainedHealthy:
		fmt.Fprintf(&b, "Nothing undrained is healthy; %s answers as the last resort although drained", name(sel.Region))
	case AllDownServeAll:
		fmt.Fprintf(&b, "No endpoint is healthy; %s answers as if all were (serve-all)", name(sel.Region))
	case AllDownKeepLast:
		fmt.Fprintf(&b, "No endpoint is healthy; %s answers with what went down last (keep-last)", name(sel.Region))
	}
	if sel.Preferred >= 0 && sel.Preferred != sel.Region {
		fmt.Fprintf(&b, " since %s has no healthy %s", name(sel.Preferred), familyNoun(s, f))
	}
	var skipped []string
	for _, r := range x.Regions {
		if r.Selected {
			break
		}
		skipped = append(skipped, v.Plan.Regions[r.Region].Name+" ("+r.Reason+")")
	}
	if len(skipped) > 0 {
		fmt.Fprintf(&b, "; ranked before it: %s", strings.Join(skipped, ", "))
	}
	return b.String()
}
