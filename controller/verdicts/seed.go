package verdicts

import (
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

// maxPending bounds the seeds kept for targets that no plan holds yet.
const maxPending = 2 * MaxOpinions

// maxTables bounds the seed tables that wait for Run to take them.
const maxTables = 64

// SeedTable is what somebody held: a nameserver, or a checkpoint.
type SeedTable struct {
	// From names it, for logs.
	From     string
	Verdicts []*pb.TargetHealth
	// Age is how old the verdicts are. Latches are monotone: they count however
	// old they are.
	Age     time.Duration
	Latches *pb.LatchTable
}

// seed is a verdict that another process held.
type seed struct {
	health.Verdict // without evidence
	// seen is when the table that holds it was up to date.
	seen time.Time
}

// seedTable is one process's verdicts and latches.
type seedTable struct {
	from    string
	seeds   map[string]seed
	latches []regions.Latch
}

// parseSeeds takes a table off the wire; what nobody has judged is left out.
func parseSeeds(table SeedTable, now time.Time) seedTable {
	age := min(max(table.Age, 0), healthpb.MaxAge)
	s := seedTable{from: table.From, seeds: make(map[string]seed, min(len(table.Verdicts), maxPending))}
	seen := now.Add(-age)
	for _, w := range table.Verdicts {
		if w.GetTarget() == "" || len(w.GetTarget()) > MaxTargetID {
			continue
		}
		v := healthpb.ParseVerdict(w, seen)
		if v.IsZero() {
			continue
		}
		if len(s.seeds) >= maxPending {
			break
		}
		v.Quorum, v.Wavering = regions.Unknown, false
		if v.Last != regions.Healthy || v.Guard > health.MaxTrip {
			v.Guard = 0 // only what is HEALTHY can be held
		}
		s.seeds[w.GetTarget()] = seed{v, seen}
	}
	s.latches = healthpb.ParseLatches(table.Latches, now)
	return s
}

// seed takes a table of seeds.
func (t *tally) seed(table seedTable, now time.Time) {
	adopted := 0
	t.view(now)
	for target, s := range table.seeds {
		if i, ok := t.table.index.at[target]; ok {
			if t.adopt(i, s, now) {
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
	for _, latch := range table.latches {
		t.mergeLatch(latch)
	}
	t.log.Info("seeded", "from", table.from, "verdicts", len(table.seeds), "adopted", adopted)
}

// adopt takes a seed for a target. The freshest seed wins.
//
//	the verdict here is            the seed
//	-----------------------------  --------------------------------------------------
//	none                           is taken
//	seeded, not decided            is taken if it is fresher
//	decided by this process        is taken, while this controller has only just
//	                               begun, as if it had come first, unless what that
//	                               was decided from is as fresh or says the same:
//	                               what a ballot cannot tell (that it was UNHEALTHY
//	                               before, that the guard holds it) is in the seed
//	decided, and later             is not taken, but for a hold
//
// What is taken is decided anew at once, so that the quorum's word stands. So it
// does not matter in which order the seeds and the agents come.
func (t *tally) adopt(i int, s seed, now time.Time) bool {
	d, old := &t.dockets[i], t.table.get(i)
	if d.decided && (now.Sub(t.waitFrom) >= t.seedWait || t.guard.holds(old.Guard)) {
		t.adoptHold(i, s, now)
		return false
	}
	if !s.seen.After(d.seeded) || s.Last == regions.Unknown && old.Last != regions.Unknown {
		if d.decided {
			t.adoptHold(i, s, now)
		}
		return false
	}
	d.seeded = s.seen
	if d.decided && d.origin != nil && s.Continue(*d.origin).Equal(*d.origin) {
		return false // it was decided from that already
	}
	origin := s.Verdict
	d.origin = &origin
	v := s.Verdict
	v.Quorum, v.Wavering, v.Votes = old.Quorum, old.Wavering, old.Votes
	if !d.decided { // what is known here knows better since when
		v.Since = v.Standing().Continue(old.Standing()).Since
	}
	if v.Equal(old.Verdict) {
		return false
	}
	d.decided = false
	t.put(i, v)
	t.mark(i)
	return true
}

// adoptHold takes a hold that another controller has: one who was cut off for a
// while sees at once what others saw come one by one, and holds what they let
// pass. The hold wins where the loss is not confirmed, and of two the higher trip,
// so that both come to the same when they are told of each other. What is told
// must be true now: a nameserver may remember holds that are long over.
func (t *tally) adoptHold(i int, s seed, now time.Time) {
	old := t.table.get(i).Verdict
	if s.Guard <= old.Guard || !t.guard.holds(s.Guard) || now.Sub(s.seen) >= t.seedWait {
		return
	}
	switch {
	case old.Guard > 0:
		old.Guard = s.Guard
	case old.Last == regions.Unhealthy && old.Quorum == regions.Unhealthy && !t.decide(i, now).Confirms():
		is := s.Verdict
		is.Quorum, is.Wavering, is.Votes = old.Quorum, old.Wavering, old.Votes
		old = is
	default:
		return
	}
	t.put(i, old)
	t.mark(i)
}
