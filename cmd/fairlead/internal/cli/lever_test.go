package cli

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func sampleDecision() *pb.SafetyDecision {
	return &pb.SafetyDecision{
		Findings: []*pb.SafetyFinding{
			{Rule: "max-drained-capacity", Text: "1000 of 2500 would be drained, which is 40 %, and at most 30 % may", WouldPass: "drain regions of 750 together at most; --force passes it", Overridable: true},
			{Rule: "min-regions", Text: "1 of 3 regions would stay in service, and at least 2 must", WouldPass: "undrain eu-west first"},
			{Rule: "quiet-time", Passed: true, Text: "the last change is 3m old, and 1m must pass", Overridable: true},
		},
		Regions: []*pb.SafetyRegion{
			{Region: "ap-northeast", Capacity: 500, Endpoints: 4, HealthyAfter: 4, InServiceBefore: true, InServiceAfter: true},
			{Region: "eu-west", Capacity: 1000, Endpoints: 4, DrainedBefore: 4, DrainedAfter: 4},
			{Region: "us-east", Capacity: 1000, Endpoints: 4, DrainedAfter: 4, InServiceBefore: true},
		},
		Controller: "c1", HealthAgeMillis: 120, HealthReady: true,
	}
}

// What safety rules say is told with the numbers and with what would pass.
func TestDecision(t *testing.T) {
	d := sampleDecision()
	printed(t, "refused", &printer{}, func(p *printer) { printDecision(p, d, false) })
	printed(t, "refused-wide", &printer{wide: true}, func(p *printer) { printDecision(p, d, true) })
	forced := proto.CloneOf(d)
	forced.Forced, forced.Allowed, forced.HealthReady = true, true, false
	printed(t, "forced", &printer{}, func(p *printer) { printDecision(p, forced, true) })
	o := sampleOverrides()[0]
	o.Forced = true
	printed(t, "drain-forced", &printer{}, func(p *printer) {
		printChanged(p, drains, leverOptions{}, &changed{made: o, generation: gen(43), safety: forced}, nil)
	})
	allowed := &pb.SafetyDecision{Allowed: true, Findings: d.GetFindings()[2:], Regions: d.GetRegions(), HealthReady: true, Controller: "c1"}
	for name, decision := range map[string]*pb.SafetyDecision{"dry-run": allowed, "dry-run-refused": d, "dry-run-stood": nil} {
		printed(t, name, &printer{}, func(p *printer) {
			printChanged(p, drains, leverOptions{dryRun: true, scope: &pb.OverrideScope{Region: "us-east"}}, &changed{generation: gen(43), safety: decision}, nil)
		})
	}
}

// A refusal tells the exact command that passes it, where there is one.
func TestRefused(t *testing.T) {
	decision := sampleDecision()
	addr := serve(t, &fake{drain: func(r *pb.DrainRegionRequest) (*pb.DrainRegionResponse, error) {
		if r.GetDryRun() {
			return &pb.DrainRegionResponse{Generation: gen(42), Safety: decision}, nil
		}
		st, err := status.New(codes.FailedPrecondition, "refused by max-drained-capacity").WithDetails(decision)
		if err != nil {
			t.Error(err)
		}
		return nil, st.Err()
	}})
	args := []string{"region", "drain", "us-east", "--reason", "it's on fire", "--controller", addr}
	r := run(t, "", args...)
	r.want(t, exitFailed, "40 %", "would pass: drain regions of 750 together at most\n", "no, the rule is absolute", "fairlead: the safety rules refuse it (max-drained-capacity, min-regions); nothing was changed\n")
	if strings.Contains(r.err, "quiet-time") || strings.Contains(r.err, "to do it all the same") || r.out != "" {
		t.Errorf("%s%s", r.out, r.err)
	}
	decision.Findings[1].Overridable = true
	run(t, "", args...).want(t, exitFailed, "to do it all the same, with a reason that says why:\n  fairlead region drain us-east --reason 'it'\\''s on fire' --controller "+addr+" --force\n")
	run(t, "", append(args, "-o", "wide")...).want(t, exitFailed, "quiet-time", "IN SERVICE", "as controller c1 sees health, 120ms old")
	r = run(t, "", append(args, "-o", "json")...)
	r.want(t, exitFailed, `"refused": true`, `"rule": "min-regions"`, "refused by max-drained-capacity")
	if !strings.HasPrefix(r.out, "{") {
		t.Error(r.out)
	}
	run(t, "", append(args, "--dry-run")...).want(t, exitFailed, "region us-east would not be drained: the safety rules refuse it; nothing was changed; generation 1.42", "0 → 4",
		"fairlead: the safety rules would refuse it (max-drained-capacity, min-regions); nothing was changed")
}

// The requests say what the flags say.
func TestLeverRequests(t *testing.T) {
	var drain *pb.DrainRegionRequest
	var create *pb.CreateOverrideRequest
	var remove []*pb.DeleteOverrideRequest
	var end *pb.EndBreakGlassRequest
	addr := serve(t, &fake{
		drain: func(r *pb.DrainRegionRequest) (*pb.DrainRegionResponse, error) {
			drain = r
			return &pb.DrainRegionResponse{Override: &pb.Override{Id: "1", Scope: &pb.OverrideScope{Region: r.GetRegion()}, Reason: r.GetReason(), StartTime: r.GetStartTime()}, Generation: gen(43), Safety: &pb.SafetyDecision{}}, nil
		},
		create: func(r *pb.CreateOverrideRequest) (*pb.CreateOverrideResponse, error) {
			create = r
			return &pb.CreateOverrideResponse{Override: &pb.Override{Id: "2", Action: r.GetAction(), Scope: r.GetScope()}, Generation: gen(44), Safety: &pb.SafetyDecision{}}, nil
		},
		remove: func(r *pb.DeleteOverrideRequest) (*pb.DeleteOverrideResponse, error) {
			remove = append(remove, r)
			return &pb.DeleteOverrideResponse{Generation: gen(45), Removed: []*pb.Override{{Id: "3", Action: r.GetAction(), Scope: r.GetScope()}}}, nil
		},
		end: func(r *pb.EndBreakGlassRequest) (*pb.EndBreakGlassResponse, error) {
			end = r
			return &pb.EndBreakGlassResponse{End: &pb.BreakGlassEnd{Id: r.GetId()}, Override: &pb.Override{Id: "4", Scope: euWest, Action: pb.OverrideAction_OVERRIDE_ACTION_DRAIN}, Generation: gen(46)}, nil
		},
	})
	t.Setenv("FAIRLEAD_CONTROLLER", addr)
	run(t, "", "region", "drain", "EU-West", "--availability-zone", "a", "--service", "www.example.test", "--reason", "r", "--author", "bob", "--start", "+1h", "--end", "+2h", "--force", "--etag", "e").
		want(t, exitDone, "region eu-west will be drained at ", " (in 1h); generation 1.43")
	if begin := time.Until(drain.GetStartTime().AsTime()); drain.GetRegion() != "eu-west" || drain.GetAvailabilityZone() != "a" || drain.GetService() != "www.example.test" || drain.GetAuthor() != "bob" ||
		drain.GetExpireAfter().AsDuration() != 2*time.Hour || begin > time.Hour || begin < 50*time.Minute || !drain.GetForce() || drain.GetEtag() != "e" || drain.GetRequestId() == "" {
		t.Errorf("%v", drain)
	}
	run(t, "", "region", "drain", "eu-west", "--reason", "r", "-o", "name").want(t, exitDone, "overrides/1\n")
	if drain.GetExpireAfter() != nil || drain.GetStartTime() != nil {
		t.Errorf("%v: want what the policy says", drain)
	}
	run(t, "", "region", "drain", "eu-west", "--reason", "r", "--expire-after", "never").want(t, exitDone)
	if drain.GetExpireAfter() == nil || drain.GetExpireAfter().AsDuration() != 0 {
		t.Errorf("%v: want never", drain)
	}
	for verb, action := range map[string]pb.OverrideAction{
		"drain": pb.OverrideAction_OVERRIDE_ACTION_DRAIN, "force-up": pb.OverrideAction_OVERRIDE_ACTION_FORCE_UP, "force-down": pb.OverrideAction_OVERRIDE_ACTION_FORCE_DOWN,
	} {
		run(t, "", "endpoint", verb, "*.Apps.example.test./EU-1", "--reason", "r", "--expire-after", "1h").want(t, exitDone, "service *.apps.example.test, endpoint eu-1 is ")
		if create.GetAction() != action || create.GetScope().GetService() != "*.apps.example.test" || create.GetScope().GetEndpoint() != "eu-1" || create.GetExpireAfter().AsDuration() != time.Hour {
			t.Errorf("%s: %v", verb, create)
		}
	}
	run(t, "", "endpoint", "undrain", "www.example.test/eu-1", "--reason", "r").want(t, exitDone, "service www.example.test, endpoint eu-1 is no longer drained; generation 1.45")
	run(t, "", "endpoint", "release", "www.example.test/eu-1", "--reason", "r", "-o", "name").want(t, exitDone, "overrides/3\n")
	run(t, "", "override", "end", "overrides/19a8", "--reason", "r", "--etag", "e").want(t, exitDone, "is ended; generation 1.45")
	var got []string
	for _, r := range remove {
		got = append(got, word(r.GetAction(), "OVERRIDE_ACTION_")+" "+r.GetId()+r.GetEtag()+r.GetScope().GetEndpoint())
	}
	if want := "drain eu-1, force-up eu-1, force-down eu-1, unspecified 19a8e"; strings.Join(got, ", ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	run(t, "", "override", "end", "bg-1", "--reason", "r", "--adopt", "--force").want(t, exitDone, "break-glass record bg-1 ends at every nameserver; generation 1.46", "what it did goes on as an override of the control plane:\nACTION")
	if end.GetId() != "bg-1" || !end.GetAdopt() || !end.GetForce() || end.GetReason() != "r" {
		t.Errorf("%v", end)
	}
}

func sampleBreakGlass() []*pb.BreakGlassStatus {
	return []*pb.BreakGlassStatus{
		{Record: &pb.BreakGlassRecord{
			Id: "bg-k3j2h4g5f6d7", Action: pb.BreakGlassAction_BREAK_GLASS_ACTION_DRAIN, Scope: euWest, Author: "alice", Reason: "fire", Actor: "operator/alice",
			CreateTime: timestamppb.New(noon.Add(-10 * time.Minute)), RemainingMillis: 3_000_000,
		}, Nameservers: []string{"ns-1", "ns-2"}, Missing: []string{"ns-3"}},
		{Record: &pb.BreakGlassRecord{
			Id: "bg-old", Action: pb.BreakGlassAction_BREAK_GLASS_ACTION_UNDRAIN, Scope: &pb.OverrideScope{Region: "us-east"}, Author: "bob", Reason: "it must carry it",
			CreateTime: timestamppb.New(noon.Add(-time.Hour)), Ended: "expired",
		}},
	}
}

func sampleScheduled() []*pb.Override {
	o := sampleOverrides()[0]
	o.Id, o.StartTime, o.ExpireTime, o.Etag = "19a8f2-03", timestamppb.New(noon.Add(10*time.Hour)), timestamppb.New(noon.Add(13*time.Hour)), "4e5e7f"
	refused := proto.CloneOf(o)
	refused.Id, refused.StartTime, refused.Refusal = "19a8f2-04", timestamppb.New(noon.Add(-time.Minute)), "min-regions: 0 of 3 regions would stay in service"
	return []*pb.Override{o, refused}
}

// Overrides that are in force, scheduled ones, and what nameservers alone hold.
func TestOverrideList(t *testing.T) {
	all := &pb.ListOverridesResponse{Overrides: sampleOverrides(), Scheduled: sampleScheduled(), BreakGlass: sampleBreakGlass(), Generation: gen(42)}
	printed(t, "override-list", &printer{}, func(p *printer) { printOverrides(p, all) })
	printed(t, "override-list-wide", &printer{wide: true}, func(p *printer) { printOverrides(p, all) })
	if got, want := strings.Join(overrideNames(all), " "), "overrides/19a8f2-01 overrides/19a8f2-02 overrides/19a8f2-03 overrides/19a8f2-04 overrides/bg-k3j2h4g5f6d7"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	st := sampleStatus()
	st.Scheduled, st.BreakGlass, st.StoreAvailable, st.ReadOnly, st.ControlAgeMillis = all.GetScheduled(), all.GetBreakGlass(), false, "etcd does not answer or has no quorum, for 3m12s: context deadline exceeded", 192_000
	printed(t, "status-break-glass", &printer{}, func(p *printer) { printStatus(p, st) })
	if got := strings.Join(notWell(st), " "); !strings.Contains(got, "overrides/19a8f2-04 overrides/bg-k3j2h4g5f6d7") {
		t.Error(got)
	}
	st.StoreAvailable, st.ReadOnly = true, "the head is not trusted: its manifest is missing"
	p := &printer{now: noon}
	printReadOnly(p, st)
	if want := "THE STORE IS NOT TRUSTED: this controller is read-only, nothing can be changed"; !strings.HasPrefix(p.String(), want) {
		t.Errorf("%s: want %s", p, want)
	}
}

func TestDirectView(t *testing.T) {
	all := []reply[*pb.ListBreakGlassResponse]{
		{nameserver: nameserver{Name: "ns-1", Region: "eu-west", GRPC: "192.0.2.53:7444"}, outcome: outcomeDone, resp: &pb.ListBreakGlassResponse{
			Generation: gen(42), HealthAgeMillis: 120, HealthState: fresh, Overrides: sampleOverrides()[:1], Records: []*pb.BreakGlassRecord{sampleBreakGlass()[0].GetRecord(), sampleBreakGlass()[1].GetRecord()},
		}},
		{nameserver: nameserver{Name: "ns-2", Region: "us-east", GRPC: "198.51.100.53:7444"}, outcome: outcomeDone, resp: &pb.ListBreakGlassResponse{
			Generation: gen(40), HealthAgeMillis: 92_000, HealthState: "frozen", Trouble: "breakglass.pb was damaged, and is set aside",
		}},
		{nameserver: nameserver{Name: "ns-3", Region: "us-west", GRPC: "203.0.113.53:7444"}, outcome: outcomeNotReached, why: "no connection in 5s"},
	}
	printed(t, "direct", &printer{}, func(p *printer) { printDirect(p, all) })
	printed(t, "direct-wide", &printer{wide: true}, func(p *printer) { printDirect(p, all) })
}

// Where no controller can write, what is left is told once, to the point.
func TestCannotWrite(t *testing.T) {
	away := func(since string) string {
		err := status.Error(codes.Unavailable, "nothing was written, this controller is read-only: etcd does not answer, for "+since+"; another controller may reach etcd, and where none does, tell the nameservers: fairlead region drain REGION --break-glass")
		return serve(t, &fake{
			drain: func(*pb.DrainRegionRequest) (*pb.DrainRegionResponse, error) { return nil, err },
			apply: func(*pb.ApplyRequest) (*pb.ApplyResponse, error) { return nil, err },
		})
	}
	a, b := away("2s"), away("3s")
	cause := "fairlead: " + a + ": nothing was written, this controller is read-only: etcd does not answer, for 2s; " + b + ": nothing was written, this controller is read-only: etcd does not answer, for 3s\n"
	controllers := []string{"--controller", a + "," + b}
	drain := []string{"region", "drain", "eu-west", "--reason", "fire"}
	for _, c := range []struct {
		args []string
		want string
	}{
		{drain, "if it cannot wait, tell the nameservers themselves:\n  fairlead region drain eu-west --break-glass --expire-after 1h --reason fire --controller " + a + "," + b + "\n"},
		{append(drain, "--expire-after", "2h", "--wait"), "if it cannot wait, tell the nameservers themselves:\n  fairlead region drain eu-west --break-glass --expire-after 2h --reason fire --controller " + a + "," + b + "\n"},
		{append(drain, "--expire-after=never"), "if it cannot wait, tell the nameservers themselves:\n  fairlead region drain eu-west --break-glass --expire-after 24h --reason fire --controller " + a + "," + b + "\n"},
		{append(drain, "--dry-run"), "another controller may reach etcd, and where none does, tell the nameservers: fairlead region drain REGION --break-glass\n"},
		{[]string{"apply", "-f", "-"}, "another controller may reach etcd, and where none does, tell the nameservers: fairlead region drain REGION --break-glass\n"},
	} {
		r := run(t, agent("a"), append(c.args[:len(c.args):len(c.args)], controllers...)...)
		if r.code != exitFailed || r.err != cause+c.want {
			t.Errorf("%v: exit code %d, got\n%swant\n%s", c.args, r.code, r.err, cause+c.want)
		}
	}
}
