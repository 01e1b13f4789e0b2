// Package check does one probe of one target, one file a protocol, and says
// what it saw in a few stable words.
//
// It imports the generated proto code (the specification of checks), the
// standard library and what speaks the protocols: golang.org/x/net, grpc,
// miekg/dns, quic-go. Its data come from the target itself, which may be hostile:
// every check is bounded in time by its timeout and in what it reads, and nothing
// that a target sends is found in an outcome but for codes of its protocol.
package check

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
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

// Phases are the parts of the latency, as far as the probe came. Where redirects
// are followed each is the sum over all requests.
type Phases struct {
	// Resolve is the lookup of a host name.
	Resolve time.Duration
	// Connect is the TCP handshake; with HTTP/3 it is part of TLS.
	Connect time.Duration
	TLS     time.Duration
	// FirstByte is from the request to the first byte of the reply, with HTTP to
	// the end of its header.
	FirstByte time.Duration
	// Body is the rest of the reply.
	Body time.Duration
}

// Check probes targets of one specification. It may be used by many goroutines,
// and for many targets.
type Check interface {
	// Probe probes a target, an address or a host name, once, and returns within
	// the timeout of the specification, or soon after ctx ends.
	Probe(ctx context.Context, target string) Outcome
}

// Options are what all checks share.
type Options struct {
	// Guard says what may be probed; nil allows what needs no permission.
	Guard *Guard
	// Version is the program's, for the User-Agent.
	Version string
	// SourceIPv4 and SourceIPv6 are the agent host's own addresses that probes
	// come from; the zero address leaves the choice to the kernel.
	SourceIPv4, SourceIPv6 netip.Addr
}

func (o Options) validate() error {
	var errs []error
	if a := o.SourceIPv4; a.IsValid() && !a.Is4() {
		errs = append(errs, fmt.Errorf("source address %s: want an IPv4 address of this host, as 192.0.2.1", a))
	}
	if a := o.SourceIPv6; a.IsValid() && (!a.Is6() || a.Is4In6()) {
		errs = append(errs, fmt.Errorf("source address %s: want an IPv6 address of this host, as 2001:db8::1", a))
	}
	return errors.Join(errs...)
}

// New makes the check that a specification describes. What is wrong with it is
// an error that says what would be right; so is what it cannot do, as a protocol
// of a newer version.
func New(spec *pb.HealthCheckSpec, o Options) (Check, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	switch p := spec.GetProbe().(type) {
	case *pb.HealthCheckSpec_Http:
		return newHTTP(spec, p.Http, o)
	case *pb.HealthCheckSpec_Tcp:
		return newTCP(spec, p.Tcp, o)
	case *pb.HealthCheckSpec_Tls:
		return newTLS(spec, p.Tls, o)
	case *pb.HealthCheckSpec_Grpc:
		return newGRPC(spec, p.Grpc, o)
	case *pb.HealthCheckSpec_Dns:
		return newDNS(spec, p.Dns, o)
	case *pb.HealthCheckSpec_Icmp:
		return newICMP(spec, p.Icmp, o)
	default:
		return nil, tooNew(o, "protocol")
	}
}

// tooNew says that a controller of a newer version asks for something.
func tooNew(o Options, what string) error {
	return fmt.Errorf("this agent (version %s) does not know the check's %s: update it", o.Version, what)
}
