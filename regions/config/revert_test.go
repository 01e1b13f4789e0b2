package config

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// What comes back is the old set, by way of what Compare says; what did not
// change is known again, and no serial goes back.
func TestRevert(t *testing.T) {
	fleetOf := func(t *rapid.T, what string) *Set {
		all := fleet(10)
		var some []*pb.Resource
		for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, len(all)-1), 0, len(all), rapid.ID[int]).Draw(t, what) {
			r := all[i]
			if s := r.GetService(); s != nil && rapid.Bool().Draw(t, "other") {
				s.Spec.Policy = "other"
			}
			if z := r.GetZone(); z != nil {
				z.Status = &pb.ZoneStatus{Serial: rapid.Uint32Range(1, 20).Draw(t, "serial")}
			}
			some = append(some, r)
		}
		set, err := NewSet(some)
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	rapid.Check(t, func(t *rapid.T) {
		base, old := fleetOf(t, "base"), fleetOf(t, "old")
		next, diff := Revert(base, old)
		want := Compare(base, old)
		if len(diff.Changes) != len(want.Changes) || diff.Unchanged != want.Unchanged {
			t.Fatalf("%d changes, %d unchanged, want %d, %d", len(diff.Changes), diff.Unchanged, len(want.Changes), want.Unchanged)
		}
		for i := range diff.Changes {
			if !proto.Equal(diff.Changes[i], want.Changes[i]) {
				t.Fatalf("change %d is %v, want %v", i, diff.Changes[i], want.Changes[i])
			}
		}
		if n := len(Compare(old, next).Changes); n != 0 {
			t.Fatalf("%d resources are not as they were", n)
		}
		same := 0
		for _, r := range next.All() {
			if base.Get(KeyOf(r)) == r {
				same++
			}
		}
		if same != diff.Unchanged {
			t.Fatalf("%d resources are the same ones, %d are unchanged", same, diff.Unchanged)
		}
		bumped := BumpSerials(base, next, diff.Changes, 10)
		touched := touchedZones(diff.Changes)
		for _, r := range bumped.ByKind(KindZone) {
			serial := r.GetZone().GetStatus().GetSerial()
			for _, s := range []*Set{base, old} {
				before := s.zone(Name(r)).GetStatus().GetSerial()
				if s == old && base.zone(Name(r)) != nil {
					continue // what it was since counts
				}
				if serial < before || serial == before && touched[Name(r)] {
					t.Fatalf("zone %s: serial %d after %d", Name(r), serial, before)
				}
			}
		}
	})
}
