package config

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// decoder fills messages from YAML nodes by their descriptors. It collects
// errors and goes on; it descends only where the schema does, so that neither
// depth nor unknown content costs anything.
type decoder struct {
	file   string
	text   []byte
	offset int // lines of the file before the text
	kind   string
	name   string
	errs   Errors
	before int // errors before the document
}

func (d *decoder) fail(n *yaml.Node, path, format string, args ...any) {
	d.errs = append(d.errs, FieldError{
		File: d.file, Line: n.Line + d.offset, Kind: d.kind, Name: d.name,
		Path: path, Message: fmt.Sprintf(format, args...),
	})
}

// eachField visits the keys of a mapping once each and reports the others.
func (d *decoder) eachField(n *yaml.Node, path string, visit func(key, value *yaml.Node, path string)) {
	if n.Kind != yaml.MappingNode {
		hint := ""
		if n.Kind == yaml.ScalarNode && strings.Contains(n.Value, ":") {
			hint = " (a space follows the colon)"
		}
		d.fail(n, path, "want fields, have %s%s", describe(n), hint)
		return
	}
	first := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := join(path, key.Value)
		switch {
		case key.Kind == yaml.AliasNode:
			d.fail(key, path, "aliases are not supported; write the key out")
		case key.Kind != yaml.ScalarNode:
			d.fail(key, path, "want a name before the colon, have %s", describe(key))
		case key.ShortTag() == "!!merge":
			d.fail(key, at, "merge keys are not supported; write the fields out")
		case first[key.Value] != 0:
			d.fail(key, at, "is given twice; the first is on line %d", first[key.Value])
		default:
			first[key.Value] = key.Line + d.offset
			visit(key, value, at)
		}
	}
}

func join(path, name string) string {
	odd := strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`."[\`, r) })
	switch {
	case odd, name == "":
		return fmt.Sprintf("%s[%q]", path, name)
	case path == "":
		return name
	}
	return path + "." + name
}

func (d *decoder) message(m protoreflect.Message, n *yaml.Node, path string) {
	md := m.Descriptor()
	d.eachField(n, path, func(key, value *yaml.Node, path string) {
		fd := md.Fields().ByJSONName(key.Value)
		if fd == nil {
			d.fail(key, path, "%s", unknownField(key.Value, md))
			return
		}
		if one := fd.ContainingOneof(); one != nil && !one.IsSynthetic() {
			if other := m.WhichOneof(one); other != nil {
				d.fail(key, path, "%s is given already; want one of them", other.JSONName())
				return
			}
		}
		d.field(m, fd, value, path)
	})
}

func unknownField(name string, md protoreflect.MessageDescriptor) string {
	switch foldWord(name) {
	case "drain", "drained", "override", "overrides", "forceup", "forcedown", "disabled", "enabled":
		return "unknown field; overrides are never in files: use `fairlead region drain REGION [--service SERVICE]`"
	}
	return unknownWord(name, fieldWords(md))
}

// unknownWord is the error about a field that there is not.
func unknownWord(name string, words []string) string {
	if i := strings.IndexFunc(name, func(r rune) bool { return unicode.Is(unicode.Cf, r) || unicode.IsSpace(r) && r != ' ' }); i >= 0 {
		r, _ := utf8.DecodeRuneInString(name[i:])
		return fmt.Sprintf("unknown field; the name holds %U, which does not show: type the line anew", r)
	}
	if meant := synonyms[foldWord(name)]; slices.Contains(words, meant) {
		return fmt.Sprintf("unknown field (did you mean %q?)", meant)
	}
	return "unknown field" + wantOneOf(name, words)
}

// field decodes the value of one field, whatever its shape.
func (d *decoder) field(m protoreflect.Message, fd protoreflect.FieldDescriptor, n *yaml.Node, path string) {
	if fd.Message() != nil && !fd.IsMap() && !fd.IsList() && isNull(n) {
		d.fail(n, path, "has no value; write {} for the defaults, or remove the field")
		return
	}
	if !d.usable(n, path) {
		return
	}
	switch {
	case fd.IsMap():
		if n.Kind != yaml.MappingNode {
			d.fail(n, path, "want names and values, as {a: b}, have %s", describe(n))
			return
		}
		entries := m.Mutable(fd).Map()
		d.eachField(n, path, func(key, value *yaml.Node, _ string) {
			at := fmt.Sprintf("%s[%q]", path, key.Value)
			if !d.usable(value, at) {
				return
			}
			if v, ok := d.scalar(fd.MapValue(), value, at); ok {
				entries.Set(protoreflect.ValueOfString(key.Value).MapKey(), v)
			}
		})
	case fd.IsList():
		if n.Kind != yaml.SequenceNode {
			as := "[a, b]"
			if n.Kind == yaml.ScalarNode && len(n.Value) <= 60 && !strings.ContainsAny(n.Value, "[]{},\n") {
				as = "[" + n.Value + "]"
			}
			d.fail(n, path, "want a list, as %s, have %s", as, describe(n))
			return
		}
		list := m.Mutable(fd).List()
		for i, item := range n.Content {
			at := fmt.Sprintf("%s[%d]", path, i)
			ok := d.usable(item, at)
			if fd.Message() != nil && !isText(fd) {
				if m := list.AppendMutable().Message(); ok {
					d.message(m, item, at)
				}
				continue
			}
			v := list.NewElement() // what is wrong keeps its place
			if ok {
				if good, ok := d.scalar(fd, item, at); ok {
					v = good
				}
			}
			list.Append(v)
		}
	case fd.Message() != nil && !isText(fd):
		d.message(m.Mutable(fd).Message(), n, path)
	default:
		if v, ok := d.scalar(fd, n, path); ok {
			m.Set(fd, v)
		}
		if fd.FullName() == recordsName && joined(d.text, n) {
			d.fail(n, path, "the lines are joined to one; write `%s: |` and the lines below it, indented", fd.JSONName())
		}
	}
}

// isText tells whether a message is written as one scalar.
func isText(fd protoreflect.FieldDescriptor) bool {
	name := fd.Message().FullName()
	return name == durationName || name == timestampName
}

// usable refuses what YAML can say and files may not.
func (d *decoder) usable(n *yaml.Node, path string) bool {
	switch {
	case n.Kind == yaml.AliasNode:
		d.fail(n, path, "aliases are not supported; write the value out")
	case n.Style&yaml.TaggedStyle != 0:
		d.fail(n, path, "tags (%s) are not supported; remove it", n.Tag)
	case isNull(n):
		d.fail(n, path, "has no value; write one or remove the field")
	default:
		return true
	}
	return false
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// describe says what a node is, for "want …, have …".
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		if len(n.Content) > 0 && n.Content[0].Kind == yaml.MappingNode && n.Style&yaml.FlowStyle != 0 {
			return "a template in {{ }}, which is not filled in here"
		}
		return "a map"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	if isNull(n) {
		return "nothing"
	}
	const most = 60
	if runes := []rune(n.Value); len(runes) > most {
		return fmt.Sprintf("%q…", string(runes[:most]))
	}
	return fmt.Sprintf("%q", n.Value)
}
