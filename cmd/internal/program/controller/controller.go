// Package controller is the program fairlead-controller: its options as flags give them, and
// its Run function, which `fairlead dev` calls too.
package controller

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/fairlead-dns/fairlead/cmd/internal/geofile"
	"github.com/fairlead-dns/fairlead/cmd/internal/ops"
	"github.com/fairlead-dns/fairlead/cmd/internal/program"
	"github.com/fairlead-dns/fairlead/controller"
	"github.com/fairlead-dns/fairlead/controller/store"
	"github.com/fairlead-dns/fairlead/regions/geo"
)

// Options is the options of fairlead-controller.
type Options struct {
	Name  string
	Etcd  []string
	GRPC  string
	HTTP  string
	GeoIP string

	Geo     *geo.Database // loaded already; nil: from GeoIP
	Log     *slog.Logger
	Started func(program.Started) // called once it listens; optional
}

// Run runs a controller until ctx ends.
func (o Options) Run(ctx context.Context) error {
	if err := errors.Join(ops.RequireLoopback("--grpc", o.GRPC)); err != nil {
		return err
	}
	db := o.Geo
	if db == nil {
		var err error
		if db, err = geofile.Load(o.GeoIP); err != nil {
			return err
		}
	}
	client, err := store.Dial(store.DialOptions{Endpoints: o.Etcd})
	if err != nil {
		return err
	}
	defer client.Close()
	st, err := store.New(store.Options{Client: client, Log: o.Log})
	if err != nil {
		return err
	}
	grpcListener, err := ops.Listen(ctx, "--grpc", o.GRPC)
	if err != nil {
		return err
	}
	httpListener, err := ops.Listen(ctx, "--http", o.HTTP)
	if err != nil {
		return errors.Join(err, grpcListener.Close())
	}
	reg := ops.NewRegistry("fairlead-controller", ops.Version())
	s, err := controller.New(controller.Options{
		Name: o.Name, Version: ops.Version(), Store: st, Listener: grpcListener, Geo: db, Log: o.Log, Registerer: reg,
	})
	if err != nil {
		return errors.Join(err, grpcListener.Close(), httpListener.Close())
	}
	if o.Started != nil {
		o.Started(program.Started{GRPC: grpcListener.Addr().String(), HTTP: httpListener.Addr().String(), Ready: s.Ready})
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.Run(ctx) })
	g.Go(func() error { return ops.HTTP{Listener: httpListener, Gatherer: reg, Ready: s.Ready}.Run(ctx) })
	g.Go(func() error { return geofile.Watch(ctx, o.GeoIP, o.Log, s.SetGeo) })
	return g.Wait()
}

// Command is the command line of fairlead-controller.
func Command() *cobra.Command {
	var o Options
	var l program.Logging
	c := program.Command("fairlead-controller", "A Fairlead controller",
		`A Fairlead controller keeps configuration and drains in etcd, judges health from
the opinions of the probe agents, and feeds the nameservers. Run two or more.
It goes on judging health while etcd is away.

Until TLS is configured it serves on loopback addresses only.`, &l,
		func(ctx context.Context) (err error) {
			if o.Log, err = l.New(os.Stderr); err != nil {
				return program.UsageError(err)
			}
			return o.Run(ctx)
		})
	hostname, _ := os.Hostname()
	f := c.Flags()
	f.StringVar(&o.Name, "name", hostname, "this controller's name")
	f.StringSliceVar(&o.Etcd, "etcd", []string{"127.0.0.1:2379"}, "etcd's client addresses, HOST:PORT or URLs")
	f.StringVar(&o.GRPC, "grpc", "127.0.0.1:7443", "address of the API and of the internal streams")
	f.StringVar(&o.HTTP, "http", "127.0.0.1:8080", "address of /metrics, /healthz and /readyz")
	f.StringVar(&o.GeoIP, "geoip", "", "an MMDB file (GeoLite2, GeoIP2, DB-IP); default: the built-in country data")
	return c
}
