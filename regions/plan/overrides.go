package plan

import (
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
)

// Plan is the base with the overrides of a generation.
type Plan struct {
	*regions.Plan
	Compiled *Base
	// Ignored are the ids of overrides that this version does not understand.
	Ignored []string
}

// With adds the overrides and releases of a generation. One that this version does not
// understand is carried in the tree but not obeyed: an action of a newer version,
// or a scope with a field of a newer version, which would hold more endpoints
// here than its author meant.
func (b *Base) With(gen regions.Generation, o *pb.OverrideSet) *Plan {
	p := &regions.Plan{Base: b.Base, Generation: gen}
	p.Releases, p.ReleasedAt = releases(o.GetReleases())
	var ignored []string
	for _, o := range o.GetOverrides() {
		s := o.GetScope()
		action, known := actions[o.GetAction()]
		if !known || len(s.ProtoReflect().GetUnknown()) > 0 {
			ignored = append(ignored, o.GetId())
			continue
		}
		r := regions.Override{
			ID: o.GetId(), Action: action, Author: o.GetAuthor(), Reason: o.GetReason(),
			Scope: regions.Scope{Region: s.GetRegion(), AvailabilityZone: s.GetAvailabilityZone(), Service: s.GetService(), Endpoint: s.GetEndpoint()},
		}
		if o.GetCreateTime() != nil {
			r.Created = o.GetCreateTime().AsTime()
		}
		if o.GetExpireTime() != nil {
			r.Expires = o.GetExpireTime().AsTime()
		}
		p.Overrides = append(p.Overrides, r)
	}
	regions.SortOverrides(p.Overrides)
	return &Plan{Plan: p, Compiled: b, Ignored: ignored}
}

// releases returns the newest release of each latch, and when it was made.
func releases(list []*pb.LatchRelease) (trips map[string]uint64, at map[string]time.Time) {
	if len(list) == 0 {
		return nil, nil
	}
	trips, at = make(map[string]uint64, len(list)), make(map[string]time.Time, len(list))
	for _, r := range list {
		if had, ok := trips[r.GetLatch()]; ok && had >= r.GetTrip() {
			continue
		}
		trips[r.GetLatch()] = r.GetTrip()
		delete(at, r.GetLatch())
		if r.GetCreateTime() != nil {
			at[r.GetLatch()] = r.GetCreateTime().AsTime()
		}
	}
	return trips, at
}

var actions = map[pb.OverrideAction]regions.Action{
	pb.OverrideAction_OVERRIDE_ACTION_DRAIN:      regions.Drain,
	pb.OverrideAction_OVERRIDE_ACTION_FORCE_UP:   regions.ForceUp,
	pb.OverrideAction_OVERRIDE_ACTION_FORCE_DOWN: regions.ForceDown,
}
