package catalog

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead-dns/fairlead/controller/store"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

// The parts of an audit event are bounded, in bytes; together they stay well
// below store.MaxEventSize, whatever a change touches. What is left out of it
// can be found while the generation is kept.
const (
	maxSubjects     = 32 << 10
	maxChanges      = 16 << 10 // the resources before and after
	maxOverrideText = 24 << 10 // the overrides, before and after together
	maxSafety       = 16 << 10
	maxText         = 2 << 10 // a reason, an author or an error
)

// newEvent is an event with what is said of every request.
func newEvent(req Request, result string, now *timestamppb.Timestamp) *pb.AuditEvent {
	return &pb.AuditEvent{
		Time: now, Actor: shorten(req.Actor), Peer: shorten(req.Peer), Action: shorten(req.Action), Reason: shorten(req.Reason),
		RequestId: req.ID, Author: shorten(req.Author), Result: result,
	}
}

// event is the audit event of a change.
func (e *Edit) event(req Request, before, after *plan.Tree, now *timestamppb.Timestamp) *pb.AuditEvent {
	result := store.ResultDone
	if e.Safety.GetForced() {
		result = store.ResultForced
	}
	ev := newEvent(req, result, now)
	ev.Subjects, ev.Safety = boundSubjects(e.Subjects), boundSafety(e.Safety)
	if e.Set != nil {
		ev.Changes, ev.ChangesOmitted = boundChanges(config.Compare(before.Set, after.Set).Changes)
	}
	was, is := overridesOf(before), overridesOf(after)
	ev.OverridesBefore, ev.OverridesAfter = boundOverrides(missingFrom(is, was, goesOn), missingFrom(was, is, same))
	return ev
}

// standing is an override and whether its time is to come.
type standing struct {
	*pb.Override
	scheduled bool
}

func overridesOf(t *plan.Tree) []standing {
	var all []standing
	for _, o := range t.Overrides {
		all = append(all, standing{o, false})
	}
	for _, o := range t.Scheduled {
		all = append(all, standing{o, true})
	}
	return all
}

// same tells whether an override is what it was.
func same(is, was standing) bool {
	return is.scheduled == was.scheduled && proto.Equal(is.Override, was.Override)
}

// goesOn tells whether what was has not ended: one that was scheduled and has begun
// has not.
func goesOn(is, was standing) bool { return was.scheduled && !is.scheduled || same(is, was) }

// missingFrom lists those of list for which there is none of their id in from that
// is as good.
func missingFrom(from, list []standing, asGood func(theirs, mine standing) bool) []*pb.Override {
	by := make(map[string]standing, len(from))
	for _, o := range from {
		by[o.GetId()] = o
	}
	var out []*pb.Override
	for _, o := range list {
		if is, ok := by[o.GetId()]; !ok || !asGood(is, o) {
			out = append(out, o.Override)
		}
	}
	return out
}

// boundChanges takes the changes that have room, the small ones of the first.
func boundChanges(changes []*pb.Change) (kept []*pb.Change, omitted uint32) {
	room := maxChanges
	for _, c := range changes {
		if n := proto.Size(c) + 8; n <= room {
			kept, room = append(kept, c), room-n
			continue
		}
		omitted++
	}
	return kept, omitted
}

// boundOverrides takes the overrides that have room; the subjects name them all.
func boundOverrides(before, after []*pb.Override) (_, _ []*pb.Override) {
	room := maxOverrideText
	fits := func(list []*pb.Override) []*pb.Override {
		for i, o := range list {
			if room -= proto.Size(o) + 8; room < 0 {
				return list[:i]
			}
		}
		return list
	}
	after = fits(after)
	return fits(before), after
}

// boundSafety leaves out the regions when there are too many.
func boundSafety(d *pb.SafetyDecision) *pb.SafetyDecision {
	if d == nil || proto.Size(d) <= maxSafety {
		return d
	}
	d = proto.CloneOf(d)
	for len(d.Regions) > 0 && proto.Size(d) > maxSafety {
		d.Regions = d.Regions[:len(d.Regions)/2]
	}
	for _, f := range d.GetFindings() {
		f.Text, f.WouldPass = shorten(f.GetText()), shorten(f.GetWouldPass())
	}
	return d
}

func boundSubjects(subjects []string) []string {
	size := 0
	for i, s := range subjects {
		if size += len(s) + 4; size > maxSubjects {
			return append(slices.Clone(subjects[:i]), fmt.Sprintf("and %d more", len(subjects)-i))
		}
	}
	return subjects
}

func shorten(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText-3], "") + "…"
}
