package healthpb

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestTargetHealthRoundTrip(t *testing.T) {
	in := health.Verdict{
		Quorum: regions.Unknown, Last: regions.Unhealthy, Since: now.Add(-time.Minute),
		Votes: []health.Vote{
			{Agent: "a", Region: "x", Status: regions.Unhealthy, Since: now.Add(-time.Second), Reason: "HTTP 503", Counted: true},
			{Agent: "b", Region: "y", Status: regions.Unknown, Since: now, WhyNot: "not connected"},
		},
	}
	data, err := proto.Marshal(TargetHealth("web@192.0.2.1", in, now))
	if err != nil {
		t.Fatal(err)
	}
	var wire pb.TargetHealth
	if err := proto.Unmarshal(data, &wire); err != nil {
		t.Fatal(err)
	}
	// The receiver's clock is an hour off, and it does not matter.
	later := now.Add(time.Hour)
	out := ParseTargetHealth(&wire, later)
	if got := out.Held(later); got != time.Minute {
		t.Errorf("held %s, want 1m", got)
	}
	if diff := cmp.Diff(in, ParseTargetHealth(&wire, now)); diff != "" {
		t.Error(diff)
	}
}

func TestParseIsBounded(t *testing.T) {
	if got := Age(math.MaxUint64); got != MaxAge {
		t.Errorf("the largest age is %s, want %s", got, MaxAge)
	}
	if got := Millis(-time.Second); got != 0 {
		t.Errorf("a negative age is %d, want 0", got)
	}
	if s, ok := ParseStatus(pb.HealthStatus(99)); s != regions.Unknown || ok {
		t.Errorf("a status of a newer version is %s, %t; want UNKNOWN, false", s, ok)
	}
	v := ParseTargetHealth(nil, now)
	if v.Last != regions.Unknown || !v.Since.IsZero() {
		t.Errorf("nothing gives %+v", v)
	}
}

func TestOpinion(t *testing.T) {
	op := health.Step(health.Opinion{}, health.Observation{At: now, OK: true, Reason: "HTTP 200"}, health.Thresholds{Rise: 2, Fall: 3})
	got := Opinion("web@192.0.2.1", op, now.Add(1500*time.Millisecond))
	want := &pb.Opinion{
		Target: "web@192.0.2.1", Status: pb.HealthStatus_HEALTH_STATUS_HEALTHY,
		HeldMillis: 1500, ObservedMillis: 1500, Reason: "HTTP 200",
	}
	if !proto.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := Opinion("x", health.Opinion{}, now); got.GetObservedMillis() != 0 || got.GetHeldMillis() != 0 {
		t.Errorf("an opinion that saw nothing has ages: %v", got)
	}
}
