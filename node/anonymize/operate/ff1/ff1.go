// Package ff1 encrypts strings of numerals to strings of the same length.
//
// It is the mode FF1 of NIST SP 800-38G (March 2016), algorithms 7 and 8: a Feistel
// network of ten rounds over AES. A numeral is a number below the radix; letters,
// digits and separators are the business of the caller.
//
// The second draft of revision 1 (February 2025) makes a requirement of what was a
// recommendation: that there are at least a million strings of the length. [New]
// refuses shorter ones, because they fall to a search whatever the key is. FF3 and
// FF3-1, which that draft withdraws, are not here.
//
//	c, err := ff1.New(key, 10)
//	err = c.Encrypt(digits, tweak) // in place
//
// Encryption is deterministic: equal strings under an equal tweak stay equal, and whoever
// may ask for encryptions can search a small domain. There is no integrity: every string
// decrypts to something.
package ff1

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
)

// Bounds of what is encrypted.
const (
	MinDomain = 1_000_000 // strings of a length, at least
	MaxLength = 4096      // numerals
	MaxTweak  = 1 << 16   // bytes
	MaxRadix  = 1 << 16
)

// A LengthError refuses a string by its length alone.
type LengthError struct {
	Length, Min, Max int // numerals
}

func (e *LengthError) Error() string {
	return fmt.Sprintf("there are %d characters to encrypt and have to be %d to %d, so that at least a million values are possible", e.Length, e.Min, e.Max)
}

// ErrNumeral means that a numeral is not below the radix.
var ErrNumeral = errors.New("a numeral is not below the radix")

// Cipher encrypts with one key. Several goroutines may use it.
type Cipher struct {
	block  cipher.Block
	radix  uint32
	min    int
	powers *big.Int
}

// New takes an AES key of 16, 24 or 32 bytes and a radix from 2 to [MaxRadix].
func New(key []byte, radix int) (*Cipher, error) {
	if radix < 2 || radix > MaxRadix {
		return nil, fmt.Errorf("the radix is %d and has to be between 2 and %d", radix, MaxRadix)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("the key has %d bytes and has to have 16, 24 or 32", len(key))
	}
	return &Cipher{block: block, radix: uint32(radix), min: minLength(radix), powers: big.NewInt(int64(radix))}, nil
}

func minLength(radix int) int {
	n, domain := 0, 1
	for domain < MinDomain {
		n, domain = n+1, domain*radix
	}
	return max(n, 2)
}

// Min is the length of the shortest strings that are encrypted.
func (c *Cipher) Min() int { return c.min }

// Encrypt replaces the numerals by their encryption under the tweak, which is public
// and says where the string stands: equal strings with different tweaks come out
// unrelated. The error is a [*LengthError] or [ErrNumeral], and nothing is changed.
func (c *Cipher) Encrypt(numerals []uint16, tweak []byte) error {
	r, err := c.begin(numerals, tweak)
	if err != nil {
		return err
	}
	a, b := r.number(numerals[:r.u]), r.number(numerals[r.u:])
	for i := range 10 {
		m := r.modulus(i)
		a.Add(a, r.round(byte(i), b)).Mod(a, m)
		a, b = b, a
	}
	r.write(numerals, a, b)
	return nil
}

// Decrypt undoes [Cipher.Encrypt].
func (c *Cipher) Decrypt(numerals []uint16, tweak []byte) error {
	r, err := c.begin(numerals, tweak)
	if err != nil {
		return err
	}
	a, b := r.number(numerals[:r.u]), r.number(numerals[r.u:])
	for i := 9; i >= 0; i-- {
		m := r.modulus(i)
		b.Sub(b, r.round(byte(i), a)).Mod(b, m)
		a, b = b, a
	}
	r.write(numerals, a, b)
	return nil
}

// run is what the rounds of one string have in common, in the names of the standard.
type run struct {
	c          *Cipher
	u, b, d    int
	modU, modV *big.Int
	prefix     [16]byte // the state of the PRF after P
	q          []byte   // T, zeros, i and NUM(B)
	s          []byte
	y          *big.Int
}

func (c *Cipher) begin(numerals []uint16, tweak []byte) (*run, error) {
	n := len(numerals)
	if n < c.min || n > MaxLength {
		return nil, &LengthError{Length: n, Min: c.min, Max: MaxLength}
	}
	if len(tweak) > MaxTweak {
		return nil, fmt.Errorf("the tweak has %d bytes, at most %d are allowed", len(tweak), MaxTweak)
	}
	for _, x := range numerals {
		if uint32(x) >= c.radix {
			return nil, ErrNumeral
		}
	}
	u := n / 2
	v := n - u
	r := &run{c: c, u: u, y: new(big.Int)}
	r.modU = new(big.Int).Exp(c.powers, big.NewInt(int64(u)), nil)
	r.modV = r.modU
	if v != u {
		r.modV = new(big.Int).Mul(r.modU, c.powers)
	}
	// Step 3: b is the bytes that the largest NUM(B) takes.
	r.b = (new(big.Int).Sub(r.modV, big.NewInt(1)).BitLen() + 7) / 8
	r.d = 4*((r.b+3)/4) + 4
	p := [16]byte{1, 2, 1, byte(c.radix >> 16), byte(c.radix >> 8), byte(c.radix), 10, byte(u)}
	binary.BigEndian.PutUint32(p[8:], uint32(n))
	binary.BigEndian.PutUint32(p[12:], uint32(len(tweak)))
	c.block.Encrypt(r.prefix[:], p[:])
	pad := (16 - (len(tweak)+r.b+1)%16) % 16
	r.q = make([]byte, len(tweak)+pad+1+r.b)
	copy(r.q, tweak)
	r.s = make([]byte, (r.d+15)/16*16)
	return r, nil
}

func (r *run) modulus(i int) *big.Int {
	if i%2 == 0 {
		return r.modU
	}
	return r.modV
}

// round is steps 6 i to iv: y for one round. It is valid until the next round.
func (r *run) round(i byte, half *big.Int) *big.Int {
	at := len(r.q) - r.b
	r.q[at-1] = i
	half.FillBytes(r.q[at:])
	state := r.prefix
	for q := r.q; len(q) > 0; q = q[16:] {
		for j := range state {
			state[j] ^= q[j]
		}
		r.c.block.Encrypt(state[:], state[:])
	}
	copy(r.s, state[:])
	for j := 1; j < len(r.s)/16; j++ {
		block := state
		binary.BigEndian.PutUint64(block[8:], binary.BigEndian.Uint64(block[8:])^uint64(j))
		r.c.block.Encrypt(r.s[16*j:], block[:])
	}
	return r.y.SetBytes(r.s[:r.d])
}

// number is NUM: the numerals as one number, those of the highest value first.
func (r *run) number(numerals []uint16) *big.Int {
	n, digit, word := new(big.Int), new(big.Int), uint64(0)
	scale := uint64(1)
	flush := func() {
		n.Mul(n, digit.SetUint64(scale)).Add(n, digit.SetUint64(word))
		word, scale = 0, 1
	}
	for _, x := range numerals {
		word, scale = word*uint64(r.c.radix)+uint64(x), scale*uint64(r.c.radix)
		if scale > math.MaxUint64>>17 {
			flush()
		}
	}
	flush()
	return n
}

// write is STR of both halves.
func (r *run) write(numerals []uint16, a, b *big.Int) {
	for _, part := range []struct {
		to   []uint16
		from *big.Int
	}{{numerals[:r.u], a}, {numerals[r.u:], b}} {
		digit := new(big.Int)
		for i := len(part.to) - 1; i >= 0; i-- {
			part.from.QuoRem(part.from, r.c.powers, digit)
			part.to[i] = uint16(digit.Uint64())
		}
	}
}
