package regions

import "time"

// Action is what an override does to the endpoints in its scope.
type Action uint8

// The actions, in ascending precedence, and then the weakest.
const (
	ForceUp Action = iota
	Drain
	ForceDown
	// Undrain sets the control plane's drains aside, so that the verdict counts.
	// Only break-glass has it: the control plane removes its drains instead.
	Undrain
)

func (a Action) String() string {
	return [...]string{"force-up", "drain", "force-down", "undrain"}[a]
}

// Origin is where an override was made.
type Origin uint8

// The origins. Break-glass is said to one nameserver directly, when the control
// plane cannot be reached, and goes before all that the control plane says.
const (
	ControlPlane Origin = iota
	BreakGlass
)

func (o Origin) String() string { return [...]string{"control-plane", "break-glass"}[o] }

// Scope selects the endpoints that match every field that is set. An empty
// scope holds nothing.
type Scope struct {
	Region           string
	AvailabilityZone string
	Service          string
	Endpoint         string
}

// Holds tells whether an endpoint, given by the names around it, is in the scope.
func (s Scope) Holds(service, endpoint, region, availabilityZone string) bool {
	return s != Scope{} &&
		(s.Region == "" || s.Region == region) &&
		(s.AvailabilityZone == "" || s.AvailabilityZone == availabilityZone) &&
		(s.Service == "" || s.Service == service) &&
		(s.Endpoint == "" || s.Endpoint == endpoint)
}

// String prints the scope as a person would say it.
func (s Scope) String() string {
	out := ""
	add := func(kind, name string) {
		if name == "" {
			return
		}
		if out != "" {
			out += ", "
		}
		out += kind + " " + name
	}
	add("region", s.Region)
	add("availability zone", s.AvailabilityZone)
	add("service", s.Service)
	add("endpoint", s.Endpoint)
	return out
}

// Override is operator intent. It never erases the verdict underneath, and
// it holds for as long as it is in the plan: a controller's write removes it
// when it expires, so that a nameserver without control plane keeps it.
type Override struct {
	ID      string
	Action  Action
	Origin  Origin
	Scope   Scope
	Author  string
	Reason  string
	Created time.Time
	Expires time.Time // zero: never
}

// OverrideIndex finds the overrides of an endpoint without trying all of them.
// Immutable.
type OverrideIndex struct {
	byService map[string][]*Override
	byRegion  map[string][]*Override
	others    []*Override
}

// IndexOverrides indexes overrides, which must not change any more.
func IndexOverrides(overrides []Override) *OverrideIndex {
	x := &OverrideIndex{}
	put := func(m *map[string][]*Override, key string, o *Override) {
		if *m == nil {
			*m = make(map[string][]*Override)
		}
		(*m)[key] = append((*m)[key], o)
	}
	for i := range overrides {
		o := &overrides[i]
		switch {
		case o.Scope.Service != "":
			put(&x.byService, o.Scope.Service, o)
		case o.Scope.Region != "":
			put(&x.byRegion, o.Scope.Region, o)
		default:
			x.others = append(x.others, o)
		}
	}
	return x
}

// Append appends the overrides whose scope holds an endpoint, given by the
// names around it, in no particular order.
func (x *OverrideIndex) Append(to []*Override, service, endpoint, region, availabilityZone string) []*Override {
	for _, list := range [...][]*Override{x.byService[service], x.byRegion[region], x.others} {
		for _, o := range list {
			if o.Scope.Holds(service, endpoint, region, availabilityZone) {
				to = append(to, o)
			}
		}
	}
	return to
}
