// Package authdns is the program fairlead-authdns: its options as flags give them, and
// its Run function, which `fairlead dev` calls too.
package authdns

import (
	"context"
	"log/slog"
	"net"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/fairlead-dns/fairlead/authdns"
	"github.com/fairlead-dns/fairlead/cmd/internal/geofile"
	"github.com/fairlead-dns/fairlead/cmd/internal/ops"
	"github.com/fairlead-dns/fairlead/cmd/internal/program"
	"github.com/fairlead-dns/fairlead/regions/geo"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

// Options is the options of fairlead-authdns.
type Options struct {
	Name, Region string
	DNS          []string
	GRPC         string // empty: no explain
	HTTP         string
	Controllers  []string
	SnapshotDir  string
	GeoIP        string
	TLS          program.TLS

	Geo     *geo.Database // loaded already; nil: from GeoIP
	Log     *slog.Logger
	Started func(program.Started) // called once it listens; optional
}

// Run runs a nameserver until ctx ends.
func (o Options) Run(ctx context.Context) error {
	reg := ops.NewRegistry("fairlead-authdns", ops.Version())
	files, err := o.TLS.Open(identity.Exactly(identity.Nameserver, o.Region, o.Name), o.Log, reg)
	if err != nil {
		return err
	}
	db := o.Geo
	if db == nil {
		if db, err = geofile.Load(o.GeoIP); err != nil {
			return err
		}
	}
	var listeners []net.Listener
	closeAll := func(err error) error {
		for _, l := range listeners {
			_ = l.Close()
		}
		return err
	}
	for _, l := range []struct{ flag, addr string }{{"--grpc", o.GRPC}, {"--http", o.HTTP}} {
		listener, err := ops.Listen(ctx, l.flag, l.addr)
		if err != nil {
			return closeAll(err)
		}
		listeners = append(listeners, listener)
	}
	opts := authdns.Options{
		Name: o.Name, Region: o.Region, Version: ops.Version(), DNS: o.DNS, SnapshotDir: o.SnapshotDir,
		Geo: db, Listener: listeners[0], Credentials: program.ServerCredentials(files), Identify: program.Identify(files), Log: o.Log, Registerer: reg,
	}
	for _, addr := range o.Controllers {
		conn, err := ops.Dial(addr, program.ToControllers(files))
		if err != nil {
			return closeAll(err)
		}
		opts.Controllers = append(opts.Controllers, authdns.Controller{Addr: addr, Conn: conn})
	}
	s, err := authdns.New(opts)
	if err != nil {
		return closeAll(err)
	}
	if o.Started != nil {
		st := program.Started{GRPC: listeners[0].Addr().String(), HTTP: listeners[1].Addr().String(), Ready: s.Ready}
		for _, a := range s.Addrs() {
			st.DNS = append(st.DNS, a.String())
		}
		o.Started(st)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.Run(ctx) })
	g.Go(func() error {
		return ops.HTTP{Listener: listeners[1], TLS: o.TLS.HTTP(files), Gatherer: reg, Ready: s.Ready}.Run(ctx)
	})
	if files != nil {
		g.Go(func() error { return files.Run(ctx) })
	}
	g.Go(func() error { return geofile.Watch(ctx, o.GeoIP, o.Log, s.SetGeo) })
	return g.Wait()
}

// Command is the command line of fairlead-authdns.
func Command() *cobra.Command {
	var o Options
	var l program.Logging
	c := program.Command("fairlead-authdns", "A Fairlead nameserver",
		`A Fairlead nameserver answers DNS from a snapshot in memory. It follows the
controllers, starts from its snapshot directory when there are none, and never
stops answering because they are away.`, &l,
		func(ctx context.Context) (err error) {
			if o.Log, err = l.New(os.Stderr); err != nil {
				return program.UsageError(err)
			}
			return o.Run(ctx)
		})
	hostname, _ := os.Hostname()
	f := c.Flags()
	f.StringVar(&o.Name, "name", hostname, "this nameserver's name, as its Nameserver resource has it")
	f.StringVar(&o.Region, "region", "", "the region it is in")
	f.StringSliceVar(&o.DNS, "dns", []string{":53"}, "addresses to answer DNS on, over UDP and TCP; repeatable")
	f.StringVar(&o.GRPC, "grpc", ":7444", "address of explain")
	f.StringVar(&o.HTTP, "http", ":8081", "address of /metrics, /healthz and /readyz")
	f.StringSliceVar(&o.Controllers, "controllers", []string{"127.0.0.1:7443"}, "the controllers' gRPC addresses; name at least two")
	f.StringVar(&o.SnapshotDir, "snapshot-dir", "/var/lib/fairlead/snapshots", "where the last good generations are kept")
	f.StringVar(&o.GeoIP, "geoip", "", "an MMDB file (GeoLite2, GeoIP2, DB-IP), read again when it changes; default: the built-in country data")
	o.TLS.Flags(f)
	return c
}
