// Package plan reads the tree of objects under a head and compiles it into
// what queries are answered from: the domain's tables and the zones. Both
// sides use it, the controller before it publishes and the nameserver before
// it answers. It is pure; it may import the proto, regions, regions/config and
// regions/zone.
package plan

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

// Digest is the SHA-256 of an object's bytes, which is its name.
type Digest = [sha256.Size]byte

// Objects are objects by name.
type Objects map[Digest][]byte

// Fetch returns objects: all that are asked for, or an error.
type Fetch func(digests []Digest) (Objects, error)

// Tree is everything under one head.
type Tree struct {
	Set       *config.Set
	Overrides []*pb.Override
	// Objects holds the manifest, the override set and every part.
	Objects Objects
	// SameConfig tells that the configuration is that of the known tree.
	SameConfig bool
}

// ErrDamaged is wrapped by errors that say that the tree is not what its
// digests promise.
var ErrDamaged = errors.New("damaged tree")

// Read reads the tree under a head. What known (which may be nil) already
// has is not fetched, and a configuration that did not change is not decoded
// again. Every object is checked against its name.
func Read(head *pb.Head, known *Tree, knownHead *pb.Head, fetch Fetch) (*Tree, error) {
	t := &Tree{Objects: Objects{}}
	get := func(names [][]byte) error {
		var missing []Digest
		for _, n := range names {
			if len(n) != sha256.Size {
				return fmt.Errorf("%w: a digest of %d bytes, want %d", ErrDamaged, len(n), sha256.Size)
			}
			d := Digest(n)
			if _, have := t.Objects[d]; have {
				continue
			}
			if known != nil {
				if data, have := known.Objects[d]; have {
					t.Objects[d] = data
					continue
				}
			}
			missing = append(missing, d)
		}
		if len(missing) == 0 {
			return nil
		}
		got, err := fetch(missing)
		if err != nil {
			return err
		}
		for _, d := range missing {
			data, ok := got[d]
			if !ok {
				return fmt.Errorf("%w: object %x is missing", ErrDamaged, d)
			}
			if sha256.Sum256(data) != d {
				return fmt.Errorf("%w: object %x has other contents", ErrDamaged, d)
			}
			t.Objects[d] = data
		}
		return nil
	}
	if err := get([][]byte{head.GetManifest(), head.GetOverrides()}); err != nil {
		return nil, err
	}
	var overrides pb.OverrideSet
	if err := proto.Unmarshal(t.Objects[Digest(head.GetOverrides())], &overrides); err != nil {
		return nil, fmt.Errorf("%w: override set: %w", ErrDamaged, err)
	}
	t.Overrides = overrides.GetOverrides()
	var manifest pb.Manifest
	if err := proto.Unmarshal(t.Objects[Digest(head.GetManifest())], &manifest); err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", ErrDamaged, err)
	}
	var parts [][]byte
	for _, e := range manifest.GetEntries() {
		parts = append(parts, e.GetParts()...)
	}
	if err := get(parts); err != nil {
		return nil, err
	}
	if known != nil && string(knownHead.GetManifest()) == string(head.GetManifest()) {
		t.Set, t.SameConfig = known.Set, true
		return t, nil
	}
	set, err := config.Join(&manifest, func(d [32]byte) ([]byte, bool) { data, ok := t.Objects[d]; return data, ok })
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	t.Set = set
	return t, nil
}

// Write returns the digests that a head needs for a set and overrides (sorted
// by id), and the tree. Where the set is that of a known tree, its objects are
// taken over.
func Write(set *config.Set, overrides []*pb.Override, known *Tree, knownHead *pb.Head) (*Tree, *pb.Head, error) {
	t := &Tree{Set: set, Overrides: overrides, Objects: Objects{}}
	head := &pb.Head{}
	if known != nil && known.Set == set && knownHead != nil {
		t.SameConfig = true
		head.Manifest = knownHead.GetManifest()
		for d, data := range known.Objects {
			if string(d[:]) != string(knownHead.GetOverrides()) {
				t.Objects[d] = data
			}
		}
	} else {
		manifest, objects, err := config.Split(set)
		if err != nil {
			return nil, nil, err
		}
		for _, o := range objects {
			t.Objects[sha256.Sum256(o)] = o
		}
		data, err := deterministic.Marshal(manifest)
		if err != nil {
			return nil, nil, err
		}
		d := sha256.Sum256(data)
		t.Objects[d], head.Manifest = data, d[:]
	}
	data, err := deterministic.Marshal(&pb.OverrideSet{Overrides: overrides})
	if err != nil {
		return nil, nil, err
	}
	d := sha256.Sum256(data)
	t.Objects[d], head.Overrides = data, d[:]
	return t, head, nil
}

var deterministic = proto.MarshalOptions{Deterministic: true}

// Sum names an object.
func Sum(data []byte) Digest { return sha256.Sum256(data) }
