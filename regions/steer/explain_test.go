package steer

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead-dns/fairlead/regions"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestExplainTexts holds the sentences that operators read, for every rung and
// every way in which families can part.
func TestExplainTexts(t *testing.T) {
	half := regions.Policy{MinHealthyPercent: 50}
	sorry := regions.Service{AllDown: regions.ServeFallback, Fallback: [2][]netip.Addr{{addr4(200)}}}
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
	} {
		v := worldOf(t, c.policy, c.service, c.endpoints...).view(t)
		x := v.Explain(0, c.family, anyone)
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

// TestRungWords are part of the API.
func TestRungWords(t *testing.T) {
	want := []string{"in-service", "healthy-anywhere", "drained", "all-down: serve-all", "all-down: serve-fallback", "all-down: keep-last", "none"}
	for r := InService; r <= None; r++ {
		if r.String() != want[r] {
			t.Errorf("rung %d is %q, want %q", r, r, want[r])
		}
	}
}
