package catalog_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead-dns/fairlead/controller/catalog"
	"github.com/fairlead-dns/fairlead/controller/store"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func drain(id, region string) *pb.Override {
	return &pb.Override{
		Id: id, Action: pb.OverrideAction_OVERRIDE_ACTION_DRAIN, Scope: &pb.OverrideScope{Region: region}, Author: "ana", Reason: "fire",
	}
}

func ids(list []*pb.Override) string {
	var out []string
	for _, o := range list {
		out = append(out, o.GetId())
	}
	return strings.Join(out, " ")
}

// edited makes a change and returns the version with its event.
func edited(t *testing.T, c *catalog.Catalog, e catalog.Edit) (*catalog.Version, *pb.AuditEvent) {
	t.Helper()
	out, err := c.Change(t.Context(), catalog.Request{Action: "test", Actor: "operator/alice", Author: "ana"}, func(*catalog.Version) (catalog.Edit, error) {
		return e, nil
	})
	must(t, err)
	events, _, err := c.Events(t.Context(), store.EventQuery{Limit: 1})
	must(t, err)
	if g := events[0].GetGeneration(); g.GetRevision() != out.Generation.Revision || events[0].GetHead() != nil {
		t.Fatalf("the newest event is %v, want that of %v, without the head", events[0], out.Generation)
	}
	return out.Version, events[0]
}

// An event says what was and what is, and the override set when it changed.
func TestEventsSayWhatChanged(t *testing.T) {
	c, _ := open(t, startEtcd(t), nil)
	v, e := edited(t, c, catalog.Edit{Set: set(t, "a", "b")})
	if e.GetResult() != store.ResultDone || e.GetAuthor() != "ana" || len(e.GetChanges()) == 0 || e.GetChangesOmitted() != 0 || v.ChangeTime != nil {
		t.Errorf("the first: %v", e)
	}
	_, e = edited(t, c, catalog.Edit{Set: set(t, "a", "c")})
	var changes []string
	for _, ch := range e.GetChanges() {
		changes = append(changes, fmt.Sprint(ch.GetBefore().GetService().GetMetadata().GetName(), ">", ch.GetAfter().GetService().GetMetadata().GetName()))
	}
	if got := strings.Join(changes, " "); got != "b> >c" {
		t.Errorf("changes: %s", got)
	}

	one, two, later := drain("1", "eu"), drain("2", "us"), drain("3", "ap")
	v, e = edited(t, c, catalog.Edit{
		Overrides: []*pb.Override{two, one}, SetOverrides: true, Scheduled: []*pb.Override{later}, SetScheduled: true,
		Safety: &pb.SafetyDecision{Allowed: true, Forced: true},
	})
	if ids(v.Overrides) != "1 2" || ids(v.Scheduled) != "3" || ids(e.GetOverridesAfter()) != "1 2 3" || len(e.GetOverridesBefore())+len(e.GetChanges()) != 0 {
		t.Errorf("three: %v", e)
	}
	if e.GetResult() != store.ResultForced || !e.GetSafety().GetForced() || !proto.Equal(v.ChangeTime, e.GetTime()) {
		t.Errorf("forced: %v, changed at %v", e, v.ChangeTime)
	}
	changed := v.ChangeTime

	// What is scheduled changes no answer.
	refused := proto.CloneOf(later)
	refused.Refusal = "min-regions"
	v, e = edited(t, c, catalog.Edit{Scheduled: []*pb.Override{refused}, SetScheduled: true})
	if ids(e.GetOverridesBefore()) != "3" || ids(e.GetOverridesAfter()) != "3" || !proto.Equal(v.ChangeTime, changed) || ids(v.Overrides) != "1 2" {
		t.Errorf("a refusal is noted: %v, changed at %v", e, v.ChangeTime)
	}
	// Nor do overrides that stay as they are.
	v, e = edited(t, c, catalog.Edit{Overrides: []*pb.Override{one, two}, SetOverrides: true})
	if len(e.GetOverridesBefore())+len(e.GetOverridesAfter()) != 0 || !proto.Equal(v.ChangeTime, changed) {
		t.Errorf("nothing: %v", e)
	}
	// One begins, one is replaced, one ends.
	other := drain("4", "eu")
	v, e = edited(t, c, catalog.Edit{Overrides: []*pb.Override{other, later}, SetOverrides: true, SetScheduled: true})
	if ids(e.GetOverridesBefore()) != "1 2" || ids(e.GetOverridesAfter()) != "3 4" || len(v.Scheduled) != 0 || proto.Equal(v.ChangeTime, changed) {
		t.Errorf("one begins: %v", e)
	}

	// Ends of break-glass are added, replaced and dropped.
	end := func(id, reason string) *pb.BreakGlassEnd { return &pb.BreakGlassEnd{Id: id, Reason: reason} }
	edited(t, c, catalog.Edit{BreakGlassEnds: []*pb.BreakGlassEnd{end("bg-2", "x"), end("bg-1", "x")}})
	v, _ = edited(t, c, catalog.Edit{
		BreakGlassEnds:     []*pb.BreakGlassEnd{end("bg-3", "y"), end("bg-2", "y")},
		DropBreakGlassEnds: func(e *pb.BreakGlassEnd) bool { return e.GetId() == "bg-1" },
	})
	if len(v.BreakGlassEnds) != 2 || v.BreakGlassEnds[0].GetReason() != "y" || v.BreakGlassEnds[1].GetId() != "bg-3" {
		t.Errorf("ends: %v", v.BreakGlassEnds)
	}
	fresh, _ := open(t, startEtcd(t), nil)
	if v, err := fresh.Read(t.Context()); err != nil || v.Generation.Revision != 0 {
		t.Errorf("another store: %v, %v", v, err)
	}
}

// However much a change touches, its event has room.
func TestEventsAreBounded(t *testing.T) {
	c, _ := open(t, startEtcd(t), nil)
	var names []string
	for i := range 2000 {
		names = append(names, fmt.Sprintf("service-%04d-%s", i, strings.Repeat("x", 40)))
	}
	long := strings.Repeat("é", 500)
	edit := catalog.Edit{Set: set(t, names...), SetOverrides: true, SetScheduled: true, Safety: &pb.SafetyDecision{}}
	for i := range 500 {
		o := drain(fmt.Sprint("d", i), "eu")
		o.Reason = long
		edit.Overrides = append(edit.Overrides, o)
		edit.Scheduled = append(edit.Scheduled, drain(fmt.Sprint("s", i), "eu"))
		edit.Subjects = append(edit.Subjects, "overrides/"+o.GetId()+strings.Repeat("y", 200))
		edit.Safety.Regions = append(edit.Safety.Regions, &pb.SafetyRegion{Region: fmt.Sprint("region-", i), Endpoints: 1000})
	}
	for range 6 {
		edit.Safety.Findings = append(edit.Safety.Findings, &pb.SafetyFinding{Rule: "min-regions", Text: strings.Repeat(long, 10), WouldPass: strings.Repeat(long, 10)})
	}
	_, e := edited(t, c, edit)
	if n := proto.Size(e); n > store.MaxEventSize*9/10 {
		t.Errorf("an event of %d bytes", n)
	}
	if n := len(e.GetChanges()); n == 0 || uint32(n)+e.GetChangesOmitted() < 2000 {
		t.Errorf("%d changes, %d are omitted", n, e.GetChangesOmitted())
	}
	if len(e.GetOverridesAfter()) == 0 || len(e.GetSafety().GetFindings()) != 6 || len(e.GetSafety().GetRegions()) == 500 || len(edit.Safety.Regions) != 500 {
		t.Errorf("%d overrides, safety %v", len(e.GetOverridesAfter()), e.GetSafety())
	}
	if !strings.HasPrefix(e.GetSubjects()[len(e.GetSubjects())-1], "and ") {
		t.Errorf("the last subject is %s", e.GetSubjects()[len(e.GetSubjects())-1])
	}
	// All that is kept of overrides has a limit itself.
	edit.Overrides = nil
	for i := range 1000 {
		o := drain(fmt.Sprint("d", i), "eu")
		o.Reason = long + long
		edit.Overrides = append(edit.Overrides, o)
	}
	_, err := c.Change(t.Context(), catalog.Request{}, func(*catalog.Version) (catalog.Edit, error) { return edit, nil })
	if !errors.Is(err, catalog.ErrOverridesFull) {
		t.Errorf("2 MB of overrides: %v", err)
	}
	// Nor does it matter what a refusal says.
	req := catalog.Request{Action: "override-create", Reason: strings.Repeat(long, 20), Actor: strings.Repeat("a", 1<<20)}
	must(t, c.Refused(t.Context(), req, catalog.Refusal{
		Subjects: edit.Subjects, Error: strings.Repeat(long, 20), Safety: edit.Safety, Overrides: edit.Overrides,
	}))
}

// Refusals are in the audit trail, not in the history of generations, and not
// without end.
func TestRefused(t *testing.T) {
	e := startEtcd(t)
	c, _ := open(t, e, nil)
	first := change(t, c, "a")
	req := catalog.Request{ID: "r1", Action: "override-create", Actor: "operator/alice", Author: "bob", Peer: "192.0.2.1:1", Reason: "fire"}
	refusal := catalog.Refusal{
		Subjects: []string{"regions/eu"}, Error: "min-regions: 1 of 2 regions would be left", Overrides: []*pb.Override{drain("", "eu")},
		Safety: &pb.SafetyDecision{Findings: []*pb.SafetyFinding{{Rule: "min-regions"}}},
	}
	must(t, c.Refused(t.Context(), req, refusal))
	second := change(t, c, "b")
	must(t, c.Refused(t.Context(), req, refusal))

	events, _, err := c.Events(t.Context(), store.EventQuery{Match: func(e *pb.AuditEvent) bool { return e.GetResult() == store.ResultRefused }})
	if err != nil || len(events) != 2 {
		t.Fatalf("%d refusals, %v", len(events), err)
	}
	want := &pb.AuditEvent{
		Time: events[1].GetTime(), Actor: "operator/alice", Author: "bob", Peer: "192.0.2.1:1", Action: "override-create", Reason: "fire", RequestId: "r1",
		Result: "refused", Error: refusal.Error, Subjects: refusal.Subjects, Safety: refusal.Safety, OverridesAfter: refusal.Overrides,
		PreviousRevision: first.Revision, Generation: &pb.Generation{Epoch: first.Epoch, Revision: first.Revision},
	}
	if !proto.Equal(events[1], want) {
		t.Errorf("the event is %v, want %v", events[1], want)
	}
	records, _, err := c.History(t.Context(), 0, "")
	if err != nil || len(records) != 2 || records[0].Generation != second || records[1].Generation != first || !records[1].Kept {
		t.Errorf("history: %+v, %v", records, err)
	}
	if v, err := c.Generation(t.Context(), first); err != nil || names(v) != "a" {
		t.Errorf("the first generation: %v", err)
	}
	// The request may be made again, as nothing came of it.
	out, err := c.Change(t.Context(), req, func(v *catalog.Version) (catalog.Edit, error) {
		return catalog.Edit{SetOverrides: true, Overrides: []*pb.Override{drain("1", "eu")}}, nil
	})
	if err != nil || out.Repeated {
		t.Errorf("made after all: %+v, %v", out, err)
	}
	var tooMany bool
	for range 200 {
		if err := c.Refused(t.Context(), req, refusal); err != nil {
			if tooMany = errors.Is(err, catalog.ErrTooManyRefusals); !tooMany {
				t.Fatal(err)
			}
			break
		}
	}
	if !tooMany {
		t.Error("there is no end of refusals")
	}
	tail, err := c.Tail(t.Context(), store.FirstPosition)
	must(t, err)
	read, err := tail.Next(t.Context())
	must(t, err)
	if !slices.IsSortedFunc(read, func(a, b store.Positioned) int { return timeOf(a).Compare(timeOf(b)) }) {
		t.Error("they are not in order")
	}
}

func timeOf(e store.Positioned) time.Time { return e.GetTime().AsTime() }
