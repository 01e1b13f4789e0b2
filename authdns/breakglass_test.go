package authdns

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

// identifyByHeader takes the caller's word for who it is, in place of a
// certificate: alice, an operator of a role and a scope.
func identifyByHeader(ctx context.Context) (identity.Identity, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	who := strings.Join(md.Get("who"), "")
	return identity.Parse("spiffe://fairlead/" + who)
}

func as(t *testing.T, who string) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), "who", who)
}

// logs is where a server logs to while it is read.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) lines(with string) (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		if strings.Contains(line, with) {
			out = append(out, line)
		}
	}
	return out
}

func drainRequest(id, region string) *pb.CreateBreakGlassRequest {
	return &pb.CreateBreakGlassRequest{
		Record: &pb.BreakGlassRecord{
			Id: id, Action: pb.BreakGlassAction_BREAK_GLASS_ACTION_DRAIN, Scope: &pb.OverrideScope{Region: region}, Reason: "flood",
		},
		ExpireAfter: durationpb.New(time.Hour),
	}
}

// The lever from end to end, with the answers: it works without any controller, is
// there after a restart, is told to controllers, and ends as it should.
func TestBreakGlass(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "snapshots")
	c := startController(t)
	c.publish(t)
	c.judge(map[string]pb.HealthStatus{"10": up, "20": up, "30": up})
	out := &logs{}
	o := options(t, dir, c.addr)
	o.Log = slog.New(slog.NewTextHandler(out, nil))
	s := run(t, o)
	client := pb.NewBreakGlassServiceClient(s.grpc)
	if _, err := client.CreateBreakGlass(t.Context(), &pb.CreateBreakGlassRequest{}); status.Code(err) != codes.InvalidArgument && status.Code(err) != codes.FailedPrecondition {
		t.Errorf("nothing: %v", err)
	}
	s.eventually("www.example.test.", "192.0.2.10")
	made, err := client.CreateBreakGlass(t.Context(), drainRequest("bg-1", "EU-West"))
	if err != nil {
		t.Fatal(err)
	}
	if r := made.GetRecord(); r.GetAuthor() != "anonymous" || r.GetActor() != "anonymous" || r.GetScope().GetRegion() != "eu-west" || r.GetRemainingMillis() == 0 ||
		r.GetCreateTime() == nil || made.GetGeneration().GetRevision() != 5 {
		t.Errorf("%v", made)
	}
	// In force when the call returns.
	s.want("www.example.test.", "192.0.2.20")
	x, err := pb.NewInsightServiceClient(s.grpc).Explain(t.Context(), &pb.ExplainRequest{Name: "www.example.test", Client: "193.0.6.139", Type: "a"})
	if err != nil || len(x.GetBreakGlass()) != 1 || x.GetBreakGlass()[0].GetId() != "bg-1" || x.GetType() != "A" || len(x.GetOverrides()) != 0 {
		t.Errorf("%v %v", x, err)
	}
	c.eventually(t, "told of bg-1", func() bool { return c.standing() == "bg-1" })
	if lines := out.lines("msg=audit"); len(lines) != 2 || !strings.Contains(lines[0], "result=refused") ||
		!strings.Contains(lines[1], "action=break-glass-create result=done actor=anonymous peer=127.0.0.1:") || !strings.Contains(lines[1], `id=bg-1 does=BREAK_GLASS_ACTION_DRAIN scope="region eu-west" author=anonymous reason=flood expire_after=1h0m0s`) {
		t.Errorf("%q", lines)
	}
	// No controller, a restart: it stands.
	c.stop()
	s.stop()
	s = run(t, options(t, dir, c.addr))
	s.want("www.example.test.", "192.0.2.20")
	client = pb.NewBreakGlassServiceClient(s.grpc)
	list, err := client.ListBreakGlass(t.Context(), &pb.ListBreakGlassRequest{})
	if err != nil || list.GetNameserver() != "ns-1" || list.GetRegion() != "eu-west" || len(list.GetRecords()) != 1 || list.GetGeneration().GetRevision() != 5 ||
		list.GetTrouble() != "" || list.GetHealthState() == "" {
		t.Errorf("%v %v", list, err)
	}
	// The other one, for the same region.
	undrain := drainRequest("bg-2", "eu-west")
	undrain.Record.Action = pb.BreakGlassAction_BREAK_GLASS_ACTION_UNDRAIN
	if made, err := client.CreateBreakGlass(t.Context(), undrain); err != nil || len(made.GetReplaced()) != 1 || made.GetReplaced()[0].GetEnded() != "replaced by bg-2" {
		t.Errorf("%v %v", made, err)
	}
	s.want("www.example.test.", "192.0.2.10")
	// One that expires by itself.
	short := drainRequest("bg-3", "eu-west")
	short.ExpireAfter = durationpb.New(time.Second)
	if _, err := client.CreateBreakGlass(t.Context(), short); err != nil {
		t.Fatal(err)
	}
	s.eventually("www.example.test.", "192.0.2.10")
	if _, err := client.CreateBreakGlass(t.Context(), drainRequest("bg-4", "eu-west")); err != nil {
		t.Fatal(err)
	}
	s.want("www.example.test.", "192.0.2.20")
	ended, err := client.EndBreakGlassRecord(t.Context(), &pb.EndBreakGlassRecordRequest{Id: "bg-4", Reason: "dry again"})
	if err != nil || ended.GetRecord().GetEnded() != "ended by anonymous: dry again" {
		t.Errorf("%v %v", ended, err)
	}
	s.want("www.example.test.", "192.0.2.10")
	for _, bad := range []struct {
		req  *pb.EndBreakGlassRecordRequest
		code codes.Code
	}{
		{&pb.EndBreakGlassRecordRequest{Id: "bg-4"}, codes.InvalidArgument},
		{&pb.EndBreakGlassRecordRequest{Id: "bg-4", Reason: strings.Repeat("x", 1025)}, codes.InvalidArgument},
		{&pb.EndBreakGlassRecordRequest{Id: "bg-9", Reason: "x"}, codes.NotFound},
	} {
		if _, err := client.EndBreakGlassRecord(t.Context(), bad.req); status.Code(err) != bad.code {
			t.Errorf("%v: %v", bad.req, err)
		}
	}
}

// The control plane ends a record by its id, and a nameserver that was away learns
// of it from the plan.
func TestPlanEndsBreakGlass(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "snapshots")
	c := startController(t)
	c.publish(t)
	c.judge(map[string]pb.HealthStatus{"10": up, "20": up, "30": up})
	s := run(t, options(t, dir, c.addr))
	s.eventually("www.example.test.", "192.0.2.10")
	client := pb.NewBreakGlassServiceClient(s.grpc)
	if _, err := client.CreateBreakGlass(t.Context(), drainRequest("bg-1", "eu-west")); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CreateBreakGlass(t.Context(), drainRequest("bg-2", "us-east")); err != nil {
		t.Fatal(err)
	}
	// What is kept across a plan stands.
	c.publishWith(t, 6, &pb.OverrideSet{BreakGlassEnds: []*pb.BreakGlassEnd{{Id: "bg-1", Author: "carol", Reason: "etcd is back"}}})
	s.eventually("www.example.test.", "192.0.2.10")
	s.stop()
	c.publishWith(t, 7, &pb.OverrideSet{
		BreakGlassEnds: []*pb.BreakGlassEnd{{Id: "bg-1", Author: "carol", Reason: "etcd is back"}, {Id: "bg-2", Author: "carol", Reason: "adopted"}},
		Overrides: []*pb.Override{
			{Id: "ov-1", Action: pb.OverrideAction_OVERRIDE_ACTION_DRAIN, Scope: &pb.OverrideScope{Region: "eu-west"}, Author: "carol", Reason: "flood"},
			{Id: "ov-2", Action: pb.OverrideAction_OVERRIDE_ACTION_DRAIN, Scope: &pb.OverrideScope{Service: "strict.example.test", Region: "eu-west"}, Author: "carol", Reason: "x"},
		},
	})
	s = run(t, options(t, dir, c.addr))
	client = pb.NewBreakGlassServiceClient(s.grpc)
	want := "bg-1 ended by the control plane, by carol: etcd is back; bg-2 ended by the control plane, by carol: adopted; ov-1 ov-2"
	got := ""
	c.eventually(t, want, func() bool {
		list, err := client.ListBreakGlass(t.Context(), &pb.ListBreakGlassRequest{})
		if err != nil {
			t.Fatal(err)
		}
		got = ""
		for _, r := range list.GetRecords() {
			got += r.GetId() + " " + r.GetEnded() + "; "
		}
		for _, o := range list.GetOverrides() {
			got += o.GetId() + " "
		}
		return strings.TrimSpace(got) == want
	})
	s.want("www.example.test.", "192.0.2.20")
	if _, err := client.CreateBreakGlass(t.Context(), drainRequest("bg-2", "us-east")); err != nil {
		t.Errorf("an ended one is returned: %v", err)
	}
	x, err := pb.NewInsightServiceClient(s.grpc).Explain(t.Context(), &pb.ExplainRequest{Name: "www.example.test", Client: "193.0.6.139"})
	if err != nil || len(x.GetBreakGlass()) != 0 || len(x.GetOverrides()) != 1 || x.GetOverrides()[0].GetId() != "ov-1" {
		t.Errorf("%v %v", x, err)
	}
}

// Who may do what: by the role, and by the scope against what is concerned.
func TestBreakGlassAccess(t *testing.T) {
	c := startController(t)
	c.publish(t)
	out := &logs{}
	o := options(t, filepath.Join(t.TempDir(), "snapshots"), c.addr)
	o.Identify, o.Log = identifyByHeader, slog.New(slog.NewTextHandler(out, nil))
	s := run(t, o)
	s.eventually("www.example.test.", "192.0.2.10")
	client := pb.NewBreakGlassServiceClient(s.grpc)
	scopes := map[string]*pb.OverrideScope{
		"region":   {Region: "eu-west"},
		"service":  {Region: "eu-west", Service: "www.example.test"},
		"endpoint": {Service: "www.example.test", Endpoint: "us-1"},
	}
	n := 0
	for _, tt := range []struct{ who, may string }{
		{"admin/alice", "list region service endpoint"},
		{"operator/alice", "list region service endpoint"},
		{"viewer/alice", "list"},
		{"nameserver/eu-west/ns-1", ""},
		{"agent/eu-west/a", ""},
		{"controller/c", ""},
		{"etcd/e", ""},
		{"operator/alice/region/eu-west", "list region service"},
		{"operator/alice/region/us-east", "list endpoint"},
		{"operator/alice/zone/example.test", "list service endpoint"},
		{"operator/alice/zone/other.test", "list"},
		{"operator/alice/service/www.example.test", "list service endpoint"},
		{"operator/alice/zone/example.test/region/us-east", "list endpoint"},
	} {
		ctx := as(t, tt.who)
		check := func(what string, err error) {
			t.Helper()
			if may := strings.Contains(" "+tt.may+" ", " "+what+" "); may != (err == nil) || !may && status.Code(err) != codes.PermissionDenied {
				t.Errorf("%s, %s: %v", tt.who, what, err)
			}
		}
		_, err := client.ListBreakGlass(ctx, &pb.ListBreakGlassRequest{})
		check("list", err)
		for what, scope := range scopes {
			n++
			id := fmt.Sprint("bg-", n)
			req := drainRequest(id, "")
			req.Record.Scope = scope
			made, err := client.CreateBreakGlass(ctx, req)
			check(what, err)
			if err == nil && made.GetRecord().GetAuthor() != strings.Join(strings.Split(tt.who, "/")[:2], "/") {
				t.Errorf("%v", made)
			}
			// To end one needs the same.
			if _, err := client.CreateBreakGlass(as(t, "admin/root"), req); err != nil {
				t.Fatal(err)
			}
			_, err = client.EndBreakGlassRecord(ctx, &pb.EndBreakGlassRecordRequest{Id: id, Reason: "over"})
			check(what, err)
		}
	}
	_, err := client.CreateBreakGlass(as(t, "operator/alice/region/us-east"), drainRequest("bg-x", "eu-west"))
	if want := "region eu-west is outside the scope of operator alice for region us-east (region us-east)"; status.Convert(err).Message() != want {
		t.Errorf("%v, want %q", err, want)
	}
	if lines := out.lines("id=bg-x"); len(lines) != 1 || !strings.Contains(lines[0], "result=refused actor=operator/alice") {
		t.Errorf("%q", lines)
	}
	if _, err := client.ListBreakGlass(t.Context(), &pb.ListBreakGlassRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("nobody: %v", err)
	}
}

// A damaged file costs the records, and neither the answers nor the lever.
func TestBreakGlassDamaged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "snapshots")
	c := startController(t)
	c.publish(t)
	s := run(t, options(t, dir, c.addr))
	s.eventually("www.example.test.", "192.0.2.10")
	client := pb.NewBreakGlassServiceClient(s.grpc)
	if _, err := client.CreateBreakGlass(t.Context(), drainRequest("bg-1", "eu-west")); err != nil {
		t.Fatal(err)
	}
	s.stop()
	if err := os.Truncate(filepath.Join(dir, "breakglass.table"), 50); err != nil {
		t.Fatal(err)
	}
	out := &logs{}
	o := options(t, dir, c.addr)
	o.Log = slog.New(slog.NewTextHandler(out, nil))
	s = run(t, o)
	s.want("www.example.test.", "192.0.2.10")
	if len(out.lines("level=ERROR")) == 0 {
		t.Error("nothing in the log")
	}
	client = pb.NewBreakGlassServiceClient(s.grpc)
	if list, err := client.ListBreakGlass(t.Context(), &pb.ListBreakGlassRequest{}); err != nil || !strings.Contains(list.GetTrouble(), "set aside") {
		t.Errorf("%v %v", list, err)
	}
	c.eventually(t, "told of the trouble", func() bool { return strings.Contains(c.table().GetTrouble(), "set aside") })
	if _, err := client.CreateBreakGlass(t.Context(), drainRequest("bg-2", "eu-west")); err != nil {
		t.Fatal(err)
	}
	s.want("www.example.test.", "192.0.2.20")
}

// Without a place to keep it there is no lever, and the caller is told.
func TestBreakGlassNotKept(t *testing.T) {
	c := startController(t)
	c.publish(t)
	s := run(t, options(t, "", c.addr))
	s.eventually("www.example.test.", "192.0.2.10")
	_, err := pb.NewBreakGlassServiceClient(s.grpc).CreateBreakGlass(t.Context(), drainRequest("bg-1", "eu-west"))
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "--snapshot-dir") {
		t.Errorf("%v", err)
	}
	s.want("www.example.test.", "192.0.2.10")
}

// A controller asks what was answered.
func TestUsageReport(t *testing.T) {
	c := startController(t)
	c.publish(t)
	s := run(t, options(t, "", c.addr))
	s.eventually("www.example.test.", "192.0.2.10")
	r := c.ask(t, &pb.OverrideScope{Region: "eu-west"})
	if r.GetEndpoints() != 2 || r.LastAnswerMillis == nil || r.GetCachedMillis() == 0 || r.GetTtl() != 30 || r.GetGeneration().GetRevision() != 5 || r.GetLastResortAnswers() != 0 {
		t.Errorf("%v", r)
	}
	if r := c.ask(t, &pb.OverrideScope{Region: "us-east"}); r.GetEndpoints() != 1 || r.LastAnswerMillis != nil {
		t.Errorf("%v", r)
	}
}

// A record that stands and that nothing answers by yet is not said to be in effect.
func TestBreakGlassNotEffective(t *testing.T) {
	c := startController(t)
	c.publish(t)
	o := options(t, filepath.Join(t.TempDir(), "snapshots"), c.addr)
	s := run(t, o)
	c.eventually(t, "a generation", func() bool { return s.Ready() == nil })
	s.stop()
	o = options(t, o.SnapshotDir, c.addr)
	idle, err := New(o) // it serves from disk, and nothing runs
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	b := &breakGlass{s: idle}
	if resp, err := b.CreateBreakGlass(ctx, drainRequest("bg-1", "eu-west")); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "bg-1 was taken, and answers are not made by it") {
		t.Errorf("%v, %v", resp, err)
	}
	if rec := idle.records.Find("bg-1", time.Now()); rec.GetRemainingMillis() == 0 {
		t.Errorf("%v", rec)
	}
}
