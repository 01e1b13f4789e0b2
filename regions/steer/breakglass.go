package steer

import (
	"slices"
	"time"

	"github.com/fairlead-dns/fairlead/regions"
)

// underBreakGlass is a plan with what was said to the nameserver directly in the
// place of what was said before.
func underBreakGlass(plan *regions.Plan, said []regions.Override) *regions.Plan {
	p := *plan
	p.Overrides = slices.DeleteFunc(slices.Clone(plan.Overrides), func(o regions.Override) bool { return o.Origin == regions.BreakGlass })
	p.Overrides = append(p.Overrides, said...)
	regions.SortOverrides(p.Overrides)
	return &p
}

// WithBreakGlass returns the view with other break-glass overrides; those of the
// plan stay. That evaluates every service.
func (v *View) WithBreakGlass(said []regions.Override, now time.Time) *View {
	n := v.advanced(now)
	n.Plan = underBreakGlass(v.Plan, said)
	n.overrides = regions.IndexOverrides(n.Plan.Overrides)
	n.evaluateAll()
	return n
}
