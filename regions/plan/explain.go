package plan

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
	"github.com/fairlead-dns/fairlead/regions/steer"
	"github.com/fairlead-dns/fairlead/regions/zone"
)

// Question is what is to be explained: a query and the client behind it.
type Question struct {
	Service int32
	Family  regions.Family
	Client  netip.Addr
}

// ParseQuestion finds the service that a query for a name would be steered
// by; a wildcard service answers for the names below it. The error says which
// of the three is wrong; ErrNoService is wrapped when no service has the name.
func (b *Base) ParseQuestion(name, qtype, client string) (Question, error) {
	q := Question{}
	owner, err := zone.ParseName(fqdn(name))
	if err != nil {
		return q, fmt.Errorf("name: %w", err)
	}
	switch strings.ToUpper(qtype) {
	case "", "A", "CNAME":
	case "AAAA":
		q.Family = regions.V6
	default:
		return q, fmt.Errorf("type: %q is not steered: want A, AAAA or CNAME", qtype)
	}
	if q.Client, err = parseClient(client); err != nil {
		return q, err
	}
	z := b.Zones.Find(owner)
	if z == nil {
		return q, fmt.Errorf("%w: %q is in none of the zones", ErrNoService, name)
	}
	rrtype := uint16(1)
	if q.Family == regions.V6 {
		rrtype = 28
	}
	m := z.Lookup(owner, rrtype)
	if m.Service < 0 {
		return q, fmt.Errorf("%w: %q is answered from static records (%s)", ErrNoService, name, m.Kind)
	}
	q.Service = m.Service
	if b.Services[q.Service].Names {
		q.Family = regions.V4
	}
	return q, nil
}

// ErrNoService says that a name is not a service's.
var ErrNoService = fmt.Errorf("not a service")

func parseClient(text string) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, fmt.Errorf("client: required: an address or a prefix, as 193.0.6.139 or 193.0.6.0/24")
	}
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Masked().Addr(), nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return a, fmt.Errorf("client: %q is neither an address nor a prefix: want for example 193.0.6.139 or 193.0.6.0/24", text)
	}
	return a.Unmap(), nil
}

// Explain answers a question from a view. evidence gives the verdict with its
// votes by target id; it may return false.
func Explain(v *steer.View, q Question, now time.Time, evidence func(target string) (health.Verdict, bool)) *pb.ExplainResponse {
	svc := &v.Plan.Services[q.Service]
	policy := &v.Plan.Policies[svc.Policy]
	x := v.Explain(q.Service, q.Family, q.Client)
	resp := &pb.ExplainResponse{
		Generation: &pb.Generation{Epoch: v.Plan.Generation.Epoch, Revision: v.Plan.Generation.Revision},
		Service:    svc.Name, Policy: policy.Name,
		Rung: x.Selection.Rung.String(), Ttl: x.Selection.TTL, Scope: uint32(x.Selection.Scope), Summary: x.Summary,
		Client: &pb.ClientLocation{
			Address: q.Client.String(), Continent: x.Geo.Location.Continent, Country: x.Geo.Location.Country,
			Subdivision: x.Geo.Location.Subdivision, City: x.Geo.Location.City,
			RankedBy: x.Geo.Source.String(), Rule: x.Geo.Rule,
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
		Answers: er.Answers, Weight: e.Weight,
	}
	if e.Addr[f].IsValid() {
		out.Address = e.Addr[f].String()
	}
	out.Detail = Detail(er.Effect, er.State, now)
	if t := e.Target[f]; t >= 0 {
		if verdict, ok := evidence(v.Plan.Targets[t].ID); ok {
			out.Health = healthpb.TargetHealth(v.Plan.Targets[t].ID, verdict, now)
		}
	}
	return out
}

// Detail says in words why an endpoint's effective state is what it is.
func Detail(e regions.Effect, s steer.TargetState, now time.Time) string {
	if o := e.Override; o != nil {
		return fmt.Sprintf("%s of %s by %s: %s", o.Action, o.Scope, o.Author, o.Reason)
	}
	switch e.HealthBy {
	case regions.ByNoCheck:
		return "the service has no health check"
	case regions.ByNeverJudged:
		return "no verdict was ever passed"
	}
	return fmt.Sprintf("%s for %s", s.Verdict, now.Sub(s.Since).Truncate(time.Second))
}

func kilometres(km []float64, region uint16) *float64 {
	if int(region) >= len(km) || math.IsNaN(km[region]) {
		return nil
	}
	v := math.Round(km[region]*10) / 10
	return &v
}
