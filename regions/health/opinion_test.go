package health

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fairlead-dns/fairlead/regions"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// run steps an opinion through a script, one observation a second: + is a
// success, - a failure, ? an abstention. It returns the statuses as letters.
func run(op Opinion, script string, t Thresholds) (Opinion, string) {
	at := epoch
	if !op.ObservedAt.IsZero() {
		at = op.ObservedAt
	}
	var out strings.Builder
	for _, c := range script {
		at = at.Add(time.Second)
		if c == '?' {
			op = Abstain(op, at, "abstained")
		} else {
			op = Step(op, Observation{At: at, OK: c == '+', Reason: string(c)}, t)
		}
		out.WriteString(op.Status.String()[:3] + " ")
	}
	return op, strings.TrimSpace(strings.NewReplacer("UNK", "?", "HEA", "H", "UNH", "U").Replace(out.String()))
}

func TestStep(t *testing.T) {
	for _, tc := range []struct {
		name, script, want string
		t                  Thresholds
	}{
		{"first success decides", "+", "H", Thresholds{2, 3}},
		{"first failure does not", "-", "?", Thresholds{2, 3}},
		{"failures from the start", "---", "? ? U", Thresholds{2, 3}},
		{"fall of one", "-", "U", Thresholds{1, 1}},
		{"zero thresholds count as one", "-+-", "U H U", Thresholds{}},
		{"a success after a failure is not the first", "-+", "? ?", Thresholds{2, 3}},
		{"it needs a run", "-++", "? ? H", Thresholds{2, 3}},
		{"alternating never settles", "-+-+-+-+", "? ? ? ? ? ? ? ?", Thresholds{2, 3}},
		{"healthy falls at the third failure", "+---", "H H H U", Thresholds{2, 3}},
		{"a success breaks the run", "+--+--+---", "H H H H H H H H H U", Thresholds{2, 3}},
		{"unhealthy rises at the second success", "---++", "? ? U U H", Thresholds{2, 3}},
		{"a failure breaks the run of successes", "---+-+-++", "? ? U U U U U U H", Thresholds{2, 3}},
		{"abstention is unknown at once", "+?", "H ?", Thresholds{2, 3}},
		{"after an abstention success needs a run", "+?+", "H ? ?", Thresholds{2, 3}},
		{"after an abstention a run of successes", "---?++", "? ? U ? ? H", Thresholds{2, 3}},
		{"after an abstention a run of failures", "+?---", "H ? ? ? U", Thresholds{2, 3}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, got := run(Opinion{}, tc.script, tc.t); got != tc.want {
				t.Errorf("%s gives %s, want %s", tc.script, got, tc.want)
			}
		})
	}
}

func TestStepKeepsEvidence(t *testing.T) {
	op, _ := run(Opinion{}, "+---++", Thresholds{2, 3})
	at := func(s int) time.Time { return epoch.Add(time.Duration(s) * time.Second) }
	want := Opinion{
		Status: regions.Healthy, Since: at(6), ObservedAt: at(6), Reason: "+", Successes: 2,
		Transitions: []time.Time{at(4), at(6)},
	}
	if diff := cmp.Diff(want, op); diff != "" {
		t.Error(diff)
	}
	if got := op.Held(at(16)); got != 10*time.Second {
		t.Errorf("held %s, want 10s", got)
	}
	if got := op.RecentTransitions(at(4).Add(TransitionWindow)); got != 1 {
		t.Errorf("%d recent transitions after the first left the window, want 1", got)
	}
	// An observation that comes late changes nothing.
	late := Step(op, Observation{At: at(5), OK: false, Reason: "late"}, Thresholds{1, 1})
	if diff := cmp.Diff(op, late); diff != "" {
		t.Error(diff)
	}
}

// A reference that keeps the whole history and looks at it from the end.
func naiveStatus(history string, t Thresholds) regions.Status {
	status := regions.Unknown
	for i := range history {
		seen := history[:i+1]
		since := seen[strings.LastIndexByte(seen, '?')+1:]
		switch {
		case seen[i] == '?':
			status = regions.Unknown
		case seen == "+":
			status = regions.Healthy
		case strings.HasSuffix(since, strings.Repeat("+", t.Rise)):
			status = regions.Healthy
		case strings.HasSuffix(since, strings.Repeat("-", t.Fall)):
			status = regions.Unhealthy
		}
	}
	return status
}

func TestStepProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		th := Thresholds{Rise: rapid.IntRange(1, 5).Draw(t, "rise"), Fall: rapid.IntRange(1, 5).Draw(t, "fall")}
		script := string(rapid.SliceOfN(rapid.SampledFrom([]byte("++++----?")), 0, 60).Draw(t, "script"))
		op, out := run(Opinion{}, script, th)
		if want := naiveStatus(script, th); op.Status != want {
			t.Fatalf("%s: %s (%s), the reference says %s", script, op.Status, out, want)
		}
		if op.Successes > 0 && op.Failures > 0 {
			t.Fatalf("both runs last: %+v", op)
		}
		if len(op.Transitions) > MaxTransitions {
			t.Fatalf("%d transitions kept", len(op.Transitions))
		}
		// Fewer failures in a row than fall never leave healthy.
		op, _ = run(Opinion{}, "+"+script, th)
		if op.Status == regions.Unhealthy && !strings.Contains(script, strings.Repeat("-", th.Fall)) {
			t.Fatalf("%s became unhealthy without %d failures in a row", script, th.Fall)
		}
	})
}

func TestTransitionsAreBoundedAndNotShared(t *testing.T) {
	op, _ := run(Opinion{}, "+", Thresholds{1, 1})
	kept := op
	for range 3 * MaxTransitions {
		op, _ = run(op, "-+", Thresholds{1, 1})
	}
	if got := len(op.Transitions); got != MaxTransitions {
		t.Errorf("%d transitions kept, want %d", got, MaxTransitions)
	}
	if len(kept.Transitions) != 0 {
		t.Error("Step wrote to its argument")
	}
	a, _ := run(op, "-", Thresholds{1, 1})
	before := a.Transitions[len(a.Transitions)-1]
	if _, _ = run(op, "?++-", Thresholds{1, 1}); a.Transitions[len(a.Transitions)-1] != before {
		t.Error("two opinions from one share their transitions")
	}
}
