// Package healthpb puts the values of regions/health on the wire and takes them
// off it. On the wire every moment is an age in milliseconds, so that clocks
// which differ do no harm (the receiver subtracts it from its own clock).
//
// It is pure, and imports regions, regions/health and the generated proto code.
package healthpb

import (
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
)

// MaxAge bounds the ages that are taken off the wire.
const MaxAge = 10 * 365 * 24 * time.Hour

// Status puts a status on the wire.
func Status(s regions.Status) pb.HealthStatus {
	switch s {
	case regions.Healthy:
		return pb.HealthStatus_HEALTH_STATUS_HEALTHY
	case regions.Unhealthy:
		return pb.HealthStatus_HEALTH_STATUS_UNHEALTHY
	default:
		return pb.HealthStatus_HEALTH_STATUS_UNKNOWN
	}
}

// ParseStatus takes a status off the wire. What is unset or of a newer version
// is unknown, and ok is false.
func ParseStatus(s pb.HealthStatus) (status regions.Status, ok bool) {
	switch s {
	case pb.HealthStatus_HEALTH_STATUS_HEALTHY:
		return regions.Healthy, true
	case pb.HealthStatus_HEALTH_STATUS_UNHEALTHY:
		return regions.Unhealthy, true
	case pb.HealthStatus_HEALTH_STATUS_UNKNOWN:
		return regions.Unknown, true
	default:
		return regions.Unknown, false
	}
}

// Age takes an age off the wire; what is absurdly large becomes MaxAge.
func Age(millis uint64) time.Duration {
	return time.Duration(min(millis, uint64(MaxAge/time.Millisecond))) * time.Millisecond
}

// Millis puts an age on the wire.
func Millis(age time.Duration) uint64 { return uint64(max(age, 0) / time.Millisecond) }

// Opinion puts an opinion on the wire.
func Opinion(target string, op health.Opinion, now time.Time) *pb.Opinion {
	o := &pb.Opinion{
		Target:            target,
		Status:            Status(op.Status),
		HeldMillis:        Millis(op.Held(now)),
		Reason:            op.Reason,
		RecentTransitions: uint32(op.Flaps(now)),
		Wavering:          op.Wavering(),
	}
	if !op.ObservedAt.IsZero() {
		o.ObservedMillis = Millis(now.Sub(op.ObservedAt))
	}
	return o
}

// Policy takes how ballots on a target are counted from its check. A rule of a
// newer version is the default.
func Policy(check *pb.HealthCheckSpec) health.Policy {
	p := health.Policy{UnhealthyRegions: int(min(check.GetUnhealthyRegions(), regions.MaxRegions))}
	switch check.GetQuorum() {
	case pb.QuorumRule_QUORUM_RULE_STRICT:
		p.Rule = health.Strict
	case pb.QuorumRule_QUORUM_RULE_ANY_HEALTHY:
		p.Rule = health.AnyHealthy
	case pb.QuorumRule_QUORUM_RULE_AT_LEAST:
		p.Rule = health.AtLeast
	}
	if d := check.GetDamping(); d != nil {
		p.Damping = health.Damping{
			Off: d.GetOff(), Recoveries: int(min(d.GetRecoveries(), health.MaxTransitions)),
			BaseHold: d.GetHold().AsDuration(), MaxHold: d.GetMaxHold().AsDuration(),
		}
	}
	return p
}
