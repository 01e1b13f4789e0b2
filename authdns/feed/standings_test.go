package feed

import (
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func genStanding(t *rapid.T) regions.Standing {
	s := regions.Standing{Verdict: regions.Status(rapid.IntRange(0, 2).Draw(t, "standing"))}
	if s.Verdict != regions.Unknown {
		s.Since = epoch.Add(-time.Duration(rapid.IntRange(0, 100).Draw(t, "held")) * time.Second)
	}
	s.Restored = s.Verdict == regions.Healthy && rapid.Bool().Draw(t, "restored")
	return s
}

func genVerdict(t *rapid.T) health.Verdict {
	s := genStanding(t)
	v := health.Verdict{Last: s.Verdict, Since: s.Since, Restored: s.Restored, Wavering: rapid.Bool().Draw(t, "wavering")}
	if rapid.Bool().Draw(t, "held by the guard") {
		v.Guard = rapid.Uint64Range(1, 3).Draw(t, "trip")
	}
	if rapid.Bool().Draw(t, "not confirmed") {
		c := genStanding(t)
		v.Confirmed = &c
	}
	for _, region := range []string{"a", "b"} {
		if rapid.Bool().Draw(t, "stands apart") {
			v.Regions = append(v.Regions, health.RegionStanding{Region: region, Standing: genStanding(t)})
		}
	}
	return v
}

// Whatever there is to a verdict beside its status, and the latches, arrive and
// are in the digest.
func TestTableMirrorsStandingsAndLatches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tab table
		theirs := map[string]health.Verdict{}
		latches := map[health.LatchKey]regions.Latch{}
		sorted := func() []regions.Latch {
			ls := slices.Collect(maps.Values(latches))
			health.SortLatches(ls)
			return ls
		}
		for i := range rapid.IntRange(1, 15).Draw(t, "updates") {
			full := i == 0 || rapid.IntRange(0, 5).Draw(t, "full") == 0
			u := &pb.HealthUpdate{Version: &pb.HealthVersion{Incarnation: 1, Number: uint64(i)}, Full: full}
			changed := map[string]bool{}
			for range rapid.IntRange(0, 3).Draw(t, "changes") {
				id := rapid.SampledFrom([]string{"t", "u", "v"}).Draw(t, "target")
				theirs[id], changed[id] = genVerdict(t), true
			}
			for id := range theirs {
				if full || changed[id] {
					u.Targets = append(u.Targets, healthpb.TargetHealth(id, theirs[id], epoch))
				}
			}
			tripped := rapid.Bool().Draw(t, "latches change")
			if tripped {
				key := health.LatchKey{Service: "s", Region: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "region")}
				if latches[key].Trip > 0 && rapid.Bool().Draw(t, "released") {
					delete(latches, key)
				} else {
					latches[key] = regions.Latch{Service: key.Service, Region: key.Region, Trip: latches[key].Trip + 1, Since: epoch}
				}
			}
			if full || tripped {
				u.Latches = healthpb.Latches(sorted(), epoch)
			}
			digest := health.Digest(0).ReplaceLatches(nil, sorted())
			for id, v := range theirs {
				digest = digest.AddVerdict(id, v)
			}
			u.Digest = uint64(digest)
			if trouble, err := tab.take(u, epoch); trouble != "" || err != nil {
				t.Fatalf("update %d: %q, %v", i, trouble, err)
			}
			if trouble := tab.confirm(beat(1, uint64(i), digest)); trouble != "" || !tab.whole {
				t.Fatalf("update %d: %q", i, trouble)
			}
			if !maps.EqualFunc(tab.targets, theirs, health.Verdict.Equal) || !slices.Equal(tab.latches, sorted()) {
				t.Fatalf("update %d: %v %v, want %v %v", i, tab.targets, tab.latches, theirs, sorted())
			}
		}
	})
}
