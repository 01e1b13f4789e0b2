package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// Set is a whole configuration: resources with unique keys. It does not
// change; neither may the resources that it holds. Their etags are empty:
// WithEtag fills them in.
type Set struct {
	byKind  [][]named // by index in kinds, each sorted by name
	unknown []Unknown // sorted by kind, then digest
}

type named struct {
	name string
	r    *pb.Resource
	size int // of its encoding
}

// Unknown is a resource of a kind that this version does not know. A Set
// carries it from Join to Split.
type Unknown struct {
	Kind     string
	Resource *pb.Resource
}

// NewSet makes a set of resources, which it takes over and brings into
// canonical form (Default). Two with the same key are an error.
func NewSet(resources []*pb.Resource) (*Set, error) {
	s := &Set{byKind: make([][]named, len(kinds))}
	var errs Errors
	for i, r := range resources {
		k := resourceKind(r)
		if k < 0 {
			errs = append(errs, FieldError{Path: fmt.Sprintf("resources[%d]", i), Message: "is of no kind that this version knows" + wantOneOf("", Kinds())})
			continue
		}
		Default(r)
		Metadata(r).Etag = ""
		s.byKind[k] = append(s.byKind[k], named{Name(r), r, proto.Size(r)})
	}
	errs = append(errs, s.sort()...)
	return s, errs.err()
}

// sort brings s into order and reports keys that occur twice.
func (s *Set) sort() (errs Errors) {
	for k, list := range s.byKind {
		slices.SortStableFunc(list, func(a, b named) int { return strings.Compare(a.name, b.name) })
		for i := 1; i < len(list); i++ {
			if list[i].name == list[i-1].name {
				errs = append(errs, FieldError{Kind: kinds[k].name, Name: list[i].name, Message: "is given twice; want it once"})
			}
		}
	}
	return errs
}

// Get returns a resource, or nil.
func (s *Set) Get(key Key) *pb.Resource {
	k := kindIndex(key.Kind)
	if k < 0 {
		return nil
	}
	list := s.kind(k)
	if i, ok := slices.BinarySearchFunc(list, key.Name, func(n named, name string) int { return strings.Compare(n.name, name) }); ok {
		return list[i].r
	}
	return nil
}

// All returns the resources in dependency order of their kinds, then by name.
func (s *Set) All() []*pb.Resource {
	all := make([]*pb.Resource, 0, s.Len())
	for k := range kinds {
		for _, n := range s.kind(k) {
			all = append(all, n.r)
		}
	}
	return all
}

// ByKind returns the resources of a kind, sorted by name.
func (s *Set) ByKind(kind string) []*pb.Resource {
	k := kindIndex(kind)
	if k < 0 {
		return nil
	}
	out := make([]*pb.Resource, len(s.kind(k)))
	for i, n := range s.kind(k) {
		out[i] = n.r
	}
	return out
}

// Names returns the names of a kind, sorted.
func (s *Set) Names(kind string) []string {
	k := kindIndex(kind)
	if k < 0 {
		return nil
	}
	out := make([]string, len(s.kind(k)))
	for i, n := range s.kind(k) {
		out[i] = n.name
	}
	return out
}

// Count returns how many resources of a kind there are.
func (s *Set) Count(kind string) int {
	if k := kindIndex(kind); k >= 0 {
		return len(s.kind(k))
	}
	return 0
}

// Len returns how many resources there are, those of unknown kinds not
// counted.
func (s *Set) Len() int {
	n := 0
	for k := range kinds {
		n += len(s.kind(k))
	}
	return n
}

// Unknown returns the resources of kinds that this version does not know.
func (s *Set) Unknown() []Unknown {
	if s == nil {
		return nil
	}
	return slices.Clone(s.unknown)
}

// kind is the list of a kind by its index; s may be nil.
func (s *Set) kind(k int) []named {
	if s == nil {
		return nil
	}
	return s.byKind[k]
}

func (s *Set) zone(name string) *pb.Zone { return s.Get(Key{KindZone, name}).GetZone() }

func (s *Set) region(name string) *pb.Region { return s.Get(Key{KindRegion, name}).GetRegion() }

// Diff is what leads from one set to another.
type Diff struct {
	// In dependency order of the kinds, then by name.
	Changes   []*pb.Change
	Unchanged int
}

// Merge returns base with resources created and updated, and with prune
// without those that are not among resources. A zone keeps its status. A
// resource that does not differ by its etag stays the one of base, the same
// pointer, by which Validate knows it again. The error is an Errors: a key
// twice, or no kind.
func Merge(base *Set, resources []*pb.Resource, prune bool) (*Set, Diff, error) {
	incoming := make([]*pb.Resource, len(resources))
	for i, r := range resources {
		incoming[i] = proto.CloneOf(r)
	}
	in, err := NewSet(incoming)
	if err != nil {
		return nil, Diff{}, err
	}
	next := &Set{byKind: make([][]named, len(kinds)), unknown: base.Unknown()}
	var diff Diff
	for k := range kinds {
		old := base.kind(k)
		if len(in.byKind[k]) == 0 && !prune {
			next.byKind[k] = old
			continue
		}
		next.byKind[k] = make([]named, 0, max(len(old), len(in.byKind[k])))
		walk(old, in.byKind[k], func(before, after named) {
			switch {
			case after.r == nil && prune:
				diff.add(pb.ChangeAction_CHANGE_ACTION_DELETE, before.r, nil)
				return
			case after.r == nil:
				// Not mentioned: it is neither changed nor counted.
				after = before
			case before.r == nil:
				dropStatus(after.r)
				diff.add(pb.ChangeAction_CHANGE_ACTION_CREATE, nil, after.r)
			case Etag(before.r) == Etag(after.r):
				diff.Unchanged++
				after = before
			default:
				keepStatus(before.r, after.r)
				diff.add(pb.ChangeAction_CHANGE_ACTION_UPDATE, before.r, after.r)
			}
			next.byKind[k] = append(next.byKind[k], after)
		})
	}
	return next, diff, nil
}

// Delete returns base without a resource; ok is false if it has none.
func Delete(base *Set, key Key) (next *Set, diff Diff, ok bool) {
	gone := base.Get(key)
	if gone == nil {
		return base, Diff{}, false
	}
	k := kindIndex(key.Kind)
	next = &Set{byKind: slices.Clone(base.byKind), unknown: base.unknown}
	next.byKind[k] = slices.DeleteFunc(slices.Clone(base.byKind[k]), func(n named) bool { return n.name == key.Name })
	diff.add(pb.ChangeAction_CHANGE_ACTION_DELETE, gone, nil)
	return next, diff, true
}

// Compare returns what leads from one set to another, for diff and rollback.
func Compare(from, to *Set) Diff {
	var diff Diff
	for k := range kinds {
		walk(from.kind(k), to.kind(k), func(before, after named) {
			switch {
			case after.r == nil:
				diff.add(pb.ChangeAction_CHANGE_ACTION_DELETE, before.r, nil)
			case before.r == nil:
				diff.add(pb.ChangeAction_CHANGE_ACTION_CREATE, nil, after.r)
			case before.r == after.r || Etag(before.r) == Etag(after.r):
				diff.Unchanged++
			default:
				diff.add(pb.ChangeAction_CHANGE_ACTION_UPDATE, before.r, after.r)
			}
		})
	}
	return diff
}

func (d *Diff) add(action pb.ChangeAction, before, after *pb.Resource) {
	d.Changes = append(d.Changes, &pb.Change{Action: action, Before: before, After: after})
}

// walk visits the names of two sorted lists in order; a side that lacks the
// name is zero.
func walk(a, b []named, visit func(a, b named)) {
	for len(a) > 0 || len(b) > 0 {
		order := 0
		switch {
		case len(a) == 0:
			order = 1
		case len(b) == 0:
			order = -1
		default:
			order = cmp.Compare(a[0].name, b[0].name)
		}
		switch order {
		case -1:
			visit(a[0], named{})
			a = a[1:]
		case 1:
			visit(named{}, b[0])
			b = b[1:]
		default:
			visit(a[0], b[0])
			a, b = a[1:], b[1:]
		}
	}
}

// CheckEtags reports the resources that carry an etag which is not that of
// the one in base: somebody else changed it after the caller read it. One
// that would change nothing is let through.
func CheckEtags(base *Set, resources []*pb.Resource) error {
	var errs Errors
	for _, r := range resources {
		want := Metadata(r).GetEtag()
		if want == "" {
			continue
		}
		key := Key{Kind(r), canonicalName(Name(r))}
		have := ""
		if stored := base.Get(key); stored != nil {
			have = Etag(stored)
		}
		if want == have {
			continue
		}
		canonical := proto.CloneOf(r)
		Default(canonical)
		if Etag(canonical) == have {
			continue
		}
		message := fmt.Sprintf("was changed by somebody else (its etag is %s now): read it again, or leave the etag out", have)
		if have == "" {
			message = "was deleted by somebody else: leave the etag out to create it again"
		}
		errs = append(errs, FieldError{Kind: key.Kind, Name: key.Name, Path: "metadata.etag", Message: message})
	}
	return errs.err()
}
