package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const commented = `# Ours; ask the network team before you change it.
current: prod # the one that pays

contexts:
  # Behind the VPN.
  prod:
    controllers:
      - 192.0.2.1:7443 # Dublin
      - 198.51.100.1:7443 # Ashburn
    tlsCert: alice.crt # renewed by hand
    tlsKey: alice.key
    tlsCA: ca.crt
  # Anybody may break this one.
  test: {controllers: ['127.0.0.1:7443'], author: alice}
options:
  timeout: 30s # it is far
`

// What changes a context changes its lines; comments and all else stay.
func TestContextKeepsComments(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	t.Setenv("FAIRLEAD_CONFIG", path)
	for name, c := range map[string]struct {
		args    []string
		replace []string // pairs, in commented without its empty line
	}{
		"author added":    {[]string{"set", "prod", "--author", "bob"}, []string{"    tlsCA: ca.crt\n", "    tlsCA: ca.crt\n    author: bob\n"}},
		"author changed":  {[]string{"set", "test", "--author", "bob"}, []string{"author: alice", "author: bob"}},
		"address changed": {[]string{"set", "prod", "--controllers", "192.0.2.1:7443,203.0.113.1:7443"}, []string{"198.51.100.1:7443 # Ashburn", "203.0.113.1:7443"}},
		"field removed":   {[]string{"set", "test", "--author", ""}, []string{", author: alice", ""}},
		"made":            {[]string{"set", "new", "--controllers", "127.0.0.1:1"}, []string{"options:\n", "  new:\n    controllers: ['127.0.0.1:1']\noptions:\n"}},
		"used":            {[]string{"use", "test"}, []string{"current: prod #", "current: test #"}},
		"deleted":         {[]string{"delete", "test"}, []string{"  test: {controllers: ['127.0.0.1:7443'], author: alice}\n", "", "  # Anybody may break this one.\n", ""}},
		"the current one": {[]string{"delete", "prod"}, []string{
			"current: prod # the one that pays\n", "",
			"  # Behind the VPN.\n  prod:\n    controllers:\n      - 192.0.2.1:7443 # Dublin\n      - 198.51.100.1:7443 # Ashburn\n    tlsCert: alice.crt # renewed by hand\n    tlsKey: alice.key\n    tlsCA: ca.crt\n", "",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			writeFile(t, path, commented)
			run(t, "", append([]string{"context"}, c.args...)...).want(t, exitDone)
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.NewReplacer(c.replace...).Replace(commented)
			empty := strings.NewReplacer("\n\n", "\n")
			if d := cmp.Diff(empty.Replace(want), empty.Replace(string(got))); d != "" {
				t.Error(d)
			}
		})
	}
	// A file of nothing but a comment.
	writeFile(t, path, "# Nothing yet.\n")
	run(t, "", "context", "set", "a", "--controllers", "127.0.0.1:1").want(t, exitDone)
	if got, _ := os.ReadFile(path); string(got) != "# Nothing yet.\ncurrent: a\ncontexts:\n  a:\n    controllers: ['127.0.0.1:1']\n" {
		t.Errorf("%s", got)
	}
}

// Options in the file are for flags that neither the command line nor the
// environment gives; what is wrong with them is told at once.
func TestOptionsInFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	t.Setenv("FAIRLEAD_CONFIG", path)
	addr := serve(t, &fake{status: well})
	t.Setenv("FAIRLEAD_CONTROLLER", addr)
	writeFile(t, path, "options:\n  output: name\n  timeout: 20s\n  expire-after: 2h # another command's\n")
	if r := run(t, "", "status"); r.code != exitDone || r.out != "" {
		t.Errorf("%+v: want names", r)
	}
	run(t, "", "status", "-o", "table").want(t, exitDone, "controller alive")
	t.Setenv("FAIRLEAD_OUTPUT", "json")
	run(t, "", "status").want(t, exitDone, `"controller"`)
	os.Unsetenv("FAIRLEAD_OUTPUT")

	writeFile(t, path, "current: ''\noptions:\n  timeuot: 5s\n  timeout: 5\n  output: [wide]\n  controller: [a:1]\n  context: prod\n  author: bob\n  prune: maybe\n")
	r := run(t, "", "status")
	r.want(t, exitUsage)
	want := `F:3: options.timeuot: no such option (did you mean "timeout"?)
F:4: options.timeout: 5: want a duration with its unit, as 5s
F:5: options.output: want one value, not a list
F:6: options.controller: belongs into a context, under contexts
F:7: options.context: is for the command line and the environment; here it is current, at the top
F:8: options.author: no such option: it belongs into a context, under contexts
fairlead: 6 errors; nothing was done
`
	if d := cmp.Diff(want, strings.ReplaceAll(r.err, path, "F")); d != "" {
		t.Error(d)
	}
	run(t, "", "apply", "-f", path).want(t, exitUsage, "F:9: options.prune: maybe: want true or false, without quotes"[1:])
	// What is there to mend it works.
	run(t, "", "version").want(t, exitDone)
	run(t, "", "context", "list").want(t, exitDone)
	writeFile(t, path, "options: [5]\n")
	run(t, "", "status").want(t, exitUsage, ":1: options: want options, as log-level: info")
}
