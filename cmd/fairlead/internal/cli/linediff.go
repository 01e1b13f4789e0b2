package cli

import (
	"slices"
	"strconv"
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

// yamlDiff is the difference of two YAML texts: the lines that changed and, as
// their context, the keys and list items around them. Fields are compared with
// the field of the same key, items of lists with the item of the same name.
func yamlDiff(before, after []byte) []edit {
	a, _ := tree(lines(before), 0)
	b, _ := tree(lines(after), 0)
	return diffTrees(a, b)
}

// node is a line with what is indented below it.
type node struct {
	text     string
	key      string // equal keys are the same field or item
	children []node
}

// tree reads the lines that are indented by at least indent; rest is what
// follows.
func tree(all []string, indent int) (nodes []node, rest []string) {
	for len(all) > 0 {
		text := all[0]
		depth := len(text) - len(strings.TrimLeft(text, " "))
		if depth < indent {
			break
		}
		n := node{text: text, key: yamlKey(text[depth:])}
		all = all[1:]
		if strings.HasSuffix(text, " |") || strings.HasSuffix(text, " |-") || strings.HasSuffix(text, " |+") {
			// A text: its lines are no YAML.
			for len(all) > 0 && (all[0] == "" || strings.HasPrefix(all[0], strings.Repeat(" ", depth+1))) {
				n.children = append(n.children, node{text: all[0], key: all[0]})
				all = all[1:]
			}
		} else {
			n.children, all = tree(all, depth+1)
		}
		nodes = append(nodes, n)
	}
	return nodes, all
}

// yamlKey is what a line is known by: the key of a field, all of an item.
func yamlKey(text string) string {
	if strings.HasPrefix(text, "- ") {
		return text
	}
	if quoted, err := strconv.QuotedPrefix(text); err == nil {
		return quoted
	}
	key, _, _ := strings.Cut(text, ":")
	return key
}

func diffTrees(a, b []node) []edit {
	keys := func(nodes []node) []string {
		out := make([]string, len(nodes))
		for i, n := range nodes {
			out[i] = n.key
		}
		return out
	}
	var out []edit
	i, j := 0, 0
	for _, e := range diffLines(keys(a), keys(b)) {
		switch {
		case e.op == '-':
			out = a[i].appendAll(out, '-')
			i++
			continue
		case e.op == '+':
			out = b[j].appendAll(out, '+')
			j++
			continue
		case a[i].text == b[j].text:
			if inner := diffTrees(a[i].children, b[j].children); len(inner) > 0 {
				out = append(append(out, edit{' ', a[i].text}), inner...)
			}
		default:
			out = b[j].appendAll(a[i].appendAll(out, '-'), '+')
		}
		i, j = i+1, j+1
	}
	return out
}

// appendAll appends a node and what is below it.
func (n node) appendAll(out []edit, op byte) []edit {
	out = append(out, edit{op, n.text})
	for _, c := range n.children {
		out = c.appendAll(out, op)
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
