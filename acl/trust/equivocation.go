package trust

import (
	"errors"
	"fmt"
	"slices"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// KindEquivocation is the kind of proofs that a validator signed two committee
// records for one position. They carry no signature of their own: the two inside
// prove all there is.
const KindEquivocation statement.Kind = "equivocation"

// ErrProof reports a proof that proves nothing.
var ErrProof = errors.New("it does not prove that a validator signed twice")

const maxProofs = 256

// Proof is the body: the two records and whose key signed both.
type Proof struct {
	_             struct{}     `cbor:",toarray"`
	Record        statement.ID // a known record that lists the validator
	Validator     uint16       // its index there
	First, Second []byte       // the statement with the smaller id first
	FirstAt       uint16       // index of the signature on First
	SecondAt      uint16
}

// ID identifies the proof.
func (p *Proof) ID() statement.ID {
	raw := p.Bytes()
	s, err := statement.Parse(raw)
	if err != nil {
		return statement.ID{} // longer than a statement may be; nobody can parse it either
	}
	return s.ID()
}

// Bytes is the proof as it travels.
func (p *Proof) Bytes() []byte {
	s, err := statement.New(KindEquivocation, p)
	if err != nil {
		panic("trust: a proof does not encode: " + err.Error()) // a struct of plain fields
	}
	return s.Bytes()
}

// ParseProof decodes a proof, which [Proof.Verify] judges.
func ParseProof(raw []byte) (*Proof, error) {
	s, err := statement.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProof, err)
	}
	var p Proof
	if err := s.Peek(KindEquivocation, &p); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProof, err)
	}
	return &p, nil
}

// readPosition reads a signed record that is no genesis.
func readPosition(raw []byte) (*statement.Statement, *Record, error) {
	s, err := statement.Parse(raw)
	if err != nil {
		return nil, nil, err
	}
	var r Record
	if err := s.Peek(KindRecord, &r); err != nil {
		return nil, nil, err
	}
	if len(r.Previous) != len(statement.ID{}) {
		return nil, nil, errors.New("it follows no record")
	}
	return s, &r, nil
}

// Verify checks a proof. Both records must follow known ones: a key may serve
// two networks, where equal positions are no fault.
func (p *Proof) Verify(c *Chain) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return p.verify(c)
}

func (p *Proof) verify(c *Chain) error {
	a, ra, err := readPosition(p.First)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProof, err)
	}
	b, rb, err := readPosition(p.Second)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProof, err)
	}
	in := c.records[p.Record]
	idA, idB := a.ID(), b.ID()
	switch {
	case string(idA[:]) >= string(idB[:]) || ra.RootEpoch != rb.RootEpoch || ra.Version != rb.Version:
		return fmt.Errorf("%w: these are not two records of one position", ErrProof)
	case c.records[statement.ID(ra.Previous)] == nil || c.records[statement.ID(rb.Previous)] == nil:
		return fmt.Errorf("%w: one follows a record that is not known here", ErrProof)
	case in == nil || int(p.Validator) >= len(in.Validators):
		return fmt.Errorf("%w: the validator is not known here", ErrProof)
	}
	key := in.Validators[p.Validator].Signing
	if a.VerifyAt(KindRecord, p.FirstAt, key) != nil || b.VerifyAt(KindRecord, p.SecondAt, key) != nil {
		return fmt.Errorf("%w: the validator did not sign both", ErrProof)
	}
	return nil
}

// FindEquivocation lists the validators of known records that signed both of two
// records for one position. Roots are left out: they are nobody's online keys.
func (c *Chain) FindEquivocation(a, b []byte) []*Proof {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.find(a, b)
}

func (c *Chain) find(rawA, rawB []byte) (out []*Proof) {
	a, ra, errA := readPosition(rawA)
	b, rb, errB := readPosition(rawB)
	if errA != nil || errB != nil || a.ID() == b.ID() {
		return nil
	}
	if x, y := a.ID(), b.ID(); string(x[:]) > string(y[:]) {
		a, b, ra, rb, rawA, rawB = b, a, rb, ra, rawB, rawA
	}
	beforeA, beforeB := c.records[statement.ID(ra.Previous)], c.records[statement.ID(rb.Previous)]
	if beforeA == nil || beforeB == nil || len(ra.Validators) > MaxValidators || len(rb.Validators) > MaxValidators {
		return nil
	}
	keysA, keysB := ra.SuccessorSigners(beforeA), rb.SuccessorSigners(beforeB)
	atB := map[statement.PublicKey]int{}
	for _, i := range b.VerifyEach(KindRecord, keysB) {
		atB[keysB[i]] = i
	}
	for _, i := range a.VerifyEach(KindRecord, keysA) {
		j, both := atB[keysA[i]]
		in, at := c.lists(keysA[i])
		if !both || in == nil {
			continue
		}
		p := &Proof{Record: in.id, Validator: uint16(at), First: rawA, Second: rawB, FirstAt: uint16(i), SecondAt: uint16(j)}
		if p.verify(c) == nil {
			out = append(out, p)
		}
	}
	return out
}

// lists finds the first known record that lists a validator's key.
func (c *Chain) lists(key statement.PublicKey) (*Committee, int) {
	for _, r := range c.order {
		if at := slices.Index(r.ValidatorKeys(), key); at >= 0 {
			return r, at
		}
	}
	return nil, 0
}

// accuse keeps the proofs that two records in one position give.
func (c *Chain) accuse(a, b *Committee) error {
	for _, p := range c.find(a.raw, b.raw) {
		if err := c.keepProof(p); err != nil {
			return err
		}
	}
	return nil
}

var proofPrefix = []byte("proof/")

func (c *Chain) keepProof(p *Proof) error {
	raw := p.Bytes()
	id := p.ID()
	if c.proofs[id] != nil || len(c.proofs) >= maxProofs || len(raw) > statement.MaxBytes {
		return nil // enough is known against somebody
	}
	if c.store != nil {
		if err := c.store.Apply([]kv.Op{{Key: append(slices.Clone(proofPrefix), id[:]...), Value: raw}}); err != nil {
			return fmt.Errorf("the proof cannot be kept: %w", err)
		}
	}
	c.proofs[id] = p
	return nil
}

func (c *Chain) openProofs() error {
	return c.store.Scan(proofPrefix, nil, func(_, raw []byte) (bool, error) {
		p, err := ParseProof(raw)
		if err != nil {
			return false, err
		}
		if err := p.verify(c); err != nil {
			return false, err
		}
		c.proofs[p.ID()] = p
		return true, nil
	})
}

// AddProof verifies a proof that somebody else found and keeps it; at most 256
// are kept, further ones are verified and dropped.
func (c *Chain) AddProof(raw []byte) (*Proof, error) {
	p, err := ParseProof(raw)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := p.verify(c); err != nil {
		return nil, err
	}
	return p, c.keepProof(p)
}

// Proofs are the kept proofs, in the order of their ids.
func (c *Chain) Proofs() []*Proof {
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := make([]*Proof, 0, len(c.proofs))
	for _, p := range c.proofs {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *Proof) int { return slices.Compare(idBytes(a), idBytes(b)) })
	return out
}

func idBytes(p *Proof) []byte { id := p.ID(); return id[:] }
