package controller_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// three are three regions with a service in each, and one that is in two of them.
const three = `
apiVersion: fairlead/v1
kind: Region
metadata: {name: ap-south}
spec: {latitude: 19.07, longitude: 72.87, capacity: 100}
---
apiVersion: fairlead/v1
kind: Region
metadata: {name: eu-west}
spec: {latitude: 53.35, longitude: -6.26, capacity: 100, availabilityZones: [eu-west-a, eu-west-b]}
---
apiVersion: fairlead/v1
kind: Region
metadata: {name: us-east}
spec: {latitude: 38.95, longitude: -77.45, capacity: 200}
---
apiVersion: fairlead/v1
kind: Agent
metadata: {name: probe-eu}
spec: {region: eu-west}
---
apiVersion: fairlead/v1
kind: HealthCheck
metadata: {name: web}
spec: {http: {port: 8080, path: /healthz}}
---
apiVersion: fairlead/v1
kind: SteeringPolicy
metadata: {name: nearest}
spec: {mode: active-active, defaultOrder: [us-east, eu-west, ap-south]}
---
apiVersion: fairlead/v1
kind: Zone
metadata: {name: example.test}
spec: {nameservers: [ns1.example.test], records: "ns1 A 192.0.2.53"}
---
apiVersion: fairlead/v1
kind: Service
metadata: {name: www.example.test}
spec:
  zone: example.test
  policy: nearest
  healthCheck: web
  endpoints:
    - {name: ap-1, region: ap-south, addresses: [192.0.2.30]}
    - {name: eu-1, region: eu-west, availabilityZone: eu-west-a, addresses: [192.0.2.10]}
    - {name: eu-2, region: eu-west, availabilityZone: eu-west-b, addresses: [192.0.2.11]}
    - {name: us-1, region: us-east, addresses: [192.0.2.20]}
---
apiVersion: fairlead/v1
kind: Service
metadata: {name: pay.example.test}
spec:
  zone: example.test
  policy: nearest
  safety: {demand: 150}
  endpoints:
    - {name: eu-1, region: eu-west, addresses: [192.0.2.110]}
    - {name: us-1, region: us-east, addresses: [192.0.2.120]}
`

// policy is a safety policy with these rules on drains.
func policy(rules string) string {
	return fmt.Sprintf("---\napiVersion: fairlead/v1\nkind: SafetyPolicy\nmetadata: {name: default}\nspec: {drains: {%s}}\n", rules)
}

// safetyOf are the details of a refusal.
func safetyOf(t testing.TB, err error) (rules []string, d *pb.SafetyDecision) {
	t.Helper()
	for _, detail := range status.Convert(err).Details() {
		switch m := detail.(type) {
		case *errdetails.PreconditionFailure:
			for _, v := range m.GetViolations() {
				if v.GetType() != "SAFETY_RULE" || v.GetDescription() == "" {
					t.Errorf("violation: %v", v)
				}
				rules = append(rules, v.GetSubject())
			}
		case *pb.SafetyDecision:
			d = m
		}
	}
	return rules, d
}

// newest is the newest audit event.
func (r *running) newest() *pb.AuditEvent {
	r.t.Helper()
	resp, err := r.ListEvents(r.t.Context(), &pb.ListEventsRequest{PageSize: 1})
	if err != nil || len(resp.GetEvents()) != 1 {
		r.t.Fatal(resp, err)
	}
	return resp.GetEvents()[0]
}

// Each rule refuses what breaks it, with the numbers and what would pass; force
// passes it, and both are in the audit trail with the decision.
func TestSafetyRules(t *testing.T) {
	c := run(t, "c1", etcd(t))
	drain := func(region string) *pb.DrainRegionRequest { return &pb.DrainRegionRequest{Region: region, Reason: "r"} }
	for _, test := range []struct {
		name, policy string
		first        []string // drained before
		req          *pb.DrainRegionRequest
		rule         string
		words        []string
	}{
		{"too few regions", "minRegions: 2, minRegionsPerService: 0", []string{"ap-south"}, drain("eu-west"), "min-regions",
			[]string{"1 of 3 regions would stay in service", "at least 2 must", "drained already: ap-south", "undrain ap-south first", "--force passes it"}},
		{"too few of a service", "minRegions: 0", []string{"eu-west"}, drain("us-east"), "min-regions-per-service",
			[]string{"pay.example.test", "undrain eu-west first"}},
		{"too much capacity", "maxDrainedCapacityPercent: 40", []string{"ap-south"}, drain("us-east"), "max-drained-capacity",
			[]string{"75% of the stated capacity (300 of 400) would be drained", "at most 40% may be", "25% is now", "drain us-east for fewer services"}},
		{"too little capacity", "capacityHeadroomPercent: 100", nil, drain("us-east"), "capacity-demand",
			[]string{"could carry 200, now 400", "services ask for 150, with 100% headroom 300"}},
		{"too soon", "quietTime: 1h", []string{"ap-south"}, drain("us-east"), "quiet-time",
			[]string{"overrides changed", "1h0m0s must pass", "wait "}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c.apply(three + policy(test.policy))
			defer func() {
				for _, region := range append(test.first, test.req.GetRegion()) {
					if _, err := c.UndrainRegion(t.Context(), &pb.UndrainRegionRequest{Region: region, Reason: "test"}); err != nil {
						t.Error(err)
					}
				}
			}()
			for _, region := range test.first {
				if _, err := c.DrainRegion(t.Context(), &pb.DrainRegionRequest{Region: region, Reason: "before", Force: true}); err != nil {
					t.Fatal(err)
				}
			}
			dry := &pb.DrainRegionRequest{Region: test.req.GetRegion(), Reason: "r", DryRun: true}
			would, err := c.DrainRegion(t.Context(), dry)
			if err != nil || would.GetSafety().GetAllowed() || would.GetOverride().GetScope().GetRegion() != test.req.GetRegion() {
				t.Errorf("dry run: %v, %v", would, err)
			}
			before := c.newest()
			if before.GetResult() == "refused" {
				t.Errorf("a dry run left %v", before)
			}
			test.req.RequestId = "" // refused every time
			_, err = c.DrainRegion(t.Context(), test.req)
			wantCode(t, err, codes.FailedPrecondition, append(test.words, "refused by safety rule "+test.rule, "nothing was changed", "What would pass: ")...)
			rules, d := safetyOf(t, err)
			if !slices.Equal(rules, []string{test.rule}) || d.GetAllowed() || d.GetForced() || d.GetController() != "c1" || len(d.GetRegions()) != 3 {
				t.Errorf("details: %v, %v", rules, d)
			}
			t.Log(status.Convert(err).Message())
			if e := c.newest(); e.GetResult() != "refused" || e.GetSafety() == nil || !strings.Contains(e.GetError(), test.rule) || e.GetAction() != "override-create" || e.GetReason() != "r" {
				t.Errorf("audited as %v", e)
			}
			test.req.Force = true
			forced, err := c.DrainRegion(t.Context(), test.req)
			if err != nil || !forced.GetSafety().GetForced() || !forced.GetSafety().GetAllowed() || !forced.GetOverride().GetForced() {
				t.Fatalf("by force: %v, %v", forced, err)
			}
			if e := c.newest(); e.GetResult() != "forced" || !e.GetSafety().GetForced() || len(e.GetOverridesAfter()) != 1 {
				t.Errorf("force audited as %v", e)
			}
		})
	}
}

// What takes more away than it gives is refused by each rule, whatever its shape;
// what makes nothing worse never is.
func TestSafetyOfOtherOverrides(t *testing.T) {
	c := run(t, "c1", etcd(t))
	c.apply(strings.Replace(three, "safety: {demand: 150}", "safety: {protected: true}", 1) + policy("minRegions: 2, absoluteRules: [protected-service, min-regions]"))
	create := func(a pb.OverrideAction, scope *pb.OverrideScope, force bool) error {
		_, err := c.CreateOverride(t.Context(), &pb.CreateOverrideRequest{Action: a, Scope: scope, Reason: "r", Force: force})
		return err
	}
	const down, up, drain = pb.OverrideAction_OVERRIDE_ACTION_FORCE_DOWN, pb.OverrideAction_OVERRIDE_ACTION_FORCE_UP, pb.OverrideAction_OVERRIDE_ACTION_DRAIN
	// Absolute rules are passed by nobody.
	for _, force := range []bool{false, true} {
		for name, err := range map[string]error{
			"a region":    create(drain, &pb.OverrideScope{Region: "eu-west"}, force),
			"an endpoint": create(down, &pb.OverrideScope{Service: "pay.example.test", Endpoint: "eu-1"}, force),
		} {
			wantCode(t, err, codes.FailedPrecondition, "protected-service", "pay.example.test", "--force does not pass it")
			if rules, _ := safetyOf(t, err); !slices.Equal(rules, []string{"protected-service"}) {
				t.Errorf("%s: %v", name, rules)
			}
		}
	}
	// What concerns no protected service may be drained, a zone of a region too.
	for _, scope := range []*pb.OverrideScope{
		{Region: "eu-west", AvailabilityZone: "eu-west-a"}, {Region: "us-east", Service: "www.example.test"}, {Service: "WWW.example.test.", Endpoint: "eu-2"},
	} {
		if err := create(drain, scope, false); err != nil {
			t.Errorf("%v: %v", scope, err)
		}
	}
	// A force-up is no drain.
	if err := create(up, &pb.OverrideScope{Service: "pay.example.test", Endpoint: "eu-1"}, false); err != nil {
		t.Error(err)
	}
	wantCode(t, create(drain, &pb.OverrideScope{Region: "ap-south"}, true), codes.OK)
}

// Two controllers that drain two regions at the same time: exactly one does.
func TestConcurrentDrains(t *testing.T) {
	e := etcd(t)
	cs := []*running{run(t, "c1", e), run(t, "c2", e)}
	cs[0].apply(three + policy("minRegions: 2, minRegionsPerService: 0"))
	regions := []string{"ap-south", "eu-west", "us-east"}
	for round := range 20 {
		var wg sync.WaitGroup
		errs := make([]error, len(cs))
		for i, c := range cs {
			wg.Go(func() {
				_, errs[i] = c.DrainRegion(t.Context(), &pb.DrainRegionRequest{Region: regions[(round+i)%3], Reason: "test"})
			})
		}
		wg.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("round %d: %v, and %v: want exactly one to pass", round, errs[0], errs[1])
		}
		for i, err := range errs {
			if err != nil {
				wantCode(t, err, codes.FailedPrecondition, "min-regions", "1 of 3 regions would stay in service")
				continue
			}
			// The other one makes it undone.
			if un, err := cs[1-i].UndrainRegion(t.Context(), &pb.UndrainRegionRequest{Region: regions[(round+i)%3], Reason: "test"}); err != nil || len(un.GetRemoved()) != 1 {
				t.Fatal(un, err)
			}
		}
	}
}

// The rules see what the controller sees of health; and a drain never erases the
// verdict underneath.
func TestDrainAndVerdict(t *testing.T) {
	c := run(t, "c1", etcd(t))
	c.apply(base)
	c.reports(t.Context())
	state := func() string {
		x, err := c.Explain(t.Context(), &pb.ExplainRequest{Name: "www.example.test", Client: "193.0.6.139"})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range x.GetRegions() {
			if r.GetRegion() == "eu-west" {
				e := r.GetEndpoints()[0]
				return e.GetState() + " by " + e.GetDecidedBy() + ", verdict " + e.GetHealth().GetVerdict().String()
			}
		}
		return ""
	}
	const unhealthy = "unhealthy by verdict, verdict HEALTH_STATUS_UNHEALTHY"
	eventually(t, "the verdict", func() bool { return state() == unhealthy })
	// The other region is the only one that serves.
	_, err := c.DrainRegion(t.Context(), &pb.DrainRegionRequest{Region: "us-east", Reason: "r"})
	wantCode(t, err, codes.FailedPrecondition, "min-regions", "without a healthy endpoint: eu-west")
	if _, d := safetyOf(t, err); !d.GetHealthReady() || d.GetHealthDigest() == 0 {
		t.Errorf("decided by %v", d)
	}
	if _, err := c.DrainRegion(t.Context(), &pb.DrainRegionRequest{Region: "eu-west", Reason: "r"}); err != nil {
		t.Fatal(err) // it makes nothing worse
	}
	if got := state(); got != "drained by drain, verdict HEALTH_STATUS_UNHEALTHY" {
		t.Errorf("drained: %s", got)
	}
	if _, err := c.UndrainRegion(t.Context(), &pb.UndrainRegionRequest{Region: "eu-west", Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	if got := state(); got != unhealthy {
		t.Errorf("undrained: %s, want the verdict to be there at once", got)
	}
}

// The policy says how long an override stands that says nothing, and at most.
func TestExpiryByPolicy(t *testing.T) {
	c := run(t, "c1", etcd(t))
	c.apply(three + policy("defaultExpiry: 2h, maxExpiry: 4h"))
	lasts := func(d *durationpb.Duration) (time.Duration, error) {
		resp, err := c.DrainRegion(t.Context(), &pb.DrainRegionRequest{Region: "ap-south", Reason: "r", ExpireAfter: d, DryRun: true})
		o := resp.GetOverride()
		if err != nil || o.GetExpireTime() == nil {
			return 0, err
		}
		return o.GetExpireTime().AsTime().Sub(o.GetCreateTime().AsTime()), nil
	}
	want := func(d *durationpb.Duration, want time.Duration) {
		t.Helper()
		if got, err := lasts(d); err != nil || got != want {
			t.Errorf("it stands for %v, %v; want %v", got, err, want)
		}
	}
	want(nil, 2*time.Hour)
	want(durationpb.New(3*time.Hour), 3*time.Hour)
	for _, d := range []time.Duration{0, 5 * time.Hour} {
		_, err := lasts(durationpb.New(d))
		wantCode(t, err, codes.InvalidArgument, "expire_after", "longer than 4h0m0s", "drains.maxExpiry")
	}
	c.apply(three + policy("maxExpiry: 4h"))
	want(nil, 4*time.Hour)
	c.apply(three + policy("defaultExpiry: 1h"))
	want(durationpb.New(0), 0)
}
