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

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/fairlead-dns/fairlead/cmd/internal/ops"
	"github.com/fairlead-dns/fairlead/cmd/internal/program"
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

	Log     *slog.Logger
	Started func(program.Started) // called once it listens; optional
}

// Run runs a probe agent until ctx ends.
func (o Options) Run(ctx context.Context) error {
	var errs []error
	var allow []netip.Prefix
	for _, text := range o.AllowTargets {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("--allow-target %q: want a prefix, as 127.0.0.0/8", text))
		}
		allow = append(allow, p)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	reg := ops.NewRegistry("fairlead-probe", ops.Version())
	files, err := o.TLS.Open(identity.Exactly(identity.Agent, o.Region, o.Name), o.Log, reg)
	if err != nil {
		return err
	}
	listener, err := ops.Listen(ctx, "--http", o.HTTP)
	if err != nil {
		return err
	}
	opts := probes.Options{
		Name: o.Name, Region: o.Region, Version: ops.Version(), AllowTargets: allow, Log: o.Log, Registerer: reg,
		Controllers: o.Controllers, Credentials: program.ToControllers(files),
	}
	a, err := probes.New(opts)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	if o.Started != nil {
		o.Started(program.Started{HTTP: listener.Addr().String(), Ready: a.Ready})
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.Run(ctx) })
	g.Go(func() error {
		return ops.HTTP{Listener: listener, TLS: o.TLS.HTTP(files), Gatherer: reg, Ready: a.Ready}.Run(ctx)
	})
	if files != nil {
		g.Go(func() error { return files.Run(ctx) })
	}
	return g.Wait()
}

// Command is the command line of fairlead-probe.
func Command() *cobra.Command {
	var o Options
	var l program.Logging
	c := program.Command("fairlead-probe", "A Fairlead probe agent",
		`A Fairlead probe agent checks every target that the controllers assign to it and
streams its opinions to all of them. Run one or more in each region; register
each as an Agent resource, or its opinions do not count.`, &l,
		func(ctx context.Context) (err error) {
			if o.Log, err = l.New(os.Stderr); err != nil {
				return program.UsageError(err)
			}
			return o.Run(ctx)
		})
	hostname, _ := os.Hostname()
	f := c.Flags()
	f.StringVar(&o.Name, "name", hostname, "this agent's name, as its Agent resource has it")
	f.StringVar(&o.Region, "region", "", "the region it looks from")
	f.StringSliceVar(&o.Controllers, "controllers", []string{"127.0.0.1:7443"}, "the gRPC addresses of all controllers")
	f.StringVar(&o.HTTP, "http", ":8082", "address of /metrics, /healthz and /readyz")
	f.StringSliceVar(&o.AllowTargets, "allow-target", nil, "prefixes that may be probed although loopback, link-local and multicast are refused")
	o.TLS.Flags(f)
	return c
}
