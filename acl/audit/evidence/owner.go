package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
)

// Errors of evidence that callers branch on; all of them mean that it does not hold.
var (
	// ErrAnchor reports evidence of another network than the auditor's, or of one
	// whose records do not go together with the auditor's.
	ErrAnchor = errors.New("it is not of the network that it must be of")
	// ErrOwner reports a log whose owner the committee records do not vouch for.
	ErrOwner = errors.New("the committee records do not say whose log it is")
	// ErrWitness reports a cosignature that is false, or too few of them.
	ErrWitness = errors.New("the witnesses did not sign it")
)

// Anchor is what an auditor knows of a network beforehand. The zero value is
// nothing: then the evidence says of itself which network it is of.
type Anchor struct {
	Network statement.ID
	Records [][]byte // committee records that the auditor has of it; may be none
}

// Owner is who the log belongs to.
type Owner struct {
	Peer     statement.PublicKey
	Network  statement.ID // zero: no committee record came with it
	Name     string       // of the network
	Anchored bool         // the auditor named the network
	Seat     int          // of a validator, from 1, in the newest record that lists it; 0: none
	Listed   bool         // the newest record lists it
	Role     trust.Role   // zero: the records do not know the peer
	Identity statement.ID // zero: not known
	Newer    int          // records that the auditor has and that did not come with it

	chain *trust.Chain
}

// ownerOf finds out whose log a binding is of, by what came with it.
func ownerOf(network [][]byte, b *audit.Binding, a Anchor) (*Owner, error) {
	o := &Owner{Peer: b.Peer, Anchored: a.Network != (statement.ID{})}
	records, membership, err := split(network)
	if err != nil {
		return nil, err
	}
	if len(records) == 0 {
		if o.Anchored {
			return nil, fmt.Errorf("%w: no committee record came with it", ErrAnchor)
		}
		return o, nil
	}
	if o.chain, err = chainOf(records); err != nil {
		return nil, err
	}
	o.Network = o.chain.Network()
	if err := o.anchor(a); err != nil {
		return nil, err
	}
	now := o.chain.Current()
	o.Name = now.Name
	for r, ok := now, true; ok; r, ok = r.Before() {
		at, sits := r.ByPeer(b.Peer)
		if !sits {
			continue
		}
		if v := r.Validators[at]; v.Log != b.Log {
			return nil, fmt.Errorf("%w: the committee record names another key for the log of validator %d", ErrOwner, at+1)
		} else if o.Seat == 0 {
			o.Seat, o.Role, o.Identity, o.Listed = at+1, trust.RoleValidator, v.Identity, r == now
		}
	}
	if membership == nil {
		return o, nil
	}
	return o, o.member(membership)
}

// split tells committee records from a membership, which may come last.
func split(network [][]byte) (records [][]byte, membership []byte, err error) {
	for i, raw := range network {
		s, err := statement.Parse(raw)
		switch {
		case err == nil && s.Is(trust.KindRecord) && membership == nil:
			records = append(records, raw)
		case err == nil && s.Is(trust.KindMembership) && i == len(network)-1 && i > 0:
			membership = raw
		default:
			return nil, nil, fmt.Errorf("%w: among them is something that is no committee record", ErrOwner)
		}
	}
	return records, membership, nil
}

// chainOf verifies records from the genesis on. Signatures in them that prove nothing
// are refused: they would be bytes that nobody vouches for.
func chainOf(records [][]byte) (*trust.Chain, error) {
	f := trust.File{Format: trust.FileFormat, Records: records}
	c, err := f.Chain()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOwner, err)
	}
	for i, want := range Records(c.Current()) {
		if !bytes.Equal(want, records[i]) {
			return nil, fmt.Errorf("%w: committee record %d has signatures that do not verify", ErrOwner, i+1)
		}
	}
	return c, nil
}

// Records are the committee records from the genesis to this one, with no signatures
// but those that they need.
func Records(c *trust.Committee) (out [][]byte) {
	for r, ok := c, true; ok; r, ok = r.Before() {
		raw := r.Raw()
		if _, follows := r.Before(); !follows { // the others are kept without
			if s, err := statement.Parse(raw); err == nil {
				s.Prune(trust.KindRecord, r.Signers())
				raw = s.Bytes()
			}
		}
		out = append(out, raw)
	}
	slices.Reverse(out)
	return out
}

// anchor holds the chain to what the auditor knows.
func (o *Owner) anchor(a Anchor) error {
	if !o.Anchored {
		return nil
	}
	if a.Network != o.Network {
		return fmt.Errorf("%w: it is of the network %s", ErrAnchor, o.Network)
	}
	if len(a.Records) == 0 {
		return nil
	}
	own, before := o.chain.Current(), o.chain.Current().Version
	if _, err := o.chain.Add(a.Records...); err != nil {
		return fmt.Errorf("%w: its committee records and yours do not go together: %w", ErrAnchor, err)
	}
	if _, err := o.chain.ByID(own.ID()); err != nil {
		return fmt.Errorf("%w: its newest committee record does not count by yours: %w", ErrAnchor, err)
	}
	o.Newer = int(o.chain.Current().Version - before)
	return nil
}

// member verifies the membership of a node at the time from which it counts: whether
// it has ended since says nothing about the log.
func (o *Owner) member(raw []byte) error {
	s, err := statement.Parse(raw)
	if err != nil {
		return err
	}
	var m trust.Membership
	if err := s.Peek(trust.KindMembership, &m); err != nil {
		return fmt.Errorf("%w: %w", ErrOwner, err)
	}
	r, known := o.chain.Known(m.Record)
	if !known {
		return fmt.Errorf("%w: the membership is of a committee record that did not come with it", ErrOwner)
	}
	if _, err := r.VerifyMembership(raw, o.Peer, time.Unix(m.NotBefore, 0)); err != nil {
		return fmt.Errorf("%w: %w", ErrOwner, err)
	}
	if s.Prune(trust.KindMembership, r.ValidatorKeys()); !bytes.Equal(s.Bytes(), raw) {
		return fmt.Errorf("%w: the membership has signatures that do not verify", ErrOwner)
	}
	if o.Seat == 0 {
		o.Role, o.Identity = m.Role, m.Identity
	}
	return nil
}

// Cosignature is a witness's signature on a checkpoint.
type Cosignature struct {
	Validator int // seat, from 1, in the newest committee record that lists it
	Peer      statement.PublicKey
	Time      time.Time // by the witness's clock
}

// witnesses reads who cosigned a checkpoint: validators of the committee records, each
// once. A signature under a witness's name that is not that witness's is an error;
// signatures of others are counted and prove nothing.
func (o *Owner) witnesses(b *audit.Binding, c audit.Checkpoint) (by []Cosignature, others int, err error) {
	own, err := b.Verifier()
	if err != nil {
		return nil, 0, err
	}
	n, err := note.Open(c.Note, note.VerifierList(own))
	if err != nil {
		return nil, 0, err
	}
	seen := map[statement.PublicKey]bool{}
	for _, s := range n.UnverifiedSigs {
		w, v := o.witness(s)
		if v == nil {
			others++
			continue
		}
		if _, err := note.Open(c.Note, note.VerifierList(own, v)); err != nil {
			return nil, 0, fmt.Errorf("%w: the cosignature of validator %d is false", ErrWitness, w.Validator)
		}
		at, err := torchwood.CosignatureTimestamp(s)
		if err != nil {
			return nil, 0, fmt.Errorf("%w: the cosignature of validator %d has no time", ErrWitness, w.Validator)
		}
		if seen[w.Peer] {
			return nil, 0, fmt.Errorf("%w: validator %d cosigned twice", ErrWitness, w.Validator)
		}
		seen[w.Peer], w.Time = true, time.Unix(at, 0).UTC()
		by = append(by, *w)
	}
	slices.SortFunc(by, func(a, b Cosignature) int { return a.Time.Compare(b.Time) })
	return by, others, nil
}

// witness finds the validator whose witness key a signature names.
func (o *Owner) witness(s note.Signature) (*Cosignature, note.Verifier) {
	if o.chain == nil {
		return nil, nil
	}
	for r, ok := o.chain.Current(), true; ok; r, ok = r.Before() {
		for i, v := range r.Validators {
			if v.Peer == o.Peer {
				continue // nobody is its own witness
			}
			key := append([]byte{cosignatureV1}, v.Witness[:]...)
			sum := sha256.Sum256(append([]byte(s.Name+"\n"), key...))
			if binary.BigEndian.Uint32(sum[:]) != s.Hash {
				continue
			}
			w, err := torchwood.NewCosignatureVerifier(fmt.Sprintf("%s+%08x+%s", s.Name, s.Hash, base64.StdEncoding.EncodeToString(key)))
			if err == nil {
				return &Cosignature{Validator: i + 1, Peer: v.Peer}, w
			}
		}
	}
	return nil, nil
}

// cosignatureV1 is the algorithm's number in C2SP tlog-cosignature.
const cosignatureV1 = 4

// others is how many witnesses there could be: the validators of the newest record
// but for the owner.
func (o *Owner) others() int {
	if o.chain == nil {
		return 0
	}
	n := len(o.chain.Current().Validators)
	if o.Listed {
		n--
	}
	return n
}
