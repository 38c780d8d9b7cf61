package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/envelope"
)

// TestAReallyFullDisk fills a small file system, from each half of the store in
// turn. It needs root to mount one; TestAFailingDisk covers the ground elsewhere.
func TestAReallyFullDisk(t *testing.T) {
	for _, size := range []int{MaxSmall, 400_000} {
		t.Run(fmt.Sprint("blocks of ", size), func(t *testing.T) { fillUp(t, size) })
	}
}

func fillUp(t *testing.T, size int) {
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("SKIPPED, NOT TESTED: no small disk to fill: mount: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Dir: filepath.Join(disk, "store"), memTable: 1 << 20}
	s := openTest(t, cfg)
	var acked []envelope.Block
	var err error
	for n := 0; err == nil; n += 4 {
		if n*size > 40<<20 {
			t.Fatal("the disk does not fill")
		}
		part := blocksOf(t, n, 4, size)
		if err = s.PutMany(context.Background(), part); err == nil {
			acked = append(acked, part...)
		}
	}
	wantFull(t, err)
	wantFull(t, s.KV("a").Apply([]kv.Op{{Key: []byte("a")}}))
	checkAcked(t, s, acked, 0)
	if err := s.Close(); err != nil {
		t.Logf("close: %v", err)
	}
	if s, err := Open(cfg); err == nil { // it may find room to open; it may not lie
		checkAcked(t, s, acked, 0)
		s.Close()
	} else if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("opening on a full disk: %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, cfg)
	checkAcked(t, s, acked, 0)
	mustPut(t, s, blockOf(t, 1<<20, 1000))
}

func wantFull(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, ErrReadOnly) || !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("a full disk gave %v", err)
	}
}
