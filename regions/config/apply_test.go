package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// TestApplyTwice: what was applied is applied already, whichever way it is
// given again: as it was, in another order, as text, with the serials that
// controllers keep, by way of the store, with the etags that get shows.
func TestApplyTwice(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		base := mustSet(t, anySet(rt, "base"))
		unknown := &pb.Resource{}
		unknown.ProtoReflect().SetUnknown([]byte{0xea, 0x04, 0x01, 'x'}) // field 77
		base.unknown = []Unknown{{"Pool", unknown}}
		incoming := anySet(rt, "incoming")
		for i, r := range base.All() {
			if i%2 == 0 {
				incoming = append(incoming, proto.CloneOf(r))
			}
		}
		incoming = distinct(incoming)
		prune := rapid.Bool().Draw(rt, "prune")
		next, diff, err := Merge(base, incoming, prune)
		if err != nil {
			rt.Fatal(err)
		}
		checkEffect(rt, base, next, diff, incoming, prune)

		shuffled, other, err := Merge(base, rapid.Permutation(incoming).Draw(rt, "order"), prune)
		if err != nil {
			rt.Fatal(err)
		}
		if d := cmp.Diff(diff.Changes, other.Changes, protocmp.Transform()); d != "" || len(Compare(next, shuffled).Changes) > 0 {
			rt.Fatalf("another order gives another set: %s", d)
		}

		bumped := BumpSerials(base, next, diff.Changes, 100)
		manifest, objects := mustSplit(t, bumped)
		joined, err := Join(manifest, store{}.put(objects).get)
		if err != nil {
			rt.Fatal(err)
		}
		var shown []*pb.Resource
		for _, r := range incoming {
			shown = append(shown, WithEtag(bumped.Get(KeyOf(r))))
		}
		if err := CheckEtags(joined, shown); err != nil {
			rt.Fatal(err)
		}
		text, err := Marshal(shown)
		if err != nil {
			rt.Fatal(err)
		}
		docs, err := Load(Source{File: "again", Data: text})
		if err != nil {
			rt.Fatal(err)
		}
		for name, c := range map[string]struct {
			set       *Set
			resources []*pb.Resource
		}{
			"the same":                {next, incoming},
			"with serials":            {bumped, incoming},
			"from the store":          {joined, incoming},
			"as get shows it":         {joined, shown},
			"as text":                 {bumped, resourcesOf(docs)},
			"as text, from the store": {joined, resourcesOf(docs)},
		} {
			again, diff, err := Merge(c.set, c.resources, prune)
			if err != nil {
				rt.Fatal(err)
			}
			if len(diff.Changes) > 0 || diff.Unchanged != len(incoming) {
				rt.Fatalf("%s: %d unchanged of %d, changes %v", name, diff.Unchanged, len(incoming), diff.Changes)
			}
			// They are the very ones, by which Validate and Tree know them.
			for i, r := range again.All() {
				if r != c.set.All()[i] {
					rt.Fatalf("%s: %v is another one", name, KeyOf(r))
				}
			}
			if m, _ := mustSplit(t, again); c.set != next && !proto.Equal(m, manifest) {
				rt.Fatalf("%s: another tree", name)
			}
		}
	})
}

// distinct keeps the last of resources with the same key.
func distinct(list []*pb.Resource) []*pb.Resource {
	last := map[Key]int{}
	for i, r := range list {
		last[KeyOf(r)] = i
	}
	var out []*pb.Resource
	for i, r := range list {
		if last[KeyOf(r)] == i {
			out = append(out, r)
		}
	}
	return out
}

// checkEffect: a diff tells all of a change and nothing else; prune takes away
// what is not given, and nothing that is.
func checkEffect(t *rapid.T, base, next *Set, diff Diff, incoming []*pb.Resource, prune bool) {
	after := map[Key]*pb.Resource{}
	for _, r := range base.All() {
		after[KeyOf(r)] = r
	}
	given := map[Key]bool{}
	for _, r := range incoming {
		given[KeyOf(r)] = true
	}
	for _, c := range diff.Changes {
		switch {
		case c.Before != nil && after[KeyOf(c.Before)] != c.Before:
			t.Fatalf("%v was not so", KeyOf(c.Before))
		case c.After == nil && (!prune || given[KeyOf(c.Before)]):
			t.Fatalf("%v is deleted", KeyOf(c.Before))
		case c.After == nil:
			delete(after, KeyOf(c.Before))
		case !given[KeyOf(c.After)] || c.Before == nil && after[KeyOf(c.After)] != nil:
			t.Fatalf("%v is changed", KeyOf(c.After))
		case c.Before != nil && Etag(c.Before) == Etag(c.After):
			t.Fatalf("%v does not change", KeyOf(c.After))
		default:
			after[KeyOf(c.After)] = c.After
		}
	}
	if len(after) != next.Len() {
		t.Fatalf("%d resources, the diff leads to %d", next.Len(), len(after))
	}
	for _, r := range next.All() {
		if after[KeyOf(r)] != r {
			t.Fatalf("%v is not as the diff says", KeyOf(r))
		}
		if prune && !given[KeyOf(r)] {
			t.Fatalf("%v was not given and is there", KeyOf(r))
		}
	}
	if len(next.Unknown()) != len(base.Unknown()) {
		t.Fatal("what this version does not know is gone")
	}
}
