package envelope

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"
)

// readBoth decrypts in order and at random, and returns the error of each.
func readBoth(o *object, cipher []byte) (inOrder, atRandom error) {
	r, err := Decrypt(o.header, o.key, bytes.NewReader(cipher))
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	inOrder = err
	at, n, err := DecryptAt(o.header, o.key, bytes.NewReader(cipher), int64(len(cipher)))
	if err == nil {
		_, err = io.Copy(io.Discard, io.NewSectionReader(at, 0, n))
	}
	return inOrder, err
}

func TestTamperedCiphertextIsRefused(t *testing.T) {
	o := newObject(t, plaintext(3*plainChunk+100))
	other := newObject(t, o.plain)
	nonce, stream := o.cipher[:NonceSize], o.cipher[NonceSize:]
	chunk := func(i int) []byte { return stream[i*ChunkSize : min((i+1)*ChunkSize, len(stream))] }
	flip := func(i int) []byte {
		bad := bytes.Clone(o.cipher)
		bad[i] ^= 0x80
		return bad
	}
	if a, b := readBoth(o, o.cipher); a != nil || b != nil {
		t.Fatalf("the control: %v, %v", a, b)
	}
	for name, cipher := range map[string][]byte{
		"nothing":                nil,
		"half a nonce":           nonce[:8],
		"nonce alone":            nonce,
		"last byte cut":          o.cipher[:len(o.cipher)-1],
		"cut in a chunk":         o.cipher[:NonceSize+ChunkSize+500],
		"cut between chunks":     o.cipher[:NonceSize+2*ChunkSize],
		"cut in a tag":           o.cipher[:NonceSize+2*ChunkSize-8],
		"chunks exchanged":       slices.Concat(nonce, chunk(1), chunk(0), chunk(2), chunk(3)),
		"a chunk repeated":       slices.Concat(nonce, chunk(0), chunk(0), chunk(1), chunk(2), chunk(3)),
		"a chunk left out":       slices.Concat(nonce, chunk(0), chunk(2), chunk(3)),
		"last chunk repeated":    slices.Concat(o.cipher, chunk(3)),
		"a byte appended":        append(bytes.Clone(o.cipher), 0),
		"a chunk appended":       slices.Concat(o.cipher, chunk(0)),
		"another's last chunk":   slices.Concat(nonce, chunk(0), chunk(1), chunk(2), other.cipher[NonceSize+3*ChunkSize:]),
		"another's nonce":        slices.Concat(other.cipher[:NonceSize], stream),
		"another's payload":      other.cipher,
		"bit in the nonce":       flip(0),
		"bit in the first chunk": flip(NonceSize),
		"bit in a middle chunk":  flip(NonceSize + ChunkSize + 77),
		"bit in the last tag":    flip(len(o.cipher) - 1),
	} {
		inOrder, atRandom := readBoth(o, cipher)
		if !errors.Is(inOrder, ErrIntegrity) {
			t.Errorf("%s: in order: %v", name, inOrder)
		}
		if !errors.Is(atRandom, ErrIntegrity) {
			t.Errorf("%s: at random: %v", name, atRandom)
		}
	}
}

// The manifest's size is what makes a cut at a chunk visible at once.
func TestSizeThatIsNotThePayloads(t *testing.T) {
	o := newObject(t, plaintext(3*plainChunk))
	for _, size := range []int64{-1, 0, 31, o.payload.Size - 1, o.payload.Size - ChunkSize, o.payload.Size + 1, o.payload.Size + ChunkSize} {
		if _, _, err := DecryptAt(o.header, o.key, bytes.NewReader(o.cipher), size); !errors.Is(err, ErrIntegrity) {
			t.Errorf("size %d: %v", size, err)
		}
	}
}

// A failing holder is asked elsewhere, a lying one is named: the two must not be
// mistaken for one another.
func TestErrorsOfTheSourceAreNotTampering(t *testing.T) {
	o := newObject(t, plaintext(2*plainChunk))
	for _, lost := range []error{errors.New("connection lost"), io.ErrUnexpectedEOF} {
		for _, cut := range []int{0, 8, NonceSize, NonceSize + 100, NonceSize + ChunkSize, len(o.cipher)} {
			src := io.MultiReader(bytes.NewReader(o.cipher[:cut]), iotest.ErrReader(lost))
			r, err := Decrypt(o.header, o.key, src)
			if err == nil {
				_, err = io.Copy(io.Discard, r)
			}
			if !errors.Is(err, lost) || errors.Is(err, ErrIntegrity) {
				t.Errorf("%v after %d bytes: %v", lost, cut, err)
			}
			at, n, err := DecryptAt(o.header, o.key, failingAt{o.cipher, int64(cut), lost}, o.payload.Size)
			if err == nil {
				_, err = io.Copy(io.Discard, io.NewSectionReader(at, 0, n))
			}
			if cut == len(o.cipher) {
				if err != nil {
					t.Errorf("at random, the control: %v", err)
				}
			} else if !errors.Is(err, lost) || errors.Is(err, ErrIntegrity) {
				t.Errorf("at random, %v after %d bytes: %v", lost, cut, err)
			}
		}
	}
}

type failingAt struct {
	data []byte
	good int64
	err  error
}

func (f failingAt) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.good {
		return 0, f.err
	}
	return bytes.NewReader(f.data).ReadAt(p, off)
}

// What was released before an error is a true beginning of the plaintext.
func TestPlaintextBeforeAnErrorIsTrue(t *testing.T) {
	o := newObject(t, plaintext(3*plainChunk))
	bad := bytes.Clone(o.cipher)
	bad[len(bad)-1] ^= 1
	r, err := Decrypt(o.header, o.key, bytes.NewReader(bad))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if !errors.Is(err, ErrIntegrity) || len(got) != 2*plainChunk || !bytes.HasPrefix(o.plain, got) {
		t.Errorf("%d bytes, error %v", len(got), err)
	}
	if n, again := r.Read(make([]byte, 10)); n != 0 || !errors.Is(again, ErrIntegrity) {
		t.Errorf("after the error: %d bytes, %v", n, again)
	}
}
