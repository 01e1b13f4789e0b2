package cli

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func TestLatchList(t *testing.T) {
	st := latchedStatus()
	addr := serve(t, &fake{status: func() (*pb.GetStatusResponse, error) { return st, nil }})
	t.Setenv("FAIRLEAD_CONTROLLER", addr)
	r := run(t, "", "latch", "list")
	r.want(t, exitDone)
	golden(t, "latches", r.out)
	if r := run(t, "", "latch", "list", "-o", "wide"); !strings.Contains(r.out, "web@192.0.2.37\n") {
		t.Errorf("-o wide does not name all targets:\n%s", r.out)
	}
	run(t, "", "latch", "list", "-o", "name").want(t, exitDone, "failback/pay.example.test/us-east\nfailback/www.example.test/eu-west\nguard\n")
	if r := run(t, "", "latch", "list", "-o", "json"); !strings.Contains(r.out, `"trip": 4`) || strings.Contains(r.out, "agents") {
		t.Errorf("-o json: %s", r.out)
	}

	// One latch is named in the command that releases it.
	st.Latches, st.Guard = st.Latches[1:], nil
	run(t, "", "latch", "list").want(t, exitDone, "release with: fairlead latch release failback/www.example.test/eu-west --reason TEXT\n")
	st.Latches = nil
	if r := run(t, "", "latch", "list"); r.code != exitDone || r.out != "" || r.err != "no latches; generation 1.42\n" {
		t.Errorf("%+v", r)
	}
	if r := run(t, "", "latch", "list", "-o", "name"); r.out+r.err != "" {
		t.Errorf("%+v", r)
	}
}

const manualYAML = `apiVersion: fairlead/v1
kind: Service
metadata: {name: www.example.test}
spec:
  zone: example.test
  policy: nearest
  healthCheck: web
  failback: {mode: manual, holdDown: 30s, rampSteps: [10, 50]}
  endpoints: [{name: eu-1, region: eu-west, addresses: [192.0.2.10]}]
`

// A release says what comes of it.
func TestLatchRelease(t *testing.T) {
	var got *pb.ReleaseLatchRequest
	stood := "" // the reason of a release that was there
	f := &fake{
		status: func() (*pb.GetStatusResponse, error) { return latchedStatus(), nil },
		list: func(r *pb.ListResourcesRequest) (*pb.ListResourcesResponse, error) {
			return &pb.ListResourcesResponse{Resources: parse(t, manualYAML), Generation: gen(42)}, nil
		},
		release: func(r *pb.ReleaseLatchRequest) (*pb.ReleaseLatchResponse, error) {
			got = r
			release := &pb.LatchRelease{Latch: r.GetLatch(), Trip: max(r.GetTrip(), 3), Author: r.GetAuthor(), Reason: r.GetReason(), CreateTime: timestamppb.Now()}
			if stood != "" {
				release.Reason, release.CreateTime = stood, timestamppb.New(time.Now().Add(-time.Hour))
			}
			return &pb.ReleaseLatchResponse{Release: release, Generation: gen(43)}, nil
		},
	}
	t.Setenv("FAIRLEAD_CONTROLLER", serve(t, f))
	const latch = "failback/www.example.test/eu-west"
	release := func(args ...string) result {
		t.Helper()
		return run(t, "", append([]string{"latch", "release", "--author", "alice", "--reason", "caught up"}, args...)...)
	}
	release(latch).want(t, exitDone, latch+" is released (trip 3); generation 1.43\n"+
		"region eu-west may serve www.example.test again: its clients come back in steps, 10 %, 50 %, each for 1m, then all; endpoints count when they have been healthy for 30s\n")
	if got.GetAuthor() != "alice" || got.GetReason() != "caught up" || got.GetTrip() != 0 || got.GetRequestId() == "" || got.GetWait() != nil {
		t.Errorf("asked %v", got)
	}
	release("failback/pay.example.test/us-east").want(t, exitDone, "no endpoint of region us-east can serve pay.example.test yet; while they are unhealthy the latch trips again")
	release("guard").want(t, exitDone, "guard is released", "37 held verdicts follow the quorum now: those that it calls UNHEALTHY leave the answers")
	release(latch, "--trip", "2").want(t, exitDone, "trip 3 stands: only a release of that one changes anything")
	release("guard", "--trip", "3").want(t, exitDone, "trip 4 stands")
	if got.GetTrip() != 3 {
		t.Errorf("asked %v", got)
	}
	if r := release(latch, "-o", "name"); r.out != latch+"\n" {
		t.Errorf("%+v", r)
	}
	release(latch, "-o", "json").want(t, exitDone, `"latch": "`+latch+`"`)

	stood = "by hand"
	release(latch).want(t, exitDone, latch+" (trip 3) was released already, by alice 1h ago (by hand); nothing was changed; generation 1.43\n")
	stood = ""

	f.status = func() (*pb.GetStatusResponse, error) { return &pb.GetStatusResponse{Nameservers: oneLate(43)}, nil }
	release(latch, "--wait", "20ms").want(t, exitNotConverged, "is released", "served by ns-1\n", "fairlead: not converged: after 20ms, generation 1.43 is not served by ns-2")

	// What cannot be told keeps nobody from the release.
	f.status = func() (*pb.GetStatusResponse, error) { return nil, status.Error(codes.Internal, "no") }
	if r := release(latch); r.code != exitDone || r.out != latch+" is released (trip 3); generation 1.43\n" {
		t.Errorf("%+v", r)
	}
	f.release = func(*pb.ReleaseLatchRequest) (*pb.ReleaseLatchResponse, error) {
		return nil, status.Error(codes.NotFound, `no latch "guard" stands`)
	}
	release("guard").want(t, exitFailed, `fairlead: no latch "guard" stands`)
}

func TestFailbackWords(t *testing.T) {
	for want, f := range map[string]*pb.FailbackPolicy{
		": its clients come back at once":                                                     nil,
		": its clients come back in steps, 5 %, each for 2m, then all":                        {RampSteps: []uint32{5}, RampInterval: durationpb.New(2 * time.Minute)},
		": its clients come back at once; endpoints count when they have been healthy for 1m": {HoldDown: durationpb.New(time.Minute)},
	} {
		if got := failbackWords(f); got != want {
			t.Errorf("%v: %q, want %q", f, got, want)
		}
	}
}
