package plan

import (
	"fmt"
	"maps"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
)

// bare is a zone with n services, which need no more to be cut into chunks.
func bare(t testing.TB, n int) *config.Set {
	t.Helper()
	list := []*pb.Resource{{Kind: &pb.Resource_Zone{Zone: &pb.Zone{Metadata: &pb.Metadata{Name: "example.test"}, Spec: &pb.ZoneSpec{}}}}}
	for i := range n {
		list = append(list, bareService(i, 30))
	}
	set, err := config.NewSet(list)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func bareService(i int, weight uint32) *pb.Resource {
	return &pb.Resource{Kind: &pb.Resource_Service{Service: &pb.Service{
		Metadata: &pb.Metadata{Name: fmt.Sprintf("s%d.example.test", i)},
		Spec: &pb.ServiceSpec{Zone: "example.test", Policy: "p", Endpoints: []*pb.Endpoint{
			{Name: "e", Region: "r", Addresses: []string{"192.0.2.1"}, Weight: &weight},
		}},
	}}}
}

// What is written out of a known tree, which was written or read, is what is
// written from nothing.
func TestWriteNext(t *testing.T) {
	first := bare(t, 300)
	rapid.Check(t, func(t *rapid.T) {
		set := first
		known, head, err := Write(set, nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 3).Draw(t, "changes") {
			var changed []*pb.Resource
			for range rapid.IntRange(0, 3).Draw(t, "services") {
				i := rapid.IntRange(0, 320).Draw(t, "service")
				changed = append(changed, bareService(i, uint32(rapid.IntRange(1, 3).Draw(t, "weight"))))
			}
			next, _, err := config.Merge(set, dedupe(changed), rapid.IntRange(0, 9).Draw(t, "prune") == 0)
			if err != nil {
				t.Fatal(err)
			}
			tree, nextHead, err := Write(next, nil, known, head)
			if err != nil {
				t.Fatal(err)
			}
			want, wantHead, err := Write(next, nil, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(nextHead, wantHead) || !maps.EqualFunc(tree.Objects, want.Objects, func(a, b []byte) bool { return string(a) == string(b) }) {
				t.Fatalf("%d objects, want %d", len(tree.Objects), len(want.Objects))
			}
			set, known, head = next, tree, nextHead
			switch rapid.IntRange(0, 2).Draw(t, "then") {
			case 1: // as another controller has it
				if known, err = Read(head, nil, nil, func([]Digest) (Objects, error) { return tree.Objects, nil }); err != nil {
					t.Fatal(err)
				}
				set = known.Set
			case 2: // as another version may have cut it
				known.Objects = Objects{}
			}
		}
	})
}

func dedupe(list []*pb.Resource) (out []*pb.Resource) {
	seen := map[config.Key]bool{}
	for _, r := range list {
		if !seen[config.KeyOf(r)] {
			seen[config.KeyOf(r)] = true
			out = append(out, r)
		}
	}
	return out
}

// A set is compiled once, however many trees have it.
func TestCompileOnce(t *testing.T) {
	set := load(t, sample)
	tree, head := write(t, set, nil, nil, nil)
	base, err := tree.Compile()
	if err != nil {
		t.Fatal(err)
	}
	other, _ := write(t, set, []*pb.Override{{Id: "o"}}, tree, head)
	if again, err := other.Compile(); again != base || err != nil {
		t.Errorf("compiled again: %v", err)
	}
	read := read(t, head, tree, head, from(tree.Objects, nil))
	if again, err := read.Compile(); again != base || err != nil {
		t.Errorf("compiled again: %v", err)
	}
	given, _ := write(t, set, nil, nil, nil)
	given.Compiled(base)
	if again, err := given.Compile(); again != base || err != nil {
		t.Errorf("what was handed over is not taken: %v", err)
	}
	if got, err := (&Tree{Set: set}).Compile(); got == nil || err != nil {
		t.Errorf("a tree that nobody wrote: %v", err)
	}
}

func BenchmarkWriteOneOfHundredThousand(b *testing.B) {
	set := bare(b, 100_000)
	known, head, err := Write(set, nil, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	next, _, err := config.Merge(set, []*pb.Resource{bareService(777, 1)}, false)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Write(next, nil, known, head); err != nil {
			b.Fatal(err)
		}
	}
}
