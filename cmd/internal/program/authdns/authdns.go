// Package authdns is the program fairlead-authdns: its options as flags give them, and
// its Run function, which `fairlead dev` calls too.
package authdns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/fairlead-dns/fairlead/authdns"
	"github.com/fairlead-dns/fairlead/cmd/internal/geofile"
	"github.com/fairlead-dns/fairlead/cmd/internal/ops"
	"github.com/fairlead-dns/fairlead/cmd/internal/program"
	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles"
	"github.com/fairlead-dns/fairlead/regions/geo"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

// DefaultDebugClients is --debug-clients: whoever is on the same host.
var DefaultDebugClients = []string{"127.0.0.0/8", "::1/128"}

// Options is the options of fairlead-authdns.
type Options struct {
	Name, Region string
	DNS          []string
	GRPC         string // empty: no explain, no break-glass
	HTTP         string
	Controllers  []string
	SnapshotDir  string
	DebugClients []string
	GeoIP        string
	TLS          program.TLS

	Geo     *geo.Database // loaded already; nil: from GeoIP
	Log     *slog.Logger
	Started func(program.Started) // called once it listens; optional
}

// Check says everything that is wrong with the options.
func (o Options) Check() error {
	var m program.Mistakes
	m.Name(identity.Nameserver, o.Name, o.Region)
	m.Listen("--dns", o.DNS...)
	m.Listen("--grpc", o.GRPC)
	m.Listen("--http", o.HTTP)
	m.Dial("--controllers", o.Controllers)
	m.Add(o.TLS.Check())
	_, err := prefixes(o.DebugClients)
	m.Add(err)
	return m.Err()
}

// prefixes reads the networks of --debug-clients.
func prefixes(texts []string) (out []netip.Prefix, err error) {
	var errs []error
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if a, addrErr := netip.ParseAddr(text); addrErr == nil && a.Zone() == "" {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil || p.Addr().Is4In6() {
			errs = append(errs, fmt.Errorf("--debug-clients %q: want an address or a network, as 192.0.2.0/24 or 2001:db8::/32", text))
			continue
		}
		out = append(out, p.Masked())
	}
	return out, errors.Join(errs...)
}

// open opens the files that the options name, or says all that is wrong with
// them.
func (o Options) open(reg prometheus.Registerer) (*tlsfiles.Files, *geo.Database, error) {
	files, tlsErr := o.TLS.Open(identity.Exactly(identity.Nameserver, o.Region, o.Name), o.Log, reg)
	db, geoErr := o.Geo, error(nil)
	if db == nil {
		db, geoErr = geofile.Load(o.GeoIP)
	}
	return files, db, errors.Join(tlsErr, geoErr, program.CheckDir("--snapshot-dir", o.SnapshotDir))
}

// Run runs a nameserver until ctx ends.
func (o Options) Run(ctx context.Context) error {
	reg := ops.NewRegistry("fairlead-authdns", ops.Version())
	files, db, err := o.open(reg)
	if err != nil {
		return err
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
	debug, err := prefixes(o.DebugClients)
	if err != nil {
		return closeAll(err)
	}
	opts := authdns.Options{
		Name: o.Name, Region: o.Region, Version: ops.Version(), DNS: o.DNS, SnapshotDir: o.SnapshotDir, DebugClients: debug,
		Geo: db, Listener: listeners[0], Credentials: program.ServerCredentials(files), Identify: program.Identify(files),
		Log: o.Log, Registerer: reg,
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
		st := program.Started{
			GRPC: listeners[0].Addr().String(), HTTP: listeners[1].Addr().String(), Ready: s.Ready,
			Alive: func(ctx context.Context) error { return answers(ctx, s.Addrs()) },
			Reload: func() error {
				err := geofile.Reload(o.GeoIP, o.Log, s.SetGeo)
				if files != nil {
					err = errors.Join(err, files.Reload())
				}
				return err
			},
		}
		for _, a := range s.Addrs() {
			st.DNS = append(st.DNS, a.String())
		}
		o.Started(st)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.Run(ctx) })
	g.Go(func() error {
		return ops.HTTP{Listener: listeners[1], TLS: o.TLS.HTTP(files), Gatherer: reg, Ready: s.Ready, Log: o.Log}.Run(ctx)
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
	c := program.Command(program.Spec{
		Name: "fairlead-authdns", Short: "A Fairlead nameserver",
		Long: `
fairlead-authdns is an authoritative nameserver: it answers each client with the
endpoints of its nearest healthy region, from a snapshot in memory.

It follows the controllers, all that --controllers names, and takes verdicts from
the one with the freshest evidence. Nothing that it answers waits for them: without
any it goes on with what it has, and starts from --snapshot-dir after a restart. Run
two or more, in different regions, and register each as a Nameserver resource.`,
		Usage: "--name NAME --region REGION --controllers HOST:PORT,… --tls-cert FILE --tls-key FILE --tls-ca FILE [options]",
		Example: `  fairlead-authdns --name ns1 --region eu-west --dns 192.0.2.53:53,[2001:db8::53]:53 \
    --controllers c1.example.net:7443,c2.example.net:7443 \
    --tls-cert ns1.crt --tls-key ns1.key --tls-ca ca.crt`,
		Check: func() error { return o.Check() },
		Try: func(log *slog.Logger) error {
			o.Log = log
			_, _, err := o.open(nil)
			return err
		},
		Run: func(ctx context.Context, log *slog.Logger, started func(program.Started)) error {
			o.Log, o.Started = log, started
			return o.Run(ctx)
		},
	})
	hostname, _ := os.Hostname()
	f := c.Flags()
	f.StringVar(&o.Name, "name", hostname, "this nameserver's `NAME`, as its Nameserver resource and its certificate have it")
	f.StringVar(&o.Region, "region", "", "the `REGION` it is in (required)")
	f.StringSliceVar(&o.DNS, "dns", []string{":53"}, "the addresses to answer DNS on, `ADDRESS:PORT`, over UDP and TCP; repeatable")
	f.StringVar(&o.GRPC, "grpc", ":7444", "`ADDRESS` of fairlead explain --nameserver and of break-glass, over mutual TLS")
	f.StringVar(&o.HTTP, "http", ":8081", "`ADDRESS` of /metrics, /healthz and /readyz")
	f.StringSliceVar(&o.Controllers, "controllers", []string{"127.0.0.1:7443"}, "the controllers' gRPC addresses, `HOST:PORT`; name all, two at least; repeatable")
	f.StringVar(&o.SnapshotDir, "snapshot-dir", "/var/lib/fairlead/snapshots", "the `DIR` of the last good generations, to start from while no controller answers; empty: none are kept")
	f.StringSliceVar(&o.DebugClients, "debug-clients", DefaultDebugClients, "the `NETWORK` of who may ask why an answer is as it is, as in dig CH TXT NAME.explain.fairlead; repeatable")
	f.StringVar(&o.GeoIP, "geoip", "", "an MMDB `FILE` (GeoLite2, GeoIP2, DB-IP), read again when it changes; default: the built-in country data")
	o.TLS.Flags(f)
	return c
}
