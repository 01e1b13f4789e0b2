package config

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func (c *checker) healthCheck(s *pb.HealthCheckSpec) {
	interval, intervalOK := c.duration("spec.interval", s.Interval, 100*time.Millisecond, time.Hour)
	timeout, timeoutOK := c.duration("spec.timeout", s.Timeout, time.Millisecond, time.Hour)
	if intervalOK && timeoutOK && timeout > interval {
		c.addf("spec.timeout", "%s is longer than the interval, %s: a probe must end before the next one", formatDuration(timeout), formatDuration(interval))
	}
	c.between("spec.rise", s.Rise, 1, 100)
	c.between("spec.fall", s.Fall, 1, 100)
	if d := s.GetConfirmInterval(); intervalOK && d.AsDuration() != 0 {
		c.duration("spec.confirmInterval", d, 100*time.Millisecond, interval)
	}
	c.enum("spec.quorum", s.GetQuorum())
	switch atLeast := s.GetQuorum() == pb.QuorumRule_QUORUM_RULE_AT_LEAST; {
	case atLeast && s.GetUnhealthyRegions() == 0:
		c.add("spec.unhealthyRegions", "required by `quorum: at-least`: how many regions must say unhealthy")
	case atLeast:
		c.between("spec.unhealthyRegions", s.GetUnhealthyRegions(), 1, MaxRegions)
	case s.GetUnhealthyRegions() != 0:
		c.add("spec.unhealthyRegions", "is only for `quorum: at-least`: set that, or remove it")
	}
	c.between("spec.vantages", s.GetVantages(), 0, MaxAgents)
	c.damping(s.GetDamping())
	c.enum("spec.addressFamily", s.GetAddressFamily())
	c.probe(s)
}

// The defaults of damping, which hold where it is in use.
const (
	defaultDampingHold    = 30 * time.Second
	defaultDampingMaxHold = 10 * time.Minute
)

func (c *checker) damping(d *pb.FlapDamping) {
	if d == nil {
		return
	}
	if d.GetOff() && (d.GetRecoveries() != 0 || d.GetHold() != nil || d.GetMaxHold() != nil) {
		c.add("spec.damping.off", "leaves the other fields without effect: remove it, or them")
	}
	if d.GetRecoveries() != 0 {
		c.between("spec.damping.recoveries", d.GetRecoveries(), 1, 50)
	}
	longest, ok := c.optional("spec.damping.maxHold", d.GetMaxHold(), defaultDampingMaxHold, time.Second, time.Hour)
	if hold, holdOK := c.optional("spec.damping.hold", d.GetHold(), defaultDampingHold, time.Second, time.Hour); ok && holdOK && hold > longest {
		c.addf("spec.damping.hold", "%s is longer than maxHold, %s", formatDuration(hold), formatDuration(longest))
	}
}

// optional is duration for one that has a default which is not filled in.
func (c *checker) optional(path string, d *durationpb.Duration, otherwise, low, high time.Duration) (time.Duration, bool) {
	if d == nil {
		return otherwise, true
	}
	return c.duration(path, d, low, high)
}

// maxRampSteps is how many steps a region comes back in.
const maxRampSteps = 10

func (c *checker) failback(f *pb.FailbackPolicy) {
	if f == nil {
		return
	}
	c.enum("spec.failback.mode", f.GetMode())
	c.optional("spec.failback.holdDown", f.GetHoldDown(), 0, 0, 24*time.Hour)
	c.optional("spec.failback.rampInterval", f.GetRampInterval(), time.Minute, time.Second, 24*time.Hour)
	if f.GetRampInterval() != nil && len(f.GetRampSteps()) == 0 {
		c.add("spec.failback.rampInterval", "has no effect without rampSteps, as [10, 50]")
	}
	if !c.atMost("spec.failback.rampSteps", len(f.GetRampSteps()), maxRampSteps) {
		return
	}
	for i, step := range f.GetRampSteps() {
		path := fmt.Sprintf("spec.failback.rampSteps[%d]", i)
		c.between(path, step, 1, 99)
		if i > 0 && step <= f.GetRampSteps()[i-1] {
			c.addf(path, "%d does not follow %d: the steps ascend", step, f.GetRampSteps()[i-1])
		}
	}
}

func (c *checker) agent(s *pb.AgentSpec) {
	c.required("spec.region", s.GetRegion(), aRegion)
	c.add("spec.address", checkHostPort(s.GetAddress(), "192.0.2.7:8082"))
	if c.atMost("spec.references", len(s.GetReferences()), maxReferences) {
		for i, at := range s.GetReferences() {
			if at == "" {
				c.add(fmt.Sprintf("spec.references[%d]", i), "is empty: want an address and a port, as 192.0.2.1:443")
			}
			c.add(fmt.Sprintf("spec.references[%d]", i), checkHostPort(at, "192.0.2.1:443"))
		}
		c.unique("spec.references", s.GetReferences())
	}
}

// SafetyPolicyName is the name of the one SafetyPolicy.
const SafetyPolicyName = "default"

const defaultFrozenAfter = 10 * time.Second

func (c *checker) safety(s *pb.SafetyPolicySpec) {
	if c.key.Name != SafetyPolicyName {
		c.addf("metadata.name", "%q: there is one SafetyPolicy only, and its name is %s", c.key.Name, SafetyPolicyName)
	}
	if g := s.GetGuard(); g != nil {
		c.enum("spec.guard.mode", g.GetMode())
		if g.GetMaxPercent() != 0 {
			c.between("spec.guard.maxPercent", g.GetMaxPercent(), 1, 100)
		}
		c.optional("spec.guard.window", g.GetWindow(), time.Minute, time.Second, time.Hour)
	}
	ages := s.GetHealthAges()
	frozen, ok := c.optional("spec.healthAges.frozenAfter", ages.GetFrozenAfter(), defaultFrozenAfter, time.Second, time.Hour)
	if open := ages.GetFailOpenAfter(); ok && open.AsDuration() != 0 {
		c.duration("spec.healthAges.failOpenAfter", open, frozen, 30*24*time.Hour)
	}
	c.drains(s.GetDrains())
}
