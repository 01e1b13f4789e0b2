package plan

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/steer"
)

// sample is a configuration with something of everything.
const sample = `
apiVersion: fairlead/v1
kind: Region
metadata: {name: eu-west}
spec: {latitude: 50.1, longitude: 8.7, capacity: 10, availabilityZones: [a, b]}
---
apiVersion: fairlead/v1
kind: Region
metadata: {name: us-east}
spec: {latitude: 38.9, longitude: -77.4}
---
apiVersion: fairlead/v1
kind: HealthCheck
metadata: {name: web}
spec: {interval: 20s, timeout: 3s, http: {path: /healthz}}
---
apiVersion: fairlead/v1
kind: SteeringPolicy
metadata: {name: nearest}
spec:
  mode: active-active
  bias: {us-east: 10}
  rules:
    - {name: lab, cidrs: [198.51.100.0/24], countries: [FR], regions: [us-east]}
---
apiVersion: fairlead/v1
kind: SteeringPolicy
metadata: {name: standby}
spec: {mode: active-passive, regions: [us-east, eu-west], maxAnswers: 1, minHealthyPercent: 50}
---
apiVersion: fairlead/v1
kind: Zone
metadata: {name: example.test}
spec:
  nameservers: [ns1.example.net]
  records: |
    txt    TXT   "hello"
    alias  CNAME www
    old    DNAME example.net.
    sub    NS    ns1.example.net.
---
apiVersion: fairlead/v1
kind: Service
metadata: {name: www.example.test}
spec:
  zone: example.test
  policy: nearest
  healthCheck: web
  allDown: serve-fallback
  fallback: [203.0.113.1, "2001:db8:ffff::1"]
  endpoints:
    - {name: eu-1, region: eu-west, availabilityZone: a, addresses: [192.0.2.10, "2001:db8::10"]}
    - {name: eu-2, region: eu-west, addresses: [192.0.2.11], weight: 0}
    - {name: us-1, region: us-east, addresses: [192.0.2.20], weight: 5}
---
apiVersion: fairlead/v1
kind: Service
metadata: {name: api.example.test}
spec:
  zone: example.test
  policy: standby
  healthCheck: web
  allDown: keep-last
  unknown: unhealthy
  families: independent
  endpoints:
    - {name: eu-1, region: eu-west, addresses: [192.0.2.10]}
---
apiVersion: fairlead/v1
kind: Service
metadata: {name: "*.cdn.example.test"}
spec:
  zone: example.test
  policy: nearest
  allDown: serve-fallback
  fallback: [sorry.example.net]
  endpoints:
    - {name: eu-1, region: eu-west, cname: Eu.CDN.example.net}
---
apiVersion: fairlead/v1
kind: Agent
metadata: {name: p1}
spec: {region: eu-west}
---
apiVersion: fairlead/v1
kind: Nameserver
metadata: {name: ns1}
spec: {region: us-east}
`

// load makes a valid set of a file's text.
func load(t testing.TB, text string) *config.Set {
	t.Helper()
	set := loadUnchecked(t, text)
	if err := config.Validate(set, config.Options{Records: CheckRecords}); err != nil {
		t.Fatal(err)
	}
	return set
}

// loadUnchecked makes a set that another version may have found valid.
func loadUnchecked(t testing.TB, text string) *config.Set {
	t.Helper()
	docs, err := config.Load(config.Source{File: "sample.yaml", Data: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	var resources []*pb.Resource
	for _, d := range docs {
		resources = append(resources, d.Resource)
	}
	set, err := config.NewSet(resources)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func compile(t testing.TB, set *config.Set) *Base {
	t.Helper()
	b, err := Compile(set)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// change returns a set in which one resource was altered.
func change(t testing.TB, set *config.Set, key config.Key, edit func(*pb.Resource)) *config.Set {
	t.Helper()
	var resources []*pb.Resource
	for _, r := range set.All() {
		r = proto.CloneOf(r)
		if config.KeyOf(r) == key {
			edit(r)
		}
		resources = append(resources, r)
	}
	next, err := config.NewSet(resources)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// view makes a view without geo data; verdicts are by target id.
func view(t testing.TB, p *Plan, verdicts map[string]steer.TargetState) *steer.View {
	t.Helper()
	r, err := steer.CompileRankings(p.Base, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	states := make([]steer.TargetState, len(p.Targets))
	for i := range states {
		states[i] = verdicts[p.Targets[i].ID]
	}
	return steer.NewView(steer.Inputs{Plan: p.Plan, Tables: r.Tables, States: states, Now: now})
}

func drain(id string, scope *pb.OverrideScope) *pb.Override {
	return &pb.Override{Id: id, Action: pb.OverrideAction_OVERRIDE_ACTION_DRAIN, Scope: scope, Author: "ana", Reason: "patching"}
}

func indexes(t testing.TB, b *Base, names ...string) []uint16 {
	t.Helper()
	out := []uint16{}
	for _, n := range names {
		i, ok := b.Region(n)
		if !ok {
			t.Fatal("no region", n)
		}
		out = append(out, i)
	}
	return slices.Clip(out)
}
