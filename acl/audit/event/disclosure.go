package event

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cerebrum.dev/cerebrum/crypto/statement"
)

const saltSize = 16 // bytes

// MaxDisclosure bounds the characters of a disclosure: JSON may write a character
// of a value with up to six.
const MaxDisclosure = (6*(MaxValue+MaxName)+64)*4/3 + 4

// ErrDisclosure reports a disclosure that is not of the leaf that it came with:
// forged, of another event, or shown twice.
var ErrDisclosure = errors.New("the disclosure does not belong to the entry")

var encoding = base64.RawURLEncoding.Strict()

// decode takes the one spelling; the decoder alone would skip line ends.
func decode(text string) ([]byte, error) {
	if at := strings.IndexAny(text, "\r\n"); at >= 0 {
		return nil, base64.CorruptInputError(at)
	}
	return encoding.DecodeString(text)
}

// Disclosure opens one claim of a leaf.
type Disclosure struct {
	Text string       // what is handed out and hashed
	Of   statement.ID // whom the claim concerns; zero: nobody. It is not part of Text
}

// Digest is what stands in the leaf.
func (d Disclosure) Digest() Digest { return sha256.Sum256([]byte(d.Text)) }

func disclose(salt []byte, c Claim) Disclosure {
	return Disclosure{Text: encoding.EncodeToString(spell([3]string{encoding.EncodeToString(salt), c.Name, c.Value})), Of: c.Of}
}

// spell writes JSON in the one way that is accepted: nothing is escaped but
// quotation marks and backslashes, which is all that plain text needs.
func spell(parts [3]string) []byte {
	out := make([]byte, 0, len(parts[0])+len(parts[1])+len(parts[2])+16)
	for i, part := range parts {
		out = append(out, "[,,"[i], '"')
		for _, b := range []byte(part) {
			if b == '"' || b == '\\' {
				out = append(out, '\\')
			}
			out = append(out, b)
		}
		out = append(out, '"')
	}
	return append(out, ']')
}

// unspell is the inverse of spell. It takes nothing that spell does not write, which a
// JSON decoder would.
func unspell(raw []byte) (parts [3]string, ok bool) {
	for i := range parts {
		if len(raw) < 2 || raw[0] != "[,,"[i] || raw[1] != '"' {
			return parts, false
		}
		raw = raw[2:]
		var part []byte
		for {
			end := bytes.IndexAny(raw, `"\`)
			if end < 0 {
				return parts, false
			}
			part = append(part, raw[:end]...)
			escaped := raw[end] == '\\'
			if raw = raw[end+1:]; !escaped {
				break
			}
			if len(raw) == 0 || raw[0] != '"' && raw[0] != '\\' {
				return parts, false
			}
			part, raw = append(part, raw[0]), raw[1:]
		}
		parts[i] = string(part)
	}
	return parts, string(raw) == "]"
}

// Open reads the claims that disclosures show of a leaf. Every one must be
// committed to by the leaf, once, whole and in the one spelling; otherwise the
// error is [ErrDisclosure] and nothing is shown. Claims that have no disclosure,
// because their person was forgotten or because they were held back, are missing
// from the answer, and the leaf does not tell how many. Of is zero: whom a claim
// concerns is not something that the leaf proves.
func Open(l *Leaf, disclosures []string) ([]Claim, error) {
	if len(disclosures) > len(l.Digests) {
		return nil, fmt.Errorf("%w: there are more disclosures than digests", ErrDisclosure)
	}
	claims := make([]Claim, 0, len(disclosures))
	var seen [MaxClaims]bool // by the place of the digest in the leaf
	for i, text := range disclosures {
		if len(text) > MaxDisclosure {
			return nil, fmt.Errorf("%w: number %d is too long", ErrDisclosure, i+1)
		}
		d := Disclosure{Text: text}.Digest()
		at, found := slices.BinarySearchFunc(l.Digests, d, compare)
		if !found {
			return nil, fmt.Errorf("%w: the entry does not commit to number %d", ErrDisclosure, i+1)
		}
		if seen[at] {
			return nil, fmt.Errorf("%w: number %d is shown twice", ErrDisclosure, i+1)
		}
		seen[at] = true
		c, err := parseDisclosure(text)
		if err != nil {
			return nil, fmt.Errorf("%w: number %d: %w", ErrDisclosure, i+1, err)
		}
		if _, twice := Find(claims, c.Name); twice {
			return nil, fmt.Errorf("%w: two are called %s", ErrDisclosure, c.Name)
		}
		claims = append(claims, c)
	}
	return claims, nil
}

func parseDisclosure(text string) (Claim, error) {
	raw, err := decode(text)
	if err != nil {
		return Claim{}, errors.New("it is not base64url")
	}
	list, ok := unspell(raw)
	if !ok {
		return Claim{}, errors.New("it is not a salt, a name and a value")
	}
	if salt, err := decode(list[0]); err != nil || len(salt) != saltSize {
		return Claim{}, fmt.Errorf("its salt is not of %d bytes", saltSize)
	}
	c := Claim{Name: list[1], Value: list[2]}
	return c, c.check()
}
