package config

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// MaxObjectSize is the largest object that Split makes.
const MaxObjectSize = 1 << 20

// chunkTarget is how many resources a chunk holds on average, at most; half
// of it at least, once there are enough. Zones hold texts, and the serial of
// one is written with every change of its services, so they get small chunks.
func chunkTarget(kind string) int {
	if kind == KindZone {
		return 8
	}
	return 128
}

// Split turns a set into objects and a manifest over them. Equal sets give
// equal objects. Which chunk a resource is in depends on its name and, in
// powers of two, on how many of its kind there are: a change of one of
// 100,000 services touches one chunk of services.
func Split(set *Set) (*pb.Manifest, [][]byte, error) {
	s := splitter{manifest: &pb.Manifest{}, seen: map[Digest]bool{}}
	for k, list := range set.byKind {
		items := make([]item, len(list))
		for i, n := range list {
			b, err := Canonical(bare(n.r, true))
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", Key{kinds[k].name, n.name}, err)
			}
			items[i] = item{n.name, b}
		}
		s.add(kinds[k].name, items)
	}
	for rest := set.unknown; len(rest) > 0; {
		kind := rest[0].Kind
		var items []item
		for len(rest) > 0 && rest[0].Kind == kind {
			b, err := Canonical(rest[0].Resource)
			if err != nil {
				return nil, nil, fmt.Errorf("resource of kind %q: %w", kind, err)
			}
			// Its name is not known; its bytes stand for it.
			items = append(items, item{string(b), b})
			rest = rest[1:]
		}
		s.add(kind, items)
	}
	if err := CheckManifest(s.manifest); err != nil {
		return nil, nil, err // nobody could load it
	}
	return s.manifest, s.objects, nil
}

// item is an encoded resource.
type item struct {
	name  string
	bytes []byte
}

type splitter struct {
	manifest *pb.Manifest
	objects  [][]byte
	seen     map[Digest]bool
}

// add puts the resources of one kind into chunks. Items are sorted by name.
func (s *splitter) add(kind string, items []item) {
	if len(items) == 0 {
		return
	}
	depth := bucketBits(len(items), chunkTarget(kind))
	buckets := make([][]item, 1<<depth)
	for _, it := range items {
		b := bucket(it.name, depth)
		buckets[b] = append(buckets[b], it)
	}
	for _, list := range buckets {
		if len(list) > 0 {
			s.chunk(kind, list)
		}
	}
}

// chunk encodes a pb.Chunk, cuts it into parts and lists it in the manifest.
func (s *splitter) chunk(kind string, items []item) {
	size := 0
	for _, it := range items {
		size += protowire.SizeTag(chunkField) + protowire.SizeBytes(len(it.bytes))
	}
	b := make([]byte, 0, size)
	for _, it := range items {
		b = protowire.AppendTag(b, chunkField, protowire.BytesType)
		b = protowire.AppendBytes(b, it.bytes)
	}
	entry := &pb.ManifestEntry{Kind: kind, Count: uint32(len(items)), Size: uint64(len(b))}
	for part := range slices.Chunk(b, MaxObjectSize) {
		id := DigestOf(part)
		entry.Parts = append(entry.Parts, id[:])
		if !s.seen[id] {
			s.seen[id] = true
			s.objects = append(s.objects, part)
		}
	}
	s.manifest.Entries = append(s.manifest.Entries, entry)
}

// chunkField is the number of Chunk.resources.
const chunkField = protowire.Number(1)

// bucketBits is the least k for which n resources in 2^k chunks are at most
// target in each, on average.
func bucketBits(n, target int) int {
	return bits.Len(uint((n - 1) / target))
}

// bucket is the chunk of a name: the first bits of its hash.
func bucket(name string, depth int) int {
	sum := sha256.Sum256([]byte(name))
	return int(binary.BigEndian.Uint32(sum[:]) >> (32 - depth))
}

// sortUnknown brings what Join found into the order of Split.
func sortUnknown(list []Unknown) error {
	encoded := make(map[*pb.Resource]string, len(list))
	for _, u := range list {
		b, err := Canonical(u.Resource)
		if err != nil {
			return err
		}
		encoded[u.Resource] = string(b)
	}
	slices.SortFunc(list, func(a, b Unknown) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(encoded[a.Resource], encoded[b.Resource]))
	})
	return nil
}
