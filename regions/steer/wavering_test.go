package steer

import (
	"net/netip"
	"testing"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
)

// TestWavering: which answers get the lesser TTL.
func TestWavering(t *testing.T) {
	together := regions.Service{MinTTL: 5}
	independent := regions.Service{MinTTL: 5, Independent: true}
	half := regions.Policy{MinHealthyPercent: 50}
	fallback := regions.Service{MinTTL: 5, AllDown: regions.ServeFallback, Fallback: [2][]netip.Addr{{addr4(200)}, {addr6(200)}}}
	manual := regions.Service{MinTTL: 5, Failback: regions.Failback{Manual: true}}
	for _, c := range []struct {
		name      string
		policy    regions.Policy
		service   regions.Service
		endpoints []string
		a, aaaa   uint32 // TTL
	}{
		{"nothing wavers", regions.Policy{}, together, []string{"eu-1 up up", "us-1 down down"}, 30, 30},
		{"what answers may fall", regions.Policy{}, together, []string{"eu-1 up up wavers4", "us-1 up up"}, 5, 30},
		{"in both families", regions.Policy{}, together, []string{"eu-1 up up wavers", "us-1 up up"}, 5, 5},
		{"what would answer may rise", regions.Policy{}, together, []string{"eu-1 up -", "eu-2 down - wavers", "us-1 up -"}, 5, 30},
		{"a nearer region may come in", regions.Policy{}, together, []string{"eu-1 down - wavers", "us-1 up -"}, 5, 30},
		{"a farther one may, too", regions.Policy{}, together, []string{"eu-1 up -", "us-1 down - wavers"}, 5, 30},
		{"a farther one may fall", regions.Policy{}, together, []string{"eu-1 up -", "us-1 up - wavers"}, 30, 30},
		{"not without its share", half, together, []string{"eu-1 down - wavers", "eu-2 down -", "eu-3 down -", "us-1 up -"}, 30, 30},
		{"two make the share", half, together, []string{"eu-1 down - wavers", "eu-2 down - wavers", "eu-3 down -", "us-1 up -"}, 5, 30},
		{"it would be held down", regions.Policy{}, regions.Service{MinTTL: 5, Failback: regions.Failback{HoldDown: time.Minute}}, []string{"eu-1 down - wavers", "us-1 up -"}, 30, 30},
		{"it would wait for a release", regions.Policy{}, manual, []string{"eu-1 down - wavers", "us-1 up -"}, 30, 30},
		{"drained ones do not count", regions.Policy{}, together, []string{"eu-1 up -", "eu-2 up - wavers drain"}, 30, 30},
		{"nor do forced ones", regions.Policy{}, together, []string{"eu-1 up - wavers force-up", "eu-2 up - wavers force-down"}, 30, 30},
		{"healthy anywhere: any", half, together, []string{"eu-1 up -", "eu-2 down -", "eu-3 down -", "us-1 down - wavers"}, 5, 30},
		{"drained: any", regions.Policy{}, together, []string{"eu-1 up - drain", "us-1 down - wavers"}, 5, 30},
		{"drained: of the drained, too", regions.Policy{}, together, []string{"eu-1 up - drain wavers", "us-1 down -"}, 5, 30},
		{"all down: any", regions.Policy{}, together, []string{"eu-1 down -", "us-1 down - wavers"}, 5, 30},
		{"all down: not the forced down", regions.Policy{}, together, []string{"eu-1 down -", "us-1 down - wavers force-down"}, 30, 30},
		{"fallback", regions.Policy{}, fallback, []string{"eu-1 down - wavers"}, 5, 5},
		{"fallback, nothing wavers", regions.Policy{}, fallback, []string{"eu-1 down -"}, 30, 30},
		{"the other family may take the region out", regions.Policy{MinHealthyPercent: 60}, together, []string{"eu-1 up -", "eu-2 up - wavers", "eu-3 down up", "eu-4 down up", "us-1 up up"}, 5, 5},
		{"the same, but independent", regions.Policy{MinHealthyPercent: 60}, independent, []string{"eu-1 up -", "eu-2 up - wavers", "eu-3 down up", "eu-4 down up", "us-1 up up"}, 30, 30},
		{"the other family may bring a region in", regions.Policy{}, together, []string{"eu-1 down down wavers4", "us-1 up up"}, 5, 5},
		{"the same, but independent", regions.Policy{}, independent, []string{"eu-1 down down wavers4", "us-1 up up"}, 5, 30},
		{"not confirmed", regions.Policy{}, together, []string{"eu-1 down - confirmed=up", "us-1 up -"}, 5, 30},
		{"not confirmed, by what nobody goes", regions.Policy{Candidates: []uint16{eu, us, ap}}, together, []string{"eu-1 up - confirmed=down", "us-1 up -"}, 30, 30},
		{"never judged", regions.Policy{}, together, []string{"eu-1 never - wavers", "us-1 up -"}, 30, 30},
		{"it never shrinks", regions.Policy{}, regions.Service{}, []string{"eu-1 up - wavers"}, 30, 30},
		{"nor grows", regions.Policy{}, regions.Service{MinTTL: 60}, []string{"eu-1 up - wavers"}, 30, 30},
		{"names", regions.Policy{}, regions.Service{MinTTL: 5, Names: true}, []string{"eu-1 up - wavers", "us-1 up -"}, 5, 30},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := worldOf(t, c.policy, c.service, c.endpoints...)
			if c.service.Failback.Manual {
				w.latches = []regions.Latch{{Service: "www.example.test", Region: "eu", Trip: 1}}
			}
			v := w.view(t)
			if got := v.Select(0, regions.V4, anyone, 1, nil).TTL; got != c.a {
				t.Errorf("A has TTL %d, want %d", got, c.a)
			}
			if sel := v.Select(0, regions.V6, anyone, 1, nil); sel.Rung != None && sel.TTL != c.aaaa {
				t.Errorf("AAAA has TTL %d, want %d", sel.TTL, c.aaaa)
			}
		})
	}
}
