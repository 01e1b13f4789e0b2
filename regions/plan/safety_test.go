package plan

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/steer"
)

// TestSafety: what is stated counts, and the defaults for the rest.
func TestSafety(t *testing.T) {
	seconds := func(n int64) *durationpb.Duration { return &durationpb.Duration{Seconds: n} }
	for _, c := range []struct {
		name string
		spec *pb.SafetyPolicySpec
		want regions.Safety // Drains: the defaults
	}{
		{"none", nil, regions.DefaultSafety()},
		{"empty", &pb.SafetyPolicySpec{}, regions.DefaultSafety()},
		{
			"all of it", &pb.SafetyPolicySpec{
				Guard:      &pb.MassWithdrawalGuard{Mode: pb.GuardMode_GUARD_MODE_ALARM, MaxPercent: 30, Window: seconds(90)},
				HealthAges: &pb.HealthAges{FrozenAfter: seconds(20), FailOpenAfter: seconds(600)},
			},
			regions.Safety{
				Guard: regions.Guard{AlarmOnly: true, MaxPercent: 30, Window: 90 * time.Second},
				Ages:  regions.HealthAges{FrozenAfter: 20 * time.Second, FailOpenAfter: 10 * time.Minute},
			},
		},
		{
			"what no version should have stored", &pb.SafetyPolicySpec{
				Guard:      &pb.MassWithdrawalGuard{Mode: 99, MaxPercent: 300, Window: seconds(-1)},
				HealthAges: &pb.HealthAges{FrozenAfter: seconds(30), FailOpenAfter: seconds(20)},
			},
			regions.Safety{
				Guard: regions.Guard{MaxPercent: 100, Window: time.Minute},
				Ages:  regions.HealthAges{FrozenAfter: 30 * time.Second, FailOpenAfter: 30 * time.Second},
			},
		},
	} {
		resources := load(t, sample).All()
		if c.spec != nil {
			resources = append(resources, &pb.Resource{Kind: &pb.Resource_SafetyPolicy{SafetyPolicy: &pb.SafetyPolicy{
				Metadata: &pb.Metadata{Name: "default"}, Spec: c.spec,
			}}})
		}
		set, err := config.NewSet(resources)
		if err != nil {
			t.Fatal(err)
		}
		c.want.Drains = regions.DefaultSafety().Drains
		if d := cmp.Diff(c.want, compile(t, set).Safety); d != "" {
			t.Error(c.name, d)
		}
	}
}

// TestServicePolicies: how a service comes back, whose verdicts count, and its
// TTL near a change.
func TestServicePolicies(t *testing.T) {
	set := load(t, sample)
	for _, c := range []struct {
		name string
		edit func(*pb.ServiceSpec)
		want regions.Service
	}{
		{"nothing stated", func(*pb.ServiceSpec) {}, regions.Service{TTL: 30, MinTTL: 15}},
		{
			"all of it", func(s *pb.ServiceSpec) {
				s.MinTtl = durationpb.New(10 * time.Second)
				s.Verdicts = pb.VerdictScope_VERDICT_SCOPE_CLIENT_REGION
				s.Failback = &pb.FailbackPolicy{
					Mode: pb.FailbackMode_FAILBACK_MODE_MANUAL, HoldDown: durationpb.New(time.Minute),
					RampSteps: []uint32{10, 50}, RampInterval: durationpb.New(30 * time.Second),
				}
			},
			regions.Service{TTL: 30, MinTTL: 10, ClientRegionVerdicts: true, Failback: regions.Failback{
				Manual: true, HoldDown: time.Minute, RampSteps: []int{10, 50}, RampInterval: 30 * time.Second,
			}},
		},
		{
			"the default interval", func(s *pb.ServiceSpec) { s.Failback = &pb.FailbackPolicy{RampSteps: []uint32{50}} },
			regions.Service{TTL: 30, MinTTL: 15, Failback: regions.Failback{RampSteps: []int{50}, RampInterval: time.Minute}},
		},
		{
			"steps that are none", func(s *pb.ServiceSpec) {
				s.Failback = &pb.FailbackPolicy{RampSteps: []uint32{0, 50, 20, 50, 100, 1 << 31}}
			},
			regions.Service{TTL: 30, MinTTL: 15, Failback: regions.Failback{RampSteps: []int{50}, RampInterval: time.Minute}},
		},
		{"a TTL of a second", func(s *pb.ServiceSpec) { s.Ttl = durationpb.New(time.Second) }, regions.Service{TTL: 1, MinTTL: 1}},
		{"never less", func(s *pb.ServiceSpec) { s.MinTtl = durationpb.New(30 * time.Second) }, regions.Service{TTL: 30, MinTTL: 30}},
		{"never more", func(s *pb.ServiceSpec) { s.MinTtl = durationpb.New(time.Hour) }, regions.Service{TTL: 30, MinTTL: 30}},
		{"never none", func(s *pb.ServiceSpec) { s.MinTtl = &durationpb.Duration{} }, regions.Service{TTL: 30, MinTTL: 1}},
	} {
		b := compile(t, change(t, set, config.Key{Kind: config.KindService, Name: "www.example.test"}, func(r *pb.Resource) { c.edit(r.GetService().Spec) }))
		i, _ := b.Service("www.example.test")
		s := b.Services[i]
		got := regions.Service{TTL: s.TTL, MinTTL: s.MinTTL, ClientRegionVerdicts: s.ClientRegionVerdicts, Failback: s.Failback}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Error(c.name, d)
		}
	}
}

// TestReleases: the newest of each latch counts, wherever it stands.
func TestReleases(t *testing.T) {
	at := now.Add(-time.Hour)
	release := func(latch string, trip uint64, at time.Time) *pb.LatchRelease {
		r := &pb.LatchRelease{Latch: latch, Trip: trip}
		if !at.IsZero() {
			r.CreateTime = timestamppb.New(at)
		}
		return r
	}
	b := compile(t, load(t, sample))
	p := b.With(testGeneration, &pb.OverrideSet{Releases: []*pb.LatchRelease{
		release("failback/www.example.test/eu-west", 2, at), release("failback/www.example.test/eu-west", 1, now),
		release("guard", 1, at), release("guard", 7, time.Time{}),
	}})
	if d := cmp.Diff(map[string]uint64{"failback/www.example.test/eu-west": 2, "guard": 7}, p.Releases); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]time.Time{"failback/www.example.test/eu-west": at}, p.ReleasedAt); d != "" {
		t.Error(d)
	}
	if none := b.With(testGeneration, nil); none.Releases != nil || !none.Stands("guard", 1) {
		t.Errorf("%+v", none)
	}
}

// TestTargetState: a verdict as steering takes it, with regions by index.
func TestTargetState(t *testing.T) {
	b := compile(t, load(t, sample))
	eu, us := indexes(t, b, "eu-west")[0], indexes(t, b, "us-east")[0]
	up, down := regions.Standing{Verdict: regions.Healthy, Since: now, Restored: true}, regions.Standing{Verdict: regions.Unhealthy, Since: now}
	v := health.Verdict{
		Quorum: regions.Unhealthy, Last: regions.Healthy, Since: now, Restored: true, Confirmed: &down, Guard: 3, Wavering: true,
		Regions: []health.RegionStanding{{Region: "gone", Standing: down}, {Region: "us-east", Standing: down}, {Region: "eu-west", Standing: up}},
	}
	want := steer.TargetState{Standing: up, Confirmed: &down, GuardTrip: 3, Wavering: true, Regions: []steer.RegionStanding{{Region: eu, Standing: up}, {Region: us, Standing: down}}}
	if got := TargetState(b.Base, v); !got.Equal(want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := TargetState(b.Base, health.Verdict{}); !got.Equal(steer.TargetState{}) {
		t.Errorf("of nothing: %+v", got)
	}
}
