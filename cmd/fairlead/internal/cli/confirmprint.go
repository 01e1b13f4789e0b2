package cli

import (
	"fmt"
	"strings"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// barWidth is how wide the bar of nameservers is.
const barWidth = 20

// line is one line of a display, in a style.
type line struct {
	style style
	text  string
}

// frame is the display of a moment.
func (x *confirmation) frame(now time.Time) []line {
	out := []line{{bold, fmt.Sprintf("committed    %s, in %s", inGeneration(x.generation), human(x.committed.Round(time.Millisecond)))}}
	out = append(out, x.nameserversLine(now))
	if x.last != nil {
		out = append(out, laggardLines(x.last.GetConvergence())...)
	}
	if x.trouble != "" {
		out = append(out, line{red, "trouble      " + x.trouble})
	}
	if x.older != "" {
		return append(out, line{yellow, "drain clock  " + x.older})
	}
	if clock := x.clockLine(now, "%[3]s, at %[2]s, the last compliant cache forgets %[1]s"); clock.text != "" {
		clock.text = "drain clock  " + clock.text
		out = append(out, clock)
	}
	if answers := x.answersLine(); answers.text != "" {
		answers.text = "answers      " + answers.text
		out = append(out, answers)
	}
	return out
}

// nameserversLine is how many nameservers serve it.
func (x *confirmation) nameserversLine(now time.Time) line {
	if x.last == nil {
		return line{plain, "nameservers  asking"}
	}
	c := x.last.GetConvergence()
	k, n := len(c.GetServing()), len(c.GetServing())+len(c.GetMissing())
	if n == 0 {
		return line{yellow, "nameservers  none is registered or connected"}
	}
	filled := barWidth * k / n
	text := fmt.Sprintf("nameservers  [%s%s] %d of %d serve it", strings.Repeat("#", filled), strings.Repeat(".", barWidth-filled), k, n)
	if x.served > 0 {
		return line{green, text + ", after " + human(x.served)}
	}
	return line{yellow, fmt.Sprintf("%s, %s of %s", text, human(now.Sub(x.began)), exact(x.limit))}
}

// mostLaggards is how many nameservers are named while they are waited for.
const mostLaggards = 5

// laggardLines are the nameservers that do not serve it, each in a line of its own, so
// that a narrow terminal cuts none of them off.
func laggardLines(c *pb.Convergence) (out []line) {
	for i, name := range c.GetMissing() {
		if i == mostLaggards {
			return append(out, line{yellow, fmt.Sprintf("  not yet    and %d more", len(c.GetMissing())-i)})
		}
		if why := c.GetReasons()[name]; why != "" {
			name += ": " + why
		}
		out = append(out, line{yellow, "  not yet    " + name})
	}
	return out
}

// clockLine is the drain clock; empty where it is not asked for. While it runs it
// reads as a format says of the scope, when that is, and in how long.
func (x *confirmation) clockLine(now time.Time, running string) line {
	if x.last == nil || len(x.last.GetNameservers()) == 0 {
		return line{}
	}
	left, known := x.clockLeft(now)
	unknown := strings.Join(x.last.GetUnknown(), ", ")
	switch {
	case !known && x.withdraws && x.served > 0 && unknown != "":
		return line{yellow, "not known: " + unknown + " did not say what was answered"}
	case !known:
		return line{}
	}
	what, but := scopeText(x.scope), ""
	switch {
	case x.served == 0:
		but = "; not counting " + strings.Join(x.last.GetConvergence().GetMissing(), ", ") + ", where it is not served yet"
	case unknown != "":
		but = "; not counting " + unknown + ", which did not say what was answered"
	}
	if left > 0 {
		at := now.Add(left)
		return line{yellow, fmt.Sprintf(running, what, oclock(at, now), in(at, now)) + but + ttlText(x.last)}
	}
	l := line{green, "no compliant cache holds an answer with " + what + but}
	if but != "" {
		l.style = yellow
	}
	return l
}

func ttlText(p *pb.GetOverrideProgressResponse) string {
	if p.GetTtl() == 0 {
		return ""
	}
	return fmt.Sprintf("; the largest TTL handed out is %ds", p.GetTtl())
}

// answersLine tells whether queries are still answered with the scope.
func (x *confirmation) answersLine() line {
	if !x.withdraws || x.older != "" || len(x.samples) == 0 || len(x.samples[len(x.samples)-1].counts) == 0 {
		return line{} // nobody has said anything
	}
	still := x.stillAnswers()
	what := scopeText(x.scope)
	if len(still) == 0 {
		if x.served == 0 {
			return line{}
		}
		return line{green, "none with " + what}
	}
	why := ""
	if x.served > 0 {
		why = ", as the last resort: nothing else is healthy"
	}
	return line{yellow, fmt.Sprintf("still with %s in the last second: %s%s", what, strings.Join(still, ", "), why)}
}

// print closes what a command prints with what was confirmed.
func (x *confirmation) print(p *printer) {
	if x == nil || x.last == nil {
		return
	}
	c := x.last.GetConvergence()
	if len(c.GetServing()) > 0 {
		p.linef(plain, "served by %s (%d of %d)", strings.Join(c.GetServing(), ", "), len(c.GetServing()), len(c.GetServing())+len(c.GetMissing()))
	}
	if len(c.GetMissing()) > 0 {
		p.linef(yellow, "not served by %s", laggards(c))
	} else if len(c.GetServing()) == 0 {
		p.linef(yellow, "no nameserver is registered or connected")
	}
	if x.older != "" {
		if x.withdraws {
			p.linef(yellow, "%s", x.older)
		}
		return
	}
	if clock := x.clockLine(p.now, "the last compliant cache forgets %s at %s (%s)"); clock.text != "" {
		p.linef(clock.style, "drain clock: %s", clock.text)
	}
	if answers := x.answersLine(); answers.text != "" {
		p.linef(answers.style, "answers: %s", answers.text)
	}
	if p.wide && x.withdraws {
		x.printUsage(p)
	}
}

// printUsage tells, for every nameserver, what it answered with the scope.
func (x *confirmation) printUsage(p *printer) {
	t := newTable("NAMESERVER", "GENERATION", "LAST ANSWER WITH IT", ">TTL", "IN CACHES FOR", ">LAST RESORT")
	for _, n := range x.last.GetNameservers() {
		u := n.GetUsage()
		if u == nil {
			t.row(n.GetNameserver(), cell{"did not say", yellow})
			continue
		}
		last, ttl, cached := "none since it started", "", "-"
		if u.LastAnswerMillis != nil {
			last = millis(u.GetLastAnswerMillis()) + " ago"
		}
		if u.GetTtl() > 0 {
			ttl = fmt.Sprintf("%ds", u.GetTtl())
		}
		if u.GetCachedMillis() > 0 {
			cached = millis(u.GetCachedMillis())
		}
		t.row(n.GetNameserver(), generation(u.GetGeneration()).String(), last, ttl, cached, unlessZero(u.GetLastResortAnswers()))
	}
	if len(t.rows) > 0 {
		t.print(p)
	}
	text := fmt.Sprintf("committed after %s", human(x.committed.Round(time.Millisecond)))
	if x.served > 0 {
		text += ", served everywhere after " + human(x.served.Round(time.Millisecond))
	}
	if x.cached > 0 {
		text += ", out of compliant caches after " + human(x.cached.Round(time.Millisecond))
	}
	p.linef(plain, "%s", text)
}
