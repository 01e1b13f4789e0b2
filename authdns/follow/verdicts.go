package follow

import (
	"slices"
	"time"

	"github.com/fairlead-dns/fairlead/authdns/feed"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/plan"
	"github.com/fairlead-dns/fairlead/regions/steer"
)

const (
	// beatLimit is the age of a heartbeat beyond which a controller is not
	// followed; heartbeats come every 200 ms.
	beatLimit = time.Second
	// fresherBy is how much fresher another controller's evidence must be to
	// leave one that works.
	fresherBy = time.Second
	// saveHealthAfter bounds how often the verdict table is written; one that
	// does not change is written every saveHealthEvery, since it is known to
	// hold so much longer.
	saveHealthAfter = time.Second
	saveHealthEvery = 30 * time.Second
	// sinceTolerance is how far apart two controllers' words for when a verdict
	// came about may lie and mean one moment.
	sinceTolerance = 5 * time.Second
	// maxLogged bounds the verdicts that are logged one by one in one step.
	maxLogged = 20
)

// chooseController follows the usable controller with the freshest evidence,
// and stays with it until it falls silent or another is fresher by far.
func (f *Follower) chooseController(sums []feed.Summary) {
	usable := func(i int) bool {
		return sums[i].Usable && sums[i].BeatAge < beatLimit && !f.sources[i].untrusted
	}
	best := -1
	for i := range sums {
		if usable(i) && (best < 0 || sums[i].EvidenceAge < sums[best].EvidenceAge) {
			best = i
		}
	}
	if cur := f.following; cur >= 0 && usable(cur) && sums[cur].EvidenceAge < sums[best].EvidenceAge+fresherBy {
		return
	}
	if best == f.following {
		return
	}
	switch {
	case best < 0:
		f.opts.Log.Warn("no controller to follow; answers stay as they are", "last", sums[f.following].Controller)
	case f.following < 0:
		f.opts.Log.Info("following", "controller", sums[best].Controller)
	default:
		f.opts.Log.Warn("following another controller", "controller", sums[best].Controller, "was", sums[f.following].Controller)
	}
	if f.following >= 0 {
		f.metrics.switches.Inc()
		f.sources[f.following].sub.Following(false)
	}
	if f.following = best; best >= 0 {
		f.sources[best].sub.Following(true)
		f.metrics.following.Set(1)
	} else {
		f.metrics.following.Set(0)
	}
}

// takeVerdicts takes over what the followed controller says. A target that
// it has never judged keeps the verdict known here. What is another verdict then
// is to be taken again from every other controller, once that is followed.
func (f *Follower) takeVerdicts(sums []feed.Summary, now time.Time) {
	if f.following < 0 {
		return
	}
	changes := f.sources[f.following].sub.Take()
	f.setHealthAge(now, sums[f.following].EvidenceAge)
	if len(changes.Table) == 0 {
		return
	}
	f.metrics.taken.Add(float64(len(changes.Table)))
	s := f.serving.Load()
	changed := make(map[int32]steer.TargetState, len(changes.Table))
	others := make([]string, 0, len(changes.Table))
	turned, named := 0, []string{}
	for id, is := range changes.Table {
		was, had := f.verdicts[id]
		v := follow(was, is)
		was.Quorum = v.Quorum // nothing is made from it
		if had && v.Equal(was) {
			continue
		}
		f.verdicts[id] = v
		others = append(others, id)
		f.unsaved = true
		if s == nil {
			continue
		}
		if i, ok := s.Plan.Target(id); ok {
			changed[i] = plan.TargetState(s.Plan.Base, v)
			if v.Last == was.Last {
				continue
			}
			if turned++; turned <= maxLogged {
				named = append(named, id)
			}
		}
	}
	for i := range f.sources {
		if i != f.following {
			f.sources[i].sub.Mark(others)
		}
	}
	if s == nil {
		return
	}
	f.forget(s.Plan, len(changes.Table))
	if len(changed) == 0 {
		return
	}
	next := *s
	next.View = s.View.With(changed, now)
	f.publish(&next)
	f.metrics.changes.Add(float64(turned))
	for _, id := range named {
		v := f.verdicts[id]
		f.opts.Log.Info("verdict", "target", id, "status", v.Last.String(), "held", v.Held(now).Round(time.Millisecond).String())
	}
	if turned > maxLogged {
		f.opts.Log.Info("more verdicts changed", "changed", turned-maxLogged)
	}
}

// follow is the verdict after a controller's word for it.
func follow(was, is health.Verdict) health.Verdict {
	if was.Last == regions.Unknown {
		return is
	}
	if is.Last == regions.Unknown { // it has never judged it
		is.Last, is.Since, is.Restored = was.Last, was.Since, was.Restored
		is.Confirmed, is.Regions, is.Guard = was.Confirmed, was.Regions, max(is.Guard, was.Guard)
		return is
	}
	// Since when is of the verdict as it is served: another controller's word for
	// it, a little apart, changes nothing.
	is.Since = heldSince(was.Standing(), is.Standing())
	if is.Confirmed != nil {
		c := *is.Confirmed
		c.Since = heldSince(was.ConfirmedStanding(), c)
		is.Confirmed = &c
	}
	is.Regions = slices.Clone(is.Regions)
	for i := range is.Regions {
		r := &is.Regions[i]
		r.Since = heldSince(was.In(r.Region), r.Standing)
	}
	return is
}

// heldSince is since when a standing holds that another controller may have
// told of before.
func heldSince(was, is regions.Standing) time.Time {
	if is.Verdict == was.Verdict && is.Since.Sub(was.Since).Abs() < sinceTolerance {
		return was.Since
	}
	return is.Since
}

// forget drops the verdicts on targets that are not in the plan once there
// are many. Few stay: a rollback brings their targets back.
func (f *Follower) forget(p *plan.Plan, taken int) {
	if len(f.verdicts) <= 2*max(len(p.Targets), taken)+1000 {
		return
	}
	for id := range f.verdicts {
		if _, ok := p.Target(id); !ok {
			delete(f.verdicts, id)
		}
	}
}

func (f *Follower) saveVerdicts(now time.Time) {
	f.unsaved, f.savedAt = false, now
	if age, ok := f.HealthAge(now); ok {
		f.disk.verdicts(f.verdicts, f.latches.list(), now.Add(-age))
	} else if len(f.latches) > 0 || f.latchesSaved {
		f.disk.verdicts(nil, f.latches.list(), now)
	}
	f.latchesSaved = len(f.latches) > 0
}
