package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func resourcesOf(docs []Document) []*pb.Resource {
	var out []*pb.Resource
	for _, d := range docs {
		out = append(out, d.Resource)
	}
	return out
}

// check does what apply does with files, up to the answer.
func check(sources ...Source) error {
	docs, err := Load(sources...)
	if err != nil {
		return err
	}
	set, err := NewSet(resourcesOf(docs))
	if err != nil {
		return Locate(err, docs)
	}
	return Locate(Validate(set, Options{}), docs)
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("differs from %s (-want +got):\n%s", path, d)
	}
}

// TestMistakes holds every mistake to the text that a user reads.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/mistakes/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			err = check(Source{File: name + ".yaml", Data: data})
			if err == nil {
				t.Fatal("no error")
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".golden", err.Error()+"\n")
		})
	}
}
