package cli

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// side is one of the two texts of a difference.
func side(edits []edit, but byte) []string {
	var out []string
	for _, e := range edits {
		if e.op != but {
			out = append(out, e.text)
		}
	}
	return out
}

func TestDiffLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", ""}), 0, 12)
		a, b := text.Draw(t, "a"), text.Draw(t, "b")
		edits := diffLines(a, b)
		if !slices.Equal(side(edits, '+'), a) || !slices.Equal(side(edits, '-'), b) {
			t.Fatalf("%v and %v give %v", a, b, edits)
		}
	})
}

func TestDiffLinesOfLargeTexts(t *testing.T) {
	a := strings.Split(strings.Repeat("a\n", 5000), "\n")
	b := slices.Concat([]string{"a", "a"}, strings.Split(strings.Repeat("b\n", 5000), "\n"))
	edits := diffLines(a, b)
	if !slices.Equal(side(edits, '+'), a) || !slices.Equal(side(edits, '-'), b) || edits[0].op != ' ' {
		t.Error("a large difference is wrong")
	}
}

// Whatever the texts, no changed line is lost and nothing else is shown as one.
func TestYAMLDiff(t *testing.T) {
	line := rapid.Custom(func(t *rapid.T) string {
		indent := strings.Repeat("  ", rapid.IntRange(0, 3).Draw(t, "indent"))
		return indent + rapid.SampledFrom([]string{"spec:", "ttl: 30s", "ttl: 10s", "- name: a", "- name: b", "records: |", `"n o": x`, ""}).Draw(t, "text")
	})
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.SliceOfN(line, 1, 10).Draw(t, "a")
		b := rapid.SliceOfN(line, 1, 10).Draw(t, "b")
		edits := yamlDiff([]byte(strings.Join(a, "\n")+"\n"), []byte(strings.Join(b, "\n")+"\n"))
		var added, removed int
		for _, e := range edits {
			switch e.op {
			case '+':
				added++
			case '-':
				removed++
			}
		}
		if added-removed != len(b)-len(a) || (added+removed == 0) != slices.Equal(a, b) {
			t.Fatalf("%q\nand\n%q\ngive %v", a, b, edits)
		}
	})
}
