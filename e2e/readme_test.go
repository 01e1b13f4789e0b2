package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the outputs of README.md anew")

// The commands of the README's tour print what it shows, numbers aside.
func TestReadmeTour(t *testing.T) {
	readme := filepath.Join("..", "README.md")
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	p, _, ps := dev(t, "")
	defer p.stop(os.Interrupt)
	dir := t.TempDir()
	// The addresses of this run for those of the README, and back.
	there := strings.NewReplacer("-p 8053", fmt.Sprintf("-p %d", ps[0]), "127.0.10.1:8090", fmt.Sprintf("127.0.10.1:%d", ps[5]), "/tmp/", dir+"/")
	back := strings.NewReplacer(dir+"/", "/tmp/", fmt.Sprintf("-p %d", ps[0]), "-p 8053")
	env := append(os.Environ(), append(ours(), "PATH="+programs+":"+os.Getenv("PATH"), "FAIRLEAD_AUTHOR=alice", fmt.Sprintf("FAIRLEAD_CONTROLLER=127.0.0.1:%d", ps[1]))...)

	blocks := regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatchIndex(string(text), -1)
	if len(blocks) < 5 {
		t.Fatalf("%d console blocks", len(blocks))
	}
	var out strings.Builder
	last := 0
	for _, b := range blocks {
		out.Write(text[last:b[2]])
		last = b[3]
		for _, step := range regexp.MustCompile(`(?m)^\$ `).Split(string(text[b[2]:b[3]]), -1)[1:] {
			command, shown, _ := strings.Cut(step, "\n")
			cmd := exec.Command("bash", "-c", there.Replace(command))
			cmd.Env = env
			printed, _ := cmd.CombinedOutput() // a command may show a refusal
			got := back.Replace(string(printed))
			fmt.Fprintf(&out, "$ %s\n%s", command, got)
			if !*update && loosely(got) != loosely(shown) {
				t.Errorf("$ %s\nprints\n%s\nREADME.md shows\n%s", command, got, shown)
			}
		}
	}
	out.Write(text[last:])
	if *update {
		if err := os.WriteFile(readme, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

var (
	numbers = regexp.MustCompile(`[0-9][0-9.]*(ms|s|m|h|µs)?([0-9]+s)?`)
	version = regexp.MustCompile(`\(v?[^()]*\): generation`)
	hex     = regexp.MustCompile(`[0-9a-f]{32}|[0-9a-f]{11}-[0-9a-f]{4}`)
	blanks  = regexp.MustCompile(`[ \t]+`)
)

// loosely is a text without what differs from run to run.
func loosely(s string) string {
	s = version.ReplaceAllString(s, "(VERSION): generation")
	s = hex.ReplaceAllString(s, "HASH")
	s = numbers.ReplaceAllString(s, "N")
	s = blanks.ReplaceAllString(s, " ")
	var lines []string
	for _, l := range strings.Split(s, "\n") {
		if l = strings.TrimSpace(l); l != "" {
			lines = append(lines, l)
		}
	}
	return strings.Join(lines, "\n")
}
