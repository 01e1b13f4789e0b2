package health

import (
	"fmt"
	"slices"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
)

// Rule is how the votes of the registered regions make a verdict.
type Rule uint8

// The rules.
const (
	Majority Rule = iota
	Strict
	AnyHealthy
	AtLeast
)

func (r Rule) String() string {
	return [...]string{"majority", "strict", "any-healthy", "at-least"}[r]
}

// Policy is how ballots on a target are counted. The zero value is the default.
type Policy struct {
	Rule Rule
	// UnhealthyRegions is for AtLeast: how many registered regions must say
	// UNHEALTHY. More than there are means all of them, 0 more than half.
	UnhealthyRegions int
	Damping          Damping
}

// Decision is what the quorum says now, with the evidence.
type Decision struct {
	Status regions.Status
	// Confirmed is what more than half of the registered regions say now,
	// whatever the rule.
	Confirmed regions.Status
	// OneSided: of two registered regions one is silent as a whole, and the
	// other one decided alone.
	OneSided bool
	// Votes are sorted by region and agent.
	Votes []Vote
	// ByRegion is how the registered regions vote, by name.
	ByRegion []RegionVote
	// Regions is how many registered regions there are: those with a
	// registered agent. Healthy and Unhealthy is how many of them vote so.
	Regions, Healthy, Unhealthy int
	// Damped votes say HEALTHY and count as UNHEALTHY still.
	Damped int
	// NextAt is when the first of them will count as HEALTHY, if nothing else
	// happens: the ballot must be counted again then. Zero: never.
	NextAt time.Time

	policy Policy
}

// RegionVote is how the vantages of one registered region vote.
type RegionVote struct {
	Region string
	Status regions.Status
	// Since is when the last of its vantages began to say what it says, or to say
	// nothing: a region that cannot tell has not been able to since then at least.
	Since time.Time
	// Agents make up the region. Heard is how many of them are fresh, or awaited
	// still, and do not call themselves isolated; a region with none is silent as
	// a whole.
	Agents, Heard int
}

// Decide counts a ballot. It is memoryless: equal ballots give equal decisions
// at every controller, whatever came before. What must be remembered to count
// (how long an opinion has held, how often it changed) is part of the ballot.
//
// Regions vote first. Within a region a status needs more than half of the
// region's registered agents, heard or not; without that the region votes
// UNKNOWN. So an agent that is silent, isolated or without an opinion weakens
// both sides alike and never speaks for one:
//
//	registered  needed for
//	agents      its vote    one agent lies or is cut off
//	----------  ----------  ---------------------------------------------
//	1           1           lying, it is the region; silent: UNKNOWN
//	2           2           the region votes UNKNOWN
//	3           2           outvoted by the other two where they agree
//	4           3           outvoted by the other three where they agree
//	5           3           outvoted by the others where three agree
//
// Then the registered regions vote. By the default rule, Majority, a status
// needs more than half of them, silent or not, but for the exception with two:
//
//	registered  needed for
//	regions     a verdict   one region is silent as a whole  one region lies
//	----------  ----------  -------------------------------  --------------------------
//	0           -           always UNKNOWN                   always UNKNOWN
//	1           1           UNKNOWN: the verdict stays       it decides alone
//	2           2, or 1     the other one decides alone if   UNKNOWN: the verdict stays
//	                        it has half of the registered
//	                        agents or more: unconfirmed
//	3           2           the other two decide             outvoted
//	4           3           the other three decide           outvoted
//	5           3           the others decide; so with two   outvoted; so are two
//	                        silent regions
//
// Two regions that are both heard and disagree say UNKNOWN, also where one of
// them must be isolated by what it says; a vantage that calls itself isolated is
// as good as silent. A partition between
// two living regions cannot be told from a death by either side alone: what one
// side decides then is not confirmed (Decision.Confirmed), services that are
// active-passive do not follow it, and the mass-withdrawal guard looks at it. A
// witness vantage in a third region ends the ambiguity.
//
// The other rules, with n registered regions:
//
//	rule         UNHEALTHY              HEALTHY               one region silent      one region lies
//	-----------  ---------------------  --------------------  ---------------------  --------------------------
//	Strict       more than half of n    more than half of n   n = 2: UNKNOWN;        n = 2: UNKNOWN;
//	             say so                 say so                else as Majority       else outvoted
//	AnyHealthy   all n say so           one says so           never UNHEALTHY        it can keep a dead target
//	                                                                                 HEALTHY
//	AtLeast k    k say so               n-k+1 say so          as the others say,     k = 1: it decides alone;
//	                                                          if they are enough     else outvoted
//
// UNKNOWN changes no verdict: see Update.
func Decide(b Ballot, p Policy, now time.Time) Decision {
	d := Decision{Votes: make([]Vote, 0, len(b.Voters)), policy: p}
	voters := b.Voters
	if !slices.IsSortedFunc(voters, compareVoters) {
		voters = slices.SortedFunc(slices.Values(voters), compareVoters)
	}
	agents := 0
	for start := 0; start < len(voters); {
		end := start + 1
		for end < len(voters) && voters[end].Region == voters[start].Region {
			end++
		}
		if r := d.countRegion(voters[start:end], now); r.Agents > 0 {
			d.ByRegion = append(d.ByRegion, r)
			agents += r.Agents
		}
		start = end
	}
	d.count(agents)
	return d
}

// countRegion counts the votes of one region.
func (d *Decision) countRegion(voters []Voter, now time.Time) RegionVote {
	r := RegionVote{Region: voters[0].Region}
	healthy, unhealthy := 0, 0
	for i := range voters {
		v := &voters[i]
		vote, until := v.vote(d.policy.Damping, now)
		d.Votes = append(d.Votes, vote)
		if !until.IsZero() {
			if d.Damped++; d.NextAt.IsZero() || until.Before(d.NextAt) {
				d.NextAt = until
			}
		}
		if !v.member() {
			continue
		}
		r.Agents++
		for _, at := range [...]time.Time{v.Since, v.QuietSince} {
			if at.After(r.Since) {
				r.Since = at
			}
		}
		if !v.silent() {
			r.Heard++
		}
		switch vote.CountedAs {
		case regions.Healthy:
			healthy++
		case regions.Unhealthy:
			unhealthy++
		}
	}
	r.Status = majority(healthy, unhealthy, r.Agents)
	return r
}

// count lets the regions vote.
func (d *Decision) count(agents int) {
	d.Regions = len(d.ByRegion)
	for _, r := range d.ByRegion {
		switch r.Status {
		case regions.Healthy:
			d.Healthy++
		case regions.Unhealthy:
			d.Unhealthy++
		}
	}
	n := d.Regions
	d.Confirmed = majority(d.Healthy, d.Unhealthy, n)
	switch d.policy.Rule {
	case AnyHealthy:
		d.Status = enough(d.Healthy, min(n, 1), d.Unhealthy, n)
	case AtLeast:
		k := d.policy.needed(n)
		d.Status = enough(d.Healthy, n-k+1, d.Unhealthy, k)
	case Strict:
		d.Status = d.Confirmed
	default:
		d.Status = d.Confirmed
		if n == 2 && d.Status == regions.Unknown {
			d.Status = oneSided(d.ByRegion, agents)
			d.OneSided = d.Status != regions.Unknown
		}
	}
}

// needed is how many of n regions must say UNHEALTHY by AtLeast.
func (p Policy) needed(n int) int {
	if p.UnhealthyRegions <= 0 {
		return n/2 + 1
	}
	return max(min(p.UnhealthyRegions, n), 1)
}

// oneSided is what one of two regions decides alone while the other one is
// silent as a whole.
func oneSided(two []RegionVote, agents int) regions.Status {
	for i, r := range two {
		if two[1-i].Heard == 0 && 2*r.Agents >= agents {
			return r.Status
		}
	}
	return regions.Unknown
}

// enough is the status that as many say as it needs, at least one. Needs that
// add up to more than there are leave no room for both.
func enough(healthy, healthyNeeds, unhealthy, unhealthyNeeds int) regions.Status {
	switch {
	case healthy > 0 && healthy >= healthyNeeds:
		return regions.Healthy
	case unhealthy > 0 && unhealthy >= unhealthyNeeds:
		return regions.Unhealthy
	default:
		return regions.Unknown
	}
}

// majority is the status that more than half of all say.
func majority(healthy, unhealthy, all int) regions.Status {
	return enough(healthy, all/2+1, unhealthy, all/2+1)
}

// Confirms tells whether more than half of at least two registered regions say
// UNHEALTHY: such a loss passes the mass-withdrawal guard.
func (d Decision) Confirms() bool { return d.Confirmed == regions.Unhealthy && d.Regions >= 2 }

// Reason says in one sentence how the decision came about.
func (d Decision) Reason() string {
	switch {
	case d.Regions == 0:
		return "no region has a registered agent"
	case d.OneSided:
		return fmt.Sprintf("of 2 regions one says %s, and nobody is heard in the other: not confirmed", d.Status)
	case d.Status == regions.Unknown:
		return d.undecided()
	}
	unknown := d.Regions - d.Healthy - d.Unhealthy
	yes, no, other := d.Healthy, d.Unhealthy, regions.Unhealthy
	if d.Status == regions.Unhealthy {
		yes, no, other = d.Unhealthy, d.Healthy, regions.Healthy
	}
	said := fmt.Sprintf("%d of %d regions say %s, %d %s and %d cannot tell", yes, d.Regions, d.Status, no, other, unknown)
	if d.Status != d.Confirmed {
		said += ", which is enough by the rule " + d.policy.Rule.String()
	}
	return said
}

// undecided is the reason of an UNKNOWN.
func (d Decision) undecided() string {
	n := d.Regions
	said := fmt.Sprintf("of %d, %d say HEALTHY, %d UNHEALTHY and %d cannot tell", n, d.Healthy, d.Unhealthy, n-d.Healthy-d.Unhealthy)
	switch d.policy.Rule {
	case AnyHealthy:
		return fmt.Sprintf("HEALTHY needs one region and UNHEALTHY all %d: %s", n, said)
	case AtLeast:
		k := d.policy.needed(n)
		return fmt.Sprintf("UNHEALTHY needs %d regions and HEALTHY %d: %s", k, n-k+1, said)
	default:
		return fmt.Sprintf("no status has the %d regions it needs: %s", n/2+1, said)
	}
}
