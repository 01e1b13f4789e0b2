package steer

import (
	"slices"
	"testing"

	"github.com/fairlead-dns/fairlead/regions"
)

// TestSound: an endpoint is sound by its verdicts, whatever overrides say, unless
// its region waits for a release.
func TestSound(t *testing.T) {
	waits := []regions.Latch{{Service: "www.example.test", Region: "eu", Trip: 1}}
	const passive, active = true, false
	for _, c := range []struct {
		name      string
		passive   bool
		service   regions.Service
		latches   []regions.Latch
		endpoints []string
		want      []bool
	}{
		{"by verdict", active, regions.Service{}, nil, []string{"eu-1 up -", "us-1 down -", "us-2 down up", "ap-1 never -"}, []bool{true, false, true, true}},
		{"never judged", active, regions.Service{NeverJudged: regions.Unhealthy}, nil, []string{"eu-1 never -", "us-1 up -"}, []bool{false, true}},
		{"overrides", active, regions.Service{}, nil, []string{"eu-1 up - drain", "us-1 down - force-up", "ap-1 up - force-down", "ap-2 up - broken-drain"}, []bool{true, false, true, true}},
		{"confirmed", passive, regions.Service{}, nil, []string{"eu-1 down - confirmed=up", "us-1 up - confirmed=down"}, []bool{true, false}},
		{"the quorum's", active, regions.Service{}, nil, []string{"eu-1 down - confirmed=up", "us-1 up - eu=down"}, []bool{false, true}},
		{"waits for a release", active, regions.Service{Failback: regions.Failback{Manual: true}}, waits, []string{"eu-1 up -", "us-1 up -"}, []bool{false, true}},
		{"not by hand", active, regions.Service{}, waits, []string{"eu-1 up -"}, []bool{true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := worldOf(t, regions.Policy{ActivePassive: c.passive, Candidates: []uint16{eu, us, ap}}, c.service, c.endpoints...)
			w.latches = c.latches
			sound := Sound(w.inputs(nil))
			var got []bool
			for e := range c.endpoints {
				got = append(got, sound(0, e))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("sound: %v, want %v", got, c.want)
			}
		})
	}
}
