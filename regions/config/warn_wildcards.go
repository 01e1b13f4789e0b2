package config

import "strings"

// wildcards are the services that are wildcards.
type wildcards struct {
	zones map[string]string // by what they stand below
	known map[string]bool   // names that were looked at
	cut   map[string]*sample
	bases []string
}

// findWildcards notes the wildcards among services, which are sorted: an asterisk
// comes before all else that a name may begin with.
func findWildcards(services []named) (l wildcards) {
	for _, n := range services {
		base, ok := strings.CutPrefix(n.name, "*.")
		if !ok {
			break
		}
		if l.zones == nil {
			l.zones, l.known, l.cut = map[string]string{}, map[string]bool{}, map[string]*sample{}
		}
		l.zones[base] = n.r.GetService().GetSpec().GetZone()
	}
	return l
}

// look notes a service that makes a name exist which a wildcard of the same zone
// would answer for otherwise (RFC 4592 section 3.3.1): that of a parent of the
// service which is no service.
func (l *wildcards) look(set *Set, name, zone string, given bool) {
	if l.zones == nil {
		return
	}
	name = strings.TrimPrefix(name, "*.")
	_, at, _ := strings.Cut(name, ".")
	for at != "" {
		_, base, _ := strings.Cut(at, ".")
		if zone != "" && l.zones[base] == zone {
			break
		}
		at = base
	}
	if at == "" || l.known[at] {
		return
	}
	l.known[at] = true
	if set.Get(Key{KindService, at}) != nil || set.Get(Key{KindService, "*." + at}) != nil {
		return
	}
	_, base, _ := strings.Cut(at, ".")
	if l.cut[base] == nil {
		l.cut[base] = &sample{}
		l.bases = append(l.bases, base)
	}
	l.cut[base].add(at, given)
}

func (w *warner) wildcardsCut() {
	for _, base := range w.wildcard.bases {
		cut := w.wildcard.cut[base]
		w.addf(Key{KindService, "*." + base}, "", len(cut.given) > 0, "does not answer for %s, nor for what is below: services further down make these names exist (RFC 4592 section 3.3.1); "+
			"where they are meant, give them services of their own", cut.list(""))
	}
}
