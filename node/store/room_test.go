package store

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/kv"
)

// TestRoom (RE-04): blocks are refused before a disk is full, while what must be written
// still is; nothing breaks, and they are taken when there is room. The control: without
// a reserve they are taken whatever is left.
func TestRoom(t *testing.T) {
	left := plenty
	cfg := Config{
		Dir: filepath.Join(t.TempDir(), "s"), Reserve: Reserve{Bytes: 10 << 20, Files: 5},
		free: func(string) free { return left },
	}
	s := openTest(t, cfg)
	put := func(i int) error { return s.PutMany(context.Background(), blocksOf(t, i, 1, 1000)) }
	for i, c := range []struct {
		left free
		want string
	}{
		{plenty, ""},
		{free{10<<20 + 1000, 5}, ""},
		{free{10<<20 + 999, 5}, "MiB are left"},
		{free{0, 1000}, "MiB are left"},
		{free{1 << 40, 4}, "4 more files"},
	} {
		left = c.left
		err := put(i)
		if (err == nil) != (c.want == "") || err != nil && (!errors.Is(err, ErrFull) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v", c.left, err)
		}
		if err := s.KV("a").Apply([]kv.Op{{Key: []byte("must"), Value: []byte("be")}}); err != nil {
			t.Errorf("%+v: %v", c.left, err)
		}
	}
	left = plenty
	if err := put(3); err != nil || s.ReadOnly() != nil {
		t.Errorf("with room again: %v, %v", err, s.ReadOnly())
	}
	cfg.Dir, cfg.Reserve, left = filepath.Join(t.TempDir(), "s"), Reserve{}, free{}
	s = openTest(t, cfg)
	if err := put(0); err != nil {
		t.Errorf("without a reserve: %v", err)
	}
	if got := diskFree(cfg.Dir); got.bytes == 0 || got == plenty {
		t.Errorf("the real disk has %+v left", got)
	}
}
