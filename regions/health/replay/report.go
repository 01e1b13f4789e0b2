package replay

import (
	"slices"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
)

// Report is what a replay gave.
type Report struct {
	// From and To are the first and the last observation that counts.
	From, To time.Time
	// Recovery is the shortest raw outage that was worth a failover.
	Recovery time.Duration
	// Vantages by region and agent, also those that do not count.
	Vantages []Coverage
	// Transitions of the verdict, the first one from UNKNOWN, in order.
	Transitions []Transition
	// Outages in order, missed ones too.
	Outages []Outage
	// Blips is how many raw outages were too short to be one.
	Blips int
	// FalseFailovers are the transitions to UNHEALTHY that were for nothing.
	FalseFailovers []Transition
	// Undecided is for how long the quorum could not tell; the verdict stayed then.
	Undecided time.Duration
}

// Coverage is how much one vantage recorded.
type Coverage struct {
	Agent, Region             string
	Counts                    bool // registered, with a seat
	Passed, Failed, Abstained int
	First, Last               time.Time
	// Gaps is how often it recorded nothing for so long that it counted as silent.
	Gaps int
}

// Transition is a change of the verdict.
type Transition struct {
	At       time.Time
	From, To regions.Status
	// Reason is what the quorum said, in one sentence.
	Reason string
}

// Outage is a time during which most vantages saw the target fail.
type Outage struct {
	// Began is the first failing observation that led to it, Turned is when the
	// raw majority turned UNHEALTHY and Ended when it turned HEALTHY again; zero:
	// it lasts to the end of the records.
	Began, Turned, Ended time.Time
	// Already: the verdict was UNHEALTHY when it began.
	Already bool
	// Detected is when the verdict turned UNHEALTHY; zero: it was already, or did
	// not during the outage.
	Detected time.Time
	// Restored is when the verdict turned HEALTHY after the end; zero: it did not.
	Restored time.Time
}

// Missed tells whether there was no UNHEALTHY verdict during the outage.
func (o Outage) Missed() bool { return !o.Already && o.Detected.IsZero() }

// Detection is how long it took to find the outage; 0 where the verdict was
// UNHEALTHY already. It means nothing for a missed one.
func (o Outage) Detection() time.Duration {
	if o.Detected.IsZero() {
		return 0
	}
	return o.Detected.Sub(o.Began)
}

// Restoration is how long after the end the verdict turned HEALTHY again; ok is
// false when it did not.
func (o Outage) Restoration() (d time.Duration, ok bool) {
	return o.Restored.Sub(o.Ended), !o.Restored.IsZero()
}

// Missed is how many outages were missed.
func (r *Report) Missed() int {
	n := 0
	for _, o := range r.Outages {
		if o.Missed() {
			n++
		}
	}
	return n
}

// Detections are the detection times of the outages that were found, in rising
// order.
func (r *Report) Detections() []time.Duration {
	var all []time.Duration
	for _, o := range r.Outages {
		if !o.Detected.IsZero() {
			all = append(all, o.Detection())
		}
	}
	slices.Sort(all)
	return all
}

// Changes is how often the verdict changed between HEALTHY and UNHEALTHY.
func (r *Report) Changes() int {
	n := 0
	for _, t := range r.Transitions {
		if t.From != regions.Unknown {
			n++
		}
	}
	return n
}

// ChangesPerHour is Changes over the time of the records; over an hour when they
// are shorter, so that a few minutes make no rate.
func (r *Report) ChangesPerHour() float64 {
	return float64(r.Changes()) / max(r.To.Sub(r.From), time.Hour).Hours()
}

// finish makes the report of what has happened.
func (r *run) finish() {
	p := r.report
	if r.verdict.Quorum == regions.Unknown && !r.decided.IsZero() {
		p.Undecided += p.To.Sub(r.decided)
	}
	for _, w := range r.witnesses {
		c := Coverage{Agent: w.Agent, Region: w.Region, Counts: w.Registered && !w.NoSeat, Gaps: w.gaps}
		for _, o := range w.Observations {
			switch o.Result {
			case Passed:
				c.Passed++
			case Failed:
				c.Failed++
			default:
				c.Abstained++
			}
		}
		if n := len(w.Observations); n > 0 {
			c.First, c.Last = w.Observations[0].At, w.Observations[n-1].At
		}
		p.Vantages = append(p.Vantages, c)
	}
	for i, t := range p.Transitions {
		during := r.duringOf[i]
		switch {
		case t.To == regions.Unhealthy && t.From == regions.Healthy && r.vain(during):
			p.FalseFailovers = append(p.FalseFailovers, t)
		case t.To == regions.Unhealthy && during != nil && during.Detected.IsZero() && !during.Already:
			during.Detected = t.At
		}
		if t.To == regions.Healthy {
			r.restore(t.At)
		}
	}
	for _, o := range r.outages {
		switch {
		case r.lasted(o) >= p.Recovery:
			p.Outages = append(p.Outages, *o)
		case !o.Ended.IsZero():
			p.Blips++
		}
	}
}

// lasted is for how long a raw outage lasted, as far as is known.
func (r *run) lasted(o *Outage) time.Duration {
	if o.Ended.IsZero() {
		return r.report.To.Sub(o.Began)
	}
	return o.Ended.Sub(o.Began)
}

// vain tells whether a failover during a raw outage, nil: during none, was for
// nothing.
func (r *run) vain(o *Outage) bool {
	return o == nil || !o.Ended.IsZero() && r.lasted(o) < r.report.Recovery
}

// restore notes that the verdict turned HEALTHY, which ends the outages before.
func (r *run) restore(at time.Time) {
	for _, o := range r.outages {
		if !o.Missed() && !o.Ended.IsZero() && !o.Ended.After(at) && o.Restored.IsZero() {
			o.Restored = at
		}
	}
}
