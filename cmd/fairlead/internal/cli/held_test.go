package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

// unplaced knows of no endpoint where it is.
func unplaced(s *pb.OverrideScope) *pb.OverrideScope { return s }

// holding is a controller with a service that has endpoints in two regions, and
// overrides that it lists. Removing one removes it.
func holding(t *testing.T, overrides []*pb.Override, glass ...*pb.BreakGlassStatus) (*fake, func(args ...string) result) {
	t.Helper()
	service := &pb.Resource{Kind: &pb.Resource_Service{Service: &pb.Service{Metadata: &pb.Metadata{Name: "www.example.test"}, Spec: &pb.ServiceSpec{Endpoints: []*pb.Endpoint{
		{Name: "eu-1", Region: "eu-west", AvailabilityZone: "a"}, {Name: "us-1", Region: "us-east"},
	}}}}}
	f := &fake{}
	f.list = func(r *pb.ListResourcesRequest) (*pb.ListResourcesResponse, error) {
		if r.GetKind() == config.KindService && r.GetName() == "www.example.test" {
			return &pb.ListResourcesResponse{Resources: []*pb.Resource{service}}, nil
		}
		return &pb.ListResourcesResponse{}, nil
	}
	f.listed = func() *pb.ListOverridesResponse {
		return &pb.ListOverridesResponse{Overrides: overrides, BreakGlass: glass, Generation: gen(44)}
	}
	f.remove = func(r *pb.DeleteOverrideRequest) (*pb.DeleteOverrideResponse, error) {
		resp := &pb.DeleteOverrideResponse{Generation: gen(45)}
		for _, o := range overrides {
			if o.GetAction() == r.GetAction() && scopeText(o.GetScope()) == scopeText(r.GetScope()) {
				resp.Removed = append(resp.Removed, o)
			}
		}
		return resp, nil
	}
	addr := serve(t, f)
	return f, func(args ...string) result {
		t.Helper()
		return run(t, "", append(args, "--reason", "r", "--controller", addr)...)
	}
}

func standing(id string, action pb.OverrideAction, scope *pb.OverrideScope) *pb.Override {
	return &pb.Override{Id: id, Action: action, Scope: scope, Author: "alice", Reason: "because of " + id}
}

const (
	drain     = pb.OverrideAction_OVERRIDE_ACTION_DRAIN
	forceUp   = pb.OverrideAction_OVERRIDE_ACTION_FORCE_UP
	forceDown = pb.OverrideAction_OVERRIDE_ACTION_FORCE_DOWN
)

var eu1 = &pb.OverrideScope{Service: "www.example.test", Endpoint: "eu-1"}

// Who undrains an endpoint is told that its region's drain still holds it.
func TestUndrainOfAnEndpointInADrainedRegion(t *testing.T) {
	_, pull := holding(t, []*pb.Override{
		standing("own", drain, eu1), standing("wide", drain, euWest), standing("elsewhere", drain, &pb.OverrideScope{Region: "us-east"}),
		standing("zone", drain, &pb.OverrideScope{Region: "eu-west", AvailabilityZone: "b"}),
	})
	r := pull("endpoint", "undrain", "www.example.test/eu-1")
	r.want(t, exitDone, "the drain of service www.example.test, endpoint eu-1 is removed; generation 1.45",
		"service www.example.test, endpoint eu-1 stays out of the answers, because of:\n", "because of wide")
	if strings.Contains(r.out, "no longer drained") || strings.Contains(r.out, "elsewhere") || strings.Contains(r.out, "of zone") {
		t.Error(r.out)
	}
	r = pull("endpoint", "undrain", "www.example.test/eu-1", "-o", "json")
	var doc struct {
		StillInForce []struct{ ID string }
	}
	if err := json.Unmarshal([]byte(r.out), &doc); err != nil || len(doc.StillInForce) != 1 || doc.StillInForce[0].ID != "wide" {
		t.Errorf("%v\n%s", err, r.out)
	}
}

// What nameservers were told directly counts more than what is undone here.
func TestUndrainUnderBreakGlass(t *testing.T) {
	glass := sampleBreakGlass()[0]
	_, pull := holding(t, nil, glass)
	pull("endpoint", "undrain", "www.example.test/eu-1").want(t, exitDone, "had no drain; nothing was changed",
		"nameservers were told otherwise directly", "ns-1,ns-2", "\n  fairlead override end bg-k3j2h4g5f6d7 --reason TEXT\n")
	if h := (held{glass: []*pb.BreakGlassStatus{glass}}).against(drains); len(h.glass) != 0 {
		t.Errorf("%v: a drain does not work against a drain", h.glass)
	}
}

// A region is described with all that holds endpoints in it, now and later.
func TestDescribeRegionHeld(t *testing.T) {
	place := func(s *pb.OverrideScope) *pb.OverrideScope {
		if s.GetEndpoint() == "eu-1" {
			return &pb.OverrideScope{Region: "eu-west", Service: s.GetService(), Endpoint: "eu-1"}
		}
		return s
	}
	p := &printer{now: noon}
	describeMember(p, config.KindRegion, "eu-west", &pb.GetStatusResponse{
		Regions:    []*pb.RegionStatus{{Region: "eu-west", Endpoints: 2, Healthy: 2}},
		Overrides:  []*pb.Override{standing("own", drain, eu1), standing("elsewhere", drain, &pb.OverrideScope{Region: "us-east"})},
		Scheduled:  []*pb.Override{standing("tonight", drain, euWest)},
		BreakGlass: sampleBreakGlass(),
	}, place)
	for _, want := range []string{"all healthy; break-glass drain at ns-1, ns-2", "because of own", "SCHEDULED", "because of tonight", "BREAK-GLASS", "bg-k3j2h4g5f6d7"} {
		if !strings.Contains(p.String(), want) {
			t.Errorf("%q is missing", want)
		}
	}
	if strings.Contains(p.String(), "elsewhere") || strings.Contains(p.String(), "bg-old") || t.Failed() {
		t.Error(p.String())
	}
}

// Many that are late are counted, not listed.
func TestLaggardLines(t *testing.T) {
	got := laggardLines(&pb.Convergence{Missing: strings.Split("abcdefg", ""), Reasons: map[string]string{"b": "not connected"}})
	if len(got) != mostLaggards+1 || got[1].text != "  not yet    b: not connected" || got[mostLaggards].text != "  not yet    and 2 more" {
		t.Errorf("%v", got)
	}
}

// A release calls for what stands alone, so that it is done or not; where both stand
// and one fails, it says what was done.
func TestRelease(t *testing.T) {
	_, pull := holding(t, []*pb.Override{standing("down", forceDown, eu1)})
	pull("endpoint", "release", "www.example.test/eu-1", "-o", "name").want(t, exitDone, "overrides/down\n")

	f, pull := holding(t, []*pb.Override{standing("up", forceUp, eu1), standing("down", forceDown, eu1)})
	remove := f.remove
	f.remove = func(r *pb.DeleteOverrideRequest) (*pb.DeleteOverrideResponse, error) {
		if r.GetAction() == forceDown {
			return nil, status.Error(codes.FailedPrecondition, "not now")
		}
		return remove(r)
	}
	pull("endpoint", "release", "www.example.test/eu-1").want(t, exitFailed,
		"half of it is done: force-up is removed in generation 1.45, and force-down may still stand; repeat the command: not now")
}
