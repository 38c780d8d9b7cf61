package policy

import (
	"fmt"
	"slices"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Propose makes the unsigned statement of a bundle that [History.Follow] made.
// Validators sign it one after the other, or copies of it side by side, which
// [MergeProposals] joins; with K signatures it is what [History.Add] takes.
func Propose(b *Bundle) ([]byte, error) {
	if b.Version == 0 || b.Record == (statement.ID{}) {
		return nil, fmt.Errorf("%w: a proposal has a version and names a committee record", ErrBundle)
	}
	if _, err := NewEngine(b); err != nil {
		return nil, err
	}
	s, err := statement.New(KindBundle, b)
	if err != nil {
		return nil, err
	}
	return s.Bytes(), nil
}

// Proposal is a bundle that validators are asked to sign. Nothing is verified
// but its form, and that it names the committee.
type Proposal struct {
	*Bundle
	committee *trust.Committee
	statement *statement.Statement
}

// ReadProposal decodes a proposal to a committee. The error is [ErrBundle].
func ReadProposal(raw []byte, c *trust.Committee) (*Proposal, error) {
	s, b, err := readBundle(raw)
	if err != nil {
		return nil, err
	}
	if b.Record != c.ID() || b.Version == 0 {
		return nil, fmt.Errorf("%w: it is not for the validators of this committee record", ErrBundle)
	}
	return &Proposal{Bundle: b, committee: c, statement: s}, nil
}

// Sign adds the signature of a validator and returns the proposal with it. A
// bundle that [NewEngine] or follows refuses gets none: follows is the validator's
// own history, so that it never signs two bundles of one version that it knows.
func (p *Proposal) Sign(key statement.PrivateKey, follows *History) ([]byte, error) {
	at := slices.Index(p.committee.ValidatorKeys(), key.Public())
	if at < 0 {
		return nil, fmt.Errorf("%w: the key is not a validator's of this committee record", ErrBundle)
	}
	if _, err := NewEngine(p.Bundle); err != nil {
		return nil, err
	}
	follows.mu.Lock()
	err := follows.follows(p.Bundle)
	follows.mu.Unlock()
	if err != nil {
		return nil, err
	}
	p.statement.Prune(KindBundle, p.committee.ValidatorKeys()) // a wrong one would keep the right one out
	p.statement.AddSignature(uint16(at), key)
	return p.statement.Bytes(), nil
}

// Signed are the indexes of the validators that signed, and how many must.
func (p *Proposal) Signed() (by []int, of int) {
	return p.statement.VerifyEach(KindBundle, p.committee.ValidatorKeys()), int(p.committee.Numbers.K)
}

// MergeProposals joins the signatures of two copies of one proposal; those that
// do not verify are dropped. The error is [ErrBundle] for different proposals.
func MergeProposals(a, b []byte, c *trust.Committee) ([]byte, error) {
	p, err := ReadProposal(a, c)
	if err != nil {
		return nil, err
	}
	q, err := ReadProposal(b, c)
	if err != nil {
		return nil, err
	}
	keys := c.ValidatorKeys()
	p.statement.Prune(KindBundle, keys)
	q.statement.Prune(KindBundle, keys)
	if p.statement.ID() != q.statement.ID() {
		return nil, fmt.Errorf("%w: the two are different proposals", ErrBundle)
	}
	if err := p.statement.Merge(q.statement); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	return p.statement.Bytes(), nil
}
