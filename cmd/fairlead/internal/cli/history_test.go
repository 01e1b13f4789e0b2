package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func sampleEvents() []*pb.AuditEvent {
	return []*pb.AuditEvent{
		{
			Time: timestamppb.New(noon.Add(-192 * time.Second)), Actor: "operator/alice", Peer: "192.0.2.7:40112", Action: "override-create",
			Subjects: []string{"overrides/19a8f2-01"}, Reason: "fibre cut, ticket 4711", RequestId: "cli-A", PreviousRevision: 38, Generation: gen(42),
		},
		{
			Time: timestamppb.New(noon.Add(-26 * time.Hour)), Actor: "admin/bob", Peer: "192.0.2.8:40113", Action: "apply",
			Subjects: []string{"regions/ap-south", "services/a.example.test", "services/b.example.test", "services/c.example.test", "services/d.example.test"},
			Reason:   "add\nap-south", PreviousRevision: 12, Generation: gen(38),
		},
	}
}

func sampleGenerations() []*pb.GenerationRecord {
	events := sampleEvents()
	return []*pb.GenerationRecord{
		{Generation: gen(42), Event: events[0], Kept: true},
		{Generation: gen(38), Event: events[1], Kept: true},
		{Generation: gen(12)},
	}
}

func TestHistory(t *testing.T) {
	printed(t, "history", &printer{}, func(p *printer) { generationTable(p, sampleGenerations()).print(p) })
	printed(t, "history-wide", &printer{wide: true}, func(p *printer) { generationTable(p, sampleGenerations()).print(p) })
	printed(t, "events", &printer{}, func(p *printer) { eventTable(p, sampleEvents()).print(p) })
	printed(t, "events-wide", &printer{wide: true}, func(p *printer) { eventTable(p, sampleEvents()).print(p) })
}

// Lists are read page by page, and no farther than wanted.
func TestHistoryInPages(t *testing.T) {
	var asked []string
	const all = 2500
	generations := func(r *pb.ListGenerationsRequest) (*pb.ListGenerationsResponse, error) {
		asked = append(asked, fmt.Sprintf("%d%s", r.GetPageSize(), r.GetPageToken()))
		from := 0
		fmt.Sscanf(r.GetPageToken(), "@%d", &from)
		resp := &pb.ListGenerationsResponse{}
		for i := from; i < min(from+int(r.GetPageSize()), all); i++ {
			resp.Generations = append(resp.Generations, &pb.GenerationRecord{Generation: gen(int64(all - i)), Kept: i < 2})
		}
		if next := from + len(resp.Generations); next < all {
			resp.NextPageToken = fmt.Sprintf("@%d", next)
		}
		return resp, nil
	}
	addr := serve(t, &fake{generations: generations, events: func(r *pb.ListEventsRequest) (*pb.ListEventsResponse, error) {
		resp, err := generations(&pb.ListGenerationsRequest{PageSize: r.GetPageSize(), PageToken: r.GetPageToken()})
		out := &pb.ListEventsResponse{NextPageToken: resp.GetNextPageToken()}
		for _, g := range resp.GetGenerations() {
			out.Events = append(out.Events, &pb.AuditEvent{Generation: g.GetGeneration(), Actor: "a", Reason: "x\ny"})
		}
		return out, err
	}})
	for _, c := range []struct {
		args  string
		lines int
		asked string
	}{
		{"config history", someEntries, "20"},
		{"config history --limit 3", 3, "3"},
		{"config history --limit 1500", 1500, "1000 500@1000"},
		{"config history --limit 0", all, "1000 1000@1000 1000@2000"},
		{"events --limit 2", 2, "2"},
		{"events --limit 0", all, "1000 1000@1000 1000@2000"},
	} {
		asked = nil
		r := run(t, "", append(strings.Fields(c.args), "-o", "name", "--controller", addr)...)
		r.want(t, exitDone)
		if n := strings.Count(r.out, "\n"); n != c.lines || strings.Join(asked, " ") != c.asked {
			t.Errorf("%s: %d lines, asked for %q", c.args, n, asked)
		}
	}
	// One event a line.
	r := run(t, "", "events", "--limit", "2", "-o", "json", "--controller", addr)
	r.want(t, exitDone)
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	if len(lines) != 2 {
		t.Fatalf("want 2 lines:\n%s", r.out)
	}
	for i, line := range lines {
		var e struct {
			Reason     string
			Generation struct{ Revision json.Number }
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Reason != "x\ny" || e.Generation.Revision.String() != fmt.Sprint(all-i) {
			t.Errorf("%s: %+v, %v", line, e, err)
		}
	}
	run(t, "", "__complete", "--controller", addr, "config", "rollback", "").want(t, exitDone, "1.2500\n1.2499\n:")
	run(t, "", "__complete", "--controller", addr, "config", "diff", "1.2500", "1.24").want(t, exitDone, "1.2499\n:")
}

func TestNoHistory(t *testing.T) {
	addr := serve(t, &fake{
		generations: func(*pb.ListGenerationsRequest) (*pb.ListGenerationsResponse, error) {
			return &pb.ListGenerationsResponse{}, nil
		},
		events: func(*pb.ListEventsRequest) (*pb.ListEventsResponse, error) { return &pb.ListEventsResponse{}, nil },
	})
	for args, want := range map[string]string{"config history": "no generation yet: begin with", "events": "no events"} {
		r := run(t, "", append(strings.Fields(args), "--controller", addr)...)
		r.want(t, exitDone, want)
		if r.out != "" {
			t.Errorf("%s: %q on stdout", args, r.out)
		}
	}
	if r := run(t, "", "events", "-o", "json", "--controller", addr); r.out+r.err != "" {
		t.Errorf("%q %q", r.out, r.err)
	}
}

func TestConfigDiff(t *testing.T) {
	var asked *pb.DiffGenerationsRequest
	a, b := parse(t, agent("a"))[0], parse(t, agent("b"))[0]
	addr := serve(t, &fake{diff: func(r *pb.DiffGenerationsRequest) (*pb.DiffGenerationsResponse, error) {
		asked = r
		if r.GetFrom().GetRevision() == 1 {
			return nil, status.Error(codes.NotFound, "generation 1.1 is not kept any more")
		}
		return &pb.DiffGenerationsResponse{Unchanged: 7, Changes: []*pb.Change{
			{Action: pb.ChangeAction_CHANGE_ACTION_CREATE, After: a}, {Action: pb.ChangeAction_CHANGE_ACTION_DELETE, Before: b},
		}}, nil
	}})
	run(t, "", "config", "diff", "1.5", "--controller", addr).want(t, exitDone,
		"+ agents/a\n- agents/b\nfrom generation 1.5 to the current one: 1 created, 0 updated, 1 deleted, 7 unchanged\n")
	if asked.GetTo() != nil {
		t.Errorf("asked for %v", asked)
	}
	run(t, "", "config", "diff", "1.5", "1.9", "--controller", addr).want(t, exitDone, "from generation 1.5 to 1.9: ")
	if asked.GetTo().GetRevision() != 9 {
		t.Errorf("asked for %v", asked)
	}
	if r := run(t, "", "config", "diff", "1.5", "-o", "name", "--controller", addr); r.out != "agents/a\nagents/b\n" {
		t.Errorf("%q", r.out)
	}
	run(t, "", "config", "diff", "1.1", "--controller", addr).want(t, exitFailed, "fairlead: generation 1.1 is not kept any more\n")
}

func TestRollback(t *testing.T) {
	var asked *pb.RollbackGenerationRequest
	var resp *pb.RollbackGenerationResponse
	addr := serve(t, &fake{
		rollback: func(r *pb.RollbackGenerationRequest) (*pb.RollbackGenerationResponse, error) {
			asked = r
			return resp, nil
		},
		status: func() (*pb.GetStatusResponse, error) {
			return &pb.GetStatusResponse{Nameservers: oneLate(12)}, nil
		},
	})
	a := parse(t, agent("a"))[0]
	resp = &pb.RollbackGenerationResponse{Generation: gen(12), Changes: []*pb.Change{{Action: pb.ChangeAction_CHANGE_ACTION_DELETE, Before: a}}}
	run(t, "", "config", "rollback", "1.5", "--reason", "wrong policy", "--controller", addr).want(t, exitDone,
		"- agents/a\nwent back to the configuration of generation 1.5: 0 created, 0 updated, 1 deleted; generation 1.12\n")
	if asked.GetReason() != "wrong policy" || asked.GetDryRun() || asked.GetRequestId() == "" || asked.GetGeneration().GetRevision() != 5 {
		t.Errorf("asked for %v", asked)
	}
	run(t, "", "config", "rollback", "1.5", "--reason", "x", "--wait", "20ms", "--controller", addr).want(t, exitNotConverged, "served by ns-1\n", "is not served by ns-2")
	run(t, "", "config", "rollback", "1.5", "--dry-run", "--controller", addr).want(t, exitDone, "would go back to the configuration of generation 1.5: create 0, update 0, delete 1; generation 1.12\n")
	if !asked.GetDryRun() {
		t.Errorf("asked for %v", asked)
	}
	resp.Changes = nil
	run(t, "", "config", "rollback", "1.5", "--reason", "x", "--controller", addr).want(t, exitDone, "the configuration is that of generation 1.5 already; nothing changes; generation 1.12\n")
}
