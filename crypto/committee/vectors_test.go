package committee

import (
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"testing"

	"github.com/cloudflare/circl/group"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// The vectors of this file were computed twice: by this package, and from the
// RFCs (9496, 9380, 5869, 8439) with big integers, sharing no code. A change
// here means that shares which validators hold today no longer open anything.

const vectorGenerator = "381f4755a062bf70a8cce8da8a9fbadeab0fc0cd942a169de99f741419bc820f"

var vector = struct {
	secret, kek, sealed string
	commitments         []string
	shares              [][2]string
}{
	secret: "601938c8d8316d6214afab43a85aaabd041f8dd35281d8fb7129e31737cac60a",
	commitments: []string{
		"3ec1219303f69aec636d190f9729095180665caea70f503d75389d15cb163e73",
		"3603e0a1d9695a3073eab057f58a9d707319bf38b97501a5568e517891f7bc65",
		"0a5e1440fc1f5098d8bd580fd204716190a35c63e9dbe7ffe1670ec22d974c73",
	},
	shares: [][2]string{
		{"b7ae29324843445515298b3d5a39c815d108736542a1f964815cfbca55f82503", "7b80c1bf9c7a258aef7da98c9215451865c2eddddcd7560972f9ac824bdbf30d"},
		{"30c43f39de611c12a364e5315bd6d1589f7772e59aed38c01c22f53bc1f66201", "c71a2bfb93a5de4cadf018051c9fed8ab7dfd4f0ffb1348bd6e662187a82ee09"},
		{"cb597add9a8df598bd61ba20ab31c7866f6b8b535c66960d447ad06a79c57d05", "685ed7eb236b8fc729e654b5df95cf227152f22f880d46aeff94c0648b3bd007"},
		{"886fd91e7ec6cfe964200a0a4a4ba89f41e4bdaf860b124df7648d577e64760f", "5e4bc6914ccb37fa645e5d9dddf9eadf911a469b75ea8a72ed03c6677f069907"},
	},
	kek:    "c31b6981229bbd873488ae7d4457eb88aff30837b732c788785927568baae6bb",
	sealed: "5c9af638b69fa425a11f884e5ba36ed1692f82917fe3cf3e9aa4ee0c89b29aa4",
}

// labelled is SHA-512 of a label as a little-endian number modulo the order.
func labelled(label string) group.Scalar {
	h := sha512.Sum512([]byte(label))
	slices.Reverse(h[:])
	return curve.NewScalar().SetBigInt(new(big.Int).SetBytes(h[:]))
}

// fixedDealing is the dealing of the vectors: 3 of 4.
func fixedDealing() (Secret, []Share, Commitments) {
	var value, blinding []group.Scalar
	for j := range 3 {
		value = append(value, labelled(fmt.Sprintf("value %d", j)))
		blinding = append(blinding, labelled(fmt.Sprintf("blinding %d", j)))
	}
	shares, commitments := deal(value, blinding, 4)
	return secretOf(value[0]), shares, commitments
}

func repeated(b byte) statement.ID { return statement.ID(bytes.Repeat([]byte{b}, 32)) }

func TestFrozenVectors(t *testing.T) {
	if got := hex.EncodeToString(encodePoint(mulH(curve.NewScalar().SetUint64(1)))); got != vectorGenerator {
		t.Errorf("second generator is %s, want %s", got, vectorGenerator)
	}
	secret, shares, commitments := fixedDealing()
	if got := hex.EncodeToString(secret.Bytes()); got != vector.secret {
		t.Errorf("secret is %s, want %s", got, vector.secret)
	}
	for j, want := range vector.commitments {
		if got := hex.EncodeToString(commitments[j]); got != want {
			t.Errorf("commitment %d is %s, want %s", j, got, want)
		}
	}
	for i, want := range vector.shares {
		got := [2]string{hex.EncodeToString(shares[i].Value[:]), hex.EncodeToString(shares[i].Blinding[:])}
		if got != want {
			t.Errorf("share %d is %s, want %s", i, got, want)
		}
	}
	keyID, network := repeated(0x11), repeated(0x22)
	kek := KEK(secret, keyID, network)
	if got := hex.EncodeToString(kek[:]); got != vector.kek {
		t.Errorf("KEK is %s, want %s", got, vector.kek)
	}
	sealed, err := SealKey(secret, keyID, network, []byte("YELLOW SUBMARINE"))
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(sealed); got != vector.sealed {
		t.Errorf("sealed key is %s, want %s", got, vector.sealed)
	}
}

// What was dealt long ago must open today, from the stored bytes alone.
func TestVectorsOpenFromBytes(t *testing.T) {
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var c Commitments
	for _, s := range vector.commitments {
		c = append(c, unhex(s))
	}
	if err := c.Valid(3); err != nil {
		t.Fatal(err)
	}
	shares := map[int]Share{}
	for i, s := range vector.shares {
		shares[i] = Share{[32]byte(unhex(s[0])), [32]byte(unhex(s[1]))}
		if err := Check(i, shares[i], c); err != nil {
			t.Errorf("share %d: %v", i, err)
		}
	}
	delete(shares, 1)
	var fileKey []byte
	liars, err := Open(c, 3, shares, func(s Secret) (err error) {
		fileKey, err = OpenKey(s, repeated(0x11), repeated(0x22), unhex(vector.sealed))
		return err
	})
	if err != nil || len(liars) != 0 {
		t.Fatalf("liars %v, error %v", liars, err)
	}
	if string(fileKey) != "YELLOW SUBMARINE" {
		t.Errorf("file key is %q", fileKey)
	}
}
