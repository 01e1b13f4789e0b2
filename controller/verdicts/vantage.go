package verdicts

import (
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

// sinceTolerance is how far apart two reports of when an opinion began may lie
// and still mean one beginning: ages are measured at both ends of a stream.
const sinceTolerance = 2 * time.Second

// vantage is an agent that is registered, that reports, or both. The tally owns it.
type vantage struct {
	name, region string
	registered   bool

	// session is the stream that speaks for it; nil when there is none.
	session     *session
	incarnation uint64
	version     string
	generation  regions.Generation
	skew        time.Duration

	// spoke is when the last message came.
	spoke time.Time
	// full is set once all opinions of this session are here.
	full bool
	// heard is when the opinions were last known to hold: a message of a session
	// that had sent all of them, heardIn. Zero: never, or before a pause.
	heard   time.Time
	heardIn *session
	// fresh vantages have a vote.
	fresh bool
	// opinions are by target, also of targets that the plan does not hold (yet):
	// an agent may follow the newer plan of another controller.
	opinions map[string]opinion
}

// opinion is what a vantage says of one target.
type opinion struct {
	status regions.Status
	since  time.Time
	reason string
}

// absent says why the vantage's opinions do not count now; "" when they do.
func (v *vantage) absent(freshFor time.Duration) string {
	switch {
	case v.fresh:
		return ""
	case v.session == nil:
		return "not connected"
	case !v.full:
		return "connected, no opinions yet"
	default:
		return "silent for over " + freshFor.String()
	}
}

// voter is what the vantage says of one target. ok is false where there is
// nothing to show.
func (v *vantage) voter(target, absent string) (voter health.Voter, ok bool) {
	op, known := v.opinions[target]
	if !known && !v.registered {
		return health.Voter{}, false
	}
	if !known && absent == "" {
		absent = "no opinion yet"
	}
	return health.Voter{
		Agent: v.name, Region: v.region, Registered: v.registered,
		Status: op.status, Since: op.since, Reason: op.reason, Absent: absent,
	}, true
}

// take puts the opinions of an update in, and calls changed for each target
// whose opinion is another now. It returns how many it had to leave out or
// mend, by why.
func (v *vantage) take(up *pb.OpinionUpdate, now time.Time, changed func(target string)) (ignored map[string]int) {
	count := func(why string) {
		if ignored == nil {
			ignored = map[string]int{}
		}
		ignored[why]++
	}
	was := v.opinions
	if up.GetFull() {
		v.opinions = make(map[string]opinion, len(up.GetOpinions()))
		v.full = true
	}
	for _, o := range up.GetOpinions() {
		target := o.GetTarget()
		if target == "" || len(target) > MaxTargetID {
			count("bad-target")
			continue
		}
		if _, known := v.opinions[target]; !known && len(v.opinions) >= MaxOpinions {
			count("too-many")
			continue
		}
		status, ok := healthpb.ParseStatus(o.GetStatus())
		if !ok {
			count("bad-status")
		}
		next := opinion{status: status, since: now.Add(-healthpb.Age(o.GetHeldMillis())), reason: o.GetReason()}
		if len(next.reason) > MaxReason {
			count("long-reason")
			next.reason = shorten(next.reason, MaxReason)
		}
		old, known := was[target]
		if known && old.status == next.status && next.since.Sub(old.since).Abs() <= sinceTolerance {
			next.since = old.since
		}
		v.opinions[target] = next
		if !known || old != next {
			changed(target)
		}
	}
	if up.GetFull() {
		for target := range was {
			if _, ok := v.opinions[target]; !ok {
				changed(target)
			}
		}
	}
	return ignored
}

// shorten cuts a text to at most n bytes, between runes.
func shorten(s string, n int) string {
	const mark = "…"
	cut := 0
	for i := range s {
		if i > n-len(mark) {
			break
		}
		cut = i
	}
	return s[:cut] + mark
}
