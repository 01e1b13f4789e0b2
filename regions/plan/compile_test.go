package plan

import (
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/zone"
)

var testGeneration = regions.Generation{Epoch: 1, Revision: 42}

// TestCompile holds the tables that come of the sample.
func TestCompile(t *testing.T) {
	b := compile(t, load(t, sample))
	eu, us := indexes(t, b, "eu-west")[0], indexes(t, b, "us-east")[0]
	if d := cmp.Diff([]regions.Region{
		{Name: "eu-west", Latitude: 50.1, Longitude: 8.7, Capacity: 10, AvailabilityZones: []string{"a", "b"}},
		{Name: "us-east", Latitude: 38.9, Longitude: -77.4},
	}, b.Regions); d != "" {
		t.Error("regions", d)
	}
	byPrefix := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	if d := cmp.Diff([]regions.Policy{
		{
			Name: "nearest", Candidates: []uint16{eu, us}, Bias: []int{0, 10}, MaxAnswers: 8,
			Rules: []regions.PolicyRule{{Name: "lab", Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, Countries: []string{"FR"}, Regions: []uint16{us}}},
		},
		{Name: "standby", ActivePassive: true, Candidates: []uint16{us, eu}, Bias: []int{0, 0}, MaxAnswers: 1, MinHealthyPercent: 50},
	}, b.Policies, byPrefix); d != "" {
		t.Error("policies", d)
	}
	targets := map[string]int32{}
	for i, want := range []string{"web@192.0.2.10", "web@192.0.2.11", "web@192.0.2.20", "web@2001:db8::10"} {
		target := b.Targets[i]
		if target.ID != want || target.Check != "web" || target.Address != strings.TrimPrefix(want, "web@") {
			t.Errorf("target %d is %+v, want %s", i, target, want)
		}
		targets[want] = int32(i)
		if a := b.Assignments[i]; a.GetTarget() != want || a.GetAddress() != target.Address || a.GetCheck().GetHttp().GetPath() != "/healthz" {
			t.Errorf("assignment %d is %v", i, a)
		}
	}
	service := func(name string) (int32, regions.Service) {
		i, ok := b.Service(name)
		if !ok {
			t.Fatal("no service", name)
		}
		return i, b.Services[i]
	}
	apiIndex, api := service("api.example.test")
	wwwIndex, www := service("www.example.test")
	_, cdn := service("*.cdn.example.test")
	if got := b.Targets[targets["web@192.0.2.10"]].Services; !cmp.Equal(got, []int32{apiIndex, wwwIndex}) {
		t.Errorf("a target of two services is of %v", got)
	}
	v4, v6 := netip.MustParseAddr, netip.MustParseAddr
	byAddr := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	if d := cmp.Diff(regions.Service{
		Name: "www.example.test", Zone: "example.test", TTL: 30, MinTTL: 15, Policy: 0, Checked: true, Spread: 23 * time.Second,
		AllDown: regions.ServeFallback, NeverJudged: regions.Healthy, MinRegions: -1,
		Fallback: [2][]netip.Addr{{v4("203.0.113.1")}, {v6("2001:db8:ffff::1")}},
		Endpoints: []regions.Endpoint{
			{Name: "eu-1", Region: eu, AvailabilityZone: "a", Weight: 100, Addr: [2]netip.Addr{v4("192.0.2.10"), v6("2001:db8::10")}, Target: [2]int32{targets["web@192.0.2.10"], targets["web@2001:db8::10"]}},
			{Name: "eu-2", Region: eu, Addr: [2]netip.Addr{v4("192.0.2.11"), {}}, Target: [2]int32{targets["web@192.0.2.11"], -1}},
			{Name: "us-1", Region: us, Weight: 5, Addr: [2]netip.Addr{v4("192.0.2.20"), {}}, Target: [2]int32{targets["web@192.0.2.20"], -1}},
		},
	}, www, byAddr); d != "" {
		t.Error("www", d)
	}
	if api.Policy != 1 || api.AllDown != regions.KeepLast || api.NeverJudged != regions.Unhealthy || !api.Independent {
		t.Errorf("api: %+v", api)
	}
	if !cdn.Names || cdn.Checked || cdn.Endpoints[0].CNAME != "eu.cdn.example.net." || cdn.FallbackName != "sorry.example.net." || cdn.Endpoints[0].Target != [2]int32{-1, -1} {
		t.Errorf("cdn: %+v", cdn)
	}
	if d := cmp.Diff([][]Member{{{"p1", "eu-west"}}, {{"ns1", "us-east"}}}, [][]Member{b.Agents, b.Nameservers}); d != "" {
		t.Error("members", d)
	}
	name, err := zone.ParseName("any.cdn.example.test.")
	if err != nil {
		t.Fatal(err)
	}
	if m := b.Zones.Find(name).Lookup(name, 1); m.Kind != zone.Service || b.Services[m.Service].Name != cdn.Name {
		t.Errorf("the wildcard's name leads to %+v", m)
	}
}

// TestSharedTarget: an address that a service has twice is probed once, and
// its verdict touches the service once.
func TestSharedTarget(t *testing.T) {
	b := compile(t, change(t, load(t, sample), config.Key{Kind: config.KindService, Name: "www.example.test"}, func(r *pb.Resource) {
		for _, e := range r.GetService().Spec.Endpoints {
			e.Addresses = []string{"192.0.2.10"}
		}
	}))
	if len(b.Targets) != 1 || len(b.Targets[0].Services) != 2 {
		t.Errorf("%+v", b.Targets)
	}
}

// TestCompileRefuses what a query could not be answered from, even in a set
// that another version found valid.
func TestCompileRefuses(t *testing.T) {
	www := config.Key{Kind: config.KindService, Name: "www.example.test"}
	spec := func(edit func(*pb.ServiceSpec)) func(*pb.Resource) {
		return func(r *pb.Resource) { edit(r.GetService().Spec) }
	}
	nearest := config.Key{Kind: config.KindSteeringPolicy, Name: "nearest"}
	policy := func(edit func(*pb.SteeringPolicySpec)) func(*pb.Resource) {
		return func(r *pb.Resource) { edit(r.GetSteeringPolicy().Spec) }
	}
	for _, c := range []struct {
		name string
		key  config.Key
		edit func(*pb.Resource)
		want string
	}{
		{"zone", www, spec(func(s *pb.ServiceSpec) { s.Zone = "example.net" }), `services "www.example.test" spec.zone: no zone "example.net"`},
		{"policy", www, spec(func(s *pb.ServiceSpec) { s.Policy = "x" }), `services "www.example.test" spec.policy: no steering policy "x"`},
		{"check", www, spec(func(s *pb.ServiceSpec) { s.HealthCheck = "x" }), `services "www.example.test" spec.healthCheck: no health check "x"`},
		{"region", www, spec(func(s *pb.ServiceSpec) { s.Endpoints[0].Region = "x" }), `services "www.example.test" endpoint "eu-1": no region "x"`},
		{"not an address", www, spec(func(s *pb.ServiceSpec) { s.Endpoints[0].Addresses[0] = "x" }), `endpoint "eu-1": "x" is no IP address`},
		{"two of a family", www, spec(func(s *pb.ServiceSpec) { s.Endpoints[0].Addresses = []string{"192.0.2.1", "192.0.2.2"} }), `endpoint "eu-1": two IPv4 addresses`},
		{"no target", www, spec(func(s *pb.ServiceSpec) { s.Endpoints[0].Addresses = nil }), `endpoint "eu-1": neither addresses nor a name`},
		{"mixed", www, spec(func(s *pb.ServiceSpec) { s.Endpoints[0].Addresses, s.Endpoints[0].Cname = nil, "x.example.net" }), `endpoint "eu-2": an endpoint of a service is a name and another is not`},
		{"fallback is a name", www, spec(func(s *pb.ServiceSpec) { s.Fallback = []string{"x.example.net"} }), `spec.fallback: "x.example.net" is no IP address`},
		{"fallback is an address", config.Key{Kind: config.KindService, Name: "*.cdn.example.test"}, spec(func(s *pb.ServiceSpec) { s.Fallback = []string{"192.0.2.1"} }), "192.0.2.1 is an address, and the endpoints are names"},
		{"not a name", config.Key{Kind: config.KindService, Name: "*.cdn.example.test"}, spec(func(s *pb.ServiceSpec) { s.Endpoints[0].Cname = "a..b" }), `endpoint "eu-1": "a..b": `},
		{"too many endpoints", www, spec(func(s *pb.ServiceSpec) {
			for i := range 300 {
				s.Endpoints = append(s.Endpoints, &pb.Endpoint{Name: fmt.Sprint("x", i), Region: "eu-west", Addresses: []string{"192.0.2.1"}})
			}
		}), `spec.endpoints: 303, at most 256`},
		{"policy's region", nearest, policy(func(s *pb.SteeringPolicySpec) { s.Regions = []string{"eu-west", "x"} }), `steeringpolicies "nearest" spec.regions: no region "x"`},
		{"rule's region", nearest, policy(func(s *pb.SteeringPolicySpec) { s.Rules[0].Regions = []string{"x"} }), `steeringpolicies "nearest" spec.rules: no region "x"`},
		{"rule's region is no candidate", nearest, policy(func(s *pb.SteeringPolicySpec) { s.Regions = []string{"eu-west"} }), `steering policy "nearest": `},
		{"bias", nearest, policy(func(s *pb.SteeringPolicySpec) { s.Bias["x"] = 1 }), `steeringpolicies "nearest" spec.bias: no region "x"`},
		{"default order", nearest, policy(func(s *pb.SteeringPolicySpec) { s.DefaultOrder = []string{"x"} }), `steeringpolicies "nearest" spec.defaultOrder: no region "x"`},
		{"prefix", nearest, policy(func(s *pb.SteeringPolicySpec) { s.Rules[0].Cidrs = []string{"x"} }), `steeringpolicies "nearest" spec.rules: `},
		{"maxAnswers", nearest, policy(func(s *pb.SteeringPolicySpec) { s.MaxAnswers = 99 }), `spec.maxAnswers: 99, want 1 to 32`},
		{"records", config.Key{Kind: config.KindZone, Name: "example.test"}, func(r *pb.Resource) { r.GetZone().Spec.Records = "www A 192.0.2.1" }, `zones "example.test": line 1: `},
	} {
		_, err := Compile(change(t, load(t, sample), c.key, c.edit))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
	_, err := Compile(loadUnchecked(t, "apiVersion: fairlead/v1\nkind: SteeringPolicy\nmetadata: {name: nearest}\nspec: {mode: active-active}"))
	if want := `steeringpolicies "nearest": there is no region for it`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a policy without any region: %v, want %s", err, want)
	}
}

// TestCompileErrorsAreBounded: they travel in a refusal.
func TestCompileErrorsAreBounded(t *testing.T) {
	set := change(t, manyServices(t, 500), config.Key{Kind: config.KindSteeringPolicy, Name: "nearest"}, func(r *pb.Resource) { r.GetSteeringPolicy().Metadata.Name = "other" })
	_, err := Compile(set)
	if err == nil {
		t.Fatal("500 dangling references compile")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != maxErrors+1 || lines[maxErrors] != "and 400 more errors" {
		t.Errorf("%d errors, the last: %s", len(lines), lines[len(lines)-1])
	}
}

// TestNewerFields (invariant 4): what a newer version adds is carried, not fatal.
func TestNewerFields(t *testing.T) {
	set := change(t, load(t, sample), config.Key{Kind: config.KindService, Name: "www.example.test"}, func(r *pb.Resource) {
		s := r.GetService().Spec
		s.AllDown, s.Families, s.Unknown = 99, 99, 99
		s.Endpoints[0].ProtoReflect().SetUnknown([]byte{0xfa, 0x07, 0x01, 'x'})
		s.Endpoints[0].Addresses = nil // a target of a kind that is not known here
	})
	b := compile(t, set)
	i, _ := b.Service("www.example.test")
	s := b.Services[i]
	if s.AllDown != regions.ServeAll || s.Independent || s.NeverJudged != regions.Healthy || len(s.Endpoints) != 3 {
		t.Errorf("%+v", s)
	}
	v := view(t, b.With(testGeneration, nil), nil)
	client := netip.MustParseAddr("192.0.2.99")
	if got := v.Select(i, regions.V4, client, 1, nil); len(got.Addrs) != 1 || got.Addrs[0] != netip.MustParseAddr("192.0.2.11") {
		t.Errorf("answered %+v", got)
	}
}

// manyServices is a configuration of n services with three dual-stack
// endpoints each, 1000 services to a zone.
func manyServices(t testing.TB, n int) *config.Set {
	t.Helper()
	docs, err := config.Load(config.Source{File: "sample.yaml", Data: []byte(sample[:strings.Index(sample, "---\napiVersion: fairlead/v1\nkind: Zone")])})
	if err != nil {
		t.Fatal(err)
	}
	var resources []*pb.Resource
	for _, d := range docs {
		resources = append(resources, d.Resource)
	}
	for i := range n {
		zoneName := fmt.Sprintf("z%d.test", i/1000)
		if i%1000 == 0 {
			resources = append(resources, &pb.Resource{Kind: &pb.Resource_Zone{Zone: &pb.Zone{
				Metadata: &pb.Metadata{Name: zoneName}, Spec: &pb.ZoneSpec{Nameservers: []string{"ns1.example.net"}},
			}}})
		}
		s := &pb.ServiceSpec{Zone: zoneName, Policy: "nearest", HealthCheck: "web"}
		for e := range 3 {
			s.Endpoints = append(s.Endpoints, &pb.Endpoint{
				Name: fmt.Sprint("e", e), Region: []string{"eu-west", "us-east"}[e%2], Weight: proto.Uint32(100),
				Addresses: []string{fmt.Sprintf("10.%d.%d.%d", i>>8&0xff, i&0xff, e+1), fmt.Sprintf("2001:db8:%x:%x::%d", i>>16, i&0xffff, e+1)},
			})
		}
		resources = append(resources, &pb.Resource{Kind: &pb.Resource_Service{Service: &pb.Service{
			Metadata: &pb.Metadata{Name: fmt.Sprintf("s%d.%s", i, zoneName)}, Spec: s,
		}}})
	}
	set, err := config.NewSet(resources)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// BenchmarkCompile compiles 100,000 services.
func BenchmarkCompile(b *testing.B) {
	const n = 100_000
	set := manyServices(b, n)
	var base *Base
	before := heap()
	for b.Loop() {
		base = compile(b, set)
	}
	b.ReportMetric(float64(heap()-before)/n, "B/service")
	runtime.KeepAlive(base)
}

// BenchmarkRead reads the tree of 100,000 services from nothing.
func BenchmarkRead(b *testing.B) {
	tree, head := write(b, manyServices(b, 100_000), nil, nil, nil)
	for b.Loop() {
		var asked []Digest
		read(b, head, nil, nil, from(tree.Objects, &asked))
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
