package envelope

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
)

// collected is a payload whose leaves a sink has seen, in order.
type collected struct{ leaves [][]byte }

func (c *collected) PutMany(_ context.Context, blocks []Block) error {
	for _, b := range blocks {
		if b.CID.Prefix().Codec == CodecRaw {
			c.leaves = append(c.leaves, bytes.Clone(b.Data))
		}
	}
	return nil
}

func leavesObject(t testing.TB, plain []byte) (header []byte, key FileKey, leaves [][]byte, size int64) {
	t.Helper()
	var c collected
	p, key, err := Encrypt(context.Background(), bytes.NewReader(plain), &c)
	if err != nil {
		t.Fatal(err)
	}
	if header, err = CommitteeHeader(key, CommitteeStanza{Sealed: make([]byte, 32)}); err != nil {
		t.Fatal(err)
	}
	return header, key, c.leaves, p.Size
}

// open decrypts leaf by leaf.
func openLeaves(header []byte, key FileKey, leaves [][]byte, size int64) ([]byte, error) {
	l, err := OpenLeaves(header, key, leaves[0], size)
	if err != nil {
		return nil, err
	}
	var out []byte
	offset := int64(len(leaves[0]))
	for _, leaf := range leaves[1:] {
		if out, err = l.Decrypt(out, offset, leaf); err != nil {
			return nil, err
		}
		offset += int64(len(leaf))
	}
	return out, nil
}

// Leaf by leaf gives what age gives, at every size where something changes.
func TestLeavesAgreeWithAge(t *testing.T) {
	for _, n := range []int{0, 1, plainChunk - 1, plainChunk, plainChunk + 1, PlainLeaf - 1, PlainLeaf, PlainLeaf + 1, 2*PlainLeaf + 3*plainChunk + 7} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			plain := bytes.Repeat([]byte("sixteen bytes ab"), n/16+1)[:n]
			header, key, leaves, size := leavesObject(t, plain)
			got, err := openLeaves(header, key, leaves, size)
			if err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			r, err := Decrypt(header, key, bytes.NewReader(bytes.Join(leaves, nil)))
			if err != nil {
				t.Fatal(err)
			}
			if by, err := io.ReadAll(r); err != nil || !bytes.Equal(by, got) {
				t.Fatalf("age says otherwise: %d bytes, %v", len(by), err)
			}
		})
	}
}

// Whatever is wrong with a leaf, nothing of it comes out.
func TestLeavesRefuseTampering(t *testing.T) {
	plain := bytes.Repeat([]byte("abcdefgh"), (2*PlainLeaf+100)/8)
	header, key, leaves, size := leavesObject(t, plain)
	if _, err := openLeaves(header, key, leaves, size); err != nil {
		t.Fatal("the control does not open:", err)
	}
	change := func(fn func([][]byte) ([][]byte, int64)) error {
		copied := make([][]byte, len(leaves))
		for i, l := range leaves {
			copied[i] = bytes.Clone(l)
		}
		changed, n := fn(copied)
		out, err := openLeaves(header, key, changed, n)
		if len(out) != 0 {
			t.Errorf("%d bytes came out of a payload that was tampered with", len(out))
		}
		return err
	}
	for name, fn := range map[string]func([][]byte) ([][]byte, int64){
		"a bit of the nonce":    func(l [][]byte) ([][]byte, int64) { l[0][3] ^= 1; return l, size },
		"a bit of a chunk":      func(l [][]byte) ([][]byte, int64) { l[1][70000] ^= 1; return l, size },
		"a bit of the last tag": func(l [][]byte) ([][]byte, int64) { l[3][len(l[3])-1] ^= 1; return l, size },
		"two leaves exchanged":  func(l [][]byte) ([][]byte, int64) { l[1], l[2] = l[2], l[1]; return l, size },
		"a leaf repeated":       func(l [][]byte) ([][]byte, int64) { l[2] = l[1]; return l, size },
		"the end cut off, size and all": func(l [][]byte) ([][]byte, int64) {
			return l[:3], size - int64(len(l[3])) // the last chunk left does not say that it is the last
		},
		"the end cut off": func(l [][]byte) ([][]byte, int64) { l[3] = l[3][:len(l[3])-20]; return l, size },
		"a longer end":    func(l [][]byte) ([][]byte, int64) { l[3] = append(l[3], 0); return l, size },
		"another size":    func(l [][]byte) ([][]byte, int64) { return l, size + 1 },
	} {
		if err := change(fn); !errors.Is(err, ErrIntegrity) {
			t.Errorf("%s: %v", name, err)
		}
	}
	l, err := OpenLeaves(header, key, leaves[0], size)
	if err != nil {
		t.Fatal(err)
	}
	for _, offset := range []int64{-1, 0, NonceSize - 1, NonceSize + 1, NonceSize + ChunkSize, size, size + LeafSize} {
		if out, err := l.Decrypt(nil, offset, leaves[1]); !errors.Is(err, ErrIntegrity) || out != nil {
			t.Errorf("a leaf at offset %d: %v", offset, err)
		}
	}
	if _, err := OpenLeaves(header, otherKey(t), leaves[0], size); !errors.Is(err, ErrHeaderMAC) {
		t.Errorf("another file key: %v", err)
	}
}

// otherKey is some other file key.
func otherKey(t *testing.T) FileKey {
	k, err := NewFileKey(bytes.Repeat([]byte{7}, FileKeySize))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func BenchmarkLeaves(b *testing.B) {
	header, key, leaves, size := leavesObject(b, make([]byte, 4*PlainLeaf))
	l, err := OpenLeaves(header, key, leaves[0], size)
	if err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 0, PlainLeaf)
	b.SetBytes(PlainLeaf)
	for b.Loop() {
		if _, err := l.Decrypt(dst, NonceSize, leaves[1]); err != nil {
			b.Fatal(err)
		}
	}
}
