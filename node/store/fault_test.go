package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/ipfs/go-cid"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/envelope"
)

// faultyDisk is a disk for pebble that refuses changes of one sort, from the n-th
// on (a full disk) or the n-th alone (a disk that recovers and whose next sync
// would lie).
type faultyDisk struct {
	sort    func(errorfs.Op) bool // nil: every change
	from    atomic.Int64          // 0: none
	changes atomic.Int64
	once    bool
}

func (d *faultyDisk) wrap(fs vfs.FS) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || op.Kind == errorfs.OpLock || op.Kind == errorfs.OpFilePreallocate {
			return nil
		}
		if d.sort != nil && !d.sort(op) {
			return nil
		}
		n, from := d.changes.Add(1), d.from.Load()
		if from > 0 && (n == from || n > from && !d.once) {
			return syscall.ENOSPC
		}
		return nil
	}))
}

// to is a sort of changes: those kinds, on paths that hold part.
func to(part string, kinds ...errorfs.OpKind) func(errorfs.Op) bool {
	return func(op errorfs.Op) bool {
		return strings.Contains(filepath.Base(op.Path), part) && slices.Contains(kinds, op.Kind)
	}
}

// wantRefused expects ErrReadOnly and the disk's reason in it.
func wantRefused(t *testing.T, err error) {
	t.Helper()
	var why *ReadOnlyError
	if !errors.Is(err, ErrReadOnly) || !errors.Is(err, syscall.ENOSPC) || !errors.As(err, &why) || why.Op == "" {
		t.Fatalf("after the disk failed: %v, want ErrReadOnly with its reason", err)
	}
}

// workload writes until a write fails and returns what was acknowledged. It
// writes enough for pebble to rotate its log, flush and compact.
func workload(s *Store, blocks []envelope.Block, rounds int) (acked []envelope.Block, entries int, err error) {
	space := s.KV("acks")
	for i := range rounds {
		part := blocks[i*len(blocks)/rounds : (i+1)*len(blocks)/rounds]
		if err := s.PutMany(context.Background(), part); err != nil {
			return acked, entries, err
		}
		acked = append(acked, part...)
		if err := space.Apply([]kv.Op{{Key: fmt.Appendf(nil, "%06d", i), Value: []byte("acknowledged")}}); err != nil {
			return acked, entries, err
		}
		entries++
	}
	return acked, entries, nil
}

func checkAcked(t *testing.T, s *Store, acked []envelope.Block, entries int) {
	t.Helper()
	for _, b := range acked {
		wantBlock(t, s, b)
	}
	for i := range entries {
		if _, err := s.KV("acks").Get(fmt.Appendf(nil, "%06d", i)); err != nil {
			t.Fatalf("entry %d of %d was acknowledged: %v", i, entries, err)
		}
	}
	if _, err := s.CheckAll(t.Context(), func(c cid.Cid, err error) { t.Error(c, err) }); err != nil {
		t.Fatal(err)
	}
}

// TestAFailingDisk lets pebble's disk fail at one place after another, for good or
// once. The store must not kill or hang the process, must refuse writes with the
// reason, go on reading, close, and hold after a power cut (everything unsynced
// lost) all that it acknowledged.
func TestAFailingDisk(t *testing.T) {
	sync := []errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo}
	create := []errorfs.OpKind{errorfs.OpCreate, errorfs.OpReuseForWrite}
	places := []struct {
		name string
		sort func(errorfs.Op) bool
		from []int64
	}{
		{"anything", nil, []int64{1, 10, 100, 250}},
		{"log write", to(".log", errorfs.OpFileWrite), []int64{1, 4, 15}},
		{"log sync", to(".log", sync...), []int64{1, 10}},
		{"log create", to(".log", create...), []int64{1, 3}},
		{"table create", to(".sst", create...), []int64{1, 8}},
		{"table write", to(".sst", errorfs.OpFileWrite), []int64{2, 40}},
		{"table sync", to(".sst", sync...), []int64{1, 5}},
		{"manifest write", to("MANIFEST", errorfs.OpFileWrite), []int64{1, 3}},
		{"manifest sync", to("MANIFEST", sync...), []int64{1, 3}},
		{"folder sync", to("index", sync...), []int64{1, 3}},
		{"remove", to("", errorfs.OpRemove), []int64{1}},
	}
	blocks := blocksOf(t, 0, 120, 16<<10) // 2 MB: many memtables of 128 KiB
	for _, once := range []bool{false, true} {
		for _, p := range places {
			for _, from := range p.from {
				t.Run(fmt.Sprintf("%s %d, once %v", p.name, from, once), func(t *testing.T) {
					failAt(t, blocks, &faultyDisk{sort: p.sort, once: once}, from)
				})
			}
		}
	}
}

func failAt(t *testing.T, blocks []envelope.Block, disk *faultyDisk, from int64) {
	platter := vfs.NewCrashableMem()
	cfg := Config{Dir: t.TempDir(), fs: disk.wrap(platter), memTable: 128 << 10}
	s := openTest(t, cfg)
	disk.changes.Store(0)
	disk.from.Store(from)
	acked, entries, err := workload(s, blocks, 60)
	for i := 0; err == nil && i < 2000; i++ { // pebble removes files when it has time
		err = s.KV("patience").Apply([]kv.Op{{Key: []byte("x"), Value: make([]byte, 4096)}})
	}
	if err == nil {
		t.Fatalf("the disk made %d changes and the workload noticed nothing", disk.changes.Load())
	}
	wantRefused(t, err)
	wantRefused(t, s.ReadOnly())
	wantRefused(t, s.PutMany(t.Context(), blocks))
	wantRefused(t, s.Delete(t.Context(), []cid.Cid{blocks[0].CID}))
	wantRefused(t, s.KV("acks").Apply([]kv.Op{{Key: []byte("x")}}))
	wantRefused(t, s.PutObject(Object{Address: blocks[0].CID.Bytes(), Origin: OriginAdded}))
	checkAcked(t, s, acked, entries)

	cfg.fs = platter.CrashClone(vfs.CrashCloneCfg{})
	if err := s.Close(); err != nil {
		t.Logf("close: %v", err) // it may complain, it may not hang
	}
	s = openTest(t, cfg)
	checkAcked(t, s, acked, entries)
	mustPut(t, s, blocks[len(blocks)-5:]...)
}

// TestTheFaultTestCanFail is the negative control: with a disk that pretends to
// sync, the same power cut does lose what was acknowledged.
func TestTheFaultTestCanFail(t *testing.T) {
	platter := vfs.NewCrashableMem()
	var lying atomic.Bool
	cfg := Config{Dir: t.TempDir(), fs: liar{platter, &lying}}
	s := openTest(t, cfg)
	lying.Store(true)
	blocks := blocksOf(t, 0, 10, 100)
	acked, _, err := workload(s, blocks, 10)
	if err != nil {
		t.Fatal(err)
	}
	cfg.fs = platter.CrashClone(vfs.CrashCloneCfg{})
	s = openTest(t, cfg)
	for _, b := range acked {
		if here, err := s.Has(t.Context(), b.CID); err != nil || !here {
			return
		}
	}
	t.Fatal("nothing was lost, so the power cut is none")
}

type liar struct {
	vfs.FS
	lying *atomic.Bool
}

func (l liar) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := l.FS.Create(name, c)
	return lyingFile{f, l.lying}, err
}

type lyingFile struct {
	vfs.File
	lying *atomic.Bool
}

func (f lyingFile) Sync() error {
	if f.lying.Load() {
		return nil
	}
	return f.File.Sync()
}

func (f lyingFile) SyncData() error { return f.Sync() }

func (f lyingFile) SyncTo(int64) (bool, error) { return true, f.Sync() }

// TestPebbleAloneDies is the other negative control, for the freezer: the same
// failure under plain pebble ends the process.
func TestPebbleAloneDies(t *testing.T) {
	cmd, lines := start(t, "bare", t.TempDir())
	for lines.Scan() {
		if lines.Text() == "survived" {
			t.Fatal("plain pebble survived, so the freezer is not needed")
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("plain pebble ended well")
	}
}

// bareForEver is the child of TestPebbleAloneDies.
func bareForEver(home string) error {
	disk := &faultyDisk{sort: to(".log", errorfs.OpFileWrite)}
	db, err := pebble.Open(home, &pebble.Options{FS: disk.wrap(vfs.NewMem())})
	if err != nil {
		return err
	}
	disk.from.Store(disk.changes.Load() + 1)
	err = db.Set([]byte("a"), nil, pebble.Sync)
	fmt.Println("survived")
	return err
}

// TestPowerCut pulls the plug of a healthy disk at random and keeps a random part
// of what was not synced.
func TestPowerCut(t *testing.T) {
	for seed := range uint64(5) {
		rng := rand.New(rand.NewPCG(seed, 1))
		platter := vfs.NewCrashableMem()
		cfg := Config{Dir: t.TempDir(), fs: platter, memTable: 128 << 10}
		s := openTest(t, cfg)
		blocks := blocksOf(t, 0, 200, 5_000)
		acked, entries, err := workload(s, blocks[:50+rng.IntN(150)], 20)
		if err != nil {
			t.Fatal(err)
		}
		cfg.fs = platter.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		checkAcked(t, openTest(t, cfg), acked, entries)
	}
}

// TestADiskThatFailsAtOpen is refused with the reason: a new store, and one that
// has a log to replay and tables to compact. The process neither ends nor hangs.
func TestADiskThatFailsAtOpen(t *testing.T) {
	used := vfs.NewCrashableMem()
	dir := t.TempDir()
	s := openTest(t, Config{Dir: dir, fs: used, memTable: 128 << 10})
	acked, entries, err := workload(s, blocksOf(t, 0, 60, 16<<10), 10)
	if err != nil {
		t.Fatal(err)
	}
	used = used.CrashClone(vfs.CrashCloneCfg{})
	for from := int64(1); from < 40; from += 3 {
		for _, platter := range []*vfs.MemFS{vfs.NewCrashableMem(), used.CrashClone(vfs.CrashCloneCfg{})} {
			disk := &faultyDisk{}
			disk.from.Store(from)
			s, err := Open(Config{Dir: dir, fs: disk.wrap(platter), memTable: 128 << 10})
			if err == nil { // it had made fewer changes until then
				s.Close()
				continue
			}
			wantRefused(t, err)
		}
	}
	checkAcked(t, openTest(t, Config{Dir: dir, fs: used}), acked, entries)
}

// failingLarge refuses to write large blocks as a full disk does.
type failingLarge struct {
	largeBlocks
	full *atomic.Bool
}

func (f failingLarge) PutMany(ctx context.Context, blocks []envelope.Block) error {
	if f.full.Load() {
		return fmt.Errorf("write: %w", syscall.ENOSPC)
	}
	return f.largeBlocks.PutMany(ctx, blocks)
}

// TestAFullDiskUnderLargeBlocks also shows that one failing half stops both, and
// that the log says it once.
func TestAFullDiskUnderLargeBlocks(t *testing.T) {
	var full atomic.Bool
	var said strings.Builder
	cfg := Config{
		Dir: t.TempDir(),
		Log: slog.New(slog.NewTextHandler(&said, nil)),
		large: func(dir string) (largeBlocks, error) {
			f, err := openFlat(dir)
			return failingLarge{f, &full}, err
		},
	}
	s := openTest(t, cfg)
	blocks := blocksOf(t, 0, 4, MaxSmall+1)
	mustPut(t, s, blocks[:2]...)
	full.Store(true)
	wantRefused(t, s.PutMany(t.Context(), blocks[2:]))
	full.Store(false) // too late
	wantRefused(t, s.PutMany(t.Context(), blocks[2:]))
	wantRefused(t, s.KV("a").Apply([]kv.Op{{Key: []byte("a")}}))
	checkAcked(t, s, blocks[:2], 0)
	if n := strings.Count(said.String(), "level=ERROR"); n != 1 {
		t.Fatalf("the log says it %d times:\n%s", n, said.String())
	}
	s = reopen(t, s, cfg)
	mustPut(t, s, blocks...)
	checkAcked(t, s, blocks, 0)
}

// TestPebbleGivesUp: whatever makes pebble call Fatalf ends writing, not the process.
func TestPebbleGivesUp(t *testing.T) {
	cfg := Config{Dir: filepath.Join(t.TempDir(), "s")}
	s := openTest(t, cfg)
	b := blockOf(t, 1, 10)
	mustPut(t, s, b)
	(&indexLogger{log: slog.New(slog.DiscardHandler), broken: s.broken}).Fatalf("lost %d files", 2)
	err := s.PutMany(t.Context(), []envelope.Block{blockOf(t, 2, 10)})
	if !errors.Is(err, ErrReadOnly) || !strings.Contains(err.Error(), "lost 2 files") {
		t.Fatal(err)
	}
	wantBlock(t, s, b)
	s = reopen(t, s, cfg)
	mustPut(t, s, blockOf(t, 2, 10))
}
