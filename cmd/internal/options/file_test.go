package options

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"pgregory.net/rapid"
)

// program is the flags of a program.
func program() *pflag.FlagSet {
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	f.SortFlags = false
	Add(f)
	f.String("name", "vm", "")
	f.StringSlice("controllers", []string{"127.0.0.1:7443"}, "")
	f.StringArray("label", nil, "")
	f.Duration("wait", time.Second, "")
	f.Int("limit", 1, "")
	f.Uint16("port", 53, "")
	f.Bool("insecure-http", false, "")
	f.String("password", "", "")
	f.BoolP("version", "v", false, "")
	Secret(f, "password")
	return f
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "options.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const good = `# all kinds
name: "0123"
controllers: [c1:7443, "[2001:db8::1]:7443"]
label: ["a,b", c]
wait: 5m
limit: -3
port: 5353
insecure-http: true
password: secret
`

// Command line over environment over file over default; lists are replaced and
// not appended to.
func TestPrecedence(t *testing.T) {
	path := write(t, good)
	t.Setenv("FAIRLEAD_CONFIG", path)
	t.Setenv("FAIRLEAD_WAIT", "7s")
	t.Setenv("FAIRLEAD_CONTROLLERS", "e1:1,e2:2")
	t.Setenv("FAIRLEAD_PORT", "1")
	f := program()
	if err := f.Parse([]string{"--port", "99", "--controllers", "f1:1", "--controllers=f2:2"}); err != nil {
		t.Fatal(err)
	}
	if err := Fill(f); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Show(&b, f); err != nil {
		t.Fatal(err)
	}
	want := `log-level: info
name: "0123"  # file F:2
controllers: ['f1:1', 'f2:2']  # --controllers
label: ['a,b', c]  # file F:4
wait: 7s  # environment FAIRLEAD_WAIT
limit: -3  # file F:6
port: 99  # --port
insecure-http: true  # file F:8
# password: (not shown)  # file F:9
`
	got := strings.ReplaceAll(b.String(), path, "F")
	for strings.Contains(got, "   #") {
		got = strings.ReplaceAll(got, "   #", "  #")
	}
	if d := cmp.Diff(strings.TrimPrefix(want, "log-level: info\n"), got); d != "" {
		t.Error(d)
	}
	// What is shown is a file for --config that says the same.
	again := program()
	file, err := Parse("again", b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Fill(again); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"name", "controllers", "label", "wait", "limit", "port", "insecure-http"} {
		if a, b := f.Lookup(name).Value.String(), again.Lookup(name).Value.String(); a != b {
			t.Errorf("--%s %s became %s", name, a, b)
		}
	}
}

// Every mistake of a file is told at once, with its line, also where another
// source decides; and nothing secret is told.
func TestMistakes(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"nothing": {"", ""},
		"comment": {"# nothing\n", ""},
		"null":    {"---\n", ""},
		"types": {`name: 0123
controllers: c1:7443, c2:7443
label: {a: b}
wait: 5
limit: many
port: 70000
insecure-http: "yes"
password: 12345
`, `F:1: name: 0123: want a text: put it in quotes, as "0123"
F:2: controllers: want a list, as ["c1:7443", "c2:7443"]
F:3: label: want a list, as [a, b]
F:4: wait: 5: want a duration with its unit, as 5s
F:5: limit: many: want a whole number, without quotes
F:6: port: 70000: want a whole number from 0 to 65535
F:7: insecure-http: yes: want true or false, without quotes
F:8: password: want a text: put it in quotes`},
		"shapes": {`name: [a]
wait: {a: b}
limit:
controllers:
label: [a, [b]]
port: 1.5
`, `F:1: name: want one value, not a list
F:2: wait: want one value, not fields
F:3: limit: has no value: want a whole number, or no such line
F:4: controllers: has no value: want a list, or no such line
F:5: label: want texts, and number 2 of the list is none
F:6: port: 1.5: want a whole number, without quotes`},
		"names": {`nane: a
--wait: 5s
Controllers: []
name: a
name: b
version: true
check-config: true
config: other.yaml
contexts: {}
? [a]
: b
"a\nb": c
quite-something-else: 1
`, `F:1: nane: no such option (did you mean "name"?)
F:2: --wait: no such option (did you mean "wait"?)
F:3: Controllers: no such option (did you mean "controllers"?)
F:5: name: given twice, first in line 4
F:6: version: is for the command line only
F:7: check-config: is for the command line only
F:8: config: names this file: it is for the command line and the environment
F:9: contexts: no such option: this is a file of contexts, of the operator's tool fairlead
F:10: want the name of an option before the colon, as log-level
F:12: "a\nb": no such option: want one of name, controllers, label, wait, limit, port, insecure-http, password
F:13: quite-something-else: no such option: want one of name, controllers, label, wait, limit, port, insecure-http, password`},
		"resources": {"apiVersion: fairlead/v1\nkind: Region\n", `F:1: apiVersion: no such option: this is a file of resources, for fairlead apply -f
F:2: kind: no such option: this is a file of resources, for fairlead apply -f`},
		"a list":        {"- a\n", "F:1: want options, as log-level: info"},
		"no YAML":       {"name: a\nwait: b: c\n", "F:2: mapping values are not allowed in this context"},
		"two documents": {"name: a\n---\nname: b\n", "F: want one YAML document"},
		"large":         {strings.Repeat("#", maxFile+1), "--config: F has more than 1024 KiB: is that a file of options?"},
		"merge":         {"<<: {name: a}\n", `F:1: <<: no such option: want one of name, controllers, label, wait, limit, port, insecure-http, password`},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, c.text)
			f := program()
			// Given values hide no mistake of the file.
			if err := f.Parse([]string{"--config", path, "--limit=5", "--port", "7"}); err != nil {
				t.Fatal(err)
			}
			err := Fill(f)
			got := ""
			if err != nil {
				got = strings.ReplaceAll(err.Error(), path, "F")
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
			if f.Lookup("limit").Value.String() != "5" {
				t.Errorf("limit became %v", f.Lookup("limit").Value)
			}
		})
	}
}

// Mistakes in the environment and in the file are told together.
func TestMistakesOfAllSources(t *testing.T) {
	t.Setenv("FAIRLEAD_WAIT", "ages")
	t.Setenv("FAIRLEAD_PASSWORD", "secret")
	t.Setenv("FAIRLEAD_CONFIG", write(t, "limit: x\n"))
	err := Fill(program())
	if err == nil || !strings.Contains(err.Error(), "FAIRLEAD_WAIT=ages: want a duration") || !strings.Contains(err.Error(), ":1: limit: x: want") {
		t.Error(err)
	}
	t.Setenv("FAIRLEAD_CONFIG", filepath.Join(t.TempDir(), "none.yaml"))
	if err = Fill(program()); err == nil || !strings.Contains(err.Error(), "--config: ") || !strings.Contains(err.Error(), "FAIRLEAD_WAIT") {
		t.Error(err)
	}
}

func TestStrangers(t *testing.T) {
	for _, kv := range os.Environ() { // as FAIRLEAD_E2E_TABLE, by which the tests themselves are told
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "FAIRLEAD_") {
			t.Setenv(name, "") // which brings it back at the end
			os.Unsetenv(name)
		}
	}
	t.Setenv("FAIRLEAD_CONTROLLRS", "a")
	t.Setenv("FAIRLEAD_AUTHOR", "another program's")
	t.Setenv("FAIRLEAD_NAME", "b")
	if got := Strangers(program()); len(got) != 1 || got[0] != `FAIRLEAD_CONTROLLRS is no option here (did you mean "FAIRLEAD_CONTROLLERS"?)` {
		t.Errorf("%q", got)
	}
}

// What Show prints is read as the same values, whatever they are.
func TestShownIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := program()
		text := rapid.StringOf(rapid.OneOf(rapid.Rune(), rapid.SampledFrom([]rune(":#'\"[]{},-\n\t 0123e.~@&*!|>%ny")))).Filter(func(s string) bool {
			return strings.ToValidUTF8(s, "") == s && !strings.ContainsFunc(s, func(r rune) bool {
				return r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r == 0xfeff || r >= 0x80 && r < 0xa0 && r != 0x85 || r >= 0xfffe
			})
		})
		_ = f.Set("name", text.Draw(t, "name"))
		list := rapid.SliceOf(text).Draw(t, "list")
		_ = f.Lookup("controllers").Value.(pflag.SliceValue).Replace(list)
		var b bytes.Buffer
		if err := Show(&b, f); err != nil {
			t.Fatal(err)
		}
		again := program()
		file, err := Parse("f", b.Bytes())
		if err == nil {
			err = file.Fill(again)
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, b.String())
		}
		if a, b := f.Lookup("name").Value.String(), again.Lookup("name").Value.String(); a != b {
			t.Fatalf("%q became %q", a, b)
		}
		if a, b := list, again.Lookup("controllers").Value.(pflag.SliceValue).GetSlice(); len(a)+len(b) > 0 && !cmp.Equal(a, b) {
			t.Fatalf("%q became %q", a, b)
		}
	})
}

// FuzzFile: no file, however strange, does more than fail.
func FuzzFile(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("a: &x [b]\ncontrollers: *x\nlimit: 0x10\nwait: 1e3\n? {}\n: []\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse("f", data)
		if err == nil {
			_ = file.Fill(program())
		}
	})
}
