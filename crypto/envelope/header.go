package envelope

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"filippo.io/age"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// Limits of a header. They are tighter than age's own, because a header
// arrives from the network.
const (
	MaxHeader  = 64 << 10 // bytes
	MaxStanzas = 64
	maxArgs    = 128 // age writes more, but reads no more
	maxSealed  = 1 << 10
	minSealed  = FileKeySize + tagSize
)

// CommitteeType is the type of the stanza that the replicated header holds.
const CommitteeType = "cerebrum.dev/committee"

// Errors that callers branch on.
var (
	// ErrHeader reports bytes that are not an age header, or one that is not
	// accepted here: too large, a passphrase stanza, other stanzas than expected.
	ErrHeader = errors.New("age header is not acceptable")
	// ErrIntegrity reports content that somebody altered or damaged.
	ErrIntegrity = errors.New("content fails its integrity check")
	// ErrHeaderMAC reports a header whose HMAC does not verify: the file key is
	// not the one that it was written with, or the header was altered. It is an
	// ErrIntegrity too.
	ErrHeaderMAC = fmt.Errorf("%w: the header's HMAC does not verify under this file key", ErrIntegrity)
)

// CommitteeStanza is what the replicated header says: which key to ask the
// committee of which network for, and the file key sealed under it.
type CommitteeStanza struct {
	KeyID   statement.ID // derived, see [KeyID]
	Network statement.ID
	Sealed  []byte // the sealed file key: 32 to 1024 bytes, opaque here
}

// stanza is one recipient of a header (C2SP age, "Recipient stanza").
type stanza struct {
	args []string // the type first
	body []byte
}

// header is a parsed age header. covered is what the HMAC is over.
type header struct {
	stanzas []stanza
	covered []byte
	mac     []byte
}

const (
	intro   = "age-encryption.org/v1\n"
	columns = 64
	macSize = sha256.Size
)

var b64 = base64.RawStdEncoding.Strict()

// CommitteeHeader writes the replicated header: the one stanza and the HMAC.
func CommitteeHeader(key FileKey, stanzaBody CommitteeStanza) ([]byte, error) {
	if n := len(stanzaBody.Sealed); n < minSealed || n > maxSealed {
		return nil, fmt.Errorf("a sealed file key has %d to %d bytes, not %d", minSealed, maxSealed, n)
	}
	body := slices.Concat(stanzaBody.KeyID[:], stanzaBody.Network[:], stanzaBody.Sealed)
	return marshalHeader(key, []stanza{{[]string{CommitteeType}, body}})
}

// ParseCommitteeHeader reads what [CommitteeHeader] writes and nothing else: a
// header that names any further recipient is refused. It does not check the
// HMAC, which takes the file key: see [CheckHeader].
func ParseCommitteeHeader(header []byte) (CommitteeStanza, error) {
	h, err := parseHeader(header)
	if err != nil {
		return CommitteeStanza{}, err
	}
	const ids = 2 * sha256.Size
	if len(h.stanzas) != 1 || len(h.stanzas[0].args) != 1 || h.stanzas[0].args[0] != CommitteeType {
		return CommitteeStanza{}, fmt.Errorf("%w: it does not hold the committee's stanza alone", ErrHeader)
	}
	body := h.stanzas[0].body
	if len(body) < ids+minSealed || len(body) > ids+maxSealed {
		return CommitteeStanza{}, fmt.Errorf("%w: the committee's stanza has %d bytes", ErrHeader, len(body))
	}
	return CommitteeStanza{
		KeyID:   statement.ID(body[:sha256.Size]),
		Network: statement.ID(body[sha256.Size:ids]),
		Sealed:  body[ids:],
	}, nil
}

// CheckHeader checks the header's HMAC under a file key (C2SP age, "Header
// MAC"). It returns [ErrHeader] for what is no header and [ErrHeaderMAC] for
// one that was not written with this key.
func CheckHeader(header []byte, key FileKey) error {
	h, err := parseHeader(header)
	if err != nil {
		return err
	}
	mac, err := headerMAC(key, h.covered)
	if err != nil {
		return err
	}
	if !hmac.Equal(mac, h.mac) {
		return ErrHeaderMAC
	}
	return nil
}

// RecipientHeader writes a header for given recipients, for an export that
// stock age opens. As age does, it refuses to mix recipients whose labels differ
// (one that is not post-quantum would undo the others). Passphrases are refused:
// such a header could not be read back here.
func RecipientHeader(key FileKey, rs ...age.Recipient) ([]byte, error) {
	if len(rs) == 0 {
		return nil, errors.New("a header needs at least one recipient")
	}
	if key.IsZero() {
		return nil, errNoKey
	}
	var all []stanza
	var first []string
	for i, r := range rs {
		got, labels, err := wrap(r, key)
		if err != nil {
			return nil, fmt.Errorf("recipient %d does not take the file key: %w", i+1, err)
		}
		slices.Sort(labels)
		if i == 0 {
			first = labels
		} else if !slices.Equal(first, labels) {
			return nil, fmt.Errorf("recipient %d cannot stand beside the first: the one is post-quantum or exclusive, the other is not", i+1)
		}
		for _, s := range got {
			all = append(all, stanza{append([]string{s.Type}, s.Args...), s.Body})
		}
	}
	return marshalHeader(key, all)
}

func wrap(r age.Recipient, key FileKey) ([]*age.Stanza, []string, error) {
	if l, ok := r.(age.RecipientWithLabels); ok {
		return l.WrapWithLabels(key.Bytes())
	}
	s, err := r.Wrap(key.Bytes())
	return s, nil, err
}

// marshalHeader writes stanzas and HMAC. It parses what it wrote, because
// nothing may be written here that is refused there.
func marshalHeader(key FileKey, stanzas []stanza) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(intro)
	for _, s := range stanzas {
		if slices.ContainsFunc(s.args, func(a string) bool { return !visible(a) }) {
			return nil, fmt.Errorf("%w: a stanza's arguments are malformed", ErrHeader)
		}
		b.WriteString("-> " + strings.Join(s.args, " ") + "\n")
		text := b64.EncodeToString(s.body)
		for len(text) >= columns {
			b.WriteString(text[:columns] + "\n")
			text = text[columns:]
		}
		b.WriteString(text + "\n") // always a short line, perhaps an empty one
	}
	b.WriteString("---")
	mac, err := headerMAC(key, b.Bytes())
	if err != nil {
		return nil, err
	}
	b.WriteString(" " + b64.EncodeToString(mac) + "\n")
	if _, err := parseHeader(b.Bytes()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func headerMAC(key FileKey, covered []byte) ([]byte, error) {
	k, err := key.derive(nil, "header")
	if err != nil {
		return nil, err
	}
	m := hmac.New(sha256.New, k)
	m.Write(covered)
	return m.Sum(nil), nil
}

// parseHeader reads exactly one header and nothing after it. What it accepts,
// age accepts, and both would write it again byte for byte.
func parseHeader(raw []byte) (*header, error) {
	if len(raw) > MaxHeader {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrHeader, len(raw), MaxHeader)
	}
	rest, ok := bytes.CutPrefix(raw, []byte(intro))
	if !ok {
		return nil, fmt.Errorf("%w: it does not start with the version line", ErrHeader)
	}
	h := &header{}
	for !bytes.HasPrefix(rest, []byte("---")) {
		if len(h.stanzas) == MaxStanzas {
			return nil, fmt.Errorf("%w: more than %d stanzas", ErrHeader, MaxStanzas)
		}
		s, after, err := parseStanza(rest)
		if err != nil {
			return nil, err
		}
		h.stanzas = append(h.stanzas, s)
		rest = after
	}
	if len(h.stanzas) == 0 {
		return nil, fmt.Errorf("%w: no stanza", ErrHeader)
	}
	h.covered = raw[: len(raw)-len(rest)+len("---") : len(raw)-len(rest)+len("---")]
	text, end := strings.CutSuffix(string(rest), "\n")
	mac, err := decodeLine(strings.TrimPrefix(text, "--- "))
	if !end || err != nil || len(mac) != macSize || !strings.HasPrefix(text, "--- ") {
		return nil, fmt.Errorf("%w: the last line is not an HMAC", ErrHeader)
	}
	h.mac = mac
	return h, nil
}

func parseStanza(raw []byte) (stanza, []byte, error) {
	var s stanza
	line, rest, ok := bytes.Cut(raw, []byte("\n"))
	text, prefix := strings.CutPrefix(string(line), "-> ")
	if !ok || !prefix {
		return s, nil, fmt.Errorf("%w: a stanza does not start with an arrow", ErrHeader)
	}
	s.args = strings.SplitN(text, " ", maxArgs+2)
	if len(s.args) > maxArgs+1 || slices.ContainsFunc(s.args, func(a string) bool { return !visible(a) }) {
		return s, nil, fmt.Errorf("%w: a stanza's arguments are malformed", ErrHeader)
	}
	if s.args[0] == "scrypt" {
		// One guess at a hostile work factor has taken 54 s.
		return s, nil, fmt.Errorf("%w: passphrases are not accepted", ErrHeader)
	}
	for {
		line, rest, ok = bytes.Cut(rest, []byte("\n"))
		part, err := decodeLine(string(line))
		if !ok || err != nil || len(line) > columns {
			return s, nil, fmt.Errorf("%w: a stanza's body is malformed", ErrHeader)
		}
		s.body = append(s.body, part...)
		if len(line) < columns {
			return s, rest, nil
		}
	}
}

// decodeLine is strict base64: the standard decoder skips line ends, which
// would give one header two encodings.
func decodeLine(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, ErrHeader
	}
	return b64.DecodeString(s)
}

// visible reports an argument as age has it: one or more of ASCII 33 to 126.
func visible(arg string) bool {
	for i := range len(arg) {
		if arg[i] < 33 || arg[i] > 126 {
			return false
		}
	}
	return arg != ""
}
