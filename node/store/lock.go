package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrInUse reports a home that another process holds. The error is an
// [*InUseError].
var ErrInUse = errors.New("home is in use")

// InUseError says which home is in use, and by whom.
type InUseError struct {
	Home string
	PID  int // 0 if the file does not say
}

// Error names the home and the process.
func (e *InUseError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s is in use by another process", e.Home)
	}
	return fmt.Sprintf("%s is in use by process %d", e.Home, e.PID)
}

// Unwrap makes the error match [ErrInUse].
func (e *InUseError) Unwrap() error { return ErrInUse }

// Lock is the right of one process to a home. The kernel takes it back when the
// process ends, however it ends; the file stays and means nothing by itself.
type Lock struct{ file *os.File }

// AcquireLock takes the lock of a home, which is made with mode 0700 if needed,
// or returns an [*InUseError] at once. The holder's pid is in HOME/lock. A network
// file system may not pass the lock on to other machines.
func AcquireLock(home string) (*Lock, error) {
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, fmt.Errorf("make the home: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(home, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	switch taken, err := tryLock(f); {
	case err != nil:
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	case !taken:
		pid := readPID(f)
		f.Close()
		return nil, &InUseError{Home: home, PID: pid}
	}
	if err := writePID(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("write the lock: %w", err)
	}
	return &Lock{f}, nil
}

// Release gives the home back. Release once.
func (l *Lock) Release() error { return l.file.Close() } // which unlocks

// readPID reads what writePID wrote. Between the two of another process the file
// may be empty.
func readPID(f *os.File) int {
	b, _ := io.ReadAll(io.NewSectionReader(f, 0, 20))
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid < 1 {
		return 0
	}
	return pid
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt(strconv.AppendInt(nil, int64(os.Getpid()), 10), 0)
	return err
}
