package config

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// store keeps objects by their id.
type store map[Digest][]byte

func (s store) put(objects [][]byte) store {
	for _, o := range objects {
		s[DigestOf(o)] = o
	}
	return s
}

func (s store) get(id Digest) ([]byte, bool) {
	o, ok := s[id]
	return o, ok
}

func mustSplit(t testing.TB, set *Set) (*pb.Manifest, [][]byte) {
	t.Helper()
	m, objects, err := Split(set)
	if err != nil {
		t.Fatal(err)
	}
	return m, objects
}

func mustSet(t testing.TB, resources []*pb.Resource) *Set {
	t.Helper()
	set, err := NewSet(resources)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// TestSplitJoin: what is split and joined is the same, and the order in which
// the resources came does not show in the objects.
func TestSplitJoin(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		resources := anySet(rt, "set")
		set := mustSet(t, resources)
		m, objects := mustSplit(t, set)
		shuffled := mustSet(t, rapid.Permutation(resources).Draw(rt, "order"))
		m2, objects2 := mustSplit(t, shuffled)
		if !proto.Equal(m, m2) || !slices.EqualFunc(objects, objects2, bytes.Equal) {
			rt.Fatal("equal sets give different trees")
		}
		if got, want := Parts(m), len(objects); len(got) != want {
			rt.Fatalf("manifest names %d objects, there are %d", len(got), want)
		}
		joined, err := Join(m, store{}.put(objects).get)
		if err != nil {
			rt.Fatal(err)
		}
		if d := cmp.Diff(set.All(), joined.All(), protocmp.Transform()); d != "" {
			rt.Fatal(d)
		}
	})
}

func TestBucketBits(t *testing.T) {
	for _, c := range []struct{ n, want int }{{1, 0}, {128, 0}, {129, 1}, {256, 1}, {257, 2}, {512, 2}, {100_000, 10}, {1_000_000, 13}} {
		if got := bucketBits(c.n, 128); got != c.want {
			t.Errorf("%d resources: %d bits, want %d", c.n, got, c.want)
		}
		if mean := float64(c.n) / float64(int(1)<<bucketBits(c.n, 128)); mean > 128 || c.n > 128 && mean <= 64 {
			t.Errorf("%d resources: %v in a chunk", c.n, mean)
		}
	}
}

// TestOneChangeTouchesOneChunk: of the objects of 5,000 services, a change of
// one replaces one, and its zone's serial one more.
func TestOneChangeTouchesOneChunk(t *testing.T) {
	base := mustSet(t, fleet(5_000))
	_, objects := mustSplit(t, base)
	have := store{}.put(objects)
	changed := proto.CloneOf(base.Get(Key{KindService, "s777.z7.example.test"}))
	changed.GetService().Spec.Endpoints[0].Addresses = []string{"192.0.2.1"}
	for _, c := range []struct {
		name string
		with func(*Set, Diff) *Set
		want int
	}{
		{"the service alone", func(next *Set, _ Diff) *Set { return next }, 1},
		{"with its zone's serial", func(next *Set, d Diff) *Set { return BumpSerials(base, next, d.Changes, 100) }, 2},
	} {
		next, diff, err := Merge(base, []*pb.Resource{changed}, false)
		if err != nil {
			t.Fatal(err)
		}
		_, after := mustSplit(t, c.with(next, diff))
		fresh := 0
		for _, o := range after {
			if _, ok := have.get(DigestOf(o)); !ok {
				fresh++
			}
			if len(o) > MaxObjectSize {
				t.Errorf("an object has %d bytes", len(o))
			}
		}
		if fresh != c.want {
			t.Errorf("%s: %d new objects of %d, want %d", c.name, fresh, len(after), c.want)
		}
	}
}

// TestTreeNext: a tree made out of another is the one made from nothing, and
// the two together have all objects.
func TestTreeNext(t *testing.T) {
	pool := fleet(160)
	services := pool[len(pool)-160:]
	rapid.Check(t, func(rt *rapid.T) {
		some := func(label string) []*pb.Resource {
			picked := slices.Clone(pool[:len(pool)-160])
			from := rapid.IntRange(0, 159).Draw(rt, label)
			picked = append(picked, services[from:rapid.IntRange(from, 160).Draw(rt, label)]...)
			return picked
		}
		base := mustSet(t, some("base"))
		tree, objects, err := NewTree(base)
		if err != nil {
			rt.Fatal(err)
		}
		have := store{}.put(objects)
		for range 2 {
			incoming := some("incoming")
			for i := range rapid.IntRange(0, min(5, len(incoming))).Draw(rt, "changes") {
				r := &incoming[len(incoming)-1-i]
				*r = proto.CloneOf(*r)
				Metadata(*r).Labels = map[string]string{"n": rapid.StringN(1, 3, -1).Draw(rt, "label")}
			}
			next, diff, err := Merge(tree.Set(), incoming, rapid.Bool().Draw(rt, "prune"))
			if err != nil {
				rt.Fatal(err)
			}
			next = BumpSerials(tree.Set(), next, diff.Changes, 5)
			tree, objects, err = tree.Next(next)
			if err != nil {
				rt.Fatal(err)
			}
			have.put(objects)
			want, _ := mustSplit(t, next)
			if !proto.Equal(tree.Manifest(), want) {
				rt.Fatal("differs from the tree made from nothing")
			}
			if _, err := Join(tree.Manifest(), have.get); err != nil {
				rt.Fatal(err)
			}
		}
	})
}

// TestLargeChunks: a chunk larger than an object is cut, and put together.
func TestLargeChunks(t *testing.T) {
	var resources []*pb.Resource
	for i := range 3 {
		resources = append(resources, &pb.Resource{Kind: &pb.Resource_Zone{Zone: &pb.Zone{
			Metadata: &pb.Metadata{Name: fmt.Sprintf("z%d.test", i)},
			Spec:     &pb.ZoneSpec{Nameservers: []string{"ns.test"}, Records: string(bytes.Repeat([]byte("a A 192.0.2.1\n"), 60_000+i))},
		}}})
	}
	set := mustSet(t, resources)
	m, objects := mustSplit(t, set)
	if len(m.Entries) != 1 || len(m.Entries[0].Parts) != 3 {
		t.Fatalf("manifest %v, want one chunk of three parts", m)
	}
	joined, err := Join(m, store{}.put(objects).get)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(set.All(), joined.All(), protocmp.Transform()); d != "" {
		t.Fatal(d)
	}
}

// TestJoinRefuses breaks the tree in every way.
func TestJoinRefuses(t *testing.T) {
	set := mustSet(t, fleet(300))
	type tree struct {
		m *pb.Manifest
		s store
	}
	// remake puts a chunk of other contents in the place of an entry.
	remake := func(tr tree, i int, chunk []byte, count uint32) {
		id := DigestOf(chunk)
		tr.s[id] = chunk
		tr.m.Entries[i] = &pb.ManifestEntry{Kind: tr.m.Entries[i].Kind, Parts: [][]byte{id[:]}, Count: count, Size: uint64(len(chunk))}
	}
	chunkOf := func(resources ...*pb.Resource) []byte {
		b, err := Canonical(&pb.Chunk{Resources: resources})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	region := set.Get(Key{KindRegion, "r1"})
	cases := map[string]struct {
		want  error
		spoil func(tree)
	}{
		"missing object": {ErrMissingObject, func(tr tree) { delete(tr.s, Digest(tr.m.Entries[0].Parts[0])) }},
		"altered object": {ErrCorrupt, func(tr tree) {
			id := Digest(tr.m.Entries[0].Parts[0])
			tr.s[id] = append([]byte{}, tr.s[id]...)
			tr.s[id][7] ^= 1
		}},
		"wrong size":       {ErrCorrupt, func(tr tree) { tr.m.Entries[0].Size++ }},
		"count too low":    {ErrCorrupt, func(tr tree) { tr.m.Entries[0].Count-- }},
		"count too high":   {ErrCorrupt, func(tr tree) { tr.m.Entries[0].Count++ }},
		"no kind":          {ErrCorrupt, func(tr tree) { tr.m.Entries[0].Kind = "" }},
		"other kind":       {ErrCorrupt, func(tr tree) { tr.m.Entries[0].Kind = KindZone }},
		"known as unknown": {ErrCorrupt, func(tr tree) { tr.m.Entries[0].Kind = "Pool" }},
		"no parts":         {ErrCorrupt, func(tr tree) { tr.m.Entries[0].Parts = nil }},
		"short digest":     {ErrCorrupt, func(tr tree) { tr.m.Entries[0].Parts[0] = []byte{1} }},
		"an entry twice":   {ErrCorrupt, func(tr tree) { tr.m.Entries = append(tr.m.Entries, tr.m.Entries[0]) }},
		"a resource twice": {ErrCorrupt, func(tr tree) { remake(tr, 0, chunkOf(region, region), 2) }},
		"no chunk":         {ErrCorrupt, func(tr tree) { remake(tr, 0, []byte{0xff, 0xff}, 1) }},
		"no resource":      {ErrCorrupt, func(tr tree) { remake(tr, 0, protowire.AppendBytes([]byte{0x0a}, []byte{0x0a, 0x05}), 1) }},
		"kind mixed in":    {ErrCorrupt, func(tr tree) { remake(tr, 0, chunkOf(set.ByKind(KindZone)...), 4) }},
		"object too large": {ErrTooLarge, func(tr tree) {
			remake(tr, 0, chunkOf(region), 1)
			tr.s[Digest(tr.m.Entries[0].Parts[0])] = make([]byte, MaxObjectSize+1)
		}},
		"chunk too large":     {ErrTooLarge, func(tr tree) { tr.m.Entries[0].Size = maxChunkSize + 1 }},
		"count over limits":   {ErrTooLarge, func(tr tree) { tr.m.Entries[0].Count = maxJoinCount + 1 }},
		"entries over limits": {ErrTooLarge, func(tr tree) { tr.m.Entries = make([]*pb.ManifestEntry, maxEntries+1) }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			m, objects := mustSplit(t, set)
			tr := tree{m, store{}.put(objects)}
			c.spoil(tr)
			if _, err := Join(tr.m, tr.s.get); !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
}

// TestNewerVersion: kinds and fields that this version does not know are
// carried through Join, Merge and Split, byte for byte.
func TestNewerVersion(t *testing.T) {
	newField := protowire.AppendString(protowire.AppendTag(nil, 900, protowire.BytesType), "later")
	service := &pb.Service{
		Metadata: &pb.Metadata{Name: "www.example.test"},
		Spec:     &pb.ServiceSpec{Zone: "example.test", Policy: "nearest", Endpoints: []*pb.Endpoint{{Name: "a", Region: "r1", Addresses: []string{"192.0.2.1"}}}},
	}
	for _, m := range []proto.Message{service, service.Metadata, service.Spec, service.Spec.Endpoints[0]} {
		m.ProtoReflect().SetUnknown(newField)
	}
	// A field between known ones: canonical bytes are in the order of numbers.
	set := mustSet(t, []*pb.Resource{{Kind: &pb.Resource_Service{Service: service}}})
	pool := func(n int) []byte { // a Resource of a kind with number 77
		return protowire.AppendString(protowire.AppendTag(nil, 77, protowire.BytesType), fmt.Sprint("pool ", n))
	}
	for n := range 300 {
		r := &pb.Resource{}
		r.ProtoReflect().SetUnknown(pool(n))
		set.unknown = append(set.unknown, Unknown{"Pool", r})
	}
	if err := sortUnknown(set.unknown); err != nil {
		t.Fatal(err)
	}
	m, objects := mustSplit(t, set)

	joined, err := Join(m, store{}.put(objects).get)
	if err != nil {
		t.Fatal(err)
	}
	if joined.Len() != 1 || len(joined.Unknown()) != 300 {
		t.Fatalf("%d known, %d unknown", joined.Len(), len(joined.Unknown()))
	}
	next, _, err := Merge(joined, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := Validate(next, Options{Base: joined}); err != nil {
		t.Errorf("what was there stops a change elsewhere: %v", err)
	}
	again, objectsAgain := mustSplit(t, next)
	if !proto.Equal(m, again) || !slices.EqualFunc(objects, objectsAgain, bytes.Equal) {
		t.Error("changed on the way")
	}
}

func TestCanonicalOrder(t *testing.T) {
	// What an old version makes of a message with fields 3 and 900 known to a
	// newer one, and what that makes of it, have the same canonical bytes.
	spec := &pb.ServiceSpec{Zone: "example.test", Policy: "nearest"}
	known, err := Canonical(&pb.Service{Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	policy := protowire.AppendString(protowire.AppendTag(nil, 3, protowire.BytesType), "nearest")
	zone := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "example.test")
	// As a message without known fields would be marshalled: in any order.
	raw := protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), append(policy, zone...))
	md := (&pb.Service{}).ProtoReflect().Descriptor()
	if isCanonical(md, raw) {
		t.Error("takes fields out of order for canonical")
	}
	if got := appendCanonical(nil, md, raw); !bytes.Equal(got, known) {
		t.Errorf("canonical %x, want %x", got, known)
	}
}

// FuzzJoin: no bytes crash it; what it accepts, Split gives back.
func FuzzJoin(f *testing.F) {
	m, objects, err := Split(mustSet(f, fleet(2)))
	if err != nil {
		f.Fatal(err)
	}
	for i, o := range objects {
		f.Add(m.Entries[i].Kind, o, m.Entries[i].Count)
	}
	f.Add("Pool", []byte{0x0a, 0x00}, uint32(1))
	f.Fuzz(func(t *testing.T, kind string, chunk []byte, count uint32) {
		id := DigestOf(chunk)
		m := &pb.Manifest{Entries: []*pb.ManifestEntry{{Kind: kind, Parts: [][]byte{id[:]}, Count: count, Size: uint64(len(chunk))}}}
		set, err := Join(m, store{id: chunk}.get)
		if err != nil {
			return
		}
		m2, objects, err := Split(set)
		if err != nil {
			t.Fatalf("accepted, but cannot be split: %v", err)
		}
		again, err := Join(m2, store{}.put(objects).get)
		if err != nil {
			t.Fatal(err)
		}
		m3, _, err := Split(again)
		if err != nil || !proto.Equal(m2, m3) {
			t.Fatalf("split again differs: %v", err)
		}
		_ = Validate(set, Options{})
	})
}

func BenchmarkSplit(b *testing.B) {
	set := mustSet(b, fleet(100_000))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Split(set); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTreeNext(b *testing.B) {
	base := mustSet(b, fleet(100_000))
	tree, _, err := NewTree(base)
	if err != nil {
		b.Fatal(err)
	}
	changed := proto.CloneOf(base.Get(Key{KindService, "s777.z7.example.test"}))
	changed.GetService().Spec.Endpoints[0].Addresses = []string{"192.0.2.1"}
	next, diff, err := Merge(base, []*pb.Resource{changed}, false)
	if err != nil {
		b.Fatal(err)
	}
	next = BumpSerials(base, next, diff.Changes, 100)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := tree.Next(next); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJoin(b *testing.B) {
	m, objects := mustSplit(b, mustSet(b, fleet(100_000)))
	s := store{}.put(objects)
	size := 0
	for _, o := range objects {
		size += len(o)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Join(m, s.get); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(size), "bytes")
	b.ReportMetric(float64(len(objects)), "objects")
}

func BenchmarkValidate(b *testing.B) {
	set := mustSet(b, fleet(100_000))
	b.ReportAllocs()
	for b.Loop() {
		if err := Validate(set, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkApplyOne(b *testing.B) {
	base := mustSet(b, fleet(100_000))
	changed := proto.CloneOf(base.Get(Key{KindService, "s777.z7.example.test"}))
	changed.GetService().Spec.Endpoints[0].Addresses = []string{"192.0.2.1"}
	b.ReportAllocs()
	for b.Loop() {
		next, diff, err := Merge(base, []*pb.Resource{changed}, false)
		if err != nil {
			b.Fatal(err)
		}
		next = BumpSerials(base, next, diff.Changes, 100)
		if err := Validate(next, Options{Base: base}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMergeAll(b *testing.B) {
	base := mustSet(b, fleet(100_000))
	again := fleet(100_000)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Merge(base, again, true); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	text, err := Marshal(mustSet(b, fleet(10_000)).All())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load(Source{File: "f", Data: text}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMarshal(b *testing.B) {
	all := mustSet(b, fleet(10_000)).All()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Marshal(all); err != nil {
			b.Fatal(err)
		}
	}
}
