package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/fairlead-dns/fairlead/controller/catalog"
	"github.com/fairlead-dns/fairlead/controller/planner"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

// The safety rules are judged on the version that the head swap then compares:
// what they say of intent holds however many controllers drain at once. What they
// say of health is this controller's view, and recorded with the decision.

// judgeNew judges an override that is made: as things will stand when it begins.
func (s *Server) judgeNew(v *catalog.Version, gone []*pb.Override, made *pb.Override, force bool) (*pb.SafetyDecision, error) {
	before, at := v.Overrides, time.Now()
	if t := made.GetStartTime(); t != nil {
		at = t.AsTime()
		before = standingAt(v, at)
	}
	after := slices.DeleteFunc(slices.Clone(before), func(o *pb.Override) bool { return slices.Contains(gone, o) })
	return s.judge(v, before, append(after, made), at, force)
}

// standingAt lists what stands at a time to come, as far as is known.
func standingAt(v *catalog.Version, at time.Time) []*pb.Override {
	var out []*pb.Override
	for _, o := range slices.Concat(v.Overrides, v.Scheduled) {
		begun := o.GetStartTime() == nil || !o.GetStartTime().AsTime().After(at)
		if begun && (o.GetExpireTime() == nil || o.GetExpireTime().AsTime().After(at)) {
			out = append(out, o)
		}
	}
	return out
}

// judge judges a change of a version's overrides.
func (s *Server) judge(v *catalog.Version, before, after []*pb.Override, now time.Time, force bool) (*pb.SafetyDecision, error) {
	cur, err := s.compiled(v)
	if err != nil {
		return nil, err
	}
	healthy, st := s.sound(cur)
	in := regions.DrainInputs{Healthy: healthy, Now: now}
	in.Before, _ = plan.Overrides(before)
	in.After, _ = plan.Overrides(after)
	if v.ChangeTime != nil {
		in.LastChange = v.ChangeTime.AsTime()
	}
	d := cur.Plan.JudgeDrain(in)
	if held, which := s.outByBreakGlass(v, now); len(held) > 0 {
		// Without, so that what holds at some nameservers only excuses no drain at
		// all of them; and with, as it may hold at all of them.
		in.Before, in.After = append(in.Before, held...), append(in.After, held...)
		if with := cur.Plan.JudgeDrain(in); worse(with, d, force) {
			d = with
			for i, f := range d.Findings {
				if !f.Passed {
					d.Findings[i].Text += "; what break-glass holds counts as drained: " + which
				}
			}
		}
	}
	out := &pb.SafetyDecision{
		Allowed: len(d.Refused(force)) == 0, Controller: s.opts.Name,
		HealthAgeMillis: healthpb.Millis(st.EvidenceAge), HealthDigest: uint64(st.Digest), HealthReady: st.Ready,
	}
	out.Forced = out.Allowed && len(d.Refused(false)) > 0
	for _, f := range d.Findings {
		out.Findings = append(out.Findings, &pb.SafetyFinding{Rule: f.Rule, Passed: f.Passed, Text: f.Text, WouldPass: f.WouldPass, Overridable: f.Overridable})
	}
	for _, r := range d.Regions {
		out.Regions = append(out.Regions, &pb.SafetyRegion{
			Region: r.Region, Capacity: r.Capacity, Endpoints: uint32(r.Endpoints),
			DrainedBefore: uint32(r.DrainedBefore), DrainedAfter: uint32(r.DrainedAfter), HealthyAfter: uint32(r.HealthyAfter),
			InServiceBefore: r.Before, InServiceAfter: r.After,
		})
	}
	return out, nil
}

// worse tells whether a decision stands more against a change than another.
func worse(d, than regions.DrainDecision, force bool) bool {
	for _, force := range []bool{force, false} {
		if a, b := len(d.Refused(force)), len(than.Refused(force)); a != b {
			return a > b
		}
	}
	return false
}

// maxRecordsNamed is how many break-glass records one sentence names.
const maxRecordsNamed = 5

// outByBreakGlass lists what break-glass records take out at a time, of those that
// the control plane does not end, and says which they are. What they bring back is
// left out: it may be at few nameservers.
func (s *Server) outByBreakGlass(v *catalog.Version, at time.Time) (held []regions.Override, which string) {
	var names []string
	now := time.Now()
	for _, st := range s.opts.Feed.BreakGlass() {
		r := st.GetRecord()
		switch r.GetAction() {
		case pb.BreakGlassAction_BREAK_GLASS_ACTION_DRAIN, pb.BreakGlassAction_BREAK_GLASS_ACTION_FORCE_DOWN:
		default:
			continue
		}
		ended := slices.ContainsFunc(v.BreakGlassEnds, func(e *pb.BreakGlassEnd) bool { return e.GetId() == r.GetId() })
		if o, err := plan.BreakGlass(r); err == nil && !ended && len(st.GetNameservers()) > 0 && now.Add(healthpb.Age(r.GetRemainingMillis())).After(at) {
			held, names = append(held, o), append(names, r.GetId()+" of "+scopeText(r.GetScope()))
		}
	}
	if more := len(names) - maxRecordsNamed; more > 0 {
		names = append(names[:maxRecordsNamed], fmt.Sprintf("%d more", more))
	}
	return held, strings.Join(names, ", ")
}

// compiled is a version with its configuration compiled. That is done once for
// each configuration; here the overrides do not matter.
func (s *Server) compiled(v *catalog.Version) (*planner.Current, error) {
	cur := s.opts.Planner.Current()
	if cur != nil && cur.Set == v.Set {
		return cur, nil
	}
	c, err := planner.Compile(v, cur)
	if err != nil {
		return nil, status.Errorf(codes.FailedPrecondition, "nothing was changed: this controller cannot read generation %v, so it cannot hold the safety rules against it; ask one of the version that wrote it: %s",
			v.Generation, shorten(err.Error()))
	}
	return c, nil
}

// refusal is a change that the safety rules do not let pass.
type refusal struct {
	decision *pb.SafetyDecision
	against  []*pb.SafetyFinding
	subjects []string
	override *pb.Override
}

// refusedBy returns the refusal that a decision is, or nil. force tells what was
// tried.
func refusedBy(d *pb.SafetyDecision, force bool) *refusal {
	if d == nil || d.GetAllowed() {
		return nil
	}
	r := &refusal{decision: d}
	for _, f := range d.GetFindings() {
		if !f.GetPassed() && !(force && f.GetOverridable()) {
			r.against = append(r.against, f)
		}
	}
	return r
}

// Error names each rule, the numbers, and what would pass.
func (r *refusal) Error() string {
	var rules, texts []string
	for _, f := range r.against {
		rules = append(rules, f.GetRule())
		texts = append(texts, sentence(f))
	}
	return fmt.Sprintf("refused by safety rule %s, nothing was changed: %s", strings.Join(rules, " and "), strings.Join(texts, ". "))
}

// sentence is what a rule says, and what would pass.
func sentence(f *pb.SafetyFinding) string {
	if f.GetWouldPass() == "" {
		return f.GetText()
	}
	return f.GetText() + ". What would pass: " + f.GetWouldPass()
}

// maxDecision bounds the decision in an error, in bytes: it travels in a header, of
// which many clients take 8 KiB. In the audit trail it has the room that it needs.
const maxDecision = 2 << 10

// GRPCStatus makes it FAILED_PRECONDITION, with details for programs: of a decision
// on very many regions without these.
func (r *refusal) GRPCStatus() *status.Status {
	decision := r.decision
	if proto.Size(decision) > maxDecision {
		decision = proto.CloneOf(decision)
		decision.Regions = nil
	}
	st := status.New(codes.FailedPrecondition, r.Error())
	violations := &errdetails.PreconditionFailure{}
	for _, f := range r.against {
		violations.Violations = append(violations.Violations, &errdetails.PreconditionFailure_Violation{
			Type: "SAFETY_RULE", Subject: f.GetRule(), Description: shorten(sentence(f)),
		})
	}
	if detailed, err := st.WithDetails(violations, decision); err == nil {
		return detailed
	}
	return st
}

// auditWait is how long a refusal may take to be written.
const auditWait = 5 * time.Second

// audited writes a refusal to the audit trail, if err is one. It makes no
// difference to the caller whether that succeeds, nor to that whether the caller
// waits for it.
func (s *Server) audited(ctx context.Context, req catalog.Request, err error) {
	var r *refusal
	if !errors.As(err, &r) {
		return
	}
	why := catalog.Refusal{Subjects: r.subjects, Error: r.Error(), Safety: r.decision}
	if r.override != nil {
		why.Overrides = []*pb.Override{r.override}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditWait)
	defer cancel()
	if err := s.opts.Catalog.Refused(ctx, req, why); err != nil && !errors.Is(err, catalog.ErrTooManyRefusals) {
		s.opts.Log.Warn("a refusal is not in the audit trail", "action", req.Action, "err", err)
	}
}
