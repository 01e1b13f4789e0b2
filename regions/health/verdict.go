package health

import (
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
	// Votes are never written to.
	Votes []Vote
}

// Update takes a decision into a verdict. A decision that is unknown keeps the
// last verdict and how long it has held: silence is never evidence.
func Update(v Verdict, d Decision, now time.Time) Verdict {
	v.Quorum, v.Votes = d.Status, d.Votes
	if d.Status != regions.Unknown && d.Status != v.Last {
		v.Last, v.Since = d.Status, now
	}
	return v
}

// Equal tells whether two verdicts say the same on the same evidence.
func (v Verdict) Equal(w Verdict) bool {
	return v.Quorum == w.Quorum && v.Last == w.Last && v.Since.Equal(w.Since) &&
		slices.EqualFunc(v.Votes, w.Votes, Vote.equal)
}

func (v Vote) equal(w Vote) bool {
	same := v.Since.Equal(w.Since)
	v.Since = w.Since
	return same && v == w
}

// Held is for how long the last verdict has held; 0 when there was none.
func (v Verdict) Held(now time.Time) time.Duration { return since(v.Since, now) }

// Held is for how long the vantage has held its opinion.
func (v Vote) Held(now time.Time) time.Duration { return since(v.Since, now) }
