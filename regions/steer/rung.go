// Package steer chooses the endpoints that answer a client: the ladder of
// regions over effective state and the client's ranking. The nameserver
// answers with it and the controller explains with it, so an explanation
// cannot differ from an answer.
//
// It is pure; it may import regions and regions/geo. Its data are a plan and
// its rankings, which regions/plan and CompileRankings compile, the verdicts and
// latches that the controllers feed, and the time: what a hold-down or a ramp has
// come to is a function of how long verdicts hold.
package steer

// Rung is the step of a service's ladder that an answer stands on. The first
// rung on which any endpoint stands is taken:
//
//	in-service         endpoints that serve, in regions of which the stated
//	                   share of undrained endpoints is healthy, after a recovery
//	                   for the hold-down, and which wait for no release
//	healthy-anywhere   endpoints that serve, in any region, at once
//	drained            endpoints that are drained but healthy
//	all-down           the service's all-down policy:
//	  serve-all          every endpoint as if it were healthy
//	  serve-fallback     the fallback; without one of the family as serve-all
//	  keep-last          the endpoints that went down last
//	none               nothing is left: the service has no endpoint of the
//	                   family, or every one is forced down
//
// While a region's ramp runs it is in service for a part of the clients only,
// if another region is for all of them.
//
// All-down too takes drained endpoints only where there are no others, and
// forced-down ones never. Within a rung the client gets the first region of
// its ranking that has an endpoint on it; there, endpoints of weight 0 answer
// only where all have it.
type Rung uint8

// The rungs.
const (
	InService Rung = iota
	HealthyAnywhere
	DrainedHealthy
	AllDownServeAll
	AllDownFallback
	AllDownKeepLast
	None
)

func (r Rung) String() string {
	return [...]string{
		"in-service", "healthy-anywhere", "drained", "all-down: serve-all",
		"all-down: serve-fallback", "all-down: keep-last", "none",
	}[r]
}
