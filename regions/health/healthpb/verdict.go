package healthpb

import (
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
)

// What is taken of one verdict, at most: a configuration has no more regions,
// and no more agents than that make sense.
const (
	maxRegions = regions.MaxRegions
	maxVotes   = 1000
)

// Vote puts a vote on the wire.
func Vote(v health.Vote, now time.Time) *pb.Vote {
	return &pb.Vote{
		Agent: v.Agent, Region: v.Region, Status: Status(v.Status), HeldMillis: Millis(v.Held(now)),
		Reason: v.Reason, Counted: v.Counted, WhyNot: v.WhyNot, CountedAs: Status(v.CountedAs),
		RecentTransitions: uint32(v.Transitions), Wavering: v.Wavering,
	}
}

// Standing puts a standing on the wire.
func Standing(s regions.Standing, now time.Time) *pb.Standing {
	w := &pb.Standing{Verdict: Status(s.Verdict), Restored: s.Restored}
	if !s.Since.IsZero() {
		w.HeldMillis = Millis(now.Sub(s.Since))
	}
	return w
}

// TargetHealth puts a verdict with its evidence on the wire.
func TargetHealth(target string, v health.Verdict, now time.Time) *pb.TargetHealth {
	t := &pb.TargetHealth{
		Target: target, Quorum: Status(v.Quorum), Verdict: Status(v.Last), HeldMillis: Millis(v.Held(now)),
		Restored: v.Restored, GuardTrip: v.Guard, Wavering: v.Wavering,
		Votes: make([]*pb.Vote, len(v.Votes)),
	}
	for i, vote := range v.Votes {
		t.Votes[i] = Vote(vote, now)
	}
	if v.Confirmed != nil {
		t.Confirmed = Standing(*v.Confirmed, now)
	}
	for _, r := range v.Regions {
		t.Regions = append(t.Regions, &pb.RegionStanding{Region: r.Region, Standing: Standing(r.Standing, now)})
	}
	return t
}

// ParseStanding takes a standing off the wire.
func ParseStanding(s *pb.Standing, now time.Time) regions.Standing {
	return standing(s.GetVerdict(), s.GetHeldMillis(), s.GetRestored(), now)
}

func standing(verdict pb.HealthStatus, held uint64, restored bool, now time.Time) regions.Standing {
	s := regions.Standing{}
	s.Verdict, _ = ParseStatus(verdict)
	if s.Verdict != regions.Unknown {
		s.Since = now.Add(-Age(held))
	}
	s.Restored = restored && s.Verdict == regions.Healthy
	return s
}

// ParseTargetHealth takes a verdict with its evidence off the wire. Statuses
// that it does not know are unknown.
func ParseTargetHealth(t *pb.TargetHealth, now time.Time) health.Verdict {
	v := ParseVerdict(t, now)
	for _, w := range t.GetVotes()[:min(len(t.GetVotes()), maxVotes)] {
		vote := health.Vote{
			Agent: w.GetAgent(), Region: w.GetRegion(), Reason: w.GetReason(),
			Counted: w.GetCounted(), WhyNot: w.GetWhyNot(),
			Since:       now.Add(-Age(w.GetHeldMillis())),
			Transitions: int(min(w.GetRecentTransitions(), health.MaxTransitions)), Wavering: w.GetWavering(),
		}
		vote.Status, _ = ParseStatus(w.GetStatus())
		vote.CountedAs, _ = ParseStatus(w.GetCountedAs())
		v.Votes = append(v.Votes, vote)
	}
	return v
}

// ParseVerdict takes a verdict without its evidence off the wire.
func ParseVerdict(t *pb.TargetHealth, now time.Time) health.Verdict {
	s := standing(t.GetVerdict(), t.GetHeldMillis(), t.GetRestored(), now)
	v := health.Verdict{
		Last: s.Verdict, Since: s.Since, Restored: s.Restored,
		Guard: t.GetGuardTrip(), Wavering: t.GetWavering(),
	}
	v.Quorum, _ = ParseStatus(t.GetQuorum())
	if t.GetConfirmed() != nil {
		c := ParseStanding(t.GetConfirmed(), now)
		v.Confirmed = &c
	}
	for _, r := range t.GetRegions()[:min(len(t.GetRegions()), maxRegions)] {
		v.Regions = append(v.Regions, health.RegionStanding{Region: r.GetRegion(), Standing: ParseStanding(r.GetStanding(), now)})
	}
	health.SortRegions(v.Regions)
	return v
}

// Latches puts latches on the wire.
func Latches(ls []regions.Latch, now time.Time) *pb.LatchTable {
	t := &pb.LatchTable{Latches: make([]*pb.Latch, len(ls))}
	for i, l := range ls {
		t.Latches[i] = &pb.Latch{Service: l.Service, Region: l.Region, Trip: l.Trip, HeldMillis: Millis(now.Sub(l.Since))}
	}
	return t
}

// ParseLatches takes latches off the wire, sorted; one that names nothing or
// has no believable trip is left out, and of two with one name the higher trip counts.
func ParseLatches(t *pb.LatchTable, now time.Time) []regions.Latch {
	var out []regions.Latch
	at := map[health.LatchKey]int{}
	for _, w := range t.GetLatches() {
		l := regions.Latch{Service: w.GetService(), Region: w.GetRegion(), Trip: w.GetTrip(), Since: now.Add(-Age(w.GetHeldMillis()))}
		if l.Service == "" || l.Region == "" || l.Trip == 0 || l.Trip > health.MaxTrip {
			continue
		}
		if i, had := at[health.KeyOf(l)]; had {
			out[i] = health.MergeLatch(out[i], l)
			continue
		}
		at[health.KeyOf(l)] = len(out)
		out = append(out, l)
	}
	health.SortLatches(out)
	return out
}
