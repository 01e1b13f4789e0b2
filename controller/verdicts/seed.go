package verdicts

import (
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

// maxPending bounds the seeds kept for targets that no plan holds yet.
const maxPending = 2 * MaxOpinions

// maxTables bounds the seed tables that wait for Run to take them.
const maxTables = 64

// seed is a verdict that another process held.
type seed struct {
	status regions.Status
	since  time.Time
	// seen is when the table that holds it was up to date.
	seen time.Time
}

// seedTable is one process's verdicts.
type seedTable struct {
	from  string
	seeds map[string]seed
}

// parseSeeds takes a verdict table off the wire; what was never judged is left out.
func parseSeeds(verdicts []*pb.TargetHealth, age time.Duration, now time.Time) map[string]seed {
	age = min(max(age, 0), healthpb.MaxAge)
	seeds := make(map[string]seed, min(len(verdicts), maxPending))
	for _, v := range verdicts {
		status, _ := healthpb.ParseStatus(v.GetVerdict())
		if status == regions.Unknown || v.GetTarget() == "" || len(v.GetTarget()) > MaxTargetID {
			continue
		}
		if len(seeds) >= maxPending {
			break
		}
		seen := now.Add(-age)
		seeds[v.GetTarget()] = seed{status: status, since: seen.Add(-healthpb.Age(v.GetHeldMillis())), seen: seen}
	}
	return seeds
}

// seed takes a table of seeds.
func (t *tally) seed(table seedTable) {
	adopted := 0
	for target, s := range table.seeds {
		if i, ok := t.table.index.at[target]; ok {
			if t.adopt(i, s) {
				adopted++
			}
			continue
		}
		// Not in the plan, or there is none yet. Once ready, what is not in the
		// plan is not waited for.
		if old, ok := t.pending[target]; !t.ready && (ok && s.seen.After(old.seen) || !ok && len(t.pending) < maxPending) {
			t.pending[target] = s
		}
	}
	t.log.Info("seeded", "from", table.from, "verdicts", len(table.seeds), "adopted", adopted)
}

// adopt takes a seed for a target that has no verdict of its own. The freshest
// seed wins.
func (t *tally) adopt(i int, s seed) bool {
	if t.decided[i] || !s.seen.After(t.seeded[i]) {
		return false
	}
	t.seeded[i] = s.seen
	v := t.table.get(i).Verdict
	if v.Last == s.status && !v.Since.IsZero() {
		return false
	}
	v.Last, v.Since = s.status, s.since
	t.put(i, v)
	return true
}
