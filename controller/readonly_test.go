package controller_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/fairlead-dns/fairlead/controller"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// Without etcd writes fail, naming the cause and break-glass: with the store's
// own error while that is not known, at once when it is.
func TestReadOnly(t *testing.T) {
	e := etcd(t)
	dir := t.TempDir()
	kept := func(o *controller.Options) { o.StateDir = dir }
	c := run(t, "c1", e, kept)
	c.apply(three)
	made, err := c.DrainRegion(t.Context(), &pb.DrainRegionRequest{Region: "ap-south", Reason: "r"})
	if err != nil {
		t.Fatal(err)
	}
	status := func(c *running) *pb.GetStatusResponse {
		t.Helper()
		st, err := c.GetStatus(t.Context(), &pb.GetStatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	if st := status(c); st.GetReadOnly() != "" {
		t.Errorf("read-only: %s", st.GetReadOnly())
	}
	if err := e.Stop(0); err != nil {
		t.Fatal(err)
	}
	drain := func(c *running) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := c.DrainRegion(ctx, &pb.DrainRegionRequest{Region: "eu-west", Service: "www.example.test", Reason: "r"})
		return err
	}
	hint := "fairlead region drain eu-west --service www.example.test --break-glass --expire-after 1h"
	wantCode(t, drain(c), codes.Unavailable, "nothing was written", "etcd does not answer or has no quorum", hint)
	eventually(t, "the status to tell", func() bool { return status(c).GetReadOnly() != "" })
	// An election is waited for; what takes longer is not.
	eventually(t, "a write to fail at once", func() bool { return strings.Contains(grpcstatus.Convert(drain(c)).Message(), "read-only") })
	wantCode(t, drain(c), codes.Unavailable, "nothing was written", "read-only", "etcd does not answer or has no quorum", hint)
	t.Log(drain(c))
	for name, err := range map[string]error{
		"region undrain eu-west": func() error {
			_, err := c.UndrainRegion(t.Context(), &pb.UndrainRegionRequest{Region: "eu-west", Reason: "test"})
			return err
		}(),
		"region drain REGION": func() error {
			_, err := c.Apply(t.Context(), &pb.ApplyRequest{Resources: resources(t, three)})
			return err
		}(),
		"region drain eu-west": func() error {
			_, err := c.DrainRegion(t.Context(), &pb.DrainRegionRequest{Region: "eu-west", Reason: "r", DryRun: true})
			return err
		}(),
		"endpoint force-down www.example.test/eu-1": func() error {
			_, err := c.CreateOverride(t.Context(), &pb.CreateOverrideRequest{Action: forceDown, Scope: &pb.OverrideScope{Service: "www.example.test", Endpoint: "eu-1"}, Reason: "r"})
			return err
		}(),
		"endpoint undrain www.example.test/eu-1": func() error {
			_, err := c.DeleteOverride(t.Context(), &pb.DeleteOverrideRequest{Action: drained, Scope: &pb.OverrideScope{Service: "www.example.test", Endpoint: "eu-1"}, Reason: "test"})
			return err
		}(),
		"override end bg-1": func() error {
			_, err := c.EndBreakGlass(t.Context(), &pb.EndBreakGlassRequest{Id: "bg-1", Reason: "r"})
			return err
		}(),
	} {
		wantCode(t, err, codes.Unavailable, "read-only", "fairlead "+name+" --break-glass")
	}
	// It tells how old what it shows is; so does one that is started now, from disk.
	eventually(t, "some age", func() bool { return status(c).GetControlAgeMillis() > 100 })
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	d := run(t, "c2", e, kept)
	eventually(t, "it to be read-only", func() bool { return status(d).GetReadOnly() != "" })
	st := status(d)
	if len(st.GetOverrides()) != 1 || !proto.Equal(st.GetOverrides()[0], made.GetOverride()) || !proto.Equal(st.GetGeneration(), made.GetGeneration()) ||
		st.GetStoreAvailable() || st.GetControlAgeMillis() < 100 || st.GetControlAgeMillis() > uint64(time.Hour.Milliseconds()) {
		t.Errorf("status from disk: %v", st)
	}
	x, err := d.Explain(t.Context(), &pb.ExplainRequest{Name: "www.example.test", Client: "193.0.6.139"})
	if err != nil || len(x.GetAnswers()) == 0 || x.GetControlAgeMillis() < 100 || len(x.GetOverrides()) != 1 {
		t.Errorf("explained from disk: %v, %v", x, err)
	}
	wantCode(t, drain(d), codes.Unavailable, "nothing was written", hint)
	if err := e.Restart(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a drain", func() bool { return drain(d) == nil })
	eventually(t, "it to be read-only no more", func() bool {
		st := status(d)
		return st.GetReadOnly() == "" && st.GetStoreAvailable()
	})
}
