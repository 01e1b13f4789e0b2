package plan

import (
	"fmt"
	"math"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
	"github.com/fairlead-dns/fairlead/regions/steer"
)

// Explain answers a question from a view. evidence gives the verdict with its
// votes by target id; it may return false.
func Explain(v *steer.View, q Question, now time.Time, evidence func(target string) (health.Verdict, bool)) *pb.ExplainResponse {
	svc := &v.Plan.Services[q.Service]
	policy := &v.Plan.Policies[svc.Policy]
	x := v.Explain(q.Service, q.Family, q.Client, now)
	resp := &pb.ExplainResponse{
		Generation: &pb.Generation{Epoch: v.Plan.Generation.Epoch, Revision: v.Plan.Generation.Revision},
		Service:    svc.Name, Policy: policy.Name,
		Rung: x.Rung, Ttl: x.Selection.TTL, Scope: uint32(x.Selection.Scope), Summary: x.Summary,
		Client: &pb.ClientLocation{
			Address: q.Client.String(), Continent: x.Geo.Location.Continent, Country: x.Geo.Location.Country,
			Subdivision: x.Geo.Location.Subdivision, City: x.Geo.Location.City,
			RankedBy: x.Geo.Source.String(), Rule: x.Geo.Rule, Database: x.Geo.Database,
		},
	}
	if x.Geo.Network.IsValid() {
		resp.Client.Network = x.Geo.Network.String()
	}
	if x.Geo.Location.HasCoordinates {
		lat, lon := x.Geo.Location.Latitude, x.Geo.Location.Longitude
		resp.Client.Latitude, resp.Client.Longitude = &lat, &lon
	}
	for _, a := range x.Candidates {
		resp.Answers = append(resp.Answers, a.String())
	}
	resp.Answers = append(resp.Answers, x.Names...)
	for _, r := range x.Regions {
		out := &pb.RegionExplanation{
			Region: v.Plan.Regions[r.Region].Name, InService: r.InService, Selected: r.Selected, Reason: r.Reason,
			DistanceKm: kilometres(x.Geo.DistancesKm, r.Region), BiasedKm: kilometres(x.Geo.BiasedKm, r.Region),
		}
		for _, er := range r.Endpoints {
			out.Endpoints = append(out.Endpoints, explainEndpoint(v, svc, q.Family, er, now, evidence))
		}
		resp.Regions = append(resp.Regions, out)
	}
	return resp
}

func explainEndpoint(v *steer.View, svc *regions.Service, f regions.Family, er steer.EndpointReason, now time.Time, evidence func(string) (health.Verdict, bool)) *pb.EndpointExplanation {
	e := &svc.Endpoints[er.Endpoint]
	out := &pb.EndpointExplanation{
		Endpoint: e.Name, Address: e.CNAME, State: er.Effect.String(), DecidedBy: er.Effect.By.String(),
		Answers: er.Answers, Weight: e.Weight, Detail: er.Detail,
	}
	if e.Addr[f].IsValid() {
		out.Address = e.Addr[f].String()
	}
	if t := e.Target[f]; t >= 0 {
		if verdict, ok := evidence(v.Plan.Targets[t].ID); ok {
			out.Health = healthpb.TargetHealth(v.Plan.Targets[t].ID, verdict, now)
		}
	}
	return out
}

// Seen says in a few words what the vantages saw that voted as the verdict
// stands, as "HTTP 503 from 3 of 3 vantages"; empty without such a vote.
func Seen(v health.Verdict) string {
	count := map[string]int{}
	best := ""
	for _, vote := range v.Votes {
		if vote.Status != v.Last || vote.Reason == "" {
			continue
		}
		if count[vote.Reason]++; best == "" || count[vote.Reason] > count[best] {
			best = vote.Reason
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("%s from %d of %d vantages", best, count[best], len(v.Votes))
}

func kilometres(km []float64, region uint16) *float64 {
	if int(region) >= len(km) || math.IsNaN(km[region]) {
		return nil
	}
	v := math.Round(km[region]*10) / 10
	return &v
}
