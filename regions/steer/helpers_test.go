package steer

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
)

// failer is what helpers need of a test; rapid's T has it too.
type failer interface {
	Helper()
	Fatal(args ...any)
}

// Regions of the tables, by index.
const (
	eu = iota
	us
	ap
)

var regionNames = []string{"eu", "us", "ap", "sa"}

// epoch is when everything began; it is no special time.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func addr4(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}) }

func addr6(i int) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: byte(i + 1)})
}

// world is a plan with one service or more, and the verdicts on its targets.
type world struct {
	plan   *regions.Plan
	states []TargetState
}

// worldOf makes a world of one service. An endpoint is a line
//
//	NAME V4 V6 [w=WEIGHT] [at=SINCE] [at6=SINCE] [drain] [force-up] [force-down]
//
// where the name begins with its region, V4 and V6 are up, down, never (judged)
// or - (there is no such address), and SINCE is a time after epoch, for
// IPv6 another one if need be. With svc.Names the IPv4 column stands for the name.
func worldOf(t failer, policy regions.Policy, svc regions.Service, lines ...string) *world {
	t.Helper()
	w := &world{plan: &regions.Plan{}}
	var targets []regions.Target
	for i, line := range lines {
		fields := strings.Fields(line)
		region, _, _ := strings.Cut(fields[0], "-")
		ep := regions.Endpoint{Name: fields[0], Region: uint16(slices.Index(regionNames, region)), Weight: 100, Target: [2]int32{-1, -1}}
		since := [2]time.Time{epoch, epoch}
		for _, option := range fields[3:] {
			key, value, _ := strings.Cut(option, "=")
			switch key {
			case "w":
				n, err := strconv.Atoi(value)
				if err != nil {
					t.Fatal(err)
				}
				ep.Weight = uint32(n)
			case "at":
				d, err := time.ParseDuration(value)
				if err != nil {
					t.Fatal(err)
				}
				since[regions.V4], since[regions.V6] = epoch.Add(d), epoch.Add(d)
			case "at6":
				d, err := time.ParseDuration(value)
				if err != nil {
					t.Fatal(err)
				}
				since[regions.V6] = epoch.Add(d)
			default:
				action := slices.Index([]string{"force-up", "drain", "force-down"}, option)
				if action < 0 {
					t.Fatal("no such option: " + option)
				}
				w.plan.Overrides = append(w.plan.Overrides, regions.Override{
					ID: fmt.Sprintf("o%d", len(w.plan.Overrides)), Action: regions.Action(action),
					Scope: regions.Scope{Service: "www.example.test", Endpoint: ep.Name},
				})
			}
		}
		for f, state := range fields[1:3] {
			if state == "-" {
				continue
			}
			switch {
			case svc.Names:
				ep.CNAME = ep.Name + ".example.net."
			case f == int(regions.V4):
				ep.Addr[f] = addr4(i)
			default:
				ep.Addr[f] = addr6(i)
			}
			ep.Target[f] = int32(len(targets))
			targets = append(targets, regions.Target{ID: fmt.Sprintf("web@%d.%d", i, f), Check: "web", Services: []int32{0}})
			st := TargetState{Since: since[f]}
			switch state {
			case "up":
				st.Verdict = regions.Healthy
			case "down":
				st.Verdict = regions.Unhealthy
			case "never":
				st.Since = time.Time{}
			default:
				t.Fatal("no such state: " + state)
			}
			w.states = append(w.states, st)
		}
		svc.Endpoints = append(svc.Endpoints, ep)
	}
	svc.Name, svc.Zone, svc.TTL, svc.Checked = "www.example.test", "example.test", 30, true
	if svc.NeverJudged == regions.Unknown {
		svc.NeverJudged = regions.Healthy
	}
	list := []regions.Region{
		{Name: "eu", Latitude: 50.1, Longitude: 8.7}, {Name: "us", Latitude: 38.9, Longitude: -77.4},
		{Name: "ap", Latitude: 35.7, Longitude: 139.7}, {Name: "sa", Latitude: -23.5, Longitude: -46.6},
	}
	policy.Name = "nearest"
	if policy.Candidates == nil {
		policy.ActivePassive, policy.Candidates = true, []uint16{eu, us, ap}
	}
	if policy.MaxAnswers == 0 {
		policy.MaxAnswers = 8
	}
	w.plan.Base = regions.NewBase(list, []regions.Policy{policy}, []regions.Service{svc}, targets)
	return w
}

func (w *world) view(t failer) *View {
	t.Helper()
	r, err := CompileRankings(w.plan.Base, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return NewView(w.plan, r.Tables, w.states)
}

// anyone is a client; without rules and geo data they are all alike.
var anyone = netip.MustParseAddr("198.51.100.7")

// describe prints a selection and its candidates, as "in-service eu: eu-1 eu-2".
func describe(v *View, service int32, f regions.Family, client netip.Addr) string {
	x := v.Explain(service, f, client)
	out := x.Selection.Rung.String()
	if r := x.Selection.Region; r >= 0 {
		out += " " + v.Plan.Regions[r].Name
	}
	var names []string
	for _, r := range x.Regions {
		for _, e := range r.Endpoints {
			if e.Answers {
				names = append(names, v.Plan.Services[service].Endpoints[e.Endpoint].Name)
			}
		}
	}
	if x.Selection.Rung == AllDownFallback {
		names = x.Names
		for _, a := range x.Candidates {
			names = append(names, a.String())
		}
	}
	slices.Sort(names)
	if len(names) > 0 {
		out += ": " + strings.Join(names, " ")
	}
	return out
}

var _ failer = (*testing.T)(nil)
