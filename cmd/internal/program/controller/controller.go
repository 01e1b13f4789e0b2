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
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead-dns/fairlead/cmd/internal/geofile"
	"github.com/fairlead-dns/fairlead/cmd/internal/ops"
	"github.com/fairlead-dns/fairlead/cmd/internal/options"
	"github.com/fairlead-dns/fairlead/cmd/internal/program"
	"github.com/fairlead-dns/fairlead/cmd/internal/tlsfiles"
	"github.com/fairlead-dns/fairlead/cmd/internal/tokenfile"
	"github.com/fairlead-dns/fairlead/controller"
	"github.com/fairlead-dns/fairlead/controller/store"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
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
	// Tokens is the file of people's tokens; empty: certificates alone count.
	Tokens string
	// EtcdTLS are the certificate, key and CA for etcd; all empty: plain text.
	EtcdCert, EtcdKey, EtcdCA string
	EtcdUser, EtcdPassword    string

	Geo     *geo.Database // loaded already; nil: from GeoIP
	Log     *slog.Logger
	Started func(program.Started) // called once it listens; optional
}

// Check says everything that is wrong with the options.
func (o Options) Check() error {
	var m program.Mistakes
	m.Name(identity.Controller, o.Name, "")
	m.Listen("--grpc", o.GRPC)
	m.Listen("--http", o.HTTP)
	m.Add(o.checkEtcd())
	m.Add(o.TLS.Check())
	if o.Tokens != "" && o.TLS.Insecure {
		m.Add(errors.New("--tokens goes without --insecure-plaintext: tokens are taken over TLS only, where nobody on the way can read them"))
	}
	return m.Err()
}

// files are what the options name, opened.
type files struct {
	program, etcd *tlsfiles.Files // nil: plain text
	etcdTLS       *tls.Config
	tokens        *tokenfile.Tokens // nil: certificates alone count
	geo           *geo.Database
}

// open opens the files that the options name, or says all that is wrong with
// them.
func (o Options) open(reg prometheus.Registerer) (f files, err error) {
	var errs [5]error
	f.program, errs[0] = o.TLS.Open(identity.Exactly(identity.Controller, "", o.Name), o.Log, reg)
	f.etcd, f.etcdTLS, errs[1] = o.etcdTLS(reg)
	if f.geo = o.Geo; f.geo == nil {
		f.geo, errs[2] = geofile.Load(o.GeoIP)
	}
	errs[3] = program.CheckDir("--state-dir", o.StateDir)
	f.tokens, errs[4] = o.openTokens(f.program, reg)
	return f, errors.Join(errs[:]...)
}

// tls are the sets of certificates in use.
func (f files) tls() (all []*tlsfiles.Files) {
	for _, t := range []*tlsfiles.Files{f.program, f.etcd} {
		if t != nil {
			all = append(all, t)
		}
	}
	return all
}

// certificates are those in use, and the tokens, for the status.
func (f files) certificates(now time.Time) (all []*pb.CertificateStatus) {
	var inUse []tlsfiles.InUse
	for _, t := range f.tls() {
		inUse = append(inUse, t.InUse(now)...)
	}
	if f.tokens != nil {
		inUse = append(inUse, f.tokens.InUse(now)...)
	}
	for _, c := range inUse {
		all = append(all, &pb.CertificateStatus{
			Use: c.Use, What: c.What, Subject: c.Subject, ExpireTime: timestamppb.New(c.Until), State: c.State.String(),
		})
	}
	return all
}

// openTokens opens the file of tokens, if there is one.
func (o Options) openTokens(tls *tlsfiles.Files, reg prometheus.Registerer) (*tokenfile.Tokens, error) {
	if o.Tokens == "" {
		return nil, nil
	}
	domain := "unknown" // the certificate is bad, and the tokens may be too
	if tls != nil {
		domain = tls.Identity().TrustDomain
	}
	t, err := tokenfile.Open(tokenfile.Options{Path: o.Tokens, TrustDomain: domain, Log: o.Log, Registerer: reg})
	if err != nil {
		return nil, fmt.Errorf("--tokens: %w", err)
	}
	return t, nil
}

// door is who may connect, and how a call says who calls.
func (f files) door() (credentials.TransportCredentials, func(context.Context) (identity.Identity, error)) {
	if f.tokens == nil {
		return program.ServerCredentials(f.program), program.Identify(f.program)
	}
	return f.program.ServerForTokens(), f.tokens.Identify(f.program.Caller)
}

// reload reads again what is read again when it changes.
func (f files) reload() error {
	var errs []error
	for _, t := range f.tls() {
		errs = append(errs, t.Reload())
	}
	if f.tokens != nil {
		errs = append(errs, f.tokens.Reload())
	}
	return errors.Join(errs...)
}

// Run runs a controller until ctx ends.
func (o Options) Run(ctx context.Context) error {
	reg := ops.NewRegistry("fairlead-controller", ops.Version())
	files, err := o.open(reg)
	if err != nil {
		return err
	}
	client, err := store.Dial(store.DialOptions{Endpoints: o.Etcd, TLS: files.etcdTLS, Username: o.EtcdUser, Password: o.EtcdPassword})
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
	creds, identify := files.door()
	s, err := controller.New(controller.Options{
		Name: o.Name, Version: ops.Version(), Store: st, Listener: grpcListener,
		Credentials: creds, Identify: identify,
		Certificates: files.certificates,
		Geo:          files.geo, StateDir: o.StateDir, Log: o.Log, Registerer: reg,
	})
	if err != nil {
		return errors.Join(err, grpcListener.Close(), httpListener.Close())
	}
	if o.Started != nil {
		o.Started(program.Started{
			GRPC: grpcListener.Addr().String(), HTTP: httpListener.Addr().String(), Ready: s.Ready,
			Reload: func() error {
				return errors.Join(geofile.Reload(o.GeoIP, o.Log, s.SetGeo), files.reload())
			},
		})
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.Run(ctx) })
	g.Go(func() error {
		h := ops.HTTP{Listener: httpListener, TLS: o.TLS.HTTP(files.program), Gatherer: reg, Ready: s.Ready, REST: s.REST(), Log: o.Log}
		if files.program != nil && h.TLS == nil {
			h.REST = ops.NoREST("plain HTTP (--insecure-http) proves nobody's identity: the API is served over gRPC, or here without --insecure-http")
		}
		return h.Run(ctx)
	})
	for _, f := range files.tls() {
		g.Go(func() error { return f.Run(ctx) })
	}
	if files.tokens != nil {
		g.Go(func() error { return files.tokens.Run(ctx) })
	}
	g.Go(func() error { return geofile.Watch(ctx, o.GeoIP, o.Log, s.SetGeo) })
	return g.Wait()
}

// Command is the command line of fairlead-controller.
func Command() *cobra.Command {
	var o Options
	c := program.Command(program.Spec{
		Name: "fairlead-controller", Short: "A Fairlead controller",
		Long: `
fairlead-controller keeps configuration and drains in etcd, judges the health of
every endpoint by what the probe agents of all regions see, and tells the
nameservers. It serves the API that fairlead, the operator's tool, calls.

Run two or more, in different regions: each judges by itself and feeds every
nameserver that asks, and needs neither the others nor etcd for that. Without etcd
nothing can be changed. It starts without etcd too, from --state-dir.`,
		Usage: "--name NAME --etcd HOST:PORT,… --tls-cert FILE --tls-key FILE --tls-ca FILE [options]",
		Example: `  fairlead-controller --name c1 \
    --etcd 192.0.2.11:2379,198.51.100.11:2379,203.0.113.11:2379 \
    --etcd-cert etcd-client.crt --etcd-key etcd-client.key --etcd-ca etcd-ca.crt \
    --tls-cert c1.crt --tls-key c1.key --tls-ca ca.crt`,
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
	f.StringVar(&o.Name, "name", hostname, "this controller's `NAME`, as its certificate has it")
	f.StringSliceVar(&o.Etcd, "etcd", []string{"127.0.0.1:2379"}, "the client addresses of all members of etcd, `HOST:PORT` or URLs")
	f.StringVar(&o.EtcdCert, "etcd-cert", "", "the `FILE` of a certificate for etcd, PEM")
	f.StringVar(&o.EtcdKey, "etcd-key", "", "the `FILE` of its key, PEM, readable by its owner only")
	f.StringVar(&o.EtcdCA, "etcd-ca", "", "the `FILE` of etcd's CA certificates, PEM; without the three etcd is spoken to in plain text")
	f.StringVar(&o.EtcdUser, "etcd-user", "", "`NAME` of the etcd user, where etcd has authentication on")
	f.StringVar(&o.EtcdPassword, "etcd-password", "", "its `PASSWORD`; others see a command line: better in FAIRLEAD_ETCD_PASSWORD or a file")
	f.StringVar(&o.GRPC, "grpc", ":7443", "`ADDRESS` of the API and of the streams of agents and nameservers, over mutual TLS")
	f.StringVar(&o.HTTP, "http", ":8080", "`ADDRESS` of /metrics, /healthz, /readyz and the API as REST under /v1 (callers of /v1 need a certificate or a token; /v1/openapi.json describes it)")
	f.StringVar(&o.StateDir, "state-dir", "/var/lib/fairlead/controller", "the `DIR` of the last verified generations, to start from while etcd is away; empty: none are kept")
	f.StringVar(&o.GeoIP, "geoip", "", "an MMDB `FILE` (GeoLite2, GeoIP2, DB-IP), read again when it changes; default: the built-in country data")
	o.TLS.Flags(f)
	f.StringVar(&o.Tokens, "tokens", "", "the `FILE` of people's tokens, YAML, as fairlead pki token makes its entries, for its owner only and read again when it changes; callers then need no certificate; default: none are taken")
	options.Secret(f, "etcd-password")
	return c
}

// checkEtcd says what is wrong with the options on etcd.
func (o Options) checkEtcd() error {
	var m program.Mistakes
	given := o.EtcdCert != "" || o.EtcdKey != "" || o.EtcdCA != ""
	if given && (o.EtcdCert == "" || o.EtcdKey == "" || o.EtcdCA == "") {
		m.Add(errors.New("--etcd-cert, --etcd-key and --etcd-ca go together: want all three, or none for plain text"))
	}
	var config *tls.Config
	if given {
		config = &tls.Config{MinVersion: tls.VersionTLS13}
	}
	// It waits for nobody, and checks what it is given.
	client, err := store.Dial(store.DialOptions{Endpoints: o.Etcd, TLS: config, Username: o.EtcdUser, Password: o.EtcdPassword})
	if err == nil {
		err = client.Close()
	}
	m.Add(err)
	return errors.Join(m...)
}

// etcdTLS opens the certificates for etcd.
func (o Options) etcdTLS(reg prometheus.Registerer) (*tlsfiles.Files, *tls.Config, error) {
	if o.EtcdCert == "" && o.EtcdKey == "" && o.EtcdCA == "" {
		return nil, nil, nil
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
