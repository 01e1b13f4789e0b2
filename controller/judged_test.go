package controller

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead-dns/fairlead/controller/catalog"
	"github.com/fairlead-dns/fairlead/controller/planner"
	"github.com/fairlead-dns/fairlead/controller/verdicts"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

const judgedConfig = `
{apiVersion: fairlead/v1, kind: Region, metadata: {name: eu}, spec: {latitude: 50, longitude: 5}}
---
{apiVersion: fairlead/v1, kind: Region, metadata: {name: us}, spec: {latitude: 40, longitude: -75}}
---
{apiVersion: fairlead/v1, kind: SteeringPolicy, metadata: {name: passive}, spec: {mode: active-passive, regions: [eu, us], minHealthyPercent: 60}}
---
{apiVersion: fairlead/v1, kind: SteeringPolicy, metadata: {name: near}, spec: {mode: active-active}}
---
{apiVersion: fairlead/v1, kind: HealthCheck, metadata: {name: web}, spec: {tcp: {port: 80}}}
---
{apiVersion: fairlead/v1, kind: Agent, metadata: {name: probe-eu}, spec: {region: eu, references: ["192.0.2.1:443"], address: "192.0.2.7:8082"}}
---
{apiVersion: fairlead/v1, kind: Agent, metadata: {name: probe-us}, spec: {region: us}}
---
{apiVersion: fairlead/v1, kind: SafetyPolicy, metadata: {name: default}, spec: {guard: {maxPercent: 30, mode: alarm}}}
---
{apiVersion: fairlead/v1, kind: Zone, metadata: {name: example.test}, spec: {nameservers: [ns.example.test], records: "ns A 192.0.2.53"}}
---
apiVersion: fairlead/v1
kind: Service
metadata: {name: www.example.test}
spec:
  zone: example.test
  policy: passive
  healthCheck: web
  families: independent
  failback: {mode: manual}
  endpoints:
    - {name: eu-1, region: eu, addresses: [192.0.2.10, "2001:db8::10"]}
    - {name: us-1, region: us, addresses: [198.51.100.10]}
    - {name: eu-2, region: eu, addresses: [192.0.2.11]}
---
apiVersion: fairlead/v1
kind: Service
metadata: {name: api.example.test}
spec:
  zone: example.test
  policy: near
  healthCheck: web
  failback: {mode: automatic}
  endpoints:
    - {name: shared, region: us, addresses: [192.0.2.10]}
---
apiVersion: fairlead/v1
kind: Service
metadata: {name: plain.example.test}
spec:
  zone: example.test
  policy: near
  failback: {mode: manual}
  endpoints:
    - {name: us-1, region: us, addresses: [198.51.100.20]}
`

func TestJudgedBy(t *testing.T) {
	docs, err := config.Load(config.Source{File: "test.yaml", Data: []byte(judgedConfig)})
	if err != nil {
		t.Fatal(err)
	}
	var list []*pb.Resource
	for _, d := range docs {
		list = append(list, d.Resource)
	}
	set, err := config.NewSet(list)
	if err != nil {
		t.Fatal(err)
	}
	base, err := plan.Compile(set)
	if err != nil {
		t.Fatal(err)
	}
	gen := regions.Generation{Epoch: 1, Revision: 7}
	overrides := &pb.OverrideSet{Releases: []*pb.LatchRelease{{Latch: "guard", Trip: 3}}}
	got := JudgedBy(&planner.Current{Version: &catalog.Version{Tree: &plan.Tree{Set: set}}, Plan: base.With(gen, overrides)})

	if diff := cmp.Diff([]verdicts.Agent{
		{Name: "probe-eu", Region: "eu", References: []string{"192.0.2.1:443"}, Address: "192.0.2.7:8082"},
		{Name: "probe-us", Region: "us"},
	}, got.Agents); diff != "" {
		t.Error(diff)
	}
	in := map[string][]string{}
	for i, a := range got.Assignments {
		in[a.GetTarget()] = got.Regions[i]
	}
	if diff := cmp.Diff(map[string][]string{
		"web@192.0.2.10": {"us", "eu"}, "web@2001:db8::10": {"eu"}, "web@192.0.2.11": {"eu"}, "web@198.51.100.10": {"us"},
	}, in); diff != "" {
		t.Error(diff)
	}
	// One without a health check has no latch, one with automatic failback neither.
	if diff := cmp.Diff([]verdicts.LatchGroup{
		{
			Service: "www.example.test", Region: "eu", MinHealthyPercent: 60, Confirmed: true, Independent: true,
			Targets: [][2]string{{"web@192.0.2.10", "web@2001:db8::10"}, {"web@192.0.2.11", ""}},
		},
		{
			Service: "www.example.test", Region: "us", MinHealthyPercent: 60, Confirmed: true, Independent: true,
			Targets: [][2]string{{"web@198.51.100.10", ""}},
		},
	}, got.Latches); diff != "" {
		t.Error(diff)
	}
	if want := (regions.Guard{AlarmOnly: true, MaxPercent: 30, Window: time.Minute}); got.Guard != want {
		t.Errorf("guard %+v, want %+v", got.Guard, want)
	}
	if got.Releases["guard"] != 3 {
		t.Errorf("releases %v", got.Releases)
	}
}
