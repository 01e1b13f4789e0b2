package steer

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead-dns/fairlead/regions"
	"github.com/fairlead-dns/fairlead/regions/geo"
)

func nearest(name string) regions.Policy {
	return regions.Policy{Name: name, Candidates: []uint16{eu, us, ap}, MaxAnswers: 8, Bias: []int{0, 0, 0}}
}

func baseOf(policies ...regions.Policy) *regions.Base {
	return regions.NewBase([]regions.Region{
		{Name: "eu", Latitude: 50.1, Longitude: 8.7}, {Name: "us", Latitude: 38.9, Longitude: -77.4}, {Name: "ap", Latitude: 35.7, Longitude: 139.7},
	}, policies, nil, nil)
}

func compileRankings(t testing.TB, base *regions.Base, db *geo.Database, prev *Rankings) *Rankings {
	t.Helper()
	r, err := CompileRankings(base, db, prev)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRankingsAreTakenOver while what they are made of is the same, and only then.
func TestRankingsAreTakenOver(t *testing.T) {
	db, err := geo.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	first := compileRankings(t, baseOf(nearest("a"), nearest("b")), db, nil)
	if first.Tables[0] != first.Tables[1] {
		t.Error("two policies that say the same have two tables")
	}
	other := nearest("c")
	other.Bias = []int{0, 10, 0}
	second := compileRankings(t, baseOf(other, nearest("x")), db, first)
	if second.Tables[1] != first.Tables[0] {
		t.Error("an unchanged policy is compiled again")
	}
	if second.Tables[0] == first.Tables[0] {
		t.Error("another bias, and the table is the same")
	}
	if third := compileRankings(t, baseOf(nearest("a")), nil, first); third.Tables[0] == first.Tables[0] {
		t.Error("other geo data, and the table is the same")
	}
	moved := baseOf(nearest("a"))
	moved.Regions[us].Longitude = -122
	if third := compileRankings(t, moved, db, first); third.Tables[0] == first.Tables[0] {
		t.Error("a region moved, and the table is the same")
	}
	ruled := nearest("a")
	ruled.Rules = []regions.PolicyRule{{Name: "r", Countries: []string{"FR"}, Regions: []uint16{ap}}}
	renamed := ruled
	renamed.Rules = []regions.PolicyRule{{Name: "s", Countries: []string{"FR"}, Regions: []uint16{ap}}}
	withRule := compileRankings(t, baseOf(ruled), db, first)
	if withRule.Tables[0] == first.Tables[0] || compileRankings(t, baseOf(renamed), db, withRule).Tables[0] == withRule.Tables[0] {
		t.Error("another rule, or another name for it in explanations, and the table is the same")
	}
}

func TestRankingsRefused(t *testing.T) {
	bad := nearest("bad")
	bad.Default = []uint16{9}
	_, err := CompileRankings(baseOf(nearest("good"), bad), nil, nil)
	if err == nil || !strings.Contains(err.Error(), `steering policy "bad"`) {
		t.Error(err)
	}
}

// TestScopeWithGeoData (invariant 5): over real data, the addresses at both
// ends and in the middle of a scope get what the client gets; and where one
// region is left, the scope is everything.
func TestScopeWithGeoData(t *testing.T) {
	db, err := geo.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	lines := []string{"eu-1 up up", "eu-2 up down", "us-1 up up", "ap-1 up -", "ap-2 down -"}
	w := worldOf(t, nearest("nearest"), regions.Service{}, lines...)
	v := NewView(Inputs{Plan: w.plan, Tables: compileRankings(t, w.plan.Base, db, nil).Tables, States: w.states, Now: epoch})
	one := worldOf(t, nearest("nearest"), regions.Service{}, "eu-1 down down", "us-1 up up", "ap-1 down -")
	alone := NewView(Inputs{Plan: one.plan, Tables: v.tables, States: one.states, Now: epoch})
	seen := map[int32]bool{}
	for _, text := range []string{
		"193.0.6.139", "8.8.8.8", "1.1.1.1", "133.11.0.1", "200.160.0.1", "41.0.0.1", "10.0.0.1", "203.0.113.9",
		"2001:67c:2e8::1", "2001:4860:4860::8888", "2001:200::1", "2800:3f0::1", "fe80::1", "::1", "::ffff:193.0.6.139",
	} {
		client := netip.MustParseAddr(text)
		for _, f := range families {
			sel := v.Select(0, f, client, 5, nil)
			seen[sel.Region] = true
			for _, other := range corners(netip.PrefixFrom(client.Unmap(), int(sel.Scope)).Masked()) {
				got := v.Select(0, f, other, 5, nil)
				if got.Region != sel.Region || !slices.Equal(got.Addrs, sel.Addrs) || got.Rung != sel.Rung {
					t.Errorf("%v, %v/%d: %+v, but %v: %+v", f, client, sel.Scope, sel, other, got)
				}
			}
			if got := alone.Select(0, f, client, 5, nil); got.Scope != 0 || got.Region != us {
				t.Errorf("%v, %v: only us is left, and yet %+v", f, client, got)
			}
		}
	}
	if !seen[eu] || !seen[us] || !seen[ap] {
		t.Errorf("the clients saw the regions %v only", seen)
	}
}

// corners are the first, the last and a middle address of a prefix.
func corners(p netip.Prefix) []netip.Addr {
	b := p.Addr().AsSlice()
	fill := func(v byte) netip.Addr {
		out := slices.Clone(b)
		for i := p.Bits(); i < len(b)*8; i++ {
			out[i/8] |= v & (1 << (7 - i%8))
		}
		a, _ := netip.AddrFromSlice(out)
		return a
	}
	return []netip.Addr{p.Addr(), fill(0xff), fill(0x5a)}
}
