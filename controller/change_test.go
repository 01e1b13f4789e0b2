package controller_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

// Applied, published, fed, served: and whoever waits is told.
func TestApplyReachesNameservers(t *testing.T) {
	c := run(t, "c1", etcd(t))
	if err := c.Ready(); err != nil {
		eventually(t, "ready with nothing configured", func() bool { return c.Ready() == nil })
	}
	_, err := c.ListResources(t.Context(), &pb.ListResourcesRequest{})
	wantCode(t, err, codes.FailedPrecondition, "nothing is configured")

	n := c.subscribe(&pb.NameserverHello{Nameserver: "ns-1", Region: "eu-west"})
	n.next("a heartbeat", func(m *pb.SubscribeResponse) bool { return m.GetHeartbeat() != nil })
	done := make(chan *pb.ApplyResponse)
	go func() {
		defer close(done)
		resp, err := c.Apply(t.Context(), &pb.ApplyRequest{Resources: resources(t, base), Wait: durationpb.New(time.Minute)})
		if err != nil {
			t.Error(err)
			return
		}
		done <- resp
	}()
	u, tree := n.plan(nil)
	if got := strings.Join(tree.Set.Names(config.KindService), " "); got != "www.example.test" {
		t.Errorf("services fed: %s", got)
	}
	n.acknowledge(u.GetGeneration(), "")
	resp := <-done
	if !proto.Equal(resp.GetGeneration(), u.GetGeneration()) || !slices.Equal(resp.GetConvergence().GetServing(), []string{"ns-1"}) || len(resp.GetConvergence().GetMissing()) > 0 {
		t.Errorf("applied %v, converged %v; fed %v", resp.GetGeneration(), resp.GetConvergence(), u.GetGeneration())
	}
	if len(resp.GetChanges()) != 7 || resp.GetChanges()[0].GetAction() != pb.ChangeAction_CHANGE_ACTION_CREATE {
		t.Errorf("changes: %v", resp.GetChanges())
	}
	// Whoever applies and reads at the same controller reads what he applied.
	if got := c.names("Service"); got != "www.example.test" {
		t.Errorf("services: %s", got)
	}
	x, err := c.Explain(t.Context(), &pb.ExplainRequest{Name: "www.example.test", Client: "193.0.6.139"})
	if err != nil || x.GetSource() != "controller/c1" || !slices.Equal(x.GetAnswers(), []string{"192.0.2.10"}) {
		t.Errorf("explain: %v, %v", x, err)
	}
	st, err := c.GetStatus(t.Context(), &pb.GetStatusRequest{})
	if err != nil || !st.GetStoreAvailable() || len(st.GetRegions()) != 2 || len(st.GetServices()) != 1 ||
		len(st.GetNameservers()) != 1 || !proto.Equal(st.GetNameservers()[0].GetGeneration(), u.GetGeneration()) {
		t.Errorf("status: %v, %v", st, err)
	}
	// A nameserver that refuses is missing, and says why.
	go n.acknowledge(u.GetGeneration(), "generation 1.9: torn")
	eventually(t, "the refusal in the status", func() bool {
		st, err := c.GetStatus(t.Context(), &pb.GetStatusRequest{})
		return err == nil && st.GetNameservers()[0].GetRefusal() == "generation 1.9: torn"
	})
}

func TestDryRunAndIdempotence(t *testing.T) {
	e := etcd(t)
	c, client := run(t, "c1", e), raw(t, e)
	head := func() int64 {
		r, err := client.Get(t.Context(), headKey)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Kvs) == 0 {
			return 0
		}
		return r.Kvs[0].ModRevision
	}
	dry, err := c.Apply(t.Context(), &pb.ApplyRequest{Resources: resources(t, base), DryRun: true})
	if err != nil || len(dry.GetChanges()) != 7 || dry.GetGeneration().GetRevision() != 0 {
		t.Fatalf("dry run: %v, %v", dry, err)
	}
	if rev := head(); rev != 0 {
		t.Fatalf("a dry run wrote revision %d", rev)
	}
	first := c.apply(base)
	again := c.apply(base)
	if !proto.Equal(first.GetGeneration(), again.GetGeneration()) || len(again.GetChanges()) != 0 || again.GetUnchanged() != 7 {
		t.Errorf("applied again: %v", again)
	}
	if rev := head(); rev != first.GetGeneration().GetRevision() {
		t.Errorf("the head is at %d, want %v", rev, first.GetGeneration())
	}
	// Prune deletes what is not named, and shows it first.
	c.apply(service("old.example.test", "192.0.2.80"))
	req := &pb.ApplyRequest{Resources: resources(t, base), Prune: true, DryRun: true}
	dry, err = c.Apply(t.Context(), req)
	if err != nil || len(dry.GetChanges()) != 1 || dry.GetChanges()[0].GetAction() != pb.ChangeAction_CHANGE_ACTION_DELETE {
		t.Fatalf("dry run of prune: %v, %v", dry, err)
	}
	req.DryRun = false
	if _, err := c.Apply(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if got := c.names("Service"); got != "www.example.test" {
		t.Errorf("after prune: %s", got)
	}
}

func TestAllErrorsAtOnce(t *testing.T) {
	c := run(t, "c1", etcd(t))
	c.apply(base)
	bad := strings.NewReplacer("eu-west,", "eu-wst,", "policy: nearest", "policy: neerest", "192.0.2.20", "192.0.2.300").Replace(www)
	docs := resources(t, bad)
	_, err := c.Apply(t.Context(), &pb.ApplyRequest{Resources: docs})
	wantCode(t, err, codes.InvalidArgument, "nothing was changed", "3 errors")
	got := violations(t, err)
	for field, words := range map[string]string{
		"services/www.example.test spec.policy":                    `did you mean "nearest"?`,
		"services/www.example.test spec.endpoints[0].region":       `did you mean "eu-west"?`,
		"services/www.example.test spec.endpoints[1].addresses[0]": "192.0.2.300",
	} {
		if !strings.Contains(got[field], words) {
			t.Errorf("%s: %q, want %q in it; all: %v", field, got[field], words, slices.Collect(maps.Keys(got)))
		}
	}
	if got := c.list("Service").GetResources()[0].GetService().GetSpec().GetPolicy(); got != "nearest" {
		t.Errorf("the policy is %q now", got)
	}
	// However much is wrong, the answer arrives.
	var many strings.Builder
	for i := range 500 {
		fmt.Fprintf(&many, "---%s", strings.Replace(service(fmt.Sprintf("s%d.example.test", i), "192.0.2.1"), "nearest", strings.Repeat("x", 60), 1))
	}
	_, err = c.Apply(t.Context(), &pb.ApplyRequest{Resources: resources(t, many.String())})
	wantCode(t, err, codes.InvalidArgument, "500 errors")
	if n := len(violations(t, err)); n != 101 {
		t.Errorf("%d violations, want 100 and one for the rest", n)
	}
}

func TestEtagsGuardAgainstOthers(t *testing.T) {
	c := run(t, "c1", etcd(t))
	c.apply(base)
	mine := c.list("Service").GetResources()[0]
	c.apply(strings.Replace(www, "ttl: 30s", "ttl: 40s", 1))
	mine.GetService().GetSpec().Ttl = durationpb.New(50 * time.Second)
	_, err := c.Apply(t.Context(), &pb.ApplyRequest{Resources: []*pb.Resource{mine}})
	wantCode(t, err, codes.InvalidArgument, "changed by somebody else")
	mine.GetService().GetMetadata().Etag = c.list("Service").GetResources()[0].GetService().GetMetadata().GetEtag()
	if _, err := c.Apply(t.Context(), &pb.ApplyRequest{Resources: []*pb.Resource{mine}}); err != nil {
		t.Error(err)
	}
}

// Two controllers, several writers at each: every acknowledged change is there.
func TestConcurrentWritersLoseNothing(t *testing.T) {
	e := etcd(t)
	cs := []*running{run(t, "c1", e), run(t, "c2", e)}
	cs[0].apply(base)
	const writers, each = 4, 4
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			c := cs[w%len(cs)]
			for i := range each {
				text := service(fmt.Sprintf("w%d-%d.example.test", w, i), "192.0.2.1")
				if _, err := c.Apply(t.Context(), &pb.ApplyRequest{Resources: resources(t, text)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i, region := range []string{"eu-west", "us-east"} {
		wg.Go(func() {
			if _, err := cs[i].DrainRegion(t.Context(), &pb.DrainRegionRequest{Region: region, Reason: "test", Force: true}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, c := range cs {
		eventually(t, "all services and drains at every controller", func() bool {
			o, err := c.ListOverrides(t.Context(), &pb.ListOverridesRequest{})
			return err == nil && len(o.GetOverrides()) == 2 && len(c.list("Service").GetResources()) == 1+writers*each
		})
	}
}

func TestRepeatedRequests(t *testing.T) {
	e := etcd(t)
	c, other := run(t, "c1", e), run(t, "c2", e)
	req := &pb.ApplyRequest{Resources: resources(t, base), RequestId: "apply-1", Reason: "first"}
	first, err := c.Apply(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	c.apply(strings.Replace(www, "ttl: 30s", "ttl: 40s", 1))
	// At another controller, after somebody else has changed the same: nothing is
	// changed back, and the answer is the first one.
	again, err := other.Apply(t.Context(), req)
	if err != nil || !proto.Equal(again, first) {
		t.Errorf("repeated: %v, %v; first %v", again, err, first)
	}
	if ttl := c.list("Service").GetResources()[0].GetService().GetSpec().GetTtl().GetSeconds(); ttl != 40 {
		t.Errorf("the repeated request set the TTL to %d", ttl)
	}
	_, err = c.Apply(t.Context(), &pb.ApplyRequest{Resources: resources(t, www), RequestId: "apply-1"})
	wantCode(t, err, codes.AlreadyExists, "another request", "apply-1")
	_, err = c.Apply(t.Context(), &pb.ApplyRequest{Resources: resources(t, www), RequestId: "not printable"})
	wantCode(t, err, codes.InvalidArgument, "request_id")

	drain := &pb.DrainRegionRequest{Region: "eu-west", Reason: "test", RequestId: "drain-1"}
	made, err := c.DrainRegion(t.Context(), drain)
	if err != nil {
		t.Fatal(err)
	}
	undrain := &pb.UndrainRegionRequest{Region: "eu-west", RequestId: "undrain-1", Reason: "test"}
	removed, err := c.UndrainRegion(t.Context(), undrain)
	if err != nil || len(removed.GetRemoved()) != 1 {
		t.Fatal(removed, err)
	}
	// A drain that is repeated late does not undo the undrain.
	drain.Wait = durationpb.New(0)
	if again, err := other.DrainRegion(t.Context(), drain); err != nil || !proto.Equal(again, made) {
		t.Errorf("repeated drain: %v, %v; first %v", again, err, made)
	}
	if again, err := other.UndrainRegion(t.Context(), undrain); err != nil || !proto.Equal(again, removed) {
		t.Errorf("repeated undrain: %v, %v; first %v", again, err, removed)
	}
	eventually(t, "no override", func() bool {
		o, err := other.ListOverrides(t.Context(), &pb.ListOverridesRequest{})
		return err == nil && len(o.GetOverrides()) == 0
	})
	// So is a deletion, though what it deleted is gone.
	del := &pb.DeleteResourceRequest{Kind: "service", Name: "www.example.test", RequestId: "delete-1"}
	for range 2 {
		if _, err := c.DeleteResource(t.Context(), del); err != nil {
			t.Error(err)
		}
	}
}

func TestDrainUndrain(t *testing.T) {
	c := run(t, "c1", etcd(t))
	c.apply(base)
	drain := func(req *pb.DrainRegionRequest) (*pb.DrainRegionResponse, error) {
		return c.DrainRegion(t.Context(), req)
	}
	for _, test := range []struct {
		req   *pb.DrainRegionRequest
		words []string
	}{
		{&pb.DrainRegionRequest{Region: "eu-west"}, []string{"reason", "required"}},
		{&pb.DrainRegionRequest{Region: "eu-wst", Reason: "r"}, []string{`no region "eu-wst"`, `did you mean "eu-west"?`}},
		{&pb.DrainRegionRequest{Reason: "r"}, []string{"region: required"}},
		{&pb.DrainRegionRequest{Region: "eu-west", AvailabilityZone: "eu-west-b", Reason: "r"}, []string{`no availability zone "eu-west-b"`, `did you mean "eu-west-a"?`}},
		{&pb.DrainRegionRequest{Region: "eu-west", Service: "ww.example.test", Reason: "r"}, []string{`no service "ww.example.test"`, `did you mean "www.example.test"?`}},
		{&pb.DrainRegionRequest{Region: "eu-west", Reason: strings.Repeat("r", 2000)}, []string{"reason: 2000 bytes"}},
		{&pb.DrainRegionRequest{Region: "eu-west", Reason: "r", ExpireAfter: durationpb.New(-time.Second)}, []string{"expire_after"}},
	} {
		_, err := drain(test.req)
		wantCode(t, err, codes.InvalidArgument, test.words...)
	}
	first, err := drain(&pb.DrainRegionRequest{Region: "EU-West", Reason: "maintenance", Author: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	if o := first.GetOverride(); o.GetAuthor() != "alice" || o.GetReason() != "maintenance" || o.GetScope().GetRegion() != "eu-west" || o.GetId() == "" {
		t.Errorf("override: %v", o)
	}
	again, err := drain(&pb.DrainRegionRequest{Region: "eu-west", Reason: "again", ExpireAfter: durationpb.New(time.Hour)})
	if err != nil || !proto.Equal(first.GetOverride(), again.GetOverride()) || !proto.Equal(first.GetGeneration(), again.GetGeneration()) || again.GetSafety() != nil {
		t.Errorf("again: %v, %v; first %v", again, err, first)
	}
	x, err := c.Explain(t.Context(), &pb.ExplainRequest{Name: "www.example.test", Client: "193.0.6.139"})
	if err != nil || !slices.Equal(x.GetAnswers(), []string{"192.0.2.20"}) {
		t.Errorf("drained: %v, %v", x.GetAnswers(), err)
	}
	if _, err := drain(&pb.DrainRegionRequest{Region: "eu-west", Service: "www.example.test.", Reason: "one service"}); err != nil {
		t.Error(err)
	}
	un, err := c.UndrainRegion(t.Context(), &pb.UndrainRegionRequest{Region: "eu-west", Reason: "test"})
	if err != nil || len(un.GetRemoved()) != 1 || un.GetRemoved()[0].GetId() != first.GetOverride().GetId() {
		t.Errorf("undrain: %v, %v", un, err)
	}
	once, err := c.UndrainRegion(t.Context(), &pb.UndrainRegionRequest{Region: "eu-west", Reason: "test"})
	if err != nil || len(once.GetRemoved()) != 0 || !proto.Equal(once.GetGeneration(), un.GetGeneration()) {
		t.Errorf("undrained again: %v, %v", once, err)
	}
	_, err = c.UndrainRegion(t.Context(), &pb.UndrainRegionRequest{Region: "eu-wst", Reason: "test"})
	wantCode(t, err, codes.InvalidArgument, `did you mean "eu-west"?`)
	// An apply, even one that prunes, leaves overrides alone.
	if _, err := c.Apply(t.Context(), &pb.ApplyRequest{Resources: resources(t, strings.Replace(base, "30s", "31s", 1)), Prune: true}); err != nil {
		t.Fatal(err)
	}
	if o, err := c.ListOverrides(t.Context(), &pb.ListOverridesRequest{}); err != nil || len(o.GetOverrides()) != 1 {
		t.Errorf("overrides after prune: %v, %v", o, err)
	}
}

// A controller removes what has expired; a drain that is asked for longer than
// the one that stands replaces it.
func TestDrainExpires(t *testing.T) {
	c := run(t, "c1", etcd(t))
	c.apply(base)
	short, err := c.DrainRegion(t.Context(), &pb.DrainRegionRequest{Region: "eu-west", Reason: "drill", ExpireAfter: durationpb.New(500 * time.Millisecond)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.DrainRegion(t.Context(), &pb.DrainRegionRequest{Region: "us-east", Reason: "drill", ExpireAfter: durationpb.New(500 * time.Millisecond), Force: true}); err != nil {
		t.Fatal(err)
	}
	// Who does not say how long makes none that ends stand for ever.
	if again, err := c.DrainRegion(t.Context(), &pb.DrainRegionRequest{Region: "eu-west", Reason: "incident"}); err != nil || again.GetOverride().GetId() != short.GetOverride().GetId() {
		t.Fatalf("the drain that stays is %v, %v", again, err)
	}
	long, err := c.DrainRegion(t.Context(), &pb.DrainRegionRequest{Region: "eu-west", Reason: "incident", ExpireAfter: durationpb.New(0)})
	if err != nil || long.GetOverride().GetId() == short.GetOverride().GetId() {
		t.Fatalf("the drain that stays is %v, %v", long, err)
	}
	eventually(t, "the drill to end", func() bool {
		o, err := c.ListOverrides(t.Context(), &pb.ListOverridesRequest{})
		return err == nil && len(o.GetOverrides()) == 1 && o.GetOverrides()[0].GetId() == long.GetOverride().GetId()
	})
}

func TestListInPages(t *testing.T) {
	c := run(t, "c1", etcd(t))
	var text strings.Builder
	text.WriteString(base)
	for i := range 25 {
		text.WriteString("---" + service(fmt.Sprintf("s%02d.example.test", i), "192.0.2.1"))
	}
	c.apply(text.String())
	for _, kind := range []string{"", "Service"} {
		want := 26
		if kind == "" {
			want = 32
		}
		var all []string
		req := &pb.ListResourcesRequest{Kind: kind, PageSize: 10}
		for range 10 {
			resp, err := c.ListResources(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			if len(resp.GetResources()) > 10 {
				t.Fatalf("a page of %d", len(resp.GetResources()))
			}
			for _, r := range resp.GetResources() {
				all = append(all, config.KeyOf(r).String())
				if config.Metadata(r).GetEtag() == "" {
					t.Errorf("%s has no etag", config.KeyOf(r))
				}
			}
			if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
				break
			}
		}
		if n := len(slices.Compact(slices.Sorted(slices.Values(all)))); n != want || len(all) != want {
			t.Errorf("kind %q: %d resources, %d different, want %d", kind, len(all), n, want)
		}
	}
	one, err := c.ListResources(t.Context(), &pb.ListResourcesRequest{Kind: "services", Name: "WWW.example.test."})
	if err != nil || len(one.GetResources()) != 1 {
		t.Errorf("by name: %v, %v", one, err)
	}
	for _, test := range []struct {
		req   *pb.ListResourcesRequest
		code  codes.Code
		words string
	}{
		{&pb.ListResourcesRequest{Kind: "Servce"}, codes.InvalidArgument, "services"},
		{&pb.ListResourcesRequest{Name: "x"}, codes.InvalidArgument, "kind"},
		{&pb.ListResourcesRequest{Kind: "Region", Name: "x"}, codes.NotFound, `no Region "x"`},
		{&pb.ListResourcesRequest{PageSize: -1}, codes.InvalidArgument, "page_size"},
		{&pb.ListResourcesRequest{PageToken: "rubbish"}, codes.InvalidArgument, "page_token"},
		{&pb.ListResourcesRequest{Kind: "Region", PageToken: "services/www.example.test"}, codes.InvalidArgument, "page_token"},
	} {
		_, err := c.ListResources(t.Context(), test.req)
		wantCode(t, err, test.code, test.words)
	}
}

func TestDeleteResource(t *testing.T) {
	c := run(t, "c1", etcd(t))
	c.apply(base)
	_, err := c.DeleteResource(t.Context(), &pb.DeleteResourceRequest{Kind: "SteeringPolicy", Name: "nearest"})
	wantCode(t, err, codes.FailedPrecondition, "in use", "www.example.test")
	_, err = c.DeleteResource(t.Context(), &pb.DeleteResourceRequest{Kind: "Service", Name: "wwww.example.test"})
	wantCode(t, err, codes.NotFound, "wwww.example.test", `did you mean "www.example.test"?`)
	_, err = c.DeleteResource(t.Context(), &pb.DeleteResourceRequest{Kind: "Servic", Name: "x"})
	wantCode(t, err, codes.InvalidArgument)
	for _, key := range []config.Key{{Kind: "Service", Name: "www.example.test"}, {Kind: "SteeringPolicy", Name: "nearest"}} {
		if _, err := c.DeleteResource(t.Context(), &pb.DeleteResourceRequest{Kind: key.Kind, Name: key.Name}); err != nil {
			t.Error(err)
		}
	}
	if got := c.names("Service") + c.names("SteeringPolicy"); got != "" {
		t.Errorf("left: %s", got)
	}
}

// The audit event of a change of many long names is cut, not refused.
func TestLargeApply(t *testing.T) {
	c := run(t, "c1", etcd(t))
	c.apply(base)
	label := strings.Repeat("a", 60)
	var text strings.Builder
	for i := range 600 {
		text.WriteString("---" + service(fmt.Sprintf("s%d.%s.%s.%s.example.test", i, label, label, label), "192.0.2.1"))
	}
	req := &pb.ApplyRequest{Resources: resources(t, text.String()), RequestId: "large"}
	resp, err := c.Apply(t.Context(), req)
	if err != nil || len(resp.GetChanges()) != 600 {
		t.Fatal(len(resp.GetChanges()), err)
	}
	again, err := c.Apply(t.Context(), req)
	if err != nil || !proto.Equal(again.GetGeneration(), resp.GetGeneration()) {
		t.Error(errors.Join(err, fmt.Errorf("repeated: %v", again.GetGeneration())))
	}
}
