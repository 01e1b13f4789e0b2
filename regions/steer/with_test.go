package steer

import (
	"testing"

	"github.com/fairlead-dns/fairlead/regions"
)

// A batch of changes copies the pages that it touches, once each, and evaluates
// the services that it concerns; all else is shared with the view before.
func TestWithSharesWhatDidNotChange(t *testing.T) {
	w := manyServices(2*pageSize+10, 0) // eight targets each
	v := NewView(Inputs{Plan: w.plan, Tables: compileRankings(t, w.plan.Base, nil, nil).Tables, States: w.states, Now: epoch})
	down := TargetState{Standing: regions.Standing{Verdict: regions.Unhealthy, Since: epoch}}
	changed := map[int32]TargetState{}
	for i := range int32(100) {
		changed[2*pageSize+4*i] = down // of services 128 and on, two targets of each
	}
	last := int32(len(w.states) - 1)
	changed[last] = down
	n := v.With(changed, epoch)

	copied := 0
	for p := range v.states {
		if &v.states[p][0] != &n.states[p][0] {
			copied++
		}
	}
	if copied != 2 {
		t.Errorf("%d pages of states are copied, want 2", copied)
	}
	copied = 0
	for p := range v.services {
		if &v.services[p][0] != &n.services[p][0] {
			copied++
		}
	}
	if copied != 2 {
		t.Errorf("%d pages of services are copied, want 2", copied)
	}
	states, services := 0, 0
	for i := range int32(len(w.states)) {
		_, is := changed[i]
		if other := v.states.at(i) != n.states.at(i); other != is {
			t.Errorf("target %d: another state is %v, want %v", i, other, is)
		} else if other {
			states++
		}
	}
	for i := range int32(len(w.plan.Services)) {
		if v.services.at(i) != n.services.at(i) {
			services++
		}
	}
	if states != 101 || services != 51 {
		t.Errorf("%d states and %d services are new, want 101 and 51", states, services)
	}
	if v.State(last).Verdict != regions.Healthy || n.State(last).Verdict != regions.Unhealthy {
		t.Error("the view before has changed, or the one after has not")
	}
}
