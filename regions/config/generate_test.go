package config

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// anyText draws strings that trouble a YAML writer.
func anyText() *rapid.Generator[string] {
	odd := []string{
		"", "~", "null", "NO", "yes", "true", "1", "0x10", "1.10", "1e3", "-", "- a", "a: b", "a #b", "#a", "<<", "=", "*a", "&a",
		"!tag", "%a", "@a", "`a", "{}", "[]", "'", "\"", "\\", "a\nb\n", "\n", "a\n\n\n", " a\nb", "\ta\nb", "a \nb", "a\r\nb", "1m30s", "2001:db8::1",
		"::1", "1:30", "2026-11-23", "---", "...", "--- a\n...\n", "\u0085", "\u2028", "\ufeff", "a\ufeffb\n", "\u007f", "\x01\n", "😀\n😀", "a:", ":a", "?", "? a",
		"\u00a0", "a\u0085b\nc", "x\u2029\ny", ".inf", "trailing\n ", "|", ">", "0o7", "012", "é\n",
	}
	return rapid.OneOf(rapid.String(), rapid.SampledFrom(odd), rapid.StringMatching(`[a-z .:#\n\t-]{0,20}`))
}

// anyMessage fills m with whatever its types hold.
func anyMessage(t *rapid.T, m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if isOutputOnly(fd) || rapid.IntRange(0, 3).Draw(t, "skip") == 0 {
			continue
		}
		switch {
		case fd.IsMap():
			for range rapid.IntRange(1, 3).Draw(t, "entries") {
				key := protoreflect.ValueOfString(anyText().Draw(t, "key")).MapKey()
				m.Mutable(fd).Map().Set(key, anyScalar(t, fd.MapValue()))
			}
		case fd.IsList() && fd.Message() != nil:
			for range rapid.IntRange(1, 3).Draw(t, "items") {
				anyMessage(t, m.Mutable(fd).List().AppendMutable().Message())
			}
		case fd.IsList():
			for range rapid.IntRange(1, 3).Draw(t, "items") {
				m.Mutable(fd).List().Append(anyScalar(t, fd))
			}
		case fd.Message() != nil && !isText(fd):
			anyMessage(t, m.Mutable(fd).Message())
		default:
			m.Set(fd, anyScalar(t, fd))
		}
	}
}

func anyScalar(t *rapid.T, fd protoreflect.FieldDescriptor) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(anyText().Draw(t, "text"))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(rapid.Bool().Draw(t, "bool"))
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(rapid.IntRange(1, fd.Enum().Values().Len()-1).Draw(t, "enum")))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(rapid.Uint32().Draw(t, "u32"))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(rapid.Uint64().Draw(t, "u64"))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(rapid.Int32().Draw(t, "i32"))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(rapid.Float64().Draw(t, "f64"))
	case protoreflect.MessageKind:
		d := rapid.Int64().Draw(t, "nanos")
		return protoreflect.ValueOfMessage(durationpb.New(time.Duration(d)).ProtoReflect())
	default:
		panic(fmt.Sprintf("a field of a new type: %v", fd))
	}
}

// anyResource draws a resource with a name, valid or not.
func anyResource() *rapid.Generator[*pb.Resource] {
	return rapid.Custom(func(t *rapid.T) *pb.Resource {
		r := &pb.Resource{}
		m := r.ProtoReflect().Mutable(resourceField(rapid.SampledFrom(Kinds()).Draw(t, "kind"))).Message()
		anyMessage(t, m)
		m.Mutable(m.Descriptor().Fields().ByName("metadata"))
		if md := Metadata(r); canonicalName(md.Name) == "" {
			md.Name = "n"
		}
		return r
	})
}

// anySet draws resources with unique keys, in canonical form.
func anySet(t *rapid.T, label string) []*pb.Resource {
	list := rapid.SliceOfNDistinct(anyResource(), 0, 8, func(r *pb.Resource) Key {
		return Key{Kind(r), canonicalName(Name(r))}
	}).Draw(t, label)
	for _, r := range list {
		Default(r)
		Metadata(r).Etag = ""
	}
	return list
}

// fleet is a valid configuration with n services in n/100+1 zones.
func fleet(n int) []*pb.Resource {
	var b strings.Builder
	for i, place := range [][2]string{{"50.1", "8.7"}, {"39", "-77.5"}, {"1.35", "103.8"}} {
		fmt.Fprintf(&b, "---\napiVersion: fairlead/v1\nkind: Region\nmetadata: {name: r%d}\nspec: {latitude: %s, longitude: %s}\n", i, place[0], place[1])
	}
	b.WriteString("---\napiVersion: fairlead/v1\nkind: SteeringPolicy\nmetadata: {name: nearest}\nspec: {mode: active-active}\n")
	b.WriteString("---\napiVersion: fairlead/v1\nkind: HealthCheck\nmetadata: {name: web}\nspec: {http: {}}\n")
	docs, err := Load(Source{File: "fleet.yaml", Data: []byte(b.String())})
	if err != nil {
		panic(err)
	}
	resources := resourcesOf(docs)
	for z := range n/100 + 1 {
		resources = append(resources, &pb.Resource{Kind: &pb.Resource_Zone{Zone: &pb.Zone{
			Metadata: &pb.Metadata{Name: fmt.Sprintf("z%d.example.test", z)},
			Spec:     &pb.ZoneSpec{Nameservers: []string{"ns1.example.net", "ns2.example.net"}},
			Status:   &pb.ZoneStatus{Serial: 1},
		}}})
	}
	for i := range n {
		zone := fmt.Sprintf("z%d.example.test", i/100)
		s := &pb.ServiceSpec{Zone: zone, Policy: "nearest", HealthCheck: "web"}
		for e := range 3 {
			s.Endpoints = append(s.Endpoints, &pb.Endpoint{
				Name: fmt.Sprintf("e%d", e), Region: fmt.Sprintf("r%d", e),
				Addresses: []string{fmt.Sprintf("10.%d.%d.%d", e, i>>8&255, i&255), fmt.Sprintf("2001:db8:%d:1:%x::%x", e, i>>12, i&0xfff+1)},
			})
		}
		resources = append(resources, &pb.Resource{Kind: &pb.Resource_Service{Service: &pb.Service{
			Metadata: &pb.Metadata{Name: fmt.Sprintf("s%d.%s", i, zone)}, Spec: s,
		}}})
	}
	return resources
}
