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
		RecentTransitions: uint32(op.RecentTransitions(now)),
	}
	if !op.ObservedAt.IsZero() {
		o.ObservedMillis = Millis(now.Sub(op.ObservedAt))
	}
	return o
}

// Vote puts a vote on the wire.
func Vote(v health.Vote, now time.Time) *pb.Vote {
	return &pb.Vote{
		Agent: v.Agent, Region: v.Region, Status: Status(v.Status), HeldMillis: Millis(v.Held(now)),
		Reason: v.Reason, Counted: v.Counted, WhyNot: v.WhyNot,
	}
}

// TargetHealth puts a verdict with its evidence on the wire.
func TargetHealth(target string, v health.Verdict, now time.Time) *pb.TargetHealth {
	t := &pb.TargetHealth{
		Target: target, Quorum: Status(v.Quorum), Verdict: Status(v.Last), HeldMillis: Millis(v.Held(now)),
		Votes: make([]*pb.Vote, len(v.Votes)),
	}
	for i, vote := range v.Votes {
		t.Votes[i] = Vote(vote, now)
	}
	return t
}

// ParseTargetHealth takes a verdict with its evidence off the wire. Statuses
// that it does not know are unknown.
func ParseTargetHealth(t *pb.TargetHealth, now time.Time) health.Verdict {
	v := health.Verdict{}
	v.Quorum, _ = ParseStatus(t.GetQuorum())
	v.Last, _ = ParseStatus(t.GetVerdict())
	if v.Last != regions.Unknown {
		v.Since = now.Add(-Age(t.GetHeldMillis()))
	}
	for _, w := range t.GetVotes() {
		vote := health.Vote{
			Agent: w.GetAgent(), Region: w.GetRegion(), Reason: w.GetReason(),
			Counted: w.GetCounted(), WhyNot: w.GetWhyNot(),
			Since: now.Add(-Age(w.GetHeldMillis())),
		}
		vote.Status, _ = ParseStatus(w.GetStatus())
		v.Votes = append(v.Votes, vote)
	}
	return v
}
