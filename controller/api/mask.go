package api

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

const (
	maxPaths = 100
	// allFields stands for everything that a user may state of a resource.
	allFields = "*"
)

// userFields are what allFields stands for.
var userFields = []string{"metadata.labels", "spec"}

// mask is the fields of a resource that an update changes: sorted, none below
// another one.
type mask []fieldPath

// fieldPath leads from a resource of one kind to a field.
type fieldPath []protoreflect.FieldDescriptor

// String is the path as in files, spec.allDown.
func (p fieldPath) String() string {
	names := make([]string, len(p))
	for i, fd := range p {
		names[i] = fd.JSONName()
	}
	return strings.Join(names, ".")
}

// readMask reads the paths of an update of r. The error is a config.Errors
// with every path that is wrong.
func readMask(r *pb.Resource, paths []string) (mask, error) {
	wrong := func(path, format string, args ...any) config.FieldError {
		message := fmt.Sprintf(format, args...)
		if path != "" {
			message = fmt.Sprintf("%.80q: %s", path, message)
		}
		return config.FieldError{Kind: config.Kind(r), Name: config.Name(r), Path: "update_mask", Message: message}
	}
	switch {
	case len(paths) == 0:
		return nil, wrong("", "required: name the fields to change, as spec.ttl, or %s for all", allFields)
	case len(paths) > maxPaths:
		return nil, wrong("", "%d paths, at most %d", len(paths), maxPaths)
	case len(paths) == 1 && paths[0] == allFields:
		paths = userFields
	}
	var m mask
	var errs config.Errors
	for _, path := range paths {
		p, problem := readPath(body(r).Descriptor(), path)
		if problem != "" {
			errs = append(errs, wrong(path, "%s", problem))
			continue
		}
		m = append(m, p)
	}
	if len(errs) > 0 {
		return nil, errs
	}
	return m.normal(), nil
}

// body is the message of the kind inside a resource.
func body(r *pb.Resource) protoreflect.Message {
	m := r.ProtoReflect()
	return m.Get(m.WhichOneof(m.Descriptor().Oneofs().ByName("kind"))).Message()
}

// readPath reads one path in the spelling of files (spec.allDown) or of the
// proto (spec.all_down); else it says what is wrong.
func readPath(md protoreflect.MessageDescriptor, path string) (p fieldPath, problem string) {
	if path == allFields {
		return nil, "it stands for all fields and goes alone"
	}
	if len(path) > 255 {
		return nil, "a path of over 255 bytes"
	}
	for segment := range strings.SplitSeq(path, ".") {
		if len(p) > 0 {
			last := p[len(p)-1]
			switch {
			case last.IsList(), last.IsMap():
				return nil, fmt.Sprintf("%s changes as a whole: name just that", p)
			case last.Message() == nil, wellKnown(last.Message()):
				return nil, fmt.Sprintf("%s is one value: name just that", p)
			}
			md = last.Message()
		}
		fd := field(md, segment)
		if fd == nil {
			of := "the resource"
			if len(p) > 0 {
				of = p.String()
			}
			return nil, fmt.Sprintf("%s has no field %.80q%s", of, segment, config.Suggest(segment, fieldNames(md)))
		}
		p = append(p, fd)
	}
	switch {
	case p[0].Name() == "status":
		return nil, "the status is the controllers'"
	case p[0].Name() == "metadata" && len(p) == 1:
		return nil, "the name cannot be changed: want metadata.labels"
	case p[0].Name() == "metadata" && p[1].Name() == "name":
		return nil, "the name cannot be changed: create another resource and delete this one"
	case p[0].Name() == "metadata" && p[1].Name() == "etag":
		return nil, "the etag is the controllers': state it in resource, without naming it here, to guard the update"
	}
	return p, ""
}

// wellKnown tells whether a message is a value, as a duration is.
func wellKnown(md protoreflect.MessageDescriptor) bool {
	return md.FullName().Parent() == "google.protobuf"
}

func field(md protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	if fd := md.Fields().ByJSONName(name); fd != nil {
		return fd
	}
	return md.Fields().ByName(protoreflect.Name(name))
}

// fieldNames are the names that a path may go on with.
func fieldNames(md protoreflect.MessageDescriptor) []string {
	var names []string
	for i := range md.Fields().Len() {
		switch fd := md.Fields().Get(i); fd.FullName() {
		case "fairlead.v1.Metadata.name", "fairlead.v1.Metadata.etag", "fairlead.v1.Zone.status":
		default:
			names = append(names, fd.JSONName())
		}
	}
	return names
}

// normal sorts a mask and leaves out what is below another path of it.
func (m mask) normal() mask {
	slices.SortFunc(m, func(a, b fieldPath) int { return slices.CompareFunc(a, b, byNumber) })
	var out mask
	for _, p := range m {
		if n := len(out); n == 0 || !out[n-1].covers(p) {
			out = append(out, p)
		}
	}
	return out
}

// covers tells whether p leads to q or to what q is below.
func (p fieldPath) covers(q fieldPath) bool {
	return len(p) <= len(q) && slices.CompareFunc(p, q[:len(p)], byNumber) == 0
}

func byNumber(a, b protoreflect.FieldDescriptor) int { return int(a.Number()) - int(b.Number()) }

// proto is the mask in one spelling.
func (m mask) proto() *fieldmaskpb.FieldMask {
	out := &fieldmaskpb.FieldMask{}
	for _, p := range m {
		out.Paths = append(out.Paths, p.String())
	}
	return out
}

// apply returns stored with the fields of the mask as they are in given: a
// field that given does not set gets its default. Both stay as they are.
func (m mask) apply(stored, given *pb.Resource) *pb.Resource {
	out := proto.CloneOf(stored)
	from := proto.CloneOf(given)
	for _, p := range m {
		copyField(body(out), body(from), p)
	}
	return out
}

func copyField(to, from protoreflect.Message, p fieldPath) {
	fd, below := p[0], p[1:]
	switch {
	case len(below) == 0 && from.Has(fd):
		to.Set(fd, from.Get(fd))
	case len(below) == 0:
		to.Clear(fd)
	case to.Has(fd) || from.Has(fd):
		// Where neither has it, Mutable would make it, and of a oneof that
		// replaces the other alternative.
		copyField(to.Mutable(fd).Message(), from.Get(fd).Message(), below)
	}
}
