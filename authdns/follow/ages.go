package follow

import (
	"slices"
	"time"

	"github.com/fairlead-dns/fairlead/authdns/feed"
	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

const (
	// settleFor is how long controllers may differ before it counts: a change
	// reaches them one after the other.
	settleFor = 5 * time.Second
	// compareEvery bounds how often tables that differ are compared.
	compareEvery = 5 * time.Second
)

// healthState is what the age of the verdicts makes them. Without any, the age
// counts from the start.
func (f *Follower) healthState(ages regions.HealthAges, now time.Time) regions.HealthState {
	age, ok := f.HealthAge(now)
	if !ok {
		age = now.Sub(f.start)
	}
	return ages.State(age)
}

// advance publishes what time alone has changed: the state of the verdicts, and
// services whose hold-down ended or whose ramp takes a step.
func (f *Follower) advance(now time.Time) {
	s := f.serving.Load()
	if s == nil {
		return
	}
	next := *s
	next.Health = f.healthState(s.Plan.Safety.Ages, now)
	next.View = s.View.WithFailOpen(next.Health == regions.FailOpen, now).At(now)
	if next.Health == s.Health && next.View == s.View {
		return
	}
	if next.Health != s.Health {
		f.opts.Log.Warn("the age of the verdicts changes what they are", "was", s.Health.String(), "is", next.Health.String())
		f.metrics.frozen.Set(one(next.Health == regions.Frozen))
		f.metrics.failOpen.Set(one(next.Health == regions.FailOpen))
	}
	f.publish(&next)
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// compare counts the targets on which another usable controller differs from
// the followed one, for longer than a change takes to reach both.
func (f *Follower) compare(sums []feed.Summary, now time.Time) {
	if f.following < 0 || !sums[f.following].Usable {
		return
	}
	long := false
	for i := range sums {
		src := &f.sources[i]
		switch {
		case i == f.following || !sums[i].Usable || sums[i].Digest == sums[f.following].Digest:
			src.differs = time.Time{}
		case src.differs.IsZero():
			src.differs = now
		case now.Sub(src.differs) > settleFor:
			long = true
		}
	}
	switch {
	case !long:
		f.setDiverging(0)
		return
	case now.Sub(f.comparedAt) < compareEvery:
		return
	}
	f.comparedAt = now
	most := 0
	mine := f.sources[f.following].sub.Verdicts()
	for i := range sums {
		if at := f.sources[i].differs; !at.IsZero() && now.Sub(at) > settleFor {
			most = max(most, differing(mine, f.sources[i].sub.Verdicts()))
		}
	}
	f.setDiverging(most)
}

func (f *Follower) setDiverging(n int) {
	if int(f.diverging.Swap(int64(n))) == n {
		return
	}
	f.metrics.diverging.Set(float64(n))
	if n > 0 {
		f.opts.Log.Warn("controllers judge differently", "targets", n, "following", f.sources[f.following].sub.Controller())
	}
}

// differing counts the targets of both tables on which they differ.
func differing(a, b map[string]health.Verdict) (n int) {
	for id, v := range a {
		if w, ok := b[id]; ok && !agree(v, w) {
			n++
		}
	}
	return n
}

// agree tells whether two controllers say the same of a target. Whether a
// verdict was restored does not count: one of them may have been cut off when the
// other saw the target go, and from then on they differ in that for good.
func agree(v, w health.Verdict) bool {
	if v.Last != w.Last || v.Guard != w.Guard || v.ConfirmedStanding().Verdict != w.ConfirmedStanding().Verdict {
		return false
	}
	for _, r := range slices.Concat(v.Regions, w.Regions) {
		if v.In(r.Region).Verdict != w.In(r.Region).Verdict {
			return false
		}
	}
	return true
}

// Report adds to what a controller is told every second.
func (f *Follower) Report(to *pb.Following) {
	s := f.serving.Load()
	if s == nil {
		return
	}
	to.HealthState = s.Health.String()
	to.DivergingTargets = uint32(f.diverging.Load())
	if known := f.known.Load(); known != nil {
		var stand []regions.Latch
		for _, l := range *known {
			if s.Plan.Stands(l.Name(), l.Trip) {
				stand = append(stand, l)
			}
		}
		to.Latches = healthpb.Latches(stand, time.Now())
	}
	if age, ok := f.HealthAge(time.Now()); ok {
		to.HealthAgeMillis = healthpb.Millis(age)
	}
}
