package validator

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Auditor keeps what was decided.
type Auditor interface {
	// Append returns nil once the events are durable. Nothing is answered before.
	Append(ctx context.Context, events ...audit.Event) error
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

// Judge is one validator. All fields but Quota and HasRole are required; the caller owns the stores
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
	Guard    *trust.Guard // over Store
	Fresh    Freshness
	Now      func() time.Time
	Logger   *slog.Logger
	Quota    Quota // the zero value: [DefaultQuota]

	// HasRole reports whether an identity holds a role now; nil: nobody holds any.
	HasRole func(identity statement.ID, role string) bool

	deposits  lockTable
	used      counter
	deposited counter // by peers
	lone      loners
	desk      desk
	roleAsks  sync.Mutex // owns what is stored of them
	consents  sync.Mutex // owns how many are stored
	erasures  erasures
	carriers  carriers
	recorders recorders
	dealt     pages
	sealers   sealers
	seeds     sync.Mutex
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

// event is an audit event of this validator. Identities and objects are ids:
// the log's own package decides what of them a leaf may hold.
func (j *Judge) event(action, outcome string, actor, subject, object, grant []byte, reason string) audit.Event {
	var head statement.ID
	if e, err := j.Policies.InForce(j.Now()); err == nil {
		head = e.Head()
	}
	return audit.Event{
		Time: j.Now().UnixMilli(), Action: action, Outcome: outcome, Actor: actor, Subject: subject,
		Object: object, Grant: grant, Policy: head[:], Reason: audit.Clean(reason),
	}
}

// under names the bundle that a decision was made under, where that is not the
// one in force by this validator's own clock.
func under(e audit.Event, bundle statement.ID) audit.Event {
	e.Policy = bundle[:]
	return e
}

// deny records a denial durably and answers with nothing but that.
func (j *Judge) deny(ctx context.Context, action string, actor, object []byte, rule error) error {
	if err := j.Audit.Append(ctx, j.event(action, "denied", actor, nil, object, nil, rule.Error())); err != nil {
		return ErrUnavailable
	}
	return ErrDenied
}
