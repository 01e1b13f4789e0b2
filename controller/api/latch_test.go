package api

import (
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
)

// The bound on releases is on those that stay: what replaces one is none more, and
// the guard is not in it.
func TestMayAdd(t *testing.T) {
	var known []*pb.LatchRelease
	for i := range maxReleases {
		known = append(known, &pb.LatchRelease{Latch: regions.FailbackLatch(fmt.Sprintf("s%d.example.test", i), "eu"), Trip: 1})
	}
	for _, tt := range []struct {
		latch string
		known int
		drop  int
		ok    bool
	}{
		{"failback/new.example.test/eu", maxReleases - 1, 0, true},
		{"failback/new.example.test/eu", maxReleases, 0, false},
		{"failback/new.example.test/eu", maxReleases, 1, true},
		{"failback/s7.example.test/eu", maxReleases, 0, true},
		{regions.GuardLatch, maxReleases, 0, true},
	} {
		err := mayAdd(tt.latch, known[:tt.known], tt.known-tt.drop)
		if (err == nil) != tt.ok || err != nil && status.Code(err) != codes.ResourceExhausted {
			t.Errorf("%s beside %d less %d: %v", tt.latch, tt.known, tt.drop, err)
		}
	}
}

// A release is idle when no service with manual failback has that name.
func TestIdle(t *testing.T) {
	service := func(name string, mode pb.FailbackMode) *pb.Resource {
		return serviceResource(&pb.Service{
			Metadata: &pb.Metadata{Name: name}, Spec: &pb.ServiceSpec{Failback: &pb.FailbackPolicy{Mode: mode}},
		})
	}
	set, err := config.NewSet([]*pb.Resource{
		service("manual.example.test", pb.FailbackMode_FAILBACK_MODE_MANUAL),
		service("automatic.example.test", pb.FailbackMode_FAILBACK_MODE_AUTOMATIC),
		serviceResource(&pb.Service{Metadata: &pb.Metadata{Name: "plain.example.test"}, Spec: &pb.ServiceSpec{}}),
	})
	if err != nil {
		t.Fatal(err)
	}
	for latch, want := range map[string]bool{
		regions.GuardLatch:                   false,
		"failback/manual.example.test/eu":    false,
		"failback/automatic.example.test/eu": true,
		"failback/plain.example.test/eu":     true,
		"failback/gone.example.test/eu":      true,
	} {
		if got := idle(set, &pb.LatchRelease{Latch: latch}); got != want {
			t.Errorf("%s: idle %v, want %v", latch, got, want)
		}
	}
}
