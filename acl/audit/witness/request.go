package witness

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/mod/sumdb/tlog"
)

// Limits of what travels, in bytes.
const (
	MaxProof      = 63        // lines of a proof, as C2SP tlog-witness has it
	MaxCheckpoint = 16 << 10  // signatures of 64 witnesses fit
	MaxBody       = 20 << 10  // a request: the old size, the proof, the checkpoint
	MaxAnswer     = 512       // a signature line or a refusal
	MaxBinding    = 4 << 10   // a log's binding
	maxReason     = 256       // of a refusal
	signaturePre  = "\u2014 " // what a signature line begins with (C2SP signed-note)
)

// Request asks a witness to cosign a checkpoint.
type Request struct {
	Old        int64          // size of the checkpoint that the witness cosigned last
	Proof      tlog.TreeProof // that the log only grew since
	Checkpoint []byte         // the signed note
}

// Body is the request as it travels: the body of C2SP add-checkpoint.
func (r Request) Body() []byte {
	out := fmt.Appendf(nil, "old %d\n", r.Old)
	for _, h := range r.Proof {
		out = append(base64.StdEncoding.AppendEncode(out, h[:]), '\n')
	}
	return append(append(out, '\n'), r.Checkpoint...)
}

// ParseRequest reads a body. It accepts one encoding only and looks at nothing of the
// checkpoint but its size. The error is a [*Refusal].
func ParseRequest(body []byte) (*Request, error) {
	if len(body) > MaxBody {
		return nil, refuse(400, "the request is longer than %d bytes", MaxBody)
	}
	head, checkpoint, ok := bytes.Cut(body, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	switch {
	case !ok || len(checkpoint) == 0 || len(checkpoint) > MaxCheckpoint:
		return nil, refuse(400, "a checkpoint of 1 to %d bytes is missing", MaxCheckpoint)
	case len(lines)-1 > MaxProof:
		return nil, refuse(400, "a proof has at most %d lines", MaxProof)
	}
	size, ok := strings.CutPrefix(lines[0], "old ")
	old, ok2 := parseSize(size)
	if !ok || !ok2 {
		return nil, refuse(400, "the first line is not the old size")
	}
	r := &Request{Old: old, Checkpoint: slices.Clone(checkpoint)}
	for _, l := range lines[1:] {
		h, err := tlog.ParseHash(l)
		if err != nil || h.String() != l {
			return nil, refuse(400, "a line of the proof is no hash")
		}
		r.Proof = append(r.Proof, h)
	}
	return r, nil
}

// parseSize reads a decimal without sign or leading zeros.
func parseSize(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n >= 0 && strconv.FormatInt(n, 10) == s
}

// Refusal is why a witness did not sign.
type Refusal struct {
	// Code is the status of C2SP tlog-witness: 400 malformed, 403 a signature or log
	// that is not trusted, 404 unknown log, 409 another size, 422 a proof that does
	// not hold. 429 asks to come later and 500 blames the witness.
	Code   int
	Size   int64  // with 409: of the newest checkpoint that the witness cosigned
	Reason string // one sentence; none with 409
}

func refuse(code int, format string, a ...any) *Refusal {
	return &Refusal{Code: code, Reason: fmt.Sprintf(format, a...)}
}

// Error says what the witness said.
func (r *Refusal) Error() string {
	if r.Code == 409 {
		return fmt.Sprintf("the witness has another checkpoint, of %d records (409)", r.Size)
	}
	return fmt.Sprintf("%s (%d)", r.Reason, r.Code)
}

// Answer is the refusal as it travels.
func (r *Refusal) Answer() []byte {
	if r.Code == 409 {
		return fmt.Appendf(nil, "409 %d\n", r.Size)
	}
	return fmt.Appendf(nil, "%03d %s\n", r.Code, line(r.Reason))
}

// Answer is what travels back for what [Witness.Add] returned. Errors that are no
// refusal are not shown to others.
func Answer(lines []byte, err error) []byte {
	var r *Refusal
	switch {
	case err == nil:
		return lines
	case errors.As(err, &r):
		return r.Answer()
	}
	return refuse(500, "the witness failed").Answer()
}

// ErrAnswer reports an answer that is neither signatures nor a refusal.
var ErrAnswer = errors.New("the witness's answer cannot be understood")

// ParseAnswer reads an answer: signature lines, which are not verified, or a
// [*Refusal] as the error. It fails with [ErrAnswer].
func ParseAnswer(raw []byte) (lines []byte, err error) {
	if len(raw) > MaxAnswer || len(raw) == 0 || raw[len(raw)-1] != '\n' {
		return nil, ErrAnswer
	}
	if bytes.HasPrefix(raw, []byte(signaturePre)) {
		return raw, nil
	}
	code, rest, ok := strings.Cut(strings.TrimSuffix(string(raw), "\n"), " ")
	n, numeric := parseSize(code)
	if !ok || !numeric || n < 400 || n > 599 {
		return nil, ErrAnswer
	}
	r := &Refusal{Code: int(n)}
	if r.Code != 409 {
		r.Reason = line(rest)
		return nil, r
	}
	if r.Size, ok = parseSize(rest); !ok {
		return nil, ErrAnswer
	}
	return nil, r
}

// line makes of a text one that is fit for a terminal and a log.
func line(s string) string {
	s = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(s, "?"))
	for len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "")
	}
	return s
}
