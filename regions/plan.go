package regions

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Limits that validation holds and that tables are sized by.
const (
	MaxRegions          = 256
	MaxPolicies         = 64
	MaxServiceEndpoints = 256
	MaxAnswers          = 32
)

// Region is a failure domain. Regions are known by their index in the plan.
type Region struct {
	Name              string
	Latitude          float64
	Longitude         float64
	Capacity          uint64
	AvailabilityZones []string
}

// Policy is a steering policy compiled against the plan's regions.
type Policy struct {
	Name string
	// ActivePassive: the candidates' order is everybody's ranking. Otherwise
	// every client has its own, nearest first.
	ActivePassive bool
	Candidates    []uint16
	Bias          []int // by region
	Rules         []PolicyRule
	Default       []uint16
	MaxAnswers    int
	// MinHealthyPercent of a region's undrained endpoints keep it in service;
	// 0 means any one.
	MinHealthyPercent int
}

// Needed is how many of a region's undrained endpoints keep it in service.
func (p *Policy) Needed(undrained int32) int32 {
	return max(1, (undrained*int32(p.MinHealthyPercent)+99)/100)
}

// PolicyRule sends the clients that it matches to stated regions first.
type PolicyRule struct {
	Name         string
	Prefixes     []netip.Prefix
	Countries    []string
	Continents   []string
	Subdivisions []string
	Regions      []uint16
}

// AllDown is what a service answers when none of its endpoints is healthy.
type AllDown uint8

// The all-down policies.
const (
	ServeAll AllDown = iota
	ServeFallback
	KeepLast
)

func (a AllDown) String() string {
	return [...]string{"serve-all", "serve-fallback", "keep-last"}[a]
}

// Service is a steered owner name.
type Service struct {
	Name string // lower case, without the final dot
	Zone string
	TTL  uint32 // seconds
	// MinTTL is the TTL of answers that hang on a wavering target; 0, or TTL: it
	// never shrinks.
	MinTTL  uint32
	Policy  uint16
	Checked bool // has a health check
	// Spread is how far apart the verdicts on endpoints that fail at the same
	// moment may come: the check's interval and timeout together.
	Spread  time.Duration
	AllDown AllDown
	// NeverJudged counts for endpoints on which no verdict was ever passed.
	NeverJudged Status
	// Failback is how a region comes back after it was out by verdicts.
	Failback Failback
	// ClientRegionVerdicts: the verdicts of the vantages in the client's region
	// count, those of all where that region has none of its own. It says nothing
	// under an active-passive policy, whose rankings do not tell where a client is.
	ClientRegionVerdicts bool
	// Independent lets A and AAAA choose different regions.
	Independent bool
	// Names: the endpoints are host names and answers are CNAMEs.
	Names        bool
	Endpoints    []Endpoint
	Fallback     [2][]netip.Addr // by family
	FallbackName string          // FQDN with final dot
	// MinRegions is the fewest regions that drains must leave in service; -1: as
	// the policy says.
	MinRegions int
	// Protected: no drain touches its endpoints.
	Protected bool
	// Demand is what its clients ask for at the peak, in the unit of capacity; 0:
	// not stated.
	Demand uint64
}

// Endpoint is one target of a service in one region.
type Endpoint struct {
	Name             string
	Region           uint16
	AvailabilityZone string
	Weight           uint32
	Addr             [2]netip.Addr // by family; invalid when it has none
	CNAME            string        // FQDN with final dot
	// Target is the index of the probed target by family, -1 without one. A
	// name's target stands under V4.
	Target [2]int32
}

// Has tells whether the endpoint can answer for a family; a name counts as V4.
func (e *Endpoint) Has(f Family) bool { return e.Addr[f].IsValid() || (f == V4 && e.CNAME != "") }

// Target is one address or host name under one health check.
type Target struct {
	ID      string
	Check   string // the HealthCheck's name
	Address string
	// Services that have an endpoint with this target, by index, ascending.
	Services []int32
}

// Base is a compiled configuration. Immutable.
type Base struct {
	Regions  []Region // sorted by name
	Policies []Policy // sorted by name
	Services []Service
	Targets  []Target // sorted by id
	Safety   Safety

	regionIndex  map[string]uint16
	serviceIndex map[string]int32
	targetIndex  map[string]int32
}

// NewBase indexes the tables, which it takes over. Safety has its defaults.
func NewBase(regions []Region, policies []Policy, services []Service, targets []Target) *Base {
	b := &Base{
		Regions: regions, Policies: policies, Services: services, Targets: targets, Safety: DefaultSafety(),
		regionIndex:  make(map[string]uint16, len(regions)),
		serviceIndex: make(map[string]int32, len(services)),
		targetIndex:  make(map[string]int32, len(targets)),
	}
	for i := range regions {
		b.regionIndex[regions[i].Name] = uint16(i)
	}
	for i := range services {
		b.serviceIndex[services[i].Name] = int32(i)
	}
	for i := range targets {
		b.targetIndex[targets[i].ID] = int32(i)
	}
	return b
}

// Region returns the index of a region.
func (b *Base) Region(name string) (uint16, bool) { i, ok := b.regionIndex[name]; return i, ok }

// Service returns the index of a service by its owner name, in lower case
// and without the final dot.
func (b *Base) Service(name string) (int32, bool) { i, ok := b.serviceIndex[name]; return i, ok }

// Target returns the index of a target.
func (b *Base) Target(id string) (int32, bool) { i, ok := b.targetIndex[id]; return i, ok }

// RegionNames returns the names of regions by index.
func (b *Base) RegionNames(idx []uint16) []string {
	names := make([]string, len(idx))
	for i, r := range idx {
		names[i] = b.Regions[r].Name
	}
	return names
}

// Plan is a compiled configuration with the overrides and the releases of the
// same generation. Immutable.
type Plan struct {
	*Base
	Generation Generation
	Overrides  []Override // sorted by id
	// Releases holds, by latch, the trip that is released with all before it.
	Releases map[string]uint64
	// ReleasedAt holds, by latch, when that was.
	ReleasedAt map[string]time.Time
	// BreakGlassEnds holds, by the id of a break-glass record that the control
	// plane ends, by whom and why.
	BreakGlassEnds map[string]string
}

// Stands tells whether a latch of that name and trip waits for a release.
func (p *Plan) Stands(latch string, trip uint64) bool { return trip > p.Releases[latch] }

// SortOverrides sorts by id, the order in which a plan holds them.
func SortOverrides(o []Override) {
	slices.SortFunc(o, func(a, b Override) int { return strings.Compare(a.ID, b.ID) })
}
