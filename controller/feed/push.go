package feed

import (
	"context"
	"iter"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/fairlead-dns/fairlead/controller/planner"
	"github.com/fairlead-dns/fairlead/controller/verdicts"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

const (
	beatEvery = 200 * time.Millisecond
	// resyncEvery bounds how often one nameserver gets the whole table.
	resyncEvery = time.Second
	// A message holds at most so many verdicts and, but for one verdict, so
	// many bytes; a table or a change may take several.
	maxBatch      = 2000
	maxBatchBytes = 1 << 20
)

// push sends heads, verdicts and heartbeats until ctx ends. Send waits for a
// slow nameserver; meanwhile states come and go, and it gets what is current
// then. Heartbeats carry the version and the digest of what was sent on this
// stream, so that a nameserver can tell that it has all of it.
func (s *Server) push(ctx context.Context, stream subscribeStream, resync <-chan struct{}, queries <-chan *pb.UsageQuery) error {
	changed, cancel := s.opts.Judge.Subscribe()
	defer cancel()
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	var sentHead regions.Generation
	var sent *verdicts.State // nil: the nameserver has no table
	var sentAll time.Time
	ready := false // as the last heartbeat said
	beatDue, all := true, true
	for {
		planChanged := s.opts.Planner.Changed()
		if cur := s.opts.Planner.Current(); cur != nil && cur.Generation != sentHead {
			if err := stream.Send(planUpdate(cur)); err != nil {
				return err
			}
			sentHead = cur.Generation
		}
		now := time.Now()
		if all && now.Sub(sentAll) >= resyncEvery {
			sent, sentAll, all = nil, now, false
		}
		st := s.opts.Judge.State()
		table := s.shared.table(st)
		beatDue = beatDue || sent == nil || ready != st.Ready
		for sent == nil || sent.Version != table.Version {
			list, to, err := s.shared.updates(table, sent, time.Now())
			if err != nil {
				return status.Errorf(codes.Internal, "verdicts: %v", err)
			}
			for _, m := range list {
				if err := stream.Send(m); err != nil {
					return err
				}
			}
			sent = to
		}
		if beatDue {
			if err := stream.Send(heartbeat(st, sent)); err != nil {
				return err
			}
			ready, beatDue = st.Ready, false
		}
		select {
		case <-ctx.Done():
			return endOf(ctx)
		case <-s.stopped:
			return errStopping
		case <-planChanged:
		case <-changed:
		case <-resync:
			all = true
		case q := <-queries:
			if err := stream.Send(usageQuery(q)); err != nil {
				return err
			}
		case <-beat.C:
			beatDue = true
		}
	}
}

// same tells whether nameservers have two targets' verdicts for one: the evidence
// is not told, and what the quorum says at the moment only with a change, as no
// answer depends on either.
func same(a, b *verdicts.Target) bool {
	v, w := a.Verdict, b.Verdict
	v.Quorum, v.Votes = w.Quorum, w.Votes
	return v.Equal(w)
}

// updates are the messages that make a nameserver's table, as of sent, that
// of st; sent nil: all of it, and the first message replaces the table. Each
// carries the digest of what the table is after it.
func updates(st, sent *verdicts.State, now time.Time) iter.Seq[*pb.HealthUpdate] {
	return func(yield func(*pb.HealthUpdate) bool) {
		version := &pb.HealthVersion{Incarnation: st.Version.Incarnation, Number: st.Version.Number}
		u := &pb.HealthUpdate{Version: version, Full: sent == nil}
		var digest health.Digest
		var latches []regions.Latch
		if sent != nil {
			digest, latches = sent.Digest, sent.Latches
		}
		if sent == nil || !slices.Equal(latches, st.Latches) {
			u.Latches = healthpb.Latches(st.Latches, now)
			digest = digest.ReplaceLatches(latches, st.Latches)
		}
		count, size := 0, 0
		add := func(bytes int) bool {
			if count++; count <= maxBatch && size+bytes <= maxBatchBytes || count == 1 {
				size += bytes
				return true
			}
			u.Digest = uint64(digest)
			if !yield(u) {
				return false
			}
			u = &pb.HealthUpdate{Version: version}
			count, size = 1, bytes
			return true
		}
		target := func(t *verdicts.Target) bool {
			var old *verdicts.Target
			if sent != nil {
				if old, _ = sent.Get(t.ID); old != nil && same(old, t) {
					return true
				}
			}
			v := t.Verdict
			v.Votes = nil
			m := healthpb.TargetHealth(t.ID, v, now)
			if !add(proto.Size(m)) {
				return false
			}
			if old != nil {
				digest = digest.RemoveVerdict(t.ID, old.Verdict)
			}
			digest = digest.AddVerdict(t.ID, t.Verdict)
			u.Targets = append(u.Targets, m)
			return true
		}
		if sent == nil {
			for t := range st.All() {
				if !target(t) {
					return
				}
			}
		} else {
			d := st.Since(sent)
			for _, t := range d.Changed {
				if !target(t) {
					return
				}
			}
			for _, id := range d.Removed {
				if !add(len(id)) {
					return
				}
				old, _ := sent.Get(id)
				digest = digest.RemoveVerdict(id, old.Verdict)
				u.Removed = append(u.Removed, id)
			}
		}
		if u.Full || u.Latches != nil || count > 0 {
			u.Digest = uint64(digest)
			yield(u)
		}
	}
}

func planUpdate(c *planner.Current) *pb.SubscribeResponse {
	return &pb.SubscribeResponse{Message: &pb.SubscribeResponse_Plan{Plan: &pb.PlanUpdate{
		Generation: &pb.Generation{Epoch: c.Generation.Epoch, Revision: c.Generation.Revision}, Head: c.Head,
	}}}
}

// heartbeat tells how the judge is, and which table was sent.
func heartbeat(st, sent *verdicts.State) *pb.SubscribeResponse {
	return &pb.SubscribeResponse{Message: &pb.SubscribeResponse_Heartbeat{Heartbeat: &pb.Heartbeat{
		Version: &pb.HealthVersion{Incarnation: sent.Version.Incarnation, Number: sent.Version.Number},
		Digest:  uint64(sent.Digest), Ready: st.Ready,
		AgentsFresh: uint32(st.AgentsFresh), AgentsRegistered: uint32(st.AgentsRegistered),
		EvidenceAgeMillis: healthpb.Millis(st.EvidenceAge),
	}}}
}
