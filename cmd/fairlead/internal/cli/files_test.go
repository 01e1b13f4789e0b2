package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const agentYAML = "apiVersion: fairlead/v1\nkind: Agent\nmetadata: {name: NAME}\nspec: {region: eu-west}\n"

func agent(name string) string { return strings.Replace(agentYAML, "NAME", name, 1) }

func TestReadDirectory(t *testing.T) {
	dir := t.TempDir()
	for path, text := range map[string]string{
		"b.yaml": agent("b"), "a.yml": agent("a"), "sub/c.yaml": agent("c"),
		"notes.txt": "not YAML", ".git/d.yaml": "- not a resource", ".hidden.yaml": "- no",
		"..data/e.yaml": agent("e"),
	} {
		writeFile(t, filepath.Join(dir, path), text)
	}
	if err := os.Symlink(filepath.Join(dir, "..data/e.yaml"), filepath.Join(dir, "e.yaml")); err != nil {
		t.Fatal(err)
	}
	loose := writeFile(t, filepath.Join(t.TempDir(), "loose.conf"), agent("loose"))
	// A file that is named twice is read once.
	docs, err := load(strings.NewReader(agent("in")), []string{dir, filepath.Join(dir, "b.yaml"), "-", loose})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range docs {
		got = append(got, d.Resource.GetAgent().GetMetadata().GetName()+":"+filepath.Base(d.File))
	}
	if want := "a:a.yml b:b.yaml e:e.yaml c:c.yaml in:stdin loose:loose.conf"; strings.Join(got, " ") != want {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestReadErrors(t *testing.T) {
	dir := t.TempDir()
	_, err := load(nil, []string{filepath.Join(dir, "no.yaml"), filepath.Join(dir, "neither.yaml")})
	if err == nil || !strings.Contains(err.Error(), "no.yaml: no such file") || !strings.Contains(err.Error(), "neither.yaml: no such file") {
		t.Errorf("missing files: %v", err)
	}
	if _, err = load(nil, []string{dir}); err == nil || !strings.Contains(err.Error(), "no *.yaml or *.yml file in this directory") {
		t.Errorf("an empty directory: %v", err)
	}
	if _, err = load(strings.NewReader("# nothing\n"), []string{"-"}); err == nil || err.Error() != "no resources in -" {
		t.Errorf("no resources: %v", err)
	}
}

// All mistakes in all files are told at once, each with its place, and nothing
// is sent.
func TestMistakesInFiles(t *testing.T) {
	dir := t.TempDir()
	a := writeFile(t, filepath.Join(dir, "a.yaml"), agent("a")+"---\napiVersion: fairlead/v1\nkind: Region\nmetadata: {name: eu-west}\nspec: {latitud: 1, longitude: 400}\n")
	b := writeFile(t, filepath.Join(dir, "b.yaml"), agent("a"))
	r := run(t, "", "apply", "-f", a, b, "--controller", deadAddress(t))
	r.want(t, exitFailed,
		a+`:9: regions "eu-west" spec.latitud: unknown field (did you mean "latitude"?)`,
		a+`:9: regions "eu-west" spec.longitude: 400 is out of range: want degrees, -180 to 180`,
		b+`:1: agents "a": is already at `+a+":1",
		"fairlead: 3 errors; nothing was sent\n")
	if r.out != "" {
		t.Errorf("stdout: %s", r.out)
	}
}

func TestZoneCheck(t *testing.T) {
	dir := t.TempDir()
	all := writeFile(t, filepath.Join(dir, "all.yaml"), allKindsYAML)
	r := run(t, "", "zone", "check", "-f", all)
	r.want(t, exitDone, "12 resources in 1 file: no errors", "ZONE")

	bad := strings.NewReplacer("region: us-east, addresses: [198.51.100.10]", "region: us-west, addresses: [198.51.100.10]",
		"ns1 A 127.0.0.1", "ns1 A 127.0.0.256").Replace(allKindsYAML)
	writeFile(t, all, bad)
	run(t, "", "zone", "check", "-f", all).want(t, exitFailed,
		`services "www.example.test" spec.endpoints[2].region: no region "us-west"`,
		all+`:`, `zones "example.test" spec.records:1:`, "fairlead: 2 errors\n")
	run(t, bad, "zone", "check", "-f", "-").want(t, exitFailed, "stdin:")
}
