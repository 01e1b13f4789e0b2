package config

import (
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Golden is for the tests in package config_test, which may import what
// imports config.
var Golden = golden

func resourcesOf(docs []Document) []*pb.Resource {
	var out []*pb.Resource
	for _, d := range docs {
		out = append(out, d.Resource)
	}
	return out
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
