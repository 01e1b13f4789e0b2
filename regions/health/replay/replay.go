package replay

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
)

// Result is what one check said.
type Result uint8

// The results. Abstained is no evidence: the fault was the vantage's own.
const (
	Abstained Result = iota
	Passed
	Failed
)

// Observation is one check of one vantage.
type Observation struct {
	// At is when it ended.
	At      time.Time
	Result  Result
	Reason  string
	Latency time.Duration
}

// Vantage is one agent and what it recorded of the target.
type Vantage struct {
	Agent, Region string
	// Registered vantages are configuration. Others do not count.
	Registered bool
	// NoSeat: the check wants fewer vantages than there are, and this one is not
	// among them. It does not count.
	NoSeat bool
	// Observations in any order.
	Observations []Observation
}

// DefaultRecovery is how long a raw outage lasts at least to be an outage.
const DefaultRecovery = 10 * time.Second

// Options are what is tried.
type Options struct {
	Thresholds health.Thresholds
	Policy     health.Policy
	// Interval and Timeout are the check's. An Interval of 0 is taken from the
	// records: the median of the times between a vantage's observations.
	Interval, Timeout time.Duration
	// Recovery is the shortest raw outage that is worth a failover. Default 10s.
	Recovery time.Duration
}

// silentAfter is how many intervals a vantage may record nothing.
const silentAfter = 3

// Run replays the records of one target. It is an error when no vantage counts, or
// none of those that do recorded anything.
func Run(vantages []Vantage, o Options) (*Report, error) {
	if o.Recovery <= 0 {
		o.Recovery = DefaultRecovery
	}
	r := &run{o: o, report: &Report{Recovery: o.Recovery}}
	counts := false
	for _, v := range vantages {
		v.Observations = slices.Clone(v.Observations)
		slices.SortStableFunc(v.Observations, func(a, b Observation) int { return a.At.Compare(b.At) })
		r.witnesses = append(r.witnesses, &witness{Vantage: v})
		counts = counts || v.Registered && !v.NoSeat
	}
	if !counts {
		return nil, errors.New("no vantage counts: want at least one that is registered and has a seat")
	}
	slices.SortFunc(r.witnesses, func(a, b *witness) int {
		return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Agent, b.Agent))
	})
	for i, w := range r.witnesses[1:] {
		if w.Agent == r.witnesses[i].Agent && w.Region == r.witnesses[i].Region {
			return nil, fmt.Errorf("vantage %q in region %q is given twice: join its histories", w.Agent, w.Region)
		}
	}
	events := r.events()
	if len(events) == 0 {
		return nil, errors.New("no vantage that counts recorded anything of this target")
	}
	if r.o.Interval <= 0 {
		r.o.Interval = r.median()
	}
	r.limit = silentAfter*r.o.Interval + r.o.Timeout
	r.report.From, r.report.To = events[0].at, events[len(events)-1].at
	for _, e := range events {
		r.until(e.at)
		r.observe(e)
	}
	r.finish()
	return r.report, nil
}

// witness is a vantage as the replay goes on.
type witness struct {
	Vantage
	opinion health.Opinion
	raw     regions.Status // of the last observation
	run     time.Time      // since when the raw status is what it is
	last    time.Time      // the last observation
	silent  bool
	gaps    int
}

// event is one observation in the order of all.
type event struct {
	at      time.Time
	witness *witness
	Observation
}

// run is a replay under way.
type run struct {
	o         Options
	limit     time.Duration // of a vantage's silence
	witnesses []*witness
	report    *Report

	verdict  health.Verdict
	nextAt   time.Time // when damping alone changes the decision
	decided  time.Time // the decision before
	raw      *Outage   // under way
	outages  []*Outage // raw ones
	duringOf []*Outage // by transition
}

// events are the observations of the vantages that count, in order.
func (r *run) events() []event {
	var all []event
	for _, w := range r.witnesses {
		if !w.Registered || w.NoSeat {
			continue
		}
		for _, o := range w.Observations {
			all = append(all, event{o.At, w, o})
		}
	}
	slices.SortStableFunc(all, func(a, b event) int { return a.at.Compare(b.at) })
	return all
}

// median is the median of the times between observations.
func (r *run) median() time.Duration {
	var gaps []time.Duration
	for _, w := range r.witnesses {
		for i := range len(w.Observations) - 1 {
			gaps = append(gaps, w.Observations[i+1].At.Sub(w.Observations[i].At))
		}
	}
	if len(gaps) == 0 {
		return time.Second
	}
	slices.Sort(gaps)
	return gaps[len(gaps)/2]
}

// until lets happen what time alone brings about before a moment: vantages fall
// silent, recoveries are no longer damped.
func (r *run) until(at time.Time) {
	for {
		next, who := time.Time{}, (*witness)(nil)
		if !r.nextAt.IsZero() {
			next = r.nextAt
		}
		for _, w := range r.witnesses {
			if w.last.IsZero() || w.silent {
				continue
			}
			if t := w.last.Add(r.limit); next.IsZero() || t.Before(next) {
				next, who = t, w
			}
		}
		if next.IsZero() || !next.Before(at) {
			return
		}
		if who != nil {
			who.silent = true
			who.gaps++
			who.raw, who.run = regions.Unknown, next
			who.opinion = health.Abstain(who.opinion, next, "no observation for over "+r.limit.String())
		}
		r.decide(next)
	}
}

// observe takes one observation.
func (r *run) observe(e event) {
	w := e.witness
	was, raw, silent := w.opinion, w.raw, w.silent
	w.last, w.silent = e.at, false
	status := regions.Unknown
	switch e.Result {
	case Passed, Failed:
		w.opinion = health.Step(w.opinion, health.Observation{At: e.at, OK: e.Result == Passed, Reason: e.Reason, Latency: e.Latency}, r.o.Thresholds)
		status = regions.Unhealthy
		if e.Result == Passed {
			status = regions.Healthy
		}
	default:
		w.opinion = health.Abstain(w.opinion, e.at, e.Reason)
	}
	if status != raw {
		w.raw, w.run = status, e.at
	}
	first := was.ObservedAt.IsZero()
	if first || silent || status != raw || w.opinion.Status != was.Status || w.opinion.Wavering() != was.Wavering() {
		r.decide(e.at)
	}
}

// decide counts the ballots of a moment.
func (r *run) decide(now time.Time) {
	opinions, raws := health.Ballot{}, health.Ballot{}
	for _, w := range r.witnesses {
		v := health.Voter{Agent: w.Agent, Region: w.Region, Registered: w.Registered, NoSeat: w.NoSeat}
		switch {
		case w.last.IsZero():
			v.Absent, v.Awaited = "nothing recorded yet", now.Before(r.report.From.Add(r.limit))
		case w.silent:
			v.Absent = "nothing recorded for over " + r.limit.String()
		}
		raw := v
		raw.Status, raw.Since = w.raw, w.run
		raws.Voters = append(raws.Voters, raw)
		op := w.opinion
		v.Status, v.Since, v.Reason, v.Transitions, v.Wavering = op.Status, op.Since, op.Reason, op.Flaps(now), op.Wavering()
		opinions.Voters = append(opinions.Voters, v)
	}
	r.yardstick(health.Decide(raws, health.Policy{Damping: health.Damping{Off: true}}, now).Status, now)

	if r.verdict.Quorum == regions.Unknown && !r.decided.IsZero() {
		r.report.Undecided += now.Sub(r.decided)
	}
	d := health.Decide(opinions, r.o.Policy, now)
	r.nextAt, r.decided = d.NextAt, now
	was := r.verdict.Last
	if r.verdict = health.Update(r.verdict, d, now); r.verdict.Last != was {
		r.report.Transitions = append(r.report.Transitions, Transition{At: now, From: was, To: r.verdict.Last, Reason: d.Reason()})
		r.duringOf = append(r.duringOf, r.raw)
	}
}

// yardstick takes what the raw majority says.
func (r *run) yardstick(status regions.Status, now time.Time) {
	switch {
	case status == regions.Unhealthy && r.raw == nil:
		r.raw = &Outage{Began: r.began(now), Turned: now, Already: r.verdict.Last == regions.Unhealthy}
		r.outages = append(r.outages, r.raw)
	case status == regions.Healthy && r.raw != nil:
		r.raw.Ended = now
		r.raw = nil
	}
}

// began is the first failing observation that led to a raw outage: of the vantages
// that fail, those that began to within an interval and a timeout before the last
// one did.
func (r *run) began(now time.Time) time.Time {
	var runs []time.Time
	for _, w := range r.witnesses {
		if w.Registered && !w.NoSeat && w.raw == regions.Unhealthy {
			runs = append(runs, w.run)
		}
	}
	if len(runs) == 0 {
		return now
	}
	slices.SortFunc(runs, time.Time.Compare)
	last := runs[len(runs)-1]
	for _, t := range runs {
		if last.Sub(t) <= r.o.Interval+r.o.Timeout {
			return t
		}
	}
	return last
}
