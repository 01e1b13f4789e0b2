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

// MaxObjectSize is the largest object of a tree.
const MaxObjectSize = 1 << 20

// chunkField is the number of Chunk.resources.
const chunkField = protowire.Number(1)

// chunkTarget is how many resources a chunk holds on average, at most; half
// of it at least, once there are enough. Zones hold texts, and the serial of
// one is written with every change of its services, so they get small chunks.
func chunkTarget(kind string) int {
	if kind == KindZone {
		return 8
	}
	return 128
}

// Tree is a set as objects and a manifest over them. It does not change.
//
// Which chunk a resource is in depends on its name and, in powers of two, on
// how many of its kind there are. So equal sets give equal trees, and a change
// of one of 100,000 services touches one chunk of services.
type Tree struct {
	set      *Set
	manifest *pb.Manifest
	byKind   []branch // by index in kinds
}

// branch holds the chunks of one kind.
type branch struct {
	depth  int    // there are 1<<depth chunks, the empty ones counted
	leaves []leaf // by the first depth bits of the hash of the name
}

type leaf struct {
	items []named
	entry *pb.ManifestEntry // nil if there are no items
}

// Set returns the set.
func (t *Tree) Set() *Set { return t.set }

// Manifest returns the manifest; it must not be changed.
func (t *Tree) Manifest() *pb.Manifest { return t.manifest }

// NewTree makes the tree of a set. It returns all its objects.
func NewTree(set *Set) (*Tree, [][]byte, error) { return (*Tree)(nil).Next(set) }

// Next makes the tree of another set out of t, with work in proportion to
// what differs (by pointer, as Merge keeps it). The objects are those that t
// may lack.
func (t *Tree) Next(set *Set) (*Tree, [][]byte, error) {
	w := &treeWriter{seen: map[Digest]bool{}}
	next := &Tree{set: set, manifest: &pb.Manifest{}, byKind: make([]branch, len(kinds))}
	for k, kind := range kinds {
		var err error
		if t != nil && t.byKind[k].depth == bucketBits(len(set.byKind[k]), chunkTarget(kind.name)) {
			next.byKind[k], err = w.update(kind.name, t.byKind[k], t.set.byKind[k], set.byKind[k])
		} else {
			next.byKind[k], err = w.build(kind.name, set.byKind[k])
		}
		if err != nil {
			return nil, nil, err
		}
		for _, l := range next.byKind[k].leaves {
			if l.entry != nil {
				next.manifest.Entries = append(next.manifest.Entries, l.entry)
			}
		}
	}
	if err := w.unknown(next.manifest, set.unknown); err != nil {
		return nil, nil, err
	}
	if err := CheckManifest(next.manifest); err != nil {
		return nil, nil, err // nobody could load it
	}
	return next, w.objects, nil
}

// Split is NewTree for those who make one tree only.
func Split(set *Set) (*pb.Manifest, [][]byte, error) {
	t, objects, err := NewTree(set)
	if err != nil {
		return nil, nil, err
	}
	return t.manifest, objects, nil
}

// treeWriter collects objects, each once.
type treeWriter struct {
	objects [][]byte
	seen    map[Digest]bool
}

// build makes all the chunks of a kind.
func (w *treeWriter) build(kind string, list []named) (branch, error) {
	b := branch{depth: bucketBits(len(list), chunkTarget(kind))}
	b.leaves = make([]leaf, 1<<b.depth)
	for _, n := range list {
		l := &b.leaves[bucket(n.name, b.depth)]
		l.items = append(l.items, n)
	}
	for i := range b.leaves {
		if err := w.write(kind, &b.leaves[i]); err != nil {
			return branch{}, err
		}
	}
	return b, nil
}

// update makes the chunks anew that hold something else than before.
func (w *treeWriter) update(kind string, b branch, before, after []named) (branch, error) {
	const deleted = -1         // as the size of an edit
	edits := map[int][]named{} // by chunk
	walk(before, after, func(x, y named) {
		switch {
		case x.r == y.r:
		case y.r == nil:
			i := bucket(x.name, b.depth)
			edits[i] = append(edits[i], named{name: x.name, size: deleted})
		default:
			i := bucket(y.name, b.depth)
			edits[i] = append(edits[i], y)
		}
	})
	b.leaves = slices.Clone(b.leaves)
	for i, list := range edits {
		var items []named
		walk(b.leaves[i].items, list, func(old, edit named) {
			switch {
			case edit == named{}:
				items = append(items, old)
			case edit.size != deleted:
				items = append(items, edit)
			}
		})
		b.leaves[i] = leaf{items: items}
	}
	for _, i := range sortedKeys(edits) {
		if err := w.write(kind, &b.leaves[i]); err != nil {
			return branch{}, err
		}
	}
	return b, nil
}

func sortedKeys[V any](m map[int]V) []int {
	keys := make([]int, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// write encodes the resources of a leaf.
func (w *treeWriter) write(kind string, l *leaf) error {
	if len(l.items) == 0 {
		return nil
	}
	encoded := make([][]byte, len(l.items))
	for i, n := range l.items {
		b, err := Canonical(bare(n.r, true))
		if err != nil {
			return fmt.Errorf("%s: %w", Key{kind, n.name}, err)
		}
		encoded[i] = b
	}
	l.entry = w.chunk(kind, encoded)
	return nil
}

// chunk encodes a pb.Chunk and cuts it into parts.
func (w *treeWriter) chunk(kind string, resources [][]byte) *pb.ManifestEntry {
	size := 0
	for _, r := range resources {
		size += protowire.SizeTag(chunkField) + protowire.SizeBytes(len(r))
	}
	b := make([]byte, 0, size)
	for _, r := range resources {
		b = protowire.AppendTag(b, chunkField, protowire.BytesType)
		b = protowire.AppendBytes(b, r)
	}
	entry := &pb.ManifestEntry{Kind: kind, Count: uint32(len(resources)), Size: uint64(len(b))}
	for part := range slices.Chunk(b, MaxObjectSize) {
		id := DigestOf(part)
		entry.Parts = append(entry.Parts, id[:])
		if !w.seen[id] {
			w.seen[id] = true
			w.objects = append(w.objects, part)
		}
	}
	return entry
}

// unknown writes the resources of kinds that this version does not know. They
// have no name that it could read; their bytes stand for it.
func (w *treeWriter) unknown(m *pb.Manifest, list []Unknown) error {
	for len(list) > 0 {
		kind := list[0].Kind
		n := slices.IndexFunc(list, func(u Unknown) bool { return u.Kind != kind })
		if n < 0 {
			n = len(list)
		}
		depth := bucketBits(n, chunkTarget(kind))
		chunks := make([][][]byte, 1<<depth)
		for _, u := range list[:n] {
			b, err := Canonical(u.Resource)
			if err != nil {
				return fmt.Errorf("resource of kind %q: %w", kind, err)
			}
			i := bucket(string(b), depth)
			chunks[i] = append(chunks[i], b)
		}
		for _, c := range chunks {
			if len(c) > 0 {
				m.Entries = append(m.Entries, w.chunk(kind, c))
			}
		}
		list = list[n:]
	}
	return nil
}

// bucketBits is the least k for which n resources in 2^k chunks are at most
// target in each, on average.
func bucketBits(n, target int) int {
	if n == 0 {
		return 0
	}
	return bits.Len(uint((n - 1) / target))
}

// bucket is the chunk of a name: the first bits of its hash.
func bucket(name string, depth int) int {
	sum := sha256.Sum256([]byte(name))
	return int(binary.BigEndian.Uint32(sum[:]) >> (32 - depth))
}

// sortUnknown brings what Join found into the order of its bytes.
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
