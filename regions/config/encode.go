package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// MarshalOptions say what YAML and JSON write.
type MarshalOptions struct {
	// OmitOutputOnly leaves out etag and status, which the controllers keep:
	// what remains is what a user states, good for files under version control.
	OmitOutputOnly bool
}

var errUnknownKind = errors.New("the resource is of a kind that this version does not know")

// YAML writes resources as a file that Parse reads: one document each, fields
// in the order of the proto.
func (o MarshalOptions) YAML(resources []*pb.Resource) ([]byte, error) {
	var out []byte
	for i, r := range resources {
		n, err := o.resourceNode(r)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out = append(out, "---\n"...)
		}
		out = appendYAML(out, n)
	}
	return out, nil
}

// JSON writes resources as a JSON list in the spelling of files; Parse reads
// that too.
func (o MarshalOptions) JSON(resources []*pb.Resource) ([]byte, error) {
	list := node{shape: listShape}
	for _, r := range resources {
		n, err := o.resourceNode(r)
		if err != nil {
			return nil, err
		}
		list.items = append(list.items, n)
	}
	return append(appendJSON(nil, list, "\n"), '\n'), nil
}

// Marshal is MarshalOptions{}.YAML: everything, as stored.
func Marshal(resources []*pb.Resource) ([]byte, error) { return MarshalOptions{}.YAML(resources) }

// MessageYAML writes any message of the API in the spelling of files.
func MessageYAML(m proto.Message) ([]byte, error) {
	n, err := MarshalOptions{}.messageNode(m.ProtoReflect())
	if err != nil {
		return nil, err
	}
	return appendYAML(nil, n), nil
}

// MessageJSON writes any message of the API in the spelling of files.
func MessageJSON(m proto.Message) ([]byte, error) {
	n, err := MarshalOptions{}.messageNode(m.ProtoReflect())
	if err != nil {
		return nil, err
	}
	return append(appendJSON(nil, n, "\n"), '\n'), nil
}

// node is what both notations write.
type node struct {
	shape shape
	text  string   // of a text or a number
	keys  []string // of a map
	items []node   // of a map or a list
}

type shape uint8

const (
	textShape   shape = iota
	numberShape       // or a boolean
	mapShape
	listShape
)

func (n *node) put(key string, value node) {
	n.keys = append(n.keys, key)
	n.items = append(n.items, value)
}

func textNode(s string) node   { return node{text: s} }
func numberNode(s string) node { return node{shape: numberShape, text: s} }

// resourceNode is a resource as in files.
func (o MarshalOptions) resourceNode(r *pb.Resource) (node, error) {
	kind := Kind(r)
	if kind == "" {
		return node{}, errUnknownKind
	}
	n := node{shape: mapShape}
	n.put("apiVersion", textNode(apiVersion))
	n.put("kind", textNode(kind))
	body, err := o.messageNode(r.ProtoReflect().Get(resourceField(kind)).Message())
	if err != nil {
		return node{}, fmt.Errorf("%s: %w", KeyOf(r), err)
	}
	n.keys, n.items = append(n.keys, body.keys...), append(n.items, body.items...)
	return n, nil
}

func (o MarshalOptions) messageNode(m protoreflect.Message) (node, error) {
	if r, ok := m.Interface().(*pb.Resource); ok && Kind(r) != "" {
		return o.resourceNode(r)
	}
	n := node{shape: mapShape}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if !m.Has(fd) || o.OmitOutputOnly && (isOutputOnly(fd) || fd.FullName() == "fairlead.v1.Metadata.etag") {
			continue
		}
		value, err := o.fieldNode(fd, m.Get(fd))
		if err != nil {
			return node{}, fmt.Errorf("%s: %w", fd.JSONName(), err)
		}
		n.put(fd.JSONName(), value)
	}
	return n, nil
}

func (o MarshalOptions) fieldNode(fd protoreflect.FieldDescriptor, v protoreflect.Value) (node, error) {
	switch {
	case fd.IsMap():
		return o.mapNode(fd, v.Map())
	case fd.IsList():
		n := node{shape: listShape}
		for i := range v.List().Len() {
			item, err := o.valueNode(fd, v.List().Get(i))
			if err != nil {
				return node{}, fmt.Errorf("[%d]: %w", i, err)
			}
			n.items = append(n.items, item)
		}
		return n, nil
	default:
		return o.valueNode(fd, v)
	}
}

func (o MarshalOptions) mapNode(fd protoreflect.FieldDescriptor, entries protoreflect.Map) (node, error) {
	n := node{shape: mapShape}
	var keys []protoreflect.MapKey
	for k := range entries.Range {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b protoreflect.MapKey) int { return strings.Compare(a.String(), b.String()) })
	for _, k := range keys {
		value, err := o.valueNode(fd.MapValue(), entries.Get(k))
		if err != nil {
			return node{}, fmt.Errorf("[%q]: %w", k.String(), err)
		}
		n.put(k.String(), value)
	}
	return n, nil
}

func (o MarshalOptions) valueNode(fd protoreflect.FieldDescriptor, v protoreflect.Value) (node, error) {
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		switch m := v.Message().Interface().(type) {
		case *durationpb.Duration:
			return durationNode(m), nil
		case *timestamppb.Timestamp:
			return textNode(m.AsTime().Format(time.RFC3339Nano)), nil
		}
		return o.messageNode(v.Message())
	case protoreflect.StringKind:
		return textNode(v.String()), nil
	case protoreflect.BytesKind:
		return textNode(hex.EncodeToString(v.Bytes())), nil
	case protoreflect.EnumKind:
		if vd := fd.Enum().Values().ByNumber(v.Enum()); vd != nil {
			return textNode(enumWord(vd)), nil
		}
		return numberNode(strconv.Itoa(int(v.Enum()))), nil // of a newer version
	case protoreflect.BoolKind:
		return numberNode(strconv.FormatBool(v.Bool())), nil
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		f := v.Float()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return node{}, fmt.Errorf("%v is no number", f)
		}
		return numberNode(strconv.FormatFloat(f, 'g', -1, 64)), nil
	default:
		return numberNode(v.String()), nil
	}
}

func durationNode(d *durationpb.Duration) node {
	const most = math.MaxInt64 / int64(time.Second)
	if s := d.GetSeconds(); s > most || s < -most {
		return textNode(fmt.Sprintf("%ds", s)) // beyond time.Duration: nothing that validates
	}
	return textNode(formatDuration(d.AsDuration()))
}
