package validator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Standing consents are kept for those who may ask under them while their owner
// is away. One that is lost here costs a reader time and opens nothing: it is
// shown, and checked, with every grant that rests on it.
var (
	consentPrefix = []byte("standing/")    // + owner + consent id -> KeptConsent
	agreedPrefix  = []byte("standing-on/") // + target kind + owner + ref + consent id
)

const (
	maxConsents    = 1 << 16              // of all owners
	maxOwnConsents = 128                  // of one owner
	maxShown       = 32                   // in one answer
	maxConsentTime = 400 * 24 * time.Hour // how far off its end may be
	maxConsentSize = 32 << 10             // bytes, with its owner's document
)

// KeptConsent is a standing consent with the document of the owner who signed it.
type KeptConsent struct {
	_         struct{} `cbor:",toarray"`
	Statement []byte
	Owner     []byte
}

// ConsentRequest hands over a standing consent. Its signature is its authority.
type ConsentRequest struct {
	_       struct{} `cbor:",toarray"`
	Consent KeptConsent
}

// ConsentsRequest asks for the standing consents that somebody may ask under for
// an address, or that it has given itself.
type ConsentsRequest struct {
	_         struct{} `cbor:",toarray"`
	Address   []byte   // empty: its own
	After     []byte   // id of the last one seen, of its own
	Authority []byte
}

// Digest is what the proof of possession signs.
func (r ConsentsRequest) Digest() statement.ID {
	r.Authority = nil
	return digest("consents request", r)
}

// ConsentsReply has up to 32 of them, in the order of their ids where they are
// one's own.
type ConsentsReply struct {
	_        struct{} `cbor:",toarray"`
	Consents []KeptConsent
	More     bool
}

// Parse verifies that a device which speaks for the owner, or once did, signed a
// standing consent of the network that is well-formed.
func (k *KeptConsent) Parse(network statement.ID, meet func(doc []byte) (*identity.Identity, error)) (*capability.Standing, statement.ID, *identity.Identity, error) {
	bad := func(err error) (*capability.Standing, statement.ID, *identity.Identity, error) {
		return nil, statement.ID{}, nil, err
	}
	if len(k.Statement)+len(k.Owner) > maxConsentSize {
		return bad(fmt.Errorf("a consent and its owner's document have at most %d bytes", maxConsentSize))
	}
	s, err := statement.Parse(k.Statement)
	if err != nil {
		return bad(err)
	}
	var b capability.Standing
	if err := s.Peek(capability.KindStanding, &b); err != nil {
		return bad(err)
	}
	if err := b.Check(); err != nil {
		return bad(err)
	}
	owner, err := meet(k.Owner)
	if err != nil {
		return bad(err)
	}
	if b.Network != network || b.Owner != owner.ID() {
		return bad(errors.New("it is of another network or another owner's"))
	}
	return &b, s.ID(), owner, owner.VerifyEver(capability.KindStanding, s)
}

// Consent keeps a standing consent, durably and in the log when it returns. The
// owner must have something deposited here that it is about, and present devices
// alone give new ones.
func (j *Judge) Consent(ctx context.Context, raw []byte) ([]byte, error) {
	var r ConsentRequest
	if err := decode(raw, &r); err != nil {
		return nil, err
	}
	if err := j.started(); err != nil {
		return nil, err
	}
	coming := j.coming()
	b, id, owner, err := r.Consent.Parse(j.Trust.Network(), j.Verifier.Identity)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	now := j.Now()
	if b.Until <= now.Unix() || b.Until > now.Add(maxConsentTime).Unix() {
		return nil, fmt.Errorf("%w: it has ended, or ends in more than %d days", ErrMalformed, int(maxConsentTime.Hours()/24))
	}
	said := event.Act{Object: b.Target.Ref[:]}
	s, err := statement.Parse(r.Consent.Statement)
	if err == nil {
		err = owner.Verify(capability.KindStanding, s)
	}
	if err == nil { // before that somebody else may have written the name there
		said.Actor, said.Grant = b.Owner, id[:]
	}
	if err == nil && slices.Contains(j.Set.Revokers(id), b.Owner) {
		err = &broken{"consent-ended", "its owner has ended it"}
	}
	if err == nil {
		err = j.ownsHere(b)
	}
	if err != nil {
		return nil, j.denyAddress(ctx, coming && errors.Is(err, errNotHere), event.Consent, said, err)
	}
	j.consents.Lock()
	defer j.consents.Unlock()
	key := slices.Concat(consentPrefix, b.Owner[:], id[:])
	if _, err := j.Store.Get(key); err == nil {
		return []byte{}, nil
	}
	if err := j.roomForConsent(b.Owner); err != nil {
		return nil, err
	}
	if err := j.note(ctx, j.event(event.Consent, event.OK, said)); err != nil {
		return nil, err
	}
	ops := append(acceptedOps(id), kv.Op{Key: key, Value: encode(r.Consent)}, kv.Op{Key: agreedKey(b.Owner, b.Target, id[:]), Value: []byte{1}})
	if err := j.Store.Apply(ops); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return []byte{}, nil
}

func agreedKey(owner statement.ID, t capability.Target, id []byte) []byte {
	return slices.Concat(agreedPrefix, []byte{byte(t.Kind)}, owner[:], t.Ref[:], id)
}

// errNotHere keeps strangers from filling the store, and says nothing of the consent.
var errNotHere = &broken{"no-deposit", "nothing that it is about is deposited here"}

// ownsHere fails with errNotHere unless something of a consent's target is deposited
// here.
func (j *Judge) ownsHere(b *capability.Standing) error {
	found := false
	err := j.Store.Scan(withinKey(b.Owner, b.Target), nil, func(_, _ []byte) (bool, error) {
		found = true
		return false, nil
	})
	if err == nil && !found {
		err = errNotHere
	}
	return err
}

// roomForConsent drops what has ended, and counts what is left. The caller holds
// the lock.
func (j *Judge) roomForConsent(owner statement.ID) error {
	all, own, now := 0, 0, j.Now().Unix()
	var old []kv.Op
	err := j.Store.Scan(consentPrefix, nil, func(key, value []byte) (bool, error) {
		k, b, err := readKept(value)
		if err != nil {
			return false, err
		}
		if b.Until <= now {
			s, err := statement.Parse(k.Statement)
			if err != nil {
				return false, err
			}
			id := s.ID()
			old = append(old, kv.Op{Key: bytes.Clone(key), Delete: true}, kv.Op{Key: agreedKey(b.Owner, b.Target, id[:]), Delete: true})
			return true, nil
		}
		if all++; b.Owner == owner {
			own++
		}
		return true, nil
	})
	if err == nil && len(old) > 0 {
		err = j.Store.Apply(old)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if own >= maxOwnConsents || all >= maxConsents {
		return fmt.Errorf("%w: it keeps too many standing consents, of this owner or of all", ErrUnavailable)
	}
	return nil
}

// readKept reads a consent that was verified before it was kept.
func readKept(raw []byte) (KeptConsent, *capability.Standing, error) {
	var k KeptConsent
	var b capability.Standing
	if err := statement.Unmarshal(raw, &k); err != nil {
		return k, nil, err
	}
	s, err := statement.Parse(k.Statement)
	if err != nil {
		return k, nil, err
	}
	return k, &b, s.Peek(capability.KindStanding, &b)
}

// Consents answers who proves its identity: with its own consents, those that it
// has ended included, or with those in force that cover an address and whose list
// it stands in, or whose role it has. Others are told of none.
func (j *Judge) Consents(ctx context.Context, c Conn, raw []byte) ([]byte, error) {
	var r ConsentsRequest
	if err := decode(raw, &r); err != nil {
		return nil, err
	}
	if err := checkPage(r.Address, r.After); err != nil {
		return nil, err
	}
	who, err := j.caller(ctx, c, event.ConsentFind, r.Authority, r.Digest(), r.Address)
	if err != nil {
		return nil, err
	}
	var reply ConsentsReply
	if len(r.Address) > 0 {
		reply, err = j.agreed(who.ID(), r.Address)
	} else {
		reply, err = j.ownConsents(who.ID(), r.After)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return encode(reply), nil
}

func (j *Judge) ownConsents(owner statement.ID, last []byte) (reply ConsentsReply, err error) {
	prefix := slices.Concat(consentPrefix, owner[:])
	var after []byte
	if len(last) > 0 {
		after = slices.Concat(prefix, last)
	}
	err = j.Store.Scan(prefix, after, func(_, value []byte) (bool, error) {
		if reply.More = len(reply.Consents) == maxShown; reply.More {
			return false, nil
		}
		k, _, err := readKept(value)
		reply.Consents = append(reply.Consents, k)
		return true, err
	})
	return reply, err
}

// agreed finds the consents that cover an address for somebody.
func (j *Judge) agreed(who statement.ID, address []byte) (reply ConsentsReply, err error) {
	d, _, err := j.load(address)
	if err != nil {
		return reply, nil // the same answer as to somebody for whom there is none
	}
	o, err := d.object()
	if err != nil {
		return reply, err
	}
	targets := []capability.Target{{Kind: capability.Version, Ref: o.Version}, {Kind: capability.Lineage, Ref: o.Lineage}}
	for _, s := range o.Scopes {
		targets = append(targets, capability.Target{Kind: capability.Scope, Ref: s})
	}
	now := j.Now()
	roles := j.Roles.Roles(who, now)
	for _, t := range targets {
		err := j.Store.Scan(agreedKey(o.Owner, t, nil), nil, func(key, _ []byte) (bool, error) {
			id := statement.ID(key[len(key)-len(statement.ID{}):])
			raw, err := j.Store.Get(slices.Concat(consentPrefix, o.Owner[:], id[:]))
			if errors.Is(err, kv.ErrNotFound) {
				return true, nil // it has just ended
			}
			if err != nil {
				return false, err
			}
			k, b, err := readKept(raw)
			if err != nil {
				return false, err
			}
			meant := slices.Contains(b.Audience, who) || b.Role != "" && slices.Contains(roles, b.Role)
			if meant && b.Until > now.Unix() && !slices.Contains(j.Set.Revokers(id), b.Owner) {
				reply.Consents = append(reply.Consents, k)
			}
			return len(reply.Consents) < maxShown, nil
		})
		if err != nil {
			return reply, err
		}
	}
	reply.Consents = reply.Consents[:min(len(reply.Consents), maxShown)]
	return reply, nil
}

// mayEnd checks that who revokes a standing consent gave it.
func (j *Judge) mayEnd(k *KeptConsent, signer, target statement.ID) error {
	b, id, _, err := k.Parse(j.Trust.Network(), j.Verifier.Identity)
	if err != nil {
		return err
	}
	if id != target || b.Owner != signer {
		return errors.New("only its owner may end a standing consent")
	}
	return j.ownsHere(b)
}
