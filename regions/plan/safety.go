package plan

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
)

// The defaults of what a service leaves unset.
const (
	defaultRampInterval = time.Minute
	minMinTTL           = 1 // seconds
)

// safetyPolicyName is that of the one safety policy.
const safetyPolicyName = "default"

// safety returns the limits that a set states; the defaults where it does not.
func safety(set *config.Set) regions.Safety {
	out := regions.DefaultSafety()
	for _, r := range set.ByKind(config.KindSafetyPolicy) {
		p := r.GetSafetyPolicy()
		if p.GetMetadata().GetName() != safetyPolicyName {
			continue
		}
		out.Drains = drainRules(p.GetSpec().GetDrains())
		guard, ages := p.GetSpec().GetGuard(), p.GetSpec().GetHealthAges()
		out.Guard.AlarmOnly = guard.GetMode() == pb.GuardMode_GUARD_MODE_ALARM
		if n := guard.GetMaxPercent(); n > 0 {
			out.Guard.MaxPercent = int(min(n, 100))
		}
		setPositive(&out.Guard.Window, guard.GetWindow())
		setPositive(&out.Ages.FrozenAfter, ages.GetFrozenAfter())
		setPositive(&out.Ages.FailOpenAfter, ages.GetFailOpenAfter())
		if out.Ages.FailOpenAfter > 0 {
			// What fails open is no less stale than what is frozen.
			out.Ages.FailOpenAfter = max(out.Ages.FailOpenAfter, out.Ages.FrozenAfter)
		}
	}
	return out
}

func setPositive(d *time.Duration, stated *durationpb.Duration) {
	if v := stated.AsDuration(); v > 0 {
		*d = v
	}
}

// failback returns how a region of a service comes back. A step that is not
// above the one before it, or no share, is none.
func failback(s *pb.ServiceSpec) regions.Failback {
	f := s.GetFailback()
	out := regions.Failback{
		Manual:   f.GetMode() == pb.FailbackMode_FAILBACK_MODE_MANUAL,
		HoldDown: max(f.GetHoldDown().AsDuration(), 0),
	}
	last := uint32(0)
	for _, step := range f.GetRampSteps() {
		if step > last && step < 100 {
			out.RampSteps, last = append(out.RampSteps, int(step)), step
		}
	}
	if len(out.RampSteps) > 0 {
		out.RampInterval = defaultRampInterval
		setPositive(&out.RampInterval, f.GetRampInterval())
	}
	return out
}

// minTTL returns the TTL of a service near a change: half of it where nothing
// is stated, and never more than it.
func minTTL(s *pb.ServiceSpec) uint32 {
	ttl := uint32(s.GetTtl().GetSeconds())
	if s.GetMinTtl() == nil {
		return min(max(ttl/2, minMinTTL), ttl)
	}
	return min(max(uint32(max(s.GetMinTtl().GetSeconds(), 0)), minMinTTL), ttl)
}
