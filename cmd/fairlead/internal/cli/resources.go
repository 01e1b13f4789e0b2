package cli

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

// printResources prints a table for each kind. withKind writes KIND/NAME.
func printResources(p *printer, resources []*pb.Resource, withKind bool) {
	for start := 0; start < len(resources); {
		kind := config.Kind(resources[start])
		end := start + 1
		for end < len(resources) && config.Kind(resources[end]) == kind {
			end++
		}
		if start > 0 {
			p.WriteByte('\n')
		}
		kindTable(p, resources[start:end], withKind).print(p)
		start = end
	}
}

// kindTitles are the columns between the name and what every kind has.
var kindTitles = map[string]struct{ table, wide []string }{
	config.KindRegion:         {[]string{">LATITUDE", ">LONGITUDE", ">CAPACITY", "AVAILABILITY ZONES"}, nil},
	config.KindAgent:          {[]string{"REGION"}, []string{"ADDRESS", "REFERENCES"}},
	config.KindNameserver:     {[]string{"REGION", "DNS", "GRPC"}, nil},
	config.KindHealthCheck:    {[]string{"PROBE", "INTERVAL", "TIMEOUT", ">RISE", ">FALL"}, []string{"HOST", "EXPECTED", "CONFIRM", "QUORUM", ">VANTAGES", "DAMPING"}},
	config.KindSteeringPolicy: {[]string{"MODE", "REGIONS", ">RULES"}, []string{"BIAS", "DEFAULT ORDER", ">MAX ANSWERS", ">MIN HEALTHY"}},
	config.KindSafetyPolicy:   {[]string{"GUARD", ">MAX UNHEALTHY", "WINDOW", "FROZEN AFTER", "FAIL OPEN AFTER"}, nil},
	config.KindZone:           {[]string{">SERIAL", "NAMESERVERS", ">RECORD LINES"}, []string{"TTL", "NEGATIVE TTL", "MAILBOX"}},
	config.KindService:        {[]string{"ZONE", "POLICY", "CHECK", "TTL", "ENDPOINTS"}, []string{"ALL DOWN", "UNKNOWN", "FAMILIES", "MIN TTL", "FAILBACK"}},
}

func kindTable(p *printer, resources []*pb.Resource, withKind bool) *table {
	titles := []string{"NAME"}
	spec := kindTitles[config.Kind(resources[0])]
	titles = append(titles, spec.table...)
	if p.wide {
		titles = append(titles, spec.wide...)
		titles = append(titles, "LABELS", "ETAG")
	}
	t := newTable(titles...)
	for _, r := range resources {
		key := config.KeyOf(r)
		name := key.Name
		if withKind {
			name = key.String()
		}
		row := []any{name}
		values := kindValues(r)
		if !p.wide {
			values = values[:len(spec.table)]
		}
		for _, v := range values {
			row = append(row, v)
		}
		if p.wide {
			m := config.Metadata(r)
			row = append(row, pairs(m.GetLabels(), "="), m.GetEtag())
		}
		t.row(row...)
	}
	return t
}

// kindValues are the values for both of a kind's lists of columns.
func kindValues(r *pb.Resource) []string {
	switch k := r.GetKind().(type) {
	case *pb.Resource_Region:
		s := k.Region.GetSpec()
		return []string{number(s.GetLatitude()), number(s.GetLongitude()), unlessZero(s.GetCapacity()), strings.Join(s.GetAvailabilityZones(), ",")}
	case *pb.Resource_Agent:
		s := k.Agent.GetSpec()
		return []string{s.GetRegion(), s.GetAddress(), strings.Join(s.GetReferences(), ",")}
	case *pb.Resource_Nameserver:
		s := k.Nameserver.GetSpec()
		return []string{s.GetRegion(), s.GetDns(), s.GetGrpc()}
	case *pb.Resource_HealthCheck:
		return checkValues(k.HealthCheck.GetSpec())
	case *pb.Resource_SteeringPolicy:
		s := k.SteeringPolicy.GetSpec()
		candidates := strings.Join(s.GetRegions(), ",")
		if candidates == "" {
			candidates = "(all)"
		}
		return []string{
			word(s.GetMode(), "STEERING_MODE_"), candidates, unlessZero(uint64(len(s.GetRules()))),
			pairs(s.GetBias(), ":"), strings.Join(s.GetDefaultOrder(), ","), strconv.Itoa(int(s.GetMaxAnswers())), percent(s.GetMinHealthyPercent()),
		}
	case *pb.Resource_SafetyPolicy:
		// What is not stated is the default, and its column is empty.
		g, ages := k.SafetyPolicy.GetSpec().GetGuard(), k.SafetyPolicy.GetSpec().GetHealthAges()
		mode := ""
		if g.GetMode() != pb.GuardMode_GUARD_MODE_UNSPECIFIED {
			mode = word(g.GetMode(), "GUARD_MODE_")
		}
		return []string{mode, percent(g.GetMaxPercent()), stated(g.GetWindow()), stated(ages.GetFrozenAfter()), stated(ages.GetFailOpenAfter())}
	case *pb.Resource_Zone:
		s := k.Zone.GetSpec()
		return []string{
			unlessZero(uint64(k.Zone.GetStatus().GetSerial())), strings.Join(s.GetNameservers(), ","),
			unlessZero(uint64(len(strings.Split(strings.TrimRight("\n"+s.GetRecords(), "\n"), "\n")) - 1)),
			exact(s.GetTtl().AsDuration()), exact(s.GetNegativeTtl().AsDuration()), s.GetMailbox(),
		}
	case *pb.Resource_Service:
		s := k.Service.GetSpec()
		return []string{
			s.GetZone(), s.GetPolicy(), s.GetHealthCheck(), exact(s.GetTtl().AsDuration()), endpointCounts(s.GetEndpoints()),
			word(s.GetAllDown(), "ALL_DOWN_"), word(s.GetUnknown(), "UNKNOWN_STATE_"), word(s.GetFamilies(), "FAMILIES_"),
			stated(s.GetMinTtl()), failbackCell(s.GetFailback()),
		}
	}
	return nil
}

// stated is a duration that may be left out.
func stated(d *durationpb.Duration) string {
	if d == nil {
		return ""
	}
	return exact(d.AsDuration())
}

func checkValues(s *pb.HealthCheckSpec) []string {
	probe, host, expected := "", "", ""
	switch {
	case s.GetHttp() != nil:
		h, scheme := s.GetHttp(), "http"
		if h.GetTls() != nil {
			scheme = "https"
		}
		probe, host = fmt.Sprintf("%s :%d%s", scheme, h.GetPort(), h.GetPath()), h.GetHost()
		for _, status := range h.GetExpectedStatuses() {
			expected += "," + strconv.Itoa(int(status))
		}
		expected = strings.TrimPrefix(strings.Join(append([]string{expected}, h.GetExpectedStatusRanges()...), ","), ",")
	case s.GetTcp() != nil:
		probe = fmt.Sprintf("tcp :%d", s.GetTcp().GetPort())
	case s.GetTls() != nil:
		probe = fmt.Sprintf("tls :%d", s.GetTls().GetPort())
	case s.GetGrpc() != nil:
		probe, host = strings.TrimSpace(fmt.Sprintf("grpc :%d %s", s.GetGrpc().GetPort(), s.GetGrpc().GetService())), s.GetGrpc().GetAuthority()
	case s.GetDns() != nil:
		d := s.GetDns()
		probe, expected = fmt.Sprintf("dns :%d %s %s", d.GetPort(), d.GetName(), d.GetType()), strings.Join(d.GetExpectedAnswers(), ",")
	case s.GetIcmp() != nil:
		probe = "icmp"
	}
	quorum, damping := "", ""
	if s.GetQuorum() != pb.QuorumRule_QUORUM_RULE_UNSPECIFIED {
		quorum = quorumWords(s)
	}
	if s.GetDamping() != nil {
		damping = dampingWords(s)
	}
	return []string{
		probe, exact(s.GetInterval().AsDuration()), exact(s.GetTimeout().AsDuration()),
		strconv.Itoa(int(s.GetRise())), strconv.Itoa(int(s.GetFall())), host, expected,
		stated(s.GetConfirmInterval()), quorum, unlessZero(uint64(s.GetVantages())), damping,
	}
}

// failbackCell is a service's failback where it is stated.
func failbackCell(f *pb.FailbackPolicy) string {
	if f == nil {
		return ""
	}
	parts := []string{"automatic"}
	if f.GetMode() == pb.FailbackMode_FAILBACK_MODE_MANUAL {
		parts[0] = "manual"
	}
	if d := f.GetHoldDown().AsDuration(); d > 0 {
		parts = append(parts, "after "+exact(d))
	}
	if steps := f.GetRampSteps(); len(steps) > 0 {
		var percents []string
		for _, s := range steps {
			percents = append(percents, strconv.Itoa(int(s)))
		}
		parts = append(parts, fmt.Sprintf("ramp %s %% for %s each", strings.Join(percents, "/"), exact(rampInterval(f))))
	}
	return strings.Join(parts, ", ")
}

// endpointCounts is how many endpoints there are in each region: eu-west 2,
// us-east 1.
func endpointCounts(endpoints []*pb.Endpoint) string {
	n := map[string]int{}
	for _, e := range endpoints {
		n[e.GetRegion()]++
	}
	var parts []string
	for _, region := range slices.Sorted(maps.Keys(n)) {
		parts = append(parts, fmt.Sprintf("%s %d", region, n[region]))
	}
	return strings.Join(parts, ", ")
}

func pairs[V any](m map[string]V, sep string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s%s%v", k, sep, m[k]))
	}
	return strings.Join(parts, ",")
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func unlessZero(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

func percent(n uint32) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d%%", n)
}
