// Package check does one probe of one target, one file a protocol, and says
// what it saw in a few stable words.
//
// It imports the generated proto code (the specification of checks) and the
// standard library; a later protocol may need miekg/dns. Its data come from the
// target itself.
package check

import (
	"context"
	"fmt"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// Result is what one probe says of the target.
type Result uint8

// The results. Abstained is no evidence: the fault was the vantage's own, or the
// target may not be probed.
const (
	Abstained Result = iota
	Passed
	Failed
)

func (r Result) String() string {
	return [...]string{"abstained", "passed", "failed"}[min(int(r), 2)]
}

// Outcome is what one probe saw.
type Outcome struct {
	Result Result
	// Reason is short and stable: equal causes give equal text.
	Reason string
	// Latency is the time to the result.
	Latency time.Duration
	Phases  Phases
}

// Phases are the parts of the latency, as far as the probe came.
type Phases struct {
	Resolve, Connect, FirstByte time.Duration
}

// Check probes targets of one specification. It may be used by many goroutines.
type Check interface {
	// Probe probes a target, an address or a host name, once, and returns within
	// the timeout of the specification, or soon after ctx ends.
	Probe(ctx context.Context, target string) Outcome
}

// Options are what all checks share.
type Options struct {
	Guard *Guard
	// Version is the program's, for the User-Agent.
	Version string
}

// New makes the check that a specification describes. What it cannot do, as a
// protocol of a newer version, is an error that says so.
func New(spec *pb.HealthCheckSpec, o Options) (Check, error) {
	switch p := spec.GetProbe().(type) {
	case *pb.HealthCheckSpec_Http:
		return newHTTP(spec, p.Http, o)
	case *pb.HealthCheckSpec_Tcp:
		return newTCP(spec, p.Tcp, o)
	default:
		return nil, fmt.Errorf("this agent (version %s) does not know the check's protocol: update it", o.Version)
	}
}
