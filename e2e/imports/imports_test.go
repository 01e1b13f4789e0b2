// Package imports holds the rules of who may import whom, through `go list`.
// They are what keeps the three planes apart and the domain pure.
package imports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/fairlead-dns/fairlead"

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

// rule says what some packages must not import directly.
type rule struct {
	why string
	// from selects importing packages, to the imports that are wrong for them.
	// Paths of this module come without the module, as regions/zone.
	from, to func(path string) bool
	// tests: the rule holds for tests too.
	tests bool
}

func under(dirs ...string) func(string) bool {
	return func(p string) bool {
		return slices.ContainsFunc(dirs, func(d string) bool { return p == d || strings.HasPrefix(p, d+"/") })
	}
}

func not(f func(string) bool) func(string) bool { return func(p string) bool { return !f(p) } }

func both(f, g func(string) bool) func(string) bool {
	return func(p string) bool { return f(p) && g(p) }
}

// generator is the program that makes the built-in geo data.
var generator = under("regions/geo/internal/gendata")

var rules = []rule{
	{"the planes meet in proto and regions only", under("probes"), under("controller", "authdns"), true},
	{"the planes meet in proto and regions only", under("controller"), under("probes", "authdns"), true},
	{"the planes meet in proto and regions only", under("authdns"), under("probes", "controller"), true},
	{"the domain knows none of its users", under("regions"), under("probes", "controller", "authdns", "cmd", "e2e"), true},
	{"mains are at the top", not(under("cmd")), under("cmd"), true},
	{"the proto stands alone", under("proto"), under("regions", "probes", "controller", "authdns", "cmd", "e2e"), true},
	// Tests may break into the store by hand.
	{"controller/store is the only importer of etcd", not(under("controller/store")), under("go.etcd.io"), false},
	{"only dev and tests link the etcd server", not(under("controller/store", "cmd/fairlead/internal/dev")), under("controller/store/embedded", "go.etcd.io/etcd/server"), false},
	{"the domain is pure: no network, no files, no logging", both(under("regions"), not(generator)), exact("net/http", "os", "log", "log/slog"), false},
	// regions/config takes HOST:PORT apart with it.
	{"the domain is pure: no network", both(under("regions"), both(not(generator), not(exact("regions/config")))), exact("net"), false},
	{"only the REST gateway links grpc-gateway", not(under("controller/rest", "proto/fairlead/v1/gateway")), under("proto/fairlead/v1/gateway", "github.com/grpc-ecosystem"), false},
	{"the DNS library stays where a later switch is cheap", not(under("regions/zone", "regions/dnssec", "authdns/answer", "probes/check", "e2e")), under("github.com/miekg/dns"), false},
}

func exact(paths ...string) func(string) bool {
	return func(p string) bool { return slices.Contains(paths, p) }
}

// violations lists what breaks a rule.
func violations(pkgs []pkg) []string {
	var out []string
	for _, p := range pkgs {
		from := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		for _, r := range rules {
			if !r.from(from) {
				continue
			}
			imports := slices.Clone(p.Imports)
			if r.tests {
				imports = append(append(imports, p.TestImports...), p.XTestImports...)
			}
			for _, i := range imports {
				if to := strings.TrimPrefix(i, module+"/"); r.to(to) && to != from {
					out = append(out, fmt.Sprintf("%s imports %s: %s", from, to, r.why))
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var pkgs []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	return pkgs
}

func TestImportRules(t *testing.T) {
	pkgs := list(t)
	if len(pkgs) < 20 {
		t.Fatalf("go list found %d packages only", len(pkgs))
	}
	for _, v := range violations(pkgs) {
		t.Error(v)
	}
}

// Each rule is broken once: it must be noticed.
func TestRulesNoticeABreach(t *testing.T) {
	own := func(p string) string { return module + "/" + p }
	for _, c := range []struct {
		from, to string
		test     bool
	}{
		{"probes", "controller/feed", false},
		{"probes/check", "authdns/answer", true},
		{"controller/feed", "probes", true},
		{"controller", "authdns/feed", false},
		{"authdns/follow", "controller/verdicts", true},
		{"authdns", "probes", false},
		{"regions/steer", "controller/store", true},
		{"regions", "cmd/internal/ops", false},
		{"controller", "cmd/internal/ops", false},
		{"e2e", "cmd/fairlead/internal/cli", true},
		{"proto/fairlead/v1", "regions", false},
		{"controller/catalog", "go.etcd.io/etcd/client/v3", false},
		{"authdns", "go.etcd.io/etcd/client/v3", false},
		{"controller/planner", "controller/store/embedded", false},
		{"regions/zone", "net/http", false},
		{"regions/zone", "net", false},
		{"regions/health", "log/slog", false},
		{"authdns", "github.com/miekg/dns", false},
		{"controller/api", "proto/fairlead/v1/gateway", false},
	} {
		to := c.to
		if first, _, _ := strings.Cut(to, "/"); !strings.Contains(first, ".") && !slices.Contains([]string{"net", "log"}, first) {
			to = own(to)
		}
		p := pkg{ImportPath: path.Join(module, c.from)}
		if c.test {
			p.TestImports = []string{to}
		} else {
			p.Imports = []string{to}
		}
		if got := violations([]pkg{p}); len(got) == 0 {
			t.Errorf("%s may import %s", c.from, c.to)
		}
	}
	for _, c := range [][2]string{
		{"authdns", "regions/steer"}, {"controller/store", "go.etcd.io/etcd/client/v3"},
		{"cmd/fairlead/internal/dev", "controller/store/embedded"}, {"regions/zone", "github.com/miekg/dns"},
		{"cmd/fairlead", "cmd/internal/ops"},
	} {
		to := c[1]
		if !strings.Contains(strings.SplitN(to, "/", 2)[0], ".") {
			to = own(to)
		}
		if got := violations([]pkg{{ImportPath: own(c[0]), Imports: []string{to}}}); len(got) > 0 {
			t.Errorf("%s may not import %s: %v", c[0], c[1], got)
		}
	}
}
