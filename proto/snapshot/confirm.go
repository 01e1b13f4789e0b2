package snapshot

import (
	"os"
	"path/filepath"
	"time"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

// Confirm notes that a saved generation was the newest at a time: whoever starts
// from it later knows how old it is. The time is the file's, so that what is in
// it stays as it is.
func (d *Dir) Confirm(g *pb.Generation, at time.Time) error {
	return os.Chtimes(filepath.Join(d.path, nameOf(g)), time.Time{}, at)
}

// Confirmed is when a generation was saved or, if that was later, confirmed; the
// zero time if it is not there.
func (d *Dir) Confirmed(g *pb.Generation) time.Time {
	info, err := os.Stat(filepath.Join(d.path, nameOf(g)))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
