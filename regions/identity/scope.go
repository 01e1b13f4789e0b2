package identity

import "slices"

// Scope limits what a person may act on. The zero value is no limit: it
// means something for people only, so look at the role first.
//
// Zones and Services limit the names: everything in one of the zones, and the
// services besides. Regions limits in which regions the answers may change.
// Where both are given, both must hold.
//
//	zones or   regions   AllowsService            AllowsRegion R   AllowsZone Z
//	services             (zone Z, service S,      (all names       (all that is in it,
//	                     in regions R…)           in it)           in every region)
//	none       none      yes                      yes              yes
//	some       none      Z or S is listed         no               Z is listed
//	none       some      every R is listed        R is listed      no
//	some       some      both of the above        no               no
//
// An action on a service that stops at no region, such as a change of its TTL,
// has no R: a scope with regions never allows it.
//
// A wildcard service is one service: *.example.test in a scope is the service of
// that name, and never www.example.test.
type Scope struct {
	Zones, Services, Regions []string // canonical names, sorted, none twice
}

// All tells whether there is no limit: what belongs to no zone, service or
// region (steering policies, registrations, rollback) needs it.
func (s Scope) All() bool { return s.names() && len(s.Regions) == 0 }

// AllowsService tells whether a service may be acted on in the given regions;
// none means in all of them.
func (s Scope) AllowsService(zone, service string, regions []string) bool {
	if !s.names() && !slices.Contains(s.Zones, zone) && !slices.Contains(s.Services, service) {
		return false
	}
	if len(s.Regions) == 0 {
		return true
	}
	return len(regions) > 0 && !slices.ContainsFunc(regions, func(r string) bool { return !slices.Contains(s.Regions, r) })
}

// AllowsRegion tells whether a region may be acted on as a whole, which
// touches every service in it.
func (s Scope) AllowsRegion(region string) bool {
	return s.names() && (len(s.Regions) == 0 || slices.Contains(s.Regions, region))
}

// AllowsZone tells whether a zone may be acted on as a whole, which touches
// every name in it, in every region.
func (s Scope) AllowsZone(zone string) bool {
	return len(s.Regions) == 0 && (s.names() || slices.Contains(s.Zones, zone))
}

// names tells whether names are without limit.
func (s Scope) names() bool { return len(s.Zones) == 0 && len(s.Services) == 0 }

// Equal compares scopes; an empty list is a nil one.
func (s Scope) Equal(t Scope) bool {
	return slices.Equal(s.Zones, t.Zones) && slices.Equal(s.Services, t.Services) && slices.Equal(s.Regions, t.Regions)
}

// list is one of the three lists with what its URI calls it.
type list struct {
	kind  string
	names *[]string
	check func(string) string
}

// lists are the three in the order of the URI.
func (s *Scope) lists() [3]list {
	return [3]list{{"zone", &s.Zones, checkDomain}, {"service", &s.Services, checkOwner}, {"region", &s.Regions, checkLabel}}
}

// Sorted is the scope in canonical form: sorted, none twice.
func (s Scope) Sorted() Scope {
	for _, l := range s.lists() {
		if len(*l.names) == 0 {
			*l.names = nil
			continue
		}
		sorted := slices.Clone(*l.names)
		slices.Sort(sorted)
		*l.names = slices.Compact(sorted)
	}
	return s
}
