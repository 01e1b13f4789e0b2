package config

import (
	"fmt"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// decoder fills messages from YAML nodes by their descriptors. It collects
// errors and goes on; it descends only where the schema does, so that neither
// depth nor unknown content costs anything.
type decoder struct {
	file   string
	offset int // lines of the file before the text
	kind   string
	name   string
	errs   Errors
}

func (d *decoder) fail(n *yaml.Node, path, format string, args ...any) {
	d.errs = append(d.errs, FieldError{
		File: d.file, Line: n.Line + d.offset, Kind: d.kind, Name: d.name,
		Path: path, Message: fmt.Sprintf(format, args...),
	})
}

// document decodes one document; nil when not even its kind is known.
func (d *decoder) document(n *yaml.Node) *pb.Resource {
	if n.Kind != yaml.MappingNode {
		d.fail(n, "", "want a resource (apiVersion, kind, metadata, spec), have %s", describe(n))
		return nil
	}
	kindNode := child(n, "kind")
	field := protoreflect.FieldDescriptor(nil)
	if kindNode != nil && kindNode.Kind == yaml.ScalarNode {
		if kindIndex(kindNode.Value) >= 0 {
			field, d.kind = resourceField(kindNode.Value), kindNode.Value
		}
	}
	if metadata := child(n, "metadata"); metadata != nil {
		if name := child(metadata, "name"); name != nil && name.Kind == yaml.ScalarNode {
			d.name = canonicalName(name.Value)
		}
	}

	switch v := child(n, "apiVersion"); {
	case v == nil:
		d.fail(n, "apiVersion", "required: want %s", apiVersion)
	case v.Kind != yaml.ScalarNode || v.Value != apiVersion:
		d.fail(v, "apiVersion", "want %s, have %s", apiVersion, describe(v))
	}
	switch {
	case kindNode == nil:
		d.fail(n, "kind", "required%s", wantOneOf("", Kinds()))
		return nil
	case field == nil:
		d.fail(kindNode, "kind", "%s", unknownKind(kindNode))
		return nil
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
			words := append([]string{"apiVersion", "kind"}, fieldWords(m.Descriptor())...)
			d.fail(key, path, "unknown field%s", wantOneOf(key.Value, words))
		case !isOutputOnly(fd):
			d.field(m, fd, value, path)
		}
	})
	if child(n, "metadata") == nil || d.name == "" {
		if !d.failedAt("metadata") {
			d.fail(n, "metadata.name", "required")
		}
	}
	return r
}

// failedAt tells whether an error about a path or what lies under it is known.
func (d *decoder) failedAt(path string) bool {
	for _, e := range d.errs {
		if e.Path == path || e.Path == path+".name" {
			return true
		}
	}
	return false
}

func unknownKind(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode {
		return "want a kind, as Service, have " + describe(n)
	}
	switch foldWord(n.Value) {
	case "override", "overrides", "drain":
		return "overrides are never in files; use `fairlead region drain REGION` or `fairlead endpoint drain SERVICE/ENDPOINT`"
	}
	return fmt.Sprintf("unknown kind %q%s", n.Value, wantOneOf(n.Value, Kinds()))
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

// eachField visits the keys of a mapping once each and reports the others.
func (d *decoder) eachField(n *yaml.Node, path string, visit func(key, value *yaml.Node, path string)) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, path, "want fields, have %s", describe(n))
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
	if path == "" {
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
		return "unknown field; overrides are never in files: use `fairlead region drain REGION` or `fairlead endpoint drain SERVICE/ENDPOINT`"
	}
	return "unknown field" + wantOneOf(name, fieldWords(md))
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
			d.fail(n, path, "want a list, as [a, b], have %s", describe(n))
			return
		}
		list := m.Mutable(fd).List()
		for i, item := range n.Content {
			at := fmt.Sprintf("%s[%d]", path, i)
			if !d.usable(item, at) {
				continue
			}
			if fd.Message() != nil && fd.Message().FullName() != durationName {
				d.message(list.AppendMutable().Message(), item, at)
			} else if v, ok := d.scalar(fd, item, at); ok {
				list.Append(v)
			}
		}
	case fd.Message() != nil && !isText(fd):
		d.message(m.Mutable(fd).Message(), n, path)
	default:
		if v, ok := d.scalar(fd, n, path); ok {
			m.Set(fd, v)
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
