//go:build unix

package object

import (
	"path/filepath"
	"testing"

	"cerebrum.dev/cerebrum/node/fault"
	"golang.org/x/sys/unix"
)

// A pipe that nobody writes to is refused; opening it would wait for ever.
func TestNamedPipeIsRefusedAtOnce(t *testing.T) {
	x := newLab(t)
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := x.AddPath(t.Context(), x.owner, pipe, Labels{})
	wantExit(t, err, fault.Usage)
	a, err := x.AddPath(t.Context(), x.owner, dir, Labels{})
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Skipped) != 1 || a.Skipped[0] != "pipe" {
		t.Errorf("skipped %q", a.Skipped)
	}
}
