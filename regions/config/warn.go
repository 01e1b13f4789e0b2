package config

import (
	"fmt"
	"strings"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// Bounds on what is told of warnings.
const (
	maxWarnings = 100
	maxWarnedOf = 3 // names in one warning
)

// Warnings says what of a set is allowed and perhaps not meant, in the order of
// the kinds, each with what would be better. What is the same of several
// resources is said once.
func Warnings(set *Set) []string {
	var out []string
	for _, w := range warn(set, nil) {
		out = append(out, w.String())
	}
	return cut(out)
}

// WarningsOf are the warnings that one who changes base into next is told: those
// that base did not have, and those about a resource that was given, changed or
// not.
func WarningsOf(base, next *Set, given []*pb.Resource) []string {
	is := make(map[Key]bool, len(given))
	for _, r := range given {
		is[Key{Kind(r), canonicalName(Name(r))}] = true
	}
	list := warn(next, is)
	had := map[string]bool{}
	for _, w := range list {
		if !w.given {
			for _, w := range warn(base, nil) {
				had[w.String()] = true
			}
			break
		}
	}
	var out []string
	for _, w := range list {
		if text := w.String(); w.given || !had[text] {
			out = append(out, text)
		}
	}
	return cut(out)
}

func cut(list []string) []string {
	if n := len(list) - maxWarnings; n > 0 {
		list = append(list[:maxWarnings:maxWarnings], fmt.Sprintf("and %d more", n))
	}
	return list
}

// sample is a few of many names.
type sample struct {
	given, other []string // at most maxWarnedOf each
	n            int
}

func (s *sample) add(name string, given bool) {
	s.n++
	to := &s.other
	if given {
		to = &s.given
	}
	if len(*to) < maxWarnedOf {
		*to = append(*to, name)
	}
}

// list names the sample, those that were given first, and how many more there
// are: with quote as `"a", "b", "c" and 4 more`.
func (s *sample) list(quote string) string {
	names := append(s.given[:len(s.given):len(s.given)], s.other...)
	names = names[:min(len(names), maxWarnedOf)]
	text := quote + strings.Join(names, quote+", "+quote) + quote
	if more := s.n - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// warning is one sentence about one place of one resource or of several.
type warning struct {
	kind, path, message string
	of                  sample
	given               bool
}

// String reads like an error, as `services "a", "b" spec.ttl: message`.
func (w *warning) String() string {
	subject := Plural(w.kind)
	if w.of.n > 0 {
		subject += " " + w.of.list(`"`)
	}
	if w.path != "" {
		subject += " " + w.path
	}
	return subject + ": " + w.message
}

// warner finds what to warn of.
type warner struct {
	set   *Set
	given map[Key]bool

	list []*warning
	at   map[[3]string]*warning

	seen     vantages
	checks   map[string]*checkUse
	policies map[string]*policyUse
	checked  sample // services with a health check
	wildcard wildcards
	// safetyStated: a service states what drains must leave of it.
	safetyStated bool
	drains       drainUse
}

func warn(set *Set, given map[Key]bool) []*warning {
	w := &warner{
		set: set, given: given, at: map[[3]string]*warning{},
		checks: map[string]*checkUse{}, policies: map[string]*policyUse{},
	}
	w.lookAtAgents()
	for _, r := range set.ByKind(KindHealthCheck) {
		spec := r.GetHealthCheck().GetSpec()
		w.checks[Name(r)] = &checkUse{spec: spec, regions: w.seen.of(spec)}
	}
	for _, r := range set.ByKind(KindSteeringPolicy) {
		w.policies[Name(r)] = &policyUse{passive: r.GetSteeringPolicy().GetSpec().GetMode() == pb.SteeringMode_STEERING_MODE_ACTIVE_PASSIVE}
	}
	services := w.collect(w.services)
	list := w.collect(w.regions)
	list = append(list, w.collect(w.agents)...)
	list = append(list, w.collect(w.healthChecks)...)
	list = append(list, w.collect(w.steeringPolicies)...)
	list = append(list, w.collect(w.safety)...)
	list = append(list, w.collect(w.drainsOfPolicy)...)
	return append(list, services...)
}

// collect returns what was found by looking.
func (w *warner) collect(look func()) []*warning {
	w.list = nil
	look()
	return w.list
}

// add warns of a resource; one without a name is all of its kind. about says that
// what else the warning is about was given.
func (w *warner) add(key Key, path, message string, about bool) {
	given := w.given[key]
	id := [3]string{key.Kind, path, message}
	found := w.at[id]
	if found == nil {
		found = &warning{kind: key.Kind, path: path, message: message}
		w.at[id] = found
		w.list = append(w.list, found)
	}
	if key.Name != "" {
		found.of.add(key.Name, given)
	}
	found.given = found.given || given || about
}

func (w *warner) addf(key Key, path string, about bool, format string, args ...any) {
	w.add(key, path, fmt.Sprintf(format, args...), about)
}

// regions warns of where the control plane can stand.
func (w *warner) regions() {
	if names := w.set.Names(KindRegion); len(names) == 2 {
		about := w.given[Key{KindRegion, names[0]}] || w.given[Key{KindRegion, names[1]}]
		w.add(Key{Kind: KindRegion}, "", "there are two: etcd needs a member in a third place, or the loss of one of them can leave it without a quorum, "+
			"and then nothing can be changed or drained (answers and health go on); an agent fits there, too, as a witness", about)
	}
}
