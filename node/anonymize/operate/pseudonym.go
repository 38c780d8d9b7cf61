package operate

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"unicode"
	"unicode/utf8"

	"cerebrum.dev/cerebrum/node/anonymize/operate/ff1"
	"cerebrum.dev/cerebrum/node/anonymize/operate/siv"
)

// base is lower-case base32: pseudonyms are one word, in any file and address.
var base = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Pseudonym replaces values by 26 characters that say nothing without the key:
// 128 bits of HMAC-SHA-256 over dataset, column and value. Nobody can undo it, but
// whoever has the key can find the pseudonym of a value that they guess. It is not for
// several goroutines at a time.
type Pseudonym struct {
	mac  hash.Hash
	head []byte // dataset and column
	sum  [sha256.Size]byte
}

// NewPseudonym binds pseudonyms to a place.
func NewPseudonym(k Key, p Place) (*Pseudonym, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	key, err := k.derive("pseudonym", Place{}, 32)
	if err != nil {
		return nil, err
	}
	return &Pseudonym{mac: hmac.New(sha256.New, key), head: lengths(p.Dataset, p.Column)}, nil
}

// lengths writes strings so that no other strings are written alike.
func lengths(parts ...string) (out []byte) {
	for _, s := range parts {
		out = binary.BigEndian.AppendUint64(out, uint64(len(s)))
		out = append(out, s...)
	}
	return out
}

// Append implements [Operator].
func (p *Pseudonym) Append(dst []byte, cell Cell) ([]byte, error) {
	if len(cell.Value) == 0 {
		return dst, nil
	}
	p.mac.Reset()
	p.mac.Write(p.head)
	p.mac.Write(cell.Value)
	return base.AppendEncode(dst, p.mac.Sum(p.sum[:0])[:16]), nil
}

// Reversible replaces values by an encryption of them under AES-SIV (RFC 5297): equal
// values stay equal, and the key gives them back. Lengths remain visible.
type Reversible struct {
	cipher *siv.Cipher
	place  [2][]byte
}

// ErrReverse means that a text is no pseudonym of this key, dataset and column.
var ErrReverse = errors.New("it is not a pseudonym made with this key for this dataset and column")

// NewReversible binds pseudonyms to a place.
func NewReversible(k Key, p Place) (*Reversible, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	key, err := k.derive("reversible", Place{}, 64)
	if err != nil {
		return nil, err
	}
	c, err := siv.New(key)
	if err != nil {
		return nil, err
	}
	return &Reversible{c, [2][]byte{[]byte(p.Dataset), []byte(p.Column)}}, nil
}

// Append implements [Operator].
func (r *Reversible) Append(dst []byte, cell Cell) ([]byte, error) {
	if len(cell.Value) == 0 {
		return dst, nil
	}
	return base.AppendEncode(dst, r.cipher.Seal(nil, cell.Value, r.place[0], r.place[1])), nil
}

// Reverse appends the value of a pseudonym to dst. The error is [ErrReverse].
func (r *Reversible) Reverse(dst, pseudonym []byte) ([]byte, error) {
	if len(pseudonym) == 0 {
		return dst, nil
	}
	sealed, err := base.AppendDecode(nil, pseudonym)
	// Base32 has spare bits, and there is one pseudonym of a value.
	if err != nil || base.EncodeToString(sealed) != string(pseudonym) {
		return dst, ErrReverse
	}
	out, err := r.cipher.Open(dst, sealed, r.place[0], r.place[1])
	if err != nil {
		return dst, ErrReverse
	}
	return out, nil
}

// Alphabets of [Format].
const (
	Digits       = "0123456789"
	DigitsUpper  = Digits + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	Alphanumeric = DigitsUpper + "abcdefghijklmnopqrstuvwxyz"
)

// Format encrypts the characters of an alphabet with FF1 (NIST SP 800-38G) to
// characters of the alphabet, and leaves separators where they are: "12-3456" becomes
// "80-5519". Letters and digits that the alphabet lacks are refused, since they would be
// published as they are. Check digits within do not hold any more. It is the weakest of the
// pseudonyms: lengths and separators remain, changes go unnoticed, and there are few
// values to guess among. Values with fewer than a million possibilities are refused.
type Format struct {
	cipher   *ff1.Cipher
	tweak    []byte
	alphabet []rune
	place    map[rune]uint16
}

// ErrAlphabet means that a value has letters or digits which its alphabet lacks.
var ErrAlphabet = errors.New("the value has letters or digits that are not in the alphabet")

// NewFormat binds encryption to a place, with an alphabet of 2 to 65536 characters.
func NewFormat(k Key, p Place, alphabet string) (*Format, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if !utf8.ValidString(alphabet) {
		return nil, errors.New("the alphabet is not UTF-8")
	}
	f := &Format{alphabet: []rune(alphabet), place: map[rune]uint16{}, tweak: lengths(p.Dataset, p.Column)}
	if len(f.alphabet) > ff1.MaxRadix {
		return nil, fmt.Errorf("the alphabet has %d characters, at most %d are allowed", len(f.alphabet), ff1.MaxRadix)
	}
	for i, c := range f.alphabet {
		if _, twice := f.place[c]; twice {
			return nil, fmt.Errorf("the alphabet has %q twice", c)
		}
		f.place[c] = uint16(i)
	}
	key, err := k.derive("format", Place{}, 32)
	if err != nil {
		return nil, err
	}
	f.cipher, err = ff1.New(key, len(f.alphabet))
	return f, err
}

// Append implements [Operator]. The error is a [*ff1.LengthError] for values with fewer
// than a million possibilities, or [ErrAlphabet].
func (f *Format) Append(dst []byte, cell Cell) ([]byte, error) {
	return f.apply(dst, cell.Value, f.cipher.Encrypt)
}

// Reverse appends the value to dst of which [Format.Append] made this one. It cannot
// tell whether it was made with this key.
func (f *Format) Reverse(dst, value []byte) ([]byte, error) {
	return f.apply(dst, value, f.cipher.Decrypt)
}

func (f *Format) apply(dst, value []byte, crypt func([]uint16, []byte) error) ([]byte, error) {
	if len(value) == 0 {
		return dst, nil
	}
	var numerals []uint16
	for rest := value; len(rest) > 0; {
		c, size := utf8.DecodeRune(rest)
		if n, ok := f.place[c]; ok && (c != utf8.RuneError || size > 1) {
			numerals = append(numerals, n)
		} else if unicode.IsLetter(c) || unicode.IsNumber(c) {
			return dst, ErrAlphabet
		}
		rest = rest[size:]
	}
	if err := crypt(numerals, f.tweak); err != nil {
		return dst, err
	}
	for rest := value; len(rest) > 0; {
		c, size := utf8.DecodeRune(rest)
		if _, ok := f.place[c]; ok && (c != utf8.RuneError || size > 1) {
			dst = utf8.AppendRune(dst, f.alphabet[numerals[0]])
			numerals = numerals[1:]
		} else {
			dst = append(dst, rest[:size]...)
		}
		rest = rest[size:]
	}
	return dst, nil
}
