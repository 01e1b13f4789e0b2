package catalog

import (
	"cmp"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

// Edit is what a change makes of the current version. A nil Set leaves the
// configuration as it is, Overrides counts only with SetOverrides, Scheduled
// only with SetScheduled, and a nil Release releases nothing.
type Edit struct {
	Set          *config.Set
	Base         *plan.Base // of Set, if it was compiled already
	Overrides    []*pb.Override
	SetOverrides bool
	// Scheduled are the overrides whose time is to come.
	Scheduled    []*pb.Override
	SetScheduled bool
	// BreakGlassEnds are added to those that there are, and replace those of
	// the same records; DropBreakGlassEnds tells which of the others are kept no
	// more, in whatever change.
	BreakGlassEnds     []*pb.BreakGlassEnd
	DropBreakGlassEnds func(*pb.BreakGlassEnd) bool
	// Safety is how the safety rules judged the change, for its audit event.
	Safety *pb.SafetyDecision
	// Release replaces an earlier one of the same latch.
	Release *pb.LatchRelease
	// DropReleases, with a Release, tells which of the others are kept no more.
	DropReleases func(*pb.LatchRelease) bool
	Subjects     []string
	// Result is what whoever repeats the request is told, at most MaxResult bytes.
	Result []byte
}

// empty tells whether nothing is to be changed.
func (e *Edit) empty() bool {
	return e.Set == nil && !e.SetOverrides && !e.SetScheduled && len(e.BreakGlassEnds) == 0 && e.Release == nil
}

// overrides is the override set that the change makes of a tree's.
func (e *Edit) overrides(t *plan.Tree, now *timestamppb.Timestamp) *pb.OverrideSet {
	o := t.OverrideSet()
	if e.SetOverrides {
		o.Overrides = sorted(e.Overrides, (*pb.Override).GetId)
		if !slices.EqualFunc(o.Overrides, t.Overrides, func(a, b *pb.Override) bool { return proto.Equal(a, b) }) {
			o.ChangeTime = now
		}
	}
	if e.SetScheduled {
		o.Scheduled = sorted(e.Scheduled, (*pb.Override).GetId)
	}
	o.BreakGlassEnds = replaced(o.BreakGlassEnds, e.BreakGlassEnds, (*pb.BreakGlassEnd).GetId, e.DropBreakGlassEnds)
	if e.Release != nil {
		o.Releases = replaced(o.Releases, []*pb.LatchRelease{e.Release}, (*pb.LatchRelease).GetLatch, e.DropReleases)
	}
	return o
}

func sorted[T any](list []T, key func(T) string) []T {
	return slices.SortedFunc(slices.Values(list), func(a, b T) int { return cmp.Compare(key(a), key(b)) })
}

// replaced is a list with some more, without those of the same keys and those
// that are dropped; drop may be nil.
func replaced[T any](list, more []T, key func(T) string, drop func(T) bool) []T {
	kept := slices.DeleteFunc(slices.Clone(list), func(t T) bool {
		return drop != nil && drop(t) || slices.ContainsFunc(more, func(m T) bool { return key(m) == key(t) })
	})
	return sorted(append(kept, more...), key)
}
