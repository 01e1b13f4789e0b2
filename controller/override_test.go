package controller_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead-dns/fairlead/controller"
	"github.com/fairlead-dns/fairlead/controller/catalog"
	"github.com/fairlead-dns/fairlead/controller/store"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

const (
	forceDown = pb.OverrideAction_OVERRIDE_ACTION_FORCE_DOWN
	forceUp   = pb.OverrideAction_OVERRIDE_ACTION_FORCE_UP
	drained   = pb.OverrideAction_OVERRIDE_ACTION_DRAIN
)

func (r *running) overrides() *pb.ListOverridesResponse {
	r.t.Helper()
	resp, err := r.ListOverrides(r.t.Context(), &pb.ListOverridesRequest{})
	if err != nil {
		r.t.Fatal(err)
	}
	return resp
}

// Whatever is wrong with an override is told with what would be right.
func TestOverrideScopes(t *testing.T) {
	c := run(t, "c1", etcd(t))
	c.apply(three)
	for _, test := range []struct {
		req   *pb.CreateOverrideRequest
		words []string
	}{
		{&pb.CreateOverrideRequest{Scope: &pb.OverrideScope{Region: "eu-west"}}, []string{"action:", "OVERRIDE_ACTION_DRAIN"}},
		{&pb.CreateOverrideRequest{Action: drained}, []string{"scope: required"}},
		{&pb.CreateOverrideRequest{Action: drained, Scope: &pb.OverrideScope{}}, []string{"region: required"}},
		{&pb.CreateOverrideRequest{Action: drained, Scope: &pb.OverrideScope{Service: "www.example.test"}}, []string{"region: required", "endpoint of a service"}},
		{&pb.CreateOverrideRequest{Action: drained, Scope: &pb.OverrideScope{Endpoint: "eu-1"}}, []string{"an endpoint needs its service"}},
		{&pb.CreateOverrideRequest{Action: drained, Scope: &pb.OverrideScope{Endpoint: "eu-1", Service: "www.example.test", Region: "eu-west"}}, []string{"in one region by itself"}},
		{&pb.CreateOverrideRequest{Action: forceUp, Scope: &pb.OverrideScope{Region: "eu-wst"}}, []string{`no region "eu-wst"`, `did you mean "eu-west"?`}},
		{&pb.CreateOverrideRequest{Action: drained, Scope: &pb.OverrideScope{Region: "eu-west", AvailabilityZone: "eu-west-c"}}, []string{`no availability zone "eu-west-c"`, `did you mean "eu-west-a"?`}},
		{&pb.CreateOverrideRequest{Action: drained, Scope: &pb.OverrideScope{Service: "ww.example.test", Endpoint: "eu-1"}}, []string{`no service "ww.example.test"`, `did you mean "www.example.test"?`}},
		{&pb.CreateOverrideRequest{Action: forceDown, Scope: &pb.OverrideScope{Service: "www.example.test", Endpoint: "eu-9"}}, []string{`no endpoint "eu-9"`, `did you mean "eu-1"?`}},
		{&pb.CreateOverrideRequest{Action: drained, Scope: &pb.OverrideScope{Service: "pay.example.test", Region: "ap-south"}}, []string{`service "pay.example.test" has no endpoint in region "ap-south"`}},
		{&pb.CreateOverrideRequest{Action: drained, Scope: &pb.OverrideScope{Service: "pay.example.test", Region: "eu-west", AvailabilityZone: "eu-west-a"}}, []string{`no endpoint in availability zone "eu-west-a"`}},
		{&pb.CreateOverrideRequest{Action: drained, Scope: &pb.OverrideScope{Region: "eu-west"}, StartTime: timestamppb.New(time.Now().Add(-time.Hour))}, []string{"start_time", "is over"}},
		{&pb.CreateOverrideRequest{Action: drained, Scope: &pb.OverrideScope{Region: "eu-west"}, StartTime: timestamppb.New(time.Now().Add(10_000 * time.Hour))}, []string{"start_time", "away"}},
	} {
		test.req.Reason = "r"
		_, err := c.CreateOverride(t.Context(), test.req)
		wantCode(t, err, codes.InvalidArgument, test.words...)
	}
	_, err := c.CreateOverride(t.Context(), &pb.CreateOverrideRequest{Action: drained, Scope: &pb.OverrideScope{Region: "eu-west"}})
	wantCode(t, err, codes.InvalidArgument, "reason: required")

	answers := func() []string {
		x, err := c.Explain(t.Context(), &pb.ExplainRequest{Name: "www.example.test", Client: "193.0.6.139"})
		if err != nil {
			t.Fatal(err)
		}
		return slices.Sorted(slices.Values(x.GetAnswers()))
	}
	for _, test := range []struct {
		action pb.OverrideAction
		scope  *pb.OverrideScope
		want   string
	}{
		{drained, &pb.OverrideScope{Service: "WWW.example.test.", Endpoint: "eu-1"}, "192.0.2.11"},
		{forceDown, &pb.OverrideScope{Service: "www.example.test", Endpoint: "eu-2"}, "192.0.2.10"},
		{drained, &pb.OverrideScope{Region: "EU-West", AvailabilityZone: "EU-West-B"}, "192.0.2.10"},
		{drained, &pb.OverrideScope{Region: "eu-west", Service: "www.example.test"}, "192.0.2.20"},
	} {
		made, err := c.CreateOverride(t.Context(), &pb.CreateOverrideRequest{Action: test.action, Scope: test.scope, Reason: "r", Author: "alice"})
		if err != nil {
			t.Fatal(err)
		}
		if got := answers(); !slices.Contains(got, test.want) || len(got) != 1 {
			t.Errorf("%v %v: answers %q, want %s", test.action, test.scope, got, test.want)
		}
		x, err := c.Explain(t.Context(), &pb.ExplainRequest{Name: "www.example.test", Client: "193.0.6.139"})
		if err != nil || len(x.GetOverrides()) != 1 || !proto.Equal(x.GetOverrides()[0], made.GetOverride()) || x.GetControlAgeMillis() > 60_000 {
			t.Errorf("explained by %v, %v; made %v", x.GetOverrides(), err, made.GetOverride())
		}
		// By the scope as it was written, or by the id.
		del := &pb.DeleteOverrideRequest{Action: test.action, Scope: test.scope, Reason: "test"}
		if test.action == forceDown {
			del = &pb.DeleteOverrideRequest{Id: made.GetOverride().GetId(), Reason: "r"}
		}
		gone, err := c.DeleteOverride(t.Context(), del)
		if err != nil || len(gone.GetRemoved()) != 1 || !proto.Equal(gone.GetRemoved()[0], made.GetOverride()) {
			t.Errorf("removed %v, %v; made %v", gone, err, made)
		}
		if again, err := c.DeleteOverride(t.Context(), del); err != nil || len(again.GetRemoved()) != 0 || !proto.Equal(again.GetGeneration(), gone.GetGeneration()) {
			t.Errorf("again: %v, %v", again, err)
		}
	}
	if got := answers(); len(got) != 2 {
		t.Errorf("in the end: %q", got)
	}
	for _, test := range []struct {
		req  *pb.DeleteOverrideRequest
		want string
	}{
		{&pb.DeleteOverrideRequest{Reason: "test"}, "id: required"},
		{&pb.DeleteOverrideRequest{Id: "x"}, "reason: required"},
		{&pb.DeleteOverrideRequest{Id: "x", Reason: "r", Action: drained}, "not both"},
		{&pb.DeleteOverrideRequest{Scope: &pb.OverrideScope{Region: "eu-west"}, Reason: "test"}, "action:"},
		{&pb.DeleteOverrideRequest{Action: drained, Scope: &pb.OverrideScope{Region: "eu-wst"}, Reason: "test"}, `did you mean "eu-west"?`},
	} {
		_, err := c.DeleteOverride(t.Context(), test.req)
		wantCode(t, err, codes.InvalidArgument, test.want)
	}
}

// Who cites an etag changes what he has read, or nothing.
func TestOverrideEtags(t *testing.T) {
	c := run(t, "c1", etcd(t))
	c.apply(three)
	drain := func(etag string, after time.Duration) (*pb.DrainRegionResponse, error) {
		return c.DrainRegion(t.Context(), &pb.DrainRegionRequest{Region: "eu-west", Reason: "r", Etag: etag, ExpireAfter: durationpb.New(after)})
	}
	_, err := drain("no such", time.Hour)
	wantCode(t, err, codes.Aborted, "nothing was changed", "no such override stands any more")
	first, err := drain("", 2*time.Hour)
	if err != nil || first.GetOverride().GetEtag() == "" {
		t.Fatal(first, err)
	}
	_, err = drain("no such", time.Hour)
	wantCode(t, err, codes.Aborted, "nothing was changed", "changed since it was read", first.GetOverride().GetEtag())
	// With its etag it is replaced, also by one that ends sooner.
	shorter, err := drain(first.GetOverride().GetEtag(), time.Hour)
	if err != nil || shorter.GetOverride().GetId() == first.GetOverride().GetId() || len(c.overrides().GetOverrides()) != 1 {
		t.Fatal(shorter, err)
	}
	stands := c.overrides().GetOverrides()[0]
	if !proto.Equal(stands, shorter.GetOverride()) {
		t.Errorf("listed %v, made %v", stands, shorter)
	}
	_, err = c.UndrainRegion(t.Context(), &pb.UndrainRegionRequest{Region: "eu-west", Etag: first.GetOverride().GetEtag(), Reason: "test"})
	wantCode(t, err, codes.Aborted, "changed since it was read")
	_, err = c.DeleteOverride(t.Context(), &pb.DeleteOverrideRequest{Id: stands.GetId(), Reason: "r", Etag: "no such"})
	wantCode(t, err, codes.Aborted, "changed since it was read")
	un, err := c.UndrainRegion(t.Context(), &pb.UndrainRegionRequest{Region: "eu-west", Etag: stands.GetEtag(), Reason: "test"})
	if err != nil || len(un.GetRemoved()) != 1 {
		t.Error(un, err)
	}
	// What is gone is gone.
	if un, err := c.UndrainRegion(t.Context(), &pb.UndrainRegionRequest{Region: "eu-west", Etag: stands.GetEtag(), Reason: "test"}); err != nil || len(un.GetRemoved()) != 0 {
		t.Error(un, err)
	}
}

// A request that is repeated is carried out once, and answered as at first.
func TestRepeatedOverrides(t *testing.T) {
	e := etcd(t)
	c, other := run(t, "c1", e), run(t, "c2", e)
	c.apply(three)
	create := &pb.CreateOverrideRequest{
		Action: forceDown, Scope: &pb.OverrideScope{Service: "www.example.test", Endpoint: "eu-1"}, Reason: "r", RequestId: "create-1",
		StartTime: timestamppb.New(time.Now().Add(time.Hour)),
	}
	first, err := c.CreateOverride(t.Context(), create)
	if err != nil {
		t.Fatal(err)
	}
	again, err := other.CreateOverride(t.Context(), create)
	if err != nil || !proto.Equal(first, again) {
		t.Errorf("again %v, %v; first %v", again, err, first)
	}
	del := &pb.DeleteOverrideRequest{Id: first.GetOverride().GetId(), Reason: "r", RequestId: "delete-1"}
	gone, err := c.DeleteOverride(t.Context(), del)
	if err != nil || len(gone.GetRemoved()) != 1 {
		t.Fatal(gone, err)
	}
	if again, err := other.CreateOverride(t.Context(), create); err != nil || !proto.Equal(first, again) || len(c.overrides().GetScheduled()) != 0 {
		t.Errorf("after the end %v, %v; first %v", again, err, first)
	}
	if again, err := other.DeleteOverride(t.Context(), del); err != nil || !proto.Equal(gone, again) {
		t.Errorf("deleted again %v, %v; first %v", again, err, gone)
	}
	create.Force = true
	_, err = c.CreateOverride(t.Context(), create)
	wantCode(t, err, codes.AlreadyExists, "another request")
}

// A dry run writes nothing: no override, no generation, no event.
func TestOverrideDryRun(t *testing.T) {
	c := run(t, "c1", etcd(t))
	applied := c.apply(three)
	would, err := c.CreateOverride(t.Context(), &pb.CreateOverrideRequest{Action: drained, Scope: &pb.OverrideScope{Region: "us-east"}, Reason: "r", DryRun: true, RequestId: "dry"})
	if err != nil || !would.GetSafety().GetAllowed() || would.GetOverride().GetReason() != "r" || !proto.Equal(would.GetGeneration(), applied.GetGeneration()) {
		t.Errorf("%v, %v", would, err)
	}
	if l := c.overrides(); len(l.GetOverrides()) != 0 || !proto.Equal(l.GetGeneration(), applied.GetGeneration()) {
		t.Errorf("written: %v", l)
	}
	if e := c.newest(); e.GetAction() != "apply" {
		t.Errorf("event: %v", e)
	}
	_, err = c.CreateOverride(t.Context(), &pb.CreateOverrideRequest{Action: drained, Scope: &pb.OverrideScope{Region: "us-est"}, Reason: "r", DryRun: true})
	wantCode(t, err, codes.InvalidArgument, `did you mean "us-east"?`)
}

func TestOverridesInPages(t *testing.T) {
	c := run(t, "c1", etcd(t))
	var text strings.Builder
	text.WriteString(three)
	for i := range 7 {
		text.WriteString("---" + service(fmt.Sprintf("s%d.example.test", i), "192.0.2.1"))
	}
	c.apply(text.String())
	var want []string
	for i := range 7 {
		req := &pb.CreateOverrideRequest{Action: forceUp, Scope: &pb.OverrideScope{Service: fmt.Sprintf("s%d.example.test", i), Endpoint: "e"}, Reason: "r"}
		if i%2 == 1 {
			req.StartTime = timestamppb.New(time.Now().Add(time.Hour))
		}
		made, err := c.CreateOverride(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, made.GetOverride().GetId())
	}
	var inForce, scheduled []string
	req := &pb.ListOverridesRequest{PageSize: 2}
	for range 10 {
		resp, err := c.ListOverrides(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(resp.GetOverrides()) + len(resp.GetScheduled()); n == 0 || n > 2 {
			t.Errorf("a page of %d", n)
		}
		for _, o := range resp.GetOverrides() {
			inForce = append(inForce, o.GetId())
		}
		for _, o := range resp.GetScheduled() {
			scheduled = append(scheduled, o.GetId())
		}
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	all := slices.Sorted(slices.Values(slices.Concat(inForce, scheduled)))
	slices.Sort(want)
	if !slices.Equal(all, want) || len(inForce) != 4 || !slices.IsSorted(inForce) || !slices.IsSorted(scheduled) {
		t.Errorf("listed %q and %q, want %q", inForce, scheduled, want)
	}
	for _, req := range []*pb.ListOverridesRequest{{PageSize: -1}, {PageToken: "rubbish"}} {
		_, err := c.ListOverrides(t.Context(), req)
		wantCode(t, err, codes.InvalidArgument, "page_")
	}
}

// What is scheduled keeps nobody from draining now, and does not add up to more
// and more that comes into force.
func TestMostOverrides(t *testing.T) {
	e := etcd(t)
	var own *store.Store
	c := run(t, "c1", e, func(o *controller.Options) { own = o.Store })
	c.apply(three)
	fill := func(inForce, scheduled int) {
		t.Helper()
		list := func(n int, start *timestamppb.Timestamp) (out []*pb.Override) {
			for i := range n {
				out = append(out, &pb.Override{
					Id: fmt.Sprintf("%v-%04d", start != nil, i), Action: forceUp, Scope: &pb.OverrideScope{Region: "us-east", Service: fmt.Sprintf("s%d.example.test", i)},
					Reason: "r", StartTime: start,
				})
			}
			return out
		}
		edit := catalog.Edit{Overrides: list(inForce, nil), SetOverrides: true, Scheduled: list(scheduled, timestamppb.New(time.Now().Add(time.Hour))), SetScheduled: true}
		_, err := catalog.New(own, slog.New(slog.DiscardHandler)).Change(t.Context(), catalog.Request{Action: "test"}, func(*catalog.Version) (catalog.Edit, error) { return edit, nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	drain := func(in time.Duration) error {
		req := &pb.DrainRegionRequest{Region: "eu-west", Reason: "r", DryRun: true}
		if in > 0 {
			req.StartTime = timestamppb.New(time.Now().Add(in))
		}
		_, err := c.DrainRegion(t.Context(), req)
		return err
	}
	for _, test := range []struct {
		inForce, scheduled int
		now, later         codes.Code
	}{
		{999, 0, codes.OK, codes.OK},
		{1000, 0, codes.ResourceExhausted, codes.ResourceExhausted},
		{500, 499, codes.OK, codes.OK},
		{500, 500, codes.OK, codes.ResourceExhausted},
		{0, 1000, codes.OK, codes.ResourceExhausted},
	} {
		fill(test.inForce, test.scheduled)
		wantCode(t, drain(0), test.now)
		wantCode(t, drain(time.Hour), test.later)
	}
}
