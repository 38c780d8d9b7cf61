package witness

import (
	"errors"
	"fmt"
	"strings"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
)

// Policy wants a checkpoint that the log of a binding signed and that K of the N
// validators of a committee record cosigned. With several records it is enough that
// those of one did: a checkpoint has the cosignatures of the committee that sat
// when it was signed. Cosignatures under different records are never added up, as
// the argument for K is about one committee. The caller chooses records that
// count: who stole K witness keys of a committee that was recovered from can sign
// anything as it. Without records nothing satisfies the policy.
//
// torchwood's own policies refuse a witness that stands in two groups, as a
// validator does that sits in two committees.
func Policy(b *audit.Binding, records ...*trust.Committee) (torchwood.Policy, error) {
	log, err := b.Policy()
	if err != nil {
		return nil, err
	}
	p := &policy{log: log, witnesses: map[signerID]note.Verifier{}}
	for _, r := range records {
		c := committee{quorum: int(r.Numbers.K)}
		for _, v := range r.Validators {
			w, err := Verifier(v.Witness)
			if err != nil {
				return nil, err
			}
			id := signerID{w.Name(), w.KeyHash()}
			p.witnesses[id] = w
			c.members = append(c.members, id)
		}
		p.committees = append(p.committees, c)
	}
	return p, nil
}

// PolicyText is the policy of one record for other tools, in the format that
// torchwood and Tessera read.
func PolicyText(b *audit.Binding, record *trust.Committee) (string, error) {
	key, err := b.Key()
	if err != nil {
		return "", err
	}
	var out, names strings.Builder
	fmt.Fprintf(&out, "log %s\n", key)
	for i, v := range record.Validators {
		fmt.Fprintf(&out, "witness v%d %s\n", i+1, Key(v.Witness))
		fmt.Fprintf(&names, " v%d", i+1)
	}
	fmt.Fprintf(&out, "group validators %d%s\nquorum validators\n", record.Numbers.K, names.String())
	return out.String(), nil
}

// ErrQuorum reports a checkpoint that too few validators cosigned.
var ErrQuorum = errors.New("too few validators cosigned the checkpoint")

// policy implements [torchwood.Policy].
type policy struct {
	log        torchwood.Policy
	committees []committee
	witnesses  map[signerID]note.Verifier
}

// signerID is how a note names who signed.
type signerID struct {
	name string
	hash uint32
}

type committee struct {
	quorum  int
	members []signerID
}

// Check implements [torchwood.Policy].
func (p *policy) Check(origin string, sigs []note.Signature) error {
	if err := p.log.Check(origin, sigs); err != nil {
		return err
	}
	signed := map[signerID]bool{}
	for _, s := range sigs {
		signed[signerID{s.Name, s.Hash}] = true
	}
	best := ErrQuorum
	for _, c := range p.committees {
		have := 0
		for _, m := range c.members {
			if signed[m] {
				have++
			}
		}
		if have >= c.quorum {
			return nil
		}
		best = fmt.Errorf("%w: %d of the %d that are needed", ErrQuorum, have, c.quorum)
	}
	return best
}

// Verifier implements [note.Verifiers].
func (p *policy) Verifier(name string, hash uint32) (note.Verifier, error) {
	if v := p.witnesses[signerID{name, hash}]; v != nil {
		return v, nil
	}
	return p.log.Verifier(name, hash)
}

// verifiers are those of all witnesses of a record.
func verifiers(record *trust.Committee) (note.Verifiers, error) {
	list := make([]note.Verifier, len(record.Validators))
	for i, v := range record.Validators {
		var err error
		if list[i], err = Verifier(v.Witness); err != nil {
			return nil, err
		}
	}
	return note.VerifierList(list...), nil
}

// cosigners are the validators of a record whose cosignatures stand on a checkpoint,
// by the keys of their witnesses, each with the time that it gave, in Unix seconds.
func cosigners(record *trust.Committee, checkpoint []byte) (map[statement.PublicKey]int64, error) {
	out := map[statement.PublicKey]int64{}
	if checkpoint == nil {
		return out, nil
	}
	known, err := verifiers(record)
	if err != nil {
		return nil, err
	}
	n, err := note.Open(checkpoint, known)
	var none *note.UnverifiedNoteError
	if errors.As(err, &none) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	for _, s := range n.Sigs {
		for _, v := range record.Validators {
			if s.Name != Name(v.Witness) || s.Hash != keyHash(v.Witness) {
				continue
			}
			if out[v.Witness], err = torchwood.CosignatureTimestamp(s); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}
