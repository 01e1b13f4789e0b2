package api

import (
	"fmt"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// A refusal has its details, and fits into a header however many regions there are.
func TestRefusalInAHeader(t *testing.T) {
	for _, regions := range []int{3, 1000} {
		d := &pb.SafetyDecision{Controller: "c1", Findings: []*pb.SafetyFinding{{Rule: "min-regions", Text: "too few", WouldPass: "wait"}}}
		for i := range regions {
			d.Regions = append(d.Regions, &pb.SafetyRegion{Region: fmt.Sprint("region-", i), Capacity: 1000, Endpoints: 100})
		}
		st := status.Convert(refusedBy(d, false))
		if n := proto.Size(st.Proto()); n > 6<<10 {
			t.Errorf("%d regions: %d bytes", regions, n)
		}
		details := st.Details()
		if len(details) != 2 || details[0].(*errdetails.PreconditionFailure).GetViolations()[0].GetSubject() != "min-regions" {
			t.Fatalf("%d regions: %v", regions, details)
		}
		got := details[1].(*pb.SafetyDecision)
		if len(got.GetFindings()) != 1 || (len(got.GetRegions()) == regions) != (regions == 3) || len(d.GetRegions()) != regions {
			t.Errorf("%d regions: %v", regions, got)
		}
	}
}
