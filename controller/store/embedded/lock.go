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
	if err := errors.Join(f.Truncate(0), writePID(f), foreignLock(dir)); err != nil {
		return nil, errors.Join(err, l.release())
	}
	return l, nil
}

func writePID(f *os.File) error {
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// foreignLock looks whether an etcd that knows nothing of our lock file has
// the database open.
func foreignLock(dir string) error {
	db, err := os.OpenFile(filepath.Join(dir, "member", "snap", "db"), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer db.Close() // which gives the lock back
	if err := tryLock(db); err != nil {
		return fmt.Errorf("%w by another etcd: stop it, or choose another directory", err)
	}
	return nil
}

func tryLock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrInUse
	}
	return err
}

func (l *dirLock) release() error { return l.f.Close() }
