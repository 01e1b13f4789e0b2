package health

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
)

// Voter is one vantage and what it says of one target.
type Voter struct {
	Agent, Region string
	// Registered vantages are configuration. Others are shown, not counted.
	Registered bool
	// Status is the vantage's opinion, held since Since.
	Status regions.Status
	Since  time.Time
	Reason string
	// Absent says why there is no opinion to count, as "not connected" or
	// "silent for over 3s". Empty when Status is fresh.
	Absent string
}

// Ballot holds every registered vantage, heard or not, and any others.
type Ballot struct {
	Voters []Voter
}

// Vote is one vantage's opinion as the quorum took it.
type Vote struct {
	Agent, Region string
	Status        regions.Status
	Since         time.Time
	Reason        string
	// Counted is false when the opinion did not count; WhyNot says why.
	Counted bool
	WhyNot  string
}

// Why a vote did not count, where the ballot gives no reason of its own.
const (
	WhyNotRegistered = "not registered"
	WhyNotDefinite   = "opinion unknown"
)

// Decision is what the quorum says now, with the evidence.
type Decision struct {
	Status regions.Status
	// Votes are sorted by region and agent.
	Votes []Vote
	// Regions is how many registered regions there are: those with a
	// registered agent. Healthy and Unhealthy is how many of them vote so.
	Regions, Healthy, Unhealthy int
}

// Decide counts a ballot. It is memoryless: equal ballots give equal decisions
// at every controller, whatever came before.
//
// Regions vote first. Within a region a status needs more than half of the
// region's registered agents; without that the region votes UNKNOWN. Then a
// status needs more than half of the registered regions. So an agent that is
// silent, or that has no opinion, weakens both sides alike and never speaks for
// one:
//
//	registered  needed for
//	regions     a verdict   one region lies or is cut off
//	----------  ----------  ---------------------------------------------
//	0           -           always UNKNOWN
//	1           1           lying, it decides alone; silent: UNKNOWN
//	2           2           lying or silent: UNKNOWN
//	3           2           outvoted by the other two where they agree
//	4           3           outvoted by the other three where they agree
//	5           3           outvoted; two of them can be lost
//
// and within a region:
//
//	registered  needed for
//	agents      its vote    one agent lies or is cut off
//	----------  ----------  ---------------------------------------------
//	1           1           lying, it is the region; silent: UNKNOWN
//	2           2           the region votes UNKNOWN
//	3           2           outvoted by the other two where they agree
//
// UNKNOWN changes no verdict: see Verdict.
func Decide(b Ballot) Decision {
	d := Decision{Votes: make([]Vote, len(b.Voters))}
	for i, v := range b.Voters {
		d.Votes[i] = v.vote()
	}
	slices.SortFunc(d.Votes, func(a, b Vote) int {
		return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Agent, b.Agent))
	})
	for start := 0; start < len(d.Votes); {
		end := start + 1
		for end < len(d.Votes) && d.Votes[end].Region == d.Votes[start].Region {
			end++
		}
		d.addRegion(d.Votes[start:end])
		start = end
	}
	d.Status = majority(d.Healthy, d.Unhealthy, d.Regions)
	return d
}

// vote takes a voter's opinion or says why not.
func (v Voter) vote() Vote {
	vote := Vote{Agent: v.Agent, Region: v.Region, Status: v.Status, Since: v.Since, Reason: v.Reason}
	switch {
	case !v.Registered:
		vote.WhyNot = WhyNotRegistered
	case v.Absent != "":
		vote.WhyNot = v.Absent
	case v.Status == regions.Unknown:
		vote.WhyNot = WhyNotDefinite
	default:
		vote.Counted = true
	}
	return vote
}

// addRegion counts the votes of one region.
func (d *Decision) addRegion(votes []Vote) {
	var agents, healthy, unhealthy int
	for _, v := range votes {
		if v.WhyNot == WhyNotRegistered {
			continue
		}
		agents++
		switch {
		case !v.Counted:
		case v.Status == regions.Healthy:
			healthy++
		case v.Status == regions.Unhealthy:
			unhealthy++
		}
	}
	if agents == 0 {
		return
	}
	d.Regions++
	switch majority(healthy, unhealthy, agents) {
	case regions.Healthy:
		d.Healthy++
	case regions.Unhealthy:
		d.Unhealthy++
	}
}

// majority is the status that more than half of all say.
func majority(healthy, unhealthy, all int) regions.Status {
	switch {
	case 2*healthy > all:
		return regions.Healthy
	case 2*unhealthy > all:
		return regions.Unhealthy
	default:
		return regions.Unknown
	}
}

// Reason says in one sentence how the decision came about.
func (d Decision) Reason() string {
	if d.Regions == 0 {
		return "no region has a registered agent"
	}
	unknown := d.Regions - d.Healthy - d.Unhealthy
	if d.Status == regions.Unknown {
		return fmt.Sprintf("no status has the %d regions it needs: of %d, %d say HEALTHY, %d UNHEALTHY and %d cannot tell",
			d.Regions/2+1, d.Regions, d.Healthy, d.Unhealthy, unknown)
	}
	yes, no, other := d.Healthy, d.Unhealthy, regions.Unhealthy
	if d.Status == regions.Unhealthy {
		yes, no, other = d.Unhealthy, d.Healthy, regions.Healthy
	}
	return fmt.Sprintf("%d of %d regions say %s, %d %s and %d cannot tell", yes, d.Regions, d.Status, no, other, unknown)
}
