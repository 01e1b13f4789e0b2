package steer

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead-dns/fairlead/regions"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestExplainTexts holds the sentences that operators read, for every rung and
// every way in which families can part.
func TestExplainTexts(t *testing.T) {
	half := regions.Policy{MinHealthyPercent: 50}
	sorry := regions.Service{AllDown: regions.ServeFallback, Fallback: [2][]netip.Addr{{addr4(200)}}}
	hold := regions.Service{Failback: regions.Failback{HoldDown: time.Minute}}
	manual := regions.Service{Failback: regions.Failback{Manual: true}}
	ramp := regions.Service{Failback: regions.Failback{RampSteps: []int{10, 25, 75}, RampInterval: time.Minute}}
	near := regions.Policy{Candidates: []uint16{eu, us, ap}}
	var out strings.Builder
	for _, c := range []struct {
		name      string
		policy    regions.Policy
		service   regions.Service
		family    regions.Family
		endpoints []string
	}{
		{"all is well", regions.Policy{}, regions.Service{}, regions.V4, []string{"eu-1 up -", "eu-2 up -", "us-1 up -"}},
		{"the nearest is down", regions.Policy{}, regions.Service{}, regions.V4, []string{"eu-1 down -", "eu-2 down -", "us-1 up -", "ap-1 up -"}},
		{"the nearest is drained", regions.Policy{}, regions.Service{}, regions.V4, []string{"eu-1 up - drain", "eu-2 down - drain", "us-1 up -", "us-2 down -"}},
		{"the nearest is forced down, the next below its share", half, regions.Service{}, regions.V4, []string{"eu-1 up - force-down", "us-1 up -", "us-2 down -", "us-3 down -", "ap-1 up -"}},
		{"no region has its share", half, regions.Service{}, regions.V4, []string{"eu-1 down -", "us-1 up -", "us-2 down -", "us-3 down -"}},
		{"only the drained are healthy", regions.Policy{}, regions.Service{}, regions.V4, []string{"eu-1 down -", "us-1 up - drain", "ap-1 up - drain"}},
		{"all down", regions.Policy{}, regions.Service{}, regions.V4, []string{"eu-1 down -", "us-1 down -"}},
		{"all down, fallback", regions.Policy{}, sorry, regions.V4, []string{"eu-1 down down"}},
		{"all down, fallback without IPv6", regions.Policy{}, sorry, regions.V6, []string{"eu-1 down down"}},
		{"all down, keep last", regions.Policy{}, regions.Service{AllDown: regions.KeepLast}, regions.V4, []string{"eu-1 down -", "us-1 down - at=1h"}},
		{"all forced down", regions.Policy{}, regions.Service{}, regions.V4, []string{"eu-1 up - force-down", "us-1 down - force-down drain"}},
		{"no IPv6 at all", regions.Policy{}, regions.Service{}, regions.V6, []string{"eu-1 up -"}},
		{"IPv6 is dead near", regions.Policy{}, regions.Service{}, regions.V6, []string{"eu-1 up down", "us-1 up up"}},
		{"IPv6 is not there near", regions.Policy{}, regions.Service{}, regions.V6, []string{"eu-1 up -", "us-1 up up"}},
		{"IPv4 is not there near", regions.Policy{}, regions.Service{}, regions.V4, []string{"eu-1 - up", "us-1 up up"}},
		{"IPv6 has its share near, but not both together", regions.Policy{MinHealthyPercent: 60}, regions.Service{}, regions.V6, []string{"eu-1 down -", "eu-2 up up", "us-1 up up"}},
		{"names", regions.Policy{}, regions.Service{Names: true}, regions.V4, []string{"eu-1 down -", "us-1 up -"}},
		{"an endpoint outside of the policy", regions.Policy{}, regions.Service{}, regions.V4, []string{"eu-1 up -", "sa-1 up -"}},

		{"a recovery is held down", regions.Policy{}, hold, regions.V4, []string{"eu-1 up - back=12s", "us-1 up -"}},
		{"a recovery is held down, and nothing else is in service", regions.Policy{}, hold, regions.V4, []string{"eu-1 up - back=12s", "us-1 up - back=3s"}},
		{"one of a recovery's families is held down", regions.Policy{}, hold, regions.V6, []string{"eu-1 up up back4=2m back6=12s", "us-1 up up"}},
		{"below the share and held down", half, hold, regions.V4, []string{"eu-1 up - back=12s", "eu-2 down -", "eu-3 down -", "us-1 up -"}},
		{"the nearest waits for a release", regions.Policy{}, manual, regions.V4, []string{"eu-1 up - back=1h", "us-1 up -"}},
		{"the nearest is down, and will wait for a release", regions.Policy{}, manual, regions.V4, []string{"eu-1 down -", "us-1 up -"}},
		{"the nearest waits for a release, and nothing else is healthy", regions.Policy{}, manual, regions.V4, []string{"eu-1 up - back=1h", "us-1 down -"}},
		{"a ramp does not have the client yet", regions.Policy{}, ramp, regions.V4, []string{"eu-1 up - back=70s", "us-1 up -", "ap-1 up -"}},
		{"a ramp has the client", regions.Policy{}, ramp, regions.V4, []string{"eu-1 up - back=130s", "us-1 up -"}},
		{"a ramp without anybody to carry the rest", regions.Policy{}, ramp, regions.V4, []string{"eu-1 up - back=70s", "us-1 down -"}},
		{"a ramp of one family", regions.Policy{}, ramp, regions.V6, []string{"eu-1 up up back6=70s", "us-1 up up"}},
		{"a ramp of the other family", regions.Policy{}, ramp, regions.V4, []string{"eu-1 up up back6=70s", "us-1 up up"}},
		{"the evidence wavers", regions.Policy{}, regions.Service{MinTTL: 15}, regions.V4, []string{"eu-1 up - wavers", "us-1 up -"}},
		{"the evidence on many wavers", regions.Policy{}, regions.Service{MinTTL: 15}, regions.V4, []string{"eu-1 up - wavers", "eu-2 up - wavers", "eu-3 up - wavers", "eu-4 up - wavers", "us-1 up - wavers"}},
		{"the client's region sees another region down", near, regions.Service{ClientRegionVerdicts: true}, regions.V4, []string{"eu-1 up - eu=down", "us-1 up -"}},
		{"fail-open", regions.Policy{}, regions.Service{}, regions.V4, []string{"eu-1 down -", "us-1 up -"}},
		{"fail-open, all forced down", regions.Policy{}, regions.Service{}, regions.V4, []string{"eu-1 down - force-down"}},
	} {
		w := worldOf(t, c.policy, c.service, c.endpoints...)
		if c.service.Failback.Manual {
			w.latches = []regions.Latch{{Service: "www.example.test", Region: "eu", Trip: 1}}
		}
		w.failOpen = strings.HasPrefix(c.name, "fail-open")
		v := w.view(t)
		x := v.Explain(0, c.family, anyone, epoch)
		fmt.Fprintf(&out, "# %s (%v): %s\n%s\n", c.name, c.family, strings.Join(c.endpoints, "; "), x.Summary)
		for _, r := range x.Regions {
			mark := " "
			if r.Selected {
				mark = "*"
			}
			fmt.Fprintf(&out, "%s %s: %s\n", mark, v.Plan.Regions[r.Region].Name, r.Reason)
		}
		out.WriteString("\n")
	}
	const path = "testdata/explain.golden"
	if *update {
		if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), out.String()); d != "" {
		t.Errorf("differs from %s (-want +got):\n%s", path, d)
	}
}

// TestDetail: what is said of one endpoint.
func TestDetail(t *testing.T) {
	hold := regions.Service{Failback: regions.Failback{HoldDown: time.Minute}}
	passive, active := regions.Policy{}, regions.Policy{Candidates: []uint16{eu, us, ap}}
	for _, c := range []struct {
		policy   regions.Policy
		service  regions.Service
		endpoint string
		failOpen bool
		decided  string
		want     string
	}{
		{passive, regions.Service{}, "eu-1 up - at=-90s", false, "verdict", "HEALTHY for 1m30s"},
		{passive, regions.Service{}, "eu-1 down - at=1s", false, "verdict", "UNHEALTHY for 0s"},
		{passive, regions.Service{}, "eu-1 never -", false, "never-judged", "no verdict was ever passed"},
		{passive, regions.Service{}, "eu-1 up - at=-90s force-down", false, "force-down", "force-down of service www.example.test, endpoint eu-1 by ana: patching; measured: HEALTHY for 1m30s"},
		{passive, regions.Service{}, "eu-1 never - force-up", false, "force-up", "force-up of service www.example.test, endpoint eu-1 by ana: patching"},
		{passive, regions.Service{}, "eu-1 up - at=-90s broken-drain drain", false, "break-glass", "break-glass drain of service www.example.test, endpoint eu-1 by ana: patching; measured: HEALTHY for 1m30s"},
		{passive, regions.Service{}, "eu-1 up - at=-90s broken-drain force-down", false, "force-down", "force-down of service www.example.test, endpoint eu-1 by ana: patching; measured: HEALTHY for 1m30s"},
		{passive, hold, "eu-1 up - back=12s", false, "verdict", "HEALTHY for 12s of the 1m0s hold-down"},
		{passive, hold, "eu-1 up - back=2m", false, "verdict", "HEALTHY for 2m0s"},
		{passive, hold, "eu-1 up - back=12s force-up", false, "force-up", "force-up of service www.example.test, endpoint eu-1 by ana: patching; measured: HEALTHY for 12s"},
		{passive, regions.Service{}, "eu-1 up - at=-90s wavers", false, "verdict", "HEALTHY for 1m30s; wavering"},
		{passive, regions.Service{}, "eu-1 up - at=-90s guard=3 wavers", false, "guard-hold", "HEALTHY for 1m30s, held by the mass-withdrawal guard (trip 3; fairlead latch release guard); wavering"},
		{passive, regions.Service{}, "eu-1 down - at=-5s confirmed=back", false, "verdict", "HEALTHY for 1h0m0s; UNHEALTHY for 5s is not confirmed by more than half of the registered regions; wavering"},
		{passive, regions.Service{}, "eu-1 up - at=-5s confirmed=never", false, "never-judged", "no verdict was ever passed; HEALTHY for 5s is not confirmed by more than half of the registered regions; wavering"},
		{active, regions.Service{}, "eu-1 down - at=-5s confirmed=back", false, "verdict", "UNHEALTHY for 5s, not confirmed by more than half of the registered regions"},
		{active, regions.Service{ClientRegionVerdicts: true}, "eu-1 up - at=-5s eu=back", false, "verdict", "HEALTHY for 1h0m0s by the vantages in eu, the client's region; HEALTHY for 5s by all"},
		{active, regions.Service{ClientRegionVerdicts: true}, "eu-1 up - at=-5s us=down", false, "verdict", "HEALTHY for 5s"},
		{passive, regions.Service{}, "eu-1 down - at=-5s", true, "fail-open", "UNHEALTHY for 5s, counts as HEALTHY while verdicts are that old (fail-open)"},
	} {
		w := worldOf(t, c.policy, c.service, c.endpoint)
		w.failOpen = c.failOpen
		v := w.view(t)
		er := v.Explain(0, regions.V4, anyone, epoch).Regions[0].Endpoints[0]
		if er.Detail != c.want || er.Effect.By.String() != c.decided {
			t.Errorf("%s:\n%s by %s, want\n%s by %s", c.endpoint, er.Detail, er.Effect.By, c.want, c.decided)
		}
		if bare := v.Endpoint(0, 0, regions.V4, epoch); !c.service.ClientRegionVerdicts && bare.Detail != er.Detail {
			t.Errorf("%s: for nobody %s, want %s", c.endpoint, bare.Detail, er.Detail)
		}
	}
	w := worldOf(t, passive, regions.Service{}, "eu-1 up -")
	w.states[0].Since = time.Time{}
	if got := w.view(t).Endpoint(0, 0, regions.V4, epoch).Detail; got != "HEALTHY" {
		t.Error(got)
	}
	w.plan.Services[0].Checked, w.plan.Services[0].Endpoints[0].Target[0] = false, -1
	if got := w.view(t).Endpoint(0, 0, regions.V4, epoch); got.Detail != "the service has no health check" || got.Effect.By != regions.ByNoCheck {
		t.Errorf("%+v", got)
	}
}

// TestRungWords are part of the API.
func TestRungWords(t *testing.T) {
	want := []string{"in-service", "healthy-anywhere", "drained", "all-down: serve-all", "all-down: serve-fallback", "all-down: keep-last", "none"}
	for r := InService; r <= None; r++ {
		if r.String() != want[r] {
			t.Errorf("rung %d is %q, want %q", r, r, want[r])
		}
	}
}
