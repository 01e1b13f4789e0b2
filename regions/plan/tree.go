package plan

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

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
	Overrides []*pb.Override     // sorted by id
	Releases  []*pb.LatchRelease // sorted by latch
	// Scheduled are the overrides whose time is to come, sorted by id.
	Scheduled      []*pb.Override
	BreakGlassEnds []*pb.BreakGlassEnd // sorted by id
	// ChangeTime is when an override last began, ended or was replaced; nil: never,
	// or a version before this one did not say.
	ChangeTime *timestamppb.Timestamp
	// Objects holds the manifest, the override set and every part.
	Objects Objects
	// SameConfig tells that the configuration is that of the known tree.
	SameConfig bool

	// carried is what a newer version wrote beside the overrides and releases.
	carried []byte
	// split cuts Set into chunks, once: the next set is made out of them.
	split func() (*config.Tree, error)
	// compile compiles Set, once.
	compile func() (*Base, error)
}

// Compile compiles the set. It is done once for all trees that have it.
func (t *Tree) Compile() (*Base, error) {
	if t.compile == nil {
		return Compile(t.Set)
	}
	return t.compile()
}

// Compiled hands over what Compile would make of the set. Call before others
// have the tree.
func (t *Tree) Compiled(b *Base) { t.compile = func() (*Base, error) { return b, nil } }

func compileOf(set *config.Set) func() (*Base, error) {
	return sync.OnceValues(func() (*Base, error) { return Compile(set) })
}

// splitOf is what split is of a set that is not cut yet.
func splitOf(set *config.Set) func() (*config.Tree, error) {
	return sync.OnceValues(func() (*config.Tree, error) {
		t, _, err := config.NewTree(set)
		return t, err
	})
}

// ErrDamaged is wrapped by errors that say that the tree is not what its
// digests promise.
var ErrDamaged = errors.New("damaged tree")

// Read reads the tree under a head. What known (which may be nil) already
// has is not fetched, and a configuration that did not change is not decoded
// again. Every object is checked against its name, and none is asked for
// before what names it was checked.
func Read(head *pb.Head, known *Tree, knownHead *pb.Head, fetch Fetch) (*Tree, error) {
	r := reader{objects: Objects{}, known: known, fetch: fetch}
	names, err := headDigests(head)
	if err != nil {
		return nil, err
	}
	// A manifest and an override set that are both empty are one object.
	if err := r.get(slices.Compact(slices.Clone(names[:]))); err != nil {
		return nil, err
	}
	t := &Tree{Objects: r.objects}
	var overrides pb.OverrideSet
	if err := proto.Unmarshal(t.Objects[names[1]], &overrides); err != nil {
		return nil, fmt.Errorf("%w: override set: %w", ErrDamaged, err)
	}
	t.takeOverrides(&overrides)
	manifest, err := readManifest(t.Objects[names[0]])
	if err != nil {
		return nil, err
	}
	if err := r.get(config.Parts(manifest)); err != nil {
		return nil, err
	}
	if known != nil && bytes.Equal(knownHead.GetManifest(), head.GetManifest()) {
		t.Set, t.SameConfig, t.split, t.compile = known.Set, true, known.split, known.compile
		return t, nil
	}
	t.Set, err = config.Join(manifest, func(d Digest) ([]byte, bool) { data, ok := t.Objects[d]; return data, ok })
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	t.split, t.compile = splitOf(t.Set), compileOf(t.Set)
	return t, nil
}

func (t *Tree) takeOverrides(o *pb.OverrideSet) {
	t.Overrides, t.Releases, t.carried = o.GetOverrides(), o.GetReleases(), o.ProtoReflect().GetUnknown()
	t.Scheduled, t.BreakGlassEnds, t.ChangeTime = o.GetScheduled(), o.GetBreakGlassEnds(), o.GetChangeTime()
}

// OverrideSet returns what the tree has beside its configuration as a new message,
// with whatever a newer version put there (invariant 4).
func (t *Tree) OverrideSet() *pb.OverrideSet {
	o := &pb.OverrideSet{
		Overrides: t.Overrides, Releases: t.Releases,
		Scheduled: t.Scheduled, BreakGlassEnds: t.BreakGlassEnds, ChangeTime: t.ChangeTime,
	}
	o.ProtoReflect().SetUnknown(t.carried)
	return o
}

// headDigests returns the digests of the manifest and of the override set.
func headDigests(head *pb.Head) (names [2]Digest, err error) {
	for i, n := range [...][]byte{head.GetManifest(), head.GetOverrides()} {
		if len(n) != len(names[i]) {
			return names, fmt.Errorf("%w: the head names an object by %d bytes, want %d", ErrDamaged, len(n), len(names[i]))
		}
		names[i] = Digest(n)
	}
	return names, nil
}

func readManifest(data []byte) (*pb.Manifest, error) {
	m := &pb.Manifest{}
	if err := proto.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", ErrDamaged, err)
	}
	if err := config.CheckManifest(m); err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", ErrDamaged, err)
	}
	return m, nil
}

// reader gathers objects, from the known tree where it has them.
type reader struct {
	objects Objects
	known   *Tree
	fetch   Fetch
}

// get gathers objects by their names, each of which is there once.
func (r *reader) get(names []Digest) error {
	var missing []Digest
	for _, d := range names {
		if _, have := r.objects[d]; have {
			continue
		}
		if r.known != nil {
			if data, have := r.known.Objects[d]; have {
				r.objects[d] = data
				continue
			}
		}
		missing = append(missing, d)
	}
	if len(missing) == 0 {
		return nil
	}
	got, err := r.fetch(missing)
	if err != nil {
		return err
	}
	for _, d := range missing {
		data, ok := got[d]
		if !ok {
			return fmt.Errorf("%w: object %x is missing", ErrDamaged, d)
		}
		if Sum(data) != d {
			return fmt.Errorf("%w: object %x has other contents", ErrDamaged, d)
		}
		r.objects[d] = data
	}
	return nil
}

// Write returns the digests that a head needs for a set and an override set, whose
// lists are sorted, and the tree. Where the set is that of a known tree, its
// objects are taken over; otherwise the work is in proportion to what differs from
// it.
func Write(set *config.Set, o *pb.OverrideSet, known *Tree, knownHead *pb.Head) (*Tree, *pb.Head, error) {
	t := &Tree{Set: set, Objects: Objects{}}
	t.takeOverrides(o)
	head := &pb.Head{}
	if known != nil && known.Set == set && knownHead != nil {
		if err := t.takeConfig(known, knownHead); err != nil {
			return nil, nil, err
		}
		head.Manifest = knownHead.GetManifest()
	} else {
		manifest, err := t.putConfig(known)
		if err != nil {
			return nil, nil, err
		}
		if head.Manifest, err = t.put(manifest); err != nil {
			return nil, nil, err
		}
	}
	var err error
	if head.Overrides, err = t.put(t.OverrideSet()); err != nil {
		return nil, nil, err
	}
	return t, head, nil
}

// putConfig adds the objects of the set and returns its manifest.
func (t *Tree) putConfig(known *Tree) (*pb.Manifest, error) {
	var before *config.Tree
	if known != nil && known.split != nil {
		var err error
		if before, err = known.split(); err != nil {
			return nil, err
		}
	}
	next, fresh, err := before.Next(t.Set)
	if err != nil {
		return nil, err
	}
	if before != nil && !t.gather(next, fresh, known.Objects) {
		// Another version wrote the known tree, and cuts otherwise.
		clear(t.Objects)
		if next, fresh, err = config.NewTree(t.Set); err != nil {
			return nil, err
		}
		before = nil
	}
	if before == nil {
		t.gather(next, fresh, nil)
	}
	t.split, t.compile = func() (*config.Tree, error) { return next, nil }, compileOf(t.Set)
	return next.Manifest(), nil
}

// gather adds the objects of a tree; it returns whether it found them all.
func (t *Tree) gather(tree *config.Tree, fresh [][]byte, known Objects) bool {
	for _, o := range fresh {
		t.Objects[Sum(o)] = o
	}
	for _, d := range config.Parts(tree.Manifest()) {
		if _, have := t.Objects[d]; have {
			continue
		}
		data, have := known[d]
		if !have {
			return false
		}
		t.Objects[d] = data
	}
	return true
}

// takeConfig takes over the objects of a tree's configuration.
func (t *Tree) takeConfig(known *Tree, head *pb.Head) error {
	t.SameConfig, t.split, t.compile = true, known.split, known.compile
	names, err := headDigests(head)
	if err != nil {
		return err
	}
	manifest, err := readManifest(known.Objects[names[0]])
	if err != nil {
		return err
	}
	for _, d := range append(config.Parts(manifest), names[0]) {
		data, have := known.Objects[d]
		if !have {
			return fmt.Errorf("%w: object %x is missing", ErrDamaged, d)
		}
		t.Objects[d] = data
	}
	return nil
}

// put adds a message as an object and returns its name.
func (t *Tree) put(m proto.Message) ([]byte, error) {
	data, err := deterministic.Marshal(m)
	if err != nil {
		return nil, err
	}
	d := Sum(data)
	t.Objects[d] = data
	return d[:], nil
}

var deterministic = proto.MarshalOptions{Deterministic: true}

// Sum names an object.
func Sum(data []byte) Digest { return sha256.Sum256(data) }
