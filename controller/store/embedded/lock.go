package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bberrors "go.etcd.io/bbolt/errors"
)

// ErrInUse says that another process, or another Server of this one, has the
// data directory open.
var ErrInUse = errors.New("data directory is in use")

// dirLock is an exclusive lock on a data directory. It goes with the process,
// so a crash leaves none behind; the file itself stays.
type dirLock struct{ f *os.File }

func lockDir(dir string) (*dirLock, error) {
	f, err := os.OpenFile(filepath.Join(dir, "fairlead.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := tryLock(f); err != nil {
		pid, _ := io.ReadAll(io.LimitReader(f, 20))
		f.Close()
		return nil, fmt.Errorf("%w by process %s: stop it, or choose another directory", err, bytes.TrimSpace(pid))
	}
	l := &dirLock{f}
	if err := errors.Join(f.Truncate(0), writePID(f), checkDatabase(dir)); err != nil {
		return nil, errors.Join(err, l.release())
	}
	return l, nil
}

func writePID(f *os.File) error {
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// checkDatabase looks whether an etcd that knows nothing of our lock file has
// the database open, and whether it is one: etcd opens it in a goroutine of its
// own, where it panics if it cannot.
func checkDatabase(dir string) error {
	path := filepath.Join(dir, "member", "snap", "db")
	if info, err := os.Stat(path); errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil // etcd makes it
	}
	db, err := bbolt.Open(path, 0, &bbolt.Options{ReadOnly: true, Timeout: time.Millisecond})
	switch {
	case errors.Is(err, bberrors.ErrTimeout):
		return fmt.Errorf("%w by another etcd: stop it, or choose another directory", ErrInUse)
	case err != nil:
		return fmt.Errorf("database %s is damaged: %w", path, err)
	}
	return db.Close()
}

func tryLock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrInUse
	}
	return err
}

func (l *dirLock) release() error { return l.f.Close() }
