package regions

import (
	"cmp"
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestGenerationText(t *testing.T) {
	for _, c := range []struct {
		g    Generation
		text string
	}{
		{Generation{}, "-"},
		{Generation{Epoch: 1, Revision: 42}, "1.42"},
		{Generation{Revision: 7}, "0.7"},
		{Generation{Epoch: 3}, "3.0"},
		{Generation{math.MaxUint64, math.MaxInt64}, "18446744073709551615.9223372036854775807"},
	} {
		if got := c.g.String(); got != c.text {
			t.Errorf("%+v prints %q, want %q", c.g, got, c.text)
		}
		if c.g.IsZero() {
			continue
		}
		if got, err := ParseGeneration(c.text); err != nil || got != c.g {
			t.Errorf("%q: %+v, %v", c.text, got, err)
		}
	}
	for _, bad := range []string{"", "-", "1", ".", "1.", ".1", "0.0", "1.-1", "1.-0", "1.+1", "+1.1", "1.2.3", " 1.2", "1.2 ", "a.b", "1.0x2", "1,2", "18446744073709551616.1", "1.9223372036854775808"} {
		if g, err := ParseGeneration(bad); err == nil {
			t.Errorf("%q is taken for %v", bad, g)
		}
	}
}

func anyGeneration(t *rapid.T, label string) Generation {
	// Few values, so that equal ones are common.
	return Generation{rapid.Uint64Range(0, 3).Draw(t, label+" epoch"), rapid.Int64Range(0, 3).Draw(t, label+" revision")}
}

// TestGenerationOrder: a total order, the epoch before the revision, with the
// zero value before all others; and what is printed is read again.
func TestGenerationOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a, b, c := anyGeneration(rt, "a"), anyGeneration(rt, "b"), anyGeneration(rt, "c")
		want := cmp.Compare(a.Epoch, b.Epoch)
		if a.Epoch == b.Epoch {
			want = cmp.Compare(a.Revision, b.Revision)
		}
		if got := a.Compare(b); got != want || b.Compare(a) != -want {
			rt.Fatalf("%v and %v compare as %d, want %d", a, b, got, want)
		}
		if a.Compare(b) <= 0 && b.Compare(c) <= 0 && a.Compare(c) > 0 {
			rt.Fatalf("%v <= %v <= %v, and yet not", a, b, c)
		}
		if (Generation{}).Compare(a) > 0 || a.IsZero() != (a == Generation{}) {
			rt.Fatalf("the zero value is not the oldest: %v", a)
		}
		g := Generation{rapid.Uint64().Draw(rt, "epoch"), rapid.Int64Range(1, math.MaxInt64).Draw(rt, "revision")}
		if got, err := ParseGeneration(g.String()); err != nil || got != g {
			rt.Fatalf("%v: %v, %v", g, got, err)
		}
	})
}
