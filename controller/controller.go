// Package controller is one controller: it serves the API, keeps configuration
// and overrides in etcd, judges health by itself, and feeds nameservers. Any
// number of controllers work side by side; health never waits for etcd.
package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	grpchealth "google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead-dns/fairlead/controller/access"
	"github.com/fairlead-dns/fairlead/controller/api"
	"github.com/fairlead-dns/fairlead/controller/catalog"
	"github.com/fairlead-dns/fairlead/controller/checkpoint"
	"github.com/fairlead-dns/fairlead/controller/feed"
	"github.com/fairlead-dns/fairlead/controller/limits"
	"github.com/fairlead-dns/fairlead/controller/planner"
	"github.com/fairlead-dns/fairlead/controller/rest"
	"github.com/fairlead-dns/fairlead/controller/store"
	"github.com/fairlead-dns/fairlead/controller/verdicts"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/proto/snapshot"
	"github.com/fairlead-dns/fairlead/regions/geo"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

const (
	// stopGrace is how long calls in flight may take at the end.
	stopGrace = 500 * time.Millisecond
	// advanceEvery is how often overrides are looked over; after a failure they
	// are left alone for advanceRetry.
	advanceEvery = time.Second
	advanceRetry = 10 * time.Second
)

// Options say what a controller works with.
type Options struct {
	Name, Version string
	Store         *store.Store
	// Listener serves gRPC; Run closes it.
	Listener net.Listener
	// Credentials of the gRPC server; nil: plain text, for loopback only.
	Credentials credentials.TransportCredentials
	// Identify says who calls; nil: everybody may do everything.
	Identify access.Identify
	Geo      *geo.Database
	// StateDir keeps the last verified generations, to start from while etcd
	// is away; empty: none are kept.
	StateDir string
	// Certificates are its own and the CAs behind them, for the status; nil: none
	// are shown.
	Certificates func(now time.Time) []*pb.CertificateStatus
	// Limits of what one caller may ask; zero: the defaults.
	Limits     limits.Options
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

func (o *Options) validate() error {
	var errs []error
	if o.Name == "" {
		errs = append(errs, errors.New("controller: no name (--name)"))
	}
	if o.Identify == nil {
		o.Identify = access.Anyone
	}
	if o.Credentials == nil && o.Listener != nil && !isLoopback(o.Listener.Addr()) {
		errs = append(errs, fmt.Errorf("controller: no credentials, and %s is not on loopback", o.Listener.Addr()))
	}
	if o.Store == nil || o.Listener == nil || o.Geo == nil || o.Log == nil {
		errs = append(errs, errors.New("controller: store, listener, geo data and log are required"))
	}
	return errors.Join(errs...)
}

// Server is one controller.
type Server struct {
	opts      Options
	planner   *planner.Planner
	collector *catalog.Collector
	judge     *verdicts.Judge
	feed      *feed.Server
	// checkpoint is beside the verdicts' way, never on it.
	checkpoint *checkpoint.Checkpointer
	api        *api.Server
	grpc       *grpc.Server
	health     *grpchealth.Server
	rest       *rest.Server
}

// New wires a controller; Run starts it.
func New(o Options) (*Server, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	judge, err := verdicts.New(verdicts.Options{Name: o.Name, Authorize: access.Agent, Log: o.Log, Registerer: o.Registerer})
	if err != nil {
		return nil, err
	}
	var dir *snapshot.Dir
	if o.StateDir != "" {
		if dir, err = snapshot.Open(o.StateDir); err != nil {
			return nil, fmt.Errorf("--state-dir: %w", err)
		}
	}
	cat := catalog.New(o.Store, o.Log)
	plans := &judged{}
	p := planner.New(planner.Options{
		Store: o.Store, Catalog: cat, Dir: dir, Log: o.Log, Registerer: o.Registerer,
		OnPlan: func(c *planner.Current) { judge.SetPlan(plans.by(c)) },
	})
	f := feed.New(feed.Options{Planner: p, Judge: judge, Authorize: access.Nameserver, Log: o.Log, Registerer: o.Registerer})
	s := &Server{
		opts: o, planner: p, collector: catalog.NewCollector(catalog.CollectorOptions{Catalog: cat, Name: o.Name, Log: o.Log, Registerer: o.Registerer}), judge: judge, feed: f, health: grpchealth.NewServer(),
		api: api.New(api.Options{
			Name: o.Name, Version: o.Version, Catalog: cat, Planner: p, Judge: judge, Feed: f, Geo: o.Geo, Certificates: o.Certificates, Log: o.Log,
		}),
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(nameserverGauges(f, p)...)
		o.Registerer.MustRegister(overrideGauges(p)...)
	}
	s.checkpoint = checkpoint.New(checkpoint.Options{
		Store: o.Store, Name: o.Name, Log: o.Log, Registerer: o.Registerer,
		Table: func(now time.Time) (*pb.HealthTable, uint64) { return checkpointOf(judge.State(), now) },
		Seed: func(t *pb.HealthTable, age time.Duration) {
			judge.Seed(verdicts.SeedTable{From: "checkpoint", Verdicts: t.GetTargets(), Age: age, Latches: t.GetLatches()})
		},
	})
	o.Limits.Registerer = o.Registerer
	lim, err := limits.New(o.Limits)
	if err != nil {
		return nil, err
	}
	identify := lim.Identify(o.Identify)
	unary := []grpc.UnaryServerInterceptor{access.Unary(identify), lim.Unary()}
	stream := []grpc.StreamServerInterceptor{access.Stream(identify), lim.Stream()}
	s.rest, err = rest.New(rest.Options{Register: s.api.Register, Unary: unary, Stream: stream, Identify: restCaller, Log: o.Log})
	if err != nil {
		return nil, err
	}
	p.Load()
	s.grpc = o.server(identify, unary, stream)
	s.api.Register(s.grpc)
	pb.RegisterFeedServiceServer(s.grpc, f)
	pb.RegisterAgentServiceServer(s.grpc, judge)
	healthv1.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	return s, nil
}

// checkpointOf is the verdicts as they are kept in etcd: without the evidence.
func checkpointOf(st *verdicts.State, now time.Time) (*pb.HealthTable, uint64) {
	if !st.Ready {
		return nil, 0
	}
	t := &pb.HealthTable{SaveTime: timestamppb.New(now), Latches: healthpb.Latches(st.Latches, now)}
	for target := range st.All() {
		if !target.IsZero() {
			v := target.Verdict
			v.Votes = nil
			t.Targets = append(t.Targets, healthpb.TargetHealth(target.ID, v, now))
		}
	}
	return t, uint64(st.Digest)
}

// restCaller hands the certificate of an HTTP client on, as gRPC would.
func restCaller(r *http.Request) (credentials.AuthInfo, error) {
	if r.TLS == nil {
		return nil, nil
	}
	return credentials.TLSInfo{State: *r.TLS, CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}, nil
}

// REST serves /v1/ of the public services, for an HTTP server that verifies
// clients' certificates as the gRPC server does.
func (s *Server) REST() http.Handler { return s.rest }

// SetGeo hands over new geo data, for explain.
func (s *Server) SetGeo(db *geo.Database) { s.api.SetGeo(db) }

// Ready says why the controller is not ready, or nil.
func (s *Server) Ready() error {
	switch {
	case s.planner.Refusal() != "":
		return fmt.Errorf("the head is not published: %s", s.planner.Refusal())
	case s.planner.WrongStore() != "":
		return errors.New(s.planner.WrongStore())
	case s.planner.Current() == nil && !s.planner.StoreAvailable():
		return errors.New("etcd does not answer")
	case s.planner.Current() != nil && !s.judge.State().Ready:
		return errors.New("too few agents are heard to judge health")
	}
	return nil
}

// Run serves until ctx ends. Streams end first, so that agents and nameservers
// turn to other controllers while calls under way finish.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.rest.Run(ctx) })
	g.Go(func() error { return s.judge.Run(ctx) })
	g.Go(func() error { return s.planner.Run(ctx) })
	g.Go(func() error { return s.feed.Run(ctx) })
	g.Go(func() error { return s.api.Run(ctx) })
	g.Go(func() error { return s.collector.Run(ctx) })
	g.Go(func() error { return s.checkpoint.Run(ctx) })
	g.Go(func() error { return s.advance(ctx) })
	g.Go(func() error {
		if err := s.grpc.Serve(s.opts.Listener); !errors.Is(err, grpc.ErrServerStopped) {
			return err
		}
		return nil // ctx ended before it began
	})
	g.Go(func() error {
		<-ctx.Done()
		s.health.Shutdown()
		t := time.AfterFunc(stopGrace, s.grpc.Stop)
		defer t.Stop()
		s.grpc.GracefulStop()
		return nil
	})
	s.opts.Log.Info("controller started", "name", s.opts.Name, "version", s.opts.Version, "grpc", s.opts.Listener.Addr().String())
	err := g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// advance lets scheduled overrides begin and removes those whose time is over.
// That time has come when both the clock on the wall and the monotonic one, which
// continues the time at the start, say so: a clock that jumps ahead starts and
// expires nothing, and one that was wrong at the start only makes drains come late
// and stay (invariant 17).
func (s *Server) advance(ctx context.Context) error {
	started := time.Now()
	t := time.NewTicker(advanceEvery)
	defer t.Stop()
	var rest time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			now := time.Now()
			if now.Before(rest) {
				continue
			}
			steady := started.Add(now.Sub(started)).Round(0)
			if wall := now.Round(0); wall.Before(steady) {
				steady = wall
			}
			if err := s.api.Advance(ctx, steady); err != nil && ctx.Err() == nil {
				s.opts.Log.Warn("overrides whose time has come neither begin nor end: that could not be written", "err", err)
				rest = now.Add(advanceRetry)
			}
		}
	}
}

// isLoopback tells whether an address is reached from this machine only.
func isLoopback(a net.Addr) bool {
	t, ok := a.(*net.TCPAddr)
	return !ok || t.IP.IsLoopback()
}
