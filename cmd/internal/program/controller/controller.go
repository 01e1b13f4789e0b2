// Package controller is the program fairlead-controller: its options as flags give them, and
// its Run function, which `fairlead dev` calls too.
package controller

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/fairlead-dns/fairlead/cmd/internal/geofile"
	"github.com/fairlead-dns/fairlead/cmd/internal/ops"
	"github.com/fairlead-dns/fairlead/cmd/internal/program"
	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles"
	"github.com/fairlead-dns/fairlead/controller"
	"github.com/fairlead-dns/fairlead/controller/store"
	"github.com/fairlead-dns/fairlead/regions/geo"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

// Options is the options of fairlead-controller.
type Options struct {
	Name  string
	Etcd  []string
	GRPC  string
	HTTP  string
	GeoIP string
	// StateDir keeps the last verified generations; empty: none are kept.
	StateDir string
	TLS      program.TLS
	// EtcdTLS are the certificate, key and CA for etcd; all empty: plain text.
	EtcdCert, EtcdKey, EtcdCA string
	EtcdUser, EtcdPassword    string

	Geo     *geo.Database // loaded already; nil: from GeoIP
	Log     *slog.Logger
	Started func(program.Started) // called once it listens; optional
}

// Run runs a controller until ctx ends.
func (o Options) Run(ctx context.Context) error {
	reg := ops.NewRegistry("fairlead-controller", ops.Version())
	files, err := o.TLS.Open(identity.Exactly(identity.Controller, "", o.Name), o.Log, reg)
	if err != nil {
		return err
	}
	etcdFiles, etcdTLS, err := o.etcdTLS(reg)
	if err != nil {
		return err
	}
	db := o.Geo
	if db == nil {
		if db, err = geofile.Load(o.GeoIP); err != nil {
			return err
		}
	}
	client, err := store.Dial(store.DialOptions{Endpoints: o.Etcd, TLS: etcdTLS, Username: o.EtcdUser, Password: o.EtcdPassword})
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
	s, err := controller.New(controller.Options{
		Name: o.Name, Version: ops.Version(), Store: st, Listener: grpcListener, Credentials: program.ServerCredentials(files), Identify: program.Identify(files), Geo: db, StateDir: o.StateDir, Log: o.Log, Registerer: reg,
	})
	if err != nil {
		return errors.Join(err, grpcListener.Close(), httpListener.Close())
	}
	if o.Started != nil {
		o.Started(program.Started{GRPC: grpcListener.Addr().String(), HTTP: httpListener.Addr().String(), Ready: s.Ready})
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.Run(ctx) })
	g.Go(func() error {
		h := ops.HTTP{Listener: httpListener, TLS: o.TLS.HTTP(files), Gatherer: reg, Ready: s.Ready, REST: s.REST()}
		if files != nil && h.TLS == nil {
			h.REST = nil // plain HTTP proves nobody's identity
		}
		return h.Run(ctx)
	})
	for _, f := range []*tlsfiles.Files{files, etcdFiles} {
		if f != nil {
			g.Go(func() error { return f.Run(ctx) })
		}
	}
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
`, &l,
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
	f.StringVar(&o.EtcdCert, "etcd-cert", "", "certificate for etcd, PEM")
	f.StringVar(&o.EtcdKey, "etcd-key", "", "its key")
	f.StringVar(&o.EtcdCA, "etcd-ca", "", "CA certificates of etcd; without it etcd is spoken to in plain text")
	f.StringVar(&o.EtcdUser, "etcd-user", "", "etcd user, where etcd has authentication on")
	f.StringVar(&o.EtcdPassword, "etcd-password", "", "its password; better in FAIRLEAD_ETCD_PASSWORD")
	f.StringVar(&o.GRPC, "grpc", ":7443", "address of the API and of the internal streams")
	f.StringVar(&o.HTTP, "http", ":8080", "address of /metrics, /healthz and /readyz")
	f.StringVar(&o.StateDir, "state-dir", "/var/lib/fairlead/controller", "where the last verified generations are kept, to start from while etcd is away")
	f.StringVar(&o.GeoIP, "geoip", "", "an MMDB file (GeoLite2, GeoIP2, DB-IP); default: the built-in country data")
	o.TLS.Flags(f)
	return c
}

// etcdTLS opens the certificates for etcd.
func (o Options) etcdTLS(reg prometheus.Registerer) (*tlsfiles.Files, *tls.Config, error) {
	if o.EtcdCert == "" && o.EtcdKey == "" && o.EtcdCA == "" {
		return nil, nil, nil
	}
	if o.EtcdCert == "" || o.EtcdKey == "" || o.EtcdCA == "" {
		return nil, nil, program.UsageError(errors.New("--etcd-cert, --etcd-key and --etcd-ca go together"))
	}
	files, err := tlsfiles.Open(tlsfiles.Options{
		CertFile: o.EtcdCert, KeyFile: o.EtcdKey, CAFile: o.EtcdCA, Use: "etcd", Plain: true, Log: o.Log, Registerer: reg,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("--etcd-cert, --etcd-key, --etcd-ca: %w", err)
	}
	var addresses []netip.Addr
	for _, e := range o.Etcd {
		host := e
		if u, err := url.Parse(e); err == nil && u.Host != "" {
			host = u.Host
		}
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if a, err := netip.ParseAddr(host); err == nil {
			addresses = append(addresses, a)
		}
	}
	return files, files.ClientTLS(addresses...), nil
}
