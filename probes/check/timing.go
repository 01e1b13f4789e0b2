package check

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/health"
)

// Timing is when a target is checked and what makes an opinion of it.
type Timing struct {
	Interval, Timeout time.Duration
	// Confirm is the interval after the first failure of a healthy target until
	// it is unhealthy or has passed again; 0: the interval stays.
	Confirm    time.Duration
	Thresholds health.Thresholds
}

// The defaults and bounds of a specification, for what a controller of another
// version may leave out or allow.
const (
	defaultInterval = 10 * time.Second
	defaultTimeout  = 2 * time.Second
	minInterval     = 100 * time.Millisecond
	defaultRise     = 2
	defaultFall     = 3
	maxThreshold    = 100
)

// TimingOf reads the timing of a specification.
func TimingOf(spec *pb.HealthCheckSpec) Timing {
	t := Timing{
		Interval: orDefault(spec.GetInterval(), defaultInterval),
		Timeout:  orDefault(spec.GetTimeout(), defaultTimeout),
		Thresholds: health.Thresholds{
			Rise: threshold(spec.GetRise(), defaultRise), Fall: threshold(spec.GetFall(), defaultFall),
		},
	}
	t.Interval = max(t.Interval, minInterval)
	t.Timeout = min(t.Timeout, t.Interval)
	if c := spec.GetConfirmInterval().AsDuration(); c > 0 {
		t.Confirm = min(max(c, minInterval), t.Interval)
	}
	return t
}

func orDefault(d *durationpb.Duration, otherwise time.Duration) time.Duration {
	if v := d.AsDuration(); v > 0 {
		return v
	}
	return otherwise
}

func threshold(n uint32, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return int(min(n, maxThreshold))
}
