package replay

import (
	"fmt"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

// Observations takes a history off the wire, received at a moment. A long one comes
// in several, under the same target: they are appended to each other. Results that
// it does not know are no evidence.
func Observations(h *pb.ObservationHistory, received time.Time) ([]Observation, error) {
	n := len(h.GetAgeMillis())
	if len(h.GetLatencyMicros()) != n || len(h.GetOutcome()) != n {
		return nil, fmt.Errorf("the history of %.80q has %d ages, %d latencies and %d outcomes: want equally many",
			h.GetTarget(), n, len(h.GetLatencyMicros()), len(h.GetOutcome()))
	}
	all := make([]Observation, 0, n)
	for i, age := range h.GetAgeMillis() {
		which := h.GetOutcome()[i]
		if int64(which) >= int64(len(h.GetOutcomes())) {
			return nil, fmt.Errorf("the history of %.80q names outcome %d of %d", h.GetTarget(), which, len(h.GetOutcomes()))
		}
		out := h.GetOutcomes()[which]
		o := Observation{
			At: received.Add(-healthpb.Age(age)), Reason: out.GetReason(),
			Latency: time.Duration(h.GetLatencyMicros()[i]) * time.Microsecond,
		}
		switch out.GetResult() {
		case pb.ObservationResult_OBSERVATION_RESULT_PASSED:
			o.Result = Passed
		case pb.ObservationResult_OBSERVATION_RESULT_FAILED:
			o.Result = Failed
		}
		all = append(all, o)
	}
	return all, nil
}
