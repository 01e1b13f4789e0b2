package authdns

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/fairlead-dns/fairlead/authdns/breakglass"
	"github.com/fairlead-dns/fairlead/authdns/follow"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
	"github.com/fairlead-dns/fairlead/regions/identity"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

// effectLimit bounds how long a call waits until answers are made by its change.
const effectLimit = 5 * time.Second

// breakGlass is the lever at this nameserver.
type breakGlass struct {
	pb.UnimplementedBreakGlassServiceServer
	s *Server
}

// CreateBreakGlass implements pb.BreakGlassServiceServer.
func (b *breakGlass) CreateBreakGlass(ctx context.Context, req *pb.CreateBreakGlassRequest) (*pb.CreateBreakGlassResponse, error) {
	rec, after := canonical(req.GetRecord()), req.GetExpireAfter().AsDuration()
	rec.Actor = actor(ctx)
	if rec.GetAuthor() == "" {
		rec.Author = rec.GetActor()
	}
	resp, err := b.create(ctx, rec, after)
	b.audit(ctx, "break-glass-create", rec, rec.GetReason(), err, "expire_after", after.String(), "replaced", ids(resp.GetReplaced()))
	return resp, err
}

func (b *breakGlass) create(ctx context.Context, rec *pb.BreakGlassRecord, after time.Duration) (*pb.CreateBreakGlassResponse, error) {
	serving, err := b.serving()
	if err != nil {
		return nil, err
	}
	if err := breakglass.Check(rec, after, serving.Plan.Base); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if err := mayHold(caller(ctx), rec, serving.Plan.Base); err != nil {
		return nil, err
	}
	if how, ended := serving.Plan.BreakGlassEnds[rec.GetId()]; ended && b.s.records.Find(rec.GetId(), time.Now()) == nil {
		return nil, status.Errorf(codes.FailedPrecondition, "the control plane has ended %s, %s; its own overrides count", rec.GetId(), how)
	}
	made, replaced, err := b.s.records.Create(rec, after, time.Now())
	if err != nil {
		return nil, toStatus(err)
	}
	if err := b.effective(ctx, rec.GetId()); err != nil {
		return nil, err
	}
	return &pb.CreateBreakGlassResponse{Record: made, Generation: generation(serving), Replaced: replaced}, nil
}

// EndBreakGlassRecord implements pb.BreakGlassServiceServer.
func (b *breakGlass) EndBreakGlassRecord(ctx context.Context, req *pb.EndBreakGlassRecordRequest) (*pb.EndBreakGlassRecordResponse, error) {
	rec := b.s.records.Find(req.GetId(), time.Now())
	resp, err := b.end(ctx, req, rec)
	if rec == nil {
		rec = &pb.BreakGlassRecord{Id: req.GetId()}
	}
	b.audit(ctx, "break-glass-end", rec, req.GetReason(), err)
	return resp, err
}

func (b *breakGlass) end(ctx context.Context, req *pb.EndBreakGlassRecordRequest, rec *pb.BreakGlassRecord) (*pb.EndBreakGlassRecordResponse, error) {
	if strings.TrimSpace(req.GetReason()) == "" {
		return nil, status.Error(codes.InvalidArgument, "reason: required")
	}
	if err := breakglass.CheckText("reason", req.GetReason()); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if rec == nil {
		return nil, status.Errorf(codes.NotFound, "no break-glass record %.80q at this nameserver", req.GetId())
	}
	base := regions.NewBase(nil, nil, nil, nil)
	if s := b.s.follower.Serving(); s != nil {
		base = s.Plan.Base
	}
	if err := mayHold(caller(ctx), rec, base); err != nil {
		return nil, err
	}
	ended, err := b.s.records.End(rec.GetId(), fmt.Sprintf("ended by %s: %s", actor(ctx), req.GetReason()), time.Now())
	if err != nil {
		return nil, toStatus(err)
	}
	if err := b.effective(ctx, rec.GetId()); err != nil {
		return nil, err
	}
	return &pb.EndBreakGlassRecordResponse{Record: ended}, nil
}

// ListBreakGlass implements pb.BreakGlassServiceServer.
func (b *breakGlass) ListBreakGlass(context.Context, *pb.ListBreakGlassRequest) (*pb.ListBreakGlassResponse, error) {
	now := time.Now()
	t, _ := b.s.records.Table(now)
	resp := &pb.ListBreakGlassResponse{Nameserver: b.s.opts.Name, Region: b.s.opts.Region, Records: t.GetRecords(), Trouble: t.GetTrouble()}
	if s := b.s.follower.Serving(); s != nil {
		resp.Generation, resp.Overrides, resp.HealthState = generation(s), s.Overrides, s.Health.String()
	}
	if age, ok := b.s.follower.HealthAge(now); ok {
		resp.HealthAgeMillis = healthpb.Millis(age)
	}
	return resp, nil
}

func (b *breakGlass) serving() (*follow.Serving, error) {
	s := b.s.follower.Serving()
	if s == nil {
		return nil, status.Error(codes.FailedPrecondition, "this nameserver serves no generation")
	}
	return s, nil
}

// effective waits until answers are made by the records as they stand, or says
// that they are not.
func (b *breakGlass) effective(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, effectLimit)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if s := b.s.follower.Serving(); s == nil || s.AnswersBy(b.s.records.Standing(time.Now(), s.Plan.BreakGlassEnds)) {
			return nil
		}
		select {
		case <-ctx.Done():
			return status.Errorf(codes.Unavailable, "%s was taken, and answers are not made by it after %s: say it again; if that goes on, this nameserver is stuck", id, effectLimit)
		case <-tick.C:
		}
	}
}

// audit says who did what, from where, and what became of it.
func (b *breakGlass) audit(ctx context.Context, action string, rec *pb.BreakGlassRecord, reason string, err error, more ...any) {
	result := "done"
	switch {
	case status.Code(err) == codes.Unavailable: // as effective says
		result = "done, not effective yet"
		more = append(more, "err", err)
	case err != nil:
		result = "refused"
		more = append(more, "err", err)
	}
	from := ""
	if p, ok := peer.FromContext(ctx); ok {
		from = p.Addr.String()
	}
	b.s.opts.Log.WarnContext(ctx, "audit", append([]any{
		"action", action, "result", result, "actor", actor(ctx), "peer", from, "id", rec.GetId(), "does", rec.GetAction().String(),
		"scope", scopeOf(rec.GetScope()).String(), "author", rec.GetAuthor(), "reason", reason,
	}, more...)...)
}

func scopeOf(s *pb.OverrideScope) regions.Scope {
	return regions.Scope{Region: s.GetRegion(), AvailabilityZone: s.GetAvailabilityZone(), Service: s.GetService(), Endpoint: s.GetEndpoint()}
}

func ids(records []*pb.BreakGlassRecord) string {
	var out []string
	for _, r := range records {
		out = append(out, r.GetId())
	}
	return strings.Join(out, " ")
}

// canonical is a record with names as the configuration has them, and without
// what is the nameserver's to say.
func canonical(r *pb.BreakGlassRecord) *pb.BreakGlassRecord {
	out := &pb.BreakGlassRecord{Id: r.GetId(), Action: r.GetAction(), Author: r.GetAuthor(), Reason: r.GetReason()}
	if r.GetScope() != nil {
		// With what a newer version says, which is refused.
		out.Scope = proto.CloneOf(r.GetScope())
		out.Scope.Region, out.Scope.AvailabilityZone = strings.ToLower(out.Scope.Region), strings.ToLower(out.Scope.AvailabilityZone)
		out.Scope.Service = strings.ToLower(strings.TrimSuffix(out.Scope.Service, "."))
	}
	return out
}

// mayHold refuses what is outside the caller's scope: a region needs all of it, a
// service its regions that are concerned.
func mayHold(id identity.Identity, rec *pb.BreakGlassRecord, base *regions.Base) error {
	o, err := plan.BreakGlass(rec)
	if err != nil { // of a newer version: what it concerns is not known
		if id.Scope.All() {
			return nil
		}
		return status.Errorf(codes.PermissionDenied, "%v: it needs a scope of everything", err)
	}
	allowed := false
	if o.Scope.Service == "" {
		allowed = id.Scope.AllowsRegion(o.Scope.Region)
	} else {
		zone, concerned := "", []string(nil)
		if i, ok := base.Service(o.Scope.Service); ok {
			s := &base.Services[i]
			zone = s.Zone
			for j := range s.Endpoints {
				e := &s.Endpoints[j]
				if name := base.Regions[e.Region].Name; o.Scope.Holds(s.Name, e.Name, name, e.AvailabilityZone) {
					concerned = append(concerned, name)
				}
			}
		}
		allowed = id.Scope.AllowsService(zone, o.Scope.Service, concerned)
	}
	if !allowed {
		return status.Errorf(codes.PermissionDenied, "%s is outside the scope of %s (%s)", o.Scope, id, id.Scope)
	}
	return nil
}

// actor is who calls, as the connection proved.
func actor(ctx context.Context) string {
	id := caller(ctx)
	if id.TrustDomain == "" {
		return id.Name
	}
	return id.Role.String() + "/" + id.Name
}

func toStatus(err error) error {
	for _, c := range []struct {
		is   error
		code codes.Code
	}{
		{breakglass.ErrNotKept, codes.FailedPrecondition},
		{breakglass.ErrTooMany, codes.ResourceExhausted},
		{breakglass.ErrTaken, codes.InvalidArgument},
		{breakglass.ErrUnknown, codes.NotFound},
	} {
		if errors.Is(err, c.is) {
			return status.Error(c.code, err.Error())
		}
	}
	return status.Error(codes.Internal, err.Error())
}

func generation(s *follow.Serving) *pb.Generation {
	return &pb.Generation{Epoch: s.Plan.Generation.Epoch, Revision: s.Plan.Generation.Revision}
}
