package feed

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/health"
	"github.com/fairlead-dns/fairlead/regions/health/healthpb"
)

func update(full bool, number uint64, digest health.Digest, verdicts map[string]regions.Status, removed ...string) *pb.HealthUpdate {
	u := &pb.HealthUpdate{Version: &pb.HealthVersion{Incarnation: 1, Number: number}, Full: full, Digest: uint64(digest), Removed: removed}
	for id, s := range verdicts {
		u.Targets = append(u.Targets, &pb.TargetHealth{Target: id, Verdict: healthpb.Status(s)})
	}
	return u
}

func beat(incarnation, number uint64, digest health.Digest) *pb.Heartbeat {
	return &pb.Heartbeat{Version: &pb.HealthVersion{Incarnation: incarnation, Number: number}, Digest: uint64(digest), Ready: true}
}

func digestOf(verdicts map[string]regions.Status) health.Digest {
	return health.DigestOf(maps.All(verdicts))
}

func last(verdicts map[string]health.Verdict) map[string]regions.Status {
	out := map[string]regions.Status{}
	for id, v := range verdicts {
		out[id] = v.Last
	}
	return out
}

// Whatever updates come, a table that is whole is the controller's, and who
// takes the changes now and then has it, too, but for what was removed.
func TestTableMirrors(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tab table
		theirs, mine := map[string]regions.Status{}, map[string]regions.Status{}
		number := uint64(1)
		step := func(full, lose bool) {
			number++
			changed, removed := map[string]regions.Status{}, []string{}
			if full {
				maps.Copy(changed, theirs)
			}
			for range rapid.IntRange(0, 3).Draw(t, "changes") {
				id := fmt.Sprint(rapid.IntRange(0, 9).Draw(t, "target"))
				if s := rapid.IntRange(-1, 2).Draw(t, "status"); s >= 0 {
					theirs[id], changed[id] = regions.Status(s), regions.Status(s)
				} else {
					delete(theirs, id)
					delete(changed, id)
					removed = append(removed, id)
				}
			}
			// The order in a message does not matter: a target that was removed and
			// came back is just there.
			kept := removed[:0]
			for _, id := range removed {
				if _, ok := theirs[id]; !ok {
					kept = append(kept, id)
				}
			}
			if lose {
				return
			}
			if _, err := tab.take(update(full, number, digestOf(theirs), changed, kept...), time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		step(true, false)
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			step(false, rapid.IntRange(0, 5).Draw(t, "lose") == 0)
			trouble := tab.confirm(beat(1, number, digestOf(theirs)))
			if (trouble == "") != tab.whole && tab.filled {
				t.Fatalf("trouble %q, whole %v", trouble, tab.whole)
			}
			if !tab.whole {
				if c := tab.changes(); len(c.Table) > 0 {
					t.Fatalf("changes of a table that is not whole: %v", c)
				}
				step(true, false)
				if trouble := tab.confirm(beat(1, number, digestOf(theirs))); trouble != "" || !tab.whole {
					t.Fatalf("after a full update: %q", trouble)
				}
			}
			if got := last(tab.targets); !maps.Equal(got, theirs) {
				t.Fatalf("the table is %v, want %v", got, theirs)
			}
			if rapid.Bool().Draw(t, "take") {
				maps.Copy(mine, last(tab.changes().Table))
				for id, s := range theirs {
					if mine[id] != s {
						t.Fatalf("%s: %v was taken, want %v", id, mine[id], s)
					}
				}
			}
		}
	})
}

func TestTableDistrusts(t *testing.T) {
	now := time.Now()
	good := map[string]regions.Status{"a": regions.Healthy}
	whole := func() *table {
		var tab table
		if trouble, err := tab.take(update(true, 5, digestOf(good), good), now); trouble != "" || err != nil {
			t.Fatal(trouble, err)
		}
		if trouble := tab.confirm(beat(1, 5, digestOf(good))); trouble != "" || !tab.whole {
			t.Fatal(trouble)
		}
		return &tab
	}
	for name, test := range map[string]struct {
		do      func(*table) (string, error)
		trouble string
		err     string
	}{
		"an older version": {func(tab *table) (string, error) { return tab.take(update(false, 4, digestOf(good), nil), now) }, "out of order", ""},
		"another incarnation": {func(tab *table) (string, error) {
			u := update(false, 6, digestOf(good), nil)
			u.Version.Incarnation = 2
			return tab.take(u, now)
		}, "out of order", ""},
		"a wrong digest":           {func(tab *table) (string, error) { return tab.take(update(false, 6, 1, nil), now) }, "digest differs", ""},
		"a heartbeat of another":   {func(tab *table) (string, error) { return tab.confirm(beat(1, 6, 1)), nil }, "heartbeat", ""},
		"another one's heartbeat":  {func(tab *table) (string, error) { return tab.confirm(beat(2, 5, digestOf(good))), nil }, "heartbeat", ""},
		"a full one that is wrong": {func(tab *table) (string, error) { return tab.take(update(true, 6, 1, good), now) }, "", "its own digest"},
		"a target id that is no name": {func(tab *table) (string, error) {
			return tab.take(update(false, 6, 0, map[string]regions.Status{strings.Repeat("x", 1000): 1}), now)
		}, "", "1000 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			tab := whole()
			trouble, err := test.do(tab)
			if !strings.Contains(trouble, test.trouble) || (trouble == "") != (test.trouble == "") {
				t.Errorf("trouble %q, want %q", trouble, test.trouble)
			}
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("error %v, want %q", err, test.err)
			}
			if trouble != "" && (tab.whole || len(tab.changes().Table) > 0) {
				t.Error("it is used all the same")
			}
			// What comes before all verdicts came anew is not taken.
			if trouble != "" {
				if again, err := tab.take(update(false, 9, 0, nil), now); again != "" || err != nil || tab.confirm(beat(1, 9, 0)) != "" {
					t.Errorf("asked for all twice: %q, %v", again, err)
				}
			}
		})
	}
}
