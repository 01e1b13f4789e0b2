package api

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead-dns/fairlead/controller/catalog"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

const (
	// endsKept is how long the end of a break-glass record is kept for nameservers
	// that were away: a record's time does not run while its nameserver is down.
	endsKept = 90 * 24 * time.Hour
	maxEnds  = 1000
)

// longOver tells of the ends of break-glass records that are kept no more.
func longOver(now time.Time) func(*pb.BreakGlassEnd) bool {
	return func(e *pb.BreakGlassEnd) bool { return e.GetCreateTime().AsTime().Before(now.Add(-endsKept)) }
}

// EndBreakGlass implements pb.OverrideServiceServer.
func (s *Server) EndBreakGlass(ctx context.Context, req *pb.EndBreakGlassRequest) (*pb.EndBreakGlassResponse, error) {
	for name, text := range map[string]string{"id": req.GetId(), "reason": req.GetReason()} {
		if err := required(name, text); err != nil {
			return nil, err
		}
	}
	resp := &pb.EndBreakGlassResponse{}
	out, err := s.change(ctx, change{
		id: req.GetRequestId(), action: "break-glass-end", reason: req.GetReason(), author: req.GetAuthor(), response: resp,
		request:    &pb.EndBreakGlassRequest{Id: req.GetId(), Reason: req.GetReason(), Author: req.GetAuthor(), Adopt: req.GetAdopt(), Force: req.GetForce()},
		breakGlass: fmt.Sprintf("fairlead override end %.80s --break-glass --reason REASON", req.GetId()),
		edit:       func(v *catalog.Version) (catalog.Edit, error) { return s.endBreakGlass(ctx, v, req, resp) },
		short: func() proto.Message {
			return &pb.EndBreakGlassResponse{End: resp.GetEnd(), Override: resp.GetOverride(), Removed: brief(resp.GetRemoved())}
		},
	})
	if err != nil {
		return nil, err
	}
	resp.Generation = generation(out.Generation)
	resp.Convergence = s.wait(ctx, out, req.GetWait().AsDuration())
	return resp, nil
}

func (s *Server) endBreakGlass(ctx context.Context, v *catalog.Version, req *pb.EndBreakGlassRequest, resp *pb.EndBreakGlassResponse) (catalog.Edit, error) {
	for _, e := range v.BreakGlassEnds {
		if e.GetId() != req.GetId() {
			continue
		}
		if req.GetAdopt() {
			return catalog.Edit{}, status.Errorf(codes.FailedPrecondition, "break-glass record %s was ended already, by %s (%s), and nothing goes on: make the override itself", e.GetId(), e.GetAuthor(), e.GetReason())
		}
		resp.End = e
		return catalog.Edit{}, nil
	}
	// Here, where whoever repeats the request does not come: the record is gone then.
	records, err := s.breakGlassRecords(req.GetId())
	if err != nil {
		return catalog.Edit{}, err
	}
	record := records[0].GetRecord()
	for _, st := range records {
		r := st.GetRecord()
		if err := mayOverride(ctx, v.Set, r.GetScope()); err != nil {
			return catalog.Edit{}, err
		}
		if req.GetAdopt() && (r.GetAction() != record.GetAction() || !proto.Equal(r.GetScope(), record.GetScope())) {
			return catalog.Edit{}, status.Errorf(codes.FailedPrecondition, "nothing was changed: nameservers hold different records %s (%s, and %s): end it without adopting it",
				record.GetId(), scopeText(record.GetScope()), scopeText(r.GetScope()))
		}
	}
	if req.GetAdopt() && len(records[0].GetNameservers()) == 0 {
		return catalog.Edit{}, status.Errorf(codes.FailedPrecondition, "break-glass record %s stands at no nameserver any more (%s), and nothing goes on: make the override itself",
			record.GetId(), record.GetEnded())
	}
	now := time.Now()
	over := longOver(now)
	if kept := slices.DeleteFunc(slices.Clone(v.BreakGlassEnds), over); len(kept) >= maxEnds {
		return catalog.Edit{}, status.Errorf(codes.ResourceExhausted, "%d ends of break-glass records are kept already, each for %v: end it at the nameservers (fairlead override end %s --break-glass)", len(kept), endsKept, req.GetId())
	}
	e := catalog.Edit{}
	if req.GetAdopt() {
		if e, err = s.adopt(ctx, v, record, req, resp); err != nil {
			return catalog.Edit{}, err
		}
	}
	resp.End = &pb.BreakGlassEnd{Id: record.GetId(), Author: author(ctx, req.GetAuthor()), Reason: req.GetReason(), CreateTime: timestamppb.New(now)}
	e.BreakGlassEnds, e.DropBreakGlassEnds = []*pb.BreakGlassEnd{resp.End}, over
	e.Subjects = append([]string{"breakglass/" + record.GetId() + " " + scopeText(record.GetScope())}, e.Subjects...)
	return e, nil
}

// breakGlassRecords are the records of an id that nameservers hold or have held:
// one, unless they were told different things.
func (s *Server) breakGlassRecords(id string) (records []*pb.BreakGlassStatus, err error) {
	var known []string
	for _, b := range s.opts.Feed.BreakGlass() {
		if b.GetRecord().GetId() == id {
			records = append(records, b)
		}
		known = append(known, b.GetRecord().GetId())
	}
	if len(records) == 0 {
		return nil, status.Errorf(codes.NotFound, "no nameserver told this controller of a break-glass record %.80q%s", id, config.Suggest(id, known))
	}
	return records, nil
}

// adopt makes what a record did the control plane's: the same override, or of an
// undrain the end of the drains in its scope.
func (s *Server) adopt(ctx context.Context, v *catalog.Version, record *pb.BreakGlassRecord, req *pb.EndBreakGlassRequest, resp *pb.EndBreakGlassResponse) (catalog.Edit, error) {
	if record.GetAction() == pb.BreakGlassAction_BREAK_GLASS_ACTION_UNDRAIN {
		return undrained(v, record, resp)
	}
	action, known := adopted[record.GetAction()]
	if !known {
		return catalog.Edit{}, status.Errorf(codes.FailedPrecondition, "break-glass record %s: this version cannot adopt its action (%v): end it without", record.GetId(), record.GetAction())
	}
	scope, err := canonicalScope(record.GetScope())
	if err != nil {
		return catalog.Edit{}, err
	}
	cur, err := s.compiled(v)
	if err != nil {
		return catalog.Edit{}, err
	}
	// It goes on for as long as it would have stood, and says why it was begun.
	remains := max(time.Duration(record.GetRemainingMillis())*time.Millisecond, time.Second) // 0 would be for ever
	if longest := cur.Plan.Safety.Drains.MaxExpiry; longest > 0 {
		remains = min(remains, longest)
	}
	made := &pb.CreateOverrideResponse{}
	a := ask{
		action: action, scope: scope, author: req.GetAuthor(), force: req.GetForce(), expireAfter: durationpb.New(remains),
		reason: cut(fmt.Sprintf("%s (break-glass %s by %s: %s)", req.GetReason(), record.GetId(), record.GetAuthor(), record.GetReason()), maxText),
	}
	e, err := s.decide(ctx, v, &a, made)
	resp.Override, resp.Safety = made.GetOverride(), made.GetSafety()
	return e, err
}

var adopted = map[pb.BreakGlassAction]pb.OverrideAction{
	pb.BreakGlassAction_BREAK_GLASS_ACTION_DRAIN:      pb.OverrideAction_OVERRIDE_ACTION_DRAIN,
	pb.BreakGlassAction_BREAK_GLASS_ACTION_FORCE_UP:   pb.OverrideAction_OVERRIDE_ACTION_FORCE_UP,
	pb.BreakGlassAction_BREAK_GLASS_ACTION_FORCE_DOWN: pb.OverrideAction_OVERRIDE_ACTION_FORCE_DOWN,
}

// undrained ends the drains that an undrain sets aside. It cannot end a part of
// one: ending the record alone would drain again what it has undrained.
func undrained(v *catalog.Version, record *pb.BreakGlassRecord, resp *pb.EndBreakGlassResponse) (catalog.Edit, error) {
	var wider []string
	scope := located(v.Set, record.GetScope())
	e, gone := removing(v, func(o *pb.Override) bool {
		if o.GetAction() != pb.OverrideAction_OVERRIDE_ACTION_DRAIN || slices.Contains(v.Scheduled, o) {
			return false
		}
		theirs := located(v.Set, o.GetScope())
		if within(theirs, scope) {
			return true
		}
		if meet(v.Set, theirs, scope) {
			wider = append(wider, o.GetId()+" of "+scopeText(o.GetScope()))
		}
		return false
	})
	if len(wider) > 0 {
		slices.Sort(wider)
		return catalog.Edit{}, status.Errorf(codes.FailedPrecondition,
			"nothing was changed: break-glass record %s undrains %s, and these drains hold more than that: %q: undrain them first, or end the record without adopting it, which drains %s again",
			record.GetId(), scopeText(record.GetScope()), wider, scopeText(record.GetScope()))
	}
	resp.Removed = withEtags(gone)
	return e, nil
}
