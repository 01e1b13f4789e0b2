// Package snapshot keeps the last good generations on disk, and a verdict
// table, so that a nameserver or a controller can start when nothing else is
// alive. It imports the proto only; both sides use it. A file is written whole or not at all, and one
// that is torn or altered is never loaded.
package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/google/renameio/v2"
	"google.golang.org/protobuf/proto"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
)

const (
	keep       = 3
	maxSize    = 1 << 30
	prefix     = "generation-"
	suffix     = ".snapshot"
	healthFile = "health.table"
)

// A file is: magic, length of the body (8 bytes, big endian), body, SHA-256 of
// all that comes before.
var (
	magicSnapshot = []byte("fairlead snapshot 1\n")
	magicHealth   = []byte("fairlead health 1\n\x00\x00")
)

const overhead = 20 + 8 + sha256.Size

// Dir is a directory of snapshots that belongs to one process.
type Dir struct{ path string }

// Open makes the directory if it is not there.
func Open(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("snapshot directory: %w", err)
	}
	d := &Dir{path: path}
	d.sweep()
	return d, nil
}

// sweep removes what a crash has left of files that were being written.
func (d *Dir) sweep() {
	entries, _ := os.ReadDir(d.path)
	for _, e := range entries {
		if n := e.Name(); strings.HasPrefix(n, "."+prefix) || strings.HasPrefix(n, "."+healthFile) || strings.HasPrefix(n, "."+breakGlassFile) {
			_ = os.Remove(filepath.Join(d.path, n))
		}
	}
}

func nameOf(g *pb.Generation) string {
	return fmt.Sprintf("%s%020d-%020d%s", prefix, g.GetEpoch(), g.GetRevision(), suffix)
}

// Save writes a generation and removes all but it and the last three.
func (d *Dir) Save(s *pb.Snapshot) error {
	name := nameOf(s.GetGeneration())
	if err := d.write(name, magicSnapshot, s); err != nil {
		return err
	}
	if err := d.sync(); err != nil { // before any other goes
		return err
	}
	names, err := d.names()
	if err != nil {
		return err
	}
	var errs []error
	for _, old := range names[min(keep, len(names)):] {
		// Newer ones that were refused do not push out the one that is good.
		if old != name {
			errs = append(errs, os.Remove(filepath.Join(d.path, old)))
		}
	}
	return errors.Join(errs...)
}

// Load offers the snapshots, newest first, to use until it takes one. It
// returns why each newer one was refused; no snapshot taken is no error, but
// the zero generation.
func (d *Dir) Load(use func(*pb.Snapshot) error) (*pb.Generation, []error) {
	names, err := d.names()
	if err != nil {
		return nil, []error{err}
	}
	var refused []error
	for _, name := range names {
		var s pb.Snapshot
		err := d.read(name, magicSnapshot, &s)
		if want := nameOf(s.GetGeneration()); err == nil && name != want {
			err = fmt.Errorf("renamed: it holds what belongs in %s", want)
		}
		if err == nil {
			err = use(&s)
		}
		if err == nil {
			return s.GetGeneration(), refused
		}
		refused = append(refused, fmt.Errorf("%s: %w", filepath.Join(d.path, name), err))
	}
	return nil, refused
}

// SaveHealth writes the verdict table.
func (d *Dir) SaveHealth(t *pb.HealthTable) error { return d.write(healthFile, magicHealth, t) }

// LoadHealth reads the verdict table; without one it is empty.
func (d *Dir) LoadHealth() (*pb.HealthTable, error) {
	var t pb.HealthTable
	err := d.read(healthFile, magicHealth, &t)
	if errors.Is(err, os.ErrNotExist) {
		return &pb.HealthTable{}, nil
	}
	if err != nil {
		return &pb.HealthTable{}, fmt.Errorf("%s: %w", filepath.Join(d.path, healthFile), err)
	}
	return &t, nil
}

// names lists the snapshots, newest first.
func (d *Dir) names() ([]string, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) && strings.HasSuffix(e.Name(), suffix) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	slices.Reverse(names)
	return names, nil
}

func (d *Dir) write(name string, magic []byte, m proto.Message) error {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return err
	}
	if len(body)+overhead > maxSize {
		return fmt.Errorf("%s: %d bytes, at most %d", name, len(body), maxSize-overhead)
	}
	data := make([]byte, 0, len(body)+overhead)
	data = append(data, magic...)
	data = binary.BigEndian.AppendUint64(data, uint64(len(body)))
	data = append(data, body...)
	sum := sha256.Sum256(data)
	data = append(data, sum[:]...)
	if err := renameio.WriteFile(filepath.Join(d.path, name), data, 0o600, renameio.WithTempDir(d.path)); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// sync makes the names of the files last as their contents do, which are synced
// before they get their names.
func (d *Dir) sync() error {
	f, err := os.Open(d.path)
	if err != nil {
		return fmt.Errorf("snapshot directory: %w", err)
	}
	defer f.Close()
	// Some file systems have nothing to sync there, and say so.
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("snapshot directory: %w", err)
	}
	return nil
}

func (d *Dir) read(name string, magic []byte, m proto.Message) error {
	path := filepath.Join(d.path, name)
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() > maxSize {
		return fmt.Errorf("%d bytes, at most %d", info.Size(), maxSize)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if len(data) < overhead {
		return fmt.Errorf("torn: %d bytes, a file has at least %d", len(data), overhead)
	}
	if !bytes.HasPrefix(data, magic) {
		return fmt.Errorf("not a file of this kind: it begins with %q", data[:len(magic)])
	}
	body := data[len(magic)+8 : len(data)-sha256.Size]
	if n := binary.BigEndian.Uint64(data[len(magic):]); n != uint64(len(body)) {
		return fmt.Errorf("torn: a body of %d bytes, the header says %d", len(body), n)
	}
	if sha256.Sum256(data[:len(data)-sha256.Size]) != [sha256.Size]byte(data[len(data)-sha256.Size:]) {
		return errors.New("altered: the checksum does not match")
	}
	return proto.Unmarshal(body, m)
}
