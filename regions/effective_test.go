package regions

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"
)

// TestEffective is the precedence as its full truth table: every check,
// verdict and set of actions, and what the service says of the never judged.
func TestEffective(t *testing.T) {
	type row struct {
		checked     bool
		verdict     Status
		neverJudged Status
		actions     string // f force-up, d drain, x force-down; in capitals of break-glass, with U undrain
		want        string
	}
	rows := []row{
		{false, Unknown, Healthy, "", "healthy by no-check, serves"},
		{false, Unknown, Healthy, "f", "healthy by force-up, serves"},
		{false, Unknown, Healthy, "d", "drained by drain, up by no-check"},
		{false, Unknown, Healthy, "fd", "drained by drain, up by force-up"},
		{false, Unknown, Healthy, "x", "forced-down by force-down, up by no-check"},
		{false, Unknown, Healthy, "fx", "forced-down by force-down, up by force-up"},
		{false, Unknown, Healthy, "dx", "forced-down by force-down, up by no-check"},
		{false, Unknown, Healthy, "fdx", "forced-down by force-down, up by force-up"},

		{true, Healthy, Unhealthy, "", "healthy by verdict, serves"},
		{true, Healthy, Unhealthy, "f", "healthy by force-up, serves"},
		{true, Healthy, Unhealthy, "d", "drained by drain, up by verdict"},
		{true, Healthy, Unhealthy, "fd", "drained by drain, up by force-up"},
		{true, Healthy, Unhealthy, "x", "forced-down by force-down, up by verdict"},
		{true, Healthy, Unhealthy, "fx", "forced-down by force-down, up by force-up"},
		{true, Healthy, Unhealthy, "dx", "forced-down by force-down, up by verdict"},
		{true, Healthy, Unhealthy, "fdx", "forced-down by force-down, up by force-up"},

		{true, Unhealthy, Healthy, "", "unhealthy by verdict"},
		{true, Unhealthy, Healthy, "f", "healthy by force-up, serves"},
		{true, Unhealthy, Healthy, "d", "drained by drain, not up by verdict"},
		{true, Unhealthy, Healthy, "fd", "drained by drain, up by force-up"},
		{true, Unhealthy, Healthy, "x", "forced-down by force-down, not up by verdict"},
		{true, Unhealthy, Healthy, "fx", "forced-down by force-down, up by force-up"},
		{true, Unhealthy, Healthy, "dx", "forced-down by force-down, not up by verdict"},
		{true, Unhealthy, Healthy, "fdx", "forced-down by force-down, up by force-up"},

		{true, Unknown, Healthy, "", "healthy by never-judged, serves"},
		{true, Unknown, Healthy, "d", "drained by drain, up by never-judged"},
		{true, Unknown, Healthy, "x", "forced-down by force-down, up by never-judged"},
		{true, Unknown, Unhealthy, "", "unhealthy by never-judged"},
		{true, Unknown, Unhealthy, "f", "healthy by force-up, serves"},
		{true, Unknown, Unhealthy, "d", "drained by drain, not up by never-judged"},
		{true, Unknown, Unhealthy, "fd", "drained by drain, up by force-up"},
		{true, Unknown, Unhealthy, "x", "forced-down by force-down, not up by never-judged"},
		{true, Unknown, Unhealthy, "fdx", "forced-down by force-down, up by force-up"},
	}
	actions := map[rune]Action{'f': ForceUp, 'd': Drain, 'x': ForceDown, 'u': Undrain}
	// Break-glass sets aside what the control plane says, but for a force-down, which
	// its force-up alone lifts: what must never answer is no last resort.
	for _, below := range []string{"", "f", "d", "x", "fd", "fx", "dx", "fdx"} {
		drained := "drained by break-glass"
		if strings.Contains(below, "x") {
			drained = "forced-down by force-down"
		}
		rows = append(
			rows,
			row{true, Unhealthy, Healthy, "F" + below, "healthy by break-glass, serves"},
			row{true, Unhealthy, Healthy, "D" + below, drained + ", not up by verdict"},
			row{true, Healthy, Healthy, "D" + below, drained + ", up by verdict"},
			row{true, Healthy, Healthy, "X" + below, "forced-down by break-glass, up by verdict"},
			row{true, Unhealthy, Healthy, "FD" + below, "drained by break-glass, up by break-glass"},
			row{true, Unhealthy, Healthy, "FDX" + below, "forced-down by break-glass, up by break-glass"},
			row{false, Unknown, Healthy, "X" + below, "forced-down by break-glass, up by no-check"},
			row{true, Unhealthy, Healthy, "UF" + below, "healthy by break-glass, serves"},
			row{true, Healthy, Healthy, "UD" + below, drained + ", up by verdict"},
			row{true, Healthy, Healthy, "UX" + below, "forced-down by break-glass, up by verdict"},
		)
	}
	// Its undrain sets drains aside, and nothing else.
	for _, below := range []string{"", "d"} {
		rows = append(
			rows,
			row{true, Healthy, Healthy, "U" + below, "healthy by break-glass, serves"},
			row{true, Unhealthy, Healthy, "U" + below, "unhealthy by break-glass"},
			row{true, Unknown, Unhealthy, "U" + below, "unhealthy by break-glass"},
			row{false, Unknown, Unhealthy, "U" + below, "healthy by break-glass, serves"},
			row{true, Unhealthy, Healthy, "Uf" + below, "healthy by break-glass, serves"},
			row{true, Healthy, Healthy, "Ux" + below, "forced-down by force-down, up by verdict"},
			row{true, Unhealthy, Healthy, "Ufx" + below, "forced-down by force-down, up by force-up"},
		)
	}
	for _, r := range rows {
		var overrides []*Override
		for _, a := range r.actions {
			o := &Override{ID: string(a), Action: actions[unicode.ToLower(a)]}
			if unicode.IsUpper(a) {
				o.Origin = BreakGlass
			}
			overrides = append(overrides, o)
		}
		e := Effective(Measured{Checked: r.checked, Verdict: r.verdict, NeverJudged: r.neverJudged}, overrides)
		got := fmt.Sprintf("%s by %s", e, e.By)
		switch {
		case e.Serves():
			got += ", serves"
		case !e.Drained && !e.ForcedDown:
		case e.Healthy:
			got += ", up by " + e.HealthBy.String()
		default:
			got += ", not up by " + e.HealthBy.String()
		}
		if got != r.want {
			t.Errorf("checked %v, verdict %v, never judged %v, overrides %q: %s, want %s", r.checked, r.verdict, r.neverJudged, r.actions, got, r.want)
		}
		if (e.Override == nil) != (r.actions == "") || e.Override != nil && e.Override.Action.String() != e.By.String() && e.By != ByBreakGlass {
			t.Errorf("overrides %q: decided by %v, names %+v", r.actions, e.By, e.Override)
		}
	}
}

// TestEffectiveWithoutOverrides is what goes between them and the verdict.
func TestEffectiveWithoutOverrides(t *testing.T) {
	for _, c := range []struct {
		m    Measured
		want string
	}{
		{Measured{Checked: true, Verdict: Healthy, GuardHeld: true}, "healthy by guard-hold"},
		{Measured{Checked: true, Verdict: Unhealthy, GuardHeld: true}, "unhealthy by guard-hold"},
		{Measured{Checked: true, NeverJudged: Healthy, GuardHeld: true}, "healthy by never-judged"},
		{Measured{Checked: true, Verdict: Healthy, FailOpen: true}, "healthy by verdict"},
		{Measured{Checked: true, Verdict: Unhealthy, FailOpen: true}, "healthy by fail-open"},
		{Measured{Checked: true, Verdict: Unhealthy, FailOpen: true, GuardHeld: true}, "healthy by fail-open"},
		{Measured{Checked: true, Verdict: Healthy, FailOpen: true, GuardHeld: true}, "healthy by guard-hold"},
		{Measured{Checked: true, NeverJudged: Unhealthy, FailOpen: true}, "unhealthy by never-judged"},
		{Measured{Verdict: Unhealthy, FailOpen: true, GuardHeld: true}, "healthy by no-check"},
	} {
		e := Effective(c.m, nil)
		if got := fmt.Sprintf("%s by %s", e, e.By); got != c.want || e.By != e.HealthBy || e.Override != nil {
			t.Errorf("%+v: %s, want %s", c.m, got, c.want)
		}
		// A force-up goes before all of it, and a drain leaves it underneath.
		up, drained := Effective(c.m, []*Override{{Action: ForceUp}}), Effective(c.m, []*Override{{Action: Drain}})
		if !up.Serves() || up.By != ByForceUp || drained.Healthy != e.Healthy || drained.HealthBy != e.By || !drained.Drained {
			t.Errorf("%+v: forced up %+v, drained %+v", c.m, up, drained)
		}
	}
}

func anyOverrides(t *rapid.T) []*Override {
	n := rapid.IntRange(0, 5).Draw(t, "overrides")
	var out []*Override
	for i := range n {
		out = append(out, &Override{ID: fmt.Sprint("o", i), Action: Action(rapid.IntRange(0, 2).Draw(t, "action")), Origin: Origin(rapid.IntRange(0, 1).Draw(t, "origin"))})
		if rapid.IntRange(0, 3).Draw(t, "undrain") == 0 {
			out[i].Action, out[i].Origin = Undrain, BreakGlass
		}
	}
	return out
}

// strength orders what may decide among overrides. A force-down of the control
// plane is stronger than all of break-glass but its own force-down, unless its
// force-up lifts it.
func strength(o *Override, among []*Override) int {
	lifted := slices.ContainsFunc(among, func(o *Override) bool { return o.Origin == BreakGlass && o.Action == ForceUp })
	if lifted && o.Origin == ControlPlane {
		return -1
	}
	return slices.Index([]Override{
		{Action: ForceUp}, {Action: Drain}, {Action: Undrain, Origin: BreakGlass},
		{Action: ForceUp, Origin: BreakGlass}, {Action: Drain, Origin: BreakGlass}, {Action: ForceDown}, {Action: ForceDown, Origin: BreakGlass},
	}, Override{Action: o.Action, Origin: o.Origin})
}

// TestEffectiveProperties: the order of overrides does not count; the highest
// origin and then action decides, by its least id; taking it away uncovers what was beneath;
// and no override erases the verdict.
func TestEffectiveProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		checked := rapid.Bool().Draw(rt, "checked")
		verdict := Status(rapid.IntRange(0, 2).Draw(rt, "verdict"))
		never := Status(rapid.IntRange(1, 2).Draw(rt, "never"))
		measured := Measured{Checked: checked, Verdict: verdict, NeverJudged: never}
		overrides := anyOverrides(rt)
		e := Effective(measured, overrides)
		if shuffled := Effective(measured, rapid.Permutation(overrides).Draw(rt, "order")); shuffled != e {
			rt.Fatalf("%+v in another order %+v", e, shuffled)
		}
		bare := Effective(measured, nil)
		if len(overrides) == 0 {
			if bare.By != bare.HealthBy || bare.Override != nil {
				rt.Fatalf("decided by nothing: %+v", bare)
			}
			return
		}
		for _, o := range overrides {
			if c := cmp.Compare(strength(o, overrides), strength(e.Override, overrides)); c > 0 || c == 0 && o.ID < e.Override.ID {
				rt.Fatalf("%v decides over %v", e.Override, o)
			}
		}
		setAside := func(o *Override) bool { return o.Origin < e.Override.Origin && o.Action != ForceDown }
		if e.Override.Action == Undrain {
			setAside = func(o *Override) bool { return o.Origin == ControlPlane && o.Action == Drain }
		}
		rest := slices.DeleteFunc(slices.Clone(overrides), func(o *Override) bool {
			return o.Action == e.Override.Action && o.Origin == e.Override.Origin || setAside(o)
		})
		under := Effective(measured, rest)
		if e.Override.Action != ForceUp && (under.Healthy != e.Healthy || under.HealthBy != e.HealthBy) {
			rt.Fatalf("%v changed the health underneath: %+v, %+v", e.Override.Action, e, under)
		}
		if onlyForceUp := Effective(measured, nil); len(rest) == 0 && e.Override.Action != ForceUp && onlyForceUp.Healthy != e.Healthy {
			rt.Fatalf("the verdict is lost: %+v", e)
		}

		// To undrain by break-glass is to take the control plane's drains away.
		undrained := Effective(measured, append(slices.Clone(overrides), &Override{ID: "u", Action: Undrain, Origin: BreakGlass}))
		gone := Effective(measured, slices.DeleteFunc(slices.Clone(overrides), func(o *Override) bool {
			return o.Action == Undrain || o.Origin == ControlPlane && o.Action == Drain
		}))
		undrained.By, undrained.Override = gone.By, gone.Override
		if undrained != gone {
			rt.Fatalf("undrained %+v, without the drains %+v", undrained, gone)
		}
	})
}

// TestEffectiveUndrainOfControlPlane: it has none, so one changes nothing.
func TestEffectiveUndrainOfControlPlane(t *testing.T) {
	m := Measured{Checked: true, NeverJudged: Unhealthy}
	if got, want := Effective(m, []*Override{{ID: "u", Action: Undrain}}), Effective(m, nil); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
