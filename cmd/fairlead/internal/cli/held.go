package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

// heldTimeout is how long a command that has done its work asks for what else holds
// the same endpoints.
const heldTimeout = 2 * time.Second

// held is what else holds endpoints of a scope: wider and narrower overrides are
// overrides of their own, and one that is forgotten would surprise.
type held struct {
	// all keep every endpoint of the scope out of the answers, parts some, or do
	// something else there.
	all, parts []*pb.Override
	scheduled  []*pb.Override
	// glass are the break-glass records that stand there.
	glass []*pb.BreakGlassStatus
}

// heldIn lists what holds endpoints of a scope, but what was removed just now. Where
// that cannot be listed, there is none: the change is made all the same.
func (c *client) heldIn(ctx context.Context, scope *pb.OverrideScope, but []*pb.Override) held {
	ctx, cancel := context.WithTimeout(ctx, heldTimeout)
	defer cancel()
	list, err := c.overrides(ctx)
	if err != nil {
		return held{}
	}
	gone := map[string]bool{}
	for _, o := range but {
		gone[o.GetId()] = true
	}
	return heldOf(list, gone, scope, c.placer(ctx))
}

// heldOf sorts a list of overrides.
func heldOf(list *pb.ListOverridesResponse, gone map[string]bool, scope *pb.OverrideScope, place func(*pb.OverrideScope) *pb.OverrideScope) (h held) {
	at := place(scope)
	for _, o := range list.GetOverrides() {
		switch where := place(o.GetScope()); {
		case gone[o.GetId()], !overlaps(where, at):
		case withdraws(o.GetAction()) && covers(o.GetScope(), at):
			h.all = append(h.all, o)
		default:
			h.parts = append(h.parts, o)
		}
	}
	for _, o := range list.GetScheduled() {
		if !gone[o.GetId()] && overlaps(place(o.GetScope()), at) {
			h.scheduled = append(h.scheduled, o)
		}
	}
	for _, b := range list.GetBreakGlass() {
		if stands(b.GetRecord()) && overlaps(place(b.GetRecord().GetScope()), at) {
			h.glass = append(h.glass, b)
		}
	}
	return h
}

func withdraws(a pb.OverrideAction) bool {
	return a == pb.OverrideAction_OVERRIDE_ACTION_DRAIN || a == pb.OverrideAction_OVERRIDE_ACTION_FORCE_DOWN
}

// placer tells of the scope of an endpoint in which region and availability zone it
// is. Each service is asked for once; of one that cannot be, it is not known.
func (c *client) placer(ctx context.Context) func(*pb.OverrideScope) *pb.OverrideScope {
	services := map[string][]*pb.Endpoint{}
	return func(s *pb.OverrideScope) *pb.OverrideScope {
		if s.GetEndpoint() == "" {
			return s
		}
		name := strings.ToLower(s.GetService())
		if _, ok := services[name]; !ok {
			services[name] = nil
			if r, err := c.one(ctx, config.KindService, name); err == nil {
				services[name] = r.GetService().GetSpec().GetEndpoints()
			}
		}
		for _, e := range services[name] {
			if strings.EqualFold(e.GetName(), s.GetEndpoint()) {
				s = proto.CloneOf(s)
				s.Region, s.AvailabilityZone = e.GetRegion(), e.GetAvailabilityZone()
				return s
			}
		}
		return s
	}
}

// overlaps tells whether two scopes may hold the same endpoint. Those of endpoints
// must be placed: a region and an endpoint that is not do not overlap.
func overlaps(a, b *pb.OverrideScope) bool {
	common := false
	for _, f := range [][2]string{
		{a.GetRegion(), b.GetRegion()}, {a.GetAvailabilityZone(), b.GetAvailabilityZone()},
		{a.GetService(), b.GetService()}, {a.GetEndpoint(), b.GetEndpoint()},
	} {
		if f[0] == "" || f[1] == "" {
			continue
		}
		if !strings.EqualFold(f[0], f[1]) {
			return false
		}
		common = true
	}
	// An endpoint that names no availability zone is in none.
	none := func(a, b *pb.OverrideScope) bool {
		return a.GetEndpoint() != "" && a.GetAvailabilityZone() == "" && b.GetAvailabilityZone() != ""
	}
	return common && !none(a, b) && !none(b, a)
}

// covers tells whether a scope holds every endpoint of another.
func covers(wide, narrow *pb.OverrideScope) bool {
	for _, f := range [][2]string{
		{wide.GetRegion(), narrow.GetRegion()}, {wide.GetAvailabilityZone(), narrow.GetAvailabilityZone()},
		{wide.GetService(), narrow.GetService()}, {wide.GetEndpoint(), narrow.GetEndpoint()},
	} {
		if f[0] != "" && !strings.EqualFold(f[0], f[1]) {
			return false
		}
	}
	return true
}

// against leaves what works against a lever: of one that takes endpoints out of the
// answers, what nameservers were told and lets them in; of the others, what keeps
// them out.
func (h held) against(l lever) held {
	out := l.withdraws()
	if out {
		h.all, h.parts = nil, nil
	}
	h.glass = slices.DeleteFunc(h.glass, func(b *pb.BreakGlassStatus) bool {
		switch b.GetRecord().GetAction() {
		case pb.BreakGlassAction_BREAK_GLASS_ACTION_UNDRAIN, pb.BreakGlassAction_BREAK_GLASS_ACTION_FORCE_UP:
			return !out
		}
		return out
	})
	return h
}

// print tells of them below what was changed.
func (h held) print(p *printer, what string) {
	if len(h.all) > 0 {
		p.linef(yellow, "%s stays out of the answers, because of:", what)
		overrideTable(p, h.all).print(p)
	}
	if len(h.parts) > 0 {
		p.linef(yellow, "still in force in %s:", what)
		overrideTable(p, h.parts).print(p)
	}
	if len(h.glass) > 0 {
		p.linef(yellow, "nameservers were told otherwise directly, and that counts more until it ends:")
		breakGlassTable(p, h.glass).print(p)
		for _, b := range h.glass {
			p.linef(plain, "end it with:")
			p.linef(bold, "  fairlead override end %s --reason TEXT", b.GetRecord().GetId())
		}
	}
}

// add adds them to a document for machines.
func (h held) add(d *document) {
	if others := append(h.all[:len(h.all):len(h.all)], h.parts...); len(others) > 0 {
		d.add("stillInForce", messages(others, d))
	}
	if len(h.glass) > 0 {
		d.add("breakGlass", messages(h.glass, d))
	}
}
