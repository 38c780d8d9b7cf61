package envelope

import (
	"bytes"
	"testing"

	"filippo.io/age"
	"github.com/ipfs/boxo/ipld/merkledag"
	ft "github.com/ipfs/boxo/ipld/unixfs"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// What we accept as a header we would write again, and age accepts it too.
func FuzzHeader(f *testing.F) {
	header, err := CommitteeHeader(testKey(f), testStanza)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(header)
	f.Add(rawHeader(f, "-> x a b\n\n-> y\nAAAA\n"))
	f.Add(rawHeader(f, "-> scrypt AA 1\n\n"))
	f.Add([]byte(intro + "---"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, err := parseHeader(raw)
		if err != nil {
			if CheckHeader(raw, testKey(t)) == nil {
				t.Fatal("checked what does not parse")
			}
			return
		}
		again, err := marshalHeader(testKey(t), h.stanzas)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(h.covered); !bytes.Equal(again[:n], raw[:n]) || len(again) != len(raw) {
			t.Fatalf("%q is written as %q", raw, again)
		}
		stock, err := age.ExtractHeader(bytes.NewReader(raw))
		if err != nil || !bytes.Equal(stock, raw) {
			t.Fatalf("age reads it as %q, %v", stock, err)
		}
		if s, err := ParseCommitteeHeader(again); err == nil {
			if same, err := CommitteeHeader(testKey(t), s); err != nil || !bytes.Equal(same, again) {
				t.Fatalf("the stanza is written in another way: %v", err)
			}
		}
	})
}

func FuzzManifest(f *testing.F) {
	b := signAnyway(f, testManifest())
	f.Add(b.Data)
	m := testManifest()
	m.Sequence, m.Previous, m.Scopes = 1, b.CID.Bytes(), nil
	f.Add(signAnyway(f, m).Data)
	m.Authority = []byte("x")
	f.Add(signAnyway(f, m).Data)
	keys := []statement.PublicKey{deviceKey(f, 1).Public()}
	f.Fuzz(func(t *testing.T, data []byte) {
		u, err := ParseManifest(CIDOf(data, CodecDagCBOR), data)
		if err != nil {
			return
		}
		if !bytes.Equal(u.statement.Bytes(), data) {
			t.Fatal("the envelope is written in another way")
		}
		s, err := statement.New(KindManifest, u.Claims())
		if err != nil || s.ID() != u.ID() {
			t.Fatalf("the body is written in another way: %v", err)
		}
		if m, err := u.Verify(keys); err == nil {
			if again := signAnyway(t, *m); !bytes.Equal(again.Data, data) {
				t.Fatal("two signatures of one key over one manifest")
			}
		}
	})
}

// What we accept as a node boxo decodes to the same links, and both write it alike.
func FuzzNode(f *testing.F) {
	f.Add(goodNode().encode())
	f.Add(encodeNode(fileLinks(CIDOf(nil, CodecRaw), CIDOf(nil, CodecDagPB), 200, 1<<30+48+16*16384)))
	empty := goodNode()
	empty.kind = 1
	f.Add(empty.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := ParseNode(data)
		if err != nil {
			return
		}
		if len(n.Children) == 0 || len(n.Children) > MaxWidth || n.Size() <= 0 {
			t.Fatalf("accepted %d children of %d bytes", len(n.Children), n.Size())
		}
		stock, err := merkledag.DecodeProtobuf(data)
		if err != nil {
			t.Fatal(err)
		}
		fs, err := ft.FSNodeFromBytes(stock.Data())
		if err != nil || fs.NumChildren() != len(n.Children) || len(stock.Links()) != len(n.Children) || fs.FileSize() != uint64(n.Size()) {
			t.Fatalf("boxo reads it in another way: %v", err)
		}
		links := make([]link, len(n.Children))
		for i, c := range n.Children {
			if stock.Links()[i].Cid != c.CID || fs.BlockSize(i) != uint64(c.Size) || c.Size <= 0 || c.Leaf && c.Size > LeafSize {
				t.Fatalf("boxo reads child %d in another way, or it is out of bounds", i)
			}
			links[i] = link{c.CID, uint64(c.Size), stock.Links()[i].Size}
		}
		if !bytes.Equal(encodeNode(links), data) {
			t.Fatal("it is written in another way")
		}
	})
}

func FuzzFileRoot(f *testing.F) {
	for _, size := range []int64{32, 432, 1<<30 + 16*16384 + 16} {
		f.Add(encodeNode(fileLinks(CIDOf(nil, CodecRaw), CIDOf(nil, CodecDagPB), 200, size)))
	}
	f.Add(goodNode().encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		header, payload, headerSize, payloadSize, err := ParseFileRoot(data)
		if err != nil {
			return
		}
		if headerSize < 1 || headerSize > MaxHeader {
			t.Fatalf("accepted a header of %d bytes", headerSize)
		}
		if _, err := PlainSize(payloadSize); err != nil {
			t.Fatalf("accepted a payload of %d bytes", payloadSize)
		}
		if !bytes.Equal(encodeNode(fileLinks(header, payload, headerSize, payloadSize)), data) {
			t.Fatal("it is written in another way")
		}
	})
}

func FuzzAddress(f *testing.F) {
	f.Add(CIDOf(nil, CodecDagCBOR).String())
	f.Add(CIDOf(nil, CodecRaw).String())
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := ParseAddress(s); err == nil && c.String() != s {
			t.Fatalf("%q is written as %q", s, c)
		}
	})
}

func FuzzDetails(f *testing.F) {
	body, _ := statement.Marshal(Details{Name: "x", Plain: 1})
	released, _ := Details{Name: "x", Origin: Origin{Method: "m"}}.marshal()
	f.Add(append([]byte{0, byte(len(released))}, released...))
	f.Add(append([]byte{0, byte(len(body))}, append(body, 0, 0)...))
	f.Fuzz(func(t *testing.T, plain []byte) {
		d, err := decodeDetails(plain)
		if err != nil {
			return
		}
		sealed, err := SealDetails(d, testKey(t), testOwner)
		if err != nil {
			t.Fatalf("accepted what is never sealed: %v", err)
		}
		if again, err := OpenDetails(sealed, testKey(t), testOwner); err != nil || again != d {
			t.Fatalf("%v comes back as %v, %v", d, again, err)
		}
	})
}

// Any bytes under a right header are an integrity error or the true plaintext,
// in both ways of reading.
func FuzzDecrypt(f *testing.F) {
	key := testKey(f)
	header, err := CommitteeHeader(key, testStanza)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{})
	f.Add(make([]byte, 32))
	f.Add(make([]byte, NonceSize+ChunkSize+17))
	f.Fuzz(func(t *testing.T, cipher []byte) {
		o := &object{header: header, key: key}
		inOrder, atRandom := readBoth(o, cipher)
		if inOrder == nil || atRandom == nil {
			t.Fatal("a payload was forged") // nobody knows the payload's key here
		}
	})
}
