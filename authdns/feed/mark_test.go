package feed

import (
	"maps"
	"slices"
	"testing"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
)

// All is taken once, and then what changes and what is marked, as long as the
// stream is unbroken. What is removed leaves nothing behind.
func TestTakesWhatChangedOrIsMarked(t *testing.T) {
	now := time.Now()
	theirs := map[string]regions.Status{"a": regions.Healthy, "b": regions.Healthy, "c": regions.Healthy, "d": regions.Healthy}
	var s Subscription
	tab := &s.state.table
	number := uint64(0)
	says := func(full bool, changed map[string]regions.Status, removed ...string) {
		t.Helper()
		number++
		maps.Copy(theirs, changed)
		for _, id := range removed {
			delete(theirs, id)
		}
		trouble, err := tab.take(update(full, number, digestOf(theirs), changed, removed...), now)
		if trouble == "" {
			trouble = tab.confirm(beat(1, number, digestOf(theirs)))
		}
		if trouble != "" || err != nil {
			t.Fatal(trouble, err)
		}
	}
	takes := func(all bool, want ...string) {
		t.Helper()
		c := s.Take()
		if got := slices.Sorted(maps.Keys(c.Table)); c.All != all || !slices.Equal(got, want) {
			t.Errorf("took %v, all: %v; want %v, %v", got, c.All, want, all)
		}
		for id, v := range c.Table {
			if v.Last != theirs[id] {
				t.Errorf("%s is %v, want %v", id, v.Last, theirs[id])
			}
		}
	}
	s.Mark([]string{"a"}) // there is no table yet
	says(true, maps.Clone(theirs))
	s.Mark([]string{"a"})
	takes(true, "a", "b", "c", "d")
	takes(false)
	s.Mark([]string{"b", "nobody's"})
	takes(false, "b")
	says(false, map[string]regions.Status{"c": regions.Unhealthy})
	s.Mark([]string{"c", "d"})
	takes(false, "c", "d")
	says(false, map[string]regions.Status{"a": regions.Unhealthy})
	s.Mark([]string{"b"})
	says(false, nil, "a", "b")
	s.Mark([]string{"a"})
	if len(tab.dirty) != 0 {
		t.Errorf("dirty: %v", tab.dirty)
	}
	takes(false)
	says(false, map[string]regions.Status{"b": regions.Healthy})
	takes(false, "b")
	// Not while the table is in doubt; then it is another one.
	s.Mark([]string{"c"})
	if trouble := tab.confirm(beat(1, number, 1)); trouble == "" {
		t.Fatal("a wrong digest is no trouble")
	}
	takes(false)
	says(true, maps.Clone(theirs))
	takes(true, "b", "c", "d")
}

// Whatever comes and goes while nobody takes it, no more is kept than the table.
func TestDirtyIsBounded(t *testing.T) {
	var tab table
	has := map[string]regions.Status{"stays": regions.Healthy}
	if _, err := tab.take(update(true, 1, digestOf(has), has), time.Now()); err != nil {
		t.Fatal(err)
	}
	tab.confirm(beat(1, 1, digestOf(has)))
	tab.changes()
	for i := range 100 {
		id := string(rune('a' + i%26))
		with := map[string]regions.Status{"stays": regions.Healthy, id: regions.Unhealthy}
		if trouble, err := tab.take(update(false, uint64(2*i+2), digestOf(with), map[string]regions.Status{id: regions.Unhealthy}), time.Now()); trouble != "" || err != nil {
			t.Fatal(trouble, err)
		}
		if trouble, err := tab.take(update(false, uint64(2*i+3), digestOf(has), nil, id), time.Now()); trouble != "" || err != nil {
			t.Fatal(trouble, err)
		}
	}
	if len(tab.dirty) > len(tab.targets) {
		t.Errorf("%d are dirty of a table of %d", len(tab.dirty), len(tab.targets))
	}
}

// The evidence of a controller that sends it is not kept.
func TestTableKeepsNoEvidence(t *testing.T) {
	has := map[string]regions.Status{"a": regions.Healthy}
	u := update(true, 1, digestOf(has), has)
	u.Targets[0].Votes = []*pb.Vote{{Agent: "x", Region: "r", Counted: true}}
	var tab table
	if trouble, err := tab.take(u, time.Now()); trouble != "" || err != nil {
		t.Fatal(trouble, err)
	}
	if v := tab.targets["a"]; v.Votes != nil || !v.Same(health.Verdict{Last: regions.Healthy}) {
		t.Errorf("%+v", v)
	}
}
