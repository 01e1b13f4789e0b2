package health

import (
	"math"
	"testing"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
)

func TestTrip(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	for _, tc := range []struct{ known, released, want uint64 }{
		{0, 0, 1},
		{3, 2, 3},
		{3, 3, 4},
		{3, 7, 8},
		{MaxTrip, 0, MaxTrip},
		{MaxTrip, MaxTrip, MaxTrip},
		{0, math.MaxUint64, MaxTrip},
		{math.MaxUint64, 5, 6},
	} {
		if got := Trip(regions.Latch{Service: "s", Region: "a", Trip: tc.known}, tc.released, now); got.Trip != tc.want {
			t.Errorf("known %d, released %d: trip %d, want %d", tc.known, tc.released, got.Trip, tc.want)
		}
	}
}
