package main

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/fairlead-dns/fairlead/controller/catalog"
	"github.com/fairlead-dns/fairlead/controller/planner"
	"github.com/fairlead-dns/fairlead/controller/verdicts"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

const (
	maxEndpoints = 60_000
	// perService is how many endpoints a service has.
	perService = 5
)

// setup is an installation: what the controller's process is told.
type setup struct {
	Agents, Regions, Endpoints int
	Pair                       *pair // nil: without TLS
}

func regionName(i int) string { return fmt.Sprintf("region-%d", i+1) }
func agentName(i int) string  { return fmt.Sprintf("agent-%d", i+1) }

// targetID names the target of an endpoint.
func targetID(i int) string { return "web@" + address(i) }

func address(i int) string { return fmt.Sprintf("10.%d.%d.%d", i/50_000, i/250%200, 1+i%250) }

func (s *setup) configuration() string {
	var b strings.Builder
	for r := range s.Regions {
		fmt.Fprintf(&b, "apiVersion: fairlead/v1\nkind: Region\nmetadata: {name: %s}\nspec: {latitude: %d, longitude: 8}\n---\n", regionName(r), r%90)
	}
	for a := range s.Agents {
		fmt.Fprintf(&b, "apiVersion: fairlead/v1\nkind: Agent\nmetadata: {name: %s}\nspec: {region: %s}\n---\n", agentName(a), regionName(a%s.Regions))
	}
	b.WriteString(`apiVersion: fairlead/v1
kind: HealthCheck
metadata: {name: web}
spec: {interval: 1s, timeout: 500ms, rise: 2, fall: 2, damping: {off: true}, tcp: {port: 80}}
---
apiVersion: fairlead/v1
kind: SteeringPolicy
metadata: {name: near}
spec: {mode: active-active}
---
apiVersion: fairlead/v1
kind: Zone
metadata: {name: bench.test}
spec: {nameservers: [ns1.bench.test], records: "ns1 A 192.0.2.53"}
`)
	for i := range s.Endpoints {
		if i%perService == 0 {
			fmt.Fprintf(&b, "---\napiVersion: fairlead/v1\nkind: Service\nmetadata: {name: s%d.bench.test}\nspec:\n  zone: bench.test\n  policy: near\n  healthCheck: web\n  endpoints:\n", i/perService)
		}
		fmt.Fprintf(&b, "    - {name: e%d, region: %s, addresses: [%s]}\n", i%perService, regionName(i%perService%s.Regions), address(i))
	}
	return b.String()
}

// compile makes the one generation of a setup.
func (s *setup) compile() (*planner.Current, error) {
	docs, err := config.Parse("bench.yaml", []byte(s.configuration()))
	if err != nil {
		return nil, err
	}
	var resources []*pb.Resource
	for _, d := range docs {
		resources = append(resources, d.Resource)
	}
	set, err := config.NewSet(resources)
	if err != nil {
		return nil, err
	}
	if err := config.Validate(set, config.Options{}); err != nil {
		return nil, err
	}
	tree, head, err := plan.Write(set, nil, nil, nil)
	if err != nil {
		return nil, err
	}
	base, err := plan.Compile(set)
	if err != nil {
		return nil, err
	}
	head.Epoch, head.Installation = 1, "bench"
	gen := regions.Generation{Epoch: 1, Revision: 1}
	return &planner.Current{
		Version: &catalog.Version{Generation: gen, Head: head, Tree: tree},
		Plan:    base.With(gen, nil),
	}, nil
}

// judged is what the judge needs to know of it.
func (s *setup) judged(c *planner.Current) verdicts.Plan {
	p := verdicts.Plan{
		Generation: c.Generation, Assignments: c.Plan.Compiled.Assignments,
		Guard: c.Plan.Safety.Guard, Regions: make([][]string, len(c.Plan.Targets)),
	}
	for i := range c.Plan.Services {
		for _, e := range c.Plan.Services[i].Endpoints {
			if t := e.Target[0]; t >= 0 {
				p.Regions[t] = append(p.Regions[t], c.Plan.Regions[e.Region].Name)
			}
		}
	}
	for a := range s.Agents {
		p.Agents = append(p.Agents, verdicts.Agent{Name: agentName(a), Region: regionName(a % s.Regions)})
	}
	return p
}

// plans implements feed.Plans with one generation, beside etcd, which health does
// not depend on. It counts the nameservers that have acknowledged it.
type plans struct {
	current *planner.Current
	never   chan struct{}
	saw     atomic.Int64
}

// Current implements feed.Plans.
func (p *plans) Current() *planner.Current { return p.current }

// Recent implements feed.Plans.
func (p *plans) Recent() []*planner.Current { return []*planner.Current{p.current} }

// Changed implements feed.Plans.
func (p *plans) Changed() <-chan struct{} { return p.never }

// Saw implements feed.Plans.
func (p *plans) Saw(_ string, gen regions.Generation, _ string) {
	if gen == p.current.Generation {
		p.saw.Add(1)
	}
}

// Lost implements feed.Plans.
func (*plans) Lost(string) {}
