// Package siv encrypts so that equal plaintexts stay equal: deterministic
// authenticated encryption, AES-SIV of RFC 5297.
//
// What it leaks is which plaintexts under the same associated data are equal, and their
// length; nothing else, and a changed ciphertext does not open. It needs no nonce, which
// is what a pseudonym that can be reversed needs. The standard library has no such mode.
//
//	c, err := siv.New(key) // 64 bytes: two AES-256 keys
//	sealed := c.Seal(nil, plaintext, []byte("dataset"), []byte("column"))
//	plaintext, err := c.Open(nil, sealed, []byte("dataset"), []byte("column"))
package siv

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"errors"
	"fmt"
)

// Overhead is how many bytes a ciphertext is longer than its plaintext.
const Overhead = 16

// MaxAssociated is how many strings of associated data one message may have
// (RFC 5297, section 2.6: 126 with the plaintext's).
const MaxAssociated = 126

// ErrOpen means that a ciphertext was not made with this key and associated data.
var ErrOpen = errors.New("it was not encrypted with this key for this place")

// Cipher encrypts with one key. Several goroutines may use it.
type Cipher struct {
	mac, enc cipher.Block
	k1, k2   [16]byte // subkeys of CMAC
}

// New takes a key of 32, 48 or 64 bytes: the first half authenticates, the second
// encrypts.
func New(key []byte) (*Cipher, error) {
	if n := len(key); n != 32 && n != 48 && n != 64 {
		return nil, fmt.Errorf("the key has %d bytes and has to have 32, 48 or 64", n)
	}
	mac, err := aes.NewCipher(key[:len(key)/2])
	if err != nil {
		return nil, err
	}
	enc, err := aes.NewCipher(key[len(key)/2:])
	if err != nil {
		return nil, err
	}
	c := &Cipher{mac: mac, enc: enc}
	mac.Encrypt(c.k1[:], c.k1[:])
	c.k1 = double(c.k1)
	c.k2 = double(c.k1)
	return c, nil
}

// Seal appends the encryption of plaintext to dst. It panics if there are more than
// [MaxAssociated] strings of associated data.
func (c *Cipher) Seal(dst, plaintext []byte, associated ...[]byte) []byte {
	v := c.s2v(plaintext, associated)
	dst = append(dst, v[:]...)
	at := len(dst)
	dst = append(dst, plaintext...)
	c.ctr(v, dst[at:])
	return dst
}

// Open appends the plaintext of a ciphertext to dst. The error is [ErrOpen], and dst is
// returned as it was.
func (c *Cipher) Open(dst, sealed []byte, associated ...[]byte) ([]byte, error) {
	if len(sealed) < Overhead {
		return dst, ErrOpen
	}
	v := [16]byte(sealed[:16])
	plaintext := append([]byte(nil), sealed[16:]...)
	c.ctr(v, plaintext)
	want := c.s2v(plaintext, associated)
	if subtle.ConstantTimeCompare(v[:], want[:]) != 1 {
		return dst, ErrOpen
	}
	return append(dst, plaintext...), nil
}

// ctr is section 2.5: two bits of the vector are cleared so that counters of 32 bits do
// not carry.
func (c *Cipher) ctr(v [16]byte, data []byte) {
	v[8] &= 0x7f
	v[12] &= 0x7f
	cipher.NewCTR(c.enc, v[:]).XORKeyStream(data, data)
}

// s2v is section 2.4.
func (c *Cipher) s2v(last []byte, associated [][]byte) [16]byte {
	if len(associated) > MaxAssociated {
		panic("siv: too many strings of associated data")
	}
	d := c.cmac(make([]byte, 16), nil)
	for _, s := range associated {
		d = xor(double(d), c.cmac(s, nil))
	}
	if len(last) >= 16 {
		return c.cmac(last, &d)
	}
	var padded [16]byte
	copy(padded[:], last)
	padded[len(last)] = 0x80
	d = xor(double(d), padded)
	return c.cmac(d[:], nil)
}

// cmac is CMAC of NIST SP 800-38B, with mask combined into the last 16 bytes of the
// message if there is one, which is the xorend of section 2.4.
func (c *Cipher) cmac(message []byte, mask *[16]byte) (state [16]byte) {
	n := len(message)
	blocks := max(1, (n+15)/16)
	for i := range blocks {
		var block [16]byte
		got := copy(block[:], message[16*i:])
		if mask != nil {
			for j := range got {
				if k := 16*i + j - (n - 16); k >= 0 {
					block[j] ^= mask[k]
				}
			}
		}
		if i == blocks-1 {
			if got == 16 {
				block = xor(block, c.k1)
			} else {
				block[got] = 0x80
				block = xor(block, c.k2)
			}
		}
		state = xor(state, block)
		c.mac.Encrypt(state[:], state[:])
	}
	return state
}

func xor(a, b [16]byte) [16]byte {
	for i := range a {
		a[i] ^= b[i]
	}
	return a
}

// double multiplies by x in GF(2^128), without a branch on the secret.
func double(b [16]byte) [16]byte {
	carry := b[0] >> 7
	for i := range 15 {
		b[i] = b[i]<<1 | b[i+1]>>7
	}
	b[15] = b[15]<<1 ^ 0x87&-carry
	return b
}
