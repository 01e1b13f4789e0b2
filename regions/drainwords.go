package regions

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// maxNamed is how many regions or services one sentence names.
const maxNamed = 5

// names are the first of some names, and how many there are.
type names struct {
	first []string
	n     int
}

func (l *names) add(name string) {
	if l.n++; len(l.first) < maxNamed {
		l.first = append(l.first, name)
	}
}

// addf adds a name with something beside it.
func (l *names) addf(format string, args ...any) {
	if l.n++; len(l.first) < maxNamed {
		l.first = append(l.first, fmt.Sprintf(format, args...))
	}
}

func (l *names) addOnce(name string) {
	if !slices.Contains(l.first, name) {
		l.add(name)
	}
}

// list reads `a`, `a and b`, `a, b and c` or `a, b, c, d, e and 12 more`.
func (l *names) list() string { return l.joined("and") }

// anyOf reads like list, with or.
func (l *names) anyOf() string { return l.joined("or") }

func (l *names) joined(word string) string {
	parts := l.first
	if more := l.n - len(parts); more > 0 {
		parts = append(slices.Clone(parts), fmt.Sprintf("%d more", more))
	}
	switch n := len(parts); n {
	case 0:
		return "none"
	case 1:
		return parts[0]
	default:
		return strings.Join(parts[:n-1], ", ") + " " + word + " " + parts[n-1]
	}
}

// inBrackets is the list as an aside, or nothing.
func (l *names) inBrackets() string {
	if l.n == 0 {
		return ""
	}
	return " (" + l.list() + ")"
}

// counted reads `1 region`, `2 regions`.
func counted(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// number prints what may be a share of a whole number.
func number(x float64) string { return strconv.FormatFloat(math.Round(x*10)/10, 'f', -1, 64) }

func percent(x float64) string {
	return strconv.FormatFloat(math.Round(x*100)/100, 'f', -1, 64) + "%"
}

// undrain says which regions could come back first, where any could.
func undrain(drained names, need int) []string {
	switch {
	case drained.n == 0 || need > drained.n:
		return nil
	case drained.n == need:
		return []string{"undrain " + drained.list() + " first"}
	case need == 1:
		return []string{"undrain " + drained.anyOf() + " first"}
	default:
		return []string{fmt.Sprintf("undrain %d of %s first", need, drained.list())}
	}
}

// spare is what a region would give if it were undrained.
type spare struct {
	region string
	size   float64
}

// undrainFor says which regions, the largest first, would give what is needed; none
// where all of them would not.
func undrainFor(drained []spare, need float64) []string {
	slices.SortStableFunc(drained, func(a, b spare) int { return cmp.Compare(b.size, a.size) })
	var those names
	got := 0.0
	for _, s := range drained {
		if !exceeds(need, got) {
			break
		}
		those.add(s.region)
		got += s.size
	}
	if exceeds(need, got) {
		return nil
	}
	return undrain(those, those.n)
}

// narrower says how the same regions could be drained less.
func (t *tally) narrower(how string) []string {
	var whole names
	for _, s := range t.added {
		if s.Service == "" && s.Region != "" {
			whole.addOnce(s.Region)
		}
	}
	if whole.n == 0 {
		return nil
	}
	return []string{"drain " + whole.list() + " for " + how + " (--service)"}
}

// wouldPass says what would pass a rule, in an operator's words.
func wouldPass(options []string, overridable bool) string {
	text := strings.Join(options, ", or ")
	switch {
	case overridable && text == "":
		return "--force passes it"
	case overridable:
		return text + "; --force passes it"
	case text == "":
		return "nothing but another safety policy: the rule is absolute"
	default:
		return text + "; --force does not pass it, as the safety policy makes it absolute"
	}
}
