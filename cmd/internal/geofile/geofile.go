// Package geofile loads geo data from a file and again when it changes.
package geofile

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/fairlead-dns/fairlead/regions/geo"
)

// poll is how often the file is looked at.
const poll = 2 * time.Second

// Load loads the user's geo data, or the built-in country data when path
// is empty.
func Load(path string) (*geo.Database, error) {
	if path == "" {
		return geo.Builtin()
	}
	db, _, err := read(path)
	return db, err
}

func read(path string) (*geo.Database, fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, fmt.Errorf("--geoip: %w", err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, info, fmt.Errorf("--geoip: %w", err)
	}
	db, err := geo.Load(data)
	if err != nil {
		return nil, info, fmt.Errorf("--geoip %s: %w", path, err)
	}
	return db, info, nil
}

// Reload hands over the data of a file now; without a file there is nothing to
// do.
func Reload(path string, log *slog.Logger, use func(*geo.Database)) error {
	if path == "" {
		return nil
	}
	db, _, err := read(path)
	if err != nil {
		return err
	}
	log.Info("geo data read", "file", path, "type", db.Type(), "networks", db.Networks())
	use(db)
	return nil
}

// Watch hands over the data of a file whenever it changes. A file that is
// refused, as one half written, is told of once; the data before stay.
func Watch(ctx context.Context, path string, log *slog.Logger, use func(*geo.Database)) error {
	if path == "" {
		<-ctx.Done()
		return nil
	}
	last, _ := os.Stat(path)
	t := time.NewTicker(poll)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		info, err := os.Stat(path)
		if err != nil || (last != nil && info.ModTime().Equal(last.ModTime()) && info.Size() == last.Size()) {
			continue
		}
		last = info
		db, _, err := read(path)
		if err != nil {
			log.Error("new geo data refused; the old stay", "file", path, "err", err)
			continue
		}
		log.Info("geo data changed", "file", path, "type", db.Type(), "networks", db.Networks())
		use(db)
	}
}
