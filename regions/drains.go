package regions

import "time"

// The safety rules on what operators take out of service, by the names that
// the API and the policy call them.
const (
	RuleMinRegions           = "min-regions"
	RuleMinRegionsPerService = "min-regions-per-service"
	RuleMaxDrainedCapacity   = "max-drained-capacity"
	RuleCapacityDemand       = "capacity-demand"
	RuleProtectedService     = "protected-service"
	RuleQuietTime            = "quiet-time"
)

// DrainRules are the limits on what operators may take out of service. The
// defaults are in DefaultSafety.
type DrainRules struct {
	// MinRegions must stay in service.
	MinRegions int
	// MinRegionsPerService must stay in service for every service that has
	// endpoints in so many; for one in fewer, all of them.
	MinRegionsPerService int
	// MaxDrainedPercent of the stated capacity may be drained; of the number of
	// regions, where one of them states none. 100: all of it.
	MaxDrainedPercent int
	// HeadroomPercent more than the stated demand of all services must the capacity
	// of the regions in service be; -1: this is not asked for.
	HeadroomPercent int
	// QuietTime is how long after a change of overrides nothing is drained.
	QuietTime time.Duration
	// DefaultExpiry is for drains that state none; 0: until undrained.
	DefaultExpiry time.Duration
	// MaxExpiry bounds how long a drain stands; 0: any time.
	MaxExpiry time.Duration
	// Absolute rules are passed by nobody.
	Absolute []string
}

// DrainInputs is a change of overrides that is to be judged.
type DrainInputs struct {
	// Before and After are all overrides, in any order.
	Before, After []Override
	// Healthy tells whether an endpoint is healthy in any family before any
	// override, as an answer would count it: UNKNOWN as the last verdict, never
	// judged as the service says.
	Healthy func(service int32, endpoint int) bool
	// LastChange is when overrides changed last; zero: never.
	LastChange time.Time
	Now        time.Time
}

// DrainDecision is how the safety rules judge a change, and by what.
type DrainDecision struct {
	// Findings has every rule that is stated, those that are broken first.
	Findings []Finding
	// Regions by index.
	Regions []RegionInService
}

// Finding is what one rule says.
type Finding struct {
	Rule   string
	Passed bool
	// Text has the numbers, in a sentence.
	Text string
	// WouldPass is what would pass; empty when it passed.
	WouldPass string
	// Overridable: force passes it.
	Overridable bool
}

// RegionInService is a region as the rules saw it.
type RegionInService struct {
	Region   string
	Capacity uint64
	// Endpoints of all services; of them, those that are drained or forced down.
	Endpoints     int
	DrainedBefore int
	DrainedAfter  int
	// HealthyAfter are those that are healthy and neither.
	HealthyAfter int
	// In service: for one service at least, so many endpoints are healthy, of those
	// that are neither drained nor forced down, as its policy wants; by default one.
	Before, After bool
}

// Refused returns the findings that stand against the change, given whether it is
// made by force; none: it may be made.
func (d DrainDecision) Refused(force bool) []Finding {
	var out []Finding
	for _, f := range d.Findings {
		if !f.Passed && !(force && f.Overridable) {
			out = append(out, f)
		}
	}
	return out
}
