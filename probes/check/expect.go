package check

import (
	"bytes"
	"fmt"
	"regexp"
	"regexp/syntax"
)

// Bounds on what a specification expects of a text, and on the text.
const (
	maxText        = 64 << 10
	maxPattern     = 4096
	maxExpression  = 1024
	maxInstruction = 2000
)

// pattern is what a text that a target sends must hold.
type pattern struct {
	contains []byte
	matches  *regexp.Regexp
}

// newPattern reads a pattern; text and expression are how the fields are called.
func newPattern(text, contains, expression, matches string) (pattern, error) {
	if len(contains) > maxPattern {
		return pattern{}, fmt.Errorf("%s of %d bytes: want at most %d", text, len(contains), maxPattern)
	}
	p := pattern{contains: []byte(contains)}
	if matches == "" {
		return p, nil
	}
	if len(matches) > maxExpression {
		return pattern{}, fmt.Errorf("%s of %d bytes: want at most %d", expression, len(matches), maxExpression)
	}
	parsed, err := syntax.Parse(matches, syntax.Perl)
	if err != nil {
		return pattern{}, fmt.Errorf("%s: %w; want an RE2 expression", expression, err)
	}
	// The time of a match is the product of the program and the text, and no
	// timeout ends it.
	if program, err := syntax.Compile(parsed.Simplify()); err != nil || len(program.Inst) > maxInstruction {
		return pattern{}, fmt.Errorf("%s: want fewer or smaller repetitions", expression)
	}
	p.matches, err = regexp.Compile(matches)
	if err != nil {
		return pattern{}, fmt.Errorf("%s: %w", expression, err)
	}
	return p, nil
}

func (p *pattern) empty() bool { return len(p.contains) == 0 && p.matches == nil }

// search looks for a pattern in a text as it comes in.
type search struct {
	*pattern
	// whole: the text has an end, and an expression may be about it, so that it is
	// matched then only.
	whole bool

	held, matched bool
	seen          int // of the text, when contains was looked for
	tried         int // of the text, when the expression was matched
	spent         int // bytes that the expression was matched against
}

// freely is how much an expression may be matched against whenever something
// comes in; after that only as the text grows by an eighth, so that a target that
// sends single bytes costs no more than others.
const freely = 256 << 10

// found tells whether the pattern is found in the text, which has grown since the
// last call; ended: and will not grow more.
func (s *search) found(text []byte, ended bool) bool {
	if !s.held {
		// What is found may begin in what was there before.
		from := max(0, s.seen-max(0, len(s.contains)-1))
		s.held = bytes.Contains(text[from:], s.contains)
		s.seen = len(text)
	}
	if !s.matched {
		due := ended || !s.whole && (s.spent < freely || len(text)-s.tried >= s.tried/8)
		if s.matches == nil {
			s.matched = true
		} else if due {
			s.matched = s.matches.Match(text)
			s.spent += len(text)
			s.tried = len(text)
		}
	}
	return s.held && s.matched
}
