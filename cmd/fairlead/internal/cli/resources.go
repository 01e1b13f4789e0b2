package cli

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

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
	config.KindAgent:          {[]string{"REGION"}, nil},
	config.KindNameserver:     {[]string{"REGION", "DNS", "GRPC"}, nil},
	config.KindHealthCheck:    {[]string{"PROBE", "INTERVAL", "TIMEOUT", ">RISE", ">FALL"}, []string{"HOST", "EXPECTED"}},
	config.KindSteeringPolicy: {[]string{"MODE", "REGIONS", ">RULES"}, []string{"BIAS", "DEFAULT ORDER", ">MAX ANSWERS", ">MIN HEALTHY"}},
	config.KindZone:           {[]string{">SERIAL", "NAMESERVERS", ">RECORD LINES"}, []string{"TTL", "NEGATIVE TTL", "MAILBOX"}},
	config.KindService:        {[]string{"ZONE", "POLICY", "CHECK", "TTL", "ENDPOINTS"}, []string{"ALL DOWN", "UNKNOWN", "FAMILIES"}},
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
		return []string{k.Agent.GetSpec().GetRegion()}
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
		}
	}
	return nil
}

func checkValues(s *pb.HealthCheckSpec) []string {
	probe, host, expected := "", "", ""
	switch {
	case s.GetHttp() != nil:
		h := s.GetHttp()
		probe, host = fmt.Sprintf("http :%d%s", h.GetPort(), h.GetPath()), h.GetHost()
		for _, status := range h.GetExpectedStatuses() {
			expected += "," + strconv.Itoa(int(status))
		}
		expected = strings.TrimPrefix(expected, ",")
	case s.GetTcp() != nil:
		probe = fmt.Sprintf("tcp :%d", s.GetTcp().GetPort())
	}
	return []string{
		probe, exact(s.GetInterval().AsDuration()), exact(s.GetTimeout().AsDuration()),
		strconv.Itoa(int(s.GetRise())), strconv.Itoa(int(s.GetFall())), host, expected,
	}
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
