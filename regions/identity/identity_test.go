package identity

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		uri  string
		want Identity
		say  string
	}{
		{"spiffe://fairlead/agent/eu-west/a1", Identity{TrustDomain: "fairlead", Role: Agent, Region: "eu-west", Name: "a1"}, "agent a1 of region eu-west"},
		{"spiffe://dns.example.com/nameserver/us/ns1", Identity{TrustDomain: "dns.example.com", Role: Nameserver, Region: "us", Name: "ns1"}, "nameserver ns1 of region us"},
		{"spiffe://fairlead/controller/c1.Example_x", Identity{TrustDomain: "fairlead", Role: Controller, Name: "c1.Example_x"}, "controller c1.Example_x"},
		{"spiffe://fairlead/etcd/e1", Identity{TrustDomain: "fairlead", Role: Etcd, Name: "e1"}, "etcd e1"},
		{"spiffe://fairlead/admin/root", Identity{TrustDomain: "fairlead", Role: Admin, Name: "root"}, "admin root"},
		{
			"spiffe://fairlead/operator/alice/zone/a.test/zone/b.test/service/WILDCARD.c.test/service/_x.c.test/region/eu/region/us",
			Identity{TrustDomain: "fairlead", Role: Operator, Name: "alice", Scope: Scope{
				Zones: []string{"a.test", "b.test"}, Services: []string{"*.c.test", "_x.c.test"}, Regions: []string{"eu", "us"},
			}},
			"operator alice for zone a.test, b.test; service *.c.test, _x.c.test; region eu, us",
		},
		// Names that are also the words of the path.
		{"spiffe://fairlead/viewer/zone/zone/region/region/zone", Identity{TrustDomain: "fairlead", Role: Viewer, Name: "zone", Scope: Scope{
			Zones: []string{"region"}, Regions: []string{"zone"},
		}}, "viewer zone for zone region; region zone"},
	} {
		got, err := Parse(c.uri)
		if err != nil {
			t.Errorf("%s: %v", c.uri, err)
			continue
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", c.uri, d)
		}
		if got.String() != c.say {
			t.Errorf("%s: says %q, want %q", c.uri, got, c.say)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	long := strings.Repeat("a", 64)
	for _, c := range []struct{ uri, say string }{
		{"", "want spiffe://"},
		{"https://fairlead/controller/c", "want spiffe://"},
		{"SPIFFE://fairlead/controller/c", "want spiffe://"},
		{"spiffe:fairlead/controller/c", "want spiffe://"},
		{"spiffe:///controller/c", "the trust domain is empty"},
		{"spiffe://Fairlead/controller/c", "holds 'F'"},
		{"spiffe://fairlead:443/controller/c", "holds ':'"},
		{"spiffe://user@fairlead/controller/c", "holds '@'"},
		{"spiffe://fair%6cead/controller/c", "holds '%'"},
		{"spiffe://a..b/controller/c", "empty label"},
		{"spiffe://" + strings.Repeat("a", 256) + "/controller/c", "256 bytes"},
		{"spiffe://fairlead", "no role"},
		{"spiffe://fairlead/", "no role"},
		{"spiffe://fairlead/none/c", "want one of agent, nameserver"},
		{"spiffe://fairlead/Controller/c", "no role"},
		{"spiffe://fairlead//controller/c", "no role"},
		{"spiffe://fairlead/controller", `name "" is empty`},
		{"spiffe://fairlead/controller/", "is empty"},
		{"spiffe://fairlead/controller/c/", "canonical form"},
		{"spiffe://fairlead/controller//c", `"c" in the path`},
		{"spiffe://fairlead/controller/..", "relative path"},
		{"spiffe://fairlead/controller/.", "relative path"},
		{"spiffe://fairlead/controller/c?x=y", "holds '?'"},
		{"spiffe://fairlead/controller/c#f", "holds '#'"},
		{"spiffe://fairlead/controller/c%2fd", "holds '%'"},
		{"spiffe://fairlead/controller/é", "holds"},
		{"spiffe://fairlead/controller/" + long, "64 bytes"},
		{"spiffe://fairlead/controller/c/region/eu", "scopes are for viewer, operator and admin"},
		{"spiffe://fairlead/agent/a1", "is empty"},
		{"spiffe://fairlead/agent/eu_west/a1", "one DNS label"},
		{"spiffe://fairlead/agent/eu/A1", "one DNS label"},
		{"spiffe://fairlead/agent/eu/-a", "hyphen"},
		{"spiffe://fairlead/agent/eu/a1/zone/x.test", "scopes are for"},
		{"spiffe://fairlead/operator/al/zone", "is empty"},
		{"spiffe://fairlead/operator/al/zone/", "is empty"},
		{"spiffe://fairlead/operator/al/team/x", "want zone, service or region"},
		{"spiffe://fairlead/operator/al/zone/b.test/zone/a.test", "want them sorted"},
		{"spiffe://fairlead/operator/al/zone/a.test/zone/a.test", "none twice"},
		{"spiffe://fairlead/operator/al/region/eu/zone/a.test", "zone comes after region"},
		{"spiffe://fairlead/operator/al/zone/a.test.", "final dot"},
		{"spiffe://fairlead/operator/al/zone/A.test", "lower case"},
		{"spiffe://fairlead/operator/al/zone/WILDCARD.a.test", "lower case"},
		{"spiffe://fairlead/operator/al/service/*.a.test", "canonical form"},
		{"spiffe://fairlead/operator/al/service/WILDCARD.WILDCARD.a.test", "lower case"},
		{"spiffe://fairlead/operator/al" + strings.Repeat("/zone/a.test", 200), "want 2048 at most"},
	} {
		id, err := Parse(c.uri)
		if err == nil {
			t.Errorf("%s: taken as %s", c.uri, id)
			continue
		}
		if !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %q does not say %q", c.uri, err, c.say)
		}
		if id.Role != None {
			t.Errorf("%s: refused, yet a role came back", c.uri)
		}
		if len(err.Error()) > 2000 {
			t.Errorf("%s: an error of %d bytes", c.uri[:40], len(err.Error()))
		}
	}
}

func TestValidateSaysAllAtOnce(t *testing.T) {
	err := Identity{TrustDomain: "X", Role: Agent, Name: "a b", Scope: Scope{Regions: []string{"r", "r"}}}.Validate()
	for _, say := range []string{"trust domain", `name "a b"`, "has no region", "has a scope", "none twice"} {
		if err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%v: does not say %q", err, say)
		}
	}
	var zones []string
	for c := 'a'; c <= 'z'; c++ {
		zones = append(zones, strings.Repeat(string(c), 60)+"."+strings.Repeat("x", 60))
	}
	err = Identity{TrustDomain: "f", Role: Operator, Name: "a", Scope: Scope{Zones: zones}}.Validate()
	if err == nil || !strings.Contains(err.Error(), "the scope is too long") {
		t.Errorf("a URI beyond 2048 bytes: %v", err)
	}
}

func TestRoles(t *testing.T) {
	people := []Role{Viewer, Operator, Admin}
	for _, r := range append([]Role{None}, Roles()...) {
		got, err := ParseRole(r.String())
		if (err != nil) != (r == None) || got != r {
			t.Errorf("ParseRole(%q) = %v, %v", r, got, err)
		}
		for _, least := range append([]Role{None}, Roles()...) {
			want := false
			for i, a := range people {
				for _, b := range people[:i+1] {
					want = want || a == r && b == least
				}
			}
			if r.AtLeast(least) != want {
				t.Errorf("%v.AtLeast(%v) = %v", r, least, !want)
			}
		}
	}
}

func TestChecks(t *testing.T) {
	agent := Identity{TrustDomain: "f", Role: Agent, Region: "eu", Name: "a"}
	for _, c := range []struct {
		check func(Identity) error
		say   string
	}{
		{OneOf(Agent), ""},
		{OneOf(Controller, Agent), ""},
		{OneOf(Controller, Nameserver), "it is agent a of region eu: want the role controller or nameserver"},
		{OneOf(), "want the role"},
		{Exactly(Agent, "eu", "a"), ""},
		{Exactly(Agent, "us", "a"), "it is agent a of region eu: want agent a of region us"},
		{Exactly(Agent, "eu", "b"), "want agent b"},
		{Exactly(Nameserver, "eu", "a"), "want nameserver a"},
	} {
		err := c.check(agent)
		if (err == nil) != (c.say == "") || err != nil && !strings.Contains(err.Error(), c.say) {
			t.Errorf("%v: want %q", err, c.say)
		}
	}
}

// names draws valid names of each sort.
var (
	labels  = rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?`)
	domains = rapid.StringMatching(`_?[a-z0-9]{1,4}(\.[a-z0-9]{1,4}){0,2}`)
	owners  = rapid.StringMatching(`(\*\.)?[a-z0-9]{1,4}(\.[a-z0-9]{1,4}){0,2}`)
)

func drawScope(t *rapid.T) Scope {
	return Scope{
		Zones:    rapid.SliceOfN(domains, 0, 4).Draw(t, "zones"),
		Services: rapid.SliceOfN(owners, 0, 4).Draw(t, "services"),
		Regions:  rapid.SliceOfN(labels, 0, 4).Draw(t, "regions"),
	}.Sorted()
}

func drawIdentity(t *rapid.T) Identity {
	id := Identity{
		TrustDomain: rapid.StringMatching(`[a-z0-9_-]{1,8}(\.[a-z0-9_-]{1,8}){0,2}`).Draw(t, "domain"),
		Role:        rapid.SampledFrom(Roles()).Draw(t, "role"),
		Name:        rapid.StringMatching(`[A-Za-z0-9_-][A-Za-z0-9._-]{0,62}`).Draw(t, "name"),
	}
	switch {
	case id.Role.Regional():
		id.Name, id.Region = labels.Draw(t, "label"), labels.Draw(t, "region")
	case id.Role.Person():
		id.Scope = drawScope(t)
	}
	return id
}

func TestEveryIdentityComesBackFromItsURI(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := drawIdentity(t)
		if err := id.Validate(); err != nil {
			t.Fatalf("%+v: %v", id, err)
		}
		got, err := Parse(id.URI())
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(id, got); d != "" {
			t.Fatalf("%s: %s", id.URI(), d)
		}
	})
}

func TestDifferentIdentitiesHaveDifferentURIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawIdentity(t), drawIdentity(t)
		if a.Equal(b) != (a.URI() == b.URI()) {
			t.Fatalf("%+v and %+v: %s and %s", a, b, a.URI(), b.URI())
		}
	})
}
