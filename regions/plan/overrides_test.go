package plan

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
)

func TestWith(t *testing.T) {
	b := compile(t, load(t, sample))
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	up := &pb.Override{
		Id: "b", Action: pb.OverrideAction_OVERRIDE_ACTION_FORCE_UP, Author: "bo", Reason: "known good",
		Scope: &pb.OverrideScope{Service: "www.example.test", Endpoint: "eu-1"}, CreateTime: timestamppb.New(at), ExpireTime: timestamppb.New(at.Add(time.Hour)),
	}
	down := drain("c", &pb.OverrideScope{Region: "eu-west", AvailabilityZone: "a"})
	down.Action = pb.OverrideAction_OVERRIDE_ACTION_FORCE_DOWN
	p := b.With(testGeneration, &pb.OverrideSet{
		Overrides:      []*pb.Override{down, up, drain("a", &pb.OverrideScope{Region: "us-east"}), {Id: "none"}},
		Scheduled:      []*pb.Override{drain("later", &pb.OverrideScope{Region: "eu-west"})},
		BreakGlassEnds: []*pb.BreakGlassEnd{{Id: "bg-1", Author: "bo", Reason: "etcd is back"}},
	})
	if d := cmp.Diff([]regions.Override{
		{ID: "a", Action: regions.Drain, Scope: regions.Scope{Region: "us-east"}, Author: "ana", Reason: "patching"},
		{ID: "b", Action: regions.ForceUp, Scope: regions.Scope{Service: "www.example.test", Endpoint: "eu-1"}, Author: "bo", Reason: "known good", Created: at, Expires: at.Add(time.Hour)},
		{ID: "c", Action: regions.ForceDown, Scope: regions.Scope{Region: "eu-west", AvailabilityZone: "a"}, Author: "ana", Reason: "patching"},
	}, p.Overrides); d != "" {
		t.Error(d)
	}
	if p.Generation != testGeneration || p.Compiled != b || p.Base != b.Base || !cmp.Equal(p.Ignored, []string{"none"}) {
		t.Errorf("%+v", p)
	}
	if d := cmp.Diff(map[string]string{"bg-1": "by bo: etcd is back"}, p.BreakGlassEnds); d != "" {
		t.Error(d)
	}
	if none := b.With(testGeneration, nil); none.BreakGlassEnds != nil || none.Overrides != nil {
		t.Errorf("%+v", none)
	}
}

// TestBreakGlass: a record as the domain has it, and what is none.
func TestBreakGlass(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for action, want := range map[pb.BreakGlassAction]regions.Action{
		pb.BreakGlassAction_BREAK_GLASS_ACTION_DRAIN: regions.Drain, pb.BreakGlassAction_BREAK_GLASS_ACTION_UNDRAIN: regions.Undrain,
		pb.BreakGlassAction_BREAK_GLASS_ACTION_FORCE_UP: regions.ForceUp, pb.BreakGlassAction_BREAK_GLASS_ACTION_FORCE_DOWN: regions.ForceDown,
	} {
		got, err := BreakGlass(&pb.BreakGlassRecord{
			Id: "bg-1", Action: action, Scope: &pb.OverrideScope{Region: "eu-west", AvailabilityZone: "a"}, Author: "ana", Reason: "etcd is gone",
			CreateTime: timestamppb.New(at), RemainingMillis: 1000,
		})
		if d := cmp.Diff(regions.Override{
			ID: "bg-1", Action: want, Origin: regions.BreakGlass, Scope: regions.Scope{Region: "eu-west", AvailabilityZone: "a"},
			Author: "ana", Reason: "etcd is gone", Created: at,
		}, got); d != "" || err != nil {
			t.Errorf("%v: %v %s", action, err, d)
		}
	}
	newer := &pb.OverrideScope{Region: "eu-west"}
	newer.ProtoReflect().SetUnknown([]byte{0xfa, 0x07, 0x01, 'x'})
	for want, r := range map[string]*pb.BreakGlassRecord{
		`break-glass record "bg-1": action 9 is not known here: want drain, undrain, force-up or force-down`: {Id: "bg-1", Action: 9, Scope: &pb.OverrideScope{Region: "eu-west"}},
		`break-glass record "bg-2": no scope: want a region, a service or both`:                              {Id: "bg-2", Action: pb.BreakGlassAction_BREAK_GLASS_ACTION_DRAIN},
		`break-glass record "bg-3": its scope has fields of a newer version`:                                 {Id: "bg-3", Action: pb.BreakGlassAction_BREAK_GLASS_ACTION_DRAIN, Scope: newer},
	} {
		if o, err := BreakGlass(r); err == nil || err.Error() != want {
			t.Errorf("%+v, %v; want %s", o, err, want)
		}
	}
}

// TestDrainRules: what a policy and a service state of drains, and the defaults.
func TestDrainRules(t *testing.T) {
	hours := func(n int64) *durationpb.Duration { return &durationpb.Duration{Seconds: n * 3600} }
	defaults := regions.DefaultSafety().Drains
	for _, c := range []struct {
		name string
		in   *pb.DrainRules
		want func(*regions.DrainRules)
	}{
		{"none", nil, func(*regions.DrainRules) {}},
		{"empty", &pb.DrainRules{}, func(*regions.DrainRules) {}},
		{
			"all of it", &pb.DrainRules{
				MinRegions: proto.Uint32(2), MinRegionsPerService: proto.Uint32(3), MaxDrainedCapacityPercent: proto.Uint32(40), CapacityHeadroomPercent: proto.Uint32(0),
				QuietTime: hours(1), DefaultExpiry: hours(2), MaxExpiry: hours(3), AbsoluteRules: []string{"min-regions"},
			}, func(r *regions.DrainRules) {
				*r = regions.DrainRules{
					MinRegions: 2, MinRegionsPerService: 3, MaxDrainedPercent: 40, HeadroomPercent: 0,
					QuietTime: time.Hour, DefaultExpiry: 2 * time.Hour, MaxExpiry: 3 * time.Hour, Absolute: []string{"min-regions"},
				}
			},
		},
		{"off", &pb.DrainRules{MinRegions: proto.Uint32(0), MinRegionsPerService: proto.Uint32(0)}, func(r *regions.DrainRules) { r.MinRegions, r.MinRegionsPerService = 0, 0 }},
		{"a longest time and no default", &pb.DrainRules{MaxExpiry: hours(3)}, func(r *regions.DrainRules) { r.MaxExpiry, r.DefaultExpiry = 3*time.Hour, 3*time.Hour }},
		{
			"what no version should have stored", &pb.DrainRules{
				MinRegions: proto.Uint32(1 << 31), MaxDrainedCapacityPercent: proto.Uint32(500), CapacityHeadroomPercent: proto.Uint32(1 << 31),
				QuietTime: hours(-1), DefaultExpiry: hours(5), MaxExpiry: hours(3), AbsoluteRules: []string{"of-a-newer-version"},
			}, func(r *regions.DrainRules) {
				r.MinRegions, r.HeadroomPercent, r.DefaultExpiry, r.MaxExpiry = regions.MaxRegions, 1000, 3*time.Hour, 3*time.Hour
				r.Absolute = []string{"of-a-newer-version"}
			},
		},
	} {
		want := defaults
		c.want(&want)
		if d := cmp.Diff(want, drainRules(c.in)); d != "" {
			t.Error(c.name, d)
		}
	}
	b := compile(t, change(t, load(t, sample), config.Key{Kind: config.KindService, Name: "www.example.test"}, func(r *pb.Resource) {
		r.GetService().Spec.Safety = &pb.ServiceSafety{MinRegions: proto.Uint32(2), Protected: true, Demand: 40}
	}))
	www, _ := b.Service("www.example.test")
	if s := b.Services[www]; s.MinRegions != 2 || !s.Protected || s.Demand != 40 {
		t.Errorf("%+v", s)
	}
	api, _ := b.Service("api.example.test")
	if s := b.Services[api]; s.MinRegions != -1 || s.Protected || s.Demand != 0 {
		t.Errorf("%+v", s)
	}
}
