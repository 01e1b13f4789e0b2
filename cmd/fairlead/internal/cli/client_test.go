package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

func well() (*pb.GetStatusResponse, error) {
	return &pb.GetStatusResponse{Controller: "alive", StoreAvailable: true, HealthReady: true}, nil
}

// The next controller is tried when one does not answer, or cannot write.
func TestFailover(t *testing.T) {
	dead := deadAddress(t)
	var ids []string
	noStore := serve(t, &fake{
		status: well,
		apply: func(r *pb.ApplyRequest) (*pb.ApplyResponse, error) {
			ids = append(ids, r.GetRequestId())
			return nil, status.Error(codes.Unavailable, "nothing was written; etcd does not answer or has no quorum: deadline")
		},
	})
	alive := serve(t, &fake{
		status: well,
		apply: func(r *pb.ApplyRequest) (*pb.ApplyResponse, error) {
			ids = append(ids, r.GetRequestId())
			return &pb.ApplyResponse{Generation: gen(5), Unchanged: 1}, nil
		},
	})
	run(t, "", "status", "--controller", dead+","+alive).want(t, exitDone, "controller alive")
	run(t, agent("a"), "apply", "-f", "-", "--controller", dead, "--controller", noStore+","+alive).want(t, exitDone, "0 created, 0 updated, 0 deleted, 1 unchanged; generation 1.5")
	if len(ids) != 2 || ids[0] != ids[1] || ids[0] == "" {
		t.Errorf("request ids %q: want the same one twice", ids)
	}
	r := run(t, agent("a"), "apply", "-f", "-", "--controller", dead+","+noStore)
	r.want(t, exitFailed, noStore+": nothing was written; etcd does not answer or has no quorum: deadline; "+dead+" (connection refused) does not answer\n")
	other := deadAddress(t)
	r = run(t, "", "status", "--controller", dead+","+other)
	r.want(t, exitFailed)
	if want := fmt.Sprintf("fairlead: %s (connection refused) and %s (connection refused) do not answer: is a controller running there? --controller names another\n", dead, other); r.err != want {
		t.Errorf("got  %swant %s", r.err, want)
	}
	run(t, "", "explain", "a", "--client", "192.0.2.1", "--nameserver", dead).want(t, exitFailed, "is a nameserver running there? --nameserver names another")
}

// Errors are sentences without gRPC's words.
func TestErrorSentences(t *testing.T) {
	var answer error
	addr := serve(t, &fake{status: func() (*pb.GetStatusResponse, error) { return nil, answer }})
	for _, c := range []struct {
		code codes.Code
		want string
	}{
		{codes.FailedPrecondition, "fairlead: why it is so\n"},
		{codes.NotFound, "fairlead: why it is so\n"},
		{codes.Aborted, "fairlead: why it is so\n"},
		{codes.PermissionDenied, "fairlead: not allowed: why it is so\n"},
		{codes.ResourceExhausted, "fairlead: over a limit: why it is so\n"},
		{codes.Internal, "fairlead: the controller failed: why it is so\n"},
		{codes.DataLoss, "fairlead: the stored data are damaged: why it is so\n"},
		{codes.Unavailable, "fairlead: " + addr + ": why it is so\n"},
		{codes.Unimplemented, "fairlead: " + addr + " does not know this call; is it of an older version? (why it is so)\n"},
	} {
		answer = status.Error(c.code, "why it is so")
		r := run(t, "", "status", "--controller", addr)
		r.want(t, exitFailed)
		if r.err != c.want {
			t.Errorf("%v: got %swant %s", c.code, r.err, c.want)
		}
	}
}

// A call that is not answered says what it leaves open.
func TestUnanswered(t *testing.T) {
	block := make(chan struct{})
	defer close(block)
	asked := make(chan struct{}, 1)
	addr := serve(t, &fake{
		status: func() (*pb.GetStatusResponse, error) { <-block; return well() },
		drain: func(*pb.DrainRegionRequest) (*pb.DrainRegionResponse, error) {
			asked <- struct{}{}
			<-block
			return nil, errors.New("late")
		},
	})
	r := run(t, "", "status", "--controller", addr, "--timeout", "20ms")
	r.want(t, exitFailed, "fairlead: "+addr+" did not answer in time (--timeout)\n")

	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	r = runContext(t, ctx, "", "region", "drain", "us-east", "--reason", "x", "--controller", addr)
	r.want(t, exitFailed, "fairlead: interrupted; the change may have been made or not")
}

// What a controller says of a field is told with its place in the file.
func TestLocatedErrors(t *testing.T) {
	addr := serve(t, &fake{apply: func(*pb.ApplyRequest) (*pb.ApplyResponse, error) {
		st, err := status.New(codes.InvalidArgument, "refused, nothing was changed: 3 errors").WithDetails(&errdetails.BadRequest{
			FieldViolations: []*errdetails.BadRequest_FieldViolation{
				{Field: `services/www.example.test spec.endpoints[1].region`, Description: `no region "us-west"`},
				{Field: "agents/elsewhere spec.region", Description: `no region "eu-west"`},
				{Description: "and 20 errors more"},
			},
		})
		if err != nil {
			return nil, err
		}
		return nil, st.Err()
	}})
	r := run(t, allKindsYAML, "apply", "-f", "-", "--controller", addr)
	r.want(t, exitFailed)
	line := 1 + strings.Count(allKindsYAML[:strings.Index(allKindsYAML, "{name: eu-2")], "\n")
	want := fmt.Sprintf(`stdin:%d: services "www.example.test" spec.endpoints[1].region: no region "us-west"
agents "elsewhere" spec.region: no region "eu-west"
and 20 errors more
fairlead: 3 errors; nothing was changed
`, line)
	if r.err != want {
		t.Errorf("got\n%swant\n%s", r.err, want)
	}
}

func TestDialReason(t *testing.T) {
	for message, want := range map[string]string{
		`connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused"`:                               "connection refused",
		`connection error: desc = "transport: Error while dialing: dial tcp 192.0.2.1:1: i/o timeout"`:                                               "no connection in time",
		`connection error: desc = "error reading server preface: EOF"`:                                                                               "it does not speak gRPC without TLS",
		`connection error: desc = "error reading server preface: http2: frame too large, note that the frame header looked like an HTTP/1.1 header"`: "it speaks HTTP, not gRPC",
		`connection error: desc = "transport: Error while dialing: dial tcp: lookup nowhere.test: no such host"`:                                     "lookup nowhere.test: no such host",
		"error reading from server: EOF": "error reading from server: EOF",
	} {
		if got, kind := dialReason(message, flagController, security{}); !strings.HasPrefix(got, want) || kind == answered {
			t.Errorf("%s\ngives %q, %v; want %q", message, got, kind, want)
		}
	}
	if why, kind := dialReason("nothing was written", flagController, security{}); why != "nothing was written" || kind != answered {
		t.Errorf("a controller's own words are %q, %v", why, kind)
	}
}

func TestTooLarge(t *testing.T) {
	records := strings.Repeat("x", 8<<20)
	var docs []config.Document
	for range 8 {
		docs = append(docs, config.Document{Resource: &pb.Resource{Kind: &pb.Resource_Zone{Zone: &pb.Zone{Spec: &pb.ZoneSpec{Records: records}}}}})
	}
	_, err := send(t.Context(), nil, docs, &pb.ApplyRequest{})
	if err == nil || !strings.HasPrefix(err.Error(), "the 8 resources have 65 MiB together, more than the 60 MiB of one request; nothing was sent: apply them in parts") {
		t.Error(err)
	}
}

// A list that changes while it is read is read again.
func TestListOfOneGeneration(t *testing.T) {
	agents := parse(t, agent("a")+"---\n"+agent("b"))
	calls := 0
	moves := 2
	addr := serve(t, &fake{list: func(r *pb.ListResourcesRequest) (*pb.ListResourcesResponse, error) {
		if r.GetKind() == config.KindNameserver { // to be kept
			return &pb.ListResourcesResponse{}, nil
		}
		calls++
		if r.GetPageToken() == "" {
			return &pb.ListResourcesResponse{Resources: agents[:1], NextPageToken: "agents/b", Generation: gen(int64(calls))}, nil
		}
		g := int64(calls)
		if calls/2 > moves {
			g--
		}
		return &pb.ListResourcesResponse{Resources: agents[1:], Generation: gen(g)}, nil
	}})
	r := run(t, "", "get", "agents", "-o", "name", "--controller", addr)
	r.want(t, exitDone)
	if r.out != "agents/a\nagents/b\n" || calls != 6 {
		t.Errorf("%d calls, got %q", calls, r.out)
	}
	calls, moves = 0, 100
	run(t, "", "export", "--controller", addr).want(t, exitFailed, "the configuration changed 5 times while it was read: try again")
}

// oneLate are two nameservers of which the second does not serve a revision yet.
func oneLate(revision int64) []*pb.NameserverStatus {
	return []*pb.NameserverStatus{
		{Nameserver: "ns-1", Registered: true, Connected: true, Generation: gen(revision)},
		{Nameserver: "ns-2", Registered: true, Connected: true, Generation: gen(revision - 1)},
	}
}

// Waiting ends with exit code 3 and the names of those that are missing.
func TestNotConverged(t *testing.T) {
	late := &pb.Convergence{Serving: []string{"ns-1"}, Missing: []string{"ns-2", "ns-3"},
		Reasons: map[string]string{"ns-3": "it is not connected to this controller"}}
	addr := serve(t, &fake{
		apply: func(r *pb.ApplyRequest) (*pb.ApplyResponse, error) {
			if r.GetWait() != nil {
				t.Error("the controller is asked to wait")
			}
			return &pb.ApplyResponse{Generation: gen(9)}, nil
		},
		status: func() (*pb.GetStatusResponse, error) {
			return &pb.GetStatusResponse{Nameservers: append(oneLate(9), &pb.NameserverStatus{Nameserver: "ns-3", Registered: true})}, nil
		},
		drain: func(r *pb.DrainRegionRequest) (*pb.DrainRegionResponse, error) {
			o := &pb.Override{Id: "1", Action: pb.OverrideAction_OVERRIDE_ACTION_DRAIN, Scope: &pb.OverrideScope{Region: r.GetRegion()}, Author: "a", Reason: r.GetReason()}
			return &pb.DrainRegionResponse{Override: o, Generation: gen(10), Convergence: late}, nil
		},
	})
	r := run(t, agent("a"), "apply", "-f", "-", "--wait", "50ms", "--controller", addr)
	r.want(t, exitNotConverged, "served by ns-1\n", "fairlead: not converged: after 50ms, generation 1.9 is not served by ns-2, ns-3 (not connected); `fairlead status` says more\n")
	r = run(t, "", "region", "drain", "us-east", "--reason", "x", "--wait", "50ms", "--controller", addr, "-o", "json")
	r.want(t, exitNotConverged, `"missing": [`, `"converged": false`, "after 50ms, generation 1.10 is not served by ns-1, ns-2, ns-3 (not connected)")
}

// What is allowed and perhaps not meant is told beside what changes.
func TestWarnings(t *testing.T) {
	addr := serve(t, &fake{apply: func(*pb.ApplyRequest) (*pb.ApplyResponse, error) {
		return &pb.ApplyResponse{Generation: gen(9), Warnings: []string{"a policy\nwithout a witness"}}, nil
	}})
	for _, verb := range []string{"apply", "diff"} {
		if r := run(t, agent("a"), verb, "-f", "-", "--controller", addr); r.code != exitDone || r.err != "warning: a policy\\nwithout a witness\n" {
			t.Errorf("%s: %+v", verb, r)
		}
		if r := run(t, agent("a"), verb, "-f", "-", "-o", "json", "--controller", addr); r.err != "" || !strings.Contains(r.out, "without a witness") {
			t.Errorf("%s: %+v", verb, r)
		}
	}
}

func TestAsAsked(t *testing.T) {
	made := sampleOverrides()[0]
	made.ExpireTime.Seconds = made.GetCreateTime().GetSeconds() + 7200
	type asked struct {
		leverOptions
		window
	}
	ask := func(author, reason string, lasts time.Duration) asked {
		return asked{leverOptions{author: author, reason: reason}, window{expires: durationpb.New(lasts)}}
	}
	for _, c := range []struct {
		req  asked
		want bool
	}{
		{ask("", made.Reason, 2*time.Hour), true},
		{ask(made.Author, made.Reason, 2*time.Hour), true},
		{ask("bob", made.Reason, 2*time.Hour), false},
		{ask("", "another", 2*time.Hour), false},
		{ask("", made.Reason, 4*time.Hour), false},
		{ask("", made.Reason, 0), false},
		{ask("", made.Reason, time.Second), false},
		{asked{leverOptions: leverOptions{reason: made.Reason}}, true}, // as the policy says
	} {
		if got := asAsked(made, c.req.leverOptions, c.req.window); got != c.want {
			t.Errorf("%v: %v, want %v", c.req, got, c.want)
		}
	}
	made.ExpireTime = nil // never, which is no short time
	if soon := ask("", made.Reason, time.Second); asAsked(made, soon.leverOptions, soon.window) {
		t.Error("one that never expires was taken for one that expires in 1s")
	}
}
