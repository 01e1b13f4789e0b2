package cli

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health/replay"
)

// drawColumns is how many moments a drawing has, so that it fits beside names
// into 80 columns.
const drawColumns = 60

// What a column of a drawing says.
const (
	drawNothing = "·" // nobody looked, or nobody could tell
	drawWell    = "▁"
	drawMixed   = "▄"
	drawIll     = "█"
)

// draw draws what each vantage saw of the targets to which something happened, and
// the verdicts under each trial.
func (r *rerun) draw(p *printer) {
	drawn := false
	for _, t := range r.targets {
		if t.reports == nil || t.quiet() && !p.wide && len(r.targets) > 1 {
			continue
		}
		from, to := t.reports[0].From, t.reports[0].To
		step := max(to.Sub(from)/drawColumns, time.Millisecond)
		p.WriteByte('\n')
		p.linef(bold, "%s from %s to %s, %s a column", t.title(), from.UTC().Format(clock), to.UTC().Format(clock), tenths(step))
		var lines [][2]string
		for _, v := range t.vantages {
			if v.Registered && !v.NoSeat {
				lines = append(lines, [2]string{v.Agent, seenBar(v.Observations, from, step, r.silence)})
			}
		}
		for i, report := range t.reports {
			lines = append(lines, [2]string{r.trials[i].name, verdictBar(report, step)})
		}
		width := 0
		for _, l := range lines {
			width = max(width, utf8.RuneCountInString(l[0]))
		}
		for i, l := range lines {
			if i == len(lines)-len(t.reports) && i > 0 {
				p.WriteByte('\n')
			}
			p.WriteString("  " + clean(l[0]) + strings.Repeat(" ", width-utf8.RuneCountInString(l[0])) + "  " + p.bar(l[1]) + "\n")
		}
		drawn = true
	}
	if drawn {
		p.linef(plain, "  %s passes, HEALTHY   %s partly   %s fails, UNHEALTHY   %s nobody can tell", drawWell, drawMixed, drawIll, drawNothing)
	}
}

// mark is the sign for so much that was well and ill.
func mark(well, ill bool) string {
	switch {
	case well && ill:
		return drawMixed
	case ill:
		return drawIll
	case well:
		return drawWell
	}
	return drawNothing
}

// seenBar is what one vantage saw, in order. A check speaks until the next one, or
// until the vantage counts as silent.
func seenBar(seen []replay.Observation, from time.Time, step, silence time.Duration) string {
	var well, ill [drawColumns]bool
	column := func(at time.Time) int { return min(max(int(at.Sub(from)/step), 0), drawColumns-1) }
	for i, o := range seen {
		until := column(o.At)
		if i+1 < len(seen) && seen[i+1].At.Sub(o.At) <= silence {
			until = max(until, column(seen[i+1].At)-1)
		}
		for k := column(o.At); k <= until; k++ {
			well[k] = well[k] || o.Result == replay.Passed
			ill[k] = ill[k] || o.Result == replay.Failed
		}
	}
	var b strings.Builder
	for i := range well {
		b.WriteString(mark(well[i], ill[i]))
	}
	return b.String()
}

// verdictBar is how the verdict was.
func verdictBar(r *replay.Report, step time.Duration) string {
	var b strings.Builder
	status, next := regions.Unknown, 0
	for i := range drawColumns {
		end := r.From.Add(time.Duration(i+1) * step)
		well, ill := status == regions.Healthy, status == regions.Unhealthy
		for ; next < len(r.Transitions) && (r.Transitions[next].At.Before(end) || i == drawColumns-1); next++ {
			status = r.Transitions[next].To
			well, ill = well || status == regions.Healthy, ill || status == regions.Unhealthy
		}
		b.WriteString(mark(well, ill))
	}
	return b.String()
}

// bar colours a bar.
func (p *printer) bar(text string) string {
	styles := map[string]style{drawWell: green, drawMixed: yellow, drawIll: red}
	var b, run strings.Builder
	var now style
	for _, r := range text {
		s := styles[string(r)]
		if s != now {
			b.WriteString(p.paint(now, run.String()))
			run.Reset()
			now = s
		}
		run.WriteRune(r)
	}
	return b.String() + p.paint(now, run.String())
}
