package plan

import (
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

// With adds the overrides of a generation. One that this version does not
// understand is carried in the tree but not obeyed: an action of a newer version,
// or a scope with a field of a newer version, which would hold more endpoints
// here than its author meant.
func (b *Base) With(gen regions.Generation, overrides []*pb.Override) *Plan {
	p := &regions.Plan{Base: b.Base, Generation: gen}
	var ignored []string
	for _, o := range overrides {
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

var actions = map[pb.OverrideAction]regions.Action{
	pb.OverrideAction_OVERRIDE_ACTION_DRAIN:      regions.Drain,
	pb.OverrideAction_OVERRIDE_ACTION_FORCE_UP:   regions.ForceUp,
	pb.OverrideAction_OVERRIDE_ACTION_FORCE_DOWN: regions.ForceDown,
}
