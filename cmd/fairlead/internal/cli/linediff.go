package cli

import (
	"slices"
	"strings"
)

// edit is one line of a difference.
type edit struct {
	op   byte // ' ', '-' or '+'
	text string
}

// maxCells bounds the table of the longest common subsequence. Beyond it, what
// lies between the first and the last difference counts as replaced.
const maxCells = 4 << 20

// diffLines returns what leads from a to b.
func diffLines(a, b []string) []edit {
	var out []edit
	add := func(op byte, lines []string) {
		for _, l := range lines {
			out = append(out, edit{op, l})
		}
	}
	start := 0
	for start < len(a) && start < len(b) && a[start] == b[start] {
		start++
	}
	tail := 0
	for tail < len(a)-start && tail < len(b)-start && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	add(' ', a[:start])
	x, y := a[start:len(a)-tail], b[start:len(b)-tail]
	if len(x)*len(y) > maxCells {
		add('-', x)
		add('+', y)
	} else {
		out = append(out, diffMiddle(x, y)...)
	}
	add(' ', a[len(a)-tail:])
	return out
}

// diffMiddle is by the longest common subsequence; removed lines come before
// added ones.
func diffMiddle(a, b []string) []edit {
	width := len(b) + 1
	common := make([]int32, (len(a)+1)*width)
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i*width+j] = common[(i+1)*width+j+1] + 1
			} else {
				common[i*width+j] = max(common[(i+1)*width+j], common[i*width+j+1])
			}
		}
	}
	var out []edit
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out = append(out, edit{' ', a[i]})
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[(i+1)*width+j] >= common[i*width+j+1]:
			out = append(out, edit{'-', a[i]})
			i++
		default:
			out = append(out, edit{'+', b[j]})
			j++
		}
	}
	return out
}

// yamlDiff is the difference of two YAML texts with the lines that changed and,
// as their context, the keys and list items that they are in.
func yamlDiff(before, after []byte) []edit {
	edits := diffLines(lines(before), lines(after))
	type level struct{ indent, index int }
	var was, is []level // the lines around the current one, on either side
	show := make([]bool, len(edits))
	for i, e := range edits {
		indent := len(e.text) - len(strings.TrimLeft(e.text, " "))
		blank := indent == len(e.text)
		enter := func(stack *[]level) {
			if blank { // in a text; it ends nothing
				return
			}
			for n := len(*stack); n > 0 && (*stack)[n-1].indent >= indent; n-- {
				*stack = (*stack)[:n-1]
			}
		}
		push := func(stack *[]level) {
			if !blank {
				*stack = append(*stack, level{indent, i})
			}
		}
		mark := func(stack []level) {
			show[i] = true
			for _, l := range stack {
				show[l.index] = true
			}
		}
		if e.op != '+' {
			enter(&was)
			if e.op == '-' {
				mark(was)
			}
			push(&was)
		}
		if e.op != '-' {
			enter(&is)
			if e.op == '+' {
				mark(is)
			}
			push(&is)
		}
	}
	var out []edit
	for i, e := range edits {
		if show[i] {
			out = append(out, e)
		}
	}
	return out
}

func lines(text []byte) []string {
	all := strings.Split(string(text), "\n")
	if n := len(all); all[n-1] == "" {
		all = all[:n-1]
	}
	return slices.Clip(all)
}
