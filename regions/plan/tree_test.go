package plan

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

// from returns a fetch that gives what there is and counts what was asked.
func from(objects Objects, asked *[]Digest) Fetch {
	return func(digests []Digest) (Objects, error) {
		*asked = append(*asked, digests...)
		out := Objects{}
		for _, d := range digests {
			if data, ok := objects[d]; ok {
				out[d] = data
			}
		}
		return out, nil
	}
}

func write(t testing.TB, set *config.Set, overrides []*pb.Override, known *Tree, knownHead *pb.Head) (*Tree, *pb.Head) {
	t.Helper()
	tree, head, err := Write(set, &pb.OverrideSet{Overrides: overrides}, known, knownHead)
	if err != nil {
		t.Fatal(err)
	}
	return tree, head
}

func read(t testing.TB, head *pb.Head, known *Tree, knownHead *pb.Head, fetch Fetch) *Tree {
	t.Helper()
	tree, err := Read(head, known, knownHead, fetch)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func sameTree(t *testing.T, got, want *Tree) {
	t.Helper()
	if d := cmp.Diff(want.Set.All(), got.Set.All(), protocmp.Transform()); d != "" {
		t.Error("configuration differs (-want +got)", d)
	}
	if d := cmp.Diff(want.OverrideSet(), got.OverrideSet(), protocmp.Transform()); d != "" {
		t.Error("overrides differ (-want +got)", d)
	}
	if !maps.EqualFunc(got.Objects, want.Objects, bytes.Equal) {
		t.Errorf("%d objects, want %d", len(got.Objects), len(want.Objects))
	}
}

// TestWriteRead: what is written is read, each object asked for once; and it
// is written the same by another process.
func TestWriteRead(t *testing.T) {
	overrides := []*pb.Override{drain("o1", &pb.OverrideScope{Region: "eu-west"}), drain("o2", &pb.OverrideScope{Service: "www.example.test"})}
	for _, c := range []struct {
		name      string
		set       *config.Set
		overrides []*pb.Override
	}{
		{"sample", load(t, sample), overrides},
		{"no overrides", load(t, sample), nil},
		{"nothing at all", load(t, ""), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree, head := write(t, c.set, c.overrides, nil, nil)
			_, again := write(t, change(t, c.set, config.Key{}, nil), c.overrides, nil, nil)
			if !proto.Equal(head, again) {
				t.Errorf("written as %v, and again as %v", head, again)
			}
			var asked []Digest
			got := read(t, head, nil, nil, from(tree.Objects, &asked))
			sameTree(t, got, tree)
			if got.SameConfig {
				t.Error("the first configuration is called the same")
			}
			slices.SortFunc(asked, func(a, b Digest) int { return bytes.Compare(a[:], b[:]) })
			if len(asked) != len(tree.Objects) || len(slices.Compact(asked)) != len(tree.Objects) {
				t.Errorf("asked for %d objects, there are %d", len(asked), len(tree.Objects))
			}
			if _, err := Compile(got.Set); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestReadKnown: only what is missing is fetched, and what is no longer
// referred to is not kept.
func TestReadKnown(t *testing.T) {
	set := load(t, sample)
	first, firstHead := write(t, set, nil, nil, nil)
	var asked []Digest

	t.Run("the same", func(t *testing.T) {
		asked = nil
		got := read(t, firstHead, first, firstHead, from(nil, &asked))
		if len(asked) != 0 || !got.SameConfig || got.Set != first.Set {
			t.Errorf("asked for %d objects; same: %v", len(asked), got.SameConfig)
		}
	})
	t.Run("an override more", func(t *testing.T) {
		asked = nil
		next, head := write(t, set, []*pb.Override{drain("o1", &pb.OverrideScope{Region: "eu-west"})}, first, firstHead)
		if !next.SameConfig || !bytes.Equal(head.GetManifest(), firstHead.GetManifest()) {
			t.Error("an override changed the configuration")
		}
		got := read(t, head, first, firstHead, from(next.Objects, &asked))
		sameTree(t, got, next)
		if len(asked) != 1 || !got.SameConfig || got.Set != first.Set {
			t.Errorf("asked for %d objects; same: %v", len(asked), got.SameConfig)
		}
		if _, kept := next.Objects[Digest(firstHead.GetOverrides())]; kept {
			t.Error("the old overrides are kept")
		}
	})
	t.Run("one service changed", func(t *testing.T) {
		asked = nil
		changed := change(t, set, config.Key{Kind: config.KindService, Name: "www.example.test"}, func(r *pb.Resource) {
			r.GetService().Spec.Endpoints[0].Weight = proto.Uint32(7)
		})
		next, head := write(t, changed, nil, first, firstHead)
		got := read(t, head, first, firstHead, from(next.Objects, &asked))
		sameTree(t, got, next)
		if got.SameConfig || len(asked) == 0 || len(asked) > 2 {
			t.Errorf("asked for %d objects, want the manifest and a chunk; same: %v", len(asked), got.SameConfig)
		}
		back := read(t, firstHead, got, head, from(first.Objects, &asked))
		sameTree(t, back, first)
	})
	t.Run("from nothing, where manifest and overrides are one object", func(t *testing.T) {
		empty, emptyHead := write(t, load(t, ""), nil, nil, nil)
		if !bytes.Equal(emptyHead.GetManifest(), emptyHead.GetOverrides()) {
			t.Error("they are not; the case is gone")
		}
		next, head := write(t, empty.Set, []*pb.Override{drain("o1", &pb.OverrideScope{Service: "www.example.test"})}, empty, emptyHead)
		asked = nil
		sameTree(t, read(t, head, nil, nil, from(next.Objects, &asked)), next)
	})
}

// TestReadDamaged (invariant 3): nothing but the whole tree is a tree.
func TestReadDamaged(t *testing.T) {
	set := load(t, sample)
	tree, head := write(t, set, []*pb.Override{drain("o1", &pb.OverrideScope{Region: "eu-west"})}, nil, nil)
	var asked []Digest
	for d := range tree.Objects {
		without := maps.Clone(tree.Objects)
		delete(without, d)
		if _, err := Read(head, nil, nil, from(without, &asked)); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "is missing") {
			t.Errorf("without %x: %v", d, err)
		}
		altered := maps.Clone(tree.Objects)
		altered[d] = append(slices.Clone(altered[d]), 0)
		if _, err := Read(head, nil, nil, from(altered, &asked)); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "other contents") {
			t.Errorf("altered %x: %v", d, err)
		}
	}
	named := func(data []byte) ([]byte, Objects) {
		objects := maps.Clone(tree.Objects)
		d := Sum(data)
		objects[d] = data
		return d[:], objects
	}
	manifest, err := proto.Marshal(&pb.Manifest{Entries: []*pb.ManifestEntry{{Kind: "Region", Parts: [][]byte{{1, 2, 3}}, Count: 1, Size: 3}}})
	if err != nil {
		t.Fatal(err)
	}
	huge, err := proto.Marshal(&pb.Manifest{Entries: []*pb.ManifestEntry{{Kind: "Region", Parts: [][]byte{make([]byte, 32)}, Count: 1, Size: 1 << 50}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		edit      func(h *pb.Head) Objects
		want      string
		mostAsked int
	}{
		{"no digests", func(h *pb.Head) Objects { h.Reset(); return tree.Objects }, "0 bytes, want 32", 0},
		{"short digest", func(h *pb.Head) Objects { h.Overrides = h.Overrides[:31]; return tree.Objects }, "31 bytes, want 32", 0},
		{"not a manifest", func(h *pb.Head) (o Objects) { h.Manifest, o = named([]byte{0xff}); return o }, "manifest", 2},
		{"not an override set", func(h *pb.Head) (o Objects) { h.Overrides, o = named([]byte{0xff}); return o }, "override set", 2},
		{"manifest names parts by less than a digest", func(h *pb.Head) (o Objects) { h.Manifest, o = named(manifest); return o }, "3 bytes", 2},
		{"manifest of more than may be", func(h *pb.Head) (o Objects) { h.Manifest, o = named(huge); return o }, "at most", 2},
	} {
		h := proto.CloneOf(head)
		objects := c.edit(h)
		asked = nil
		_, err := Read(h, nil, nil, from(objects, &asked))
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if len(asked) > c.mostAsked {
			t.Errorf("%s: asked for %d objects before it was refused", c.name, len(asked))
		}
	}
	broken := errors.New("connection reset")
	if _, err := Read(head, nil, nil, func([]Digest) (Objects, error) { return nil, broken }); !errors.Is(err, broken) || errors.Is(err, ErrDamaged) {
		t.Errorf("a fault of the way is called damage: %v", err)
	}
}

// TestReadExtra: objects that nobody asked for are not kept, whoever sends them.
func TestReadExtra(t *testing.T) {
	tree, head := write(t, load(t, sample), nil, nil, nil)
	extra := maps.Clone(tree.Objects)
	extra[Sum([]byte("more"))] = []byte("more")
	got := read(t, head, nil, nil, func([]Digest) (Objects, error) { return extra, nil })
	sameTree(t, got, tree)
}

// TestNewerOverrideSet (invariant 4): all that stands beside the overrides, and what
// a newer version puts there, survives a change of the configuration.
func TestNewerOverrideSet(t *testing.T) {
	o := &pb.OverrideSet{
		Releases:       []*pb.LatchRelease{{Latch: "guard", Trip: 4, Author: "ana"}},
		Scheduled:      []*pb.Override{drain("later", &pb.OverrideScope{Region: "us-east"})},
		BreakGlassEnds: []*pb.BreakGlassEnd{{Id: "bg-1", Author: "ana"}},
		ChangeTime:     &timestamppb.Timestamp{Seconds: 1},
	}
	o.ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 0x01}) // 127: varint 1
	tree, head, err := Write(load(t, sample), o, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var asked []Digest
	got := read(t, head, nil, nil, from(tree.Objects, &asked))
	sameTree(t, got, tree)
	changed := change(t, got.Set, config.Key{Kind: config.KindService, Name: "www.example.test"}, func(r *pb.Resource) {
		r.GetService().Spec.Endpoints[0].Weight = proto.Uint32(7)
	})
	next, nextHead, err := Write(changed, got.OverrideSet(), got, head)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(nextHead.GetOverrides(), head.GetOverrides()) || len(next.Releases) != 1 || !proto.Equal(next.OverrideSet(), o) {
		t.Errorf("%x became %x: %v", head.GetOverrides(), nextHead.GetOverrides(), next.Releases)
	}
	mine := got.OverrideSet()
	mine.Overrides = append(mine.Overrides, drain("o1", &pb.OverrideScope{Region: "eu-west"}))
	if len(got.Overrides) != 0 {
		t.Error("the message that was handed out is the tree's own")
	}
}

// TestNewerOverride (invariant 4): an override that this version does not
// understand survives reading and writing, byte by byte, and is not obeyed.
func TestNewerOverride(t *testing.T) {
	set := load(t, sample)
	action := drain("o1", &pb.OverrideScope{Region: "eu-west"})
	action.Action = 99
	field := drain("o2", &pb.OverrideScope{Region: "eu-west"})
	field.ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 0x01}) // 127: varint 1
	scope := drain("o3", &pb.OverrideScope{Region: "eu-west"})
	scope.Scope.ProtoReflect().SetUnknown([]byte{0xfa, 0x07, 0x01, 'x'}) // 127: "x"
	tree, head := write(t, set, []*pb.Override{action, field, scope}, nil, nil)
	var asked []Digest
	got := read(t, head, nil, nil, from(tree.Objects, &asked))
	again, _ := write(t, got.Set, got.Overrides, got, head)
	if !maps.EqualFunc(again.Objects, tree.Objects, bytes.Equal) {
		t.Error("it did not survive")
	}
	p := compile(t, got.Set).With(testGeneration, got.OverrideSet())
	if len(p.Overrides) != 1 || p.Overrides[0].ID != "o2" || !slices.Equal(p.Ignored, []string{"o1", "o3"}) {
		t.Errorf("obeyed %+v, ignored %v", p.Overrides, p.Ignored)
	}
}
