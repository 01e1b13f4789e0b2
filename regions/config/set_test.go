package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

func TestKinds(t *testing.T) {
	if len(kinds) != (*pb.Resource)(nil).ProtoReflect().Descriptor().Fields().Len() {
		t.Error("the list of kinds is not that of the proto")
	}
	for i, kind := range Kinds() {
		r := &pb.Resource{}
		r.ProtoReflect().Mutable(resourceField(kind))
		if Kind(r) != kind || resourceKind(r) != i {
			t.Errorf("%s: kind %q, index %d, want %d", kind, Kind(r), resourceKind(r), i)
		}
		Default(r)
		if Metadata(r) == nil || !hasSpec(r) {
			t.Errorf("%s: has no metadata or spec by default", kind)
		}
		Metadata(r).Name = "n"
		key, err := ParseKey(KeyOf(r).String())
		if err != nil || key != KeyOf(r) {
			t.Errorf("key %v became %v: %v", KeyOf(r), key, err)
		}
	}
	for typed, want := range map[string]string{
		"service": KindService, "services": KindService, "svc": KindService, "Service": KindService, "SERVICES": KindService,
		"policy": KindSteeringPolicy, "steering-policies": KindSteeringPolicy, "SteeringPolicy": KindSteeringPolicy,
		"hc": KindHealthCheck, "health-check": KindHealthCheck, "healthChecks": KindHealthCheck, "ns": KindNameserver, "zone": KindZone,
		"regions": KindRegion, "agents": KindAgent,
	} {
		if got, err := ParseKind(typed); err != nil || got != want {
			t.Errorf("%q is %q (%v), want %q", typed, got, err, want)
		}
	}
	for typed, want := range map[string]string{
		"srvice": `no kind "srvice" (did you mean "services"?)`,
		"pod":    `no kind "pod": want one of regions, agents, nameservers, healthchecks, steeringpolicies, safetypolicies, zones, services`,
	} {
		if _, err := ParseKind(typed); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", typed, err, want)
		}
	}
}

func TestNearest(t *testing.T) {
	right := []string{"eu-west", "eu-east", "us-east", "a", "b", "healthCheck"}
	for word, want := range map[string]string{
		"eu-wst": "eu-west", "eu_west": "eu-west", "EU-WEST": "eu-west", "ue-west": "eu-west", "health_check": "healthCheck",
		"helth-chek": "healthCheck", "c": "", "mars": "", "": "", "us": "",
	} {
		if got := nearest(word, right); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

// TestDefault: applying defaults twice changes nothing, whatever is there.
func TestDefault(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := anyResource().Draw(t, "resource")
		Default(r)
		once := proto.CloneOf(r)
		Default(r)
		if d := cmp.Diff(once, r, protocmp.Transform()); d != "" {
			t.Fatal(d)
		}
	})
}

// TestEtag: it tells resources apart by what users state, and by nothing else.
func TestEtag(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyResource().Draw(t, "a"), anyResource().Draw(t, "b")
		Default(a)
		Default(b)
		Metadata(a).Etag, Metadata(b).Etag = "", ""
		if got, want := Etag(a) == Etag(b), proto.Equal(a, b); got != want {
			t.Fatalf("equal etags: %v, equal resources: %v", got, want)
		}
		shown := WithEtag(a)
		if Metadata(shown).Etag != Etag(a) || Etag(shown) != Etag(a) || Metadata(a).Etag != "" {
			t.Fatalf("etag %q, shown as %q", Etag(a), Metadata(shown).Etag)
		}
		if z := a.GetZone(); z != nil {
			before := Etag(a)
			z.Status = &pb.ZoneStatus{Serial: 9}
			if Etag(a) != before {
				t.Fatal("the status counts")
			}
			if WithEtag(a).GetZone().GetStatus().GetSerial() != 9 {
				t.Fatal("the status is not shown")
			}
		}
	})
	// The etags of resources that are stored must not change between versions.
	r := fleet(1)[6]
	Default(r)
	if got, want := KeyOf(r).String()+" "+Etag(r), "services/s0.z0.example.test ad932ab357a31356e924bb46fb20b5bc"; got != want {
		t.Errorf("etag %s, want %s", got, want)
	}
}

// TestMerge holds Merge, Compare and Delete against maps.
func TestMerge(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		base := mustSet(t, anySet(rt, "base"))
		incoming := anySet(rt, "incoming")
		for i, r := range base.All() { // some that are there already
			if i%2 == 0 {
				same := proto.CloneOf(r)
				if i%4 == 0 {
					Metadata(same).Labels = map[string]string{"changed": "yes"}
				}
				incoming = slices.DeleteFunc(incoming, func(x *pb.Resource) bool { return KeyOf(x) == KeyOf(r) })
				incoming = append(incoming, same)
			}
		}
		prune := rapid.Bool().Draw(rt, "prune")
		next, diff, err := Merge(base, incoming, prune)
		if err != nil {
			rt.Fatal(err)
		}

		want := map[Key]*pb.Resource{}
		changes, unchanged := map[Key]pb.ChangeAction{}, 0
		for _, r := range base.All() {
			if !prune {
				want[KeyOf(r)] = r
			} else {
				changes[KeyOf(r)] = pb.ChangeAction_CHANGE_ACTION_DELETE
			}
		}
		for _, r := range incoming {
			old := base.Get(KeyOf(r))
			switch {
			case old == nil:
				changes[KeyOf(r)] = pb.ChangeAction_CHANGE_ACTION_CREATE
			case proto.Equal(old, r):
				unchanged++
				delete(changes, KeyOf(r))
			default:
				changes[KeyOf(r)] = pb.ChangeAction_CHANGE_ACTION_UPDATE
			}
			want[KeyOf(r)] = r
		}
		if next.Len() != len(want) || diff.Unchanged != unchanged || len(diff.Changes) != len(changes) {
			rt.Fatalf("%d resources, %d unchanged, %d changes; want %d, %d, %d", next.Len(), diff.Unchanged, len(diff.Changes), len(want), unchanged, len(changes))
		}
		for k, r := range want {
			if d := cmp.Diff(r, next.Get(k), protocmp.Transform()); d != "" {
				rt.Fatal(d)
			}
		}
		for _, c := range diff.Changes {
			of := c.Before
			if of == nil {
				of = c.After
			}
			if changes[KeyOf(of)] != c.Action || (c.After == nil) != (c.Action == pb.ChangeAction_CHANGE_ACTION_DELETE) {
				rt.Fatalf("%v: %v", KeyOf(of), c.Action)
			}
		}
		if d := cmp.Diff(diff.Changes, Compare(base, next).Changes, protocmp.Transform()); d != "" {
			rt.Fatalf("compared, the sets differ otherwise: %s", d)
		}
		if !slices.IsSortedFunc(next.All(), func(a, b *pb.Resource) int {
			if ka, kb := resourceKind(a), resourceKind(b); ka != kb {
				return ka - kb
			}
			return strings.Compare(Name(a), Name(b))
		}) {
			rt.Fatal("not sorted")
		}
		for _, r := range next.All() {
			without, diff, ok := Delete(next, KeyOf(r))
			if !ok || without.Len() != next.Len()-1 || without.Get(KeyOf(r)) != nil || len(diff.Changes) != 1 {
				rt.Fatalf("%v is not deleted", KeyOf(r))
			}
		}
	})
}

func TestMergeRefuses(t *testing.T) {
	twice := append(fleet(1), fleet(1)[6])
	if _, _, err := Merge(nil, twice, false); err == nil || err.Error() != `services "s0.z0.example.test": is given twice; want it once` {
		t.Errorf("a resource twice: %v", err)
	}
	want := `resources[1]: is of no kind that this version knows: want one of Region, Agent, Nameserver, HealthCheck, SteeringPolicy, SafetyPolicy, Zone, Service`
	if _, _, err := Merge(nil, []*pb.Resource{fleet(1)[0], {}, nil}[:2], false); err == nil || err.Error() != want {
		t.Errorf("no kind: %v", err)
	}
	if _, _, ok := Delete(mustSet(t, nil), Key{KindZone, "example.test"}); ok {
		t.Error("deleted what is not there")
	}
}

func TestCheckEtags(t *testing.T) {
	base := mustSet(t, fleet(2))
	key := Key{KindService, "s0.z0.example.test"}
	read := WithEtag(base.Get(key))
	edit := func(r *pb.Resource) *pb.Resource {
		r = proto.CloneOf(r)
		Metadata(r).Labels = map[string]string{"by": "me"}
		return r
	}
	if err := CheckEtags(base, []*pb.Resource{read, edit(read)}); err != nil {
		t.Errorf("read and edited: %v", err)
	}
	changed, _, err := Merge(base, []*pb.Resource{edit(base.Get(key))}, false)
	if err != nil {
		t.Fatal(err)
	}
	other := edit(read)
	Metadata(other).Labels["by"] = "somebody"
	if err := CheckEtags(changed, []*pb.Resource{other}); err == nil || !strings.Contains(err.Error(), "metadata.etag: was changed by somebody else") {
		t.Errorf("a change in between: %v", err)
	}
	if err := CheckEtags(changed, []*pb.Resource{edit(read)}); err != nil {
		t.Errorf("the same change again: %v", err)
	}
	gone, _, _ := Delete(base, key)
	if err := CheckEtags(gone, []*pb.Resource{read}); err == nil || !strings.Contains(err.Error(), "was deleted by somebody else") {
		t.Errorf("deleted in between: %v", err)
	}
}

func TestNextSerial(t *testing.T) {
	const top = 1<<32 - 1
	for _, c := range []struct{ old, now, want uint32 }{
		{0, 1_800_000_000, 1_800_000_000},
		{0, 0, 1},
		{1_700_000_000, 1_800_000_000, 1_800_000_000},
		{1_800_000_000, 1_800_000_000, 1_800_000_001}, // twice in a second
		{1_900_000_000, 1_800_000_000, 1_900_000_001}, // a clock that went back
		{top, 1_800_000_000, 1_800_000_000},           // past the end
		{top, 3_000_000_000, 1},                       // 0 stands for none
		{top - 1, 4_000_000_000, top},
		{100, 1<<31 + 50, 1<<31 + 50},
		{100, 1<<31 + 200, 101}, // too far ahead is behind
	} {
		got := NextSerial(c.old, c.now)
		if got != c.want {
			t.Errorf("after %d at %d: %d, want %d", c.old, c.now, got, c.want)
		}
		if c.old != 0 && int32(got-c.old) <= 0 {
			t.Errorf("%d is not after %d (RFC 1982)", got, c.old)
		}
	}
}

// TestBumpSerials: a zone's serial rises with its contents, and with nothing
// else; it never falls, also where an old set comes back.
func TestBumpSerials(t *testing.T) {
	serials := func(s *Set) string {
		var out []string
		for _, r := range s.ByKind(KindZone) {
			out = append(out, fmt.Sprint(r.GetZone().GetStatus().GetSerial()))
		}
		return strings.Join(out, " ")
	}
	base := BumpSerials(nil, mustSet(t, fleet(300)), nil, 0)
	if got := serials(base); got != "1 1 1 1" {
		t.Fatal(got)
	}
	steps := []struct {
		name string
		edit func(*Set) (*Set, Diff)
		now  uint32
		want string
	}{
		{"a service", func(s *Set) (*Set, Diff) { return relabel(t, s, Key{KindService, "s150.z1.example.test"}) }, 100, "1 100 1 1"},
		{"a zone", func(s *Set) (*Set, Diff) { return relabel(t, s, Key{KindZone, "z2.example.test"}) }, 100, "1 100 100 1"},
		{"the same zone", func(s *Set) (*Set, Diff) { return relabel(t, s, Key{KindZone, "z2.example.test"}) }, 100, "1 100 101 1"},
		{"a policy", func(s *Set) (*Set, Diff) { return relabel(t, s, Key{KindSteeringPolicy, "nearest"}) }, 200, "1 100 101 1"},
		{"a deleted service", func(s *Set) (*Set, Diff) {
			next, diff, _ := Delete(s, Key{KindService, "s0.z0.example.test"})
			return next, diff
		}, 200, "200 100 101 1"},
		{"a service that moves", func(s *Set) (*Set, Diff) {
			r := proto.CloneOf(s.Get(Key{KindService, "s1.z0.example.test"}))
			r.GetService().Spec.Zone = "z3.example.test"
			next, diff, err := Merge(s, []*pb.Resource{r}, false)
			if err != nil {
				t.Fatal(err)
			}
			return next, diff
		}, 300, "300 100 101 300"},
		{"back to the beginning", func(s *Set) (*Set, Diff) { return base, Compare(s, base) }, 250, "301 250 250 301"},
		{"deleted and made again", func(s *Set) (*Set, Diff) {
			without, _, _ := Delete(s, Key{KindZone, "z0.example.test"})
			return s, Compare(without, s)
		}, 10, "302 250 250 301"},
	}
	set := base
	for _, step := range steps {
		next, diff := step.edit(set)
		set = BumpSerials(set, next, diff.Changes, step.now)
		if got := serials(set); got != step.want {
			t.Errorf("%s: serials %s, want %s", step.name, got, step.want)
		}
	}
	stated := proto.CloneOf(base.Get(Key{KindZone, "z2.example.test"}))
	stated.GetZone().Spec.Records = "@ SOA ns1.example.net. hostmaster.example.net. ( 2026110101 1 1 1 1 )\n"
	for _, want := range []string{"302 250 2026110102 301", "302 250 2026110103 301"} {
		stated.GetZone().Metadata.Labels = map[string]string{"n": want}
		next, diff, err := Merge(set, []*pb.Resource{stated}, false)
		if err != nil {
			t.Fatal(err)
		}
		set = BumpSerials(set, next, diff.Changes, 500)
		if got := serials(set); got != want {
			t.Errorf("with an SOA record: %s, want %s", got, want)
		}
	}
	if got := serials(RaiseSerials(set, 400)); got != "400 400 2026110104 400" {
		t.Errorf("raised: %s", got)
	}
}

func relabel(t *testing.T, s *Set, key Key) (*Set, Diff) {
	t.Helper()
	r := proto.CloneOf(s.Get(key))
	if Metadata(r).Labels == nil {
		Metadata(r).Labels = map[string]string{}
	}
	Metadata(r).Labels["n"] += "x"
	next, diff, err := Merge(s, []*pb.Resource{r}, false)
	if err != nil {
		t.Fatal(err)
	}
	return next, diff
}
