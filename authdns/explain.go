package authdns

import (
	"fmt"
	"strings"
	"time"

	"github.com/fairlead-dns/fairlead/authdns/answer"
	"github.com/fairlead-dns/fairlead/authdns/follow"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// What may be asked by DNS: to explain takes a thousand times the work of an answer,
// and who asks over UDP can write any address under it.
const (
	explainRate  = 20 // a second
	explainBurst = 100
)

// explainTo returns what tells dig why an answer is as it is, from what is served.
func (s *Server) explainTo(serving *follow.Serving) func(answer.Explanation) []string {
	return func(x answer.Explanation) []string {
		if !s.explains.AllowN(x.Now, 1) {
			return []string{fmt.Sprintf("error: %s explains %d answers a second by DNS: ask again, or by fairlead explain --nameserver", s.opts.Name, explainRate)}
		}
		resp, err := s.explain(serving, &pb.ExplainRequest{Name: x.Name, Type: x.Type, Client: x.Client.String()}, x.Now)
		if err != nil {
			return []string{"error: " + err.Error()}
		}
		head := fmt.Sprintf("%s: generation %s, health %s", s.opts.Name, serving.Plan.Generation, serving.Health)
		if age, ok := s.follower.HealthAge(x.Now); ok {
			head += fmt.Sprintf(", verdicts %.1f s old", age.Seconds())
		} else {
			head += ", no verdicts"
		}
		if serving.FromDisk {
			head += "; from disk, no controller has confirmed it since the start"
		}
		return append([]string{head}, lines(resp)...)
	}
}

// lines is an explanation for people: the client, the answer, then region by region
// in the order of the client's ranking, then what operators said.
func lines(x *pb.ExplainResponse) []string {
	out := []string{clientLine(x.GetClient())}
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	add("service %s %s: policy %s, rung %s, TTL %d s, scope /%d", x.GetService(), x.GetType(), x.GetPolicy(), x.GetRung(), x.GetTtl(), x.GetScope())
	answers := strings.Join(x.GetAnswers(), " ")
	if answers == "" {
		answers = "none"
	}
	add("answer: %s", answers)
	for i, r := range x.GetRegions() {
		where := ""
		if r.DistanceKm != nil {
			where = fmt.Sprintf(", %.0f km", r.GetDistanceKm())
			if r.BiasedKm != nil && r.GetBiasedKm() != r.GetDistanceKm() {
				where += fmt.Sprintf(" (%.0f with bias)", r.GetBiasedKm())
			}
		}
		state := "out of service"
		if r.GetInService() {
			state = "in service"
		}
		if r.GetSelected() {
			state += ", answers"
		}
		add("region %d %s%s, %s: %s", i+1, r.GetRegion(), where, state, r.GetReason())
		for _, e := range r.GetEndpoints() {
			answers := ""
			if e.GetAnswers() {
				answers = ", answers"
			}
			add("- %s %s %s by %s%s: %s", e.GetEndpoint(), e.GetAddress(), e.GetState(), e.GetDecidedBy(), answers, e.GetDetail())
		}
	}
	for _, o := range x.GetOverrides() {
		ends := ""
		if o.GetExpireTime() != nil {
			ends = ", until " + o.GetExpireTime().AsTime().UTC().Format(time.RFC3339)
		}
		add("override %s: %s of %s by %s%s: %s", o.GetId(), word(o.GetAction().String(), "OVERRIDE_ACTION_"), scopeOf(o.GetScope()), o.GetAuthor(), ends, o.GetReason())
	}
	for _, r := range x.GetBreakGlass() {
		left := (time.Duration(r.GetRemainingMillis()) * time.Millisecond).Round(time.Second)
		add("break-glass %s: %s of %s by %s, %s left: %s", r.GetId(), word(r.GetAction().String(), "BREAK_GLASS_ACTION_"), scopeOf(r.GetScope()), r.GetAuthor(), left, r.GetReason())
	}
	return append(out, x.GetSummary())
}

func clientLine(c *pb.ClientLocation) string {
	out := "client " + c.GetAddress()
	if c.GetNetwork() != "" {
		out += " in " + c.GetNetwork()
	}
	var place []string
	for _, p := range []string{c.GetCity(), c.GetSubdivision(), c.GetCountry(), c.GetContinent()} {
		if p != "" {
			place = append(place, p)
		}
	}
	if len(place) == 0 {
		place = []string{"place not known"}
	}
	out += ": " + strings.Join(place, ", ")
	if c.GetDatabase() != "" {
		out += " by " + c.GetDatabase()
	}
	out += "; ranked by " + c.GetRankedBy()
	if c.GetRule() != "" {
		out += " " + c.GetRule()
	}
	return out
}

// word is the name of a constant as people write it.
func word(constant, prefix string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(constant, prefix)), "_", "-")
}
