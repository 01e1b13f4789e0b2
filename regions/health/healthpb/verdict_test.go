package healthpb

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
)

func ago(d time.Duration) time.Time { return now.Add(-d) }

func TestVerdictRoundTrip(t *testing.T) {
	confirmed := regions.Standing{Verdict: regions.Healthy, Since: ago(time.Hour), Restored: true}
	unknown := regions.Standing{}
	for name, in := range map[string]health.Verdict{
		"nothing": {},
		"plain":   {Quorum: regions.Healthy, Last: regions.Healthy, Since: ago(time.Minute)},
		"all": {
			Quorum: regions.Unknown, Last: regions.Unhealthy, Since: ago(time.Minute), Confirmed: &confirmed,
			Regions: []health.RegionStanding{
				{Region: "a", Standing: regions.Standing{Verdict: regions.Healthy, Since: ago(time.Second)}},
				{Region: "b", Standing: confirmed},
			},
			Guard: 7, Wavering: true,
			Votes: []health.Vote{
				{Agent: "a", Region: "x", Status: regions.Healthy, Since: ago(time.Second), Reason: "HTTP 200", Counted: true, CountedAs: regions.Unhealthy, Transitions: 8, Wavering: true},
				{Agent: "b", Region: "y", Since: now, WhyNot: "not connected"},
			},
		},
		"not confirmed": {Last: regions.Healthy, Since: now, Restored: true, Confirmed: &unknown},
	} {
		data, err := proto.Marshal(TargetHealth("web@192.0.2.1", in, now))
		if err != nil {
			t.Fatal(err)
		}
		var wire pb.TargetHealth
		if err := proto.Unmarshal(data, &wire); err != nil {
			t.Fatal(err)
		}
		out := ParseTargetHealth(&wire, now)
		if diff := cmp.Diff(in, out); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if !in.Equal(out) || health.Digest(0).AddVerdict("t", in) != health.Digest(0).AddVerdict("t", out) {
			t.Errorf("%s: it has become another verdict", name)
		}
		if out = ParseVerdict(&wire, now); out.Votes != nil || !in.Same(out) {
			t.Errorf("%s without its evidence: %+v", name, out)
		}
	}
}

func TestVerdictFromTheWireIsBounded(t *testing.T) {
	w := &pb.TargetHealth{
		Verdict: 99, Restored: true, HeldMillis: math.MaxUint64,
		Confirmed: &pb.Standing{Verdict: pb.HealthStatus_HEALTH_STATUS_UNHEALTHY, Restored: true, HeldMillis: math.MaxUint64},
	}
	for range 2000 {
		w.Votes = append(w.Votes, &pb.Vote{RecentTransitions: math.MaxUint32})
		w.Regions = append(w.Regions, &pb.RegionStanding{Region: "a"})
	}
	v := ParseTargetHealth(w, now)
	if v.Restored || v.Confirmed.Restored || !v.Since.IsZero() || now.Sub(v.Confirmed.Since) != MaxAge {
		t.Errorf("%+v %+v", v.Standing(), v.Confirmed)
	}
	if len(v.Votes) != maxVotes || len(v.Regions) != maxRegions || v.Votes[0].Transitions != health.MaxTransitions {
		t.Errorf("%d votes, %d regions, %d transitions", len(v.Votes), len(v.Regions), v.Votes[0].Transitions)
	}
}

func TestLatchesRoundTrip(t *testing.T) {
	in := []regions.Latch{
		{Service: "a.test", Region: "eu", Trip: 3, Since: ago(time.Minute)}, {Service: "b.test", Region: "ap", Trip: 1, Since: now},
	}
	wire := Latches(in, now)
	wire.Latches = append(wire.Latches,
		&pb.Latch{Service: "a.test", Region: "eu", Trip: 2}, &pb.Latch{Service: "a.test", Region: "us"}, &pb.Latch{Region: "us", Trip: 1},
		&pb.Latch{Service: "a.test", Trip: 1}, nil, &pb.Latch{Service: "x", Region: "y", Trip: math.MaxUint64})
	if diff := cmp.Diff(in, ParseLatches(wire, now)); diff != "" {
		t.Error(diff)
	}
	if got := ParseLatches(nil, now); len(got) != 0 {
		t.Errorf("nothing gives %v", got)
	}
}

func TestPolicy(t *testing.T) {
	for _, tc := range []struct {
		check *pb.HealthCheckSpec
		want  health.Policy
	}{
		{nil, health.Policy{}},
		{&pb.HealthCheckSpec{Quorum: pb.QuorumRule_QUORUM_RULE_MAJORITY}, health.Policy{}},
		{&pb.HealthCheckSpec{Quorum: 99}, health.Policy{}},
		{&pb.HealthCheckSpec{Quorum: pb.QuorumRule_QUORUM_RULE_STRICT}, health.Policy{Rule: health.Strict}},
		{&pb.HealthCheckSpec{Quorum: pb.QuorumRule_QUORUM_RULE_ANY_HEALTHY}, health.Policy{Rule: health.AnyHealthy}},
		{
			&pb.HealthCheckSpec{
				Quorum: pb.QuorumRule_QUORUM_RULE_AT_LEAST, UnhealthyRegions: 2,
				Damping: &pb.FlapDamping{Off: true, Recoveries: 3, Hold: durationpb.New(time.Second), MaxHold: durationpb.New(time.Minute)},
			},
			health.Policy{
				Rule: health.AtLeast, UnhealthyRegions: 2,
				Damping: health.Damping{Off: true, Recoveries: 3, BaseHold: time.Second, MaxHold: time.Minute},
			},
		},
	} {
		if got := Policy(tc.check); got != tc.want {
			t.Errorf("%v: %+v, want %+v", tc.check, got, tc.want)
		}
	}
}
