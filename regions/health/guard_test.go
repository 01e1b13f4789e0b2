package health

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead-dns/fairlead/regions"
)

var guard = regions.Guard{MaxPercent: 50, Window: time.Minute}

// losses makes a step out of regions that share no target: left and lost each.
func losses(all int, of ...[2]int) Losses {
	l := Losses{Targets: all}
	for i, r := range of {
		l.Left, l.Lost = l.Left+r[0], l.Lost+r[1]
		l.Regions = append(l.Regions, RegionLosses{Region: string(rune('a' + i)), Left: r[0], Lost: r[1]})
	}
	return l
}

// The table of Guard, row by row and at the limits.
func TestGuard(t *testing.T) {
	for _, tc := range []struct {
		name   string
		guard  regions.Guard
		losses Losses
		trips  bool
		whole  string
		reason string
	}{
		{"nothing", guard, losses(10, [2]int{5, 0}, [2]int{5, 0}), false, "", ""},
		{"one target", guard, losses(10, [2]int{4, 1}, [2]int{5, 0}), false, "", ""},
		{"the only target", guard, losses(1, [2]int{0, 1}), false, "", ""},
		{"half of all, of several regions", guard, losses(12, [2]int{2, 2}, [2]int{2, 2}, [2]int{2, 2}), false, "", ""},
		{"more than half, of several regions", guard, losses(12, [2]int{2, 2}, [2]int{1, 3}, [2]int{2, 2}), true, "",
			"7 of 12 targets turned UNHEALTHY within 1m0s without the confirmation of the quorum, more than 50 %"},
		{"one region as a whole", guard, losses(12, [2]int{0, 8}, [2]int{4, 0}), false, "a",
			"8 of 12 targets turned UNHEALTHY within 1m0s without the confirmation of the quorum: region a as a whole"},
		{"most of one region, more than half of all", guard, losses(12, [2]int{1, 7}, [2]int{4, 0}), true, "", ""},
		{"most of one region, less than half of all", guard, losses(12, [2]int{1, 4}, [2]int{7, 0}), false, "", ""},
		{"one as a whole and some elsewhere", guard, losses(12, [2]int{0, 6}, [2]int{2, 2}, [2]int{1, 1}), false, "a", ""},
		{"one as a whole and most of another", guard, losses(12, [2]int{0, 4}, [2]int{1, 3}, [2]int{4, 0}), true, "", ""},
		{"two as a whole, of five", guard, losses(10, [2]int{0, 2}, [2]int{0, 2}, [2]int{2, 0}, [2]int{2, 0}, [2]int{2, 0}), false, "", ""},
		{"two as a whole, of three", guard, losses(6, [2]int{0, 2}, [2]int{0, 2}, [2]int{2, 0}), true, "", ""},
		{"everything", guard, losses(4, [2]int{0, 2}, [2]int{0, 2}), true, "",
			"4 of 4 targets turned UNHEALTHY within 1m0s without the confirmation of the quorum, and none would be left"},
		{"everything that was left", guard, losses(100, [2]int{0, 2}), true, "", ""},
		{"everything, in one region", guard, losses(4, [2]int{0, 4}), true, "", ""},
		{"without regions", guard, Losses{Targets: 4, Left: 1, Lost: 3}, true, "", ""},
		{"another share", regions.Guard{MaxPercent: 10, Window: time.Minute}, losses(10, [2]int{3, 2}, [2]int{5, 0}), true, "", ""},
		{"a share of all", regions.Guard{MaxPercent: 100}, losses(10, [2]int{1, 4}, [2]int{1, 4}), false, "", ""},
		{"a share of all, and everything", regions.Guard{MaxPercent: 100}, losses(10, [2]int{0, 5}, [2]int{0, 5}), true, "", ""},
		{"no guard", regions.Guard{}, losses(10, [2]int{0, 5}, [2]int{0, 5}), false, "", ""},
	} {
		r := Guard(tc.guard, tc.losses)
		if r.Trips != tc.trips || r.Whole != tc.whole {
			t.Errorf("%s: trips %t, whole %q; want %t, %q", tc.name, r.Trips, r.Whole, tc.trips, tc.whole)
		}
		if got := r.Reason(tc.guard, tc.losses); tc.reason != "" && got != tc.reason {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.reason)
		}
	}
}

// What trips goes on tripping when more of a region that still has something
// left is lost, and what passes goes on passing when less is.
func TestGuardIsMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var of [][2]int
		all := 0
		for range rapid.IntRange(1, 5).Draw(t, "regions") {
			r := [2]int{rapid.IntRange(0, 6).Draw(t, "left"), rapid.IntRange(0, 6).Draw(t, "lost")}
			of, all = append(of, r), all+r[0]+r[1]
		}
		before := Guard(guard, losses(all, of...))
		if before.Trips && before.Whole != "" && before.Counted*2 <= all {
			t.Fatalf("trips on a region as a whole: %v", of)
		}
		i := rapid.IntRange(0, len(of)-1).Draw(t, "where")
		if of[i][0] < 2 {
			return
		}
		of[i][0]--
		of[i][1]++
		if after := Guard(guard, losses(all, of...)); before.Trips && !after.Trips {
			t.Fatalf("one more lost, and it passes: %v", of)
		}
	})
}

func TestIsolatedByWhatItSays(t *testing.T) {
	for _, tc := range []struct {
		sight Sight
		want  bool
	}{
		{Sight{}, false},
		{Sight{1, 1, 1}, false},
		{Sight{2, 1, 1}, false}, {Sight{2, 2, 1}, false}, {Sight{2, 2, 2}, true},
		{Sight{3, 2, 2}, false}, {Sight{3, 3, 1}, false}, {Sight{3, 3, 2}, true},
		{Sight{4, 3, 3}, false}, {Sight{4, 4, 2}, false}, {Sight{4, 4, 3}, true},
		{Sight{5, 3, 3}, false}, {Sight{5, 4, 2}, false}, {Sight{5, 4, 3}, true},
		{Sight{100, 79, 79}, false}, {Sight{100, 80, 40}, false}, {Sight{100, 80, 41}, true},
		{Sight{100, 100, 0}, false}, // true for all that anybody can tell
	} {
		why := tc.sight.Isolated()
		if got := why != ""; got != tc.want {
			t.Errorf("%+v: isolated %t (%s), want %t", tc.sight, got, why, tc.want)
		}
	}
	if got, want := (Sight{100, 90, 80}).Isolated(),
		"it calls 90 of 100 targets UNHEALTHY, and the other regions call 80 of those HEALTHY"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func genLatch(t *rapid.T) regions.Latch {
	return regions.Latch{
		Service: "www.example.test", Region: "eu-west",
		Trip:  rapid.Uint64Range(0, 3).Draw(t, "trip"),
		Since: epoch.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "since")) * time.Second),
	}
}

func TestLatchesMergeMonotonely(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := genLatch(t), genLatch(t), genLatch(t)
		ab := MergeLatch(a, b)
		switch {
		case ab != MergeLatch(b, a):
			t.Fatalf("not commutative: %v, %v", a, b)
		case MergeLatch(ab, c) != MergeLatch(a, MergeLatch(b, c)):
			t.Fatalf("not associative: %v, %v, %v", a, b, c)
		case MergeLatch(a, a) != a || MergeLatch(ab, b) != ab:
			t.Fatalf("not idempotent: %v, %v", a, b)
		case ab.Trip < a.Trip || ab.Trip < b.Trip:
			t.Fatalf("not monotone: %v, %v", a, b)
		}
		released := rapid.Uint64Range(0, 4).Draw(t, "released")
		tripped := Trip(a, released, epoch.Add(time.Hour))
		if tripped.Trip <= released || tripped.Trip < a.Trip || a.Trip > released && tripped != a {
			t.Fatalf("%v tripped after a release of %d: %v", a, released, tripped)
		}
		// Two who have heard the same trip the same.
		if Trip(MergeLatch(a, b), released, epoch) != Trip(MergeLatch(b, a), released, epoch) {
			t.Fatal("two controllers trip differently")
		}
	})
}

func TestOutOfService(t *testing.T) {
	for _, tc := range []struct {
		endpoints, unhealthy, percent int
		want                          bool
	}{
		{0, 0, 0, false}, {1, 0, 0, false}, {1, 1, 0, true}, {4, 3, 0, false}, {4, 4, 0, true},
		{4, 2, 50, false}, {4, 3, 50, true}, {3, 1, 100, true}, {3, 0, 100, false}, {3, 3, 1, true},
	} {
		if got := OutOfService(tc.endpoints, tc.unhealthy, tc.percent); got != tc.want {
			t.Errorf("%+v: %t", tc, got)
		}
	}
}

func TestDampingHold(t *testing.T) {
	for transitions, want := range map[int]time.Duration{
		0: 0, 1: 0, 3: 0, 4: 30 * time.Second, 5: 30 * time.Second, 6: time.Minute, 8: 2 * time.Minute,
		10: 4 * time.Minute, 12: 8 * time.Minute, 14: 10 * time.Minute, 100: 10 * time.Minute, 1 << 30: 10 * time.Minute,
	} {
		if got := (Damping{}).Hold(transitions); got != want {
			t.Errorf("%d transitions: %s, want %s", transitions, got, want)
		}
	}
	d := Damping{Recoveries: 1, BaseHold: 20 * time.Minute, MaxHold: 24 * time.Hour}
	if d.Hold(1) != 0 || d.Hold(2) != 20*time.Minute || d.Hold(6) != time.Hour {
		t.Errorf("%s, %s, %s", d.Hold(1), d.Hold(2), d.Hold(6))
	}
	if d.Off = true; d.Hold(50) != 0 {
		t.Error("holds although it is off")
	}
}

// Invariant 9: however a target flaps, its vote returns at most eleven times an hour.
func TestFlappingIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		op := Opinion{}
		now := epoch
		var returns []time.Time
		was := regions.Unknown
		for now.Before(epoch.Add(4 * time.Hour)) {
			// The target knows the damping and times its failures to hurt most,
			// or does what it likes.
			wait := time.Second
			if op.Status == regions.Healthy {
				wait = max(Damping{}.Hold(op.Flaps(now))-op.Held(now), 0) + time.Second
				if rapid.IntRange(0, 9).Draw(t, "otherwise") == 0 {
					wait = time.Duration(rapid.IntRange(1, 1500).Draw(t, "seconds")) * time.Second
				}
			}
			now = now.Add(wait)
			v := Voter{Agent: "a", Region: "a", Registered: true, Status: op.Status, Since: op.Since, Transitions: op.Flaps(now)}
			if is := Decide(Ballot{Voters: []Voter{v}}, Policy{}, now).Status; is != was {
				if is == regions.Healthy && was == regions.Unhealthy {
					returns = append(returns, now)
				}
			}
			op = Step(op, Observation{At: now, OK: op.Status == regions.Unhealthy}, Thresholds{Rise: 1, Fall: 1})
			v.Status, v.Since, v.Transitions = op.Status, op.Since, op.Flaps(now)
			was = Decide(Ballot{Voters: []Voter{v}}, Policy{}, now).Status
			if op.Status == regions.Healthy && was == regions.Healthy {
				returns = append(returns, now)
			}
		}
		for i := range returns {
			if i >= 11 && returns[i].Sub(returns[i-11]) < time.Hour {
				t.Fatalf("twelve returns from %s to %s", returns[i-11].Sub(epoch), returns[i].Sub(epoch))
			}
		}
		if len(returns) == 0 {
			t.Fatal("it never returned")
		}
	})
}

func TestOpinionFlapsAndWavering(t *testing.T) {
	th := Thresholds{Rise: 2, Fall: 2}
	op := Opinion{}
	step := func(seconds int, ok bool) {
		op = Step(op, Observation{At: epoch.Add(time.Duration(seconds) * time.Second), OK: ok}, th)
	}
	var flaps []string
	for i, ok := range []bool{true, false, false, true, true, false, true} {
		step(i, ok)
		s := letter(op.Status)
		if op.Wavering() {
			s += "~"
		}
		flaps = append(flaps, s)
	}
	if got, want := strings.Join(flaps, " "), "H H~ U U~ H H~ H"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	// Asked at any time while the status holds, the same; after an hour, none.
	for _, at := range []time.Duration{6 * time.Second, time.Minute, 59 * time.Minute} {
		if got := op.Flaps(epoch.Add(at)); got != 2 {
			t.Errorf("after %s: %d flaps", at, got)
		}
	}
	if got := op.Flaps(epoch.Add(2 * time.Hour)); got != 0 {
		t.Errorf("after two hours: %d flaps", got)
	}
}
