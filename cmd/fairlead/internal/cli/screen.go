package cli

import (
	"fmt"
	"strings"
	"time"
)

const (
	// quietFor is how long nothing is told where Err is no terminal: what is done by
	// then needs no words.
	quietFor = time.Second
	// sayAgain is how often something is told there that changes all the time.
	sayAgain = 10 * time.Second
)

// screen shows lines on stderr: on a terminal redrawn in place, leaving nothing
// behind; else one line when something has changed.
type screen struct {
	*app
	drawn int
	began time.Time
	said  map[string]said // by the words without numbers
}

// said is a line that was told, and when.
type said struct {
	text string
	at   time.Time
}

func (a *app) screen() *screen {
	return &screen{app: a, began: time.Now(), said: map[string]said{}}
}

func (s *screen) show(lines []line) {
	if s.Progress {
		s.draw(lines)
		return
	}
	if time.Since(s.began) < quietFor {
		return
	}
	for _, l := range lines {
		// Times and counts go on; that alone is told now and then.
		key := strings.Map(func(r rune) rune {
			if '0' <= r && r <= '9' || strings.ContainsRune("#.hms", r) {
				return -1
			}
			return r
		}, l.text)
		if last, ok := s.said[key]; ok && (last.text == l.text || time.Since(last.at) < sayAgain) {
			continue
		}
		s.said[key] = said{l.text, time.Now()}
		fmt.Fprintf(s.Err, "%s\n", clean(l.text))
	}
}

// draw draws over what was drawn before. Lines that are too long are cut by the
// terminal (DECAWM off), so that each takes one row.
func (s *screen) draw(lines []line) {
	var b strings.Builder
	b.WriteString("\x1b[?7l")
	s.up(&b)
	p := printer{colour: s.Colour}
	for _, l := range lines {
		b.WriteString(p.paint(l.style, clean(l.text)) + "\x1b[K\n")
	}
	b.WriteString("\x1b[J\x1b[?7h")
	s.drawn = len(lines)
	fmt.Fprint(s.Err, b.String())
}

func (s *screen) up(b *strings.Builder) {
	if s.drawn > 0 {
		fmt.Fprintf(b, "\r\x1b[%dA", s.drawn)
	}
}

// close removes what was drawn.
func (s *screen) close() {
	if s.drawn == 0 {
		return
	}
	var b strings.Builder
	s.up(&b)
	b.WriteString("\x1b[J")
	s.drawn = 0
	fmt.Fprint(s.Err, b.String())
}
