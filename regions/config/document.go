package config

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// topWords are the fields of every document.
var topWords = []string{"apiVersion", "kind", "metadata", "spec"}

// document decodes one document; nil when something is so wrong that the rest
// was read only for its mistakes.
func (d *decoder) document(n *yaml.Node) *pb.Resource {
	d.kind, d.name, d.before = "", "", len(d.errs)
	if n.Kind != yaml.MappingNode {
		d.fail(n, "", "want a resource (apiVersion, kind, metadata, spec), have %s", describe(n))
		return nil
	}
	if first, second := cutSecond(n); second != nil {
		d.document(first)
		d.kind, d.name = "", ""
		d.fail(second, "", "a second resource begins here; put a line of --- before it")
		d.document(second)
		return nil
	}
	kindNode := child(n, "kind")
	field := protoreflect.FieldDescriptor(nil)
	if kindNode != nil && kindNode.Kind == yaml.ScalarNode {
		// One that is only spelt otherwise is as good, for the other mistakes.
		if i := slices.IndexFunc(kinds, func(k kindInfo) bool {
			fold := foldWord(kindNode.Value)
			return k.name == kindNode.Value || fold == foldWord(k.name) || fold == k.plural
		}); i >= 0 {
			d.kind = kinds[i].name
			field = resourceField(d.kind)
		}
	}
	written := ""
	if metadata := child(n, "metadata"); metadata != nil {
		if name := child(metadata, "name"); name != nil && name.Kind == yaml.ScalarNode {
			written = name.Value
			d.name = canonicalName(written)
		}
	}

	switch v := child(n, "apiVersion"); {
	case v == nil && misspelt(n, "apiVersion"):
	case v == nil:
		d.fail(n, "apiVersion", "required: want %s", apiVersion)
	case v.Kind != yaml.ScalarNode || v.Value != apiVersion:
		d.fail(v, "apiVersion", "want %s, have %s", apiVersion, describe(v))
	}
	switch {
	case kindNode == nil:
		if !misspelt(n, "kind") {
			d.fail(n, "kind", "required%s", wantOneOf("", Kinds()))
		}
		d.misspelt(n)
		return nil
	case d.kind == "" || d.kind != kindNode.Value:
		d.fail(kindNode, "kind", "%s", unknownKind(kindNode))
		if d.kind == "" {
			d.misspelt(n)
			return nil
		}
	}

	r := &pb.Resource{}
	m := r.ProtoReflect().Mutable(field).Message()
	d.eachField(n, "", func(key, value *yaml.Node, path string) {
		switch key.Value {
		case "apiVersion", "kind":
			return
		}
		fd := m.Descriptor().Fields().ByJSONName(key.Value)
		switch {
		case fd == nil:
			d.fail(key, path, "%s", unknownWord(key.Value, topWords))
		case !isOutputOnly(fd):
			d.field(m, fd, value, path)
		}
	})
	switch {
	case d.name != "" && child(n, "metadata") != nil, d.failedAt("metadata"), misspelt(n, "metadata"):
	case written == ".":
		d.fail(n, "metadata.name", "\".\" is the root of all names; want a name, as example.test")
	default:
		d.fail(n, "metadata.name", "required")
	}
	return r
}

// cutSecond cuts a document in two where a second resource begins, for lack of
// a line between them: fields of a resource come again.
func cutSecond(n *yaml.Node) (first, second *yaml.Node) {
	seen := map[string]bool{}
	at, again := 0, 0
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || !slices.Contains(topWords, key.Value) {
			continue
		}
		if seen[key.Value] {
			again++
			if at == 0 {
				at = i
			}
		}
		seen[key.Value] = true
	}
	if again < 2 || n.Content[at].Value != "apiVersion" && n.Content[at].Value != "kind" {
		return n, nil
	}
	one, two := *n, *n
	one.Content, two.Content = n.Content[:at], n.Content[at:]
	two.Line = two.Content[0].Line
	return &one, &two
}

// misspelt tells whether a field is there under a name that is nearly its own.
func misspelt(n *yaml.Node, word string) bool {
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind == yaml.ScalarNode && !slices.Contains(topWords, key.Value) && nearest(key.Value, topWords) == word {
			return true
		}
	}
	return false
}

// misspelt reports the fields of a document of no kind that are nearly right.
func (d *decoder) misspelt(n *yaml.Node) {
	d.eachField(n, "", func(key, _ *yaml.Node, path string) {
		if !slices.Contains(topWords, key.Value) && nearest(key.Value, topWords) != "" {
			d.fail(key, path, "%s", unknownWord(key.Value, topWords))
		}
	})
}

// failedAt tells whether an error about a path or what lies under it is known.
func (d *decoder) failedAt(path string) bool {
	for _, e := range d.errs[d.before:] {
		if e.Path == path || e.Path == path+".name" {
			return true
		}
	}
	return false
}

// child is the value of a key of a mapping, or nil.
func child(n *yaml.Node, key string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Kind == yaml.ScalarNode && n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func unknownKind(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode {
		return "want a kind, as Service, have " + describe(n)
	}
	switch foldWord(n.Value) {
	case "override", "overrides", "drain":
		return "overrides are never in files; use `fairlead region drain REGION [--service SERVICE]`"
	case "list":
		return "there are no lists in a file: put the resources one after the other, with a line of --- between them"
	}
	if kind, err := ParseKind(n.Value); err == nil {
		return fmt.Sprintf("unknown kind %q (did you mean %q?)", n.Value, kind)
	}
	return fmt.Sprintf("unknown kind %q%s", n.Value, wantOneOf(n.Value, Kinds()))
}

// recordsName is the one field whose lines count.
const recordsName = protoreflect.FullName("fairlead.v1.ZoneSpec.records")

// joined tells whether a text of one line was written on several: YAML folds
// them unless they stand below a |. A text with a break in it, as programs
// write, was folded on purpose.
func joined(text []byte, n *yaml.Node) bool {
	value := strings.TrimSpace(n.Value)
	if value == "" || strings.Contains(value, "\n") || n.Kind != yaml.ScalarNode || n.Style&yaml.LiteralStyle != 0 {
		return false
	}
	var rest []string // the lines from that of the node on
	line := 0
	for row := range bytes.Lines(text) {
		if line++; line >= n.Line {
			rest = append(rest, strings.TrimRight(string(row), "\r\n"))
		}
		if len(rest) > 1 && strings.TrimSpace(rest[len(rest)-1]) != "" {
			break
		}
	}
	if len(rest) == 0 {
		return false
	}
	if n.Style&yaml.FoldedStyle != 0 {
		return strings.TrimSpace(rest[len(rest)-1]) != value
	}
	row := []rune(rest[0])
	from := string(row[min(n.Column-1, len(row)):])
	switch {
	case n.Style&yaml.DoubleQuotedStyle != 0:
		for i := 1; i < len(from); i++ {
			switch from[i] {
			case '\\':
				i++
			case '"':
				return false
			}
		}
		return true
	case n.Style&yaml.SingleQuotedStyle != 0:
		return !strings.Contains(strings.ReplaceAll(strings.TrimPrefix(from, "'"), "''", ""), "'")
	default:
		return !strings.HasPrefix(from, value)
	}
}
