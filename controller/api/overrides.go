package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead-dns/fairlead/controller/catalog"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
)

const (
	// maxExpiry bounds how long an override stands that expires, and how far
	// away its start may be.
	maxExpiry = 366 * 24 * time.Hour
	// maxOverrides bounds those in force, and those in force and scheduled together
	// when one is scheduled, so that no more than twice as many come into force:
	// every one is held against every endpoint when a plan is evaluated. What is
	// scheduled keeps nobody from draining now.
	maxOverrides = 1000
	// lateStart is how long ago a start may be that is meant as now: clocks
	// differ, and requests take their time.
	lateStart = time.Minute
)

// ask is what a caller wants an override to be.
type ask struct {
	action               pb.OverrideAction
	scope                *pb.OverrideScope
	reason, author, etag string
	expireAfter          *durationpb.Duration // nil: as the policy says; 0: never
	start                *timestamppb.Timestamp
	force                bool
}

// drains tells whether the safety rules judge an action.
func drains(a pb.OverrideAction) bool {
	return a == pb.OverrideAction_OVERRIDE_ACTION_DRAIN || a == pb.OverrideAction_OVERRIDE_ACTION_FORCE_DOWN
}

// create makes an override, or with dryRun only says what it would be.
func (s *Server) create(ctx context.Context, a ask, c change, dryRun bool, wait time.Duration) (*pb.CreateOverrideResponse, error) {
	if err := a.validate(); err != nil {
		return nil, err
	}
	resp := &pb.CreateOverrideResponse{}
	c.action, c.reason, c.author, c.response = "override-create", a.reason, a.author, resp
	c.breakGlass = breakGlassCommand(a.action, a.scope, false)
	c.edit = func(v *catalog.Version) (catalog.Edit, error) { return s.decide(ctx, v, &a, resp) }
	if dryRun {
		v, err := s.try(ctx, c)
		var refused *refusal
		if err != nil && !errors.As(err, &refused) {
			return nil, err
		}
		resp.Generation = generation(v.Generation)
		return resp, nil
	}
	out, err := s.change(ctx, c)
	if err != nil {
		return nil, err
	}
	resp.Generation = generation(out.Generation)
	resp.Convergence = s.wait(ctx, out, wait)
	return resp, nil
}

func (a *ask) validate() error {
	if err := required("reason", a.reason); err != nil {
		return err
	}
	if d := a.expireAfter; d != nil {
		if err := d.CheckValid(); err != nil {
			return status.Errorf(codes.InvalidArgument, "expire_after: %v", err)
		}
		if d.AsDuration() < 0 || d.AsDuration() > maxExpiry {
			return status.Errorf(codes.InvalidArgument, "expire_after: %v, want 0 (never) to %v", d.AsDuration(), maxExpiry)
		}
	}
	if a.start != nil {
		if err := a.start.CheckValid(); err != nil {
			return status.Errorf(codes.InvalidArgument, "start_time: %v", err)
		}
	}
	return nil
}

func required(name, text string) error {
	if strings.TrimSpace(text) != "" {
		return nil
	}
	if name == "reason" {
		return status.Error(codes.InvalidArgument, "reason: required: say why, for those who find it later (--reason)")
	}
	return status.Errorf(codes.InvalidArgument, "%s: required", name)
}

// decide is what is to become of a version for an ask; it fills the response.
func (s *Server) decide(ctx context.Context, v *catalog.Version, a *ask, resp *pb.CreateOverrideResponse) (catalog.Edit, error) {
	if err := checkScope(v.Set, a.scope); err != nil {
		return catalog.Edit{}, err
	}
	if err := mayOverride(ctx, v.Set, a.scope); err != nil {
		return catalog.Edit{}, err
	}
	cur, err := s.compiled(v)
	if err != nil {
		return catalog.Edit{}, err
	}
	made, err := a.override(ctx, time.Now(), cur.Plan.Safety.Drains)
	if err != nil {
		return catalog.Edit{}, err
	}
	list, beside := v.Overrides, 0
	if made.GetStartTime() != nil {
		list, beside = v.Scheduled, len(v.Overrides) // it joins those
	}
	kept, gone, stands, err := a.against(list, made)
	switch {
	case err != nil:
		return catalog.Edit{}, err
	case stands != nil:
		resp.Override = withEtag(stands)
		return catalog.Edit{}, nil
	case len(kept)+beside >= maxOverrides:
		return catalog.Edit{}, status.Errorf(codes.ResourceExhausted, "%d overrides stand already or are scheduled, and %d is the most: remove some", len(kept)+beside, maxOverrides)
	}
	e := catalog.Edit{Subjects: subjects(append([]*pb.Override{made}, gone...)...)}
	if drains(a.action) {
		if e.Safety, err = s.judgeNew(v, gone, made, a.force); err != nil {
			return catalog.Edit{}, err
		}
		made.Forced = made.GetForced() || e.Safety.GetForced()
	}
	if made.GetStartTime() != nil {
		e.Scheduled, e.SetScheduled = append(kept, made), true
	} else {
		e.Overrides, e.SetOverrides = append(kept, made), true
	}
	resp.Override, resp.Safety = withEtag(made), e.Safety
	if r := refusedBy(e.Safety, a.force); r != nil {
		r.subjects, r.override = e.Subjects, made
		return catalog.Edit{}, r
	}
	return e, nil
}

// override is the override that is asked for.
func (a *ask) override(ctx context.Context, now time.Time, rules regions.DrainRules) (*pb.Override, error) {
	o := &pb.Override{
		Id: fmt.Sprintf("%x-%04x", now.UnixMilli(), rand.Uint32N(1<<16)), Action: a.action, Scope: a.scope,
		Author: author(ctx, a.author), Reason: a.reason, CreateTime: timestamppb.New(now),
	}
	start := now
	if a.start != nil {
		switch at := a.start.AsTime(); {
		case at.Before(now.Add(-lateStart)):
			return nil, status.Errorf(codes.InvalidArgument, "start_time: %s is over: leave it out to begin now", at.Format(time.RFC3339))
		case at.After(now.Add(maxExpiry)):
			return nil, status.Errorf(codes.InvalidArgument, "start_time: %s is more than %v away", at.Format(time.RFC3339), maxExpiry)
		case at.After(now):
			start, o.StartTime = at, a.start
			// Force travels with it: it is judged again when it begins.
			o.Forced = a.force && drains(a.action)
		}
	}
	lasts, err := lasts(a.expireAfter, rules)
	if err != nil {
		return nil, err
	}
	if lasts > 0 {
		o.ExpireTime = timestamppb.New(start.Add(lasts))
	}
	return o, nil
}

// lasts is how long an override stands; 0: until it is removed.
func lasts(asked *durationpb.Duration, rules regions.DrainRules) (time.Duration, error) {
	d := asked.AsDuration()
	switch longest := rules.MaxExpiry; {
	case asked == nil && rules.DefaultExpiry > 0:
		return rules.DefaultExpiry, nil
	case asked == nil:
		return longest, nil
	case longest > 0 && d == 0:
		return 0, status.Errorf(codes.InvalidArgument, "expire_after: 0 (never), and the safety policy lets nothing stand longer than %v (drains.maxExpiry)", longest)
	case longest > 0 && d > longest:
		return 0, status.Errorf(codes.InvalidArgument, "expire_after: %v, and the safety policy lets nothing stand longer than %v (drains.maxExpiry)", d, longest)
	}
	return d, nil
}

// against holds a new override against those that are there: what is kept beside
// it, what it replaces, or the one that stands and makes it superfluous. One that
// is cited by its etag is replaced, whatever it says.
func (a *ask) against(list []*pb.Override, made *pb.Override) (kept, gone []*pb.Override, stands *pb.Override, err error) {
	var same []*pb.Override
	for _, o := range list {
		if o.GetAction() == a.action && proto.Equal(o.GetScope(), a.scope) {
			same = append(same, o)
		} else {
			kept = append(kept, o)
		}
	}
	cited := -1
	if a.etag != "" {
		cited = slices.IndexFunc(same, func(o *pb.Override) bool { return etagOf(o) == a.etag })
		if cited < 0 {
			return nil, nil, nil, changedSince(a.etag, same)
		}
	}
	for i, o := range same {
		switch {
		case i == cited:
			gone = append(gone, o)
		case cited < 0 && (covers(o, made) || a.expireAfter == nil && made.GetStartTime() == nil):
			// Who does not say how long would make one that ends stand for ever.
			return nil, nil, o, nil
		case covers(made, o):
			gone = append(gone, o)
		default: // another window
			kept = append(kept, o)
		}
	}
	return kept, gone, nil, nil
}

// changedSince says that none of the overrides that stand has an etag.
func changedSince(etag string, stand []*pb.Override) error {
	if len(stand) == 0 {
		return status.Errorf(codes.Aborted, "nothing was changed: no such override stands any more (etag %.64q): list the overrides again, or leave the etag out", etag)
	}
	var now []string
	for _, o := range stand {
		now = append(now, fmt.Sprintf("%s by %s has %s", o.GetId(), o.GetAuthor(), etagOf(o)))
	}
	return status.Errorf(codes.Aborted, "nothing was changed: it was changed since it was read (%s, and not %.64q): list the overrides again, or leave the etag out", strings.Join(now, "; "), etag)
}

// covers tells whether a holds whenever b does, of two that are in force or two
// that are scheduled: of these, one without force may never begin.
func covers(a, b *pb.Override) bool {
	begins := b.GetStartTime() == nil || !a.GetStartTime().AsTime().After(b.GetStartTime().AsTime())
	ends := a.GetExpireTime() == nil || b.GetExpireTime() != nil && !a.GetExpireTime().AsTime().Before(b.GetExpireTime().AsTime())
	scheduled := a.GetStartTime() != nil && b.GetStartTime() != nil
	return begins && ends && (!scheduled || a.GetForced() || !b.GetForced())
}

// etagOf is the hash of what an override says.
func etagOf(o *pb.Override) string {
	bare := proto.CloneOf(o)
	bare.Etag = ""
	b, err := config.Canonical(bare)
	if err != nil {
		return "" // text that is not UTF-8, which none holds; it equals nothing
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// withEtag is an override as the API shows it.
func withEtag(o *pb.Override) *pb.Override {
	out := proto.CloneOf(o)
	out.Etag = etagOf(o)
	return out
}

func withEtags(list []*pb.Override) []*pb.Override {
	var out []*pb.Override
	for _, o := range list {
		out = append(out, withEtag(o))
	}
	return out
}
