package config

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
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

// YAML writes resources as a file that Parse reads: one document each,
// fields in the order of the proto.
func (o MarshalOptions) YAML(resources []*pb.Resource) ([]byte, error) {
	var out bytes.Buffer
	for i, r := range resources {
		n, err := o.resourceNode(r)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out.WriteString("---\n")
		}
		enc := yaml.NewEncoder(&out)
		enc.SetIndent(2)
		if err := errors.Join(enc.Encode(n), enc.Close()); err != nil {
			return nil, fmt.Errorf("%s as YAML: %w", KeyOf(r), err)
		}
	}
	return out.Bytes(), nil
}

// Marshal is MarshalOptions{}.YAML: everything, as stored.
func Marshal(resources []*pb.Resource) ([]byte, error) { return MarshalOptions{}.YAML(resources) }

// resourceNode is a resource as in files.
func (o MarshalOptions) resourceNode(r *pb.Resource) (*yaml.Node, error) {
	kind := Kind(r)
	if kind == "" {
		return nil, errUnknownKind
	}
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	put(n, "apiVersion", textNode(apiVersion))
	put(n, "kind", textNode(kind))
	m := r.ProtoReflect().Get(resourceField(kind)).Message()
	body, err := o.messageNode(m)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", KeyOf(r), err)
	}
	n.Content = append(n.Content, body.Content...)
	return n, nil
}

// MessageYAML writes any message of the API in the spelling of files.
func MessageYAML(m proto.Message) ([]byte, error) {
	n, err := anyNode(m)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(n), enc.Close()); err != nil {
		return nil, fmt.Errorf("%s as YAML: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	return out.Bytes(), nil
}

func anyNode(m proto.Message) (*yaml.Node, error) {
	return MarshalOptions{}.messageNode(m.ProtoReflect())
}

func put(mapping *yaml.Node, key string, value *yaml.Node) {
	mapping.Content = append(mapping.Content, textNode(key), value)
}

func (o MarshalOptions) messageNode(m protoreflect.Message) (*yaml.Node, error) {
	if r, ok := m.Interface().(*pb.Resource); ok && Kind(r) != "" {
		return o.resourceNode(r)
	}
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if !m.Has(fd) || o.OmitOutputOnly && (isOutputOnly(fd) || fd.FullName() == "fairlead.v1.Metadata.etag") {
			continue
		}
		value, err := o.fieldNode(fd, m.Get(fd))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", fd.JSONName(), err)
		}
		put(n, fd.JSONName(), value)
	}
	if len(n.Content) == 0 {
		n.Style = yaml.FlowStyle // {}
	}
	return n, nil
}

func (o MarshalOptions) fieldNode(fd protoreflect.FieldDescriptor, v protoreflect.Value) (*yaml.Node, error) {
	switch {
	case fd.IsMap():
		return o.mapNode(fd, v.Map())
	case fd.IsList():
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		flow := fd.Message() == nil
		for i := range v.List().Len() {
			item, err := o.valueNode(fd, v.List().Get(i))
			if err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
			flow = flow && len(item.Value) <= 64 && item.Style&yaml.LiteralStyle == 0
			n.Content = append(n.Content, item)
		}
		if flow {
			n.Style = yaml.FlowStyle
		}
		return n, nil
	default:
		return o.valueNode(fd, v)
	}
}

func (o MarshalOptions) mapNode(fd protoreflect.FieldDescriptor, entries protoreflect.Map) (*yaml.Node, error) {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	var keys []protoreflect.MapKey
	entries.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, k)
		return true
	})
	slices.SortFunc(keys, func(a, b protoreflect.MapKey) int { return strings.Compare(a.String(), b.String()) })
	for _, k := range keys {
		value, err := o.valueNode(fd.MapValue(), entries.Get(k))
		if err != nil {
			return nil, fmt.Errorf("[%q]: %w", k.String(), err)
		}
		put(n, k.String(), value)
	}
	return n, nil
}

func (o MarshalOptions) valueNode(fd protoreflect.FieldDescriptor, v protoreflect.Value) (*yaml.Node, error) {
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
		return plainNode(strconv.Itoa(int(v.Enum()))), nil // of a newer version
	case protoreflect.BoolKind:
		return plainNode(strconv.FormatBool(v.Bool())), nil
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		f := v.Float()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("%v is no number", f)
		}
		return plainNode(strconv.FormatFloat(f, 'g', -1, 64)), nil
	default:
		return plainNode(v.String()), nil
	}
}

func durationNode(d *durationpb.Duration) *yaml.Node {
	const most = math.MaxInt64 / int64(time.Second)
	if s := d.GetSeconds(); s >= most || s <= -most {
		return textNode(fmt.Sprintf("%ds", s)) // beyond time.Duration: nothing that validates
	}
	return textNode(formatDuration(d.AsDuration()))
}

// plainNode is a number or a boolean.
func plainNode(value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Value: value}
}

// bareWord is a text that means the same, unquoted, to every YAML reader,
// were it not for the words of YAML 1.1.
var bareWord = regexp.MustCompile(`^[A-Za-z_/][A-Za-z0-9_./:*+-]*$|^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+(/[0-9]+)?$`)

// oldWords are booleans and nulls to readers of YAML 1.1: NO is Norway.
var oldWords = []string{"y", "n", "yes", "no", "on", "off", "true", "false", "null", "~"}

func textNode(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	switch {
	case isDuration(s):
	case literal(s):
		n.Style = yaml.LiteralStyle
	case !bareWord.MatchString(s), strings.HasSuffix(s, ":"), slices.Contains(oldWords, strings.ToLower(s)):
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

var durationWord = regexp.MustCompile(`^([0-9]+(\.[0-9]+)?(h|m|s|ms|µs|ns))+$`)

func isDuration(s string) bool { return durationWord.MatchString(s) }

// literal tells whether a text can be a literal block: lines, none of which
// begins or ends so that a reader would take it for something else.
func literal(s string) bool {
	if !strings.Contains(s, "\n") || strings.HasPrefix(s, "\n") || strings.HasPrefix(s, " ") || strings.HasPrefix(s, "\t") {
		return false
	}
	for line := range strings.SplitSeq(s, "\n") {
		if strings.HasSuffix(line, " ") || strings.HasSuffix(line, "\t") {
			return false
		}
	}
	for _, r := range s {
		if r != '\n' && r != '\t' && (r < ' ' || r > '~') && (r < 0xa0 || r > 0xd7ff || r == 0x2028 || r == 0x2029) {
			return false
		}
	}
	return true
}
