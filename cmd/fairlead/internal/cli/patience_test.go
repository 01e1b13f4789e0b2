package cli

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// exhausted is a refusal with the time after which to try again; 0: without.
func exhausted(t *testing.T, wait time.Duration) error {
	t.Helper()
	st := status.New(codes.ResourceExhausted, "operator alice is over the limit")
	if wait == 0 {
		return st.Err()
	}
	st, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(wait)})
	if err != nil {
		t.Fatal(err)
	}
	return st.Err()
}

// Whoever is over a limit waits as he is told and is served then, a change too,
// under the same request id; but never beyond --timeout, and not when waiting
// would not help.
func TestOverALimit(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	var wait time.Duration
	var refusals int32
	ids := map[string]bool{}
	f := &fake{
		status: func() (*pb.GetStatusResponse, error) {
			if calls.Add(1) <= refusals {
				return nil, exhausted(t, wait)
			}
			return &pb.GetStatusResponse{Controller: "c1", StoreAvailable: true}, nil
		},
		drain: func(r *pb.DrainRegionRequest) (*pb.DrainRegionResponse, error) {
			ids[r.GetRequestId()] = true
			if calls.Add(1) <= refusals {
				return nil, exhausted(t, wait)
			}
			return &pb.DrainRegionResponse{Override: sampleOverrides()[0], Generation: gen(5)}, nil
		},
		watch: func(_ *pb.WatchRequest, s pb.InsightService_WatchServer) error {
			if calls.Add(1) <= refusals {
				return exhausted(t, wait)
			}
			return status.Error(codes.PermissionDenied, "watched enough")
		},
	}
	addr := serve(t, f)
	try := func(w time.Duration, n int32, args ...string) result {
		calls.Store(0)
		wait, refusals = w, n
		return run(t, "", append(args, "--controller", addr)...)
	}
	r := try(300*time.Millisecond, 2, "status")
	r.want(t, exitDone, "controller c1", "fairlead: "+addr+": over its limit of what one caller may ask; trying again in 300ms\n")
	if n := strings.Count(r.err, "trying again"); n != 2 {
		t.Errorf("said %d times:\n%s", n, r.err)
	}
	try(10*time.Millisecond, 1, "region", "drain", "us-east", "--reason", "r").want(t, exitDone, "region us-east", "trying again in 250ms")
	if len(ids) != 1 {
		t.Errorf("%d request ids for one change", len(ids))
	}
	try(10*time.Millisecond, 1, "watch").want(t, exitFailed, "trying again in 250ms", "watched enough")

	// There is no time for it.
	r = try(time.Hour, 1000, "status", "--timeout", "5s")
	r.want(t, exitFailed, "over a limit: operator alice is over the limit")
	if calls.Load() != 1 || strings.Contains(r.err, "trying again") {
		t.Errorf("%d calls\n%s", calls.Load(), r.err)
	}
	// A limit of another kind.
	if try(0, 1000, "status").want(t, exitFailed, "over a limit: "); calls.Load() != 1 {
		t.Errorf("%d calls", calls.Load())
	}
}
