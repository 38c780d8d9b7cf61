package validator

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/receipt"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
	"golang.org/x/mod/sumdb/tlog"
)

// Auditor keeps what was decided.
type Auditor interface {
	// Append returns nil once the events are durable. Nothing is answered before.
	Append(ctx context.Context, events ...event.Event) error
	// Enter is Append, and tells where the events stand and their hashes.
	Enter(ctx context.Context, events ...event.Event) (first int64, hashes []tlog.Hash, err error)
	// Prove proves with a C2SP tlog-proof that an entry stands in the log.
	Prove(ctx context.Context, index int64) ([]byte, error)
}

// Freshness is what this validator hears of the others.
type Freshness interface {
	// Fresh reports whether it hears enough of them, and has started.
	Fresh() bool
	// Ready reports whether it has started: before that it must sign nothing,
	// append nothing and release nothing.
	Ready() bool
	// Seen is the newest signed head that it has seen of the validator with a
	// signing key and whose log it has pulled; nil where it has seen none.
	Seen(validator statement.PublicKey) []byte
}

// ShareStore is the erasable store.
type ShareStore interface {
	// SealMany returns once the slots that open the items are durable.
	SealMany(items []keystore.Item) ([]keystore.Sealed, error)
	Open(s keystore.Sealed, aad []byte) ([]byte, error)
	Destroy(slots ...uint64) error
	// Erase is Destroy, but for slots that serve another secret by now: it may be
	// repeated at any time.
	Erase(sealed ...keystore.Sealed) error
}

// Judge is one validator. All fields but Quota are required; the caller owns the stores
// and closes them after the last request.
type Judge struct {
	Trust    *trust.Chain
	Peer     statement.PublicKey // of this node
	Signing  statement.PrivateKey
	Opener   *keystore.Opener // of the validator's recipient
	Store    kv.Store
	Shares   ShareStore
	Log      *revocation.Log
	Set      *revocation.Set
	Verifier *capability.Verifier
	Policies *policy.History
	Roles    Roles
	Book     *RoleBook // takes role statements that come by themselves
	Audit    Auditor
	Receipts *receipt.Issuer // of the log that Audit writes
	Guard    *trust.Guard    // over Store
	Fresh    Freshness
	Now      func() time.Time
	Logger   *slog.Logger
	Quota    Quota // the zero value: [DefaultQuota]

	deposits  lockTable
	used      counter
	deposited counter // by peers
	lone      loners
	desk      desk
	roleAsks  sync.Mutex // owns what is stored of them
	consents  sync.Mutex // owns how many are stored
	erasures  erasures

	arrival    arrival
	admissions admissions
	carriers   carriers
	recorders  recorders
	dealt      pages
	sealers    sealers
	seeds      sync.Mutex
}

// Conn is the connection that a request came on, as admission knows it.
type Conn struct {
	Client     statement.PublicKey
	Challenge  [32]byte
	UseCounter func(uint64) bool
}

func (j *Judge) expect(c Conn, request statement.ID) capability.Expectation {
	return capability.Expectation{
		Request: request, Server: j.Peer, Client: c.Client,
		Network: j.Trust.Network(), Challenge: c.Challenge, UseCounter: c.UseCounter, Now: j.Now(),
	}
}

// started stands before everything that a validator signs, keeps or appends for
// others: one that was restored from an old backup may have forgotten an erasure.
func (j *Judge) started() error {
	if !j.Fresh.Ready() {
		return fmt.Errorf("%w: %w", ErrUnavailable, revocation.ErrStarting)
	}
	return nil
}

// hearing stands before every decision that a revocation could change: a validator
// that does not hear the others decides nothing.
func (j *Judge) hearing() error {
	if !j.Fresh.Fresh() {
		return fmt.Errorf("%w: it does not hear enough other validators", ErrUnavailable)
	}
	return nil
}

// begin reads a request to sign, keep or append something, which a validator takes
// once it has started and while it sits in the committee.
func (j *Judge) begin(raw []byte, request any) (record *trust.Committee, seat int, err error) {
	if err := decode(raw, request); err != nil {
		return nil, 0, err
	}
	if err := j.started(); err != nil {
		return nil, 0, err
	}
	return j.sitting()
}

// caller is the identity that proves by a request's authority that it asks. Anybody
// else is denied, and that is on record.
func (j *Judge) caller(ctx context.Context, c Conn, action event.Action, authority []byte, request statement.ID, object []byte) (*identity.Identity, error) {
	a, err := capability.ParseAuthority(authority)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	who, _, err := j.Verifier.OpenIdentity(a, j.expect(c, request))
	if err != nil {
		return nil, j.deny(ctx, action, event.Act{Object: object}, err)
	}
	return who, nil
}

// acknowledge signs that an entry about target stands in this validator's log.
func (j *Judge) acknowledge(target statement.ID, seat int, at revocation.Position) ([]byte, error) {
	s, err := statement.New(revocation.KindAck, revocation.Ack{
		Network: j.Trust.Network(), Target: target, Validator: uint16(seat), Seq: at.Seq,
	})
	if err != nil {
		return nil, err
	}
	s.AddSignature(uint16(seat), j.Signing)
	return s.Bytes(), nil
}

// AnswerFresh signs this validator's heads over the requester's nonce.
func (j *Judge) AnswerFresh(raw []byte) ([]byte, error) {
	var r FreshRequest
	if err := decode(raw, &r); err != nil {
		return nil, err
	}
	c, seat, err := j.sitting()
	if err != nil {
		return nil, err
	}
	s, err := statement.New(revocation.KindFresh, j.Log.Fresh(r.Nonce, c.ID(), j.Policies.Head()))
	if err != nil {
		return nil, err
	}
	s.AddSignature(uint16(seat), j.Signing)
	return s.Bytes(), nil
}

// AnswerTail reads the statement log, also before this validator has started.
func (j *Judge) AnswerTail(raw []byte) ([]byte, error) {
	var r TailRequest
	if err := decode(raw, &r); err != nil {
		return nil, err
	}
	entries, err := j.Log.Tail(r.Segment, r.Seq)
	if err != nil { // another segment too: the log's newest answer names the one that there is
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return encode(TailReply{Entries: entries}), nil
}

// AnswerSeen shows what this validator has seen of another one's log, also before
// it has started itself.
func (j *Judge) AnswerSeen(raw []byte) ([]byte, error) {
	var r SeenRequest
	if err := decode(raw, &r); err != nil {
		return nil, err
	}
	return encode(SeenReply{Fresh: j.Fresh.Seen(r.Validator)}), nil
}
