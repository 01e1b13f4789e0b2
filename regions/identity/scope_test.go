package identity

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The truth table of Scope, line by line.
func TestScope(t *testing.T) {
	var (
		none    Scope
		names   = Scope{Zones: []string{"a.test"}, Services: []string{"*.c.test", "www.b.test"}}
		regions = Scope{Regions: []string{"eu", "us"}}
		both    = Scope{Zones: names.Zones, Services: names.Services, Regions: regions.Regions}
	)
	type row struct {
		zone, service string
		in            string // regions
		want          [4]bool
	}
	scopes := [4]Scope{none, names, regions, both}
	for _, c := range []row{
		{"a.test", "www.a.test", "", [4]bool{true, true, false, false}},
		{"a.test", "www.a.test", "eu", [4]bool{true, true, true, true}},
		{"a.test", "www.a.test", "eu us", [4]bool{true, true, true, true}},
		{"a.test", "www.a.test", "eu ap", [4]bool{true, true, false, false}},
		{"b.test", "www.b.test", "eu", [4]bool{true, true, true, true}},
		{"b.test", "ftp.b.test", "eu", [4]bool{true, false, true, false}},
		{"b.test", "ftp.b.test", "ap", [4]bool{true, false, false, false}},
		{"sub.a.test", "www.sub.a.test", "eu", [4]bool{true, false, true, false}},
		{"c.test", "*.c.test", "eu", [4]bool{true, true, true, true}},
		{"c.test", "www.c.test", "eu", [4]bool{true, false, true, false}},
	} {
		for i, s := range scopes {
			if got := s.AllowsService(c.zone, c.service, strings.Fields(c.in)); got != c.want[i] {
				t.Errorf("scope %q, zone %s, service %s, regions %q: %v", s, c.zone, c.service, c.in, got)
			}
		}
	}
	for _, c := range []struct {
		what string
		do   func(Scope) bool
		want [4]bool
	}{
		{"all", Scope.All, [4]bool{true, false, false, false}},
		{"region eu", func(s Scope) bool { return s.AllowsRegion("eu") }, [4]bool{true, false, true, false}},
		{"region ap", func(s Scope) bool { return s.AllowsRegion("ap") }, [4]bool{true, false, false, false}},
		{"zone a.test", func(s Scope) bool { return s.AllowsZone("a.test") }, [4]bool{true, true, false, false}},
		{"zone b.test", func(s Scope) bool { return s.AllowsZone("b.test") }, [4]bool{true, false, false, false}},
	} {
		for i, s := range scopes {
			if got := c.do(s); got != c.want[i] {
				t.Errorf("scope %q, %s: %v", s, c.what, got)
			}
		}
	}
}

// What a scope allows for a whole region or zone, it allows for each service
// in it; and adding a limit of another sort never allows more.
func TestScopeIsCoherent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScope(t)
		zone := rapid.OneOf(domains, rapid.SampledFrom(append(slices.Clone(s.Zones), "a"))).Draw(t, "zone")
		service := rapid.OneOf(owners, rapid.SampledFrom(append(slices.Clone(s.Services), "a"))).Draw(t, "service")
		region := rapid.OneOf(labels, rapid.SampledFrom(append(slices.Clone(s.Regions), "a"))).Draw(t, "region")
		one := s.AllowsService(zone, service, []string{region})
		if s.AllowsRegion(region) && !one {
			t.Fatalf("%v: region %s, not service %s in it", s, region, service)
		}
		if s.AllowsZone(zone) && (!one || !s.AllowsService(zone, service, nil)) {
			t.Fatalf("%v: zone %s, not service %s in it", s, zone, service)
		}
		if s.AllowsService(zone, service, nil) && !one {
			t.Fatalf("%v: everywhere, not in %s", s, region)
		}
		if s.All() && !(s.AllowsZone(zone) && s.AllowsRegion(region)) {
			t.Fatalf("%v: all, not zone %s and region %s", s, zone, region)
		}
		for _, wider := range []Scope{{Zones: s.Zones, Services: s.Services}, {Regions: s.Regions}} {
			if one && !wider.AllowsService(zone, service, []string{region}) {
				t.Fatalf("%v allows what %v does not", s, wider)
			}
		}
	})
}
