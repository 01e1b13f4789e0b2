package snapshot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

const (
	breakGlassFile = "breakglass.table"
	// damagedSuffix is followed by when the file was set aside.
	damagedSuffix = ".damaged-"
)

var magicBreakGlass = []byte("break-glass table 1\n")

// SaveBreakGlass writes the break-glass records; they are on disk when it returns,
// and there after a loss of power.
func (d *Dir) SaveBreakGlass(t *pb.BreakGlassTable) error {
	if err := d.write(breakGlassFile, magicBreakGlass, t); err != nil {
		return err
	}
	return d.sync()
}

// LoadBreakGlass reads the break-glass records; without a file there are none.
func (d *Dir) LoadBreakGlass() (*pb.BreakGlassTable, error) {
	var t pb.BreakGlassTable
	err := d.read(breakGlassFile, magicBreakGlass, &t)
	if errors.Is(err, os.ErrNotExist) {
		return &pb.BreakGlassTable{}, nil
	}
	if err != nil {
		return &pb.BreakGlassTable{}, fmt.Errorf("%s: %w", filepath.Join(d.path, breakGlassFile), err)
	}
	return &t, nil
}

// SetBreakGlassAside renames the file of the records: it is of no use, and a person
// shall see it.
func (d *Dir) SetBreakGlassAside(now time.Time) error {
	from := filepath.Join(d.path, breakGlassFile)
	return os.Rename(from, from+damagedSuffix+now.UTC().Format("20060102T150405.000Z"))
}

// DamagedBreakGlass lists the files that were set aside and that nobody has removed.
func (d *Dir) DamagedBreakGlass() ([]string, error) {
	entries, err := os.ReadDir(d.path)
	var out []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), breakGlassFile+damagedSuffix) {
			out = append(out, filepath.Join(d.path, e.Name()))
		}
	}
	return out, err
}
