package health

import (
	"fmt"

	"github.com/fairlead-dns/fairlead/regions"
)

// Losses is what the mass-withdrawal guard looks at: one step.
type Losses struct {
	// Targets are all that are judged.
	Targets int
	// Left are HEALTHY and stay so.
	Left int
	// Lost were HEALTHY and turned UNHEALTHY within the window, confirmed or not,
	// would turn now, or are held.
	Lost int
	// Regions is the same by the regions that targets stand in, where any is
	// lost. A target that stands in several counts in each.
	Regions []RegionLosses
}

// RegionLosses are the losses among the targets of one region.
type RegionLosses struct {
	Region     string
	Left, Lost int
}

// Ruling is what the guard says of a step.
type Ruling struct {
	// Trips: the step takes too much. Losses that are not confirmed are held,
	// unless the guard is to raise an alarm only.
	Trips bool
	// Whole is the one region that is lost as a whole, which explains its losses;
	// empty: there is none, or several.
	Whole string
	// Everything: no target would be left.
	Everything bool
	// Counted is how many losses count against the limit.
	Counted int
}

// Guard says whether a step of losses may pass without being confirmed. It is
// asked only about targets that turn UNHEALTHY without the word of more than
// half of at least two registered regions (Decision.Confirms); losses that have
// it always pass, without a person.
//
//	the step, within the window          the guard        since
//	-----------------------------------  ---------------  -----------------------------------
//	one target                           passes it        one is no mass
//	at most the share of all targets     passes it        that is within the limit
//	more than the share, of several      trips            a path that broke looks like this
//	regions
//	one region as a whole, and at most   passes it, with  a dead region must fail over; with
//	the share of any other region        an event         one vantage region, or one side of
//	                                                      two, nobody can tell more
//	two regions or more as a whole       trips above the  that is how it looks when the
//	                                     share            vantage's own uplink is gone
//	everything that was healthy          trips            there is nothing to fail over to
//
// What trips is held per target: the verdict stays HEALTHY, under a trip that
// counts up. A hold ends when the loss is confirmed, when the quorum says
// HEALTHY again, when an operator releases the trip, or when the step is within
// the limits without what has become HEALTHY meanwhile, or turns out to be one
// region as a whole (opinions on a dead region do not come all at once). While
// nobody can tell, it goes on. Window and share are the policy's; without a share
// it never trips.
//
// What comes of that, by the vantage regions that are registered, with a share of
// 50 %; a test of the judge goes through each case:
//
//	what happens                 one                  two                  three and more
//	---------------------------  -------------------  -------------------  -----------------
//	a region is lost whole,      passes, with an      passes, with an      passes, confirmed
//	with its vantage             event; its own       event; not con-
//	                             vantage: nobody      firmed: active-
//	                             can tell             passive stays (1)
//	a region is lost whole,      passes, with an      passes, confirmed    passes, confirmed
//	its vantage lives            event
//	partition between two        -                    passes on each       outvoted, or
//	living regions                                    side, not confirmed  isolated
//	one agent's path is broken,  all is lost: holds   isolated, nothing    isolated, the
//	it sees nothing              (2)                  moves (3)            others decide (3)
//	its uplink is broken, it     holds (2)            disagreement,        outvoted, or
//	sees its own region only                          nothing moves (3)    isolated (3)
//	a bad deployment kills half  passes               passes, confirmed    passes, confirmed
//	of the endpoints everywhere
//	it kills more than half      holds (4)            passes, confirmed    passes, confirmed
//	endpoints fall one by one    those beyond the     passes, confirmed    passes, confirmed
//	within the window            share: holds (4)
//	everything is lost           holds (4)            passes, confirmed;   passes, confirmed
//	                                                  one side silent:
//	                                                  holds (4)
//	a rule that needs fewer      -                    holds above the      holds above the
//	regions (at-least 1)                              share (4)            share (4)
//	mode alarm                   passes, with an event wherever it would hold
//
// What an operator can do: (1) drain the region, or run a witness vantage in a
// third one; (2) mend the vantage, what it holds then ends by itself, or release
// the trip if the loss is true; (3) mend the agent, or stop it; (4) release the
// trip, force the endpoints down, or run a vantage in another region, which would
// have confirmed it.
func Guard(g regions.Guard, l Losses) Ruling {
	r := Ruling{Counted: l.Lost, Everything: l.Left == 0 && l.Lost > 0}
	if g.MaxPercent <= 0 || l.Lost < 2 {
		return r
	}
	whole, mostly := -1, 0
	for i, region := range l.Regions {
		if region.Lost > 0 && region.Left == 0 {
			whole = i
		}
		if region.Lost*100 > g.MaxPercent*(region.Lost+region.Left) || region.Lost > 0 && region.Left == 0 {
			mostly++
		}
	}
	if whole >= 0 && mostly == 1 && !r.Everything {
		r.Whole = l.Regions[whole].Region
		r.Counted -= l.Regions[whole].Lost
	}
	r.Trips = r.Everything || r.Counted*100 > g.MaxPercent*l.Targets
	return r
}

// Reason says in one sentence what the ruling is about.
func (r Ruling) Reason(g regions.Guard, l Losses) string {
	said := fmt.Sprintf("%d of %d targets turned UNHEALTHY within %s without the confirmation of the quorum", l.Lost, l.Targets, g.Window)
	switch {
	case r.Trips && r.Everything:
		return said + ", and none would be left"
	case r.Trips:
		return fmt.Sprintf("%s, more than %d %%", said, g.MaxPercent)
	case r.Whole != "":
		return fmt.Sprintf("%s: region %s as a whole", said, r.Whole)
	default:
		return said
	}
}
