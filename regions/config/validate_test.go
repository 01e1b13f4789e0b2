package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// TestLimits: one more than may be is refused, as many as may be is not.
func TestLimits(t *testing.T) {
	make1 := map[string]func(i int) *pb.Resource{
		KindRegion: func(i int) *pb.Resource {
			return &pb.Resource{Kind: &pb.Resource_Region{Region: &pb.Region{Metadata: &pb.Metadata{Name: fmt.Sprintf("x%d", i)}, Spec: &pb.RegionSpec{Latitude: proto.Float64(1), Longitude: proto.Float64(1)}}}}
		},
		KindAgent: func(i int) *pb.Resource {
			return &pb.Resource{Kind: &pb.Resource_Agent{Agent: &pb.Agent{Metadata: &pb.Metadata{Name: fmt.Sprintf("x%d", i)}, Spec: &pb.AgentSpec{Region: "r0"}}}}
		},
		KindSteeringPolicy: func(i int) *pb.Resource {
			return &pb.Resource{Kind: &pb.Resource_SteeringPolicy{SteeringPolicy: &pb.SteeringPolicy{Metadata: &pb.Metadata{Name: fmt.Sprintf("x%d", i)}, Spec: &pb.SteeringPolicySpec{Mode: pb.SteeringMode_STEERING_MODE_ACTIVE_ACTIVE}}}}
		},
	}
	for kind, one := range make1 {
		most := limits[kindIndex(kind)]
		resources := fleet(1)
		for i := range most - mustSet(t, fleet(1)).Count(kind) {
			resources = append(resources, one(i))
		}
		if err := Validate(mustSet(t, resources), Options{}); err != nil {
			t.Errorf("%d of %s: %v", most, kind, err)
		}
		want := fmt.Sprintf("%s: there are %d; at most %d may be", Plural(kind), most+1, most)
		if err := Validate(mustSet(t, append(resources, one(most))), Options{}); err == nil || err.Error() != want {
			t.Errorf("%d of %s: %v, want %s", most+1, kind, err, want)
		}
	}

	large := fleet(1)
	large[5].GetZone().Spec.Records = strings.Repeat("; comment\n", MaxRecordsSize/10+1)
	if err := Validate(mustSet(t, large), Options{}); err == nil || !strings.Contains(err.Error(), "spec.records: has 8388610 bytes; at most 8388608 may be") {
		t.Errorf("large records: %v", err)
	}
	large = fleet(1)
	rules := large[3].GetSteeringPolicy().Spec
	for i := range maxRules {
		rule := &pb.SteeringRule{Name: fmt.Sprintf("r%d", i), Regions: []string{"r0"}}
		for j := range 100 {
			rule.Cidrs = append(rule.Cidrs, fmt.Sprintf("10.%d.%d.0/24", i%250, j))
		}
		rules.Rules = append(rules.Rules, rule)
	}
	if err := Validate(mustSet(t, large), Options{}); err == nil || !strings.Contains(err.Error(), `steeringpolicies "nearest": has `) {
		t.Errorf("large policy: %v", err)
	}
}

// TestValidateBase: with a valid base only what differs is checked again, and
// references everywhere as soon as their targets differ.
func TestValidateBase(t *testing.T) {
	base := mustSet(t, fleet(200))
	// As of a newer version: an enumeration with a value that this one lacks.
	base.Get(Key{KindService, "s7.z0.example.test"}).GetService().Spec.AllDown = 77
	if err := Validate(base, Options{}); err == nil {
		t.Fatal("an unknown value is not refused")
	}
	next, _ := relabel(t, base, Key{KindService, "s8.z0.example.test"})
	if err := Validate(next, Options{Base: base}); err != nil {
		t.Errorf("what was there stops a change elsewhere: %v", err)
	}
	for _, key := range []Key{{KindRegion, "r1"}, {KindZone, "z1.example.test"}, {KindSteeringPolicy, "nearest"}, {KindHealthCheck, "web"}} {
		next, _, _ := Delete(base, key)
		err := Validate(next, Options{Base: base})
		var errs Errors
		if !errors.As(err, &errs) || !strings.Contains(err.Error(), fmt.Sprintf("no %s %q", nouns[key.Kind], key.Name)) {
			t.Errorf("without %v: %v", key, err)
		}
		if got := Referrers(base, key); len(got) == 0 || len(got) > len(errs) {
			t.Errorf("%v: %d referrers, %d errors", key, len(got), len(errs))
		}
	}
	zone := &pb.Resource{Kind: &pb.Resource_Zone{Zone: &pb.Zone{Metadata: &pb.Metadata{Name: "s9.z0.example.test"}, Spec: &pb.ZoneSpec{Nameservers: []string{"ns.test"}}}}}
	next, _, err := Merge(base, []*pb.Resource{zone}, false)
	if err != nil {
		t.Fatal(err)
	}
	want := `services "s9.z0.example.test" spec.zone: the closest zone of "s9.z0.example.test" is "s9.z0.example.test": want that`
	if err := Validate(next, Options{Base: base}); err == nil || err.Error() != want {
		t.Errorf("a zone between: %v, want %s", err, want)
	}
}

// TestRecordsHook: it is called for the zones that differ.
func TestRecordsHook(t *testing.T) {
	base := mustSet(t, fleet(300))
	called := func(set, before *Set) string {
		var out []string
		err := Validate(set, Options{Base: before, Records: func(zone *pb.Zone, services []*pb.Service) []FieldError {
			out = append(out, fmt.Sprintf("%s:%d", zone.Metadata.Name[:2], len(services)))
			return []FieldError{{Path: "spec.records:2", Message: "is wrong"}}
		}})
		var errs Errors
		if len(out) > 0 && (!errors.As(err, &errs) || len(errs) != len(out) || errs[0].Kind != KindZone || errs[0].Name == "") {
			t.Errorf("errors of the hook: %v", err)
		}
		return strings.Join(out, " ")
	}
	if got := called(base, nil); got != "z0:100 z1:100 z2:100 z3:0" {
		t.Errorf("without a base: %s", got)
	}
	if got := called(base, base); got != "" {
		t.Errorf("the same: %s", got)
	}
	next, _ := relabel(t, base, Key{KindService, "s150.z1.example.test"})
	if got := called(next, base); got != "z1:100" {
		t.Errorf("a service: %s", got)
	}
	next, _, _ = Delete(next, Key{KindService, "s250.z2.example.test"})
	if got := called(next, base); got != "z1:100 z2:99" {
		t.Errorf("and one deleted: %s", got)
	}
}

// TestErrorsAreBounded: a set in which everything is wrong is told of in
// reasonable time and space.
func TestErrorsAreBounded(t *testing.T) {
	var resources []*pb.Resource
	for _, r := range fleet(5000) {
		if r.GetZone() == nil {
			resources = append(resources, r)
		}
	}
	for i := range 2000 {
		resources = append(resources, &pb.Resource{Kind: &pb.Resource_Zone{Zone: &pb.Zone{Metadata: &pb.Metadata{Name: fmt.Sprintf("zone%d.test", i)}, Spec: &pb.ZoneSpec{Nameservers: []string{"ns.test"}}}}})
	}
	err := Validate(mustSet(t, resources), Options{})
	var errs Errors
	if !errors.As(err, &errs) || len(errs) != 5000 {
		t.Fatalf("%d errors, want 5000", len(errs))
	}
	if lines := strings.Count(err.Error(), "\n"); lines != maxPrinted || !strings.HasSuffix(err.Error(), "and 4000 more") {
		t.Errorf("%d lines are printed", lines)
	}
}

// TestLongChain: names that lead to names, 5,000 times, are no loop.
func TestLongChain(t *testing.T) {
	resources := fleet(5_000)
	for i, r := range resources {
		if s := r.GetService(); s != nil && i+1 < len(resources) {
			s.Spec.Endpoints = []*pb.Endpoint{{Name: "next", Region: "r0", Cname: Name(resources[i+1])}}
		}
	}
	if err := Validate(mustSet(t, resources), Options{}); err != nil {
		t.Fatal(err)
	}
	last := resources[len(resources)-1]
	last.GetService().Spec.Endpoints = []*pb.Endpoint{{Name: "next", Region: "r0", Cname: "s10.z0.example.test"}}
	err := Validate(mustSet(t, resources), Options{})
	want := `services "s10.z0.example.test" spec.endpoints: the names lead back to the service: s10.z0.example.test → s11.z0.example.test → s12.z0.example.test → … → s4999.z49.example.test → s10.z0.example.test`
	if err == nil || err.Error() != want {
		t.Errorf("a long loop: %.300v, want %s", err, want)
	}
}

// TestValidateAnything: no resource crashes it, and every error names its place
// so that the API can carry it.
func TestValidateAnything(t *testing.T) {
	if ValidateResource(&pb.Resource{Kind: &pb.Resource_Zone{}}) == nil {
		t.Error("an empty zone is right")
	}
	rapid.Check(t, func(rt *rapid.T) {
		set := mustSet(t, anySet(rt, "set"))
		var errs Errors
		if err := Validate(set, Options{}); err != nil && !errors.As(err, &errs) {
			rt.Fatalf("an error of type %T", err)
		}
		for _, e := range errs {
			if e.Message == "" || e.Kind == "" {
				rt.Fatalf("an error that says nothing: %+v", e)
			}
			if got := FieldErrorOf(e.Field(), e.Message); got != e {
				rt.Fatalf("%q became %+v", e.Field(), got)
			}
		}
	})
}
