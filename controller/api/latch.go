package api

import (
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead-dns/fairlead/controller/access"
	"github.com/fairlead-dns/fairlead/controller/catalog"
	"github.com/fairlead-dns/fairlead/controller/verdicts"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
	"github.com/fairlead-dns/fairlead/regions/steer"
)

// maxReleases bounds the releases that are kept, but for that of the guard.
const maxReleases = 10_000

// ReleaseLatch implements pb.OverrideServiceServer. The trip that is released is
// one that this controller knows; what trips afterwards stands.
func (s *Server) ReleaseLatch(ctx context.Context, req *pb.ReleaseLatchRequest) (*pb.ReleaseLatchResponse, error) {
	if err := required("reason", req.GetReason()); err != nil {
		return nil, err
	}
	latch, err := canonicalLatch(req.GetLatch())
	if err != nil {
		return nil, err
	}
	resp := &pb.ReleaseLatchResponse{}
	c := change{
		id: req.GetRequestId(), action: "latch-release", reason: req.GetReason(), author: req.GetAuthor(), response: resp,
		request: &pb.ReleaseLatchRequest{Latch: latch, Reason: req.GetReason(), Author: req.GetAuthor(), Trip: req.GetTrip()},
	}
	c.edit = func(v *catalog.Version) (catalog.Edit, error) {
		if err := mayRelease(ctx, v.Set, latch); err != nil {
			return catalog.Edit{}, err
		}
		// Here, where whoever repeats the request does not come: the latch that it
		// released stands no more.
		trip, err := s.trip(latch, req.GetTrip())
		if err != nil {
			return catalog.Edit{}, err
		}
		known := v.OverrideSet().GetReleases()
		drop := func(r *pb.LatchRelease) bool { return idle(v.Set, r) }
		others := 0
		for _, r := range known {
			switch {
			case r.GetLatch() != latch && !drop(r):
				others++
			case r.GetLatch() == latch && r.GetTrip() >= trip:
				resp.Release = r
				return catalog.Edit{}, nil
			}
		}
		if err := mayAdd(latch, known, others); err != nil {
			return catalog.Edit{}, err
		}
		resp.Release = &pb.LatchRelease{
			Latch: latch, Trip: trip, Author: author(ctx, req.GetAuthor()), Reason: req.GetReason(), CreateTime: timestamppb.Now(),
		}
		return catalog.Edit{Release: resp.Release, DropReleases: drop, Subjects: []string{"latches/" + latch}}, nil
	}
	out, err := s.change(ctx, c)
	if err != nil {
		return nil, err
	}
	resp.Generation = generation(out.Generation)
	resp.Convergence = s.wait(ctx, out, req.GetWait().AsDuration())
	return resp, nil
}

// mayAdd checks the bound on releases, of which so many others stay: one that
// replaces an earlier one of its latch makes them no more, and what the guard holds
// can always be released.
func mayAdd(latch string, known []*pb.LatchRelease, others int) error {
	replaces := slices.ContainsFunc(known, func(r *pb.LatchRelease) bool { return r.GetLatch() == latch })
	if others < maxReleases || replaces || latch == regions.GuardLatch {
		return nil
	}
	return status.Errorf(codes.ResourceExhausted, "%d releases are kept already: they go with the manual failback of their services", maxReleases)
}

// idle tells of a release that releases nothing: its service has no manual
// failback, so that controllers and nameservers have forgotten the latch.
func idle(set *config.Set, r *pb.LatchRelease) bool {
	service, _, ok := regions.SplitFailbackLatch(r.GetLatch())
	if !ok {
		return false
	}
	res := set.Get(config.Key{Kind: config.KindService, Name: service})
	return res.GetService().GetSpec().GetFailback().GetMode() != pb.FailbackMode_FAILBACK_MODE_MANUAL
}

// canonicalLatch is the name of a latch as it is kept.
func canonicalLatch(name string) (string, error) {
	if name == regions.GuardLatch {
		return name, nil
	}
	service, region, ok := regions.SplitFailbackLatch(strings.ToLower(name))
	if !ok {
		return "", status.Errorf(codes.InvalidArgument, "latch: %.300q: want failback/SERVICE/REGION or guard", name)
	}
	return regions.FailbackLatch(strings.TrimSuffix(service, "."), region), nil
}

// trip is the trip of a latch that is to be released: the one that stands, or
// the one that is asked for, if it is none to come.
func (s *Server) trip(latch string, asked uint64) (uint64, error) {
	st := s.opts.Judge.State()
	stands := uint64(0)
	var known []string
	if st.Guard.Trip > 0 {
		known = append(known, regions.GuardLatch)
		if latch == regions.GuardLatch {
			stands = st.Guard.Trip
		}
	}
	for _, l := range st.Latches {
		known = append(known, l.Name())
		if l.Name() == latch {
			stands = l.Trip
		}
	}
	switch {
	case stands == 0:
		return 0, status.Errorf(codes.NotFound, "no latch %q stands%s", latch, config.Suggest(latch, known))
	case asked > stands:
		return 0, status.Errorf(codes.NotFound, "latch %q stands at trip %d: there is no trip %d yet", latch, stands, asked)
	case asked != 0:
		return asked, nil
	}
	return stands, nil
}

// mayRelease checks the caller's scope: the guard concerns everything.
func mayRelease(ctx context.Context, set *config.Set, latch string) error {
	service, region, ok := regions.SplitFailbackLatch(latch)
	if !ok {
		return access.Everything(ctx, "the mass-withdrawal guard")
	}
	return mayOverride(ctx, set, &pb.OverrideScope{Service: service, Region: region})
}

// latchStatus lists the latches that stand.
func latchStatus(v *steer.View, st *verdicts.State, now time.Time) (out []*pb.LatchStatus) {
	for _, l := range st.Latches {
		out = append(out, &pb.LatchStatus{
			Latch:   &pb.Latch{Service: l.Service, Region: l.Region, Trip: l.Trip, HeldMillis: healthpb.Millis(now.Sub(l.Since))},
			Healthy: couldServe(v, l),
		})
	}
	return out
}

// couldServe tells whether a latched region has any endpoint that would answer.
func couldServe(v *steer.View, l regions.Latch) bool {
	i, ok := v.Plan.Service(l.Service)
	if !ok {
		return false
	}
	svc := &v.Plan.Services[i]
	for e := range svc.Endpoints {
		ep := &svc.Endpoints[e]
		if v.Plan.Regions[ep.Region].Name != l.Region {
			continue
		}
		for _, f := range []regions.Family{regions.V4, regions.V6} {
			if ep.Has(f) && v.Effect(i, e, f).Serves() {
				return true
			}
		}
	}
	return false
}

func guardStatus(st *verdicts.State, now time.Time) *pb.GuardStatus {
	g := st.Guard
	if g.Trip == 0 || g.Held == 0 {
		return nil
	}
	return &pb.GuardStatus{Trip: g.Trip, Targets: g.Targets, Held: uint32(g.Held), Reason: g.Reason, HeldMillis: age(now, g.Since)}
}
