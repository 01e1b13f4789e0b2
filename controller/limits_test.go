package controller_test

import (
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// A caller gone wild is told which limit and when to try again; nobody else
// notices, and it can still drain.
func TestLimitsPerCaller(t *testing.T) {
	s := runSecured(t, etcd(t))
	s.as("admin/root").apply(base)
	wild, calm := s.as("operator/wild"), s.as("viewer/calm")
	var err error
	for range 10_000 {
		if _, err = wild.GetRegion(t.Context(), &pb.GetRegionRequest{Region: "eu-west"}); err != nil {
			break
		}
	}
	wantCode(t, err, codes.ResourceExhausted, `operator wild is over the limit "requests"`, "nothing was done")
	retry := false
	for _, d := range status.Convert(err).Details() {
		r, ok := d.(*errdetails.RetryInfo)
		retry = retry || ok && r.GetRetryDelay().AsDuration() > 0
	}
	if !retry {
		t.Errorf("no RetryInfo in %v", err)
	}
	if _, err := calm.GetRegion(t.Context(), &pb.GetRegionRequest{Region: "eu-west"}); err != nil {
		t.Error(err)
	}
	if _, err := wild.DrainRegion(t.Context(), &pb.DrainRegionRequest{Region: "eu-west", Reason: "r"}); err != nil {
		t.Error(err)
	}
}
