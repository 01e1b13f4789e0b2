package simulation

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"text/template"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead-dns/fairlead/controller/catalog"
	"github.com/fairlead-dns/fairlead/controller/planner"
	"github.com/fairlead-dns/fairlead/controller/verdicts"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

const (
	installation = "simulated"
	epoch        = 7
	// The rhythm of checks, and how soon a change is seen.
	interval = time.Second
	timeout  = 500 * time.Millisecond
)

// shape is a world without its faults: what is configured. Worlds of one shape
// share what was compiled.
type shape struct {
	Regions, Agents int // agents in each region
	Damped          bool
	Confirm         bool // rapid confirm
	Reference       bool // agents have one, in no region
	DefaultDamping  bool
	Few             bool // one vantage of each region probes each target
}

// compiled is a shape's configuration.
type compiled struct {
	shape   shape
	tree    *plan.Tree
	head    *pb.Head
	base    *plan.Base
	regions []string
	agents  []verdicts.Agent
	// By target: the place of its endpoint.
	targets []target
}

type target struct{ id, address, region string }

func region(i int) string { return fmt.Sprintf("r%d", i+1) }

var configuration = template.Must(template.New("").Parse(`
{{- range $r, $region := .Names}}
apiVersion: fairlead/v1
kind: Region
metadata: {name: {{.}}}
spec: {latitude: 50, longitude: {{$r}}}
---
{{- range $.AgentsOf $r}}
apiVersion: fairlead/v1
kind: Agent
metadata: {name: {{.Name}}}
spec: {region: {{$region}}, address: "{{.Address}}"{{if $.Reference}}, references: ["{{$.ReferenceAddress}}"]{{end}}}
---
{{- end}}
{{- end}}
apiVersion: fairlead/v1
kind: HealthCheck
metadata: {name: web}
spec:
  interval: 1s
  timeout: 500ms
  rise: 2
  fall: 2
  {{- if .Confirm}}
  confirmInterval: 250ms
  {{- end}}
  {{- if .Few}}
  vantages: {{.Regions}}
  {{- end}}
  {{- if not .DefaultDamping}}
  damping: {{if .Damped}}{recoveries: 2, hold: 2s, maxHold: 4s}{{else}}{off: true}{{end}}
  {{- end}}
  tcp: {port: 80}
---
apiVersion: fairlead/v1
kind: SteeringPolicy
metadata: {name: near}
spec:
  mode: active-active
  rules:
    {{- range $r, $region := .Names}}
    - {name: {{$region}}, cidrs: [{{$.Clients $r}}], regions: [{{$region}}]}
    {{- end}}
---
apiVersion: fairlead/v1
kind: SteeringPolicy
metadata: {name: ranked}
spec: {mode: active-passive, regions: [{{.List}}]}
---
apiVersion: fairlead/v1
kind: Zone
metadata: {name: sim.test}
spec: {nameservers: [ns1.sim.test], records: "ns1 A 192.0.2.53"}
{{- range .Services}}
---
apiVersion: fairlead/v1
kind: Service
metadata: {name: {{.Name}}.sim.test}
spec:
  zone: sim.test
  policy: {{.Policy}}
  healthCheck: web
  {{.Rest}}
  endpoints:
  {{- range $r, $region := $.Names}}
  {{- range $.EndpointsOf $r}}
    - {name: {{.Name}}, region: {{$region}}, addresses: [{{.Address}}]}
  {{- end}}
  {{- end}}
{{- end}}
`))

type item struct{ Name, Address string }

func (s shape) Names() (out []string) {
	for r := range s.Regions {
		out = append(out, region(r))
	}
	return out
}

func (s shape) List() string { return strings.Join(s.Names(), ", ") }

func (s shape) AgentsOf(r int) (out []item) {
	for i := range s.Agents {
		out = append(out, item{fmt.Sprintf("a%d%c", r+1, 'a'+i), fmt.Sprintf("10.%d.0.%d:8082", r+1, 100+i)})
	}
	return out
}

func (s shape) EndpointsOf(r int) (out []item) {
	for i := range 2 {
		out = append(out, item{fmt.Sprintf("e%d%c", r+1, 'a'+i), fmt.Sprintf("10.%d.0.%d", r+1, 1+i)})
	}
	return out
}

// ReferenceAddress is the agents' reference.
func (shape) ReferenceAddress() string { return "10.99.0.1:443" }

// Clients is where the clients of a region are.
func (s shape) Clients(r int) string { return fmt.Sprintf("172.%d.0.0/16", 16+r) }

// client is one of them.
func client(r int, r16 uint16) netip.Addr {
	return netip.AddrFrom4([4]byte{172, byte(16 + r), byte(r16 >> 8), byte(r16)})
}

type serviceItem struct{ Name, Policy, Rest string }

func (shape) Services() []serviceItem {
	return []serviceItem{
		{"near", "near", "allDown: serve-all"},
		{"ranked", "ranked", "allDown: keep-last"},
		{"manual", "ranked", "failback: {mode: manual}"},
		{"slow", "near", "failback: {holdDown: 2s, rampSteps: [25, 50], rampInterval: 1s}"},
		{"own", "near", "verdicts: client-region"},
		{"fallen", "near", "allDown: serve-fallback\n  fallback: [192.0.2.99]"},
	}
}

var shapes sync.Map // shape → func() *compiled

// compile compiles a shape, once.
func (s shape) compile() *compiled {
	f, _ := shapes.LoadOrStore(s, sync.OnceValue(func() *compiled { return compileShape(s) }))
	return f.(func() *compiled)()
}

func compileShape(s shape) *compiled {
	c := &compiled{shape: s, regions: s.Names()}
	var text bytes.Buffer
	must(configuration.Execute(&text, s))
	docs, err := config.Parse("simulation.yaml", text.Bytes())
	must(err)
	var resources []*pb.Resource
	for _, d := range docs {
		resources = append(resources, d.Resource)
	}
	set, err := config.NewSet(resources)
	must(err)
	must(config.Validate(set, config.Options{}))
	c.tree, c.head, err = plan.Write(set, nil, nil, nil)
	must(err)
	c.base, err = plan.Compile(set)
	must(err)
	for r := range s.Regions {
		for _, a := range s.AgentsOf(r) {
			one := verdicts.Agent{Name: a.Name, Region: region(r), Address: a.Address}
			if s.Reference {
				one.References = []string{s.ReferenceAddress()}
			}
			c.agents = append(c.agents, one)
		}
		for _, e := range s.EndpointsOf(r) {
			c.targets = append(c.targets, target{"web@" + e.Address, e.Address, region(r)})
		}
	}
	return c
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// generation makes a generation of the history of a world.
func (c *compiled) generation(revision int64, o *pb.OverrideSet) *planner.Current {
	tree, head, err := plan.Write(c.tree.Set, o, c.tree, c.head)
	must(err)
	head.Epoch, head.Installation, head.PreviousRevision = epoch, installation, revision-1
	gen := regions.Generation{Epoch: epoch, Revision: revision}
	return &planner.Current{
		Version: &catalog.Version{Generation: gen, Head: head, Tree: tree},
		Plan:    c.base.With(gen, o),
	}
}

// drain is an override.
func drain(id, region string, now time.Time) *pb.Override {
	return &pb.Override{
		Id: id, Action: pb.OverrideAction_OVERRIDE_ACTION_DRAIN, Scope: &pb.OverrideScope{Region: region},
		Author: "sim", Reason: "a drill", CreateTime: timestamppb.New(now),
	}
}

// randomShape draws a shape.
func randomShape(r *rand.Rand) shape {
	s := shape{Regions: 3, Agents: 1, Damped: r.IntN(3) == 0, Confirm: r.IntN(3) == 0, Reference: r.IntN(3) == 0}
	switch n := r.IntN(20); {
	case n < 3:
		s.Regions = 2
	case n == 3:
		s.Regions = 5
	}
	if s.Regions < 5 && r.IntN(4) == 0 {
		s.Agents, s.Few = 2, r.IntN(3) == 0
	}
	return s
}
