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
	"github.com/fairlead-dns/fairlead/regions/geo"
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

// world is a plan with one service or more, and all that a view of it needs
// besides.
type world struct {
	plan     *regions.Plan
	states   []TargetState
	latches  []regions.Latch
	now      time.Time // zero: epoch
	failOpen bool
}

func (w *world) inputs(tables []*geo.Table) Inputs {
	now := w.now
	if now.IsZero() {
		now = epoch
	}
	return Inputs{Plan: w.plan, Tables: tables, States: slices.Clone(w.states), Latches: w.latches, Now: now, FailOpen: w.failOpen}
}

// worldOf makes a world of one service. An endpoint is a line
//
//	NAME V4 V6 [OPTION…]
//
// where the name begins with its region, V4 and V6 are up, down, never (judged)
// or - (there is no such address). The options, for both families unless they
// end in 4 or 6:
//
//	w=WEIGHT
//	at=SINCE          since when the verdict holds, as a time after epoch
//	back=AGE          it is a recovery of so long ago
//	wavers            evidence speaks against it
//	guard=TRIP        the guard holds it
//	confirmed=STATE   what is confirmed is another: up, back, down or never
//	eu=STATE          what the vantages in eu see is another
//	drain force-up force-down broken-drain broken-up broken-down
//
// With svc.Names the IPv4 column stands for the name.
func worldOf(t failer, policy regions.Policy, svc regions.Service, lines ...string) *world {
	t.Helper()
	w := &world{plan: &regions.Plan{}}
	var targets []regions.Target
	for i, line := range lines {
		fields := strings.Fields(line)
		region, _, _ := strings.Cut(fields[0], "-")
		ep := regions.Endpoint{Name: fields[0], Region: uint16(slices.Index(regionNames, region)), Weight: 100, Target: [2]int32{-1, -1}}
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
			w.states = append(w.states, TargetState{Standing: standingOf(t, state)})
		}
		for _, option := range fields[3:] {
			w.option(t, &ep, option)
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

// standingOf reads a state; a recovery was an hour ago.
func standingOf(t failer, state string) regions.Standing {
	switch state {
	case "up":
		return regions.Standing{Verdict: regions.Healthy, Since: epoch}
	case "back":
		return regions.Standing{Verdict: regions.Healthy, Since: epoch.Add(-time.Hour), Restored: true}
	case "down":
		return regions.Standing{Verdict: regions.Unhealthy, Since: epoch}
	case "never":
		return regions.Standing{}
	}
	t.Fatal("no such state: " + state)
	panic("unreachable")
}

// option gives an endpoint an option.
func (w *world) option(t failer, ep *regions.Endpoint, option string) {
	t.Helper()
	key, value, _ := strings.Cut(option, "=")
	targets := []int32{ep.Target[0], ep.Target[1]}
	if n := len(key) - 1; key[n] == '4' || key[n] == '6' {
		targets = []int32{ep.Target[(key[n]-'4')/2]}
		key = key[:n]
	}
	duration := func() time.Duration {
		d, err := time.ParseDuration(value)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	number := func() uint64 {
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	each := func(set func(*TargetState)) {
		for _, i := range targets {
			if i >= 0 {
				set(&w.states[i])
			}
		}
	}
	overrides := []string{"force-up", "drain", "force-down", "broken-up", "broken-drain", "broken-down"}
	switch key {
	case "w":
		ep.Weight = uint32(number())
	case "at":
		each(func(s *TargetState) { s.Since = epoch.Add(duration()) })
	case "back":
		each(func(s *TargetState) { s.Since, s.Restored = epoch.Add(-duration()), true })
	case "wavers":
		each(func(s *TargetState) { s.Wavering = true })
	case "guard":
		each(func(s *TargetState) { s.GuardTrip = number() })
	case "confirmed":
		each(func(s *TargetState) { c := standingOf(t, value); s.Confirmed = &c })
	default:
		if r := slices.Index(regionNames, key); r >= 0 {
			each(func(s *TargetState) {
				s.Regions = append(s.Regions, RegionStanding{Region: uint16(r), Standing: standingOf(t, value)})
			})
			return
		}
		action := slices.Index(overrides, option)
		if action < 0 {
			t.Fatal("no such option: " + option)
		}
		w.plan.Overrides = append(w.plan.Overrides, regions.Override{
			ID: fmt.Sprintf("o%d", len(w.plan.Overrides)), Action: regions.Action(action % 3), Origin: regions.Origin(action / 3),
			Scope: regions.Scope{Service: "www.example.test", Endpoint: ep.Name}, Author: "ana", Reason: "patching",
		})
	}
}

func (w *world) view(t failer) *View {
	t.Helper()
	r, err := CompileRankings(w.plan.Base, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return NewView(w.inputs(r.Tables))
}

// anyone is a client; without rules and geo data they are all alike.
var anyone = netip.MustParseAddr("198.51.100.7")

// describe prints a selection and its candidates, as "in-service eu: eu-1 eu-2".
func describe(v *View, service int32, f regions.Family, client netip.Addr) string {
	x := v.Explain(service, f, client, v.now)
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
