package config

import (
	"slices"
	"strings"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/zone"
)

// records checks what the static records of zones and the rest of the set make
// of each other: the hook, for the zones that differ from the base by
// themselves or by their services, and records that another zone hides.
func (v *validator) records(o Options) {
	var touched map[string]bool
	if o.Base != nil {
		touched = touchedZones(Compare(o.Base, v.set).Changes)
	}
	inner := v.inner()
	var services map[string][]*pb.Service
	if o.Records != nil {
		services = v.services(touched)
	}
	told := v.told()
	for _, r := range v.set.ByKind(KindZone) {
		name := Name(r)
		if o.Base == nil || touched[name] || slices.ContainsFunc(inner[name], func(s string) bool { return o.Base.zone(s) == nil }) {
			c := checker{key: Key{KindZone, name}}
			for _, e := range zone.Hidden(name, r.GetZone().GetSpec().GetRecords(), inner[name]) {
				c.records(e)
			}
			v.errs = append(v.errs, c.errs...)
		}
		if o.Records == nil || o.Base != nil && !touched[name] {
			continue
		}
		for _, e := range o.Records(r.GetZone(), services[name]) {
			if e.Kind == "" {
				e.Kind, e.Name = KindZone, name
			}
			if told.has(e) {
				continue
			}
			v.errs = append(v.errs, e)
		}
	}
}

// inner lists the zones that lie in each zone, directly.
func (v *validator) inner() map[string][]string {
	zones := v.set.kind(kindIndex(KindZone))
	out := map[string][]string{}
	for _, n := range zones {
		if _, parent, ok := strings.Cut(n.name, "."); ok {
			if outer := closestZone(v.set, parent); outer != "" {
				out[outer] = append(out[outer], n.name)
			}
		}
	}
	return out
}

// services lists the services of each zone that is touched, but for those that
// are wrong so that the zone's check could only say so again. A nil map of
// touched zones means all.
func (v *validator) services(touched map[string]bool) map[string][]*pb.Service {
	out := map[string][]*pb.Service{}
	for _, n := range v.set.kind(kindIndex(KindService)) {
		s := n.r.GetService()
		zone := s.GetSpec().GetZone()
		if touched != nil && !touched[zone] || checkOwner(n.name) != "" || closestZone(v.set, n.name) != zone {
			continue
		}
		if n.name == zone && slices.ContainsFunc(s.GetSpec().GetEndpoints(), func(e *pb.Endpoint) bool { return e.GetCname() != "" }) {
			continue
		}
		out[zone] = append(out[zone], s)
	}
	return out
}

// tellings are the errors about zones that are known.
type tellings struct {
	zones map[string]bool
	lines map[FieldError]bool
}

func (v *validator) told() tellings {
	t := tellings{zones: map[string]bool{}, lines: map[FieldError]bool{}}
	for _, e := range v.errs {
		if e.Kind == KindZone {
			t.zones[e.Name] = true
			t.lines[e] = true
		}
	}
	return t
}

// has tells whether an error of the hook is known: the same one, or one about
// the zone as a whole where a field of it is wrong.
func (t tellings) has(e FieldError) bool {
	return t.lines[e] || e.Kind == KindZone && t.zones[e.Name] && !strings.HasPrefix(e.Path, "spec.records:")
}
