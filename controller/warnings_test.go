package controller_test

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// Whoever applies, also by a dry run or once more, is told what is perhaps not
// meant of what he gave and what comes of it; a mistake is refused as ever.
func TestWarningsOfApply(t *testing.T) {
	c := run(t, "c1", etcd(t))
	apply := func(req *pb.ApplyRequest, text string) []string {
		t.Helper()
		req.Resources = resources(t, text)
		resp, err := c.Apply(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		return resp.GetWarnings()
	}
	wants := func(what string, got []string, want ...string) {
		t.Helper()
		if len(got) != len(want) {
			t.Errorf("%s: %q", what, got)
			return
		}
		for i := range want {
			if !strings.HasPrefix(got[i], want[i]) {
				t.Errorf("%s: %s\nwant %s", what, got[i], want[i])
			}
		}
	}
	all := []string{"regions: there are two", `agents: all are in region "eu-west"`, `agents "probe-eu" spec.references`}
	wants("dry run", apply(&pb.ApplyRequest{DryRun: true}, base), all...)
	wants("apply", apply(&pb.ApplyRequest{RequestId: "first"}, base), all...)
	wants("repeated", apply(&pb.ApplyRequest{RequestId: "first"}, base), all...)
	wants("the same again", apply(&pb.ApplyRequest{}, base), all...)
	wants("what is old and elsewhere", apply(&pb.ApplyRequest{}, service("api.example.test", "192.0.2.11")))
	long := strings.Replace(www, "ttl: 30s", "ttl: 10m", 1)
	for _, dry := range []bool{true, false} {
		wants("a long TTL", apply(&pb.ApplyRequest{DryRun: dry}, long), `services "www.example.test" spec.ttl: is above 5m`)
	}
	const passive = `
apiVersion: fairlead/v1
kind: SteeringPolicy
metadata: {name: nearest}
spec: {mode: active-passive, regions: [us-east, eu-west]}
---
apiVersion: fairlead/v1
kind: Agent
metadata: {name: probe-us}
spec: {region: us-east}
`
	wants("two vantage regions", apply(&pb.ApplyRequest{}, passive),
		`agents "probe-us", "probe-eu" spec.references`, `steeringpolicies "nearest" spec.mode: active-passive follows only what more than half`)

	before := c.list("")
	_, err := c.Apply(t.Context(), &pb.ApplyRequest{Resources: resources(t, strings.Replace(www, "policy: nearest", "policy: nearest\n  verdicts: client-region", 1))})
	wantCode(t, err, codes.InvalidArgument, "nothing was changed")
	if v := violations(t, err); !strings.Contains(v["services/www.example.test spec.verdicts"], "active-passive") {
		t.Errorf("violations: %v", v)
	}
	if after := c.list(""); !proto.Equal(before, after) {
		t.Error("something was changed")
	}
}
