package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// contextsFile makes a place for contexts, and returns the file's path.
func contextsFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "conf", "config.yaml")
	t.Setenv("FAIRLEAD_CONFIG", path)
	return path
}

// From nothing to two contexts and back.
func TestContexts(t *testing.T) {
	path := contextsFile(t)
	run(t, "", "context", "list").want(t, exitDone, "no contexts in "+path)
	run(t, "", "context", "show").want(t, exitFailed, "no context is current")
	run(t, "", "context", "use", "prod").want(t, exitFailed, `no context "prod"; `+"`fairlead context set prod --controllers HOST:PORT,…` makes it")
	prod, test := serve(t, &fake{status: calledStatus("prod")}), serve(t, &fake{status: calledStatus("test")})

	run(t, "", "context", "set", "prod", "--controllers", deadAddress(t)+","+prod).want(t, exitDone, `context "prod" was made in `+path+"; it is the current one")
	run(t, "", "context", "set", "test", "--controllers", test, "--author", "alice").want(t, exitDone, `context "test" was made in `)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: want mode 0600", info, err)
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v: want mode 0700", info, err)
	}
	if r := run(t, "", "context", "list", "-o", "name"); r.out != "prod\ntest\n" {
		t.Errorf("%q", r.out)
	}
	run(t, "", "context", "list").want(t, exitDone, "CURRENT  NAME", "*        prod", "         test", test)
	run(t, "", "context", "show", "test").want(t, exitDone, "Context      test\n", "Author       alice\n", "plain text, to this machine only")
	run(t, "", "__complete", "context", "use", "").want(t, exitDone, "prod\ntest\n")

	// Flag over environment over context over default.
	run(t, "", "status").want(t, exitDone, "controller prod")
	run(t, "", "status", "--context", "test").want(t, exitDone, "controller test")
	run(t, "", "status", "--context", "tset").want(t, exitFailed, `--context: no context "tset" (did you mean "test"?)`)
	run(t, "", "context", "use", "test").want(t, exitDone, `context "test" is the current one`)
	run(t, "", "status").want(t, exitDone, "controller test")
	t.Setenv("FAIRLEAD_CONTEXT", "prod")
	run(t, "", "status").want(t, exitDone, "controller prod")
	run(t, "", "status", "--context", "test").want(t, exitDone, "controller test")
	t.Setenv("FAIRLEAD_CONTROLLER", test)
	run(t, "", "status").want(t, exitDone, "controller test")
	run(t, "", "status", "--controller", prod).want(t, exitDone, "controller prod")
	os.Unsetenv("FAIRLEAD_CONTEXT")
	os.Unsetenv("FAIRLEAD_CONTROLLER")

	// A change keeps the other fields; an empty value removes one.
	run(t, "", "context", "set", "test", "--controllers", test+","+prod).want(t, exitDone, `context "test" was changed`)
	run(t, "", "context", "show", "-o", "yaml").want(t, exitDone, "controllers: ['"+test+"', '"+prod+"']\nauthor: alice\n")
	run(t, "", "context", "set", "test", "--author", "").want(t, exitDone)
	if r := run(t, "", "context", "show", "-o", "json"); strings.Contains(r.out, "author") {
		t.Errorf("the author is still there: %s", r.out)
	}
	for _, c := range [][]string{
		{"nothing to set", "x"},
		{"missing --controllers", "x", "--author", "a"},
		{`controllers: "there": want HOST:PORT`, "x", "--controllers", "there"},
		{"TLS needs tlsCert, tlsKey and tlsCA, all three or none", "x", "--controllers", "a:1", "--tls-cert", "a.crt"},
		{`"a b" is no name for a context`, "a b", "--controllers", "a:1"},
	} {
		run(t, "", append([]string{"context", "set"}, c[1:]...)...).want(t, exitUsage, c[0])
	}
	// What was exported for other programs is not written down.
	t.Setenv("FAIRLEAD_TLS_CERT", "/etc/fairlead/x.crt")
	run(t, "", "context", "set", "plain", "--controllers", "192.0.2.1:7443").want(t, exitDone, "warning: --controllers 192.0.2.1:7443: plain text is for loopback only")
	os.Unsetenv("FAIRLEAD_TLS_CERT")
	run(t, "", "context", "delete", "test").want(t, exitDone, `context "test" was deleted; no context is current now`)
	if r := run(t, "", "context", "list", "-o", "name"); r.out != "plain\nprod\n" {
		t.Errorf("%q", r.out)
	}
}

func calledStatus(name string) func() (*pb.GetStatusResponse, error) {
	return func() (*pb.GetStatusResponse, error) {
		return &pb.GetStatusResponse{Controller: name, StoreAvailable: true, HealthReady: true}, nil
	}
}

// A context has everything that mutual TLS needs, wherever fairlead runs.
func TestContextTLS(t *testing.T) {
	path := contextsFile(t)
	now := time.Now()
	ca := newCA(t, "fairlead")
	alice := issue(t, ca, "operator/alice/zone/example.test", now)
	var author string
	addr := serve(t, &fake{status: calledStatus("secure"), drain: func(r *pb.DrainRegionRequest) (*pb.DrainRegionResponse, error) {
		author = r.GetAuthor()
		return &pb.DrainRegionResponse{Override: sampleOverrides()[0], Generation: gen(5)}, nil
	}}, issue(t, ca, "controller/c1", now).server(t, now))
	dir := filepath.Dir(path)
	for _, f := range []struct{ from, to string }{{alice.cert, "alice.crt"}, {alice.key, "keys/alice.key"}, {alice.ca, "ca.crt"}} {
		data, err := os.ReadFile(f.from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(writeFile(t, filepath.Join(dir, f.to), string(data)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	run(t, "", "context", "set", "prod", "--controllers", addr, "--tls-cert", "alice.crt", "--tls-key", "keys/alice.key",
		"--tls-ca", "./ca.crt", "--author", "alice").want(t, exitDone, `context "prod" was made`)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := contextsHeader + `current: prod
contexts:
  prod:
    controllers: ['` + addr + `']
    tlsCert: alice.crt
    tlsKey: keys/alice.key
    tlsCA: ca.crt
    author: alice
`
	if d := cmp.Diff(want, string(text)); d != "" {
		t.Error(d)
	}
	t.Chdir(t.TempDir())
	run(t, "", "status").want(t, exitDone, "controller secure")
	run(t, "", "context", "show").want(t, exitDone, "Context      prod (current)", filepath.Join(dir, "keys/alice.key"),
		"Identity     operator alice for zone example.test of trust domain fairlead", "Validity     expires in 89d23h")
	run(t, "", "region", "drain", "us-east", "--reason", "x").want(t, exitDone)
	if author != "alice" {
		t.Errorf("the author is %q", author)
	}
	run(t, "", "region", "drain", "us-east", "--reason", "x", "--author", "bob").want(t, exitDone)
	if author != "bob" {
		t.Errorf("the author is %q", author)
	}
	// Other files by flag; plain text by flag.
	run(t, "", issue(t, ca, "viewer/bob", now).flags("status")...).want(t, exitDone, "controller secure")
	run(t, "", "status", "--insecure-plaintext").want(t, exitFailed, "it does not speak gRPC without TLS")
	// Whoever is at the default address, if anybody.
	if r := run(t, "", "status", "--context", "", "--timeout", "2s"); strings.Contains(r.out, "controller secure") || r.code != exitDone && !strings.Contains(r.err, defaultController) {
		t.Errorf("%+v", r)
	}
	if err := os.Remove(filepath.Join(dir, "ca.crt")); err != nil {
		t.Fatal(err)
	}
	run(t, "", "status").want(t, exitFailed, `fairlead: context "prod": tls: `, "no such file")
	run(t, "", "context", "set", "prod", "--author", "carol").want(t, exitDone, "warning: tls: ")
	// A file that was linked to stays in its place.
	real := filepath.Join(t.TempDir(), "real.yaml")
	if err := os.Rename(path, real); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, path); err != nil {
		t.Fatal(err)
	}
	run(t, "", "context", "set", "prod", "--author", "dave").want(t, exitDone)
	if info, err := os.Lstat(path); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link became %v, %v", info, err)
	}
}

// Every mistake in the file is told at once, with its line.
func TestContextMistakes(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty":    {"", ""},
		"comments": {"# nothing yet\n", ""},
		"all": {"current: prod\ncontxts: {}\ncontexts:\n  prod:\n    tlscert: a.crt\n    controllers: [there, 5]\n    author: [a]\n  prod: {}\n  a/b: {controllers: []}\n  half:\n    tlsKey: x\n    controllers: [a]\n",
			`F:2: no field "contxts" (did you mean "contexts"?)
F:5: contexts.prod: no field "tlscert" (did you mean "tlsCert"?)
F:6: contexts.prod.controllers[1]: want a text
F:7: contexts.prod.author: want a text
F:8: contexts.prod: given twice
F:9: contexts.a/b: "a/b" is no name for a context: want up to 63 letters, digits and . - _
F:11: contexts.half: controllers: "a": want HOST:PORT
F:11: contexts.half: TLS needs tlsCert, tlsKey and tlsCA, all three or none`},
		"list":          {"- a\n", "F:1: want fields, as key: value"},
		"not a list":    {"contexts: {a: {controllers: a:1}}", "F:1: contexts.a.controllers: want a list, as [c1.example.net:7443, c2.example.net:7443]"},
		"no YAML":       {"current: a\nb: c: d\n", "F: line 2: mapping values are not allowed in this context"},
		"two documents": {"current: a\n---\ncurrent: b\n", "F: want one YAML document"},
		"alias":         {"contexts: {a: &x {controllers: [a:1]}, b: *x}", "F:1: contexts.b: want fields, as key: value"},
		"large":         {strings.Repeat("#", maxContexts+1), "F has more than 1024 KiB: is that a file of contexts?"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "c.yaml")
			writeFile(t, path, c.text)
			r := run(t, "", "context", "list", "--config", path)
			if c.want == "" {
				r.want(t, exitDone)
				return
			}
			r.want(t, exitUsage)
			n := strings.Count(c.want, "\n") + 1
			if d := cmp.Diff(c.want+"\nfairlead: "+count(n, "error")+"; nothing was done\n", strings.ReplaceAll(r.err, path, "F")); d != "" {
				t.Error(d)
			}
			run(t, "", "status", "--config", path).want(t, exitUsage, path)
			// What needs no controller needs no contexts either.
			run(t, "", "version", "--config", path).want(t, exitDone)
		})
	}
}

// A current context that is not there any more is an error, never another
// installation.
func TestContextGone(t *testing.T) {
	path := contextsFile(t)
	writeFile(t, path, "current: prod\ncontexts: {test: {controllers: [127.0.0.1:1]}}\n")
	run(t, "", "status").want(t, exitFailed, "current, in "+path+`: no context "prod"`)
	run(t, "", "context", "list").want(t, exitDone, "test")
	run(t, "", "context", "use", "test").want(t, exitDone)
	run(t, "", "status").want(t, exitFailed, "127.0.0.1:1 (connection refused)")
}

// The file's place: as XDG says, or none at all.
func TestContextsPath(t *testing.T) {
	dir := t.TempDir()
	os.Unsetenv("FAIRLEAD_CONFIG")
	t.Cleanup(func() { os.Setenv("FAIRLEAD_CONFIG", filepath.Join(os.DevNull, "none")) })
	t.Setenv("XDG_CONFIG_HOME", dir)
	run(t, "", "context", "set", "a", "--controllers", "127.0.0.1:1").want(t, exitDone, filepath.Join(dir, "fairlead", "config.yaml"))
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("HOME", "")
	run(t, "", "context", "set", "a", "--controllers", "127.0.0.1:1").want(t, exitFailed, "neither $XDG_CONFIG_HOME nor $HOME is set; name a file with --config")
	run(t, "", "status", "--controller", serve(t, &fake{status: well})).want(t, exitDone)
}

// FuzzContexts: no file, however strange, does more than fail; and what is
// read can be written and read again.
func FuzzContexts(f *testing.F) {
	f.Add([]byte("current: a\ncontexts:\n  a: {controllers: [a:1], tlsCert: x, tlsKey: y, tlsCA: z, author: me}\n"))
	f.Add([]byte("contexts: {a: &x {}, b: *x}\n<<: {}\n? [a]\n: b\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseContexts("f", data)
		if err != nil {
			return
		}
		path := filepath.Join(t.TempDir(), "f")
		c.path = path
		if err := c.save(); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseContexts(path, text)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if c.Current != again.Current || len(c.Contexts) != len(again.Contexts) {
			t.Fatalf("%+v became %+v", c, again)
		}
	})
}
