// Package probe is the program fairlead-probe: its options as flags give them, and
// its Run function, which `fairlead dev` calls too.
package probe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/fairlead-dns/fairlead/cmd/internal/ops"
	"github.com/fairlead-dns/fairlead/cmd/internal/program"
	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles"
	"github.com/fairlead-dns/fairlead/probes"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

// Options is the options of fairlead-probe.
type Options struct {
	Name, Region string
	Controllers  []string
	HTTP         string
	TLS          program.TLS
	AllowTargets []string // prefixes that may be probed although refused by default
	// SourceAddresses are those of this host that probes come from, one for each
	// family at most; none: the kernel chooses.
	SourceAddresses []string
	// Limits on the load; 0: the default.
	MaxConcurrent, MaxRate                     int
	MaxConcurrentPerAddress, MaxRatePerAddress int
	HistoryBytes                               int

	Log     *slog.Logger
	Started func(program.Started) // called once it listens; optional
}

// Check says everything that is wrong with the options.
func (o Options) Check() error {
	var m program.Mistakes
	m.Name(identity.Agent, o.Name, o.Region)
	m.Dial("--controllers", o.Controllers)
	m.Listen("--http", o.HTTP)
	_, err := o.prefixes()
	m.Add(err)
	_, err = o.sources()
	m.Add(err)
	for _, l := range o.limits() {
		if *l.value != 0 && (*l.value < l.least || *l.value > l.most) {
			m.Add(fmt.Errorf("--%s %d: want %d to %d", l.flag, *l.value, l.least, l.most))
		}
	}
	m.Add(o.TLS.Check())
	return m.Err()
}

// limit is an option on the load.
type limit struct {
	flag        string
	value       *int
	otherwise   int
	least, most int
	usage       string
}

// limits are all of them, within what package probes takes.
func (o *Options) limits() []limit {
	return []limit{
		{"max-concurrent", &o.MaxConcurrent, probes.DefaultMaxConcurrent, 1, 100_000, "at most `N` checks at once; what is beyond a limit waits, nothing is left out"},
		{"max-rate", &o.MaxRate, probes.DefaultMaxRate, 1, 1_000_000, "at most `N` checks a second"},
		{"max-concurrent-per-address", &o.MaxConcurrentPerAddress, probes.DefaultMaxConcurrentPerAddress, 1, 100_000, "at most `N` checks of one address at once, however many services name it"},
		{"max-rate-per-address", &o.MaxRatePerAddress, probes.DefaultMaxRatePerAddress, 1, 1_000_000, "at most `N` checks of one address a second"},
		{"history-bytes", &o.HistoryBytes, probes.DefaultHistoryBytes, 64 << 10, 1 << 30, "memory for what was observed, in `BYTES`; fairlead health replay reads it"},
	}
}

// sources parses SourceAddresses: the IPv4 and the IPv6 address.
func (o Options) sources() (byFamily [2]netip.Addr, err error) {
	var errs []error
	for _, text := range o.SourceAddresses {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Is4In6() || addr.Zone() != "" || addr.IsUnspecified() || addr.IsMulticast() {
			errs = append(errs, fmt.Errorf("--source-address %q: want an IPv4 or IPv6 address of this host, as 192.0.2.1", text))
			continue
		}
		family := 0
		if addr.Is6() {
			family = 1
		}
		if byFamily[family].IsValid() {
			errs = append(errs, fmt.Errorf("--source-address %q: there is %s already: want one IPv4 and one IPv6 address at most", text, byFamily[family]))
		}
		byFamily[family] = addr
	}
	return byFamily, errors.Join(errs...)
}

// prefixes parses AllowTargets.
func (o Options) prefixes() ([]netip.Prefix, error) {
	var errs []error
	var allow []netip.Prefix
	for _, text := range o.AllowTargets {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("--allow-target %q: want a prefix, as 127.0.0.0/8", text))
		}
		allow = append(allow, p)
	}
	return allow, errors.Join(errs...)
}

func (o Options) open(reg prometheus.Registerer) (*tlsfiles.Files, error) {
	return o.TLS.Open(identity.Exactly(identity.Agent, o.Region, o.Name), o.Log, reg)
}

// Run runs a probe agent until ctx ends.
func (o Options) Run(ctx context.Context) error {
	allow, err := o.prefixes()
	if err != nil {
		return err
	}
	sources, err := o.sources()
	if err != nil {
		return err
	}
	reg := ops.NewRegistry("fairlead-probe", ops.Version())
	files, err := o.open(reg)
	if err != nil {
		return err
	}
	listener, err := ops.Listen(ctx, "--http", o.HTTP)
	if err != nil {
		return err
	}
	opts := probes.Options{
		Name: o.Name, Region: o.Region, Version: ops.Version(), AllowTargets: allow, Log: o.Log, Registerer: reg,
		Controllers: o.Controllers, Credentials: program.ToControllers(files), SourceIPv4: sources[0], SourceIPv6: sources[1],
		MaxConcurrent: o.MaxConcurrent, MaxRate: o.MaxRate, HistoryBytes: o.HistoryBytes,
		MaxConcurrentPerAddress: o.MaxConcurrentPerAddress, MaxRatePerAddress: o.MaxRatePerAddress,
	}
	a, err := probes.New(opts)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	if o.Started != nil {
		o.Started(program.Started{HTTP: listener.Addr().String(), Ready: a.Ready, Reload: func() error {
			if files == nil {
				return nil
			}
			return files.Reload()
		}})
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.Run(ctx) })
	g.Go(func() error {
		return ops.HTTP{Listener: listener, TLS: o.TLS.HTTP(files), Gatherer: reg, Ready: a.Ready, Log: o.Log}.Run(ctx)
	})
	if files != nil {
		g.Go(func() error { return files.Run(ctx) })
	}
	return g.Wait()
}

// Command is the command line of fairlead-probe.
func Command() *cobra.Command {
	var o Options
	c := program.Command(program.Spec{
		Name: "fairlead-probe", Short: "A Fairlead probe agent",
		Long: `
fairlead-probe is a probe agent: it checks every endpoint that the controllers
assign to it, from where it is, and streams its opinions to all of them. They judge
by a quorum of regions, so that one agent that is cut off or wrong moves nothing.

Run one or more in each region, three regions at least, and register each as an
Agent resource: the opinions of others do not count.`,
		Usage: "--name NAME --region REGION --controllers HOST:PORT,… --tls-cert FILE --tls-key FILE --tls-ca FILE [options]",
		Example: `  fairlead-probe --name probe-eu --region eu-west \
    --controllers c1.example.net:7443,c2.example.net:7443 \
    --tls-cert probe-eu.crt --tls-key probe-eu.key --tls-ca ca.crt`,
		Check: func() error { return o.Check() },
		Try: func(log *slog.Logger) error {
			o.Log = log
			_, err := o.open(nil)
			return err
		},
		Run: func(ctx context.Context, log *slog.Logger, started func(program.Started)) error {
			o.Log, o.Started = log, started
			return o.Run(ctx)
		},
	})
	hostname, _ := os.Hostname()
	f := c.Flags()
	f.StringVar(&o.Name, "name", hostname, "this agent's `NAME`, as its Agent resource and its certificate have it")
	f.StringVar(&o.Region, "region", "", "the `REGION` it looks from (required)")
	f.StringSliceVar(&o.Controllers, "controllers", []string{"127.0.0.1:7443"}, "the gRPC addresses of all controllers, `HOST:PORT`; repeatable")
	f.StringVar(&o.HTTP, "http", ":8082", "`ADDRESS` of /metrics, /healthz and /readyz")
	f.StringSliceVar(&o.AllowTargets, "allow-target", nil, "a `PREFIX` that may be probed although loopback, link-local and multicast are refused; repeatable")
	f.StringSliceVar(&o.SourceAddresses, "source-address", nil, "an `ADDRESS` of this host that probes come from, one IPv4 and one IPv6; repeatable")
	for _, l := range o.limits() {
		f.IntVar(l.value, l.flag, l.otherwise, l.usage)
	}
	o.TLS.Flags(f)
	return c
}
