// Package dev is `fairlead dev`: a whole Fairlead in one process, by the same
// Run functions as the programs and over real sockets, with an etcd of its
// own and a sample to try things on. Only TLS is left out, on loopback.
package dev

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/fairlead-dns/fairlead/cmd/internal/geofile"
	"github.com/fairlead-dns/fairlead/cmd/internal/ops"
	"github.com/fairlead-dns/fairlead/cmd/internal/program"
	"github.com/fairlead-dns/fairlead/cmd/internal/program/authdns"
	"github.com/fairlead-dns/fairlead/cmd/internal/program/controller"
	"github.com/fairlead-dns/fairlead/cmd/internal/program/probe"
	"github.com/fairlead-dns/fairlead/controller/store/embedded"
	"github.com/fairlead-dns/fairlead/regions/geo"
)

//go:embed sample.yaml
var sampleText string

// readyLimit is how long the parts may take to come up before that is an error.
const readyLimit = 30 * time.Second

// Options are the flags of `fairlead dev`.
type Options struct {
	DNS            []string
	GRPC, HTTP     string
	NameserverGRPC string
	NameserverHTTP string
	SamplePort     uint16
	Data           string
	Files          []string
	GeoIP          string
	LogLevel       string
	// Load reads the resources of files, as `apply -f` does.
	Apply func(ctx context.Context, controller string, files []string, inline []byte) error
	Out   io.Writer
}

// Command is `fairlead dev`. apply is the CLI's own apply.
func Command(apply func(ctx context.Context, controller string, files []string, inline []byte) error) *cobra.Command {
	o := Options{Apply: apply}
	c := &cobra.Command{
		Use:   "dev",
		Short: "Run a whole Fairlead here, with a sample to try",
		Long: `Run an etcd, a controller, a nameserver, three probe agents and a sample service
in three regions, in this process and on loopback. Nothing else is needed.

Without --data everything is kept in a temporary directory and is gone at the
end; with it, configuration, drains and the nameserver's snapshots stay. -f
loads your own resources in place of the sample; name agents probe-eu, probe-us
and probe-ap (as the sample does) for their votes to count, or your own: one
agent runs here for every Agent resource.`,
		Args:    cobra.NoArgs,
		PreRunE: func(*cobra.Command, []string) error { return o.check() },
		RunE: func(c *cobra.Command, _ []string) error {
			o.Out = c.OutOrStdout()
			return Run(c.Context(), o)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringSliceVar(&o.DNS, "dns", []string{"127.0.0.1:8053"}, "address to answer DNS on")
	f.StringVar(&o.GRPC, "grpc", "127.0.0.1:7443", "address of the controller's API")
	f.StringVar(&o.HTTP, "http", "127.0.0.1:8080", "address of the controller's REST API /v1, /metrics, /healthz and /readyz")
	f.StringVar(&o.NameserverGRPC, "nameserver-grpc", "127.0.0.1:7444", "address of the nameserver's explain")
	f.StringVar(&o.NameserverHTTP, "nameserver-http", "127.0.0.1:8081", "address of the nameserver's /metrics, /healthz and /readyz")
	f.Uint16Var(&o.SamplePort, "sample-port", 8090, "port of the sample service on 127.0.10.1, 127.0.20.1 and 127.0.30.1")
	f.StringVar(&o.Data, "data", "", "directory to keep everything in; default: a temporary one")
	f.StringArrayVarP(&o.Files, "file", "f", nil, "load these resources in place of the sample")
	f.StringVar(&o.GeoIP, "geoip", "", "an MMDB file (GeoLite2, GeoIP2, DB-IP); default: the built-in country data")
	f.StringVar(&o.LogLevel, "log-level", "warn", "debug, info, warn or error; logs go to stderr")
	return c
}

// check says everything that is wrong with the flags.
func (o *Options) check() error {
	_, err := ops.NewLogger(io.Discard, "text", o.LogLevel)
	errs := []error{err}
	// Without TLS, loopback it is.
	for _, f := range []struct{ flag, addr string }{
		{"--grpc", o.GRPC}, {"--http", o.HTTP}, {"--nameserver-grpc", o.NameserverGRPC}, {"--nameserver-http", o.NameserverHTTP},
	} {
		errs = append(errs, ops.RequireLoopback(f.flag, f.addr))
	}
	var m program.Mistakes
	m.Listen("--dns", o.DNS...)
	return errors.Join(append(errs, m...)...)
}

// endpoints of the sample: region, address.
var sampleEndpoints = [][2]string{{"eu-west", "127.0.10.1"}, {"us-east", "127.0.20.1"}, {"ap-northeast", "127.0.30.1"}}

// Run runs it all until ctx ends.
func Run(ctx context.Context, o Options) (err error) {
	log, err := ops.NewLogger(os.Stderr, "text", o.LogLevel)
	if err != nil {
		return err
	}
	began := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sample := len(o.Files) == 0

	if err := o.check(); err != nil {
		return err
	}
	// What may be taken by somebody else is tried before anything starts.
	if err := free(ctx, o); err != nil {
		return err
	}
	data := o.Data
	if data == "" {
		if data, err = os.MkdirTemp("", "fairlead-dev-"); err != nil {
			return err
		}
		defer os.RemoveAll(data)
	}
	g, gctx := errgroup.WithContext(ctx)
	d := &stack{o: o, log: log, g: g, data: data}
	if sample {
		for _, e := range sampleEndpoints {
			ep, err := listenEndpoint(ctx, e[0], net.JoinHostPort(e[1], strconv.Itoa(int(o.SamplePort))))
			if err != nil {
				d.closeEndpoints()
				return err
			}
			d.endpoints = append(d.endpoints, ep)
		}
	}
	etcd, err := embedded.Start(ctx, embedded.Options{Dir: filepath.Join(data, "etcd"), Log: log})
	if err != nil {
		d.closeEndpoints()
		return fmt.Errorf("etcd: %w", err)
	}
	defer func() { err = errors.Join(err, etcd.Close()) }()

	startErr := d.start(gctx, etcd.Endpoints())
	if startErr == nil {
		d.report(time.Since(began))
	} else {
		cancel()
	}
	runErr := g.Wait()
	if startErr != nil && !errors.Is(startErr, context.Canceled) {
		return startErr
	}
	if errors.Is(runErr, context.Canceled) {
		runErr = nil
	}
	return runErr
}

// free tells which address is taken, with its flag, before anything starts.
func free(ctx context.Context, o Options) error {
	var errs []error
	try := func(flag, addr string) {
		l, err := ops.Listen(ctx, flag, addr)
		if err == nil {
			err = l.Close()
		}
		errs = append(errs, err)
	}
	for _, a := range o.DNS {
		try("--dns", a)
		if p, err := net.ListenPacket("udp", a); err != nil {
			errs = append(errs, fmt.Errorf("--dns %s: %w", a, err))
		} else {
			errs = append(errs, p.Close())
		}
	}
	try("--grpc", o.GRPC)
	try("--http", o.HTTP)
	try("--nameserver-grpc", o.NameserverGRPC)
	try("--nameserver-http", o.NameserverHTTP)
	return errors.Join(errs...)
}

// stack is what runs.
type stack struct {
	o         Options
	log       *slog.Logger
	g         *errgroup.Group
	data      string
	endpoints []*endpoint

	controller, nameserver program.Started
}

func (d *stack) closeEndpoints() {
	for _, e := range d.endpoints {
		_ = e.listener.Close()
	}
}

// start brings everything up and returns when the first answers are right.
func (d *stack) start(ctx context.Context, etcd []string) error {
	for _, e := range d.endpoints {
		d.g.Go(func() error { return e.Run(ctx) })
	}
	db, err := geofile.Load(d.o.GeoIP)
	if err != nil {
		return err
	}
	if d.controller, err = d.startController(ctx, etcd, db); err != nil {
		return err
	}
	if d.nameserver, err = d.startNameserver(ctx, db); err != nil {
		return err
	}
	agents, err := d.configure(ctx)
	if err != nil {
		return err
	}
	for _, a := range agents {
		p := probe.Options{
			Name: a[0], Region: a[1], Controllers: []string{d.controller.GRPC}, HTTP: "127.0.0.1:0",
			TLS: program.TLS{Insecure: true}, AllowTargets: []string{"127.0.0.0/8", "::1/128"}, Log: d.log.With("program", a[0]),
		}
		d.g.Go(func() error { return p.Run(ctx) })
	}
	return d.await(ctx)
}

// begin runs a program and returns when it listens.
func begin(ctx context.Context, g *errgroup.Group, run func(started func(program.Started)) error) (program.Started, error) {
	listening := make(chan program.Started, 1)
	failed := make(chan error, 1)
	var once sync.Once
	g.Go(func() error {
		err := run(func(s program.Started) { once.Do(func() { listening <- s }) })
		if err != nil {
			failed <- err
		}
		return err
	})
	select {
	case s := <-listening:
		return s, nil
	case err := <-failed:
		return program.Started{}, err
	case <-ctx.Done():
		return program.Started{}, ctx.Err()
	}
}

func (d *stack) startController(ctx context.Context, etcd []string, db *geo.Database) (program.Started, error) {
	return begin(ctx, d.g, func(started func(program.Started)) error {
		return controller.Options{
			Name: "controller-1", Etcd: etcd, GRPC: d.o.GRPC, HTTP: d.o.HTTP, GeoIP: d.o.GeoIP, Geo: db,
			TLS: program.TLS{Insecure: true},
			Log: d.log.With("program", "controller"), Started: started,
		}.Run(ctx)
	})
}

func (d *stack) startNameserver(ctx context.Context, db *geo.Database) (program.Started, error) {
	return begin(ctx, d.g, func(started func(program.Started)) error {
		return authdns.Options{
			Name: "ns-1", Region: "eu-west", DNS: d.o.DNS, GRPC: d.o.NameserverGRPC, HTTP: d.o.NameserverHTTP,
			Controllers: []string{d.controller.GRPC}, SnapshotDir: filepath.Join(d.data, "nameserver"), GeoIP: d.o.GeoIP, Geo: db,
			DebugClients: authdns.DefaultDebugClients,
			TLS:          program.TLS{Insecure: true},
			Log:          d.log.With("program", "nameserver"), Started: started,
		}.Run(ctx)
	})
}

// sample is the sample's text for the addresses in use.
func (d *stack) sample() []byte {
	return []byte(strings.NewReplacer(
		"@PORT@", strconv.Itoa(int(d.o.SamplePort)), "@DNS@", d.nameserver.DNS[0], "@NSGRPC@", d.nameserver.GRPC,
	).Replace(sampleText))
}
