package regions

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestScope(t *testing.T) {
	const service, endpoint, region, az = "www.example.test", "eu-1", "eu-west", "a"
	for _, c := range []struct {
		scope Scope
		holds bool
		text  string
	}{
		{Scope{}, false, ""},
		{Scope{Region: region}, true, "region eu-west"},
		{Scope{Region: "us-east"}, false, "region us-east"},
		{Scope{Region: region, AvailabilityZone: az}, true, "region eu-west, availability zone a"},
		{Scope{Region: region, AvailabilityZone: "b"}, false, "region eu-west, availability zone b"},
		{Scope{AvailabilityZone: az}, true, "availability zone a"},
		{Scope{Service: service}, true, "service www.example.test"},
		{Scope{Service: "example.test"}, false, "service example.test"},
		{Scope{Service: service, Endpoint: endpoint}, true, "service www.example.test, endpoint eu-1"},
		{Scope{Service: service, Endpoint: "eu-2"}, false, "service www.example.test, endpoint eu-2"},
		{Scope{Region: region, Service: service}, true, "region eu-west, service www.example.test"},
		{Scope{Region: "us-east", Service: service}, false, "region us-east, service www.example.test"},
		{Scope{Region: region, AvailabilityZone: az, Service: service, Endpoint: endpoint}, true, "region eu-west, availability zone a, service www.example.test, endpoint eu-1"},
	} {
		if got := c.scope.Holds(service, endpoint, region, az); got != c.holds {
			t.Errorf("%+v holds %v, want %v", c.scope, got, c.holds)
		}
		if got := c.scope.String(); got != c.text {
			t.Errorf("%+v prints %q, want %q", c.scope, got, c.text)
		}
	}
	if (Scope{Region: region, AvailabilityZone: az}).Holds(service, endpoint, region, "") {
		t.Error("an availability zone holds an endpoint that is in none")
	}
}

// TestOverrideIndex: the index finds what trying every override finds.
func TestOverrideIndex(t *testing.T) {
	name := rapid.SampledFrom([]string{"", "a", "b", "c"})
	full := rapid.SampledFrom([]string{"a", "b", "c"})
	rapid.Check(t, func(rt *rapid.T) {
		var all []Override
		for i := range rapid.IntRange(0, 12).Draw(rt, "n") {
			all = append(all, Override{ID: string(rune('a' + i)), Scope: Scope{
				Region: name.Draw(rt, "region"), AvailabilityZone: name.Draw(rt, "az"),
				Service: name.Draw(rt, "service"), Endpoint: name.Draw(rt, "endpoint"),
			}})
		}
		service, endpoint, region, az := full.Draw(rt, "s"), full.Draw(rt, "e"), full.Draw(rt, "r"), name.Draw(rt, "z")
		var want []*Override
		for i := range all {
			if all[i].Scope.Holds(service, endpoint, region, az) {
				want = append(want, &all[i])
			}
		}
		got := IndexOverrides(all).Append(nil, service, endpoint, region, az)
		slices.SortFunc(got, func(a, b *Override) int { return strings.Compare(a.ID, b.ID) })
		if !slices.Equal(got, want) {
			rt.Fatalf("found %v, want %v", got, want)
		}
	})
}

func TestSortOverrides(t *testing.T) {
	o := []Override{{ID: "b"}, {ID: "a"}, {ID: ""}, {ID: "c"}}
	SortOverrides(o)
	for i, want := range []string{"", "a", "b", "c"} {
		if o[i].ID != want {
			t.Fatalf("sorted to %+v", o)
		}
	}
}
