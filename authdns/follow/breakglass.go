package follow

import (
	"slices"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
)

// AnswersBy tells whether answers are made by these break-glass records. An id
// stands for one record.
func (s *Serving) AnswersBy(said []regions.Override) bool {
	return slices.EqualFunc(said, s.BreakGlass, func(a, b regions.Override) bool { return a.ID == b.ID })
}

// takeBreakGlass answers by what was said to this nameserver as it stands now: a
// record that is over, or that the plan ends, counts no more at once, whatever the
// disk does.
func (f *Follower) takeBreakGlass(now time.Time) {
	s := f.serving.Load()
	if s == nil {
		return
	}
	said := f.opts.BreakGlass.Standing(now, s.Plan.BreakGlassEnds)
	if s.AnswersBy(said) {
		return
	}
	next := *s
	next.BreakGlass, next.View = said, s.View.WithBreakGlass(said, now)
	f.publish(&next)
	f.opts.Log.Warn("answering by other break-glass records", "standing", len(said), "were", len(s.BreakGlass))
}
