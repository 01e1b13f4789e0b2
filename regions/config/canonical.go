package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// Canonical returns the canonical bytes of m: fields in the order of their
// numbers, maps in the order of their keys. Protobuf's deterministic output
// is not that across versions, since fields that a version does not know come
// last: two versions would see different etags and objects in equal resources.
func Canonical(m proto.Message) ([]byte, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("canonical bytes of %s: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	md := m.ProtoReflect().Descriptor()
	if isCanonical(md, b) {
		return b, nil
	}
	return appendCanonical(make([]byte, 0, len(b)), md, b), nil
}

// Digest is the id of an object: the SHA-256 of its bytes.
type Digest = [sha256.Size]byte

// DigestOf returns the id of an object.
func DigestOf(object []byte) Digest { return sha256.Sum256(object) }

// Etag is the hash of what users state of r: its metadata and spec, without
// the etag in it and the status. Equal etags mean equal resources; call
// Default before.
func Etag(r *pb.Resource) string {
	b, err := Canonical(bare(r, false))
	if err != nil {
		// Text that is not UTF-8, which no resource of a Set holds. It equals
		// nothing.
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// WithEtag returns r with its etag filled in, as the API shows it; r itself
// stays as it is.
func WithEtag(r *pb.Resource) *pb.Resource {
	out := bare(r, true)
	if m := Metadata(out); m != nil {
		m.Etag = Etag(r)
	}
	return out
}

// bare is r without etag and, unless it shall stay, status. The spec is
// shared, the metadata are not.
func bare(r *pb.Resource, keepStatus bool) *pb.Resource {
	m := Metadata(r)
	if m != nil {
		unknown := m.ProtoReflect().GetUnknown()
		m = &pb.Metadata{Name: m.Name, Labels: m.Labels}
		m.ProtoReflect().SetUnknown(unknown)
	}
	out := &pb.Resource{}
	out.ProtoReflect().SetUnknown(r.ProtoReflect().GetUnknown())
	unknown := func(from, to proto.Message) {
		to.ProtoReflect().SetUnknown(from.ProtoReflect().GetUnknown())
	}
	switch k := r.GetKind().(type) {
	case *pb.Resource_Region:
		c := &pb.Region{Metadata: m, Spec: k.Region.GetSpec()}
		unknown(k.Region, c)
		out.Kind = &pb.Resource_Region{Region: c}
	case *pb.Resource_Agent:
		c := &pb.Agent{Metadata: m, Spec: k.Agent.GetSpec()}
		unknown(k.Agent, c)
		out.Kind = &pb.Resource_Agent{Agent: c}
	case *pb.Resource_Nameserver:
		c := &pb.Nameserver{Metadata: m, Spec: k.Nameserver.GetSpec()}
		unknown(k.Nameserver, c)
		out.Kind = &pb.Resource_Nameserver{Nameserver: c}
	case *pb.Resource_HealthCheck:
		c := &pb.HealthCheck{Metadata: m, Spec: k.HealthCheck.GetSpec()}
		unknown(k.HealthCheck, c)
		out.Kind = &pb.Resource_HealthCheck{HealthCheck: c}
	case *pb.Resource_SteeringPolicy:
		c := &pb.SteeringPolicy{Metadata: m, Spec: k.SteeringPolicy.GetSpec()}
		unknown(k.SteeringPolicy, c)
		out.Kind = &pb.Resource_SteeringPolicy{SteeringPolicy: c}
	case *pb.Resource_SafetyPolicy:
		c := &pb.SafetyPolicy{Metadata: m, Spec: k.SafetyPolicy.GetSpec()}
		unknown(k.SafetyPolicy, c)
		out.Kind = &pb.Resource_SafetyPolicy{SafetyPolicy: c}
	case *pb.Resource_Zone:
		c := &pb.Zone{Metadata: m, Spec: k.Zone.GetSpec()}
		if keepStatus {
			c.Status = k.Zone.GetStatus()
		}
		unknown(k.Zone, c)
		out.Kind = &pb.Resource_Zone{Zone: c}
	case *pb.Resource_Service:
		c := &pb.Service{Metadata: m, Spec: k.Service.GetSpec()}
		unknown(k.Service, c)
		out.Kind = &pb.Resource_Service{Service: c}
	}
	return out
}

// isCanonical tells whether the fields in b, an encoded md, ascend.
func isCanonical(md protoreflect.MessageDescriptor, b []byte) bool {
	fields := md.Fields()
	last := protowire.Number(0)
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 || num < last {
			return false
		}
		last = num
		b = b[n:]
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return false
		}
		if typ == protowire.BytesType {
			if fd := fields.ByNumber(num); fd != nil && fd.Message() != nil {
				inner, _ := protowire.ConsumeBytes(b)
				if !isCanonical(fd.Message(), inner) {
					return false
				}
			}
		}
		b = b[n:]
	}
	return true
}

// appendCanonical appends b, an encoded md, with its fields sorted. Bytes that
// are no field end it; proto.Marshal makes none.
func appendCanonical(dst []byte, md protoreflect.MessageDescriptor, b []byte) []byte {
	type field struct {
		num   protowire.Number
		bytes []byte
	}
	var fields []field
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeField(b)
		if n < 0 {
			break
		}
		f := field{num, b[:n]}
		if fd := md.Fields().ByNumber(num); typ == protowire.BytesType && fd != nil && fd.Message() != nil {
			_, _, tag := protowire.ConsumeTag(b)
			inner, _ := protowire.ConsumeBytes(b[tag:n])
			sorted := appendCanonical(nil, fd.Message(), inner)
			f.bytes = protowire.AppendBytes(slices.Clone(b[:tag]), sorted)
		}
		fields = append(fields, f)
		b = b[n:]
	}
	slices.SortStableFunc(fields, func(x, y field) int { return int(x.num) - int(y.num) })
	for _, f := range fields {
		dst = append(dst, f.bytes...)
	}
	return dst
}
