package steer

import "github.com/fairlead-dns/fairlead/regions"

// An answer gets the service's MinTTL while it hangs on a wavering target, one
// that evidence speaks against: the vantages disagree about it, or their last
// checks do, or what counts is not confirmed. Which, is a function of the
// service's view and the group that answers, the same for every client:
//
//	rung              wavering targets that count
//	in-service        of undrained endpoints in the region that answers;
//	                  that could together bring in a region that is out;
//	                  and where both families choose together: that could take
//	                  out, or bring in, a region for both, if the answer is from
//	                  there or the family is not in service there
//	healthy-anywhere  of any undrained endpoint
//	below             of any endpoint that is not forced down
//
// A region that waits for a release, or whose endpoints must be healthy for a
// hold-down first, is not brought in by a verdict. Where an override or the age
// of the verdicts decides, nothing wavers.
//
// markWavering notes it in a standing, of one family or of both together.
func (e *evaluator) markWavering(s *regions.Service, cand []candidate, st *stood) {
	for i := range cand {
		c := &cand[i]
		switch {
		case !c.mayFall && !c.mayRise || c.effect.ForcedDown:
		case st.rung > HealthyAnywhere:
			st.wavers = true
		case c.effect.Drained:
		case st.rung == HealthyAnywhere:
			st.wavers = true
		case st.regions.has(c.region):
			st.group(c.region).wavers = true
			if c.mayFall {
				st.falling.add(c.region)
			}
		default:
			r := &e.ready[c.region]
			if !r.in && !r.latched && s.Failback.HoldDown == 0 && r.rising > 0 && r.healthy+r.rising >= r.need {
				st.wavers = true
			}
		}
	}
}

// hangOn spreads what wavers to the groups of a family's standing that hang on
// it, where both families choose a region together.
func (st *standing) hangOn(joint *stood) {
	st.wavers = st.wavers || joint.wavers || !joint.falling.subsetOf(&st.regions)
	for i := range st.groups {
		g := &st.groups[i]
		g.wavers = g.wavers || joint.falling.has(g.region)
	}
}
