package envelope

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"filippo.io/age"
	"github.com/ipfs/go-cid"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// memory is a Sink that keeps copies, and overwrites what it was given after the
// copy, so that nobody relies on the data after PutMany.
type memory struct {
	mu     sync.Mutex
	blocks map[cid.Cid][]byte
	order  []cid.Cid
	calls  int
}

func newMemory() *memory { return &memory{blocks: make(map[cid.Cid][]byte)} }

func (m *memory) PutMany(_ context.Context, blocks []Block) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	for _, b := range blocks {
		if CIDOf(b.Data, b.CID.Type()) != b.CID {
			return fmt.Errorf("block %s does not match its CID", b.CID)
		}
		m.blocks[b.CID] = bytes.Clone(b.Data)
		m.order = append(m.order, b.CID)
		clear(b.Data)
	}
	return nil
}

// read walks a payload the way a careful reader does.
func (m *memory) read(t *testing.T, c cid.Cid, size int64, depth int) []byte {
	t.Helper()
	data, ok := m.blocks[c]
	if !ok {
		t.Fatalf("block %s was never stored", c)
	}
	if c.Type() == CodecRaw {
		if int64(len(data)) != size {
			t.Fatalf("leaf has %d bytes, its parent says %d", len(data), size)
		}
		return data
	}
	if depth == 0 {
		t.Fatal("the payload is deeper than MaxDepth")
	}
	n, err := ParseNode(data)
	if err != nil {
		t.Fatal(err)
	}
	if n.Size() != size {
		t.Fatalf("node has %d bytes below it, its parent says %d", n.Size(), size)
	}
	var out []byte
	for _, child := range n.Children {
		out = append(out, m.read(t, child.CID, child.Size, depth-1)...)
	}
	return out
}

func plaintext(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// object is everything that encrypting gives, for tests that then break it.
type object struct {
	plain   []byte
	payload Payload
	key     FileKey
	header  []byte
	cipher  []byte
	blocks  *memory
}

var (
	testNetwork = statement.Hash("test network")
	testOwner   = statement.Hash("test owner")
	testStanza  = CommitteeStanza{
		KeyID:   KeyID(testNetwork, testOwner, Nonce{1}),
		Network: testNetwork,
		Sealed:  bytes.Repeat([]byte{7}, 48),
	}
)

func newObject(t *testing.T, plain []byte) *object {
	t.Helper()
	o := &object{plain: plain, blocks: newMemory()}
	var err error
	if o.payload, o.key, err = Encrypt(t.Context(), bytes.NewReader(plain), o.blocks); err != nil {
		t.Fatal(err)
	}
	if o.header, err = CommitteeHeader(o.key, testStanza); err != nil {
		t.Fatal(err)
	}
	o.cipher = o.blocks.read(t, o.payload.Root, o.payload.Size, MaxDepth)
	return o
}

var roundTripSizes = []int{
	0, 1, 4096, 65535, 65536, 65537, 131072,
	15*plainChunk - 1, 15 * plainChunk, 15*plainChunk + 1,
	30*plainChunk - 1, 30 * plainChunk, 30*plainChunk + 1,
}

func TestRoundTrip(t *testing.T) {
	for _, size := range roundTripSizes {
		o := newObject(t, plaintext(size))
		if o.payload.PlainSize != int64(size) || o.payload.Size != PayloadSize(int64(size)) {
			t.Errorf("%d bytes: payload says %d plain, %d cipher", size, o.payload.PlainSize, o.payload.Size)
		}
		r, err := Decrypt(o.header, o.key, bytes.NewReader(o.cipher))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, o.plain) {
			t.Errorf("%d bytes: in order: %d bytes back, error %v", size, len(got), err)
		}
		at, n, err := DecryptAt(o.header, o.key, bytes.NewReader(o.cipher), o.payload.Size)
		if err != nil || n != int64(size) {
			t.Fatalf("%d bytes: at random: size %d, error %v", size, n, err)
		}
		got, err = io.ReadAll(io.NewSectionReader(at, 0, n))
		if err != nil || !bytes.Equal(got, o.plain) {
			t.Errorf("%d bytes: at random: %d bytes back, error %v", size, len(got), err)
		}
	}
}

// A source may give its bytes in any portions.
func TestSourceInSmallPieces(t *testing.T) {
	plain := plaintext(200_000)
	for name, src := range map[string]io.Reader{
		"one byte": iotest.OneByteReader(bytes.NewReader(plain)),
		"half":     iotest.HalfReader(bytes.NewReader(plain)),
		"data+EOF": iotest.DataErrReader(bytes.NewReader(plain)),
	} {
		m := newMemory()
		p, key, err := Encrypt(t.Context(), src, m)
		if err != nil {
			t.Fatal(err)
		}
		header, _ := CommitteeHeader(key, testStanza)
		r, err := Decrypt(header, key, iotest.HalfReader(bytes.NewReader(m.read(t, p.Root, p.Size, MaxDepth))))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: %d bytes back, error %v", name, len(got), err)
		}
	}
}

func TestEqualFilesShareNothing(t *testing.T) {
	a, b := newObject(t, plaintext(100)), newObject(t, plaintext(100))
	if bytes.Equal(a.key.Bytes(), b.key.Bytes()) || a.payload.Root == b.payload.Root {
		t.Error("two encryptions of the same bytes can be told to be the same")
	}
	for c := range a.blocks.blocks {
		if _, ok := b.blocks.blocks[c]; ok {
			t.Errorf("both hold block %s", c)
		}
	}
}

func TestRangesOfAnObject(t *testing.T) {
	o := newObject(t, plaintext(3*plainChunk+100))
	at, size, err := DecryptAt(o.header, o.key, bytes.NewReader(o.cipher), o.payload.Size)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range [][2]int{{0, 10}, {plainChunk - 1, 2}, {plainChunk, plainChunk}, {2*plainChunk - 5, plainChunk + 10}, {int(size) - 1, 1}} {
		got := make([]byte, r[1])
		if n, err := at.ReadAt(got, int64(r[0])); n != r[1] || err != nil && err != io.EOF {
			t.Fatalf("range %v: %d bytes, error %v", r, n, err)
		}
		if !bytes.Equal(got, o.plain[r[0]:r[0]+r[1]]) {
			t.Errorf("range %v holds other bytes", r)
		}
	}
	if n, err := at.ReadAt(make([]byte, 5), size-2); n != 2 || err != io.EOF {
		t.Errorf("across the end: %d bytes, error %v", n, err)
	}
	if n, err := at.ReadAt(make([]byte, 5), size+1); n != 0 || err != io.EOF {
		t.Errorf("beyond the end: %d bytes, error %v", n, err)
	}
	if _, err := at.ReadAt(make([]byte, 5), -1); err == nil || errors.Is(err, ErrIntegrity) {
		t.Errorf("before the start: %v", err)
	}
}

// touched records which bytes of a payload are asked for.
type touched struct {
	r   io.ReaderAt
	log [][2]int64
}

func (t *touched) ReadAt(p []byte, off int64) (int, error) {
	t.log = append(t.log, [2]int64{off, off + int64(len(p))})
	return t.r.ReadAt(p, off)
}

// Opening a large model to read its last kilobyte must not fetch its first megabyte.
func TestOpeningTouchesNonceAndLastChunkOnly(t *testing.T) {
	o := newObject(t, plaintext(40*plainChunk))
	src := &touched{r: bytes.NewReader(o.cipher)}
	if _, _, err := DecryptAt(o.header, o.key, src, o.payload.Size); err != nil {
		t.Fatal(err)
	}
	for _, r := range src.log {
		if r[0] >= NonceSize && r[0] < o.payload.Size-ChunkSize || r[0] < NonceSize && r[1] > NonceSize {
			t.Errorf("opening read bytes %d to %d of %d", r[0], r[1], o.payload.Size)
		}
	}
	if len(src.log) == 0 {
		t.Error("opening read nothing, so it cannot have verified the size")
	}
}

// A download that breaks off must not become a shorter object.
func TestBrokenSourceIsNotTheEnd(t *testing.T) {
	for _, size := range []int{0, 10, plainChunk, 3 * plainChunk, 20 * plainChunk} {
		for _, broken := range []error{io.ErrUnexpectedEOF, errors.New("cable pulled")} {
			src := io.MultiReader(bytes.NewReader(plaintext(size)), iotest.ErrReader(broken))
			p, key, err := Encrypt(t.Context(), src, newMemory())
			if !errors.Is(err, broken) || !key.IsZero() || p.Root.Defined() {
				t.Errorf("%d bytes, then %v: error %v, key returned: %v", size, broken, err, !key.IsZero())
			}
		}
	}
}

type sinkFunc func(context.Context, []Block) error

func (f sinkFunc) PutMany(ctx context.Context, b []Block) error { return f(ctx, b) }

func TestFailingSinkReturnsNothing(t *testing.T) {
	full := errors.New("disk full")
	for _, c := range []struct{ size, failAt int }{{10, 1}, {2 * plainChunk, 1}, {40 * LeafSize, 1}, {40 * LeafSize, 2}, {40 * LeafSize, 3}} {
		calls := 0
		p, key, err := Encrypt(t.Context(), bytes.NewReader(make([]byte, c.size)), sinkFunc(func(context.Context, []Block) error {
			if calls++; calls == c.failAt {
				return full
			}
			return nil
		}))
		if !errors.Is(err, full) || !key.IsZero() || p.Root.Defined() {
			t.Errorf("%d bytes, failure at batch %d: error %v, key returned: %v", c.size, c.failAt, err, !key.IsZero())
		}
		if calls != c.failAt {
			t.Errorf("%d bytes: the sink was called %d times, the last ones after its failure", c.size, calls)
		}
	}
}

func TestCancelledEncryption(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, key, err := Encrypt(ctx, bytes.NewReader(plaintext(10)), newMemory()); !errors.Is(err, context.Canceled) || !key.IsZero() {
		t.Errorf("before the start: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	src := io.MultiReader(bytes.NewReader(plaintext(5*plainChunk)), readerFunc(func(p []byte) (int, error) {
		cancel()
		return len(p), nil // without end
	}))
	if _, key, err := Encrypt(ctx, src, newMemory()); !errors.Is(err, context.Canceled) || !key.IsZero() {
		t.Errorf("in the middle: %v", err)
	}
}

// A disk slower than the source must stop the source, not fill the memory.
func TestBytesInFlightAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var read int64
		release := make(chan struct{})
		src := io.LimitReader(readerFunc(func(p []byte) (int, error) {
			read += int64(len(p))
			return len(p), nil
		}), 80*LeafSize)
		done := make(chan error)
		go func() {
			_, _, err := Encrypt(t.Context(), src, sinkFunc(func(context.Context, []Block) error {
				<-release
				return nil
			}))
			done <- err
		}()
		synctest.Wait() // everybody waits for the sink
		if read > 48<<20 {
			t.Errorf("%d bytes were read while nothing was stored", read)
		}
		if read < 2*batchLeaves*LeafSize {
			t.Errorf("only %d bytes were read: the stages do not overlap", read)
		}
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if read < 80*LeafSize {
			t.Errorf("only %d bytes were read in the end", read)
		}
	})
}

func TestPanickingSourceLeavesNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fails where goroutines remain
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		Encrypt(t.Context(), io.MultiReader(bytes.NewReader(plaintext(20*plainChunk)), readerFunc(func([]byte) (int, error) {
			panic("source")
		})), newMemory())
	})
}

func TestSmallFileIsOneBatch(t *testing.T) {
	o := newObject(t, plaintext(4096))
	if o.blocks.calls != 1 || len(o.blocks.order) != 3 {
		t.Errorf("%d calls with %d blocks, want 1 with nonce, leaf and root", o.blocks.calls, len(o.blocks.order))
	}
}

func TestSizes(t *testing.T) {
	for plain, want := range map[int64]int64{0: 32, 1: 33, 65536: 65568, 65537: 65585, 131072: 131120,
		-1: -1, math.MaxInt64: -1} {
		if got := PayloadSize(plain); got != want {
			t.Errorf("PayloadSize(%d) = %d, want %d", plain, got, want)
		}
	}
	for _, plain := range []int64{0, 1, 65535, 65536, 65537, 1 << 40, 1<<62 + 12345} {
		if got, err := PlainSize(PayloadSize(plain)); err != nil || got != plain {
			t.Errorf("PlainSize(PayloadSize(%d)) = %d, %v", plain, got, err)
		}
	}
	// An empty chunk stands only for an empty file; a chunk shorter than its tag never.
	for _, payload := range []int64{math.MinInt64, -1, 0, 16, 31, 16 + ChunkSize + 1, 16 + ChunkSize + 16} {
		if got, err := PlainSize(payload); err == nil {
			t.Errorf("PlainSize(%d) = %d, want an error", payload, got)
		}
	}
}

func TestFileKeyNeverPrints(t *testing.T) {
	key, err := NewFileKey([]byte("SIXTEEN SECRETS!"))
	if err != nil {
		t.Fatal(err)
	}
	holder := struct{ key FileKey }{key}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "%o", "%c", "%U"} {
		for _, v := range []any{key, &key, holder, &holder, []FileKey{key}} {
			out := fmt.Sprintf(verb, v)
			for _, leak := range []string{"SIXTEEN", "83 73 88", "534958", "53 49", "0x53", "123 111", "U+0053", "S I X"} {
				if bytes.Contains(bytes.ToUpper([]byte(out)), bytes.ToUpper([]byte(leak))) {
					t.Errorf("%s of %T shows the key: %s", verb, v, out)
				}
			}
		}
	}
	// The control: an array is printed, so the search would have found it.
	if out := fmt.Sprintf("%d", struct{ key [16]byte }{[16]byte(key.Bytes())}); !bytes.Contains([]byte(out), []byte("83 73 88")) {
		t.Errorf("the search for leaks finds nothing even here: %s", out)
	}
	for _, n := range []int{0, 15, 17, 32} {
		if _, err := NewFileKey(make([]byte, n)); err == nil {
			t.Errorf("a file key of %d bytes was accepted", n)
		}
	}
	key.Bytes()[0] = 0
	if key.Bytes()[0] != 'S' {
		t.Error("Bytes gave away the key itself, not a copy")
	}
}

func TestZeroFileKeyIsRefused(t *testing.T) {
	o := newObject(t, plaintext(10))
	var none FileKey
	if _, err := CommitteeHeader(none, testStanza); err == nil {
		t.Error("CommitteeHeader took it")
	}
	id, _ := age.GenerateX25519Identity()
	if _, err := RecipientHeader(none, id.Recipient()); err == nil {
		t.Error("RecipientHeader took it")
	}
	if err := CheckHeader(o.header, none); err == nil {
		t.Error("CheckHeader took it")
	}
	if _, err := Decrypt(o.header, none, bytes.NewReader(o.cipher)); err == nil {
		t.Error("Decrypt took it")
	}
	if _, err := SealDetails(Details{}, none, testOwner); err == nil {
		t.Error("SealDetails took it")
	}
	if none.Bytes() != nil {
		t.Error("it has bytes")
	}
}
