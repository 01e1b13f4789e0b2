// Package authdns is one authoritative nameserver: it answers from a snapshot
// in memory, follows controllers, and starts from its own disk when there are
// none. It may import its subpackages and the pure packages, never probes or
// controller. No query causes I/O, waits for a lock held across queries, or an
// RPC.
package authdns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/fairlead-dns/fairlead/authdns/answer"
	"github.com/fairlead-dns/fairlead/authdns/breakglass"
	"github.com/fairlead-dns/fairlead/authdns/feed"
	"github.com/fairlead-dns/fairlead/authdns/follow"
	"github.com/fairlead-dns/fairlead/authdns/transport"
	"github.com/fairlead-dns/fairlead/authdns/usage"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/proto/snapshot"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/geo"
	"github.com/fairlead-dns/fairlead/regions/identity"
)

// Controller is a controller to subscribe to. Run closes the connection.
type Controller struct {
	Addr string
	Conn *grpc.ClientConn
}

// Options say how a nameserver works.
type Options struct {
	Name, Region, Version string
	// DNS are the addresses to serve, over UDP and TCP.
	DNS         []string
	Controllers []Controller
	// SnapshotDir keeps the last good generations; empty: none are kept.
	SnapshotDir string
	Geo         *geo.Database
	// DebugClients may ask by DNS why an answer is as it is.
	DebugClients []netip.Prefix
	// Listener serves gRPC (explain, break-glass); nil: none. Run closes it.
	Listener    net.Listener
	Credentials credentials.TransportCredentials // nil: plain text, for loopback only
	// Identify says who calls over gRPC; nil: everybody may.
	Identify   func(context.Context) (identity.Identity, error)
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

func (o *Options) validate() error {
	var errs []error
	if o.Name == "" {
		errs = append(errs, errors.New("authdns: no name (--name)"))
	}
	if len(o.Controllers) == 0 {
		errs = append(errs, errors.New("authdns: no controller (--controllers)"))
	}
	if o.Geo == nil || o.Log == nil {
		errs = append(errs, errors.New("authdns: geo data and log are required"))
	}
	return errors.Join(errs...)
}

// Server is one nameserver.
type Server struct {
	opts      Options
	transport *transport.Server
	responder *answer.Responder
	follower  *follow.Follower
	subs      []*feed.Subscription
	records   *breakglass.Records
	metrics   *queryMetrics
	explains  *rate.Limiter // of explanations by DNS
	grpc      *grpc.Server

	started time.Time
	current atomic.Pointer[answer.Snapshot]
}

// New binds the sockets and loads the last good snapshot; Run serves. A server
// that never runs is closed with Close.
func New(o Options) (*Server, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &Server{opts: o, metrics: newQueryMetrics(), explains: rate.NewLimiter(explainRate, explainBurst), started: time.Now()}
	var dir *snapshot.Dir
	var err error
	if o.SnapshotDir != "" {
		if dir, err = snapshot.Open(o.SnapshotDir); err != nil {
			return nil, fmt.Errorf("--snapshot-dir: %w", err)
		}
	}
	if s.responder, err = answer.New(answer.Options{NSID: o.Name, DebugClients: o.DebugClients}); err != nil {
		return nil, err
	}
	s.records = breakglass.New(breakglass.Options{Dir: dir, Log: o.Log, Registerer: o.Registerer, Changed: s.breakGlassChanged})
	s.follower = follow.New(follow.Options{
		Name: o.Name, Region: o.Region, Version: o.Version, Dir: dir, Geo: o.Geo, Log: o.Log, Registerer: o.Registerer,
		BreakGlass: s.records, Publish: s.publish,
	})
	s.records.Load(time.Now())
	for _, c := range o.Controllers {
		sub := feed.New(feed.Options{
			Controller: c.Addr, Conn: c.Conn, Log: o.Log, Hello: s.follower.Hello, Wake: s.follower.Wake, Report: s.follower.Report,
			BreakGlass: func() (*pb.BreakGlassTable, uint64) { return s.records.Table(time.Now()) }, Usage: s.usage,
		})
		s.subs = append(s.subs, sub)
		s.follower.Add(sub)
	}
	s.follower.Load()
	if s.transport, err = transport.New(transport.Options{Addrs: o.DNS, Handler: s.handle, Logger: o.Log}); err != nil {
		return nil, err
	}
	if o.Registerer != nil {
		s.metrics.register(o.Registerer, s.transport)
	}
	if o.Listener != nil {
		s.grpc = o.server()
		pb.RegisterInsightServiceServer(s.grpc, &insight{s: s})
		pb.RegisterBreakGlassServiceServer(s.grpc, &breakGlass{s: s})
	}
	return s, nil
}

// publish makes what the follower serves what is answered from.
func (s *Server) publish(v *follow.Serving) {
	var noted *usage.Table
	if was := s.current.Load(); was != nil {
		noted = was.Usage
	} else {
		noted = usage.New(s.started)
	}
	s.current.Store(&answer.Snapshot{
		Zones: v.Plan.Compiled.Zones, View: v.View, Generation: v.Plan.Generation, Stale: v.Health != regions.Fresh,
		Usage: noted.For(v.Plan.Base, time.Now()), Explain: s.explainTo(v),
	})
}

// breakGlassChanged makes answers by the records as they are now, and tells the
// controllers.
func (s *Server) breakGlassChanged() {
	s.follower.Wake()
	for _, sub := range s.subs {
		sub.Tell()
	}
}

// usage says what was answered with the endpoints in a scope, for controllers.
func (s *Server) usage(scope *pb.OverrideScope) *pb.UsageReport {
	snap := s.current.Load()
	if snap == nil {
		return &pb.UsageReport{}
	}
	r := snap.Usage.Report(scopeOf(scope), time.Now())
	r.Generation = &pb.Generation{Epoch: snap.Generation.Epoch, Revision: snap.Generation.Revision}
	return r
}

// Close closes what a server that never runs holds.
func (s *Server) Close() {
	s.transport.Close()
	if s.opts.Listener != nil {
		_ = s.opts.Listener.Close()
	}
	for _, c := range s.opts.Controllers {
		_ = c.Conn.Close()
	}
}

// Addrs returns the addresses that are served.
func (s *Server) Addrs() []netip.AddrPort { return s.transport.Addrs() }

// SetGeo hands over new geo data.
func (s *Server) SetGeo(db *geo.Database) { s.follower.SetGeo(db) }

// Ready says why the nameserver cannot answer, or nil. A nameserver without
// controllers is ready for as long as it has a snapshot.
func (s *Server) Ready() error {
	if s.current.Load() == nil {
		return errors.New("no generation is served")
	}
	return nil
}

// handle answers one message.
func (s *Server) handle(dst, query []byte, src netip.AddrPort, _ netip.Addr, tcp bool) []byte {
	start := time.Now()
	t := answer.UDP
	if tcp {
		t = answer.TCP
	}
	resp, info := s.responder.Respond(dst, answer.Query{
		Wire: query, Source: src.Addr(), Transport: t, Now: start, Random: rand.Uint64(),
	}, s.current.Load())
	s.metrics.count(t, &info, resp != nil, time.Since(start))
	return resp
}

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.transport.Run(ctx) })
	g.Go(func() error { return s.follower.Run(ctx) })
	g.Go(func() error { return s.records.Run(ctx) })
	for i, sub := range s.subs {
		g.Go(func() error {
			defer s.opts.Controllers[i].Conn.Close()
			return sub.Run(ctx)
		})
	}
	if s.grpc != nil {
		g.Go(func() error {
			if err := s.grpc.Serve(s.opts.Listener); !errors.Is(err, grpc.ErrServerStopped) {
				return err
			}
			return nil // ctx ended before it began
		})
		g.Go(func() error { <-ctx.Done(); s.grpc.Stop(); return nil })
	}
	s.opts.Log.Info("nameserver started", "name", s.opts.Name, "version", s.opts.Version, "dns", fmt.Sprint(s.transport.Addrs()))
	err := g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
