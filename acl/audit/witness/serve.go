package witness

import (
	"bytes"
	"fmt"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// Call is one of the things that a witness is asked.
type Call uint8

// The calls. Bodies and answers are at most as long as [Call.Limits] says.
const (
	// Cosign has the body of C2SP add-checkpoint; the answer is a signature line or a
	// [Refusal].
	Cosign Call = iota + 1
	// Introduce has a log's binding; the answer is empty or a refusal.
	Introduce
	// Show has an origin; the answer is the newest checkpoint of that log which the
	// witness cosigned, with the log's signature, or empty.
	Show
	// Changed has the number of a change as CBOR; the answer is a page of checkpoints.
	Changed
)

const (
	maxChanges = 128 // checkpoints in a page
	maxPage    = maxChanges * 1 << 10
)

// Limits are the most bytes of a call's body and of its answer.
func (c Call) Limits() (body, answer int) {
	switch c {
	case Cosign:
		return MaxBody, MaxAnswer
	case Introduce:
		return MaxBinding, MaxAnswer
	case Show:
		return maxOrigin, 2 << 10
	}
	return 16, maxPage
}

// changesPage is the answer to Changed.
type changesPage struct {
	_           struct{} `cbor:",toarray"`
	Checkpoints [][]byte
	Next        uint64 // change to go on with
}

// Answer answers a call. What went wrong in the witness is logged and answered with
// neutral words, as an error where the call has no refusals.
func (w *Witness) Answer(c Call, body []byte) ([]byte, error) {
	switch c {
	case Cosign:
		return w.refusal(w.Add(body))
	case Introduce:
		return w.refusal(nil, w.Bind(body))
	case Show:
		return w.Latest(string(body))
	case Changed:
		var after uint64
		if err := statement.Unmarshal(body, &after); err != nil {
			return nil, err
		}
		var page changesPage
		var err error
		if page.Checkpoints, page.Next, err = w.Since(after, maxChanges); err != nil {
			return nil, err
		}
		return statement.Marshal(page)
	}
	return nil, fmt.Errorf("witness: call %d", c)
}

func (w *Witness) refusal(lines []byte, err error) ([]byte, error) {
	out := Answer(lines, err)
	if bytes.HasPrefix(out, []byte("500 ")) {
		w.logger.Error("the witness failed", "err", err)
	}
	return out, nil
}

// AskChanged is the body of Changed.
func AskChanged(after uint64) []byte {
	raw, err := statement.Marshal(after)
	if err != nil {
		panic("witness: a number does not encode: " + err.Error())
	}
	return raw
}

// ReadChanged reads an answer to Changed. Nobody has verified the checkpoints.
func ReadChanged(raw []byte) (checkpoints [][]byte, next uint64, err error) {
	var page changesPage
	if err := statement.Unmarshal(raw, &page); err != nil {
		return nil, 0, fmt.Errorf("a page of checkpoints: %w", err)
	}
	return page.Checkpoints, page.Next, nil
}

// spread is a request for evidence, which shows evidence too. The answer is a list
// of what comes after a peer's key.
type spread struct {
	_     struct{} `cbor:",toarray"`
	After statement.PublicKey
	Shown [][]byte
}

// Limits of the exchange of evidence, in bytes. What is left out comes with the next
// page.
const (
	MaxSpread      = 4*MaxEvidence + 128
	MaxSpreadReply = 8 * MaxEvidence

	listHead = 5 // bytes before a list or an item of it in CBOR, at most
)

// AskEvidence is a request for the evidence of a docket against peers whose keys come
// after one, and shows some.
func AskEvidence(after statement.PublicKey, shown ...[]byte) ([]byte, error) {
	return statement.Marshal(spread{After: after, Shown: shown})
}

// Exchange answers a request of [AskEvidence]: it takes what is shown, verified, and
// gives a page. known reports peers that are or were members. taken is how much was
// new here. An error is the requester's, but for a disk that fails.
func (d *Docket) Exchange(request []byte, known func(statement.PublicKey) bool) (reply []byte, taken int, err error) {
	var r spread
	if err := statement.Unmarshal(request, &r); err != nil {
		return nil, 0, err
	}
	for _, raw := range r.Shown {
		isNew, err := d.Take(raw, known)
		if err != nil {
			return nil, taken, err
		}
		if isNew {
			taken++
		}
	}
	reply, err = statement.Marshal(d.After(r.After, MaxSpreadReply-listHead))
	return reply, taken, err
}

// ReadEvidence takes a page, and says after which peer the next one begins and
// whether there was anything.
func (d *Docket) ReadEvidence(reply []byte, known func(statement.PublicKey) bool) (after statement.PublicKey, taken int, more bool, err error) {
	var page [][]byte
	if err := statement.Unmarshal(reply, &page); err != nil {
		return after, 0, false, err
	}
	for _, raw := range page {
		e, err := ParseEvidence(raw)
		if err != nil {
			return after, taken, false, err
		}
		isNew, err := d.take(e, known)
		if err != nil {
			return after, taken, false, err
		}
		if isNew {
			taken++
		}
		after, more = e.Binding.Peer, true
	}
	return after, taken, more, nil
}

// Take verifies evidence that somebody else found and keeps it. What is against a
// peer that is not known is passed over: anybody can make evidence against keys of
// their own.
func (d *Docket) Take(raw []byte, known func(statement.PublicKey) bool) (isNew bool, err error) {
	e, err := ParseEvidence(raw)
	if err != nil {
		return false, err
	}
	return d.take(e, known)
}

func (d *Docket) take(e *Evidence, known func(statement.PublicKey) bool) (bool, error) {
	if !known(e.Binding.Peer) {
		return false, nil
	}
	return d.Add(e)
}
