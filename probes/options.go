package probes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"regexp"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/fairlead-dns/fairlead/probes/check"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// The defaults of the bounds.
const (
	DefaultMaxConcurrent           = 1000
	DefaultMaxRate                 = 10_000
	DefaultMaxConcurrentPerAddress = 8
	DefaultMaxRatePerAddress       = 50
	DefaultHistoryBytes            = 64 << 20
)

// minHistory is the least that is worth while, in bytes.
const minHistory = 64 << 10

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
	// link-local or the like. They hold for references and fellow agents too.
	AllowTargets []netip.Prefix
	// SourceIPv4 and SourceIPv6 are addresses of this host that all it sends to
	// targets, references and fellow agents comes from. Zero: the kernel chooses.
	SourceIPv4, SourceIPv6 netip.Addr

	// Budgets: checks beyond them are delayed, not dropped; see budget.
	//
	// MaxConcurrent bounds the checks that run at once, MaxRate those that begin
	// in a second. Defaults 1000 and 10,000.
	MaxConcurrent, MaxRate int
	// MaxConcurrentPerAddress and MaxRatePerAddress bound them for each address,
	// however many checks and services name it. Defaults 8 and 50.
	MaxConcurrentPerAddress, MaxRatePerAddress int
	// HistoryBytes bounds the memory for recorded observations. Default 64 MiB.
	HistoryBytes int

	Log        *slog.Logger
	Registerer prometheus.Registerer

	// NewCheck makes checks and Dial connects to references and fellow agents, in
	// the place of the real network; simulations set them.
	NewCheck func(*pb.HealthCheckSpec) (check.Check, error)
	Dial     func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	// Seed makes all that is random repeatable, the incarnation too; 0: it is not.
	Seed uint64
}

// What is random, each from a source of its own.
const (
	ofIncarnation = iota
	ofSchedule
	ofIsolation
	ofReporters // and on, one for each controller
)

func (o *Options) random(of int) *rand.Rand {
	seed := o.Seed
	if seed == 0 {
		seed = rand.Uint64()
	}
	return rand.New(rand.NewPCG(seed, uint64(of)))
}

// label is a DNS label, as names of agents and regions are.
var label = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// source is the address that connections to an address come from.
func (o *Options) source(to netip.Addr) netip.Addr {
	if to.Unmap().Is4() {
		return o.SourceIPv4
	}
	return o.SourceIPv6
}

func (o *Options) validate() error {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.NewCheck == nil {
		checks := check.Options{Guard: check.NewGuard(o.AllowTargets), Version: o.Version, SourceIPv4: o.SourceIPv4, SourceIPv6: o.SourceIPv6}
		o.NewCheck = func(spec *pb.HealthCheckSpec) (check.Check, error) { return check.New(spec, checks) }
	}
	if o.Dial == nil {
		o.Dial = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			d := net.Dialer{KeepAlive: -1}
			if source := o.source(to.Addr()); source.IsValid() {
				d.LocalAddr = &net.TCPAddr{IP: source.AsSlice()}
			}
			return d.DialContext(ctx, "tcp", to.String())
		}
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
	if a := o.SourceIPv4; a.IsValid() && !a.Is4() {
		wrong("the source address %s: want an IPv4 address of this host, as 192.0.2.1", a)
	}
	if a := o.SourceIPv6; a.IsValid() && (!a.Is6() || a.Is4In6() || a.Zone() != "") {
		wrong("the source address %s: want an IPv6 address of this host without a zone, as 2001:db8::1", a)
	}
	for _, b := range []struct {
		value           *int
		otherwise, most int
		text            string
	}{
		{&o.MaxConcurrent, DefaultMaxConcurrent, 100_000, "at most %d concurrent checks"},
		{&o.MaxRate, DefaultMaxRate, 1_000_000, "at most %d checks a second"},
		{&o.MaxConcurrentPerAddress, DefaultMaxConcurrentPerAddress, 100_000, "at most %d concurrent checks of an address"},
		{&o.MaxRatePerAddress, DefaultMaxRatePerAddress, 1_000_000, "at most %d checks of an address a second"},
	} {
		if *b.value == 0 {
			*b.value = b.otherwise
		}
		if *b.value < 1 || *b.value > b.most {
			wrong(b.text+": want 1 to %d", *b.value, b.most)
		}
	}
	if o.HistoryBytes == 0 {
		o.HistoryBytes = DefaultHistoryBytes
	}
	if o.HistoryBytes < minHistory {
		wrong("%d bytes for the history of observations: want %d or more", o.HistoryBytes, minHistory)
	}
	return errors.Join(errs...)
}
