package zone

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Set is the zones that a nameserver is authoritative for. Immutable.
type Set struct {
	zones map[Name]*Zone
	depth int // the most labels that an origin has
}

// NewSet refuses two zones of one origin, and services that could never
// answer since another zone of the set has the name.
func NewSet(zones []*Zone) (*Set, error) {
	s := &Set{zones: make(map[Name]*Zone, len(zones))}
	var errs []error
	for _, z := range zones {
		if s.zones[z.Name] != nil {
			errs = append(errs, fmt.Errorf("zone %s is there twice", z.Origin))
		}
		s.zones[z.Name] = z
		s.depth = max(s.depth, z.Name.Labels())
	}
	for _, z := range s.Zones() {
		for _, n := range z.services {
			if other := s.Find(n.Name); other != z {
				errs = append(errs, fmt.Errorf("service %q is in zone %s, but zone %s answers for the name: put it there", n.Owner, z.Origin, other.Origin))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

// Find returns the zone with the longest origin at or above a name, or nil.
func (s *Set) Find(name Name) *Zone {
	for n := name.Ancestor(s.depth); ; n = n.Parent() {
		if z := s.zones[n]; z != nil {
			return z
		}
		if n == Root {
			return nil
		}
	}
}

// FindWire is Find for a name in a buffer: wire form, lower case,
// uncompressed. It does not allocate.
func (s *Set) FindWire(name []byte) *Zone { return s.Find(borrow(name)) }

// Zone returns the zone of an origin, or nil.
func (s *Set) Zone(origin Name) *Zone { return s.zones[origin] }

// Len counts the zones.
func (s *Set) Len() int { return len(s.zones) }

// Zones returns the zones, sorted by origin.
func (s *Set) Zones() []*Zone {
	out := make([]*Zone, 0, len(s.zones))
	for _, z := range s.zones {
		out = append(out, z)
	}
	slices.SortFunc(out, func(a, b *Zone) int { return strings.Compare(a.Origin, b.Origin) })
	return out
}
