package health

import (
	"cmp"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
)

// Voter is one vantage and what it says of one target.
type Voter struct {
	Agent, Region string
	// Registered vantages are configuration. Others are shown, not counted.
	Registered bool
	// NoSeat: the target's check wants fewer vantages than there are, and this
	// one is not among them. It is shown, not counted.
	NoSeat bool
	// Status is the vantage's opinion, held since Since.
	Status regions.Status
	Since  time.Time
	Reason string
	// Transitions is how often the opinion had changed within the hour before it
	// became what it is; see Opinion.Flaps.
	Transitions int
	// Wavering: the last checks speak against the opinion and are too few to
	// change it.
	Wavering bool
	// Absent says why there is no opinion to count, as "not connected" or
	// "silent for over 3s". Empty when Status is fresh.
	Absent string
	// Awaited: it is absent, and it is too early to call that a silence, since
	// the controller has only just begun to listen.
	Awaited bool
	// Isolated says why the vantage must be cut off though it is heard; empty: it
	// need not be. Its opinion does not count.
	Isolated string
	// QuietSince is since when it is absent or isolated.
	QuietSince time.Time
	// Blind: it says so itself, so it is as good as silent. What others make of its
	// words is not enough for that: with two regions it is word against word.
	Blind bool
}

// Ballot holds every registered vantage, heard or not, and any others.
type Ballot struct {
	Voters []Voter
}

// Vote is one vantage's opinion as the quorum took it.
type Vote struct {
	Agent, Region string
	Reason        string
	// WhyNot says why the opinion did not count; empty: it did.
	WhyNot      string
	Since       time.Time
	Transitions int
	Status      regions.Status
	// CountedAs is what it counted as: UNKNOWN when it did not count, UNHEALTHY
	// while a recovery is damped, otherwise the status.
	CountedAs regions.Status
	Counted   bool
	Wavering  bool
}

// Why a vote did not count, where the ballot gives no reason of its own.
const (
	WhyNotRegistered = "not registered"
	WhyNotSeated     = "not among the vantages that probe this target"
	WhyNotYet        = "no opinion yet"
	WhyNotDefinite   = "opinion unknown"
	// WhyNotIsolated is what the reason of an isolated vantage begins with.
	WhyNotIsolated = "isolated: "
)

// member tells whether the vantage makes up its region, heard or not.
func (v *Voter) member() bool { return v.Registered && !v.NoSeat }

// silent tells whether the vantage is no voice of its region: it is not that it
// has nothing to say of this target, but that it cannot be heard or trusted.
func (v *Voter) silent() bool { return v.Absent != "" && !v.Awaited || v.Blind }

func compareVoters(a, b Voter) int {
	return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Agent, b.Agent))
}

// vote takes a voter's opinion or says why not. A damped one says until when.
func (v *Voter) vote(d Damping, now time.Time) (vote Vote, until time.Time) {
	vote = Vote{
		Agent: v.Agent, Region: v.Region, Status: v.Status, Since: v.Since, Reason: v.Reason,
		Transitions: v.Transitions, Wavering: v.Wavering,
	}
	switch {
	case !v.Registered:
		vote.WhyNot = WhyNotRegistered
	case v.NoSeat:
		vote.WhyNot = WhyNotSeated
	case v.Absent != "":
		vote.WhyNot = v.Absent
	case v.Isolated != "":
		vote.WhyNot = WhyNotIsolated + v.Isolated
	case v.Status == regions.Unknown:
		vote.WhyNot = WhyNotDefinite
	default:
		vote.Counted, vote.CountedAs = true, v.Status
		if v.Status != regions.Healthy {
			break
		}
		if end := v.Since.Add(d.Hold(v.Transitions)); now.Before(end) {
			vote.CountedAs = regions.Unhealthy
			return vote, end
		}
	}
	return vote, time.Time{}
}

// Held is for how long the vantage has held its opinion.
func (v Vote) Held(now time.Time) time.Duration { return since(v.Since, now) }

func (v Vote) equal(w Vote) bool {
	same := v.Since.Equal(w.Since)
	v.Since = w.Since
	return same && v == w
}
