package pki

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// file is one to be written.
type file struct {
	path string
	data []byte
	mode os.FileMode
	like os.FileInfo // whose owner it gets; nil: the process's
}

// makeDir makes the directory of a CA, for its owner only.
func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("--dir: %w", err)
	}
	return nil
}

// noCA explains why there is no CA to use.
func noCA(dir string, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("no CA in %s (%w): make one with fairlead pki init --dir %s, or name its directory with --dir", dir, err, dir)
	}
	return err
}

// create writes files of which none exists yet; hint says what to do about
// one that does. Their names are taken first, so that two who create at once
// cannot both succeed.
func create(hint string, files ...file) (err error) {
	var taken []string
	defer func() {
		if err != nil {
			for _, path := range taken {
				err = errors.Join(err, os.Remove(path))
			}
		}
	}()
	for _, f := range files {
		placeholder, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.mode)
		if errors.Is(err, os.ErrExist) {
			return fmt.Errorf("%s exists: %s", f.path, hint)
		}
		if err != nil {
			return err
		}
		taken = append(taken, f.path)
		if err := placeholder.Close(); err != nil {
			return err
		}
	}
	return replace(files...)
}

// replace writes all files in full beside their places, and then moves them
// there one right after the other, in their order.
func replace(files ...file) error {
	var pending []*renameio.PendingFile
	defer func() {
		for _, p := range pending {
			_ = p.Cleanup() // nothing, once it is in its place
		}
	}()
	for _, f := range files {
		p, err := renameio.NewPendingFile(f.path, renameio.WithTempDir(filepath.Dir(f.path)), renameio.WithPermissions(f.mode))
		if err != nil {
			return fmt.Errorf("write %s: %w", f.path, err)
		}
		pending = append(pending, p)
		if f.like != nil {
			if err := chownLike(p.File, f.like); err != nil {
				return fmt.Errorf("write %s: give it to its owner: %w", f.path, err)
			}
		}
		if _, err := p.Write(f.data); err != nil {
			return fmt.Errorf("write %s: %w", f.path, err)
		}
		if err := p.Sync(); err != nil {
			return fmt.Errorf("write %s: %w", f.path, err)
		}
	}
	for i, p := range pending {
		if err := p.CloseAtomicallyReplace(); err != nil {
			if i > 0 {
				return fmt.Errorf("write %s: %w (%s is new already: run this again)", files[i].path, err, files[i-1].path)
			}
			return fmt.Errorf("write %s: %w", files[i].path, err)
		}
	}
	return nil
}
