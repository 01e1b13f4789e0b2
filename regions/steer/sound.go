package steer

import "github.com/fairlead-dns/fairlead/regions"

// Sound returns what tells whether an endpoint could be in service but for
// overrides: it is healthy in any family, as an answer would count it, and its
// region does not wait for a release. No service is evaluated for it.
func Sound(in Inputs) func(service int32, endpoint int) bool {
	v := &View{Plan: in.Plan, states: paged(pointers(in.States)), latched: latched(in.Plan, in.Latches), failOpen: in.FailOpen}
	return func(service int32, endpoint int) bool {
		s := &v.Plan.Services[service]
		e := &s.Endpoints[endpoint]
		if waits := v.latched[service]; waits.has(e.Region) {
			return false
		}
		for _, f := range []regions.Family{regions.V4, regions.V6} {
			if e.Has(f) && v.effect(s, v.counted(s, e.Target[f], nobody), nil).Healthy {
				return true
			}
		}
		return false
	}
}
