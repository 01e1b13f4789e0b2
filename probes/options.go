package probes

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// Options say how an agent works.
type Options struct {
	// Name and Region are the vantage, as registered with kind Agent. Required.
	Name, Region string
	// Version is the program's.
	Version string
	// Controllers are HOST:PORT of every controller's gRPC. Required.
	Controllers []string
	// Credentials secure the streams. Required.
	Credentials credentials.TransportCredentials
	// DialOptions are added to the agent's own.
	DialOptions []grpc.DialOption
	// AllowTargets are prefixes that may be probed although they are loopback,
	// link-local or the like.
	AllowTargets []netip.Prefix
	// MaxConcurrent bounds the checks that run at once. Default 1000.
	MaxConcurrent int

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// label is a DNS label, as names of agents and regions are.
var label = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func (o *Options) validate() error {
	if o.MaxConcurrent == 0 {
		o.MaxConcurrent = 1000
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf("probes: "+format, args...)) }
	if !label.MatchString(o.Name) {
		wrong("the name %q is no DNS label: want 1 to 63 of a-z, 0-9 and -, as probe-eu-1", o.Name)
	}
	if !label.MatchString(o.Region) {
		wrong("the region %q is no DNS label: want the name of a Region, as eu-west", o.Region)
	}
	if len(o.Controllers) == 0 {
		wrong("no controllers: want HOST:PORT of each of them")
	}
	for i, c := range o.Controllers {
		if c == "" || slices.Contains(o.Controllers[:i], c) {
			wrong("controllers[%d] %q is empty or named twice", i, c)
		}
	}
	if o.Credentials == nil {
		wrong("no credentials for the streams to the controllers")
	}
	if o.MaxConcurrent < 1 {
		wrong("at most %d concurrent checks: want 1 or more", o.MaxConcurrent)
	}
	return errors.Join(errs...)
}
