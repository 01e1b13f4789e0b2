package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead-dns/fairlead/regions/config"
)

const (
	// stdinName is how standard input is called in errors.
	stdinName = "stdin"
	// maxFiles bounds what -f reads in all: a directory that was not meant.
	maxFiles = 512 << 20
)

const fileHelp = `-f takes files, directories (all *.yaml and *.yml below, in the order of their
names; names that begin with a dot are left out) and - for standard input. It
can be repeated, and what follows without -f counts too, so that
-f conf/*.yaml does what it looks like.`

func fileFlag(c *cobra.Command, paths *[]string) {
	c.Flags().StringArrayVarP(paths, "file", "f", nil, "a file, a directory or - for standard input; repeatable")
	_ = c.MarkFlagFilename("file", "yaml", "yml", "json")
}

// named joins what -f names with the arguments.
func named(flag, args []string) ([]string, error) {
	if len(flag) == 0 {
		return nil, usagef("missing -f PATH")
	}
	stdin := 0
	all := append(append([]string(nil), flag...), args...)
	for _, p := range all {
		switch p {
		case "":
			return nil, usagef("-f: an empty path")
		case "-":
			stdin++
		}
	}
	if stdin > 1 {
		return nil, usagef("-f - can be given only once")
	}
	return all, nil
}

// load reads and parses what -f names. The error holds all mistakes in the
// files, with their places.
func load(in io.Reader, paths []string) ([]config.Document, error) {
	sources, err := read(in, paths)
	if err != nil {
		return nil, err
	}
	docs, err := config.Load(sources...)
	if errs, ok := errors.AsType[config.Errors](err); ok {
		return nil, mistakes{errs: errs}
	}
	if err == nil && len(docs) == 0 {
		err = fmt.Errorf("no resources in %s", strings.Join(paths, ", "))
	}
	return docs, err
}

// read reads files. All that cannot be read are in the error.
func read(in io.Reader, paths []string) ([]config.Source, error) {
	r := reader{in: in, seen: map[string]bool{}}
	for _, p := range paths {
		r.path(p)
	}
	return r.sources, errors.Join(r.errs...)
}

type reader struct {
	in      io.Reader
	seen    map[string]bool
	sources []config.Source
	size    int
	errs    []error
}

func (r *reader) fail(path string, err error) {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	r.errs = append(r.errs, fmt.Errorf("-f %s: %w", path, err))
}

func (r *reader) path(p string) {
	if p == "-" {
		r.take(stdinName, r.in)
		return
	}
	info, err := os.Stat(p)
	switch {
	case err != nil:
		r.fail(p, err)
	case info.IsDir():
		r.dir(p)
	default:
		r.file(p)
	}
}

// dir reads what lies below a directory. Links to files are followed, as
// Kubernetes mounts consist of them; links to directories are not.
func (r *reader) dir(root string) {
	found := false
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		switch ext := filepath.Ext(p); {
		case err != nil:
			r.fail(p, err)
			if e != nil && e.IsDir() {
				return fs.SkipDir
			}
		case p != root && strings.HasPrefix(e.Name(), "."):
			if e.IsDir() {
				return fs.SkipDir
			}
		case e.IsDir(), ext != ".yaml" && ext != ".yml":
		default:
			info, err := os.Stat(p)
			if err != nil {
				r.fail(p, err)
			} else if info.Mode().IsRegular() {
				found = true
				r.file(p)
			}
		}
		return nil
	})
	if err != nil {
		r.fail(root, err)
	}
	if !found && len(r.errs) == 0 {
		r.errs = append(r.errs, fmt.Errorf("-f %s: no *.yaml or *.yml file in this directory", root))
	}
}

// file reads a file once, however often it is named.
func (r *reader) file(p string) {
	key, err := filepath.Abs(p)
	if err != nil {
		key = p
	}
	if r.seen[key] {
		return
	}
	r.seen[key] = true
	f, err := os.Open(p)
	if err != nil {
		r.fail(p, err)
		return
	}
	defer f.Close()
	r.take(p, f)
}

func (r *reader) take(name string, from io.Reader) {
	data, err := io.ReadAll(io.LimitReader(from, config.MaxFileSize+1))
	switch {
	case err != nil:
		r.fail(name, err)
		return
	case len(data) > config.MaxFileSize:
		r.errs = append(r.errs, fmt.Errorf("-f %s: has more than %d MiB: split it", name, config.MaxFileSize>>20))
		return
	}
	if r.size += len(data); r.size > maxFiles {
		if r.size-len(data) <= maxFiles {
			r.errs = append(r.errs, fmt.Errorf("-f %s: with it there are more than %d MiB: is that the right directory?", name, maxFiles>>20))
		}
		return
	}
	r.sources = append(r.sources, config.Source{File: name, Data: data})
}
