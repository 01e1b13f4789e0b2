package health

import "fmt"

// Sight is what one vantage says of all its targets, beside what the others say.
type Sight struct {
	// Definite are the targets that it says HEALTHY or UNHEALTHY of, Unhealthy
	// those of the latter.
	Definite, Unhealthy int
	// Contradicted are those of Unhealthy that the fresh vantages of other regions
	// call HEALTHY: more of them than call it UNHEALTHY.
	Contradicted int
}

// The limits of what a vantage may say alone, in percent, and how many targets
// it takes to tell.
const (
	isolatedPercent    = 80
	contradictedMost   = 50
	isolatedMinTargets = 2
)

// Isolated says why the vantage must be cut off, by what it says; empty: it
// need not be.
//
//	targets it has    says UNHEALTHY of   and of those, others     then
//	an opinion on                         mostly say HEALTHY for
//	----------------  ------------------  -----------------------  -----------------------
//	0, 1              -                   -                        it votes
//	2, 3, 4           fewer than all      -                        it votes
//	2, 3, 4           all                 at most half             it votes
//	2, 3, 4           all                 more than half           isolated
//	5 and more        less than 80 %      -                        it votes
//	5 and more        80 % or more        at most half             it votes: it may be true
//	5 and more        80 % or more        more than half           isolated
//
// Only what vantages say themselves counts here, so it does not matter which of
// them is isolated already, and all controllers that hear the same agree. Where
// no other region is heard, nobody is isolated by this: a single vantage region
// is the guard's business.
func (s Sight) Isolated() string {
	if s.Unhealthy < isolatedMinTargets || s.Unhealthy*100 < isolatedPercent*s.Definite ||
		s.Contradicted*100 <= contradictedMost*s.Unhealthy {
		return ""
	}
	return fmt.Sprintf("it calls %d of %d targets UNHEALTHY, and the other regions call %d of those HEALTHY",
		s.Unhealthy, s.Definite, s.Contradicted)
}
