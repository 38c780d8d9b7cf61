package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/kv/kvtest"
	"cerebrum.dev/cerebrum/crypto/envelope"
)

func openTest(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && err != ErrClosed {
			t.Error(err)
		}
	})
	return s
}

// reopen closes a store and opens what it left.
func reopen(t testing.TB, s *Store, cfg Config) *Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return openTest(t, cfg)
}

// blockOf makes a true block of a number, of a codec that says where it came from.
func blockOf(t testing.TB, n, size int) envelope.Block {
	t.Helper()
	data := make([]byte, size)
	seed := binary.BigEndian.AppendUint64(nil, uint64(n))
	for i := range data {
		data[i] = seed[i%8] ^ byte(i>>8) ^ byte(i)
	}
	copy(data, seed)
	codec := uint64(cid.Raw)
	if n%2 == 1 {
		codec = cid.DagCBOR
	}
	c, err := cid.V1Builder{Codec: codec, MhType: multihash.SHA2_256}.Sum(data)
	if err != nil {
		t.Fatal(err)
	}
	return envelope.Block{CID: c, Data: data}
}

func blocksOf(t testing.TB, from, n, size int) []envelope.Block {
	t.Helper()
	out := make([]envelope.Block, n)
	for i := range out {
		out[i] = blockOf(t, from+i, size)
	}
	return out
}

func mustPut(t testing.TB, s *Store, blocks ...envelope.Block) {
	t.Helper()
	if err := s.PutMany(t.Context(), blocks); err != nil {
		t.Fatal(err)
	}
}

func wantBlock(t testing.TB, s *Store, b envelope.Block) {
	t.Helper()
	got, err := s.GetVerified(t.Context(), b.CID)
	if err != nil || !bytes.Equal(got, b.Data) {
		t.Fatalf("block %s of %d bytes came back as %d bytes, %v", b.CID, len(b.Data), len(got), err)
	}
	if here, err := s.Has(t.Context(), b.CID); err != nil || !here {
		t.Fatalf("Has(%s) = %v, %v", b.CID, here, err)
	}
}

func wantNoBlock(t testing.TB, s *Store, c cid.Cid) {
	t.Helper()
	if _, err := s.Get(t.Context(), c); !errors.Is(err, ErrNotFound) {
		t.Fatalf("Get(%s): %v, want ErrNotFound", c, err)
	}
	if here, err := s.Has(t.Context(), c); err != nil || here {
		t.Fatalf("Has(%s) = %v, %v", c, here, err)
	}
}

// sizes stand on both sides of the border between the halves.
var sizes = []int{8, 4 << 10, MaxSmall, MaxSmall + 1, 983_280, MaxBlock}

func TestBlocksOfEverySizeComeBack(t *testing.T) {
	cfg := Config{Dir: filepath.Join(t.TempDir(), "store")}
	s := openTest(t, cfg)
	var all []envelope.Block
	for i, size := range sizes {
		all = append(all, blockOf(t, i, size))
	}
	wantNoBlock(t, s, all[0].CID)
	wantNoBlock(t, s, all[5].CID)
	mustPut(t, s, all...)
	mustPut(t, s, all...) // again: nothing to do
	for _, b := range all {
		wantBlock(t, s, b)
	}
	s = reopen(t, s, cfg)
	for _, b := range all {
		wantBlock(t, s, b)
	}
	if n, err := s.CheckAll(t.Context(), func(c cid.Cid, err error) { t.Error(c, err) }); n != len(all) || err != nil {
		t.Fatalf("CheckAll = %d, %v; want %d", n, err, len(all))
	}
	half := []cid.Cid{all[0].CID, all[5].CID, blockOf(t, 99, 10).CID}
	if err := s.Delete(t.Context(), half); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s, cfg)
	wantNoBlock(t, s, half[0])
	wantNoBlock(t, s, half[1])
	for _, b := range all[1:5] {
		wantBlock(t, s, b)
	}
}

func TestEachBlockGoesWhereItBelongs(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Config{Dir: dir})
	small, large := blockOf(t, 1, MaxSmall), blockOf(t, 2, MaxSmall+1)
	mustPut(t, s, small, large, small, large) // repeated in one call
	files, err := filepath.Glob(filepath.Join(dir, "blocks", "?", "*.data"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %q, %v; want the large block alone", files, err)
	}
	name := strings.TrimSuffix(filepath.Base(files[0]), ".data")
	if got := "b" + strings.ToLower(name); got != large.CID.String() {
		t.Fatalf("the file is named %s, want %s", got, large.CID)
	}
}

func TestTheCallerMayReuseData(t *testing.T) {
	s := openTest(t, Config{Dir: t.TempDir()})
	for i, size := range sizes {
		b := blockOf(t, i, size)
		kept := bytes.Clone(b.Data)
		mustPut(t, s, b)
		clear(b.Data)
		wantBlock(t, s, envelope.Block{CID: b.CID, Data: kept})
	}
}

func TestWhatIsNoBlockIsRefused(t *testing.T) {
	s := openTest(t, Config{Dir: t.TempDir()})
	good := blockOf(t, 1, 10)
	long, err := multihash.Encode(make([]byte, 2*maxCID), multihash.IDENTITY)
	if err != nil {
		t.Fatal(err)
	}
	bad := []envelope.Block{
		{},
		{CID: good.CID, Data: make([]byte, MaxBlock+1)},
		{CID: cid.NewCidV1(cid.Raw, long)},
	}
	for i, b := range bad {
		if err := s.PutMany(t.Context(), []envelope.Block{good, b}); err == nil {
			t.Errorf("bad block %d was taken", i)
		}
	}
	wantNoBlock(t, s, good.CID)
	if err := s.ReadOnly(); err != nil {
		t.Fatalf("a caller's mistake made the store read-only: %v", err)
	}
}

func TestAnImpatientCallerHarmsNobody(t *testing.T) {
	s := openTest(t, Config{Dir: t.TempDir()})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	large := blocksOf(t, 0, 40, MaxSmall+1)
	if err := s.PutMany(ctx, large); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := s.Get(ctx, large[0].CID); !errors.Is(err, context.Canceled) {
		t.Fatalf("Get after the end of its context: %v", err)
	}
	if err := s.ReadOnly(); err != nil {
		t.Fatalf("a caller that gave up made the store read-only: %v", err)
	}
	mustPut(t, s, large...)
	for _, b := range large {
		wantBlock(t, s, b)
	}
}

func TestMetadataKeepsTheContract(t *testing.T) {
	s := openTest(t, Config{Dir: t.TempDir()})
	n := 0
	kvtest.Run(t, func() kv.Store { n++; return s.KV(fmt.Sprint("space", n)) })
}

func TestNamespacesDoNotLeak(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	s := openTest(t, cfg)
	names := []string{"a", "aa", "a\xff", "b", "k", "\xff"}
	mustPut(t, s, blockOf(t, 1, 10))
	if err := s.PutObject(Object{Address: blockOf(t, 1, 10).CID.Bytes(), Origin: OriginAdded}); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		// Keys that would read as another namespace's, were names not ended.
		for _, key := range []string{"a", "\x00", "\x00a", "\xff", "\xff\xff", "a\x00a"} {
			if err := s.KV(name).Apply([]kv.Op{{Key: []byte(key), Value: []byte(name)}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	s = reopen(t, s, cfg)
	for _, name := range names {
		n := 0
		err := s.KV(name).Scan(nil, nil, func(k, v []byte) (bool, error) {
			if n++; string(v) != name {
				t.Errorf("%q sees the key %q of %q", name, k, v)
			}
			return true, nil
		})
		if err != nil || n != 6 {
			t.Errorf("%q sees %d keys, %v; want 6", name, n, err)
		}
	}
	for _, name := range []string{"", "a\x00", "\x00"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("the name %q was taken", name)
				}
			}()
			s.KV(name)
		}()
	}
}

func TestObjects(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	s := openTest(t, cfg)
	a := Object{Address: blockOf(t, 1, 8).CID.Bytes(), Origin: OriginAdded, Owned: true, Added: 1e9, Size: 5, Stored: 6, Scope: []byte{7}, State: 8, Local: []byte("sealed")}
	b := Object{Address: blockOf(t, 2, 8).CID.Bytes(), Origin: OriginTransferred, Added: -1, Stored: 1 << 40}
	if err := s.PutObjects([]Object{a, b}); err != nil {
		t.Fatal(err)
	}
	b.State = 3
	if err := s.PutObject(b); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s, cfg)
	seen := map[string]Object{}
	if err := s.Objects(func(o Object) (bool, error) { seen[string(o.Address)] = o; return true, nil }); err != nil || len(seen) != 2 {
		t.Fatalf("%d objects, %v", len(seen), err)
	}
	for _, want := range []Object{a, b} {
		got, err := s.Object(cid.MustParse(want.Address))
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) || fmt.Sprint(seen[string(want.Address)]) != fmt.Sprint(want) {
			t.Fatalf("got %v, %v; want %v", got, err, want)
		}
	}
	gone := cid.MustParse(a.Address)
	if err := errors.Join(s.DeleteObject(gone), s.DeleteObject(gone)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Object(gone); !errors.Is(err, ErrNotFound) {
		t.Fatalf("a deleted object: %v", err)
	}
}

func TestBadObjectsAreRefused(t *testing.T) {
	s := openTest(t, Config{Dir: t.TempDir()})
	good := Object{Address: blockOf(t, 1, 8).CID.Bytes(), Origin: OriginAdded}
	address := cid.MustParse(good.Address)
	noAddress, noOrigin, newOrigin, fat := good, good, good, good
	noAddress.Address = []byte{1, 2}
	noOrigin.Origin = 0
	newOrigin.Origin = 4
	fat.Local = make([]byte, maxObject)
	for i, o := range []Object{noAddress, noOrigin, newOrigin, fat} {
		if err := s.PutObjects([]Object{good, o}); err == nil {
			t.Errorf("bad object %d was taken", i)
		}
	}
	if _, err := s.Object(address); !errors.Is(err, ErrNotFound) {
		t.Fatalf("half of a refused call was kept: %v", err)
	}
	// What stands on disk is not believed either.
	if err := s.PutObject(good); err != nil {
		t.Fatal(err)
	}
	raw, err := s.read(objectKey(address))
	if err != nil {
		t.Fatal(err)
	}
	other := blockOf(t, 2, 8).CID
	for _, op := range []kv.Op{{Key: objectKey(other), Value: raw}, {Key: objectKey(other), Value: raw[1:]}, {Key: objectKey(other)}} {
		if err := s.apply([]kv.Op{op}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Object(other); !errors.Is(err, ErrCorrupt) {
			t.Errorf("a wrong note gave %v", err)
		}
		if err := s.Objects(func(Object) (bool, error) { return true, nil }); !errors.Is(err, ErrCorrupt) {
			t.Errorf("a walk over a wrong note gave %v", err)
		}
	}
}

func FuzzObject(f *testing.F) {
	f.Add([]byte{0x8a, 0x40, 1, 0xf4, 0, 0, 0, 0x40, 0, 0x40})
	f.Add([]byte{})
	c, err := cid.V1Builder{Codec: cid.Raw, MhType: multihash.SHA2_256}.Sum(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if o, err := decodeObject(c, raw); err == nil && string(o.Address) != c.KeyString() {
			t.Fatal("an object of another address was taken")
		}
	})
}

func TestAnUnknownLayoutIsRefused(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	s := openTest(t, cfg)
	if err := s.apply([]kv.Op{{Key: []byte{keyLayout}, Value: []byte{layout + 1}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(cfg); err == nil || !strings.Contains(err.Error(), "layout") {
		if err == nil {
			s.Close()
		}
		t.Fatalf("opened a store of another layout: %v", err)
	}
}

func TestClosedMeansClosed(t *testing.T) {
	s := openTest(t, Config{Dir: t.TempDir()})
	b := blockOf(t, 1, 10)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, errGet := s.Get(t.Context(), b.CID)
	_, errHas := s.Has(t.Context(), b.CID)
	_, errObject := s.Object(b.CID)
	_, errCheck := s.CheckAll(t.Context(), nil)
	_, errKV := s.KV("a").Get([]byte("a"))
	for i, err := range []error{
		errGet, errHas, errObject, errCheck, errKV, s.Close(),
		s.PutMany(t.Context(), []envelope.Block{b}),
		s.Delete(t.Context(), []cid.Cid{b.CID}),
		s.PutObject(Object{Address: b.CID.Bytes(), Origin: OriginAdded}),
		s.DeleteObject(b.CID), s.Objects(nil),
		s.KV("a").Apply([]kv.Op{{Key: []byte("a")}}),
		s.KV("a").Scan(nil, nil, nil),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("call %d after Close: %v", i, err)
		}
	}
}

// TestCloseWaitsForAScan also shows that the function of a scan that is under way
// when Close comes is told so, rather than left waiting for Close.
func TestCloseWaitsForAScan(t *testing.T) {
	s := openTest(t, Config{Dir: t.TempDir()})
	space := s.KV("a")
	if err := space.Apply([]kv.Op{{Key: []byte("a")}}); err != nil {
		t.Fatal(err)
	}
	inside, closed := make(chan struct{}), make(chan error, 1)
	go func() {
		<-inside
		closed <- s.Close()
	}()
	err := space.Scan(nil, nil, func(k, _ []byte) (bool, error) {
		close(inside)
		for {
			if _, err := space.Get(k); err != nil {
				return false, err // Close has begun and waits for us
			}
		}
	})
	if !errors.Is(err, ErrClosed) {
		t.Fatalf("the scan ended with %v", err)
	}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
}

// TestManyHandsAtOnce is for the race detector: everybody works on the same few
// blocks and keys.
func TestManyHandsAtOnce(t *testing.T) {
	s := openTest(t, Config{Dir: t.TempDir()})
	small, large := blocksOf(t, 0, 12, 2000), blocksOf(t, 100, 6, MaxSmall+1)
	all := append(append([]envelope.Block{}, small...), large...)
	space := s.KV("a")
	work := []func(i int) error{
		func(i int) error { return s.PutMany(t.Context(), all) },
		func(i int) error { return s.PutMany(t.Context(), all[i%len(all):]) },
		func(i int) error { return s.Delete(t.Context(), []cid.Cid{all[i%len(all)].CID}) },
		func(i int) error {
			_, err := s.GetVerified(t.Context(), all[i%len(all)].CID)
			if errors.Is(err, ErrNotFound) {
				return nil
			}
			return err
		},
		func(i int) error {
			_, err := s.CheckAll(t.Context(), func(_ cid.Cid, err error) { t.Error(err) })
			return err
		},
		func(i int) error {
			return space.Apply([]kv.Op{{Key: []byte{1, byte(i)}, Value: all[0].Data}, {Key: []byte{1, byte(i - 3)}, Delete: true}})
		},
		func(i int) error {
			return space.Scan([]byte{1}, nil, func(_, v []byte) (bool, error) { return len(v) == len(all[0].Data), nil })
		},
		func(i int) error {
			return s.PutObject(Object{Address: all[i%len(all)].CID.Bytes(), Origin: OriginImported})
		},
	}
	var wg sync.WaitGroup
	for _, w := range work {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 12 {
				if err := w(i); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	wg.Wait()
	mustPut(t, s, all...)
	for _, b := range all {
		wantBlock(t, s, b)
	}
}

// TestASecondWriterWaits holds the rule behind claims: nobody acknowledges a block
// that another call is still writing.
func TestASecondWriterWaits(t *testing.T) {
	var c claims
	if err := c.take(t.Context(), []string{"a", "b"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.take(ctx, []string{"c", "b"}); !errors.Is(err, context.Canceled) {
		t.Fatalf("took what is taken: %v", err)
	}
	if err := c.take(t.Context(), []string{"c"}); err != nil { // the attempt before left nothing behind
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() { got <- c.take(context.Background(), []string{"b", "c"}) }()
	c.release([]string{"c"})
	select {
	case <-got:
		t.Fatal("took what is taken")
	default:
	}
	c.release([]string{"a", "b"})
	if err := <-got; err != nil {
		t.Fatal(err)
	}
}

func TestDamageOnDiskIsFound(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Config{Dir: dir})
	good, bad := blockOf(t, 1, MaxSmall+1), blockOf(t, 2, MaxSmall+1)
	lied := blockOf(t, 3, 100)
	lie := envelope.Block{CID: blockOf(t, 5, 100).CID, Data: lied.Data} // wrong from the start
	mustPut(t, s, good, bad, lied, lie)
	found := map[cid.Cid]bool{}
	note := func(c cid.Cid, err error) {
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", c, err)
		}
		found[c] = true
	}
	if n, err := s.CheckAll(t.Context(), note); err != nil || n != 4 || len(found) != 1 || !found[lie.CID] {
		t.Fatalf("before the damage: %d, %v, found %v", n, err, found)
	}
	flip(t, filepath.Join(dir, "blocks", "*", strings.ToUpper(bad.CID.String()[1:])+".data"))
	if _, err := s.Get(t.Context(), bad.CID); err != nil {
		t.Fatalf("Get hashes: %v", err)
	}
	var named *CorruptError
	if _, err := s.GetVerified(t.Context(), bad.CID); !errors.Is(err, ErrCorrupt) || !errors.As(err, &named) || named.CID != bad.CID {
		t.Fatalf("GetVerified of a damaged block: %v", err)
	}
	if n, err := s.CheckAll(t.Context(), note); err != nil || n != 4 || len(found) != 2 || !found[bad.CID] {
		t.Fatalf("after the damage: %d, %v, found %v", n, err, found)
	}
	wantBlock(t, s, good)
	if err := s.ReadOnly(); err != nil {
		t.Fatalf("a damaged block made the store read-only: %v", err)
	}
}

// flip changes one bit in the middle of the one file that matches.
func flip(t *testing.T, pattern string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) != 1 {
		t.Fatalf("%q matches %q, %v", pattern, files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(files[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestADamagedIndexSaysSo flips a bit in a table: pebble's checksums find it, the
// reader gets ErrCorrupt instead of wrong bytes, and nothing is written on top.
func TestADamagedIndexSaysSo(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	s := openTest(t, cfg)
	all := blocksOf(t, 1, 4, 30_000)
	mustPut(t, s, all...)
	s = reopen(t, s, cfg) // which moves the blocks from the log to a table
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	flip(t, largestTable(t, cfg.Dir))
	s = openTest(t, cfg)
	damaged := 0
	for _, b := range all {
		var named *CorruptError
		if data, err := s.Get(t.Context(), b.CID); err == nil && bytes.Equal(data, b.Data) {
			continue
		} else if !errors.As(err, &named) || named.CID != b.CID {
			t.Fatalf("a block in a damaged table: %v", err)
		}
		damaged++
	}
	if damaged != 1 {
		t.Fatalf("one bit damaged %d blocks", damaged)
	}
	if err := s.PutMany(t.Context(), []envelope.Block{blockOf(t, 9, 10)}); !errors.Is(err, ErrReadOnly) || !errors.Is(err, ErrCorrupt) {
		t.Fatalf("a write on top of a damaged index: %v", err)
	}
}

func largestTable(t *testing.T, dir string) (largest string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "index", "*.sst"))
	if err != nil {
		t.Fatal(err)
	}
	var most int64
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > most {
			largest, most = f, info.Size()
		}
	}
	if largest == "" {
		t.Fatal("no table on disk")
	}
	return largest
}

// TestLeftoversAreRemoved plants what a crash leaves in the folder of blocks.
func TestLeftoversAreRemoved(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	s := openTest(t, cfg)
	mustPut(t, s, blockOf(t, 1, MaxSmall+1))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(cfg.Dir, "blocks", ".temp", "batch-1-1")
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	junk := make([]byte, 100)
	rand.Read(junk)
	if err := os.WriteFile(filepath.Join(left, "X.data"), junk, 0o600); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, cfg)
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a leftover is still there: %v", err)
	}
	wantBlock(t, s, blockOf(t, 1, MaxSmall+1))
	// A crash while the store was made leaves a folder aside, which is made again.
	other := Config{Dir: t.TempDir()}
	if err := os.MkdirAll(filepath.Join(other.Dir, "blocks.new", "junk"), 0o700); err != nil {
		t.Fatal(err)
	}
	mustPut(t, openTest(t, other), blockOf(t, 1, MaxSmall+1))
}
