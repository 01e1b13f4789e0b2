package cli

import (
	"fmt"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v3"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

// maxFieldChanges is how many fields of one resource are told.
const maxFieldChanges = 20

// sameName tells whether an actor, as operator/alice, has a name.
func sameName(actor, name string) bool {
	return actor == name || strings.HasSuffix(actor, "/"+name)
}

// eventWords say what was before an event and after it, a line each.
func eventWords(e *pb.AuditEvent) []line {
	var out []line
	if e.GetError() != "" && len(e.GetSafety().GetFindings()) == 0 {
		out = append(out, line{red, e.GetError()})
	}
	for _, f := range e.GetSafety().GetFindings() {
		if !f.GetPassed() {
			out = append(out, line{yellow, f.GetRule() + ": " + f.GetText()})
		}
	}
	if e.GetResult() == "refused" {
		for _, o := range e.GetOverridesAfter() {
			out = append(out, line{plain, "asked for: " + overrideTitle(o) + " " + overrideState(o)})
		}
	} else {
		out = append(out, overridesWords(e)...)
	}
	for _, c := range e.GetChanges() {
		out = append(out, changeWords(c)...)
	}
	if n := e.GetChangesOmitted(); n > 0 {
		out = append(out, line{plain, fmt.Sprintf("… and %s more, too many to be kept here (fairlead config diff shows them while the generation is kept)", count(int(n), "resource"))})
	}
	return out
}

// overridesWords say which overrides ended and began: of one that was replaced both,
// in one line.
func overridesWords(e *pb.AuditEvent) (out []line) {
	after := slices.Clone(e.GetOverridesAfter())
	for _, b := range e.GetOverridesBefore() {
		i := slices.IndexFunc(after, func(o *pb.Override) bool {
			return o.GetAction() == b.GetAction() && scopeWords(o) == scopeWords(b)
		})
		if i < 0 {
			out = append(out, line{red, fmt.Sprintf("%s: %s → none", overrideTitle(b), overrideState(b))})
			continue
		}
		out = append(out, line{yellow, fmt.Sprintf("%s: %s → %s", overrideTitle(b), overrideState(b), overrideState(after[i]))})
		after = slices.Delete(after, i, i+1)
	}
	for _, o := range after {
		out = append(out, line{green, fmt.Sprintf("%s: none → %s", overrideTitle(o), overrideState(o))})
	}
	return out
}

func overrideTitle(o *pb.Override) string {
	return word(o.GetAction(), "OVERRIDE_ACTION_") + " of " + scopeWords(o)
}

// overrideState is all of an override but its action and scope.
func overrideState(o *pb.Override) string {
	text := "by " + o.GetAuthor()
	if o.GetReason() != "" {
		text += " (" + o.GetReason() + ")"
	}
	if o.GetStartTime() != nil {
		text += ", from " + moment(o.GetStartTime())
	}
	if o.GetExpireTime() != nil {
		text += ", until " + moment(o.GetExpireTime())
	}
	if o.GetForced() {
		text += ", by force"
	}
	return text
}

// changeWords say how the fields of a resource changed.
func changeWords(c *pb.Change) []line {
	key := changeKey(c).String()
	switch {
	case c.GetBefore() == nil:
		return []line{{green, key + ": created"}}
	case c.GetAfter() == nil:
		return []line{{red, key + ": deleted"}}
	}
	before, after := resourceFields(c.GetBefore()), resourceFields(c.GetAfter())
	var out []line
	all := slices.Concat(before.order, after.order)
	slices.Sort(all)
	for _, path := range slices.Compact(all) {
		was, had := before.values[path]
		is, has := after.values[path]
		switch {
		case was == is && had == has:
		case !had:
			out = append(out, line{green, fmt.Sprintf("%s %s: none → %s", key, path, brief(is))})
		case !has:
			out = append(out, line{red, fmt.Sprintf("%s %s: %s → none", key, path, brief(was))})
		case strings.Contains(was+is, "\n"):
			out = append(out, textWords(key+" "+path, was, is)...)
		default:
			out = append(out, line{yellow, fmt.Sprintf("%s %s: %s → %s", key, path, brief(was), brief(is))})
		}
	}
	if n := len(out) - maxFieldChanges; n > 0 {
		out = append(out[:maxFieldChanges], line{plain, fmt.Sprintf("%s: … and %s more", key, count(n, "field"))})
	}
	return out
}

// fieldValues are the fields of a resource by their paths.
type fieldValues struct {
	order  []string
	values map[string]string
}

func resourceFields(r *pb.Resource) fieldValues {
	out := fieldValues{values: map[string]string{}}
	text, err := config.MarshalOptions{OmitOutputOnly: true}.YAML([]*pb.Resource{r})
	var n yaml.Node
	if err != nil || yaml.Unmarshal(text, &n) != nil || len(n.Content) == 0 {
		return out
	}
	out.walk("", n.Content[0])
	return out
}

// walk takes in what is below a path. The items of a list are called by their names
// where they have any, so that one more in the middle is one change.
func (f *fieldValues) walk(path string, n *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			f.walk(strings.TrimPrefix(path+"."+n.Content[i].Value, "."), n.Content[i+1])
		}
	case yaml.SequenceNode:
		if !slices.ContainsFunc(n.Content, func(item *yaml.Node) bool { return item.Kind != yaml.ScalarNode }) {
			var items []string
			for _, item := range n.Content {
				items = append(items, item.Value)
			}
			f.set(path, "["+strings.Join(items, ", ")+"]")
			return
		}
		for i, item := range n.Content {
			name := fmt.Sprint(i)
			if named := field(item, "name"); item.Kind == yaml.MappingNode && named != nil {
				name = named.Value
			}
			f.walk(path+"["+name+"]", item)
		}
	default:
		f.set(path, n.Value)
	}
}

func (f *fieldValues) set(path, value string) {
	f.order = append(f.order, path)
	f.values[path] = value
}

// maxValue is how much of a value is told, in characters.
const maxValue = 200

// textWords say which lines of a text changed.
func textWords(what, was, is string) (out []line) {
	for _, e := range diffLines(lines([]byte(was)), lines([]byte(is))) {
		switch e.op {
		case '+':
			out = append(out, line{green, what + ": + " + e.text})
		case '-':
			out = append(out, line{red, what + ": - " + e.text})
		}
	}
	return out
}

// brief is a value in one line.
func brief(s string) string {
	if lines := strings.Count(strings.TrimRight(s, "\n"), "\n") + 1; lines > 1 {
		return count(lines, "line") + " of text"
	}
	if r := []rune(s); len(r) > maxValue {
		return string(r[:maxValue]) + fmt.Sprintf("… (%d characters)", len(r))
	}
	return s
}
