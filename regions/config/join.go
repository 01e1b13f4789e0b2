package config

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// The limits of Join, above those of Validate.
const (
	maxEntries      = 65_536
	maxChunkSize    = 512 << 20
	maxJoinSize     = 2 << 30
	maxJoinCount    = 2_000_000
	maxResourceSize = 16 << 20
	maxKindLength   = 64
)

// Errors of Join.
var (
	// ErrMissingObject: get does not have an object that the manifest names.
	ErrMissingObject = errors.New("object is missing")
	// ErrCorrupt: an object or the manifest is not what it should be.
	ErrCorrupt = errors.New("configuration is corrupt")
	// ErrTooLarge: the manifest is over the limits.
	ErrTooLarge = errors.New("configuration is over the limits")
)

// CheckManifest checks a manifest's form and limits before any object is
// fetched.
func CheckManifest(m *pb.Manifest) error {
	if n := len(m.GetEntries()); n > maxEntries {
		return fmt.Errorf("%w: the manifest has %d chunks, at most %d may be", ErrTooLarge, n, maxEntries)
	}
	var size, count uint64
	for i, e := range m.GetEntries() {
		if e.GetKind() == "" || len(e.GetKind()) > maxKindLength {
			return fmt.Errorf("%w: chunk %d of the manifest has no valid kind", ErrCorrupt, i)
		}
		if e.GetSize() > maxChunkSize {
			return fmt.Errorf("%w: chunk %d (%s) has %d bytes, at most %d may be", ErrTooLarge, i, e.GetKind(), e.GetSize(), maxChunkSize)
		}
		// Every part but the last is full, so the number of parts is given.
		if want := (e.GetSize() + MaxObjectSize - 1) / MaxObjectSize; e.GetSize() == 0 || e.GetCount() == 0 || uint64(len(e.GetParts())) != want {
			return fmt.Errorf("%w: chunk %d (%s) of %d resources and %d bytes has %d parts", ErrCorrupt, i, e.GetKind(), e.GetCount(), e.GetSize(), len(e.GetParts()))
		}
		for _, p := range e.GetParts() {
			if len(p) != len(Digest{}) {
				return fmt.Errorf("%w: chunk %d (%s) names a part by %d bytes, want %d", ErrCorrupt, i, e.GetKind(), len(p), len(Digest{}))
			}
		}
		size += e.GetSize()
		count += uint64(e.GetCount())
	}
	if size > maxJoinSize || count > maxJoinCount {
		return fmt.Errorf("%w: the manifest has %d resources of %d bytes, at most %d of %d may be", ErrTooLarge, count, size, maxJoinCount, maxJoinSize)
	}
	return nil
}

// Parts returns the ids of the objects that a manifest names, in order, each
// once. The manifest has passed CheckManifest.
func Parts(m *pb.Manifest) []Digest {
	seen := map[Digest]bool{}
	var ids []Digest
	for _, e := range m.GetEntries() {
		for _, p := range e.GetParts() {
			if id := Digest(p); !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// Join is the inverse of Split. It verifies every object against its id and
// the manifest's counts and sizes; what it returns is in canonical form but
// not validated. Fields and kinds of a newer version are carried. The error is
// ErrMissingObject, ErrCorrupt or ErrTooLarge.
func Join(m *pb.Manifest, get func(Digest) ([]byte, bool)) (*Set, error) {
	if err := CheckManifest(m); err != nil {
		return nil, err
	}
	s := &Set{byKind: make([][]named, len(kinds))}
	for i, e := range m.GetEntries() {
		chunk, err := joinParts(e, get)
		if err == nil {
			err = s.addChunk(e, chunk)
		}
		if err != nil {
			return nil, fmt.Errorf("chunk %d (%s): %w", i, e.GetKind(), err)
		}
	}
	if errs := s.sort(); len(errs) > 0 {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, errs)
	}
	if err := sortUnknown(s.unknown); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return s, nil
}

// joinParts returns the bytes of a chunk.
func joinParts(e *pb.ManifestEntry, get func(Digest) ([]byte, bool)) ([]byte, error) {
	var chunk []byte
	for i, p := range e.GetParts() {
		id := Digest(p)
		part, ok := get(id)
		switch {
		case !ok:
			return nil, fmt.Errorf("%w: %x", ErrMissingObject, id)
		case len(part) > MaxObjectSize:
			return nil, fmt.Errorf("%w: object %x has %d bytes, at most %d may be", ErrTooLarge, id, len(part), MaxObjectSize)
		case DigestOf(part) != id:
			return nil, fmt.Errorf("%w: object %x holds other bytes", ErrCorrupt, id)
		}
		if i == 0 && len(e.GetParts()) == 1 {
			chunk = part
		} else {
			chunk = append(chunk, part...)
		}
	}
	if uint64(len(chunk)) != e.GetSize() {
		return nil, fmt.Errorf("%w: has %d bytes, the manifest says %d", ErrCorrupt, len(chunk), e.GetSize())
	}
	return chunk, nil
}

// addChunk decodes the resources of a chunk one by one: no more than the
// manifest counted.
func (s *Set) addChunk(e *pb.ManifestEntry, chunk []byte) error {
	kind := kindIndex(e.GetKind())
	count := uint32(0)
	for len(chunk) > 0 {
		num, typ, n := protowire.ConsumeField(chunk)
		if n < 0 {
			return fmt.Errorf("%w: not a chunk: %w", ErrCorrupt, protowire.ParseError(n))
		}
		field := chunk[:n]
		chunk = chunk[n:]
		if num != chunkField || typ != protowire.BytesType {
			continue // a field of a newer version; it has no meaning to carry
		}
		if count++; count > e.GetCount() {
			return fmt.Errorf("%w: holds more than the %d resources that the manifest says", ErrCorrupt, e.GetCount())
		}
		_, _, tag := protowire.ConsumeTag(field)
		b, _ := protowire.ConsumeBytes(field[tag:])
		if len(b) > maxResourceSize {
			return fmt.Errorf("%w: a resource has %d bytes, at most %d may be", ErrTooLarge, len(b), maxResourceSize)
		}
		r := &pb.Resource{}
		if err := proto.Unmarshal(b, r); err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		if resourceKind(r) != kind {
			return fmt.Errorf("%w: holds a resource of kind %q", ErrCorrupt, Kind(r))
		}
		if kind < 0 {
			s.unknown = append(s.unknown, Unknown{e.GetKind(), r})
			continue
		}
		Default(r)
		Metadata(r).Etag = ""
		s.byKind[kind] = append(s.byKind[kind], named{Name(r), r, len(b)})
	}
	if count != e.GetCount() {
		return fmt.Errorf("%w: holds %d resources, the manifest says %d", ErrCorrupt, count, e.GetCount())
	}
	return nil
}
