package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

// TestWarnings holds every warning to the text that a user reads. What is warned
// of is valid, and whoever gives all of it is told all.
func TestWarnings(t *testing.T) {
	files, err := filepath.Glob("testdata/warnings/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata", err)
	}
	for _, path := range files {
		stem := strings.TrimSuffix(path, ".yaml")
		t.Run(filepath.Base(stem), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			set, err := apply(nil, path, data)
			if err != nil {
				t.Fatal(err)
			}
			text := ""
			for _, w := range config.Warnings(set) {
				text += w + "\n"
			}
			config.Golden(t, stem+".golden", text)
			if told := config.WarningsOf(set, set, set.All()); len(told) != strings.Count(text, "\n") {
				t.Errorf("one who gives everything is told %d: %q", len(told), told)
			}
			if told := config.WarningsOf(set, set, nil); len(told) > 0 {
				t.Errorf("one who changes nothing is told %q", told)
			}
			if told := config.WarningsOf(nil, set, nil); strings.Join(append(told, ""), "\n") != text {
				t.Errorf("of the first configuration: %q", told)
			}
		})
	}
}

// TestWarningsOf: a change is told what it brings about, and what is amiss with
// what it gives; not what others left.
func TestWarningsOf(t *testing.T) {
	read := func(name string) *config.Set {
		data, err := os.ReadFile("testdata/warnings/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		set, err := apply(nil, name, data)
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	get := func(s *config.Set, kind, name string) *pb.Resource {
		return proto.CloneOf(s.Get(config.Key{Kind: kind, Name: name}))
	}
	two, three := read("two-vantage-regions"), read("nothing")
	pay := get(two, "Service", "pay.example.test")
	renamed := proto.CloneOf(pay)
	config.Metadata(renamed).Name = "buy.example.test"
	short := proto.CloneOf(pay)
	short.GetService().Spec.Ttl.Seconds = 5
	for _, tt := range []struct {
		what  string
		base  *config.Set
		given []*pb.Resource
		prune bool
		want  []string // beginnings
	}{
		{"something else", two, []*pb.Resource{get(two, "Service", "www.example.test")}, false, nil},
		{"another user of an active-active policy", two, []*pb.Resource{get(two, "SteeringPolicy", "near")}, false, nil},
		{"an agent", two, []*pb.Resource{get(two, "Agent", "e1")}, false, []string{`steeringpolicies "first" spec.mode: `}},
		{"the policy", two, []*pb.Resource{get(two, "SteeringPolicy", "first")}, false, []string{`steeringpolicies "first" spec.mode: `}},
		{"the service, in another case", two, []*pb.Resource{func() *pb.Resource {
			r := proto.CloneOf(short)
			config.Metadata(r).Name = "Pay.Example.Test."
			return r
		}()}, false, []string{`steeringpolicies "first" spec.mode: `}},
		{"another service", two, []*pb.Resource{renamed}, false, []string{`steeringpolicies "first" spec.mode: `}},
		{"the third agent", two, []*pb.Resource{get(three, "Agent", "a1")}, false, nil},
		{"pruned: an agent is gone", three, without(three, "Agent", "a1"), true, []string{
			`agents "e1", "u1" spec.references: `, `steeringpolicies "first" spec.mode: `,
		}},
		{"pruned: the agents are gone", three, without(three, "Agent", ""), true, []string{`agents: none is registered`}},
		{"pruned: the users of a check are gone", three, without(three, "Service", ""), true, []string{
			`healthchecks "web": `, `steeringpolicies "first", "near": `,
		}},
	} {
		next, _, err := config.Merge(tt.base, tt.given, tt.prune)
		if err == nil {
			err = config.Validate(next, config.Options{Base: tt.base})
		}
		if err != nil {
			t.Fatal(tt.what, err)
		}
		got := config.WarningsOf(tt.base, next, tt.given)
		if len(got) != len(tt.want) {
			t.Errorf("%s: %d warnings, want %d: %q", tt.what, len(got), len(tt.want), got)
			continue
		}
		for i, want := range tt.want {
			if !strings.HasPrefix(got[i], want) {
				t.Errorf("%s: %s\nwant %s", tt.what, got[i], want)
			}
		}
	}
}

// without are the resources of a set but for those of a kind, or one of them.
func without(s *config.Set, kind, name string) (out []*pb.Resource) {
	for _, r := range s.All() {
		if config.Kind(r) != kind || name != "" && config.Name(r) != name {
			out = append(out, r)
		}
	}
	return out
}

// TestWarningsAreFew: those of many resources are few, and name those that were
// given.
func TestWarningsAreFew(t *testing.T) {
	var text strings.Builder
	text.WriteString(`apiVersion: fairlead/v1
kind: Region
metadata: {name: eu}
spec: {latitude: 1, longitude: 1}
---
{apiVersion: fairlead/v1, kind: SteeringPolicy, metadata: {name: near}, spec: {mode: active-active}}
---
{apiVersion: fairlead/v1, kind: Zone, metadata: {name: example.test}, spec: {nameservers: [ns.example.net]}}
`)
	for i := range 300 {
		fmt.Fprintf(&text, "---\n{apiVersion: fairlead/v1, kind: HealthCheck, metadata: {name: c%03d}, spec: {http: {}, interval: %ds}}\n", i, 61+i)
		fmt.Fprintf(&text, "---\n{apiVersion: fairlead/v1, kind: Service, metadata: {name: s%03d.example.test}, spec: {zone: example.test, ttl: 1h, policy: near, healthCheck: c%03d, endpoints: [{name: e, region: eu, addresses: [192.0.2.1]}]}}\n", i, i)
	}
	set, err := apply(nil, "f", []byte(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	got := config.Warnings(set)
	if len(got) != 101 || got[100] != "and 502 more" {
		t.Errorf("%d warnings, the last %q", len(got), got[len(got)-1])
	}
	given := []*pb.Resource{set.Get(config.Key{Kind: "Service", Name: "s250.example.test"})}
	got = config.WarningsOf(set, set, given)
	want := []string{
		`agents: none is registered, and these services have a health check: s250.example.test, s000.example.test, s001.example.test and 297 more. `,
		`services "s250.example.test", "s000.example.test", "s001.example.test" and 297 more spec.ttl: `,
	}
	if len(got) != len(want) || !strings.HasPrefix(got[0], want[0]) || !strings.HasPrefix(got[1], want[1]) {
		t.Errorf("one service given: %q", got)
	}
}
