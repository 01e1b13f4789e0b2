package plan

import (
	"fmt"
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

// With adds the overrides, releases and ends of break-glass of a generation. What
// is scheduled is not in force: a controller's write lets it begin.
func (b *Base) With(gen regions.Generation, o *pb.OverrideSet) *Plan {
	p := &regions.Plan{Base: b.Base, Generation: gen, BreakGlassEnds: breakGlassEnds(o.GetBreakGlassEnds())}
	p.Releases, p.ReleasedAt = releases(o.GetReleases())
	var ignored []string
	p.Overrides, ignored = Overrides(o.GetOverrides())
	return &Plan{Plan: p, Compiled: b, Ignored: ignored}
}

// Overrides returns overrides as the domain has them, sorted by id, and the ids of
// those that this version does not understand. These are carried in the tree but
// not obeyed: an action of a newer version, or a scope with a field of a newer
// version, which would hold more endpoints here than its author meant.
func Overrides(list []*pb.Override) (out []regions.Override, ignored []string) {
	for _, o := range list {
		scope, understood := scopeOf(o.GetScope())
		action, known := actions[o.GetAction()]
		if !known || !understood {
			ignored = append(ignored, o.GetId())
			continue
		}
		r := regions.Override{ID: o.GetId(), Action: action, Author: o.GetAuthor(), Reason: o.GetReason(), Scope: scope}
		if o.GetCreateTime() != nil {
			r.Created = o.GetCreateTime().AsTime()
		}
		if o.GetExpireTime() != nil {
			r.Expires = o.GetExpireTime().AsTime()
		}
		out = append(out, r)
	}
	regions.SortOverrides(out)
	return out, ignored
}

// BreakGlass returns what a break-glass record does. When it expires is the
// nameserver's to say, which counts that down.
func BreakGlass(r *pb.BreakGlassRecord) (regions.Override, error) {
	action, known := breakGlassActions[r.GetAction()]
	if !known {
		return regions.Override{}, fmt.Errorf("break-glass record %q: action %v is not known here: want drain, undrain, force-up or force-down", r.GetId(), r.GetAction())
	}
	scope, understood := scopeOf(r.GetScope())
	switch {
	case !understood:
		return regions.Override{}, fmt.Errorf("break-glass record %q: its scope has fields of a newer version", r.GetId())
	case scope == regions.Scope{}:
		return regions.Override{}, fmt.Errorf("break-glass record %q: no scope: want a region, a service or both", r.GetId())
	}
	o := regions.Override{ID: r.GetId(), Action: action, Origin: regions.BreakGlass, Scope: scope, Author: r.GetAuthor(), Reason: r.GetReason()}
	if r.GetCreateTime() != nil {
		o.Created = r.GetCreateTime().AsTime()
	}
	return o, nil
}

// scopeOf returns a scope; understood is false where a newer version wrote more
// into it than is known here.
func scopeOf(s *pb.OverrideScope) (scope regions.Scope, understood bool) {
	return regions.Scope{
		Region: s.GetRegion(), AvailabilityZone: s.GetAvailabilityZone(), Service: s.GetService(), Endpoint: s.GetEndpoint(),
	}, len(s.ProtoReflect().GetUnknown()) == 0
}

// breakGlassEnds returns, by record, by whom it ends and why.
func breakGlassEnds(list []*pb.BreakGlassEnd) map[string]string {
	if len(list) == 0 {
		return nil
	}
	out := make(map[string]string, len(list))
	for _, e := range list {
		out[e.GetId()] = fmt.Sprintf("by %s: %s", e.GetAuthor(), e.GetReason())
	}
	return out
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

var breakGlassActions = map[pb.BreakGlassAction]regions.Action{
	pb.BreakGlassAction_BREAK_GLASS_ACTION_DRAIN:      regions.Drain,
	pb.BreakGlassAction_BREAK_GLASS_ACTION_UNDRAIN:    regions.Undrain,
	pb.BreakGlassAction_BREAK_GLASS_ACTION_FORCE_UP:   regions.ForceUp,
	pb.BreakGlassAction_BREAK_GLASS_ACTION_FORCE_DOWN: regions.ForceDown,
}
