package config_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/plan"
)

// apply does what apply --prune does with a file, up to the head swap.
func apply(base *config.Set, file string, data []byte) (*config.Set, error) {
	docs, err := config.Load(config.Source{File: file, Data: data})
	if err != nil {
		return nil, err
	}
	var resources []*pb.Resource
	for _, d := range docs {
		resources = append(resources, d.Resource)
	}
	next, _, err := config.Merge(base, resources, true)
	if err != nil {
		return nil, config.Locate(err, docs)
	}
	if err := config.Validate(next, config.Options{Base: base, Records: plan.CheckRecords}); err != nil {
		return nil, config.Locate(err, docs)
	}
	_, err = plan.Compile(next)
	return next, err
}

// TestMistakes holds every mistake to the text that a user reads. A file
// NAME.base is what is there before NAME.yaml is applied.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/mistakes/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata", err)
	}
	for _, path := range files {
		file := filepath.Base(path)
		t.Run(strings.TrimSuffix(file, ".yaml"), func(t *testing.T) {
			stem := strings.TrimSuffix(path, ".yaml")
			var base *config.Set
			before, err := os.ReadFile(stem + ".base")
			if err == nil {
				base, err = apply(nil, file, before)
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = apply(base, file, data)
			if err == nil {
				t.Fatal("no error")
			}
			config.Golden(t, stem+".golden", err.Error()+"\n")
			// Each says where, once, and not twice.
			place := regexp.MustCompile(`^` + regexp.QuoteMeta(file) + `:([1-9][0-9]*:)? `)
			seen := map[string]bool{}
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !place.MatchString(line) || seen[line] {
					t.Errorf("without a place, or twice: %s", line)
				}
				seen[line] = true
			}
			// As Windows saves it, it is the same.
			if !bytes.Contains(data, []byte{'\r'}) {
				_, err2 := apply(base, file, bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n")))
				if err2 == nil || err2.Error() != err.Error() {
					t.Errorf("with CRLF: %v", err2)
				}
			}
		})
	}
}

// TestGood: the good files pass everything that an apply does, and once they
// are applied, they change nothing.
func TestGood(t *testing.T) {
	files, err := filepath.Glob("testdata/good/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata", err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		set, err := apply(nil, path, data)
		if err != nil {
			t.Error(err)
			continue
		}
		again, err := apply(set, path, data)
		if err != nil {
			t.Error(err)
			continue
		}
		if n := len(config.Compare(set, again).Changes); n > 0 {
			t.Errorf("%s: %d changes when it is applied again", path, n)
		}
	}
}
