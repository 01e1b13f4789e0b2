package follow

import (
	"maps"
	"slices"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

// latches are those that any controller, or the disk, has told of and that may
// stand in the plan that is served. Within a plan they are monotone: of one latch
// the highest trip counts, and none is forgotten because somebody does not know
// it. What a newer plan releases, or has no manual failback for, is forgotten when
// it is adopted: otherwise it would stand again with the next plan that knows
// nothing of the release, as after a restore of the configuration.
type latches map[health.LatchKey]regions.Latch

// merge takes in latches that may stand in a plan (nil: any); it returns whether
// anything is new.
func (l latches) merge(p *plan.Plan, more []regions.Latch) (changed bool) {
	for _, m := range more {
		if !mayStand(p, m) {
			continue
		}
		k := health.KeyOf(m)
		was, had := l[k]
		if had && m.Trip <= was.Trip {
			continue
		}
		l[k] = m
		changed = true
	}
	return changed
}

// under are the latches that may stand in a plan.
func (l latches) under(p *plan.Plan) latches {
	kept := maps.Clone(l)
	maps.DeleteFunc(kept, func(_ health.LatchKey, m regions.Latch) bool { return !mayStand(p, m) })
	return kept
}

// mayStand tells whether anything waits for a release of a latch: the plan does
// not release it, and its region is one of a service with manual failback. A
// service without a health check has no latches, as for the controllers.
func mayStand(p *plan.Plan, l regions.Latch) bool {
	if p == nil {
		return true
	}
	i, ok := p.Service(l.Service)
	if !ok || !p.Stands(l.Name(), l.Trip) {
		return false
	}
	s := &p.Services[i]
	return s.Failback.Manual && s.Checked && slices.ContainsFunc(s.Endpoints, func(e regions.Endpoint) bool {
		return p.Regions[e.Region].Name == l.Region
	})
}

// list lists them by service and region.
func (l latches) list() []regions.Latch {
	if len(l) == 0 {
		return nil
	}
	out := make([]regions.Latch, 0, len(l))
	for _, m := range l {
		out = append(out, m)
	}
	health.SortLatches(out)
	return out
}

// takeLatches merges what all controllers know, followed or not.
func (f *Follower) takeLatches(now time.Time) {
	changed := false
	var p *plan.Plan
	if s := f.serving.Load(); s != nil {
		p = s.Plan
	}
	for i := range f.sources {
		if src := &f.sources[i]; !src.untrusted {
			changed = f.latches.merge(p, src.sub.TakeLatches()) || changed
		}
	}
	if !changed {
		return
	}
	f.unsaved = true
	known := f.shareLatches()
	if s := f.serving.Load(); s != nil {
		next := *s
		next.View = s.View.WithLatches(known, now)
		f.publish(&next)
		f.opts.Log.Warn("a region of a service waits for a release", "latches", len(known))
	}
}

// latchesUnder are the latches with which a plan begins: those that are known and
// may stand in it, and those that were told of before it was served.
func (f *Follower) latchesUnder(p *plan.Plan) latches {
	next := f.latches.under(p)
	for i := range f.sources {
		if src := &f.sources[i]; src.sub != nil && !src.untrusted {
			next.merge(p, src.sub.Latches())
		}
	}
	return next
}

// shareLatches shows the latches to Hello.
func (f *Follower) shareLatches() []regions.Latch {
	known := f.latches.list()
	f.known.Store(&known)
	f.metrics.latches.Set(float64(len(known)))
	return known
}
