package cli

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

// printed is what a printer makes of something, in a golden file.
func printed(t *testing.T, name string, p *printer, print func(p *printer)) {
	t.Helper()
	p.now = noon
	print(p)
	golden(t, name, p.String())
}

func gen(revision int64) *pb.Generation { return &pb.Generation{Epoch: 1, Revision: revision} }

func sampleOverrides() []*pb.Override {
	return []*pb.Override{
		{
			Id: "19a8f2-01", Action: pb.OverrideAction_OVERRIDE_ACTION_DRAIN, Scope: &pb.OverrideScope{Region: "us-east"},
			Author: "alice@example.test", Reason: "fibre cut, ticket 4711",
			CreateTime: timestamppb.New(noon.Add(-192 * time.Second)), ExpireTime: timestamppb.New(noon.Add(time.Hour + 56*time.Minute)),
		},
		{
			Id: "19a8f2-02", Action: pb.OverrideAction_OVERRIDE_ACTION_FORCE_DOWN, Scope: &pb.OverrideScope{Service: "www.example.test", Endpoint: "eu-1"},
			Author: "bob", Reason: "two\nlines and \x1b[31mcolour", CreateTime: timestamppb.New(noon.Add(-50 * time.Hour)),
		},
	}
}

func sampleStatus() *pb.GetStatusResponse {
	return &pb.GetStatusResponse{
		Controller: "controller-1", Version: "v0.1.0", Generation: gen(42), StoreAvailable: true, HealthReady: true, HealthDigest: "6f1d",
		Regions: []*pb.RegionStatus{
			{Region: "ap-northeast"},
			{Region: "eu-west", Endpoints: 12, Healthy: 11},
			{Region: "us-east", Endpoints: 12, Healthy: 12, Drained: 12},
			{Region: "us-west", Endpoints: 3, Healthy: 3},
		},
		Services: []*pb.ServiceStatus{
			{Service: "api.example.test", Policy: "nearest", Endpoints: 3, Healthy: 3, Drained: 1, Problems: []*pb.EndpointExplanation{
				{Endpoint: "us-1", Address: "198.51.100.20", State: "drained", DecidedBy: "drain", Detail: "drain of region us-east by alice@example.test: fibre cut"},
			}},
			{Service: "shop.example.test", Policy: "nearest", Endpoints: 2, Healthy: 2},
			{Service: "www.example.test", Policy: "nearest", Endpoints: 3, Healthy: 2, Drained: 1, Problems: []*pb.EndpointExplanation{
				{Endpoint: "eu-1", Address: "192.0.2.10", State: "unhealthy", DecidedBy: "verdict", Detail: "UNHEALTHY for 3m12s"},
				{Endpoint: "eu-1", Address: "2001:db8::10", State: "unhealthy", DecidedBy: "verdict", Detail: "UNHEALTHY for 3m10s"},
				{Endpoint: "us-1", Address: "198.51.100.10", State: "drained", DecidedBy: "drain", Detail: "drain of region us-east by alice@example.test: fibre cut"},
			}},
		},
		Agents: []*pb.AgentStatus{
			{Agent: "guest", Region: "eu-west", Connected: true, HeardMillis: 40, Targets: 6},
			{Agent: "probe-ap", Region: "ap-northeast", Registered: true},
			{Agent: "probe-eu", Region: "eu-west", Registered: true, Connected: true, HeardMillis: 120, Targets: 6},
			{Agent: "probe-us", Region: "us-east", Registered: true, HeardMillis: 192_000},
		},
		Nameservers: []*pb.NameserverStatus{
			{Nameserver: "ns-1", Region: "eu-west", Registered: true, Connected: true, Generation: gen(42), Following: true, HeardMillis: 90},
			{Nameserver: "ns-2", Region: "us-east", Registered: true, Connected: true, Generation: gen(38), HeardMillis: 210, Refusal: "zone example.test: no SOA"},
			{Nameserver: "ns-3", Region: "us-west", Registered: true},
		},
		Overrides: sampleOverrides(),
	}
}

func TestStatus(t *testing.T) {
	printed(t, "status", &printer{}, func(p *printer) { printStatus(p, sampleStatus()) })
	printed(t, "status-colour", &printer{colour: true}, func(p *printer) { printStatus(p, sampleStatus()) })

	well := &pb.GetStatusResponse{
		Controller: "c", Version: "v0.1.0", Generation: gen(7), StoreAvailable: true, HealthReady: true,
		Regions:     []*pb.RegionStatus{{Region: "eu-west", Endpoints: 1, Healthy: 1}},
		Services:    []*pb.ServiceStatus{{Service: "www.example.test", Endpoints: 1, Healthy: 1}},
		Agents:      []*pb.AgentStatus{{Agent: "p", Region: "eu-west", Registered: true, Connected: true, HeardMillis: 3, Targets: 1}},
		Nameservers: []*pb.NameserverStatus{{Nameserver: "n", Region: "eu-west", Registered: true, Connected: true, Generation: gen(7), Following: true, HeardMillis: 1}},
	}
	printed(t, "status-well", &printer{}, func(p *printer) { printStatus(p, well) })
	if got := notWell(well); len(got) > 0 {
		t.Errorf("not well: %v, want nothing", got)
	}
	printed(t, "status-nothing", &printer{}, func(p *printer) {
		printStatus(p, &pb.GetStatusResponse{Controller: "c", Version: "v0.1.0", StoreAvailable: true, HealthReady: true})
	})

	alone := proto.CloneOf(well)
	alone.StoreAvailable, alone.HealthReady = false, false
	printed(t, "status-no-store", &printer{}, func(p *printer) { printStatus(p, alone) })
	if first, _, _ := strings.Cut(func() string { p := &printer{now: noon}; printStatus(p, alone); return p.String() }(), "\n"); !strings.HasPrefix(first, "ETCD DOES NOT ANSWER") {
		t.Errorf("the first line is %q, want it to say that etcd does not answer", first)
	}
}

// What was never judged is not healthy; overrides that change nothing and
// certificates that end are told.
func TestStatusWarnings(t *testing.T) {
	st := sampleStatus()
	st.Regions = []*pb.RegionStatus{
		{Region: "ap-northeast", Endpoints: 3, Unjudged: 3},
		{Region: "eu-west", Endpoints: 12, Healthy: 8, Unjudged: 2},
		{Region: "us-east", Endpoints: 12, Healthy: 11, Unjudged: 1},
		{Region: "us-west", Endpoints: 2},
	}
	st.Services[1].Healthy, st.Services[1].Unjudged = 1, 1
	st.Services[2].Healthy, st.Services[2].Unjudged = 1, 1
	st.IgnoredOverrides = []*pb.IgnoredOverride{{Override: st.Overrides[1], Reason: `service "www.example.test" has no endpoint "eu-1"`}}
	st.Certificates = []*pb.CertificateStatus{
		{Use: "program", What: "certificate", State: "warn", ExpireTime: timestamppb.New(noon.Add(125 * time.Hour))},
		{Use: "program", What: "ca", State: "fresh", ExpireTime: timestamppb.New(noon.Add(12500 * time.Hour))},
		{Use: "etcd", What: "certificate", State: "expired", ExpireTime: timestamppb.New(noon.Add(-time.Hour))},
		{Use: "etcd", What: "ca", State: "early", ExpireTime: timestamppb.New(noon.Add(time.Hour))},
	}
	printed(t, "status-warnings", &printer{}, func(p *printer) { printStatus(p, st) })
	got := strings.Join(notWell(st), " ")
	for _, want := range []string{"regions/ap-northeast", "services/shop.example.test", "overrides/19a8f2-02", "certificates/program-certificate", "certificates/etcd-certificate", "certificates/etcd-ca"} {
		if !strings.Contains(got+" ", want+" ") {
			t.Errorf("%s is not in %s", want, got)
		}
	}
	if strings.Contains(got, "program-ca") {
		t.Error(got)
	}
	for _, r := range st.Services[1:2] {
		st = &pb.GetStatusResponse{Services: []*pb.ServiceStatus{r}}
	}
	p := &printer{}
	printServices(p, st)
	if want := "1 service, none with unhealthy endpoints, 1 with endpoints that are not judged yet\n"; !strings.HasSuffix(p.String(), want) {
		t.Errorf("%s: want %s", p, want)
	}
}

// What is wrong at the controller is told before anything else.
func TestAlarms(t *testing.T) {
	st := &pb.GetStatusResponse{Controller: "c", StoreAvailable: true, HealthReady: true, Alarms: []string{"the head is not published:\nepoch 3", "nameserver ns-1 is ahead"}}
	p := &printer{now: noon}
	printStatus(p, st)
	if want := "ALARM: the head is not published:\\nepoch 3\nALARM: nameserver ns-1 is ahead\ncontroller c "; !strings.HasPrefix(p.String(), want) {
		t.Errorf("want %s first, got\n%s", want, p.String())
	}
}

// latchedStatus is a status on a bad day of the health plane.
func latchedStatus() *pb.GetStatusResponse {
	st := sampleStatus()
	st.Latches = []*pb.LatchStatus{
		{Latch: &pb.Latch{Service: "pay.example.test", Region: "us-east", Trip: 1, HeldMillis: 12_000}},
		{Latch: &pb.Latch{Service: "www.example.test", Region: "eu-west", Trip: 3, HeldMillis: 192_000}, Healthy: true},
	}
	st.Guard = &pb.GuardStatus{Trip: 4, Held: 37, HeldMillis: 61_000, Reason: "37 of 60 targets are lost within 1m, of several regions. Their verdicts stay HEALTHY until a second region confirms the loss"}
	for i := range 37 {
		st.Guard.Targets = append(st.Guard.Targets, fmt.Sprintf("web@192.0.2.%d", i+1))
	}
	st.Agents = []*pb.AgentStatus{
		{Agent: "probe-ap", Region: "ap-northeast", Registered: true, Connected: true, HeardMillis: 120, Targets: 6, Isolated: "none of 2 references can be reached"},
		{Agent: "probe-eu", Region: "eu-west", Registered: true, Connected: true, HeardMillis: 4000, Targets: 6, ClockSkewMillis: -3100},
		{Agent: "probe-us", Region: "us-east", Registered: true, Connected: true, HeardMillis: 3000, Targets: 6, ClockSkewMillis: 1000},
		{Agent: "probe-us2", Region: "us-east", Registered: true, Connected: true, HeardMillis: 20, Targets: 6, ClockSkewMillis: 86_400_000},
	}
	st.Nameservers = []*pb.NameserverStatus{
		{Nameserver: "ns-1", Region: "eu-west", Registered: true, Connected: true, Generation: gen(42), Following: true, HeardMillis: 90, HealthState: "fresh", HealthAgeMillis: 300},
		{Nameserver: "ns-2", Region: "us-east", Registered: true, Connected: true, Generation: gen(42), Following: true, HeardMillis: 90, HealthState: "frozen", HealthAgeMillis: 12_000},
		{Nameserver: "ns-3", Region: "us-east", Registered: true, Connected: true, Generation: gen(42), HeardMillis: 6000, HealthState: "fail-open", HealthAgeMillis: 600_000},
		{Nameserver: "ns-4", Region: "us-east", Registered: true, Connected: true, Generation: gen(42), HeardMillis: 60, HealthState: "frozen"},
	}
	return st
}

func TestStatusOfTheHealthPlane(t *testing.T) {
	printed(t, "status-health", &printer{}, func(p *printer) { printStatus(p, latchedStatus()) })
	printed(t, "status-health-wide", &printer{wide: true, colour: true}, func(p *printer) { printStatus(p, latchedStatus()) })
	got := strings.Join(notWell(latchedStatus()), " ")
	want := "agents/probe-ap agents/probe-eu nameservers/ns-2 nameservers/ns-3 nameservers/ns-4 latches/failback/pay.example.test/us-east latches/failback/www.example.test/eu-west latches/guard"
	if !strings.HasSuffix(got, " "+want) {
		t.Errorf("got  %s\nwant %s at the end", got, want)
	}
}

func TestNotWell(t *testing.T) {
	got := strings.Join(notWell(sampleStatus()), " ")
	want := "regions/eu-west regions/us-east services/api.example.test services/www.example.test agents/guest agents/probe-ap agents/probe-us nameservers/ns-2 nameservers/ns-3"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestManyServices(t *testing.T) {
	st := &pb.GetStatusResponse{}
	for i := range 25 {
		st.Services = append(st.Services, &pb.ServiceStatus{Service: "s" + string(rune('a'+i)), Endpoints: 1, Problems: []*pb.EndpointExplanation{
			{Endpoint: "e", Address: "192.0.2.1", State: "unhealthy", Detail: "UNHEALTHY for 1s"},
		}})
	}
	for _, wide := range []bool{false, true} {
		p := &printer{wide: wide, now: noon}
		printServices(p, st)
		if more := strings.Contains(p.String(), "and 5 more"); more == wide {
			t.Errorf("wide %v:\n%s", wide, p)
		}
	}
}

func TestOverrideTable(t *testing.T) {
	printed(t, "overrides", &printer{}, func(p *printer) { overrideTable(p, sampleOverrides()).print(p) })
	printed(t, "overrides-wide", &printer{wide: true}, func(p *printer) { overrideTable(p, sampleOverrides()).print(p) })
}

func sampleExplanation() *pb.ExplainResponse {
	healthy, unhealthy := pb.HealthStatus_HEALTH_STATUS_HEALTHY, pb.HealthStatus_HEALTH_STATUS_UNHEALTHY
	return &pb.ExplainResponse{
		Generation: gen(42), Source: "controller/controller-1", Service: "www.example.test", Policy: "nearest",
		Client: &pb.ClientLocation{
			Address: "193.0.6.139", Network: "193.0.0.0/21", Continent: "EU", Country: "NL",
			Latitude: proto.Float64(52.37), Longitude: proto.Float64(4.9), RankedBy: "nearest",
		},
		Regions: []*pb.RegionExplanation{
			{
				Region: "eu-west", DistanceKm: proto.Float64(756.4), BiasedKm: proto.Float64(680.8), Reason: "out of service (2 unhealthy)",
				Endpoints: []*pb.EndpointExplanation{
					{
						Endpoint: "eu-1", Address: "192.0.2.10", State: "unhealthy", DecidedBy: "verdict", Detail: "UNHEALTHY for 3m12s", Weight: 100,
						Health: &pb.TargetHealth{Target: "web@192.0.2.10", Quorum: unhealthy, Verdict: unhealthy, HeldMillis: 192_000, Votes: []*pb.Vote{
							{Agent: "probe-ap", Region: "ap-northeast", Status: pb.HealthStatus_HEALTH_STATUS_UNKNOWN, WhyNot: "not connected"},
							{Agent: "probe-eu", Region: "eu-west", Status: unhealthy, HeldMillis: 195_000, Reason: "HTTP 503", Counted: true},
							{Agent: "probe-us", Region: "us-east", Status: unhealthy, HeldMillis: 192_000, Reason: "connection refused", Counted: true},
						}},
					},
					{
						Endpoint: "eu-2", Address: "192.0.2.11", State: "unhealthy", DecidedBy: "never-judged", Detail: "no verdict was ever passed", Weight: 100,
						Health: &pb.TargetHealth{Target: "web@192.0.2.11", Quorum: pb.HealthStatus_HEALTH_STATUS_UNKNOWN, Verdict: pb.HealthStatus_HEALTH_STATUS_UNKNOWN, Votes: []*pb.Vote{
							{Agent: "probe-eu", Region: "eu-west", Status: healthy, HeldMillis: 900, Reason: "HTTP 200", Counted: true},
						}},
					},
				},
			},
			{
				Region: "us-east", DistanceKm: proto.Float64(6198), BiasedKm: proto.Float64(6198), InService: true, Selected: true,
				Reason: "first of the ranking that is in service (1 healthy)",
				Endpoints: []*pb.EndpointExplanation{{
					Endpoint: "us-1", Address: "198.51.100.10", State: "healthy", DecidedBy: "verdict", Detail: "HEALTHY for 4d2h", Answers: true, Weight: 100,
					Health: &pb.TargetHealth{Target: "web@198.51.100.10", Quorum: pb.HealthStatus_HEALTH_STATUS_UNKNOWN, Verdict: healthy, HeldMillis: 352_800_000, Votes: []*pb.Vote{
						{Agent: "probe-us", Region: "us-east", Status: healthy, HeldMillis: 352_800_000, Reason: "HTTP 200", Counted: true},
						{Agent: "guest", Region: "eu-west", Status: unhealthy, HeldMillis: 4000, Reason: "timeout", WhyNot: "not registered"},
					}},
				}},
			},
			{
				Region: "ap-northeast", DistanceKm: proto.Float64(9302), BiasedKm: proto.Float64(9302), InService: true, Reason: "farther down the ranking (1 healthy)",
				Endpoints: []*pb.EndpointExplanation{{Endpoint: "ap-1", Address: "203.0.113.10", State: "healthy", DecidedBy: "no-check", Detail: "the service has no health check", Weight: 100}},
			},
		},
		Rung: "in-service", Answers: []string{"198.51.100.10"}, Ttl: 30, Scope: 21,
		Summary: "us-east answers. Before it in the ranking: eu-west, out of service (2 unhealthy).", HealthAgeMillis: 230,
	}
}

func TestExplanation(t *testing.T) {
	req := &pb.ExplainRequest{Name: "www.example.test.", Type: "A", Client: "193.0.6.139"}
	printed(t, "explain", &printer{}, func(p *printer) { printExplanation(p, req, sampleExplanation()) })
	printed(t, "explain-wide", &printer{wide: true}, func(p *printer) { printExplanation(p, req, sampleExplanation()) })

	// A nameserver knows verdicts without votes; the client's place is unknown;
	// a wildcard answers; there is nothing of that type.
	x := sampleExplanation()
	x.Source, x.Service = "nameserver/ns-1", "*.example.test"
	x.Client = &pb.ClientLocation{Address: "10.0.0.1", RankedBy: "default"}
	x.Answers, x.Rung, x.Scope, x.Summary = nil, "none", 0, "NODATA: the service has no IPv6 address"
	x.Regions = []*pb.RegionExplanation{{Region: "eu-west", Reason: "the service has no IPv6 address here"}}
	printed(t, "explain-nodata", &printer{}, func(p *printer) {
		printExplanation(p, &pb.ExplainRequest{Name: "any.example.test", Type: "aaaa", Client: "10.0.0.0/24"}, x)
	})
	for reason, want := range map[string]string{
		"drained (1 drained)": "1 drained", "drained, all of it": "all of it", "drained": "drained", "farther down": "farther down", "drainedness": "drainedness",
	} {
		if got := without(reason, "drained"); got != want {
			t.Errorf("%q without the state is %q, want %q", reason, got, want)
		}
	}
	x.Client = &pb.ClientLocation{Address: "192.0.2.7", Network: "192.0.2.0/24", Country: "DE", RankedBy: "country-rule", Rule: "dach"}
	if got, want := rankedBy(x), "the client's country (rule dach); policy nearest"; got != want {
		t.Errorf("ranked by %q, want %q", got, want)
	}
}

// parse reads resources, with their defaults.
func parse(t *testing.T, text string) []*pb.Resource {
	t.Helper()
	docs, err := config.Load(config.Source{File: "test.yaml", Data: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	var out []*pb.Resource
	for _, d := range docs {
		out = append(out, d.Resource)
	}
	return out
}

func sampleChanges(t *testing.T) *pb.ApplyResponse {
	before := parse(t, `{apiVersion: fairlead/v1, kind: Service, metadata: {name: www.example.test}, spec: {zone: example.test, policy: nearest, endpoints: [
		{name: eu-1, region: eu-west, addresses: [192.0.2.10]}, {name: us-1, region: us-east, addresses: [198.51.100.10], weight: 10}, {name: us-2, region: us-east, addresses: [198.51.100.11]}]}}
---
{apiVersion: fairlead/v1, kind: Zone, metadata: {name: example.test}, spec: {nameservers: [ns1.example.test], records: "ns1 A 192.0.2.53\n\nmail A 192.0.2.25\nold A 192.0.2.99\n"}}
---
{apiVersion: fairlead/v1, kind: Agent, metadata: {name: gone}, spec: {region: eu-west}}`)
	after := parse(t, `{apiVersion: fairlead/v1, kind: Service, metadata: {name: www.example.test}, spec: {zone: example.test, policy: nearest, ttl: 10s, endpoints: [
		{name: eu-1, region: eu-west, addresses: [192.0.2.10]}, {name: us-1, region: us-east, addresses: [198.51.100.10], weight: 50}, {name: us-3, region: us-east, addresses: [198.51.100.12]}]}}
---
{apiVersion: fairlead/v1, kind: Zone, metadata: {name: example.test}, spec: {nameservers: [ns1.example.test], records: "ns1 A 192.0.2.53\n\nmail A 192.0.2.26\n"}}
---
{apiVersion: fairlead/v1, kind: Region, metadata: {name: us-west}, spec: {latitude: 37.4, longitude: -122}}`)
	update := pb.ChangeAction_CHANGE_ACTION_UPDATE
	return &pb.ApplyResponse{
		Generation: gen(42), Unchanged: 12,
		Changes: []*pb.Change{
			{Action: pb.ChangeAction_CHANGE_ACTION_CREATE, After: after[2]},
			{Action: pb.ChangeAction_CHANGE_ACTION_DELETE, Before: before[2]},
			{Action: update, Before: before[1], After: after[1]},
			{Action: update, Before: before[0], After: after[0]},
		},
		Convergence: &pb.Convergence{Serving: []string{"ns-1", "ns-2"}, Missing: []string{"ns-3"}},
	}
}

func TestChanges(t *testing.T) {
	resp := sampleChanges(t)
	printed(t, "apply", &printer{}, func(p *printer) {
		printChanges(p, resp, false)
		printConvergence(p, resp.GetConvergence())
	})
	printed(t, "diff-wide", &printer{wide: true}, func(p *printer) { printChanges(p, resp, true) })
	printed(t, "diff-colour", &printer{colour: true}, func(p *printer) { printChanges(p, resp, true) })
	printed(t, "apply-nothing", &printer{}, func(p *printer) { printChanges(p, &pb.ApplyResponse{Unchanged: 3}, false) })
}

func TestDrained(t *testing.T) {
	o := sampleOverrides()[0]
	printed(t, "drain", &printer{}, func(p *printer) {
		printChanged(p, drains, leverOptions{}, &changed{made: o, generation: gen(43)}, nil)
	})
	printed(t, "drain-again", &printer{}, func(p *printer) {
		printChanged(p, drains, leverOptions{}, &changed{made: o, generation: gen(43), stood: true, differs: true}, nil)
	})
	printed(t, "drain-stood", &printer{}, func(p *printer) {
		printChanged(p, drains, leverOptions{}, &changed{made: o, generation: gen(43), stood: true, held: held{glass: sampleBreakGlass()[:1]}}, nil)
	})
	narrow := proto.CloneOf(o)
	narrow.Id, narrow.Scope.Service = "19a8f2-03", "www.example.test"
	scope := &pb.OverrideScope{Region: "us-east"}
	printed(t, "undrain", &printer{}, func(p *printer) {
		all := append(sampleOverrides(), narrow)
		removed := []*pb.Override{o}
		printChanged(p, undrains, leverOptions{scope: scope}, &changed{removed: removed, generation: gen(44), held: heldOf(&pb.ListOverridesResponse{Overrides: all}, map[string]bool{o.GetId(): true}, scope, unplaced)}, nil)
	})
	printed(t, "undrain-held", &printer{}, func(p *printer) {
		list := &pb.ListOverridesResponse{Overrides: []*pb.Override{o, narrow}, BreakGlass: sampleBreakGlass()}
		printChanged(p, undrains, leverOptions{scope: narrow.GetScope()}, &changed{removed: []*pb.Override{narrow}, generation: gen(44), held: heldOf(list, map[string]bool{narrow.GetId(): true}, narrow.GetScope(), unplaced)}, nil)
	})
	printed(t, "undrain-nothing", &printer{}, func(p *printer) {
		printChanged(p, undrains, leverOptions{scope: scope}, &changed{generation: gen(44)}, nil)
	})
}

func TestResourceTables(t *testing.T) {
	resources := parse(t, allKindsYAML)
	set, err := config.NewSet(resources)
	if err != nil {
		t.Fatal(err)
	}
	var shown []*pb.Resource
	for _, r := range set.All() {
		shown = append(shown, config.WithEtag(r))
	}
	printed(t, "get-all", &printer{}, func(p *printer) { printResources(p, shown, true) })
	printed(t, "get-wide", &printer{wide: true}, func(p *printer) { printResources(p, shown, false) })
}

func TestHuman(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0ms", 230 * time.Millisecond: "230ms", 59*time.Second + 999*time.Millisecond: "59s",
		192 * time.Second: "3m12s", 2 * time.Minute: "2m", 3 * time.Hour: "3h", 3*time.Hour + 61*time.Second: "3h1m", 98 * time.Hour: "4d2h",
	} {
		if got := human(d); got != want {
			t.Errorf("human(%v) = %q, want %q", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{90 * time.Second: "1m30s", time.Minute: "1m", time.Hour: "1h", 0: "0s", 1500 * time.Millisecond: "1.5s", 10 * time.Second: "10s"} {
		if got := exact(d); got != want {
			t.Errorf("exact(%v) = %q, want %q", d, got, want)
		}
	}
	if got := millis(1<<64 - 1); !strings.HasSuffix(got, "h") {
		t.Errorf("millis(max) = %q", got)
	}
}
