package health

import (
	"cmp"
	"slices"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
)

// Verdict is what answers are made from, with its evidence. The zero value was
// never judged.
type Verdict struct {
	// Quorum is what the quorum says now.
	Quorum regions.Status
	// Last is the last verdict that was healthy or unhealthy; unknown when
	// there was none.
	Last regions.Status
	// Since is when Last came about.
	Since time.Time
	// Restored: Last is healthy and was unhealthy before.
	Restored bool
	// Confirmed is what more than half of the registered regions agreed on last;
	// nil where that is the verdict. They differ where one of two regions decided
	// while the other one was silent, and under quorum rules that need fewer
	// regions. Never written to.
	Confirmed *regions.Standing
	// Regions holds the standings of single regions' vantages, by name: those
	// that differ from the verdict. A region that is not there stands as the
	// verdict does. Never written to.
	Regions []RegionStanding
	// Guard is the trip of the mass-withdrawal guard that holds Last against the
	// quorum; 0: none does.
	Guard uint64
	// Wavering: an opinion that counts speaks against Last, or is about to.
	Wavering bool
	// Votes are never written to.
	Votes []Vote
}

// StandsFor is how long a region keeps a standing of its own while its vantages
// cannot tell: long enough for agents to restart. What nobody says any more must
// not set controllers apart for good that heard different things before.
const StandsFor = 30 * time.Second

// RegionStanding is the verdict of one region's vantages: their last vote that
// was definite, kept for StandsFor while they cannot tell. After that the region
// has no standing of its own, and stands as the verdict does.
type RegionStanding struct {
	Region string
	regions.Standing
}

// Standing is the verdict that holds.
func (v Verdict) Standing() regions.Standing {
	return regions.Standing{Verdict: v.Last, Since: v.Since, Restored: v.Restored}
}

// ConfirmedStanding is what more than half of the registered regions agreed on last.
func (v Verdict) ConfirmedStanding() regions.Standing {
	if v.Confirmed != nil {
		return *v.Confirmed
	}
	return v.Standing()
}

// In is the standing of a region's vantages.
func (v Verdict) In(region string) regions.Standing {
	for i := range v.Regions {
		if v.Regions[i].Region == region {
			return v.Regions[i].Standing
		}
	}
	return v.Standing()
}

// Update takes a decision into a verdict. A decision that is unknown keeps the
// last verdict and how long it has held: silence is never evidence.
func Update(v Verdict, d Decision, now time.Time) Verdict { return v.take(d, 0, now) }

// Hold is Update while the mass-withdrawal guard holds the verdict, under a
// trip above 0: neither the verdict nor what is confirmed nor any region's
// standing becomes UNHEALTHY.
func Hold(v Verdict, d Decision, trip uint64, now time.Time) Verdict { return v.take(d, trip, now) }

// Loses tells whether a decision would make a HEALTHY verdict UNHEALTHY.
func (v Verdict) Loses(d Decision) bool {
	return v.Last == regions.Healthy && d.Status == regions.Unhealthy
}

func (v Verdict) take(d Decision, trip uint64, now time.Time) Verdict {
	held := trip > 0
	stands := turn(v.Standing(), d.Status, held, now)
	n := Verdict{
		Quorum: d.Status, Last: stands.Verdict, Since: stands.Since, Restored: stands.Restored,
		Guard: trip, Votes: d.Votes,
	}
	n.Confirmed = v.confirmed(turn(v.ConfirmedStanding(), d.Confirmed, held, now), stands)
	n.Regions = v.regions(d, stands, held, now)
	n.Wavering = n.wavers()
	return n
}

// turn is a standing after a vote. One that is held does not become UNHEALTHY.
func turn(s regions.Standing, vote regions.Status, held bool, now time.Time) regions.Standing {
	if vote == regions.Unknown || vote == s.Verdict || held && vote == regions.Unhealthy {
		return s
	}
	return regions.Standing{Verdict: vote, Since: now, Restored: vote == regions.Healthy && s.Verdict == regions.Unhealthy}
}

// confirmed is a standing where it differs from the verdict.
func (v Verdict) confirmed(s, verdict regions.Standing) *regions.Standing {
	switch {
	case !differs(s, verdict):
		return nil
	case v.Confirmed != nil && v.Confirmed.Equal(s):
		return v.Confirmed
	default:
		return &s
	}
}

// Lapses is when the first of the standings of single regions ends, as their
// vantages cannot tell, unless something else happens; zero: never.
func (v Verdict) Lapses(d Decision) (at time.Time) {
	next := 0
	for _, own := range v.Regions {
		for next < len(d.ByRegion) && d.ByRegion[next].Region < own.Region {
			next++
		}
		if next == len(d.ByRegion) {
			break
		}
		if r := &d.ByRegion[next]; r.Region == own.Region && r.Status == regions.Unknown {
			if end := r.Since.Add(StandsFor); at.IsZero() || end.Before(at) {
				at = end
			}
		}
	}
	return at
}

// regions are the standings of the regions that differ from the verdict after
// a decision. A region that stood as the verdict did and cannot tell goes on
// standing as the verdict does: it has none of its own. So does one that has not
// been able to tell for StandsFor.
func (v Verdict) regions(d Decision, verdict regions.Standing, held bool, now time.Time) []RegionStanding {
	var out []RegionStanding
	next := 0 // in v.Regions, which has the same order
	for _, r := range d.ByRegion {
		for next < len(v.Regions) && v.Regions[next].Region < r.Region {
			next++
		}
		own := next < len(v.Regions) && v.Regions[next].Region == r.Region
		if r.Status == regions.Unknown && (!own || now.Sub(r.Since) >= StandsFor) {
			continue
		}
		was := v.Standing()
		if own {
			was = v.Regions[next].Standing
		}
		if is := turn(was, r.Status, held, now); differs(is, verdict) {
			out = append(out, RegionStanding{r.Region, is})
		}
	}
	if slices.EqualFunc(out, v.Regions, RegionStanding.equal) {
		return v.Regions
	}
	return out
}

// differs tells whether a standing is worth a word beside the verdict. When a
// recovery came about counts (hold-downs, ramps), within a few seconds.
func differs(s, verdict regions.Standing) bool {
	return !s.Continue(verdict).Equal(verdict)
}

// alike tells whether two standings are the same, since whenever.
func alike(s, t regions.Standing) bool { return s.Verdict == t.Verdict && s.Restored == t.Restored }

func (r RegionStanding) equal(o RegionStanding) bool {
	return r.Region == o.Region && r.Standing.Equal(o.Standing)
}

// wavers tells whether a vote that counts speaks against the verdict, or is
// about to.
func (v *Verdict) wavers() bool {
	if v.Last == regions.Unknown {
		return false
	}
	for i := range v.Votes {
		if w := &v.Votes[i]; w.Counted && (w.CountedAs != v.Last || w.Wavering && w.Status == v.Last) {
			return true
		}
	}
	return false
}

// Equal tells whether two verdicts say the same on the same evidence.
func (v Verdict) Equal(w Verdict) bool {
	return v.Same(w) && v.Quorum == w.Quorum && v.Since.Equal(w.Since) && v.ConfirmedStanding().Equal(w.ConfirmedStanding()) &&
		slices.EqualFunc(v.Regions, w.Regions, RegionStanding.equal) && slices.EqualFunc(v.Votes, w.Votes, Vote.equal)
}

// Continue returns v as it goes on from what was known before: what stands alike
// keeps its time, as regions.Standing.Continue says. A verdict that was never
// passed leaves what is known standing.
func (v Verdict) Continue(before Verdict) Verdict {
	if v.Last == regions.Unknown && before.Last != regions.Unknown {
		before.Quorum, before.Votes = v.Quorum, v.Votes
		return before
	}
	v.Since = v.Standing().Continue(before.Standing()).Since
	if v.Confirmed != nil {
		c := v.Confirmed.Continue(before.ConfirmedStanding())
		v.Confirmed = &c
	}
	own := slices.Clone(v.Regions)
	for i := range own {
		own[i].Standing = own[i].Continue(before.In(own[i].Region))
	}
	v.Regions = own
	return v
}

// Same tells whether two verdicts stand alike, on whatever evidence and since
// whenever: all that a digest tells apart, and what is restored.
func (v Verdict) Same(w Verdict) bool {
	return v.Last == w.Last && v.Restored == w.Restored && v.Guard == w.Guard && v.Wavering == w.Wavering &&
		alike(v.ConfirmedStanding(), w.ConfirmedStanding()) && v.sameRegions(w)
}

// sameRegions tells whether all regions stand alike, named or not.
func (v Verdict) sameRegions(w Verdict) bool {
	for _, pair := range [...][2]*Verdict{{&v, &w}, {&w, &v}} {
		for i := range pair[0].Regions {
			a := &pair[0].Regions[i]
			if !alike(a.Standing, pair[1].In(a.Region)) {
				return false
			}
		}
	}
	return true
}

// IsZero tells whether the verdict says nothing: nobody has judged the target, nor
// has any region's vantages.
func (v Verdict) IsZero() bool {
	return v.Last == regions.Unknown && v.Confirmed == nil && len(v.Regions) == 0
}

// Held is for how long the last verdict has held; 0 when there was none.
func (v Verdict) Held(now time.Time) time.Duration { return since(v.Since, now) }

// SortRegions sorts the standings of regions as a verdict holds them.
func SortRegions(r []RegionStanding) {
	slices.SortFunc(r, func(a, b RegionStanding) int { return cmp.Compare(a.Region, b.Region) })
}
