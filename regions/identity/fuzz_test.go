package identity

import (
	"net/url"
	"strings"
	"testing"
)

// What parses is the URI of its identity, and the standard library's parser
// sees nothing else in it.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"spiffe://fairlead/agent/eu-west/a1", "spiffe://fairlead/controller/c1",
		"spiffe://fairlead/operator/al/zone/a.test/service/WILDCARD.b.test/region/eu",
		"spiffe://fairlead:1/viewer/v", "spiffe://u@fairlead/viewer/v?q#f", "spiffe://fairlead/viewer/..",
		"spiffe://fairlead/viewer/zone/zone", "spiffe://a..b/viewer/v/", "spiffe:///", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := Parse(s)
		if err != nil {
			return
		}
		if id.URI() != s || id.Validate() != nil || len(s) > 2048 {
			t.Fatalf("%q: %+v, %v", s, id, id.Validate())
		}
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		if u.Scheme != "spiffe" || u.Host != id.TrustDomain || u.User != nil || u.Port() != "" || u.RawQuery != "" ||
			u.ForceQuery || u.Fragment != "" || u.RawPath != "" || u.String() != s || !strings.HasPrefix(u.Path, "/"+id.Role.String()+"/") {
			t.Fatalf("%q: %+v", s, u)
		}
	})
}
