package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/replay"
)

// score sums up reports.
type score struct {
	outages, missed int
	detections      []time.Duration // in rising order
	falsely         int             // failovers for nothing
	blips           int
	changes         int
	perHour         float64
}

func (s *score) add(r *replay.Report) {
	s.outages += len(r.Outages)
	s.missed += r.Missed()
	s.detections = append(s.detections, r.Detections()...)
	slices.Sort(s.detections)
	s.falsely += len(r.FalseFailovers)
	s.blips += r.Blips
	s.changes += r.Changes()
	s.perHour += r.ChangesPerHour()
}

func (s *score) median() time.Duration {
	if len(s.detections) == 0 {
		return 0
	}
	return s.detections[(len(s.detections)-1)/2]
}

func (s *score) worst() time.Duration {
	if len(s.detections) == 0 {
		return 0
	}
	return s.detections[len(s.detections)-1]
}

// quiet tells whether nothing happened that thresholds matter for.
func (s *score) quiet() bool { return s.outages+s.blips+s.falsely+s.changes == 0 }

// total is the score of all targets under one trial.
func (r *rerun) total(trial int) (s score) {
	for _, t := range r.targets {
		if t.reports != nil {
			s.add(t.reports[trial])
		}
	}
	return s
}

// quiet tells whether nothing happened to a target under any of the trials.
func (t *replayed) quiet() bool {
	for _, report := range t.reports {
		var s score
		if s.add(report); !s.quiet() {
			return false
		}
	}
	return t.reports != nil
}

// span is from the first to the last of what was observed; zero: nothing was.
func (r *rerun) span() (from, to time.Time) {
	for _, t := range r.targets {
		if t.reports == nil {
			continue
		}
		if f := t.reports[0].From; from.IsZero() || f.Before(from) {
			from = f
		}
		if l := t.reports[0].To; l.After(to) {
			to = l
		}
	}
	return from, to
}

// notReplayed is what a replay leaves out.
const notReplayed = "Left out: isolation of vantages, the mass-withdrawal guard, failback policies and drains."

func (r *rerun) print(p *printer, draw bool) {
	from, to := r.span()
	p.linef(bold, "%s, health check %s: %s", r.service, r.check, r.coverage(from, to))
	for _, m := range r.missing {
		p.linef(yellow, "not heard: %s; counted as silent", m)
	}
	if from.IsZero() {
		r.printUnheard(p)
		return
	}
	p.WriteByte('\n')
	r.printTrials(p)
	p.WriteByte('\n')
	r.scores(p).print(p)
	p.linef(plain, "DETECTION is the median; BLIPS are outages of less than %s; FALSE are failovers for nothing.", exact(r.recovery))
	r.printQuiet(p)
	r.printUnheard(p)
	if p.wide {
		r.printEvents(p)
		r.printVantages(p)
	}
	if draw {
		r.draw(p)
	}
	p.WriteByte('\n')
	p.linef(bold, "%s", r.conclusion())
	p.linef(plain, "%s", notReplayed)
}

// coverage says what was recorded.
func (r *rerun) coverage(from, to time.Time) string {
	agents, checks := map[string]bool{}, 0
	for _, t := range r.targets {
		for _, v := range t.vantages {
			if n := len(v.Observations); n > 0 && v.Registered && !v.NoSeat {
				agents[v.Agent] = true
				checks += n
			}
		}
	}
	if from.IsZero() {
		return "nothing was recorded in that time"
	}
	return fmt.Sprintf("%s recorded, until %s, by %s in %s of %s", human(to.Sub(from)), to.UTC().Format(time.RFC3339),
		count(len(agents), "agent"), count(checks, "check"), count(len(r.targets), "target"))
}

func (r *rerun) printTrials(p *printer) {
	t := newTable("THRESHOLDS", ">RISE", ">FALL", "QUORUM", "DAMPING")
	for _, trial := range r.trials {
		w := trial.words()
		t.row(trial.name, w[0], w[1], w[2], w[3])
	}
	t.print(p)
}

// scores is the table of targets and trials; of the quiet ones with -o wide only.
func (r *rerun) scores(p *printer) *table {
	t := newTable("TARGET", "THRESHOLDS", ">OUTAGES", ">FOUND", ">MISSED", ">DETECTION", ">WORST", ">BLIPS", ">FALSE", ">CHANGES/H")
	row := func(name, trial string, s score) {
		missed, falsely := cell{text: fmt.Sprint(s.missed)}, cell{text: fmt.Sprint(s.falsely)}
		if s.missed > 0 {
			missed.style = red
		}
		if s.falsely > 0 {
			falsely.style = yellow
		}
		median, worst := "-", "-"
		if len(s.detections) > 0 {
			median, worst = tenths(s.median()), tenths(s.worst())
		}
		t.row(name, trial, fmt.Sprint(s.outages), fmt.Sprint(s.outages-s.missed), missed, median, worst, fmt.Sprint(s.blips), falsely, fmt.Sprintf("%.1f", s.perHour))
	}
	shown := 0
	for _, target := range r.targets {
		if target.reports == nil || target.quiet() && !p.wide {
			continue
		}
		shown++
		name := target.title()
		for i, report := range target.reports {
			var s score
			s.add(report)
			row(name, r.trials[i].name, s)
			name = ""
		}
	}
	if shown != 1 {
		name := "in all"
		for i := range r.trials {
			row(name, r.trials[i].name, r.total(i))
			name = ""
		}
	}
	return t
}

// title names a target and what it stands for.
func (t *replayed) title() string { return few(t.endpoints, fewEndpoints) + " " + t.id }

// printQuiet says how many targets the table leaves out.
func (r *rerun) printQuiet(p *printer) {
	n := 0
	for _, t := range r.targets {
		if t.quiet() {
			n++
		}
	}
	if n > 0 && !p.wide {
		p.linef(plain, "nothing happened to %s (-o wide lists all)", count(n, "target"))
	}
}

// printUnheard names the targets that could not be replayed.
func (r *rerun) printUnheard(p *printer) {
	for _, t := range r.targets {
		if t.reports == nil {
			p.linef(yellow, "not replayed: %s: %s", t.title(), t.why)
		}
	}
}

// clock is a moment of the day.
const clock = "15:04:05Z07:00"

// printEvents lists the outages, with how soon each was found, and the failovers
// that were for nothing.
func (r *rerun) printEvents(p *printer) {
	titles := []string{"OUTAGE OF", "BEGAN", ">LASTED"}
	for _, trial := range r.trials {
		titles = append(titles, ">FOUND, "+strings.ToUpper(trial.name))
	}
	outages := newTable(titles...)
	vain := newTable("FOR NOTHING", "AT", "THRESHOLDS", "WHY")
	for _, t := range r.targets {
		if t.reports == nil {
			continue
		}
		for k, o := range t.reports[0].Outages { // the same ones under all thresholds
			lasted := "still"
			if !o.Ended.IsZero() {
				lasted = tenths(o.Ended.Sub(o.Began))
			}
			row := []any{t.title(), o.Began.UTC().Format(clock), lasted}
			for _, report := range t.reports {
				row = append(row, foundIn(report.Outages[k]))
			}
			outages.row(row...)
		}
		for i, report := range t.reports {
			for _, f := range report.FalseFailovers {
				vain.row(t.title(), f.At.UTC().Format(clock), r.trials[i].name, f.Reason)
			}
		}
	}
	for _, t := range []*table{outages, vain} {
		if len(t.rows) > 0 {
			p.WriteByte('\n')
			t.print(p)
		}
	}
}

func foundIn(o replay.Outage) cell {
	switch {
	case o.Missed():
		return cell{"missed", red}
	case o.Already:
		return cell{"UNHEALTHY already", plain}
	}
	return cell{"in " + tenths(o.Detection()), plain}
}

// printVantages tells what each agent recorded.
func (r *rerun) printVantages(p *printer) {
	p.WriteByte('\n')
	t := newTable("TARGET", "AGENT", "REGION", "COUNTS", ">PASSED", ">FAILED", ">NO EVIDENCE", ">GAPS", "FIRST", "LAST")
	for _, target := range r.targets {
		if target.reports == nil {
			continue
		}
		name := target.title()
		for i, c := range target.reports[0].Vantages {
			counts := "yes"
			switch v := target.vantages[i]; {
			case !v.Registered:
				counts = "no: " + health.WhyNotRegistered
			case v.NoSeat:
				counts = "no: " + health.WhyNotSeated
			case c.First.IsZero():
				counts = "silent"
			}
			first, last := "", ""
			if !c.First.IsZero() {
				first, last = c.First.UTC().Format(clock), c.Last.UTC().Format(clock)
			}
			t.row(name, c.Agent, c.Region, counts, fmt.Sprint(c.Passed), fmt.Sprint(c.Failed), unlessZero(uint64(c.Abstained)), unlessZero(uint64(c.Gaps)), first, last)
			name = ""
		}
	}
	t.print(p)
}

// conclusion compares the trials in one sentence.
func (r *rerun) conclusion() string {
	was := r.total(0)
	if len(r.trials) == 1 {
		if was.quiet() {
			return "Nothing failed in that time that thresholds could decide about."
		}
		text := fmt.Sprintf("The configured thresholds find %d of %s", was.outages-was.missed, count(was.outages, "outage"))
		if len(was.detections) > 0 {
			text += fmt.Sprintf(", in %s in the median and %s at worst", tenths(was.median()), tenths(was.worst()))
		}
		return text + fmt.Sprintf("; failovers for nothing: %d. Try others, as --fall %d.", was.falsely, r.trials[0].thresholds.Fall+1)
	}
	is := r.total(1)
	var parts []string
	if len(was.detections) > 0 && len(is.detections) > 0 {
		both := fmt.Sprintf("(%s, not %s)", tenths(is.median()), tenths(was.median()))
		switch d := is.median() - was.median(); {
		case d >= 50*time.Millisecond:
			parts = append(parts, "outages are found "+tenths(d)+" later in the median "+both)
		case d <= -50*time.Millisecond:
			parts = append(parts, "outages are found "+tenths(-d)+" sooner in the median "+both)
		}
	}
	for _, c := range []struct {
		what    string
		is, was int
	}{{"missed outages", is.missed, was.missed}, {"failovers for nothing", is.falsely, was.falsely}, {"changes of verdicts", is.changes, was.changes}} {
		if c.is != c.was {
			parts = append(parts, fmt.Sprintf("%s: %d, not %d", c.what, c.is, c.was))
		}
	}
	if len(parts) == 0 {
		return "The thresholds that are asked for would have changed nothing in that time."
	}
	return "With the thresholds that are asked for, " + strings.Join(parts, "; ") + "."
}

// tenths is a duration to a tenth of a second, below a second to 10 ms.
func tenths(d time.Duration) string {
	if d < time.Second {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}
