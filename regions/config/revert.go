package config

import pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"

// Revert returns old, a set that comes back, as the set after base, and what
// leads there. A resource that does not differ by its etag stays the one of
// base, the same pointer, by which Validate and Tree know it again; a zone that
// does not differ keeps its serial so.
func Revert(base, old *Set) (*Set, Diff) {
	next := &Set{byKind: make([][]named, len(kinds)), unknown: old.Unknown()}
	var diff Diff
	for k := range kinds {
		list := make([]named, 0, len(old.kind(k)))
		walk(base.kind(k), old.kind(k), func(before, after named) {
			switch {
			case after.r == nil:
				diff.add(pb.ChangeAction_CHANGE_ACTION_DELETE, before.r, nil)
				return
			case before.r == nil:
				diff.add(pb.ChangeAction_CHANGE_ACTION_CREATE, nil, after.r)
			case before.r == after.r || Etag(before.r) == Etag(after.r):
				diff.Unchanged++
				after = before
			default:
				diff.add(pb.ChangeAction_CHANGE_ACTION_UPDATE, before.r, after.r)
			}
			list = append(list, after)
		})
		next.byKind[k] = list
	}
	return next, diff
}
