package api

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

// GetOverrideProgress implements pb.OverrideServiceServer. It needs no etcd: what
// is asked are the nameservers.
func (s *Server) GetOverrideProgress(ctx context.Context, req *pb.GetOverrideProgressRequest) (*pb.GetOverrideProgressResponse, error) {
	cur, err := s.current()
	if err != nil {
		return nil, err
	}
	scope, err := canonicalScope(req.GetScope())
	if err != nil {
		return nil, err
	}
	gen := cur.Generation
	if g := req.GetGeneration(); g != nil {
		if gen = (regions.Generation{Epoch: g.GetEpoch(), Revision: g.GetRevision()}); gen.Revision <= 0 {
			return nil, status.Errorf(codes.InvalidArgument, "generation: %v, want the one that the change came with, or none for the newest", gen)
		}
	}
	registered := cur.Set.Names(config.KindNameserver)
	// The reports first: whoever reports a generation has acknowledged it before.
	reports := s.opts.Feed.Usage(ctx, scope)
	if err := ctx.Err(); err != nil {
		return nil, toStatus(err)
	}
	p := progress{gen: gen, now: time.Now(), reports: reports, resp: &pb.GetOverrideProgressResponse{
		Generation: generation(gen), Convergence: s.opts.Feed.Convergence(gen, registered),
	}}
	p.merge()
	return p.resp, nil
}

// progress puts together what nameservers report.
type progress struct {
	gen     regions.Generation
	now     time.Time
	reports map[string]*pb.UsageReport
	resp    *pb.GetOverrideProgressResponse
}

// merge lists who is connected or registered, and what those say that serve the
// generation. How long caches keep an answer counts from now: the reports were sent
// before, so that nobody's clocks need to agree.
func (p *progress) merge() {
	c := p.resp.GetConvergence()
	names := slices.Concat(c.GetServing(), c.GetMissing())
	slices.Sort(names)
	var cached time.Duration
	for _, name := range names {
		r := p.reports[name]
		p.resp.Nameservers = append(p.resp.Nameservers, &pb.NameserverUsage{Nameserver: name, Usage: r})
		if !slices.Contains(c.GetServing(), name) || !p.knows(r) {
			p.resp.Unknown = append(p.resp.Unknown, name)
			continue
		}
		p.resp.LastResortAnswers += r.GetLastResortAnswers()
		if r.GetCachedMillis() > 0 {
			p.resp.Ttl, cached = max(p.resp.Ttl, r.GetTtl()), max(cached, healthpb.Age(r.GetCachedMillis()))
		}
	}
	if cached > 0 {
		p.resp.CachedUntil = timestamppb.New(p.now.Add(cached))
	}
}

// knows tells whether a report is about the generation or one after it.
func (p *progress) knows(r *pb.UsageReport) bool {
	g := r.GetGeneration()
	return r != nil && g.GetEpoch() == p.gen.Epoch && g.GetRevision() >= p.gen.Revision
}
