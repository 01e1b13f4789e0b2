package plan

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/steer"
)

func TestParseQuestion(t *testing.T) {
	b := compile(t, load(t, sample))
	for _, c := range []struct {
		name, qtype, client string
		service             string
		family              regions.Family
		from                string
		want                string // of the error
	}{
		{"www.example.test", "A", "198.51.100.7", "www.example.test", regions.V4, "198.51.100.7", ""},
		{"www.example.test", "", "198.51.100.7", "www.example.test", regions.V4, "198.51.100.7", ""},
		{"WWW.Example.TEST.", "aaaa", "2001:db8::7", "www.example.test", regions.V6, "2001:db8::7", ""},
		{"www.example.test", "A", "198.51.100.7/24", "www.example.test", regions.V4, "198.51.100.0", ""},
		{"www.example.test", "A", "2001:db8:1:2:3::/56", "www.example.test", regions.V4, "2001:db8:1::", ""},
		{"www.example.test", "A", "::ffff:198.51.100.7", "www.example.test", regions.V4, "198.51.100.7", ""},
		{"www.example.test", "A", "::ffff:198.51.100.7/120", "www.example.test", regions.V4, "198.51.100.0", ""},
		{"www.example.test", "A", "fe80::1%eth0", "www.example.test", regions.V4, "fe80::1", ""},
		{"a.cdn.example.test", "CNAME", "198.51.100.7", "*.cdn.example.test", regions.V4, "198.51.100.7", ""},
		{"a.b.cdn.example.test", "AAAA", "198.51.100.7", "*.cdn.example.test", regions.V4, "198.51.100.7", ""},
		{"*.cdn.example.test", "A", "198.51.100.7", "*.cdn.example.test", regions.V4, "198.51.100.7", ""},

		{"www..example.test", "A", "198.51.100.7", "", 0, "", "name: "},
		{"www.example.test", "MX", "198.51.100.7", "", 0, "", `type: "MX" is not steered: want A, AAAA or CNAME`},
		{"www.example.test", "CNAME", "198.51.100.7", "", 0, "", "type: the endpoints of www.example.test are addresses: want A or AAAA"},
		{"www.example.test", "A", "", "", 0, "", "client: required"},
		{"www.example.test", "A", "paris", "", 0, "", `client: "paris" is neither an address nor a prefix`},
		{"www.example.net", "A", "198.51.100.7", "", 0, "", "not a service: www.example.net is in none of the zones"},
		{"nobody.example.test", "A", "198.51.100.7", "", 0, "", "not a service: nobody.example.test does not exist (NXDOMAIN)"},
		{"txt.example.test", "A", "198.51.100.7", "", 0, "", "not a service: txt.example.test is answered from static records"},
		{"cdn.example.test", "A", "198.51.100.7", "", 0, "", "not a service: cdn.example.test is answered from static records"},
		{"alias.example.test", "A", "198.51.100.7", "", 0, "", "not a service: alias.example.test is an alias of www.example.test. in the static records: ask for that"},
		{"x.old.example.test", "A", "198.51.100.7", "", 0, "", "not a service: x.old.example.test lies below the DNAME of old.example.test."},
		{"x.sub.example.test", "A", "198.51.100.7", "", 0, "", "not a service: x.sub.example.test is delegated, the zone cut is sub.example.test."},
	} {
		q, err := b.ParseQuestion(c.name, c.qtype, c.client)
		if c.want != "" {
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || errors.Is(err, ErrNoService) != strings.HasPrefix(c.want, "not a service") {
				t.Errorf("%s %s from %s: %v, want %s", c.name, c.qtype, c.client, err, c.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s %s from %s: %v", c.name, c.qtype, c.client, err)
			continue
		}
		if got := b.Services[q.Service].Name; got != c.service || q.Family != c.family || q.Client.String() != c.from {
			t.Errorf("%s %s from %s: service %s, %v, client %v", c.name, c.qtype, c.client, got, q.Family, q.Client)
		}
	}
}

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// TestExplain: everything that the API says of one answer.
func TestExplain(t *testing.T) {
	b := compile(t, load(t, sample))
	p := b.With(testGeneration, &pb.OverrideSet{Overrides: []*pb.Override{drain("o1", &pb.OverrideScope{Region: "us-east"})}})
	verdicts := map[string]steer.TargetState{
		"web@192.0.2.10": {Standing: regions.Standing{Verdict: regions.Healthy, Since: now.Add(-3 * time.Minute)}},
		"web@192.0.2.11": {Standing: regions.Standing{Verdict: regions.Unhealthy, Since: now.Add(-10 * time.Second)}},
		"web@192.0.2.20": {Standing: regions.Standing{Verdict: regions.Healthy, Since: now.Add(-time.Hour)}},
	}
	q, err := b.ParseQuestion("www.example.test", "A", "198.51.100.0/24")
	if err != nil {
		t.Fatal(err)
	}
	got := Explain(view(t, p, verdicts), q, now, func(target string) (health.Verdict, bool) {
		s := verdicts[target]
		return health.Verdict{Quorum: s.Verdict, Last: s.Verdict, Since: s.Since}, target == "web@192.0.2.10"
	})
	want := &pb.ExplainResponse{
		Generation: &pb.Generation{Epoch: 1, Revision: 42},
		Service:    "www.example.test", Policy: "nearest",
		Client: &pb.ClientLocation{Address: "198.51.100.0", RankedBy: "cidr-rule", Rule: "lab"},
		Rung:   "in-service", Answers: []string{"192.0.2.10"}, Ttl: 30,
		Summary: "eu-west answers. Before it in the ranking: us-east, drained.",
		Regions: []*pb.RegionExplanation{
			{Region: "us-east", Reason: "drained", Endpoints: []*pb.EndpointExplanation{
				{Endpoint: "us-1", Address: "192.0.2.20", State: "drained", DecidedBy: "drain", Weight: 5, Detail: "drain of region us-east by ana: patching; measured: HEALTHY for 1h0m0s"},
			}},
			{Region: "eu-west", Reason: "first of the ranking that is in service (1 healthy, 1 unhealthy)", InService: true, Selected: true, Endpoints: []*pb.EndpointExplanation{
				{
					Endpoint: "eu-1", Address: "192.0.2.10", State: "healthy", DecidedBy: "verdict", Weight: 100, Detail: "HEALTHY for 3m0s", Answers: true,
					Health: &pb.TargetHealth{Target: "web@192.0.2.10", Quorum: pb.HealthStatus_HEALTH_STATUS_HEALTHY, Verdict: pb.HealthStatus_HEALTH_STATUS_HEALTHY, HeldMillis: 180_000},
				},
				{Endpoint: "eu-2", Address: "192.0.2.11", State: "unhealthy", DecidedBy: "verdict", Detail: "UNHEALTHY for 10s"},
			}},
		},
	}
	// The rule tells this client from others, but one region is left for all.
	if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
		t.Error(d)
	}

	q, err = b.ParseQuestion("x.cdn.example.test", "AAAA", "203.0.113.1")
	if err != nil {
		t.Fatal(err)
	}
	got = Explain(view(t, p, verdicts), q, now, nil)
	if !cmp.Equal(got.GetAnswers(), []string{"eu.cdn.example.net."}) || got.GetService() != "*.cdn.example.test" || got.GetClient().GetRankedBy() != "default" {
		t.Errorf("%v", got)
	}
	if e := got.GetRegions()[0].GetEndpoints()[0]; e.GetAddress() != "eu.cdn.example.net." || e.GetDetail() != "the service has no health check" || e.GetDecidedBy() != "no-check" {
		t.Errorf("%v", e)
	}
}

// TestExplainFallback: the fallback is the answer, and nobody else's.
func TestExplainFallback(t *testing.T) {
	b := compile(t, load(t, sample))
	down := steer.TargetState{Standing: regions.Standing{Verdict: regions.Unhealthy, Since: now}}
	v := view(t, b.With(testGeneration, nil), map[string]steer.TargetState{"web@192.0.2.10": down, "web@192.0.2.11": down, "web@192.0.2.20": down, "web@2001:db8::10": down})
	for qtype, want := range map[string]string{"A": "203.0.113.1", "AAAA": "2001:db8:ffff::1"} {
		q, err := b.ParseQuestion("www.example.test", qtype, "198.51.100.7")
		if err != nil {
			t.Fatal(err)
		}
		got := Explain(v, q, now, func(string) (health.Verdict, bool) { return health.Verdict{}, false })
		if !cmp.Equal(got.GetAnswers(), []string{want}) || got.GetRung() != "all-down: serve-fallback" {
			t.Errorf("%s: %v", qtype, got)
		}
		for _, r := range got.GetRegions() {
			if r.GetSelected() || r.GetInService() {
				t.Errorf("%s: %v", qtype, r)
			}
		}
	}
}

// TestExplainDistances are there when both places are known, and only then.
func TestExplainDistances(t *testing.T) {
	if kilometres([]float64{1.26}, 1) != nil {
		t.Error("a distance to a region that is not there")
	}
	if got := kilometres([]float64{1.26}, 0); got == nil || *got != 1.3 {
		t.Error(got)
	}
	b := compile(t, load(t, sample))
	q := Question{Client: netip.MustParseAddr("203.0.113.1")}
	for _, r := range Explain(view(t, b.With(testGeneration, nil), nil), q, now, func(string) (health.Verdict, bool) { return health.Verdict{}, false }).GetRegions() {
		if r.DistanceKm != nil || r.BiasedKm != nil {
			t.Errorf("a distance from nowhere: %v", r)
		}
	}
}

// TestCheckRecords: mistakes have the line within the records, or else the zone.
func TestCheckRecords(t *testing.T) {
	z := &pb.Zone{Metadata: &pb.Metadata{Name: "example.test"}, Spec: &pb.ZoneSpec{Nameservers: []string{"ns1.example.net"}}}
	service := func(name, cname string) *pb.Service {
		s := &pb.Service{Metadata: &pb.Metadata{Name: name}, Spec: &pb.ServiceSpec{Zone: "example.test", Endpoints: []*pb.Endpoint{{Name: "a", Cname: cname}}}}
		if cname == "" {
			s.Spec.Endpoints[0].Addresses = []string{"192.0.2.1"}
		}
		return s
	}
	for _, c := range []struct {
		name     string
		records  string
		services []*pb.Service
		want     []string // path: beginning of the message
	}{
		{"good", "a A 192.0.2.1\nwww TXT \"beside a service of addresses\"\n", []*pb.Service{service("www.example.test", "")}, nil},
		{"two mistakes", "a A 192.0.2.1\n\nb A x\nc AAAA 192.0.2.1\n", nil, []string{"spec.records:3: ", "spec.records:4: "}},
		{"record in the service's place", "a A 192.0.2.1\nwww A 192.0.2.1\n", []*pb.Service{service("www.example.test", "")}, []string{"spec.records:2: www.example.test. A: the service"}},
		{"record beside a CNAME", "www TXT x\n", []*pb.Service{service("www.example.test", "x.example.net")}, []string{"spec.records:1: service"}},
		{"CNAME at the apex", "", []*pb.Service{service("example.test", "x.example.net")}, []string{`spec: service "example.test." is the apex`}},
	} {
		z := proto.CloneOf(z)
		z.Spec.Records = c.records
		got := CheckRecords(z, c.services)
		ok := len(got) == len(c.want)
		for i := range c.want {
			ok = ok && strings.HasPrefix(got[i].Path+": "+got[i].Message, c.want[i])
		}
		if !ok {
			t.Errorf("%s: %+v, want %q", c.name, got, c.want)
		}
	}
}

func TestSeen(t *testing.T) {
	vote := func(s regions.Status, reason string) health.Vote { return health.Vote{Status: s, Reason: reason} }
	for _, c := range []struct {
		v    health.Verdict
		want string
	}{
		{health.Verdict{}, ""},
		{health.Verdict{Last: regions.Unhealthy, Votes: []health.Vote{vote(regions.Healthy, "HTTP 200")}}, ""},
		{health.Verdict{Last: regions.Unhealthy, Votes: []health.Vote{
			vote(regions.Unhealthy, "connection refused"), vote(regions.Unhealthy, "HTTP 503"), vote(regions.Healthy, "HTTP 200"), vote(regions.Unhealthy, "HTTP 503"),
		}}, "HTTP 503 from 2 of 4 vantages"},
	} {
		if got := Seen(c.v); got != c.want {
			t.Errorf("%+v: %q, want %q", c.v.Votes, got, c.want)
		}
	}
}
