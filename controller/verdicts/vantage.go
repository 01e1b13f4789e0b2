package verdicts

import (
	"time"
	"unique"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

const (
	// sinceTolerance is how far apart two reports of when an opinion began may
	// lie and still mean one beginning: ages are measured at both ends of a stream.
	sinceTolerance = 2 * time.Second
	// seatFor is how long an agent may be silent before another one of its region
	// gets its seats, where a check wants fewer vantages than there are.
	seatFor = 30 * time.Second
	// selfEvery is how often an agent can be believed that it is cut off, or is not
	// any more: each time every target is judged anew.
	selfEvery = time.Second
)

// vantage is an agent that is registered, that reports, or both. The tally owns it.
type vantage struct {
	name, region string
	registered   bool
	agent        Agent // as registered
	column       int   // of its opinions
	place        int   // of its region, among those of all voters

	// session is the stream that speaks for it; nil when there is none. opened is
	// when it began.
	session     *session
	opened      time.Time
	incarnation uint64
	version     string
	generation  regions.Generation
	skew        time.Duration
	// duty is what it is assigned.
	duty *duty

	// spoke is when the last message came.
	spoke time.Time
	// full is set once all opinions of this session are here. parts is a full
	// update of which more messages are to come; nil: none.
	full  bool
	parts *update
	// heard is when the opinions were last known to hold: a message of a session
	// that had sent all of them, heardIn. Zero: never, or before a pause.
	heard   time.Time
	heardIn *session
	// fresh vantages have a vote.
	fresh bool
	// awaitedFrom is when it was first listened for; while that is not long ago,
	// its silence says nothing. gone: it has been silent for so long that others
	// get its seats.
	awaitedFrom      time.Time
	wasAwaited, gone bool

	// self is why it holds itself to be cut off, which changed at selfAt last; said
	// is what it says now, and differs while that waits; selfKnown: it has said. sight is what it says beside what
	// the others say. isolated is why its opinions do not count, since
	// isolatedSince; told: there was an event about it.
	self, said    string
	selfAt        time.Time
	selfKnown     bool
	sight         health.Sight
	isolated      string
	isolatedSince time.Time
	told          bool

	// known is how many opinions it holds on targets of the plan; elsewhere are
	// those on other targets: an agent may follow the newer plan of another
	// controller.
	known     int
	elsewhere map[string]opinion
}

// targets is how many opinions the vantage holds.
func (v *vantage) targets() int { return v.known + len(v.elsewhere) }

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

// awaited tells whether it is too early to call the vantage silent: it was
// never heard since there is anybody to hear it.
func (v *vantage) awaited(now time.Time, wait time.Duration) bool {
	return v.registered && !v.fresh && v.heard.IsZero() && now.Sub(v.awaitedFrom) < wait
}

// lastHope is when the vantage was last heard, or else first listened for.
func (v *vantage) lastHope() time.Time {
	if v.heard.After(v.awaitedFrom) {
		return v.heard
	}
	return v.awaitedFrom
}

func (v *vantage) keepElsewhere(target string, op opinion) {
	if v.elsewhere == nil {
		v.elsewhere = map[string]opinion{}
	}
	op.flags &^= seen
	v.elsewhere[target] = op
}

// update is what an agent said of its targets, off the wire.
type update struct {
	full bool
	// more messages of the same full update follow.
	more     bool
	opinions []said
	ignored  map[string]int // by why
}

type said struct {
	target string
	opinion
}

// readUpdate takes opinions off the wire, and notes what it had to leave out or
// mend. It is done beside Run, which the streams share.
func readUpdate(up *pb.OpinionUpdate, now, base time.Time) *update {
	u := &update{full: up.GetFull(), more: up.GetMore(), opinions: make([]said, 0, len(up.GetOpinions()))}
	for _, o := range up.GetOpinions() {
		target := o.GetTarget()
		if target == "" || len(target) > MaxTargetID {
			u.ignore("bad-target")
			continue
		}
		status, ok := healthpb.ParseStatus(o.GetStatus())
		if !ok {
			u.ignore("bad-status")
		}
		reason := o.GetReason()
		if len(reason) > MaxReason {
			u.ignore("long-reason")
			reason = shorten(reason, MaxReason)
		}
		op := opinion{
			status: status, flags: known, reason: unique.Make(reason),
			since:       int64(now.Sub(base) - healthpb.Age(o.GetHeldMillis())),
			transitions: uint16(min(o.GetRecentTransitions(), health.MaxTransitions)),
		}
		if o.GetWavering() {
			op.flags |= wavering
		}
		u.opinions = append(u.opinions, said{target, op})
	}
	return u
}

func (u *update) ignore(why string) {
	if u.ignored == nil {
		u.ignored = map[string]int{}
	}
	u.ignored[why]++
}

// collect puts the messages of a full update together: what is to be taken now,
// nil while more of it follow. The first of them says full, all but the last say
// more; heartbeats may come between. One that says full begins anew. What an
// agent said before holds until all is there, so that nothing is missing between.
func (v *vantage) collect(up *update) *update {
	switch {
	case up.full:
		v.parts = up
	case v.parts == nil:
		return up // what changed
	default:
		for _, o := range up.opinions {
			if len(v.parts.opinions) >= MaxOpinions {
				up.ignore("too-many")
				continue
			}
			v.parts.opinions = append(v.parts.opinions, o)
		}
	}
	if up.more {
		return nil
	}
	whole := v.parts
	v.parts = nil
	return whole
}

// take puts the opinions of an update in, and marks each target whose opinion is
// another now.
func (t *tally) take(v *vantage, up *update) {
	var listed []bool // by target, for a full update
	if up.full {
		v.full = true
		listed = make([]bool, len(t.dockets))
		v.elsewhere = nil
	}
	for k := range up.opinions {
		o := &up.opinions[k]
		i, ok := t.table.index.at[o.target]
		if !ok {
			if _, had := v.elsewhere[o.target]; had || v.targets() < MaxOpinions {
				v.keepElsewhere(o.target, o.opinion)
			} else {
				up.ignore("too-many")
			}
			continue
		}
		if listed != nil {
			listed[i] = true
		}
		slot := &t.slots.row(i)[v.column]
		if slot.flags&known == 0 {
			if v.targets() >= MaxOpinions {
				up.ignore("too-many")
				continue
			}
			v.known++
		} else if d := time.Duration(o.since - slot.since); slot.status == o.status && d.Abs() <= sinceTolerance {
			o.since = slot.since
		}
		if slot.says(o.opinion) {
			continue
		}
		o.flags |= slot.flags & seen
		*slot = o.opinion
		t.mark(i)
	}
	for i, is := range listed {
		if slot := &t.slots.row(i)[v.column]; !is && slot.flags&known != 0 {
			// What it counts for in the vantage's sight is taken off when the
			// target is looked at.
			*slot = opinion{flags: slot.flags & seen}
			v.known--
			t.mark(i)
		}
	}
}

// forgetOpinions forgets all that a vantage said.
func (t *tally) forgetOpinions(v *vantage) { t.take(v, &update{full: true}) }

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
